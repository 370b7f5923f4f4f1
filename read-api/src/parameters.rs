//! The values of query parameters and headers, parsed. A problem names the parameter that is wrong.

use std::time::Duration;

use axum::http::HeaderMap;
use domain::SubmissionId;
use http_edge::Problem;
use jiff::{SignedDuration, Timestamp};
use projections::ZOOM_MAX;
use projections::view::BoundingBox;

use crate::sse::MessageId;

/// The length of the longest offset from UTC, `02:00:00`.
const OFFSET_CHARS_MAX: usize = 8;

/// Parses a submission's id from the path. A text that is no id at all is answered 404, like an unknown id.
pub(crate) fn submission(text: &str) -> Result<SubmissionId, Problem> {
    text.parse().map_err(|_| not_found())
}

/// Creates the problem of an unknown submission.
pub(crate) fn not_found() -> Problem {
    Problem::not_found("There is no submission of this id.")
}

/// Parses a duration such as `30s`, `500ms` or `1m`, and shortens it to `max`.
pub(crate) fn duration(name: &str, text: &str, max: Duration) -> Result<Duration, Problem> {
    let wrong = || Problem::parameter(name, "this is not a duration; write 30s, 500ms or 1m");
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    Ok(Duration::try_from(duration).map_err(|_| wrong())?.min(max))
}

/// Parses a timestamp such as `2026-03-21T12:00:00Z`. In an address the plus of an offset stands for a space, and few people
/// write it as `%2B`.
pub(crate) fn timestamp(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let with_plus = text.rsplit_once(' ').filter(|(_, offset)| offset.len() <= OFFSET_CHARS_MAX);
    let with_plus = with_plus.map(|(moment, offset)| format!("{moment}+{offset}"));
    with_plus.as_deref().and_then(|text| text.parse().ok()).or_else(|| text.parse().ok()).ok_or_else(|| {
        let message = "this is not a timestamp; write 2026-03-21T12:00:00Z or with an offset such as +02:00";
        Problem::parameter(name, message)
    })
}

/// Parses the parameter `at`, a moment of the past; `None` stands for the present.
pub(crate) fn past(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let time = timestamp("at", text)?;
    if time > Timestamp::now() {
        return Err(Problem::parameter("at", "this moment is in the future"));
    }
    Ok(Some(time))
}

/// Parses a whole number from 0.
pub(crate) fn number(name: &str, text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::parameter(name, "this is not a whole number from 0"))
}

/// Parses the parameter `bbox`: `west,south,east,north` in degrees. If `west` is greater than `east`, the box crosses
/// the antimeridian. Map libraries repeat the world, and count on beyond ±180 degrees.
pub(crate) fn bounding_box(text: &str) -> Result<BoundingBox, Problem> {
    let wrong = |message: &str| Problem::parameter("bbox", message);
    let numbers: Vec<f64> = text
        .split(',')
        .map(|part| part.trim().parse::<f64>().ok().filter(|number| number.is_finite()))
        .collect::<Option<_>>()
        .ok_or_else(|| wrong("write four numbers of degrees: west,south,east,north"))?;
    let [west, south, east, north] = numbers[..] else {
        return Err(wrong("write four numbers of degrees: west,south,east,north"));
    };
    if [south, north].iter().any(|lat| lat.abs() > 90.0) {
        return Err(wrong("south and north are from −90 to 90"));
    }
    if south > north {
        return Err(wrong("south is greater than north; swap the two"));
    }
    let (west, east) = wrapped(west, east);
    Ok(BoundingBox { west, south, east, north })
}

/// Returns the same meridians between −180 and 180 degrees; west is greater than east if they enclose the antimeridian.
fn wrapped(west: f64, east: f64) -> (f64, f64) {
    if west.abs() <= 180.0 && east.abs() <= 180.0 {
        return (west, east);
    }
    let width = if west <= east { east - west } else { (east - west).rem_euclid(360.0) };
    if width >= 360.0 {
        return (-180.0, 180.0);
    }
    let west = meridian(west);
    let east = west + width;
    (west, if east > 180.0 { east - 360.0 } else { east })
}

/// Returns the same meridian from −180 up to 180 degrees.
fn meridian(degrees: f64) -> f64 {
    (degrees + 180.0).rem_euclid(360.0) - 180.0
}

/// Parses the parameter `lat`, degrees north.
pub(crate) fn latitude(text: Option<&str>) -> Result<f64, Problem> {
    number_of_degrees(text)
        .filter(|degrees| degrees.abs() <= 90.0)
        .ok_or_else(|| Problem::parameter("lat", "write a number of degrees from −90 to 90"))
}

/// Parses the parameter `lon`, degrees east. Degrees beyond ±180 are wrapped, as in a box.
pub(crate) fn longitude(text: Option<&str>) -> Result<f64, Problem> {
    number_of_degrees(text)
        .map(|degrees| if degrees.abs() <= 180.0 { degrees } else { meridian(degrees) })
        .ok_or_else(|| Problem::parameter("lon", "write a number of degrees"))
}

