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
        self.from(key).lines()
    }

    /// Returns the part of the table from the first row whose first column is not below `key`.
    pub(super) fn from(&self, key: &str) -> &'static str {
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
        &self.0[low..]
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

/// Returns the part of sorted rows after those that begin with `prefix`, of which the first row is one. The work grows with the
/// logarithm of what is passed over.
pub(super) fn after_prefix(rows: &'static str, prefix: &str) -> &'static str {
    let (bytes, prefix) = (rows.as_bytes(), prefix.as_bytes());
    let after_line =
        |at: usize| match bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
            Some(end) => at + end + 1,
            None => bytes.len(),
        };
    // The row at `low` begins with the prefix, the one at `high` does not.
    let (mut low, mut high, mut step) = (0, after_line(0), 32);
    while bytes[high..].starts_with(prefix) {
        low = high;
        high = after_line(low + step);
        step *= 2;
    }
    loop {
        let middle = after_line(low + (high - low) / 2);
        let next = if middle < high { middle } else { after_line(low) };
        if next >= high {
            return &rows[high..];
        } else if bytes[next..].starts_with(prefix) {
            low = next;
        } else {
            high = next;
        }
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
