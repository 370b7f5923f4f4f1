//! The tables the gazetteer is built with: text, one row a line, sorted by the first column, searched by bisection.
//!
//! Nothing is parsed or indexed at start, so the gazetteer costs neither time nor memory until it is asked.

/// One sorted table. Rows end in a line feed; columns are separated by tabs; the order is that of the bytes.
#[derive(Debug)]
pub(super) struct Table(&'static str);

impl Table {
    pub(super) const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The columns after the first of the row whose first column is `key`.
    pub(super) fn get<const N: usize>(&self, key: &str) -> Option<[&'static str; N]> {
        let (first, rest) = first_column(self.rows_from(key).next()?);
        (first == key).then(|| columns(rest))
    }

    /// The rows from the first whose first column is not below `key`, in order.
    pub(super) fn rows_from(&self, key: &str) -> std::str::Lines<'static> {
        let bytes = self.0.as_bytes();
        let (mut low, mut high) = (0, bytes.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let start = bytes[low..middle]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(low, |before| low + before + 1);
            let row = self.0[start..].lines().next().unwrap_or_default();
            if first_column(row).0 < key {
                low = start + row.len() + 1;
            } else {
                high = start;
            }
        }
        self.0[low..].lines()
    }

    /// Every row, in order.
    pub(super) fn rows(&self) -> std::str::Lines<'static> {
        self.0.lines()
    }

    /// The bytes of the whole table, to be held against their checksum.
    #[cfg(test)]
    pub(super) fn text(&self) -> &'static str {
        self.0
    }
}

/// A row cut behind its first column.
pub(super) fn first_column(row: &str) -> (&str, &str) {
    row.split_once('\t').unwrap_or((row, ""))
}

/// Text cut at its tabs; columns that are missing are empty.
pub(super) fn columns<const N: usize>(text: &str) -> [&str; N] {
    let mut columns = text.split('\t');
    std::array::from_fn(|_| columns.next().unwrap_or_default())
}
