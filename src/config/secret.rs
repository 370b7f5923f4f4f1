//! A text that may be or contain a secret.

use std::fmt;

use serde::Serialize;

/// A setting's text that may be or contain a secret. Its `Debug` form does not show it.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns an address without its user name and password.
    pub(crate) fn without_login(&self) -> String {
        match self.0.rsplit_once('@') {
            None => self.0.clone(),
            Some((login, host)) => match login.split_once("://") {
                Some((scheme, _)) => format!("{scheme}://{host}"),
                None => host.to_owned(),
            },
        }
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_login() {
        for (address, shown) in [
            ("http://ada:s3cret@host:8080/x", "http://host:8080/x"),
            ("http://ada:s3@cret@host", "http://host"),
            ("ada:s3cret@host", "host"),
            ("http://host", "http://host"),
        ] {
            assert_eq!(SecretText::from(address.to_owned()).without_login(), shown);
        }
    }
}
