//! Verifies a log's file from outside, at rest or while a process has it open: the header, all pages, all events and all
//! streams. Changes nothing.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension};

use super::{
    PAGE_EVENTS,
    check::{CheckedPage, FoundDamage, check_page},
    checksum::RowContent,
    open::{self, OpenLogError},
    pages::{head, stored_event},
    read_error::read_error,
    streams::{StreamRow, TOMBSTONE_REVISION},
};
use crate::{EventPlace, Position, ReadError, RecordedEvent, Revision, StreamName, stream::METADATA_KIND};

/// The number of damages that a report has.
const DAMAGES_MAX: usize = 1000;

/// The number of damaged pages that SQLite reports.
const PAGE_DAMAGES_MAX: usize = 100;

/// The number of times that the header is read before it counts as damaged. A process that has the log open may change it.
const HEADER_READS: usize = 3;

/// The pause between these.
const HEADER_PAUSE: Duration = Duration::from_millis(1);

/// The fields of an SQLite file's header that have one value in every log: offset, length, value, and name.
const HEADER_FIELDS: [(usize, usize, u32, &str); 10] = [
    (20, 1, 0, "the reserved space"),
    (21, 1, 64, "the largest share of a cell"),
    (22, 1, 32, "the smallest share of a cell"),
    (23, 1, 32, "the share of a leaf"),
    (44, 4, 4, "the format of the schema"),
    (48, 4, 0, "the size of the cache"),
    (52, 4, 0, "the largest root page"),
    (56, 4, 1, "the encoding of texts"),
    (64, 4, 0, "the mode of vacuuming"),
    (72, 4, 0, "the unused space"),
];

/// The result of verifying a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogReport {
    /// The number of events.
    pub events: u64,
    /// The number of streams that have events.
    pub streams: usize,
    /// The number of events from before checksums that have none yet. The next start of the log adds them.
    pub without_checksum: u64,
    /// The damages, each with its place; the first thousand.
    pub damages: Vec<String>,
    /// The number of all damages.
    pub damaged: usize,
}

/// Verifies the log at `path`. `understands` is asked for each whole event whether its content can be read, and returns the
/// reason if not.
///
/// # Errors
/// If the file cannot be opened, is no log, or has another version than this program writes.
pub fn verify_log(
    path: &Path,
    understands: impl FnMut(&RecordedEvent) -> Result<(), String>,
) -> Result<LogReport, OpenLogError> {
    let mut report = LogReport::default();
    for _ in 0..HEADER_READS {
        report = LogReport::default();
        check_header(path, &mut report)?;
        if report.damaged == 0 {
            break;
        }
        std::thread::sleep(HEADER_PAUSE);
    }
    let mut log = open::existing(path)?;
    check_pages(&log, &mut report);
    let mut walk = EventWalk {
        report,
        understands,
        streams: HashMap::new(),
        metadata: HashMap::new(),
        newest_us: i64::MIN,
        skipped: false,
    };
    if let Err(error) = walk.check_all(&mut log) {
        walk.report.note(format!("the events cannot be read to their end: {error}"));
    }
    walk.report.streams = walk.streams.len();
    Ok(walk.report)
}

impl LogReport {
    fn note(&mut self, damage: String) {
        self.damaged += 1;
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        }
    }
}

/// Checks the fields of the header that SQLite does not need and so does not check, and those that all logs have in common.
fn check_header(path: &Path, report: &mut LogReport) -> Result<(), OpenLogError> {
    let mut header = [0; 100];
    let unreadable = |error| OpenLogError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    file.read_exact_at(&mut header, 0).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let number = |at: usize, length: usize| {
        header[at..at + length].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(OpenLogError::NotALog(path.to_owned()));
    }
    for (at, length, value, name) in HEADER_FIELDS {
        let found = number(at, length);
        if found != value {
            report.note(format!("the file's header: {name} is {found}, not {value}"));
        }
    }
    // 2 is a log that was open, and 1 a copy that SQLite made.
    if header[18] != header[19] || !(1..=2).contains(&header[18]) {
        report.note(format!("the file's header: the journal modes are {} and {}", header[18], header[19]));
    }
    if header[72..92].iter().any(|byte| *byte != 0) && number(72, 4) == 0 {
        report.note("the file's header: the unused space is used".to_owned());
    }
    if number(24, 4) != number(92, 4) {
        report.note(
            "the file's header: the count of changes is not the one that its size belongs to".to_owned(),
        );
    }
    // The newest pages may still be in the journal.
    let mut journal = path.as_os_str().to_owned();
    journal.push("-wal");
    let is_at_rest = fs::metadata(journal).map_or(true, |journal| journal.len() == 0);
    let expected = u64::from(number(16, 2)) * u64::from(number(28, 4));
    if is_at_rest && length != expected {
        report.note(format!("the file has {length} bytes, and {expected} by its header"));
    }
    Ok(())
}

/// Has SQLite check every page, and each index against its table.
fn check_pages(log: &Connection, report: &mut LogReport) {
    let check = || -> rusqlite::Result<Vec<String>> {
        let mut check = log.prepare(&format!("PRAGMA integrity_check({PAGE_DAMAGES_MAX})"))?;
        check.query_map([], |row| row.get(0))?.collect()
    };
    match check() {
        Ok(lines) => {
            lines
                .iter()
                .filter(|line| *line != "ok")
                .for_each(|line| report.note(format!("the file: {line}")));
        }
        Err(error) => report.note(format!("the file's pages cannot be read: {error}")),
    }
}

