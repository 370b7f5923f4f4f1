//! An event as one row of a table.

use domain::Event;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::line::EventLine;
use super::submitter::Submitter;

/// The signs by which spreadsheets tell formulas.
const FORMULA_SIGNS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// The names of the columns, in the order of the fields of [`EventRow`].
pub(super) const COLUMNS: [&str; 15] = [
    "position",
    "recorded_at",
    "stream",
    "submission",
    "revision",
    "type",
    "owner",
    "name",
    "country",
    "lat",
    "lon",
    "attempt",
    "outcome",
    "reasons",
    "data",
];

/// An event as a row. A column that the event does not have is empty. Only CSV is written by these serializers.
#[derive(Debug, Serialize)]
pub(super) struct EventRow<'a> {
    pub(super) position: u64,
    pub(super) recorded_at: Timestamp,
    #[serde(serialize_with = "as_text")]
    pub(super) stream: &'a str,
    #[serde(serialize_with = "as_optional_text")]
    pub(super) submission: Option<String>,
    /// The event's number in its stream, from 0.
    pub(super) revision: u64,
    #[serde(serialize_with = "as_text")]
    pub(super) r#type: &'a str,
    /// The registry namespace of the images.
    #[serde(serialize_with = "as_optional_text")]
    pub(super) owner: Option<&'a str>,
    #[serde(serialize_with = "as_optional_text")]
    pub(super) name: Option<&'a str>,
    /// ISO 3166 code of two letters.
    #[serde(serialize_with = "as_optional_text")]
    pub(super) country: Option<&'a str>,
    /// The latitude in degrees north.
    pub(super) lat: Option<f64>,
    /// The longitude in degrees east.
    pub(super) lon: Option<f64>,
    /// The number of the attempt, from 1.
    pub(super) attempt: Option<u32>,
    /// The end of an attempt or of a submission: `passed`, `failed`, `interrupted` or `given_up`.
    pub(super) outcome: Option<&'static str>,
    /// The codes of the reasons, separated by commas.
    #[serde(serialize_with = "as_optional_text")]
    pub(super) reasons: Option<String>,
    /// The content of the event, as JSON.
    #[serde(serialize_with = "as_optional_text")]
    pub(super) data: Option<&'a str>,
}

impl<'a> EventRow<'a> {
    pub(super) fn new(line: &'a EventLine, event: Option<&Event>, submitter: Option<&'a Submitter>) -> Self {
        let (outcome, reasons) = event.map_or((None, None), ending);
        Self {
            position: line.position,
            recorded_at: line.recorded_at,
            stream: &line.stream,
            submission: line.submission().map(|id| id.to_string()),
            revision: line.revision,
            r#type: &line.kind,
            owner: submitter.map(|submitter| submitter.owner.as_str()),
            name: submitter.map(|submitter| submitter.name.as_str()),
            country: submitter.map(|submitter| submitter.country.as_str()),
            lat: submitter.map(|submitter| submitter.lat),
            lon: submitter.map(|submitter| submitter.lon),
            attempt: event.and_then(Event::attempt),
            outcome,
            reasons,
            data: line.data.as_deref().map(|data| data.get()),
        }
    }
}

fn ending(event: &Event) -> (Option<&'static str>, Option<String>) {
    match event {
        Event::Passed(_) => (Some("passed"), None),
        Event::Failed(failed) => {
            let codes: Vec<&str> = failed.reasons.iter().map(|reason| reason.code.as_str()).collect();
            (Some("failed"), Some(codes.join(",")))
        }
        Event::VerificationInterrupted(interrupted) => {
            (Some("interrupted"), Some(interrupted.code.as_str().to_owned()))
        }
        Event::GivenUp(given_up) => (Some("given_up"), Some(given_up.code.as_str().to_owned())),
        Event::Submitted(_)
        | Event::VerificationStarted(_)
        | Event::ImagesPulled(_)
        | Event::ContainersStarted(_)
        | Event::Probed(_)
        | Event::RejudgeRequested(_)
        | Event::Hidden(_)
        | Event::Shown(_)
        | Event::NameCorrected(_)
        | Event::Withdrawn(_) => (None, None),
    }
}

/// Writes a text of a participant or of another writer. A spreadsheet would run one that begins like a formula, so an
/// apostrophe is put before it, which spreadsheets do not show.
fn as_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if text.starts_with(FORMULA_SIGNS) {
        serializer.collect_str(&format_args!("'{text}"))
    } else {
        serializer.serialize_str(text)
    }
}

/// Returns a text of a CSV as the log has it.
pub(super) fn as_recorded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| text.starts_with(FORMULA_SIGNS)).unwrap_or(cell)
}

fn as_optional_text<S: Serializer>(text: &Option<impl AsRef<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => as_text(text.as_ref(), serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_have_the_names_of_the_fields() {
        let line: EventLine = serde_json::from_str(
            r#"{"position":1,"stream":"s","revision":0,"id":"00000000-0000-0000-0000-000000000000",
                "recorded_at":"2016-03-21T12:00:00Z","type":"t","data":{},"metadata":null}"#,
        )
        .unwrap();
        let mut table = csv::Writer::from_writer(Vec::new());
        table.serialize(EventRow::new(&line, None, None)).unwrap();
        let written = String::from_utf8(table.into_inner().unwrap()).unwrap();
        assert_eq!(written.lines().next(), Some(COLUMNS.join(",").as_str()));
    }

    #[test]
    fn no_cell_is_a_formula() {
        #[derive(Serialize)]
        struct Cells<'a>(#[serde(serialize_with = "as_optional_text")] Option<&'a str>, f64);
        let written = |text| {
            let mut table = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
            table.serialize(Cells(text, -12.5)).unwrap();
            String::from_utf8(table.into_inner().unwrap()).unwrap()
        };
        for (text, cell) in [
            ("=1+1", "'=1+1,-12.5\n"),
            ("+1", "'+1,-12.5\n"),
            ("-1", "'-1,-12.5\n"),
            ("@A1", "'@A1,-12.5\n"),
            ("\t=1", "'\t=1,-12.5\n"),
            ("＝1", "'＝1,-12.5\n"),
            ("Ada = Lovelace", "Ada = Lovelace,-12.5\n"),
        ] {
            assert_eq!(written(Some(text)), cell);
            assert_eq!(as_recorded(cell.split_once(',').unwrap().0), text);
        }
        assert_eq!(written(None), ",-12.5\n");
    }
}
