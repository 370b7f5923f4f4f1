//! The entries of a layer's archive, one after the other. The `tar` crate holds a long name of any length in memory, and
//! reads some archives otherwise than engines do, so it is not used here.

use std::io::{self, Read};

use super::LayerFlaw;
use super::budget::UnpackBudget;
use super::header::{self, BLOCK, EntryHeader, HeaderBlock};
use super::pax::{self, PaxRecords};

/// The longest extended header. Engines refuse longer ones.
const EXTENDED_MAX: u64 = 1 << 20;

/// The number of extended headers before one entry. Three kinds exist.
const EXTENDED_COUNT: usize = 8;

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchiveEntry {
    /// The path, as it is written in the archive.
    pub(super) path: Vec<u8>,
    pub(super) kind: ArchiveEntryKind,
}

/// The kinds of entries that engines unpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ArchiveEntryKind {
    Directory,
    File {
        size: u64,
    },
    /// Another name of the file at this path of the same layer.
    HardLink(Vec<u8>),
    SymbolicLink(Vec<u8>),
    Fifo,
    Device,
    /// A device with which overlay itself hides a file of a lower layer.
    OverlayWhiteout,
    /// Global settings, which engines pass over.
    Global,
}

/// Reads the entries of an archive.
pub(super) struct ArchiveReader<'a, R> {
    inner: R,
    budget: &'a UnpackBudget,
    /// The bytes of the last entry that were not read, and their padding to a whole block.
    content: u64,
    padding: u64,
    buffer: Vec<u8>,
}

impl<'a, R: Read> ArchiveReader<'a, R> {
    pub(super) fn new(inner: R, budget: &'a UnpackBudget) -> Self {
        Self { inner, budget, content: 0, padding: 0, buffer: vec![0; 64 << 10] }
    }

    /// Returns the next entry, or `None` at the archive's end.
    pub(super) fn next(&mut self) -> Result<Option<ArchiveEntry>, LayerFlaw> {
        let (mut name, mut link, mut records) = (None, None, PaxRecords::default());
        for _ in 0..EXTENDED_COUNT {
            let Some(header) = self.header()? else { return Ok(None) };
            match header.kind {
                b'x' => records = pax::parse(&self.extended(header.size)?)?,
                b'g' => {
                    // Engines give the entry the path of its records.
                    let path = pax::parse(&self.extended(header.size)?)?.path.unwrap_or(header.name);
                    return Ok(Some(ArchiveEntry { path, kind: ArchiveEntryKind::Global }));
                }
                b'L' => name = text(self.extended(header.size)?),
                b'K' => link = text(self.extended(header.size)?),
                _ => {
                    let path = name.or(records.path).unwrap_or_else(|| header.name.clone());
                    let link = link.or(records.link).unwrap_or_else(|| header.link.clone());
                    let size = records.size.unwrap_or(header.size);
                    return self.entry(&header, path, link, size).map(Some);
                }
            }
        }
        Err(damaged())
    }

    /// Returns the content of the last entry, as far as it was not read.
    pub(super) fn content(&mut self) -> impl Read {
        EntryContent { inner: &mut self.inner, left: &mut self.content }
    }

    /// Reads all that follows the archive, because it counts for the digest.
    pub(super) fn read_to_end(mut self) -> Result<(), LayerFlaw> {
        while self.read_some()? > 0 {}
        Ok(())
    }

    fn entry(
        &mut self,
        header: &EntryHeader,
        path: Vec<u8>,
        link: Vec<u8>,
        size: u64,
    ) -> Result<ArchiveEntry, LayerFlaw> {
        let kind = match header.kind {
            0 if path.ends_with(b"/") => ArchiveEntryKind::Directory,
            0 | b'0' => ArchiveEntryKind::File { size },
            b'1' => ArchiveEntryKind::HardLink(link),
            b'2' => ArchiveEntryKind::SymbolicLink(link),
            b'3' if header.device == (0, 0) => ArchiveEntryKind::OverlayWhiteout,
            b'3' | b'4' => ArchiveEntryKind::Device,
            b'5' => ArchiveEntryKind::Directory,
            b'6' => ArchiveEntryKind::Fifo,
            b'S' => return Err(pax::sparse()),
            other => {
                let why = format!("a layer has an entry of the kind {}", other.escape_ascii());
                return Err(LayerFlaw::Broken(why));
            }
        };
        // Only files have content, whatever size the header of another kind names.
        if let ArchiveEntryKind::File { size } = kind {
            self.expect_content(size);
        }
        Ok(ArchiveEntry { path, kind })
    }

    /// Reads the next header. Returns `None` at the end: two blocks of zeros, or the end of the stream.
    fn header(&mut self) -> Result<Option<EntryHeader>, LayerFlaw> {
        while self.content > 0 {
            let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = self.inner.read(&mut self.buffer[..most]).map_err(|error| self.budget.flaw(&error))?;
            if read == 0 {
                return Err(LayerFlaw::Broken("a layer ends too early".to_owned()));
            }
            self.content -= read as u64;
        }
        let padding = std::mem::take(&mut self.padding);
        let mut block: HeaderBlock = [0; BLOCK];
        if padding > 0 && !self.fill(&mut block[..padding as usize])? {
            return Ok(None);
        }
        if !self.fill(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK] {
            return match self.fill(&mut block)? {
                true if block != [0; BLOCK] => Err(damaged()),
                _ => Ok(None),
            };
        }
        header::parse(&block).map(Some).ok_or_else(damaged)
    }

    /// Reads the content of an extended header.
    fn extended(&mut self, size: u64) -> Result<Vec<u8>, LayerFlaw> {
        if size > EXTENDED_MAX {
            return Err(damaged());
        }
        let mut content = vec![0; size as usize];
        if size > 0 && !self.fill(&mut content)? {
            return Err(damaged());
        }
        self.expect_content(size);
        self.content = 0;
        Ok(content)
    }

    fn expect_content(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Fills the buffer. Returns false if the stream ends before its first byte.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, LayerFlaw> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]).map_err(|error| self.budget.flaw(&error))? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(LayerFlaw::Broken("a layer ends too early".to_owned())),
                read => filled += read,
            }
        }
        Ok(true)
    }

    fn read_some(&mut self) -> Result<usize, LayerFlaw> {
        self.inner.read(&mut self.buffer).map_err(|error| self.budget.flaw(&error))
    }
}

/// The content of an entry.
struct EntryContent<'r, R> {
    inner: &'r mut R,
    left: &'r mut u64,
}

impl<R: Read> Read for EntryContent<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(*self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        *self.left -= read as u64;
        Ok(read)
    }
}

/// Returns the flaw of an archive that engines cannot read.
pub(super) fn damaged() -> LayerFlaw {
    LayerFlaw::Broken("a layer is no archive, or it is damaged".to_owned())
}

/// Returns the text before the first NUL. An empty one says nothing, so the header's counts.
fn text(mut text: Vec<u8>) -> Option<Vec<u8>> {
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    (!text.is_empty()).then_some(text)
}
