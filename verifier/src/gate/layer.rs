//! Reads one layer from its compressed stream, as an engine unpacks it.

use std::cell::RefCell;
use std::io::{self, BufReader, Cursor, Read};
use std::rc::Rc;

use aws_lc_rs::digest::{Context, SHA256};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

use super::LayerFlaw;
use super::archive::ArchiveReader;
use super::budget::{MeteredReader, UnpackBudget, finished};
use super::layer_tree::LayerTree;

const GZIP: &[u8] = b"\x1f\x8b\x08";
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const OTHERS: [(&[u8], &str); 2] = [(b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz")];

/// The length of the longest of the beginnings above.
const BEGINNING: usize = 6;

const BUFFER: usize = 64 << 10;

/// The largest window of a zstd frame. The decoder holds one in memory, and a frame of a few bytes may ask for terabytes. The
/// levels up to 19 need 8 MiB.
const WINDOW_MAX: u64 = 32 << 20;

/// A layer that was read to its end.
#[derive(Debug)]
pub(super) struct LayerReading {
    /// The size and the SHA-256 of the stream, also if the layer has a flaw. A flaw counts only if they are as announced.
    pub(super) size: u64,
    pub(super) digest: [u8; 32],
    pub(super) content: Result<LayerContent, LayerFlaw>,
}

/// What a layer has in it.
#[derive(Debug)]
pub(super) struct LayerContent {
    pub(super) tree: LayerTree,
    /// The size and the SHA-256 of the archive.
    pub(super) size: u64,
    pub(super) digest: [u8; 32],
    /// The number of files and directories.
    pub(super) entries: u64,
}

/// Reads a layer. An error of the stream ends the reading like its end, because the caller knows of it.
pub(super) fn read(stream: impl Read, budget: &UnpackBudget) -> LayerReading {
    let tapped = Rc::new(RefCell::new(TappedBytes { size: 0, hash: Context::new(&SHA256) }));
    let stream = TappedReader { inner: stream, tapped: Rc::clone(&tapped) };
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let content = content(&mut stream, budget);
    // The rest counts for the digest, and is not decompressed.
    let mut rest = vec![0; BUFFER];
    while stream.read(&mut rest).is_ok_and(|read| read > 0) {}
    let tapped = tapped.borrow();
    LayerReading { size: tapped.size, digest: finished(tapped.hash.clone()), content }
}

fn content(stream: impl Read, budget: &UnpackBudget) -> Result<LayerContent, LayerFlaw> {
    let mut metered = MeteredReader::new(decompressed(stream)?, budget);
    let mut archive = ArchiveReader::new(&mut metered, budget);
    let mut tree = LayerTree::default();
    while let Some(entry) = archive.next()? {
        tree.apply(entry, budget)?;
    }
    archive.read_to_end()?;
    tree.shrink_to_fit();
    let (size, digest) = metered.finish();
    let entries = tree.entries();
    Ok(LayerContent { tree, size, digest, entries })
}

/// Returns the archive of a layer. Engines look at the first bytes, and not at the media type.
fn decompressed<'a>(mut stream: impl Read + 'a) -> Result<Box<dyn Read + 'a>, LayerFlaw> {
    let mut beginning = Vec::with_capacity(BEGINNING);
    // An error comes again at the next read.
    let _ = stream.by_ref().take(BEGINNING as u64).read_to_end(&mut beginning);
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| beginning.starts_with(magic)) {
        return Err(LayerFlaw::Refused(format!("a layer is compressed by {name}; use gzip or zstd")));
    }
    let is_gzip = beginning.starts_with(GZIP);
    let is_zstd = beginning.get(..4).is_some_and(|magic| magic == ZSTD || is_skippable(magic));
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(beginning).chain(stream));
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(whole)),
        (_, true) => Box::new(ZstdReader { state: ZstdState::Between(Box::new(whole)) }),
        _ => Box::new(whole),
    })
}

/// Decompresses all frames of a zstd stream, one after the other. The library reads one frame.
struct ZstdReader<'a> {
    state: ZstdState<'a>,
}

type FrameStream<'a> = io::Chain<Cursor<Vec<u8>>, Box<dyn Read + 'a>>;

enum ZstdState<'a> {
    Between(Box<dyn Read + 'a>),
    Within(Box<StreamingDecoder<FrameStream<'a>, ruzstd::decoding::FrameDecoder>>),
    Ended,
}

impl Read for ZstdReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, ZstdState::Ended) {
                ZstdState::Ended => return Ok(0),
                ZstdState::Between(mut stream) => {
                    let mut magic = [0; 4];
                    match fill(&mut stream, &mut magic)? {
                        0 => return Ok(0),
                        4 => {}
                        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
                    }
                    if is_skippable(&magic) {
                        skip(&mut stream)?;
                        self.state = ZstdState::Between(stream);
                        continue;
                    }
                    let frame = Cursor::new(frame_head(magic, &mut stream)?).chain(stream);
                    let decoder = StreamingDecoder::new(frame).map_err(invalid)?;
                    self.state = ZstdState::Within(Box::new(decoder));
                }
                ZstdState::Within(mut decoder) => match decoder.read(buffer)? {
                    0 => {
                        let (_, stream) = decoder.into_inner().into_inner();
                        self.state = ZstdState::Between(stream);
                    }
                    read => {
                        self.state = ZstdState::Within(decoder);
                        return Ok(read);
                    }
                },
            }
        }
    }
}

/// Reads the header of a frame, from its magic on. The decoder takes whatever memory the header asks for.
///
/// # Errors
/// If the frame's window is too large.
fn frame_head(magic: [u8; 4], stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = magic.to_vec();
    head.push(0);
    stream.read_exact(&mut head[4..])?;
    let (flags, is_single) = (head[4], head[4] & 0x20 != 0);
    let dictionary = [0, 1, 2, 4][usize::from(flags & 3)];
    let size = match flags >> 6 {
        0 => usize::from(is_single),
        flag => 1 << flag,
    };
    head.resize(5 + usize::from(!is_single) + dictionary + size, 0);
    stream.read_exact(&mut head[5..])?;
    // A single segment has no window of its own: it is as large as its content.
    let window = if is_single {
        let mut content = [0; 8];
        content[..size].copy_from_slice(&head[5 + dictionary..]);
        u64::from_le_bytes(content)
    } else {
        let base = 1_u64 << (10 + (head[5] >> 3));
        base + base / 8 * u64::from(head[5] & 7)
    };
    if window > WINDOW_MAX {
        let most = WINDOW_MAX >> 20;
        return Err(invalid(format!("its zstd window is more than {most} MiB; use a level of at most 19")));
    }
    Ok(head)
}

fn is_skippable(magic: &[u8]) -> bool {
    magic[0] & 0xf0 == 0x50 && magic[1..] == [0x2a, 0x4d, 0x18]
}

fn skip(stream: &mut impl Read) -> io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    match io::copy(&mut stream.take(length), &mut io::sink())? {
        skipped if skipped == length => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// Counts and hashes a stream for an owner that keeps both when the reader is gone.
struct TappedReader<R> {
    inner: R,
    tapped: Rc<RefCell<TappedBytes>>,
}

struct TappedBytes {
    size: u64,
    hash: Context,
}

impl<R: Read> Read for TappedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let mut tapped = self.tapped.borrow_mut();
        tapped.size += read as u64;
        tapped.hash.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
