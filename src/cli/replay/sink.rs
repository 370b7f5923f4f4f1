//! The output of `muster replay`: a file or standard output, in one of the formats. An export continues a file that an
//! earlier run left.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use event_store::RecordedEvent;
use jiff::Timestamp;
use parquet::errors::ParquetError;
use uuid::Uuid;

use super::line::EventLine;
use super::parquet::ParquetFile;
use super::row::{COLUMNS, EventRow, as_recorded};
use crate::cli::error::CliError;

/// The bytes read at the end of a file to find its last line: more than the longest line.
const TAIL_BYTES: u64 = 16 * 1024 * 1024;

/// The UTF-8 byte-order mark.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputFormat {
    /// JSON objects, one a line, with everything that the log has
    Ndjson,
    /// A table as text, with the names of the columns in the first line
    Csv,
    /// A binary table for tools such as DuckDB
    Parquet,
}

/// The open output of an export.
pub(super) struct HistorySink {
    writer: OutputWriter,
    /// The draft's name of a Parquet file, and its name once it is complete.
    rename: Option<[PathBuf; 2]>,
}

type Out = BufWriter<Box<dyn Write + Send>>;

enum OutputWriter {
    Ndjson(Out),
    Csv(Box<csv::Writer<Out>>),
    Parquet(Box<ParquetFile<Out>>),
}

/// An event in the shape that the format needs.
pub(super) enum SinkEntry<'a> {
    Line(&'a EventLine),
    Row(&'a EventRow<'a>),
}

/// The last event in a file that an export continues, as far as its format tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LastEntry {
    pub(crate) position: u64,
    pub(crate) id: Option<Uuid>,
    /// The stream, the revision and the moment of the event.
    pub(crate) recorded: Option<(String, u64, Timestamp)>,
}

impl LastEntry {
    /// Returns true if this is the event, as far as is known.
    pub(crate) fn is(&self, event: &RecordedEvent) -> bool {
        let recorded = (event.stream.as_str().to_owned(), event.revision, event.recorded_at);
        self.id.is_none_or(|id| id == event.id)
            && self.recorded.as_ref().is_none_or(|known| *known == recorded)
    }
}

impl OutputFormat {
    /// Returns whether the format has rows, which need the submitter of each event.
    pub(super) fn is_flat(self) -> bool {
        self != Self::Ndjson
    }
}

impl HistorySink {
    /// Opens the output, and returns the last event in the file, if it has one. A new CSV `for_excel` begins with a
    /// byte-order mark.
    pub(super) fn open(
        format: OutputFormat,
        for_excel: bool,
        output: Option<&Path>,
    ) -> Result<(Self, Option<LastEntry>), CliError> {
        let Some(path) = output else {
            if format == OutputFormat::Parquet && io::stdout().is_terminal() {
                return Err(CliError::refused(
                    "Parquet is a binary format and cannot be shown on a terminal; give --output FILE",
                ));
            }
            let mut out = io::stdout();
            if for_excel {
                out.write_all(BYTE_ORDER_MARK)?;
            }
            return Ok((Self::new(format, Box::new(out), false)?, None));
        };
        let cannot =
            |error: io::Error| CliError::failed(format!("{} cannot be written: {error}", path.display()));
        if format == OutputFormat::Parquet {
            if path.exists() {
                let why =
                    "exists already, and a Parquet file cannot be continued; move it, or name another file";
                return Err(CliError::refused(format!("{} {why}", path.display())));
            }
            let mut draft = path.as_os_str().to_owned();
            draft.push(".part");
            let draft = PathBuf::from(draft);
            let file = File::create(&draft).map_err(cannot)?;
            let sink = Self::new(format, Box::new(file), false)?;
            return Ok((Self { rename: Some([draft, path.to_owned()]), ..sink }, None));
        }
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(cannot)?;
        let (last, end) = last_line(&mut file).map_err(cannot)?;
        let after = match last.as_deref().map(|line| last_entry(format, line)) {
            None => None,
            Some(Some(entry)) => entry,
            Some(None) => {
                let why = "exists already and is not an export of this format; move it, or name another file";
                return Err(CliError::refused(format!("{} {why}", path.display())));
            }
        };
        // An incomplete last line is from a run that was killed.
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(cannot)?;
        if for_excel && last.is_none() {
            file.write_all(BYTE_ORDER_MARK).map_err(cannot)?;
        }
        Ok((Self::new(format, Box::new(file), last.is_some())?, after))
    }

    fn new(format: OutputFormat, out: Box<dyn Write + Send>, continued: bool) -> Result<Self, CliError> {
        let out = BufWriter::new(out);
        let writer = match format {
            OutputFormat::Ndjson => OutputWriter::Ndjson(out),
            OutputFormat::Csv => {
                let mut out = csv::WriterBuilder::new().has_headers(false).from_writer(out);
                // A table without events has its names too.
                if !continued {
                    out.write_record(COLUMNS).map_err(csv_error)?;
                }
                OutputWriter::Csv(Box::new(out))
            }
            OutputFormat::Parquet => {
                OutputWriter::Parquet(Box::new(ParquetFile::new(out).map_err(parquet_error)?))
            }
        };
        Ok(Self { writer, rename: None })
    }

