//! Bodies that confuse a reader of JSON.

use std::fs;

use crate::serve::{answer, serve};
use crate::{fail, text};

/// The depth of a nested body. It is just under the 64 KiB that a response may have.
const DEEP: usize = 30_000;
const ENORMOUS: usize = 4 << 20;

/// Answers every request with the body of this name.
pub(crate) fn answers(arguments: &[String]) -> ! {
    let body = body(text(arguments, 0));
    serve(80, move |stream, _head| answer(stream, "200 OK", "Content-Type: application/json", &body))
}

fn body(character: &str) -> Vec<u8> {
    let right = fs::read_to_string("/config.json").unwrap_or_else(|error| fail(&error.to_string()));
    // Returns the right answer with something more before its first key.
    let with = |more: &str| right.replacen('{', &format!("{{{more},"), 1).into_bytes();
    match character {
        "deep" => [b"[".repeat(DEEP), b"]".repeat(DEEP)].concat(),
        "deep-within" => with(&format!("\"a\":{}{}", "[".repeat(DEEP), "]".repeat(DEEP))),
        "twice" => with("\"name\":\"Mallory\""),
        "enormous" => with(&format!("\"a\":\"{}\"", "a".repeat(ENORMOUS))),
        "not-utf8" => [&b"{\"name\":\"\xff\xfe\xc0\x80\"}"[..]].concat(),
        "utf16" => right.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "byte-order-mark" => ["\u{feff}", &right].concat().into_bytes(),
        "huge-number" => with("\"a\":1e999999"),
        "not-a-number" => with("\"a\":NaN"),
        "lone-surrogate" => with("\"a\":\"\\ud800\""),
        "two-documents" => [&*right, "{\"name\":\"Mallory\"}"].concat().into_bytes(),
        "array" => format!("[{right}]").into_bytes(),
        // The answer is right, and the further keys must be ignored.
        "more-keys" => with("\"__proto__\":{\"admin\":true},\"$where\":\"sleep(1000)\",\"a.b\":1"),
        "escapes" => br#"{"name":"\u001b[31m<script>alert(1)</script>\u202e"}"#.to_vec(),
        other => fail(&format!("no character is called {other:?}")),
    }
}
