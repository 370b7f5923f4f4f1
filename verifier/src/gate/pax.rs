//! The extended records of the pax format, which replace fields of the header that follows.

use super::LayerFlaw;
use super::archive::damaged;

/// The records that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

/// The beginning of the attributes with which overlay marks what it made itself. In a layer they would make a directory
/// show another one's content.
const OVERLAY: &[u8] = b"SCHILY.xattr.trusted.overlay.";
const SPARSE: &[u8] = b"GNU.sparse.";

/// Parses the records of one entry.
pub(super) fn parse(mut rest: &[u8]) -> Result<PaxRecords, LayerFlaw> {
    let mut records = PaxRecords::default();
    while !rest.is_empty() {
        let (key, value, after) = record(rest).ok_or_else(damaged)?;
        rest = after;
        // An empty value keeps the header's.
        let text = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" | b"linkpath" if value.contains(&0) => return Err(damaged()),
            b"path" => records.path = text,
            b"linkpath" => records.link = text,
            b"size" if value.is_empty() => records.size = None,
            b"size" => records.size = Some(decimal(value).ok_or_else(damaged)?),
            key if key.starts_with(OVERLAY) => {
                return Err(LayerFlaw::Refused(
                    "a layer has attributes of the overlay file system, which only an engine may set"
                        .to_owned(),
                ));
            }
            key if key.starts_with(SPARSE) => return Err(sparse()),
            _ => {}
        }
    }
    Ok(records)
}

/// Returns the flaw of a file with holes: its size says nothing about the bytes that an engine writes.
pub(super) fn sparse() -> LayerFlaw {
    LayerFlaw::Refused("a layer has a sparse file; write the layer's archive without --sparse".to_owned())
}

/// Splits off the first record: `LENGTH KEY=VALUE\n`, whose length counts all of it.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&text[..space])?).ok()?;
    if length > text.len() || length < space + 3 {
        return None;
    }
    let (record, rest) = text.split_at(length);
    let pair = record[space + 1..].strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&pair[..equals], &pair[equals + 1..]);
    (!key.is_empty()).then_some((key, value, rest))
}

fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if !is_number {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse::<i64>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_records_counts() {
        let text = b"11 path=a/\n10 path=b\n17 linkpath=c=d\n\n11 size=12\n";
        // A value may have an equals sign and a line break.
        let parsed = parse(text).unwrap_or_else(|flaw| panic!("{flaw:?}"));
        assert_eq!(parsed.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(parsed.link.as_deref(), Some(&b"c=d\n"[..]));
        assert_eq!(parsed.size, Some(12));
    }

    #[test]
    fn records_that_an_engine_reads_otherwise_are_refused() {
        for text in
            [&b"x"[..], b"99 path=a\n", b"10 path=ab", b"9 path\na\n", b"11 size=-1\n", b"0 ", b"3 \n"]
        {
            assert!(matches!(parse(text), Err(LayerFlaw::Broken(_))), "{text:?}");
        }
        for text in [&b"44 SCHILY.xattr.trusted.overlay.redirect=/x\n"[..], b"23 GNU.sparse.major=1\n\n"] {
            assert!(matches!(parse(text), Err(LayerFlaw::Refused(_))), "{text:?}");
        }
    }
}