    pub(super) fn write(&mut self, entry: SinkEntry<'_>) -> io::Result<()> {
        match (&mut self.writer, entry) {
            (OutputWriter::Ndjson(out), SinkEntry::Line(line)) => {
                serde_json::to_writer(&mut *out, line)?;
                out.write_all(b"\n")
            }
            (OutputWriter::Csv(out), SinkEntry::Row(row)) => out.serialize(row).map_err(csv_error),
            (OutputWriter::Parquet(out), SinkEntry::Row(row)) => out.write(row).map_err(parquet_error),
            (OutputWriter::Ndjson(_), SinkEntry::Row(_))
            | (OutputWriter::Csv(_) | OutputWriter::Parquet(_), SinkEntry::Line(_)) => {
                unreachable!("the format decides between lines and rows")
            }
        }
    }

    /// Writes buffered events, if the format can.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            OutputWriter::Ndjson(out) => out.flush(),
            OutputWriter::Csv(out) => out.flush(),
            OutputWriter::Parquet(_) => Ok(()),
        }
    }

    /// Writes the end of the output.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        if let OutputWriter::Parquet(out) = self.writer {
            out.finish().map_err(parquet_error)?.flush()?;
        }
        match self.rename {
            Some([draft, path]) => std::fs::rename(draft, path),
            None => Ok(()),
        }
    }
}

/// Returns the last complete line of a file and the offset of its end, or the whole content if no line is complete.
/// `None` stands for an empty file.
fn last_line(file: &mut File) -> io::Result<(Option<String>, u64)> {
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    if tail.is_empty() || tail == BYTE_ORDER_MARK {
        return Ok((None, 0));
    }
    let end = tail.iter().rposition(|byte| *byte == b'\n').unwrap_or(tail.len());
    let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    let line = String::from_utf8_lossy(&tail[begin..end]).into_owned();
    Ok((Some(line), start + end as u64 + 1))
}

/// Returns the event of a line, `Some(None)` for a line of column names, or `None` for any other line.
#[expect(clippy::option_option, reason = "a line of names is a line without an event")]
fn last_entry(format: OutputFormat, line: &str) -> Option<Option<LastEntry>> {
    match format {
        OutputFormat::Ndjson => {
            let line: EventLine = serde_json::from_str(line).ok()?;
            let (position, id) = (line.position, Some(line.id));
            Some(Some(LastEntry {
                position,
                id,
                recorded: Some((line.stream, line.revision, line.recorded_at)),
            }))
        }
        _ if line.trim_start_matches('\u{feff}').starts_with("position,recorded_at,") => Some(None),
        _ => {
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line.as_bytes());
            let row = reader.records().next()?.ok()?;
            // The columns of an `EventRow`.
            let recorded = || {
                let [at, stream, _, revision] = [1, 2, 3, 4].map(|column| row.get(column));
                Some((as_recorded(stream?).to_owned(), revision?.parse().ok()?, at?.parse().ok()?))
            };
            Some(Some(LastEntry { position: row.get(0)?.parse().ok()?, id: None, recorded: recorded() }))
        }
    }
}

fn csv_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn parquet_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopened(format: OutputFormat, content: &str) -> (Result<Option<u64>, String>, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history");
        std::fs::write(&path, content).unwrap();
        let for_excel = format == OutputFormat::Csv;
        let after = HistorySink::open(format, for_excel, Some(&path)).map(|(sink, after)| {
            sink.finish().unwrap();
            after.map(|entry| entry.position)
        });
        (after.map_err(|failure| failure.to_string()), std::fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn an_export_continues_after_the_last_complete_line() {
        let line = |position: u64| {
            format!(
                r#"{{"position":{position},"stream":"s","revision":0,"id":"{}","recorded_at":"2016-03-21T12:00:00Z","type":"t","data":{{}},"metadata":null}}"#,
                uuid::Uuid::nil()
            )
        };
        let whole = format!("{}\n{}\n", line(3), line(7));
        let cut = format!("{whole}{}", &line(9)[..20]);
        assert_eq!(reopened(OutputFormat::Ndjson, &cut), (Ok(Some(7)), whole));
        assert_eq!(reopened(OutputFormat::Ndjson, ""), (Ok(None), String::new()));

        let csv = "position,recorded_at,stream\n5,\"x, y\",s\n";
        assert_eq!(reopened(OutputFormat::Csv, &format!("{csv}6,2016")), (Ok(Some(5)), csv.to_owned()));
        let names = "position,recorded_at,stream\n";
        assert_eq!(reopened(OutputFormat::Csv, names), (Ok(None), names.to_owned()));
        let marked = format!("\u{feff}{names}");
        assert_eq!(reopened(OutputFormat::Csv, &marked), (Ok(None), marked.clone()));
        // A run that was killed may have written the mark alone.
        for empty in ["", "\u{feff}"] {
            let names = format!("\u{feff}{}\n", COLUMNS.join(","));
            assert_eq!(reopened(OutputFormat::Csv, empty), (Ok(None), names), "for Excel");
        }

        let moment: Timestamp = "2016-03-21T12:00:00Z".parse().unwrap();
        let recorded = Some(("s-1".to_owned(), 4, moment));
        let entry = last_entry(OutputFormat::Csv, &format!("5,{moment},s-1,,4,Passed,\"a, b\",,,,,,,,{{}}"));
        assert_eq!(entry, Some(Some(LastEntry { position: 5, id: None, recorded })));
    }

    #[test]
    fn a_file_that_is_not_an_export_stays_unchanged() {
        for (format, content) in [
            (OutputFormat::Ndjson, "dear diary"),
            (OutputFormat::Csv, "a,b\n1,2\n3;4\n"),
            (OutputFormat::Parquet, "PAR1"),
        ] {
            let (after, left) = reopened(format, content);
            assert!(after.unwrap_err().contains("exists already"));
            assert_eq!(left, content);
        }
    }
}
