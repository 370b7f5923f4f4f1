//! The header of an archive's entry: a block of 512 bytes. It is read just as Go's `archive/tar` reads it, because engines
//! use that: two readers that disagree see two archives.

pub(super) const BLOCK: usize = 512;

pub(super) type HeaderBlock = [u8; BLOCK];

/// The fields of a header that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryHeader {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: u8,
    pub(super) size: u64,
    /// The major and the minor number of a device.
    pub(super) device: (u64, u64),
}

/// The layouts of a header. They differ in the fields after the first 257 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderLayout {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// Parses a header. Returns `None` if it is damaged.
pub(super) fn parse(block: &HeaderBlock) -> Option<EntryHeader> {
    if !has_its_checksum(block) {
        return None;
    }
    let layout = layout(block);
    // The engine's reader gives up at any number that it cannot read: mode, user, group and time of change.
    for field in [100..108, 108..116, 116..124, 136..148] {
        number(&block[field])?;
    }
    let size = u64::try_from(number(&block[124..136])?).ok()?;
    let device = match layout {
        HeaderLayout::V7 => (0, 0),
        _ => (number(&block[329..337])?.unsigned_abs(), number(&block[337..345])?.unsigned_abs()),
    };
    let prefix = match layout {
        HeaderLayout::V7 => &[],
        HeaderLayout::Ustar => text(&block[345..500]),
        HeaderLayout::Star => text(&block[345..476]),
        HeaderLayout::Gnu => prefix_of_gnu(block),
    };
    let mut name = text(&block[..100]).to_vec();
    if !prefix.is_empty() {
        name = [prefix, b"/", &name].concat();
    }
    Some(EntryHeader { name, link: text(&block[157..257]).to_vec(), kind: block[156], size, device })
}

fn has_its_checksum(block: &HeaderBlock) -> bool {
    let Some(expected) = octal(&block[148..156]) else { return false };
    let counted =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let unsigned: i64 = counted.clone().map(i64::from).sum();
    // Old programs took the bytes for signed ones.
    let signed: i64 = counted.map(|byte| i64::from(byte.cast_signed())).sum();
    i64::try_from(expected).is_ok_and(|expected| expected == unsigned || expected == signed)
}

fn layout(block: &HeaderBlock) -> HeaderLayout {
    match &block[257..265] {
        b"ustar  \0" => HeaderLayout::Gnu,
        magic if magic.starts_with(b"ustar\0") && block[508..].starts_with(b"tar\0") => HeaderLayout::Star,
        magic if magic.starts_with(b"ustar\0") => HeaderLayout::Ustar,
        _ => HeaderLayout::V7,
    }
}

/// Returns the prefix of a header that says that it is GNU's. GNU's headers have times in that place. Some programs put
/// the prefix of the other layout there.
fn prefix_of_gnu(block: &HeaderBlock) -> &[u8] {
    let is_time = |field: &[u8]| field[0] == 0 || number(field).is_some();
    if is_time(&block[345..357]) && is_time(&block[357..369]) {
        return &[];
    }
    let prefix = text(&block[345..500]);
    if prefix.is_ascii() { prefix } else { &[] }
}

/// Returns the bytes up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// Parses a number: octal digits, or a binary number whose first bit is set.
fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_none_or(|first| first & 0x80 == 0) {
        return octal(field).and_then(|number| i64::try_from(number).ok());
    }
    let inverse = if field[0] & 0x40 == 0 { 0 } else { 0xff };
    let mut number: u64 = 0;
    for (at, byte) in field.iter().enumerate() {
        let byte = byte ^ inverse;
        let byte = if at == 0 { byte & 0x7f } else { byte };
        if number >> 56 > 0 {
            return None;
        }
        number = number << 8 | u64::from(byte);
    }
    let number = i64::try_from(number).ok()?;
    Some(if inverse == 0 { number } else { !number })
}

fn octal(field: &[u8]) -> Option<u64> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(first) = field.iter().position(|byte| !is_filler(byte)) else { return Some(0) };
    let last = field.iter().rposition(|byte| !is_filler(byte))?;
    let digits = text(&field[first..=last]);
    let is_number = !digits.is_empty() && digits.iter().all(|byte| matches!(byte, b'0'..=b'7'));
    if !is_number {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"     12 ", Some(0o12)),
            (b"\0\0\0\0", Some(0)),
            (b"12\x003", Some(0o12)),
            (b"\x80\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xfe", Some(-2)),
            (b"9", None),
            (b"-1", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn a_damaged_header_is_none() {
        let mut header = tar::Header::new_ustar();
        header.set_path("etc/passwd").unwrap();
        header.set_size(7);
        header.set_cksum();
        let mut block = *header.as_bytes();
        let parsed = parse(&block).unwrap();
        assert_eq!((parsed.name.as_slice(), parsed.size), (&b"etc/passwd"[..], 7));
        block[0] = b'E';
        assert_eq!(parse(&block), None);
    }

    #[test]
    fn a_long_name_may_be_in_two_parts() {
        let mut header = tar::Header::new_ustar();
        let name = format!("{}/{}", "a".repeat(90), "b".repeat(90));
        header.set_path(&name).unwrap();
        header.set_cksum();
        assert_eq!(parse(header.as_bytes()).unwrap().name, name.as_bytes());
    }
}
