//! The keys by which a search finds a pin. They ignore case and accents.

use domain::text::unaccented;

use crate::view::Pin;

/// The folded texts of a pin. A search finds the pin by the beginning of each.
pub(crate) struct SearchKeys {
    pub(crate) name: String,
    /// The last word of a name of several words, which is the surname of most people.
    pub(crate) last_name: Option<String>,
    pub(crate) city: String,
}

impl SearchKeys {
    pub(crate) fn new(pin: &Pin) -> Self {
        let name = unaccented(&pin.name);
        let last_name = name.trim_end().rsplit_once(char::is_whitespace).map(|(_, last)| last.to_owned());
        Self { name, last_name, city: unaccented(&pin.city) }
    }
}
