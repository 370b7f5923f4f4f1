//! The content of an event as JSON on one line, for exports with one event a line.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

/// The data or the metadata of an event, in a form without line breaks.
#[derive(Debug, Clone, Default)]
pub struct OneLine {
    /// The bytes if they are JSON, as they were written but without line breaks.
    pub json: Option<Box<RawValue>>,
    /// The bytes in Base64 if they are not JSON.
    pub base64: Option<String>,
}

impl From<&[u8]> for OneLine {
    fn from(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        let Ok(json) = serde_json::from_slice::<Box<RawValue>>(bytes) else {
            return Self { json: None, base64: Some(STANDARD.encode(bytes)) };
        };
        if !json.get().contains(['\n', '\r']) {
            return Self { json: Some(json), base64: None };
        }
        // JSON escapes line breaks inside strings, so these stand between tokens.
        let line = json.get().replace(['\n', '\r'], "");
        Self { json: RawValue::from_string(line).ok(), base64: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_as_it_is_but_for_its_line_breaks() {
        let json = |bytes: &[u8]| OneLine::from(bytes).json.unwrap().get().to_owned();
        assert_eq!(json(b"{\"b\": 1.50,\r\n \"a\": \"x\\ny\"\n}"), "{\"b\": 1.50, \"a\": \"x\\ny\"}");
        assert_eq!(json(b"12345678901234567890123.0"), "12345678901234567890123.0");
        let deep = "[\n".repeat(5000) + &"]".repeat(5000);
        assert_eq!(json(deep.as_bytes()).len(), 10_000);
    }

    #[test]
    fn bytes_that_are_not_json_are_kept_in_base64() {
        for (bytes, base64) in
            [(&b"\x00\xff"[..], "AP8="), (b"{", "ew=="), (b"\"\xff\"", "Iv8i"), (b"{}{}", "e317fQ==")]
        {
            let line = OneLine::from(bytes);
            assert_eq!((line.json.is_none(), line.base64.as_deref()), (true, Some(base64)));
        }
        let nothing = OneLine::from(&b""[..]);
        assert!(nothing.json.is_none() && nothing.base64.is_none());
    }
}
