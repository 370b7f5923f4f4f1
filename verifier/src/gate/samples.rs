//! Archives for the tests, with entries that no ordinary program writes.

/// An archive in the making.
#[derive(Clone, Default)]
pub(super) struct ArchiveDraft(Vec<u8>);

impl ArchiveDraft {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn directory(self, path: &str) -> Self {
        self.entry(b'5', path, "", b"")
    }

    pub(super) fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(b'0', path, "", content)
    }

    pub(super) fn link(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, b"")
    }

    pub(super) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, b"")
    }

    pub(super) fn fifo(self, path: &str) -> Self {
        self.entry(b'6', path, "", b"")
    }

    /// Adds the records of the pax format for the next entry.
    pub(super) fn records(self, records: &[(&str, &str)]) -> Self {
        let record = |(key, value): &(&str, &str)| {
            let rest = format!(" {key}={value}\n");
            let mut length = rest.len();
            while length != rest.len() + length.to_string().len() {
                length = rest.len() + length.to_string().len();
            }
            format!("{length}{rest}")
        };
        let text: String = records.iter().map(record).collect();
        self.entry(b'x', "pax", "", text.as_bytes())
    }

    /// Adds a device with these numbers.
    pub(super) fn device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = header(b'3', path, "", 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    pub(super) fn entry(mut self, kind: u8, path: &str, link: &str, content: &[u8]) -> Self {
        let header = header(kind, path, link, content.len() as u64);
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Ends the archive.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn header(kind: u8, path: &str, link: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    let old = header.as_old_mut();
    old.name[..path.len()].copy_from_slice(path.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    old.linkflag = [kind];
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}
