//! The condition of the log, as far as the process that has it open knows.

/// The number of damages that are kept with their places. The operator's log has all.
const DAMAGES_KEPT: usize = 10;

/// The condition of an open log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogCondition {
    /// The damages found since the log was opened, each with its place; the first ten.
    pub damages: Vec<String>,
    /// The reason why the log takes no appends; `None` if it takes them.
    pub refusal: Option<String>,
}

impl LogCondition {
    /// Notes a damage, unless it is known.
    pub(super) fn note(&mut self, damage: String) {
        if self.damages.len() < DAMAGES_KEPT && !self.damages.contains(&damage) {
            self.damages.push(damage);
        }
    }
}
