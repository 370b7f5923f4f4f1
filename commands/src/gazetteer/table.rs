//! The tables of the gazetteer: text with a row on each line, sorted by the first column, searched by bisection.
//!
//! Nothing is parsed or indexed at the start, so the gazetteer costs no time and no memory until it is used.

/// A sorted table. A line feed ends each row, tabs separate the columns, and rows are sorted by their bytes.
#[derive(Debug)]
pub(super) struct SortedTable(&'static str);

impl SortedTable {
    pub(super) const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// Returns the columns after `key` in the row whose first column is `key`.
    pub(super) fn get<const N: usize>(&self, key: &str) -> Option<[&'static str; N]> {
        let (first, rest) = first_column(self.rows_from(key).next()?);
        (first == key).then(|| columns(rest))
    }

    /// Returns the row whose first column is `key`.
    pub(super) fn row(&self, key: &str) -> Option<&'static str> {
        self.rows_from(key).next().filter(|row| first_column(row).0 == key)
    }

    /// Returns the rows from the first one whose first column is not below `key`.
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

    #[cfg(test)]
    pub(super) fn rows(&self) -> std::str::Lines<'static> {
        self.0.lines()
    }

    /// Returns the whole table, for the test of its checksum.
    #[cfg(test)]
    pub(super) fn text(&self) -> &'static str {
        self.0
    }
}

/// Splits a row after its first column.
pub(super) fn first_column(row: &str) -> (&str, &str) {
    row.split_once('\t').unwrap_or((row, ""))
}

/// Splits a text at its tabs. Missing columns are empty.
pub(super) fn columns<const N: usize>(text: &str) -> [&str; N] {
    let mut columns = text.split('\t');
    std::array::from_fn(|_| columns.next().unwrap_or_default())
}
