//! Lists the files of the web pages, so that the program contains them. Until the pages are built, the program
//! contains a page that says how to build them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let built = package.join("web/dist");
    // Cargo treats a missing path as changed each time, so the nearest folder that exists is watched.
    let watched = built.ancestors().find(|folder| folder.is_dir()).unwrap_or(&package);
    println!("cargo::rerun-if-changed={}", watched.display());
    println!("cargo::rerun-if-changed={}", package.join("fallback").display());
    let root = if built.join("index.html").is_file() { built } else { package.join("fallback") };

    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut list = String::from("const FILES: &[PageFile] = &[\n");
    for file in files {
        let path =
            file.strip_prefix(&root).expect("it is below the root").to_string_lossy().replace('\\', "/");
        let content_type = content_type(&file);
        writeln!(
            list,
            "    PageFile {{ path: {:?}, content_type: {content_type:?}, content: include_bytes!({file:?}) }},",
            format!("/{path}")
        )
        .expect("writing to a String never fails");
    }
    list.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("pages.rs"), list)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "geojson" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}
