//! The layers of an image: archives of files, compressed or not.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::registry::digest;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layer, as a registry stores it.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) blob: Arc<[u8]>,
    /// The digest of the archive before its compression.
    pub(crate) content: String,
    media_type: &'static str,
    /// The size in the manifest.
    size: u64,
}

impl Layer {
    /// Creates a layer of files, each with its path, mode and bytes. The same files give the same layer.
    pub fn files(files: &[(&str, u32, &[u8])]) -> Result<Self> {
        Ok(Self::plain(archive(files)?))
    }

    /// Creates a layer with a file of `mib` MiB of zeros, compressed about a thousandfold.
    pub fn zeros(path: &str, mib: usize) -> Result<Self> {
        let archive = archive(&[(path, 0o644, &vec![0; mib << 20])])?;
        Ok(Self { content: digest(&archive), media_type: GZIP, ..Self::plain(compressed(&archive)?) })
    }

    /// Creates a layer with a small file that has `mib` MiB when it is decompressed.
    pub fn gzip_bomb(path: &str, mib: usize) -> Result<Self> {
        Self::files(&[(path, 0o644, &compressed(&vec![0; mib << 20])?)])
    }

    /// Creates a layer with a file of `mib` MiB of zeros that is never whole in memory.
    pub fn bomb(path: &str, mib: u64) -> Result<Self> {
        let mut header = header(path, tar::EntryType::Regular)?;
        header.set_size(mib << 20);
        header.set_cksum();
        let zeros = vec![0; 1 << 20];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(header.as_bytes())?;
        for _ in 0..mib {
            gzip.write_all(&zeros)?;
        }
        Ok(Self::unread(gzip.finish()?))
    }

    /// Creates a layer with this number of empty files in one directory.
    pub fn empty_files(directory: &str, count: usize) -> Result<Self> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        for n in 0..count {
            gzip.write_all(header(&format!("{directory}/{n}"), tar::EntryType::Regular)?.as_bytes())?;
        }
        Ok(Self::unread(gzip.finish()?))
    }

    /// Creates a layer with a FIFO.
    pub fn fifo(path: &str) -> Result<Self> {
        Self::entry(header(path, tar::EntryType::Fifo)?)
    }

    /// Creates a layer with a directory.
    pub fn directory(path: &str) -> Result<Self> {
        Self::entry(header(path, tar::EntryType::Directory)?)
    }

    /// Creates a layer with a device of characters.
    pub fn device(path: &str, major: u32, minor: u32) -> Result<Self> {
        Self::device_node(path, tar::EntryType::Char, major, minor)
    }

    /// Creates a layer with a device of blocks.
    pub fn disk(path: &str, major: u32, minor: u32) -> Result<Self> {
        Self::device_node(path, tar::EntryType::Block, major, minor)
    }

    fn device_node(path: &str, kind: tar::EntryType, major: u32, minor: u32) -> Result<Self> {
        let mut header = header(path, kind)?;
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
        Self::entry(header)
    }

    /// Creates a layer with a symbolic link.
    pub fn link(path: &str, target: &str) -> Result<Self> {
        let mut header = header(path, tar::EntryType::Symlink)?;
        header.set_link_name_literal(target)?;
        Self::entry(header)
    }

    /// Returns a layer that cannot be unpacked, because it is no archive.
    pub fn broken() -> Self {
        Self::plain(b"no archive ".repeat(100))
    }

    /// Creates a layer with BusyBox as `/busybox`. Its applets open sockets that plain Rust cannot.
    ///
    /// # Errors
    /// Fails if BusyBox is not installed or not linked statically.
    pub fn busybox() -> Result<Self> {
        let missing = "busybox is missing: apt-get install -y busybox-static";
        let program = ["/usr/bin/busybox", "/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok());
        let program = program.context(missing)?;
        let loader = b"/lib64/ld-linux";
        anyhow::ensure!(!program.windows(loader.len()).any(|bytes| bytes == loader), missing);
        Self::files(&[("busybox", 0o755, &program)])
    }

    /// Returns the layer with a false size in the manifest.
    pub fn said_to_have(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// Returns the layer with a digest of another archive in the image's configuration.
    pub fn said_to_unpack_to(self, archive: &[u8]) -> Self {
        Self { content: digest(archive), ..self }
    }

    /// Returns the digest under which a registry stores the layer: `sha256:HEX`.
    pub fn digest(&self) -> String {
        digest(&self.blob)
    }

    pub(crate) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.size })
    }

    /// Returns a compressed layer that nobody reads to its end, so that the digest of its archive does not matter.
    fn unread(blob: Vec<u8>) -> Self {
        Self { content: digest(b"unread"), media_type: GZIP, ..Self::plain(blob) }
    }

    fn entry(mut header: tar::Header) -> Result<Self> {
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, &b""[..])?;
        Ok(Self::plain(archive.into_inner()?))
    }

    /// Returns a layer that is not compressed, and therefore has the same digest in both forms.
    fn plain(archive: Vec<u8>) -> Self {
        Self {
            content: digest(&archive),
            size: archive.len() as u64,
            blob: archive.into(),
            media_type: "application/vnd.oci.image.layer.v1.tar",
        }
    }
}

fn header(path: &str, kind: tar::EntryType) -> Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path)?;
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header.set_cksum();
    Ok(header)
}

fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

fn archive(files: &[(&str, u32, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, *bytes)?;
    }
    Ok(archive.into_inner()?)
}
