//! Where history is written: a file or standard output, in one of the formats.
//! A file that an earlier run left is continued.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

use super::CliError;
use super::line::EventLine;
use super::parquet::ParquetFile;
use super::row::EventRow;

/// How much of a file's end is looked at: more than the longest line.
const TAIL_BYTES: u64 = 16 * 1024 * 1024;

/// The form of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputFormat {
    /// One JSON object a line, with all that was recorded
    Ndjson,
    /// A table as text, with a line that names its columns
    Csv,
    /// A table for tools such as DuckDB
    Parquet,
}

/// Where it goes.
pub(super) struct HistorySink {
    form: OutputWriter,
    /// The name that a Parquet file gets when it is whole, and the one that it has before.
    rename: Option<[PathBuf; 2]>,
}

type Out = BufWriter<Box<dyn Write + Send>>;

enum OutputWriter {
    Ndjson(Out),
    Csv(Box<csv::Writer<Out>>),
    Parquet(Box<ParquetFile<Out>>),
}

/// What is written of an event.
pub(super) enum SinkEntry<'a> {
    Line(&'a EventLine),
    Row(&'a EventRow<'a>),
}

impl OutputFormat {
    /// Whether it has [`SinkEntry::EventRow`]s, for which more must be known than an event says.
    pub(super) fn is_flat(self) -> bool {
        self != Self::Ndjson
    }
}

impl HistorySink {
    /// Opens it, and says after which position to go on: that of the last
    /// event in the file, if it has one.
    pub(super) fn open(format: OutputFormat, output: Option<&Path>) -> Result<(Self, Option<u64>), CliError> {
        let Some(path) = output else {
            if format == OutputFormat::Parquet && io::stdout().is_terminal() {
                return Err(CliError::refused("Parquet is not for terminals; give --output FILE"));
            }
            return Ok((Self::new(format, Box::new(io::stdout()), false)?, None));
        };
        let cannot =
            |error: io::Error| CliError::failed(format!("{} cannot be written: {error}", path.display()));
        if format == OutputFormat::Parquet {
            if path.exists() {
                let why = "is there already, and Parquet cannot be continued; move it away, or name another";
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
        let after = match last.as_deref().map(|line| position(format, line)) {
            None => None,
            Some(Some(position)) => position,
            Some(None) => {
                let why = "is there already and is no such history; move it away, or name another";
                return Err(CliError::refused(format!("{} {why}", path.display())));
            }
        };
        // What stands behind it was being written when a run was killed.
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(cannot)?;
        Ok((Self::new(format, Box::new(file), last.is_some())?, after))
    }

    fn new(format: OutputFormat, out: Box<dyn Write + Send>, continued: bool) -> Result<Self, CliError> {
        let out = BufWriter::new(out);
        let form = match format {
            OutputFormat::Ndjson => OutputWriter::Ndjson(out),
            OutputFormat::Csv => OutputWriter::Csv(Box::new(
                csv::WriterBuilder::new().has_headers(!continued).from_writer(out),
            )),
            OutputFormat::Parquet => {
                OutputWriter::Parquet(Box::new(ParquetFile::new(out).map_err(of_parquet)?))
            }
        };
        Ok(Self { form, rename: None })
    }

    pub(super) fn write(&mut self, entry: SinkEntry<'_>) -> io::Result<()> {
        match (&mut self.form, entry) {
            (OutputWriter::Ndjson(out), SinkEntry::Line(line)) => {
                serde_json::to_writer(&mut *out, line)?;
                out.write_all(b"\n")
            }
            (OutputWriter::Csv(out), SinkEntry::Row(row)) => out.serialize(row).map_err(of_csv),
            (OutputWriter::Parquet(out), SinkEntry::Row(row)) => out.write(row).map_err(of_parquet),
            (OutputWriter::Ndjson(_), SinkEntry::Row(_))
            | (OutputWriter::Csv(_) | OutputWriter::Parquet(_), SinkEntry::Line(_)) => {
                unreachable!("what is written follows from the format")
            }
        }
    }

    /// Lets go of what is held back, as far as the format can.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.form {
            OutputWriter::Ndjson(out) => out.flush(),
            OutputWriter::Csv(out) => out.flush(),
            OutputWriter::Parquet(_) => Ok(()),
        }
    }

    /// Writes the end.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        if let OutputWriter::Parquet(out) = self.form {
            out.finish().map_err(of_parquet)?.flush()?;
        }
        match self.rename {
            Some([draft, path]) => std::fs::rename(draft, path),
            None => Ok(()),
        }
    }
}

/// The last whole line of a file and where it ends; in a file that has no
/// whole line, what there is. `None` for an empty file.
fn last_line(file: &mut File) -> io::Result<(Option<String>, u64)> {
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    if tail.is_empty() {
        return Ok((None, 0));
    }
    let end = tail.iter().rposition(|byte| *byte == b'\n').unwrap_or(tail.len());
    let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    let line = String::from_utf8_lossy(&tail[begin..end]).into_owned();
    Ok((Some(line), start + end as u64 + 1))
}

/// The position in a line: `None` when it is not such a line, `Some(None)`
/// when it only names the columns.
#[expect(clippy::option_option, reason = "a line of names is a line without a position")]
fn position(format: OutputFormat, line: &str) -> Option<Option<u64>> {
    match format {
        OutputFormat::Ndjson => serde_json::from_str::<EventLine>(line).ok().map(|line| Some(line.position)),
        _ if line.starts_with("position,recorded_at,") => Some(None),
        _ => line.split_once(',')?.0.parse().ok().map(Some),
    }
}

fn of_csv(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn of_parquet(error: ParquetError) -> io::Error {
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
        let after = HistorySink::open(format, Some(&path)).map(|(sink, after)| {
            sink.finish().unwrap();
            after
        });
        (after.map_err(|failure| failure.to_string()), std::fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn a_file_goes_on_after_its_last_whole_line() {
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
    }

    #[test]
    fn a_file_that_is_something_else_stays_as_it_is() {
        for (format, content) in [
            (OutputFormat::Ndjson, "dear diary"),
            (OutputFormat::Csv, "a,b\n1,2\n3;4\n"),
            (OutputFormat::Parquet, "PAR1"),
        ] {
            let (after, left) = reopened(format, content);
            assert!(after.unwrap_err().contains("is there already"));
            assert_eq!(left, content);
        }
    }
}
