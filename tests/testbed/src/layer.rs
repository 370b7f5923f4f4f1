//! The layers of an image: archives of files, compressed or not.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::registry::digest;

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
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        Ok(Self { content: digest(&archive), media_type, ..Self::plain(compressed(&archive)?) })
    }

    /// Creates a layer with a small file that has `mib` MiB when it is decompressed.
    pub fn gzip_bomb(path: &str, mib: usize) -> Result<Self> {
        Self::files(&[(path, 0o644, &compressed(&vec![0; mib << 20])?)])
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

    /// Returns the digest under which a registry stores the layer: `sha256:HEX`.
    pub fn digest(&self) -> String {
        digest(&self.blob)
    }

    pub(crate) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.size })
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