fn number_of_degrees(text: Option<&str>) -> Option<f64> {
    text?.trim().parse::<f64>().ok().filter(|degrees| degrees.is_finite())
}

/// Parses the parameter `zoom`, a zoom of the map.
pub(crate) fn zoom(text: &str) -> Result<u8, Problem> {
    text.parse()
        .ok()
        .filter(|zoom| *zoom <= ZOOM_MAX)
        .ok_or_else(|| Problem::parameter("zoom", format!("this is not a whole number from 0 to {ZOOM_MAX}")))
}

/// Parses the header `Last-Event-ID` of a client that connects to a live stream again.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<MessageId>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let wrong = || Problem::parameter("Last-Event-ID", "this is not the id of a message");
    MessageId::parse(text).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounding_box_is_four_numbers_with_south_below_north() {
        assert_eq!(
            bounding_box("-10, -20,10,20.5").unwrap(),
            BoundingBox { west: -10.0, south: -20.0, east: 10.0, north: 20.5 }
        );
        assert_eq!(bounding_box("170,-10,-170,10").unwrap().west, 170.0, "it crosses the antimeridian");
        for wrong in [
            "",
            "1,2,3",
            "1,2,3,4,5",
            "a,b,c,d",
            "NaN,0,0,0",
            "0,0,inf,1",
            "0,10,1,-10",
            "0,-91,0,0",
            "0,0,1e999,1",
        ] {
            assert!(bounding_box(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_box_beyond_180_degrees_is_wrapped() {
        for (sent, west, east) in [
            ("-180,0,180,1", -180.0, 180.0),
            ("170,0,190,1", 170.0, -170.0),
            ("-190,0,-170,1", 170.0, -170.0),
            ("-181,0,0,1", 179.0, 0.0),
            ("190,0,200,1", -170.0, -160.0),
            ("350,0,370,1", -10.0, 10.0),
            ("-550,0,-530,1", 170.0, -170.0),
            ("-540,0,180,1", -180.0, 180.0),
            ("-200,0,160,1", -180.0, 180.0),
            ("-200,0,200,1", -180.0, 180.0),
            ("-1e300,0,1e300,1", -180.0, 180.0),
            ("170,0,180,1", 170.0, 180.0),
            ("180,0,190,1", -180.0, -170.0),
            ("190,0,-160,1", -170.0, -160.0),
            ("-170,0,170,1", -170.0, 170.0),
        ] {
            let bounds = bounding_box(sent).unwrap();
            let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
            assert!(near(bounds.west, west) && near(bounds.east, east), "{sent}: {bounds:?}");
        }
    }

    #[test]
    fn a_point_beyond_180_degrees_is_wrapped() {
        for (sent, meant) in [
            ("0", 0.0),
            ("180", 180.0),
            ("-180", -180.0),
            ("181", -179.0),
            ("-181", 179.0),
            ("359.5", -0.5),
            ("-360", 0.0),
            ("540", -180.0),
            (" 725 ", 5.0),
        ] {
            assert_eq!(longitude(Some(sent)).unwrap(), meant, "{sent}");
        }
        for wrong in ["", "east", "NaN", "inf", "1e999"] {
            assert!(longitude(Some(wrong)).is_err() && latitude(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(latitude(Some("90.5")).is_err() && longitude(None).is_err());
    }

    #[test]
    fn a_zoom_is_a_whole_number_from_0_to_16() {
        assert_eq!(zoom("0").unwrap(), 0);
        assert_eq!(zoom("16").unwrap(), 16);
        for wrong in ["-1", "17", "99", "300", "1.5", "", "x"] {
            assert!(zoom(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_shortened_to_its_maximum() {
        let max = Duration::from_secs(60);
        assert_eq!(duration("wait", "500ms", max).unwrap(), Duration::from_millis(500));
        assert_eq!(duration("wait", "1h", max).unwrap(), max);
        for wrong in ["", "soon", "-5s", "30"] {
            assert!(duration("wait", wrong, max).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_taken_as_people_type_it() {
        let at = |text| timestamp("at", text).ok().map(|at| at.to_string());
        for text in [
            "2026-03-21T14:00:00+02:00",
            "2026-03-21T14:00:00 02:00",
            "2026-03-21 14:00:00 02:00",
            "2026-03-21T14:00:00 0200",
            "2026-03-21 12:00:00Z",
            "2026-03-21T08:00:00-04:00",
        ] {
            assert_eq!(at(text).as_deref(), Some("2026-03-21T12:00:00Z"), "{text}");
        }
        for text in ["2026-03-21 12:00", "2026-03-21", "noon", "", " ", " 02:00"] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
