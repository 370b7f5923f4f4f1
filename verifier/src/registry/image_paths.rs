//! The paths in an image's configuration, judged by their texts.

/// The longest path that is read or quoted.
pub(super) const PATH_MAX: usize = 200;

/// Returns true for an absolute path below the root without `.` and `..`, and without characters that the
/// Swarm would expand.
pub(super) fn is_plain(path: &str) -> bool {
    path.len() <= PATH_MAX
        && path.strip_prefix('/').is_some_and(|path| {
            path.split('/').all(|part| {
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+@".contains(&b);
                !matches!(part, "" | "." | "..") && part.bytes().all(is_plain)
            })
        })
}

/// Returns true if a path leads into a directory of the kernel, or if its text alone does not tell.
pub(super) fn is_of_the_kernel(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    // A path with `..` may lead anywhere.
    matches!(parts.next(), Some("proc" | "sys" | "dev" | "..")) || parts.any(|part| part == "..")
}
