//! The filters that clients send: prefixes or a regular expression, on the stream or on the type.

use fancy_regex::{Regex, RegexBuilder};
use tonic::Status;

use super::proto::streams::read_req::options::{
    FilterOptions,
    filter_options::{Expression, Filter as FilteredField, Window},
};
use crate::ReadError;

/// The longest regular expression, in bytes.
const MAX_EXPRESSION_BYTES: usize = 4 * 1024;

/// The largest number of backtracking steps of an expression on one name. Expressions without look-around
/// do not backtrack.
const MAX_STEPS: usize = 10_000;

/// The largest size of a compiled expression, in bytes.
const MAX_PROGRAM_BYTES: usize = 1024 * 1024;

/// The largest number of prefixes.
const MAX_PREFIXES: usize = 1000;

/// The number of events in a window if the client does not say.
const DEFAULT_WINDOW: u32 = 32;

/// A filter of a client, and the interval of its checkpoints.
pub(super) struct WireFilter {
    on_stream: bool,
    matcher: NameMatcher,
    /// The number of events scanned between two checkpoints; 0 if the client named none, as .NET's client does
    /// for reads.
    pub(super) interval: u64,
}

enum NameMatcher {
    Expression(Regex),
    Prefixes(Vec<String>),
}

impl WireFilter {
    pub(super) fn parse(options: FilterOptions) -> Result<Self, Status> {
        let (on_stream, expression) = match options.filter {
            Some(FilteredField::StreamIdentifier(expression)) => (true, expression),
            Some(FilteredField::EventType(expression)) => (false, expression),
            None => return Err(Status::invalid_argument("the filter has no expression")),
        };
        let window = match options.window {
            Some(Window::Max(0)) => {
                return Err(Status::invalid_argument("the filter has a window of 0 events"));
            }
            Some(Window::Max(max)) => max,
            Some(Window::Count(_)) => DEFAULT_WINDOW,
            None => return Err(Status::invalid_argument("the filter has no window")),
        };
        let interval = u64::from(window) * u64::from(options.checkpoint_interval_multiplier);
        Ok(Self { on_stream, matcher: NameMatcher::parse(expression)?, interval })
    }

    /// Returns true if an event passes.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the expression takes too many steps.
    pub(super) fn passes(&self, stream: &str, kind: &str) -> Result<bool, ReadError> {
        let name = if self.on_stream { stream } else { kind };
        match &self.matcher {
            NameMatcher::Prefixes(prefixes) => Ok(prefixes.iter().any(|prefix| name.starts_with(prefix))),
            NameMatcher::Expression(expression) => expression.is_match(name).map_err(|error| {
                ReadError::Refused(format!("the filter's expression cannot be used on {name:?}: {error}"))
            }),
        }
    }
}

impl NameMatcher {
    fn parse(Expression { regex, prefix }: Expression) -> Result<Self, Status> {
        if regex.is_empty() {
            if prefix.len() > MAX_PREFIXES {
                return Err(Status::invalid_argument(format!(
                    "the filter has more than {MAX_PREFIXES} prefixes"
                )));
            }
            return Ok(Self::Prefixes(prefix));
        }
        if regex.len() > MAX_EXPRESSION_BYTES {
            return Err(Status::invalid_argument(format!(
                "the filter's expression is longer than {MAX_EXPRESSION_BYTES} bytes"
            )));
        }
        RegexBuilder::new(&regex)
            .backtrack_limit(MAX_STEPS)
            .delegate_size_limit(MAX_PROGRAM_BYTES)
            .delegate_dfa_size_limit(MAX_PROGRAM_BYTES)
            .build()
            .map(Self::Expression)
            .map_err(|error| {
                Status::invalid_argument(format!("the filter's expression is not valid: {error}"))
            })
    }
}
