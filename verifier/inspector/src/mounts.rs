//! Parses the mounts of a process in /proc/self/mountinfo.

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountPoint<'a> {
    /// The path of the mount.
    pub(crate) at: &'a str,
    /// The type of the file system.
    pub(crate) kind: &'a str,
    pub(crate) read_only: bool,
    /// The options of the file system.
    options: &'a str,
}

/// Parses mountinfo. Of several mounts at one path only the last is visible.
pub(crate) fn parse(mountinfo: &str) -> Vec<MountPoint<'_>> {
    let mut mounts: Vec<MountPoint<'_>> = Vec::new();
    for mount in mountinfo.lines().filter_map(line) {
        mounts.retain(|earlier| earlier.at != mount.at);
        mounts.push(mount);
    }
    mounts
}

impl MountPoint<'_> {
    /// Returns the largest size of a file system in memory, in bytes.
    pub(crate) fn size(&self) -> Option<u64> {
        let size = self.options.split(',').find_map(|option| option.strip_prefix("size="))?;
        let (digits, unit) = match size.strip_suffix('k') {
            Some(digits) => (digits, 1024),
            None => (size, 1),
        };
        digits.parse::<u64>().ok()?.checked_mul(unit)
    }
}

/// Parses `36 35 98:0 /root /at ro,noatime master:1 - ext4 /dev/sda rw,errors=continue`.
fn line(line: &str) -> Option<MountPoint<'_>> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(4);
    let (at, flags) = (mount.next()?, mount.next()?);
    let mut system = system.splitn(3, ' ');
    let (kind, _, options) = (system.next()?, system.next()?, system.next()?);
    let mut flags = flags.split(',').chain(options.split(','));
    Some(MountPoint { at, kind, read_only: flags.any(|flag| flag == "ro"), options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_at_a_path_is_the_visible_one() {
        let mounts = parse(
            "1 0 0:1 / / ro,relatime - overlay overlay rw,lowerdir=/a\n\
             2 1 0:2 / /tmp rw,nosuid - tmpfs tmpfs rw,size=16384k\n\
             3 1 0:3 / /run rw - ext4 /dev/sda1 rw\n\
             4 1 0:4 / /run rw - tmpfs tmpfs rw\n\
             5 1 0:5 / /sys ro - sysfs sysfs ro\nnonsense\n",
        );
        let seen: Vec<_> = mounts.iter().map(|mount| (mount.at, mount.kind, mount.read_only)).collect();
        assert_eq!(
            seen,
            [
                ("/", "overlay", true),
                ("/tmp", "tmpfs", false),
                ("/run", "tmpfs", false),
                ("/sys", "sysfs", true)
            ]
        );
        assert_eq!(
            mounts.iter().map(MountPoint::size).collect::<Vec<_>>(),
            [None, Some(16 << 20), None, None]
        );
    }
}
