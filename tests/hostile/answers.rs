//! Attacks on the readers of a response: HTTP and JSON that no honest app sends.

use serde_json::Value;
use testbed::{App, Layer, Testbed};

use super::attack::Attack;
use super::attack::Deserves::{self, Fail, Pass};

/// Hostile HTTP responses by name and mode, each with its failure code and a part of the message.
const HTTP: &[(&str, &str, Deserves)] = &[
    ("slow-head", "slow-head", Fail("timed_out", "not answered within")),
    ("slow-body", "slow-body", Fail("timed_out", "not complete after")),
    ("slow-chunks", "slow-chunks", Fail("timed_out", "not complete after")),
    ("endless-head", "endless-head", Fail("bad_http", "cannot be read")),
    ("huge-header", "huge-header", Fail("bad_http", "cannot be read")),
    ("many-headers", "many-headers", Fail("bad_http", "cannot be read")),
    ("interim-storm", "interim-storm", Fail("bad_http", "cannot be read")),
    ("endless-body", "endless-body", Fail("answer_too_large", "longer than 64 KiB")),
    ("endless-chunks", "endless-chunks", Fail("answer_too_large", "longer than 64 KiB")),
    ("huge-length", "huge-length", Fail("answer_too_large", "longer than 64 KiB")),
    ("length-and-chunked", "length-and-chunked", Fail("bad_http", "cannot be read")),
    ("two-lengths", "two-lengths", Fail("bad_http", "cannot be read")),
    ("bare-line-feeds", "bare-line-feeds", Fail("mismatch", "name")),
    ("upgrade", "upgrade", Fail("bad_http", "cannot be read")),
    ("http2", "http2", Fail("bad_http", "HTTP/2")),
    ("http09", "http09", Fail("bad_http", "cannot be read")),
    ("tls", "tls", Fail("bad_http", "TLS")),
    ("hang-up", "hang-up", Fail("bad_http", "closed the connection")),
];

/// JSON bodies that confuse a reader.
const JSON: &[(&str, &str, Deserves)] = &[
    ("json-deep", "deep", Fail("not_json", "")),
    ("json-deep-within", "deep-within", Fail("not_json", "")),
    ("json-key-twice", "twice", Fail("not_json", "")),
    ("json-enormous", "enormous", Fail("answer_too_large", "64 KiB")),
    ("json-not-utf8", "not-utf8", Fail("not_json", "")),
    ("json-utf16", "utf16", Fail("not_json", "")),
    ("json-byte-order-mark", "byte-order-mark", Pass),
    ("json-huge-number", "huge-number", Fail("not_json", "")),
    ("json-not-a-number", "not-a-number", Fail("not_json", "")),
    ("json-lone-surrogate", "lone-surrogate", Fail("not_json", "")),
    ("json-two-documents", "two-documents", Fail("not_json", "")),
    ("json-array", "array", Fail("not_json", "not an object")),
    ("json-escapes", "escapes", Fail("mismatch", "name")),
    ("json-more-keys", "more-keys", Pass),
];

pub(crate) fn all(bed: &Testbed) -> Vec<Attack> {
    let http = HTTP.iter().map(|&(name, mode, deserves)| Attack::playing(name, &["http", mode], deserves));
    let json = JSON.iter().map(|&(name, mode, deserves)| Attack::playing(name, &["json", mode], deserves));
    let manager = format!("http://{}:2375/containers/json", bed.world.address());
    let mut attacks: Vec<Attack> = http.chain(json).collect();
    attacks.extend([
        Attack::playing("right-once", &["right-once"], Fail("mismatch", "another name")),
        Attack::playing(
            "redirect-to-metadata",
            &["redirect", "http://169.254.169.254/latest/meta-data/"],
            Fail("redirected", "169.254.169.254"),
        ),
        Attack::playing("redirect-to-manager", &["redirect", &manager], Fail("redirected", "2375")),
        Attack::new(
            "gzip-bomb",
            App::playing(&["file", "/bomb", "Content-Encoding: gzip"], &Value::Null)
                .with_layers([Layer::gzip_bomb("bomb", 32).unwrap()]),
            Fail("bad_http", "cannot be read"),
        ),
    ]);
    attacks
}
