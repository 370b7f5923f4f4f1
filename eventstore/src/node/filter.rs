//! Which events of the log a client wants, as it said it.

use fancy_regex::{Regex, RegexBuilder};
use tonic::Status;

use super::proto::streams::read_req::options::{
    FilterOptions,
    filter_options::{Expression, Filter as On, Window},
};
use crate::ReadError;

/// How long an expression may be, in bytes.
const MAX_EXPRESSION_BYTES: usize = 4 * 1024;

/// How many steps back an expression may take on one name. Those without
/// look-around take none.
const MAX_STEPS: usize = 10_000;

/// How much memory a compiled expression may take.
const MAX_PROGRAM_BYTES: usize = 1024 * 1024;

/// How many prefixes may be asked for.
const MAX_PREFIXES: usize = 1000;

/// After how many events without a word a checkpoint is due, unless said.
const DEFAULT_WINDOW: u32 = 32;

/// A filter, and how often its reader is told how far it is.
pub(super) struct Filter {
    on_stream: bool,
    matcher: Matcher,
    /// How many events may be looked at between two checkpoints.
    pub(super) interval: u64,
}

enum Matcher {
    Expression(Regex),
    Prefixes(Vec<String>),
}

impl Filter {
    pub(super) fn parse(options: FilterOptions) -> Result<Self, Status> {
        let (on_stream, expression) = match options.filter {
            Some(On::StreamIdentifier(expression)) => (true, expression),
            Some(On::EventType(expression)) => (false, expression),
            None => return Err(Status::invalid_argument("a filter is missing")),
        };
        let window = match options.window {
            Some(Window::Max(0)) => return Err(Status::invalid_argument("a window of 0 events")),
            Some(Window::Max(max)) => max,
            Some(Window::Count(_)) | None => DEFAULT_WINDOW,
        };
        if options.checkpoint_interval_multiplier == 0 {
            return Err(Status::invalid_argument("a checkpoint interval of 0 windows"));
        }
        let interval = u64::from(window) * u64::from(options.checkpoint_interval_multiplier);
        Ok(Self { on_stream, matcher: Matcher::parse(expression)?, interval })
    }

    /// Whether an event is wanted.
    ///
    /// # Errors
    /// When the expression takes too many steps to tell.
    pub(super) fn wants(&self, stream: &str, kind: &str) -> Result<bool, ReadError> {
        let name = if self.on_stream { stream } else { kind };
        match &self.matcher {
            Matcher::Prefixes(prefixes) => Ok(prefixes.iter().any(|prefix| name.starts_with(prefix))),
            Matcher::Expression(expression) => expression.is_match(name).map_err(|error| {
                ReadError::Refused(format!("the filter's expression cannot be used on {name:?}: {error}"))
            }),
        }
    }
}

impl Matcher {
    fn parse(Expression { regex, prefix }: Expression) -> Result<Self, Status> {
        if regex.is_empty() {
            if prefix.len() > MAX_PREFIXES {
                return Err(Status::invalid_argument(format!("more than {MAX_PREFIXES} prefixes")));
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
            .map_err(|error| Status::invalid_argument(format!("the filter's expression: {error}")))
    }
}
