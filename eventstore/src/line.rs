//! Bytes on a line of text: what an event carries, where each event is a line.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

/// What an event says, or what is known about it, as it fits on one line.
#[derive(Debug, Clone, Default)]
pub struct OneLine {
    /// JSON, as it was written but for its line breaks.
    pub json: Option<Box<RawValue>>,
    /// What is not JSON, in Base64.
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
        // Texts have none, for JSON escapes them there: all are between its parts.
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
    fn what_is_not_json_is_not_lost() {
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