/// A walk over all events, in the order of their positions.
struct EventWalk<F> {
    report: LogReport,
    understands: F,
    /// The newest revision of each stream.
    streams: HashMap<String, Revision>,
    /// The newest metadata of each stream that has some; `None` if another event follows it.
    metadata: HashMap<String, Option<Vec<u8>>>,
    /// The moment of the last event.
    newest_us: i64,
    /// True if events could not be read: then revisions may be missing.
    skipped: bool,
}

impl<F: FnMut(&RecordedEvent) -> Result<(), String>> EventWalk<F> {
    /// Checks all events a page at a time, so that a process that has the log open is not held up.
    fn check_all(&mut self, log: &mut Connection) -> Result<(), ReadError> {
        let mut at = Position::START;
        loop {
            let snapshot = log.transaction().map_err(read_error)?;
            match check_page(&snapshot, at, PAGE_EVENTS, |event| self.check(&snapshot, event)) {
                Ok(page) => {
                    at = page.next;
                    let end = page.end;
                    self.take(page);
                    if end {
                        return self.check_streams(&snapshot);
                    }
                }
                Err(error) => {
                    let next = position_after(&snapshot, at)?;
                    let end = next.is_none();
                    let until = next.map_or("the end".to_owned(), |next| format!("position {next}"));
                    self.report.note(format!(
                        "the events between position {at} and {until} cannot all be read: {error}"
                    ));
                    self.skipped = true;
                    at = next.unwrap_or(at);
                    if end {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn take(&mut self, page: CheckedPage) {
        self.report.events += page.events;
        self.report.without_checksum += page.unsummed.len() as u64;
        page.damage.iter().for_each(|damage| self.report.note(damage.to_string()));
    }

    /// Checks the next event.
    fn check(
        &mut self,
        log: &Connection,
        event: Result<&RowContent<'_>, &FoundDamage>,
    ) -> Option<FoundDamage> {
        match event {
            Ok(content) => self.check_content(log, content),
            Err(FoundDamage { place: EventPlace { stream, revision, .. }, .. }) => {
                // The damaged event counts as one of its stream, so that the next ones follow it.
                if let (Some(stream), Some(revision)) = (stream, revision) {
                    self.streams.insert(stream.as_str().to_owned(), *revision);
                }
                None
            }
        }
    }

    /// Checks what a whole event says, by itself and after those before it.
    fn check_content(&mut self, log: &Connection, content: &RowContent<'_>) -> Option<FoundDamage> {
        let damaged = |why: String| Some(FoundDamage { place: content.place(), why });
        let next = self.streams.get(content.stream).map_or(0, |newest| newest.saturating_add(1));
        let newest_us = std::mem::replace(&mut self.newest_us, content.recorded_at_us);
        self.streams.insert(content.stream.to_owned(), content.revision);
        if let Some(described) = content.stream.strip_prefix("$$") {
            let metadata = (content.kind == METADATA_KIND).then(|| content.data.to_vec());
            self.metadata.insert(described.to_owned(), metadata);
        }
        if content.revision != next && content.revision != TOMBSTONE_REVISION && !self.skipped {
            return damaged(format!("revision {next} was expected"));
        }
        if content.recorded_at_us < newest_us && !self.skipped && !is_clock_step(log, content.position) {
            return damaged("it is older than the event before it".to_owned());
        }
        match stored_event(content) {
            Ok(stored) => (self.understands)(&stored.event).err().and_then(damaged),
            Err(error) => damaged(error.to_string()),
        }
    }

    /// Checks that each stream ends with its newest event, and hides what its metadata says.
    fn check_streams(&mut self, log: &Connection) -> Result<(), ReadError> {
        if self.skipped {
            return Ok(());
        }
        let mut names = log.prepare("SELECT name FROM streams").map_err(read_error)?;
        let mut names = names.query([]).map_err(read_error)?;
        while let Some(row) = names.next().map_err(read_error)? {
            let name = StreamName::recorded(row.get(0).map_err(read_error)?);
            let Some(stream) = StreamRow::load(log, &name).map_err(read_error)? else {
                self.report.note(format!("stream {} is not found by its name", name.as_str().escape_debug()));
                continue;
            };
            let newest = self.streams.get(name.as_str()).copied();
            if stream.last_revision != newest {
                let said = |revision: Option<Revision>| {
                    revision.map_or("nowhere".to_owned(), |revision| format!("at revision {revision}"))
                };
                let (last, newest) = (said(stream.last_revision), said(newest));
                let name = name.as_str().escape_debug();
                self.report.note(format!("stream {name} should end {last}, and ends {newest}"));
            }
            if !stream.hides_as(self.metadata.get(name.as_str()).map(Option::as_deref), &name) {
                let name = name.as_str().escape_debug();
                self.report.note(format!("stream {name} hides other events than its metadata says"));
            }
        }
        Ok(())
    }
}

fn is_clock_step(log: &Connection, position: u64) -> bool {
    let step = log.query_row("SELECT 1 FROM clock_steps WHERE position = ?1", [position], |_| Ok(()));
    matches!(step.optional(), Ok(Some(())))
}

/// Returns a position after `at` whose next event can be read, or `None` if there is none. Each try is twice as far as the
/// one before.
fn position_after(log: &Connection, at: Position) -> Result<Option<Position>, ReadError> {
    let end = head(log).map_err(read_error)?;
    let steps =
        (0..u64::BITS).map_while(|power| at.0.checked_add(1 << power)).take_while(|next| *next < end.0);
    Ok(steps.map(Position).find(|next| check_page(log, *next, 1, |_| None).is_ok()))
}
