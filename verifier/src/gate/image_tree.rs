//! The layers of an image, one over the other as overlay shows them, and the rules for the few paths that an engine opens
//! or mounts something at. Links in the image are followed, because ordinary images have them: `/var/run` leads to
//! `/run`, and an image that Nix built has links in place of the account files.

use std::sync::Arc;

use domain::sandbox::SandboxGrade;

use super::LayerFlaw;
use super::layer_tree::{self, ACCOUNTS_MAX, LINKS_MAX, LayerNode, LayerTree, PathKey, SpecialFile};

/// The files that an engine reads into its memory at each start.
const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// The files over which an engine mounts its own.
const MOUNTED: [&str; 3] = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];

/// The directories of the kernel.
const KERNEL: [&str; 3] = ["dev", "proc", "sys"];

/// The names that are looked up for one path, with all of its links.
const STEPS_MAX: usize = 4096;

/// An image as its containers see it.
pub(super) struct ImageTree<'a> {
    /// The layers, the lowest first.
    layers: &'a [Arc<LayerTree>],
}

/// The paths that the image's own settings and the challenge name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountPlan<'a> {
    pub(crate) volumes: &'a [String],
    /// The challenge's further writable paths.
    pub(crate) writable: &'a [String],
    pub(crate) working_dir: &'a str,
}

/// What an image has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathPlace {
    Missing,
    Directory,
    File {
        is_long: bool,
    },
    Special(SpecialFile),
    /// A part of the path is a file.
    BelowFile,
    /// A link leads into a directory of the kernel.
    Kernel,
    /// The links lead in a circle, or through too many others.
    Circle,
}

/// A directory on the way, and the layers that are seen in it.
#[derive(Debug, Clone, Copy)]
struct SeenDirectory {
    key: PathKey,
    /// The layers are `from..to`. None is seen in a directory that is missing.
    from: usize,
    to: usize,
}

impl<'a> ImageTree<'a> {
    pub(super) fn new(layers: &'a [Arc<LayerTree>]) -> Self {
        Self { layers }
    }

    /// Checks that an engine can bear the image.
    pub(super) fn check(&self, plan: &MountPlan) -> Result<(), LayerFlaw> {
        for name in KERNEL {
            match self.node(self.root(), name.as_bytes()) {
                None | Some((LayerNode::Directory { .. }, _)) => {}
                Some(_) => {
                    return Err(refused(&format!(
                        "its /{name} is no directory; leave it as the base image has it"
                    )));
                }
            }
        }
        for path in ACCOUNTS {
            check_file(path, self.place(path))?;
        }
        for path in MOUNTED {
            match self.place(path) {
                // The engine puts a file of its own in place of a link, wherever that leads.
                PathPlace::Kernel | PathPlace::File { .. } => {}
                place => check_file(path, place)?,
            }
        }
        for path in plan.volumes {
            self.check_mount(path, &format!("VOLUME {path}"))?;
        }
        let ours = SandboxGrade::ReadOnly.places_in_memory().unwrap_or_default();
        let within = |path: &str| ours.iter().any(|outer| is_within(path, outer));
        for path in ours.iter().copied().filter(|path| !within(path)) {
            self.check_mount(path, &format!("its {path}, where apps may write here,"))?;
        }
        for path in plan.writable {
            self.check_mount(path, &format!("its {path}, where apps may write here,"))?;
        }
        match self.place(plan.working_dir) {
            PathPlace::Kernel => Err(refused("its WORKDIR leads through a link into /proc, /sys or /dev")),
            PathPlace::Circle => Err(refused("the links at its WORKDIR lead in a circle")),
            // The engine names what else is wrong with it.
            _ => Ok(()),
        }
    }

    fn check_mount(&self, path: &str, named: &str) -> Result<(), LayerFlaw> {
        let why = match self.place(path) {
            PathPlace::Missing | PathPlace::Directory => return Ok(()),
            PathPlace::Kernel => "leads through a link into /proc, /sys or /dev",
            PathPlace::Circle => "leads in a circle of links",
            PathPlace::File { .. } | PathPlace::Special(_) | PathPlace::BelowFile => {
                "is no directory in the image; remove what is there"
            }
        };
        Err(refused(&format!("{named} {why}")))
    }

    /// Returns what the image has at an absolute path, through all links, which cannot lead out of the root.
    fn place(&self, path: &str) -> PathPlace {
        let mut walked = vec![self.root()];
        let mut pending: Vec<&[u8]> = layer_tree::parts(path.as_bytes()).into_iter().rev().collect();
        let mut last = PathPlace::Directory;
        let (mut links, mut steps) = (0, 0);
        while let Some(name) = pending.pop() {
            steps += 1;
            if steps > STEPS_MAX || links > LINKS_MAX {
                return PathPlace::Circle;
            }
            if name == b".." {
                if walked.len() > 1 {
                    walked.pop();
                }
                last = PathPlace::Directory;
                continue;
            }
            let within = *walked.last().unwrap_or(&self.root());
            let is_kernels = KERNEL.iter().any(|kernel| kernel.as_bytes() == name);
            if walked.len() == 1 && is_kernels {
                return PathPlace::Kernel;
            }
            last = match self.node(within, name) {
                Some((LayerNode::Directory { .. }, directory)) => {
                    walked.push(directory);
                    PathPlace::Directory
                }
                Some((LayerNode::Link(link), at)) => {
                    links += 1;
                    let target = self.layers[at.from].target(link);
                    if target.first() == Some(&b'/') {
                        walked.truncate(1);
                    }
                    pending.extend(layer_tree::parts(target).into_iter().rev());
                    PathPlace::Directory
                }
                // An engine makes what is missing.
                None | Some((LayerNode::Whiteout, _)) => {
                    walked.push(SeenDirectory { key: within.key.child(name), from: 0, to: 0 });
                    PathPlace::Missing
                }
                Some(_) if !pending.is_empty() => return PathPlace::BelowFile,
                Some((LayerNode::File { is_long }, _)) => PathPlace::File { is_long },
                Some((LayerNode::Special(kind), _)) => PathPlace::Special(kind),
            };
        }
        last
    }

    fn root(&self) -> SeenDirectory {
        let from = self.lowest_seen(PathKey::ROOT, 0, self.layers.len());
        SeenDirectory { key: PathKey::ROOT, from, to: self.layers.len() }
    }

    /// Returns what a directory has under a name: the node of the highest layer that says something about it. Beside it is
    /// the directory with the layers that are seen in it, or the layer of a node that is no directory.
    fn node(&self, within: SeenDirectory, name: &[u8]) -> Option<(LayerNode, SeenDirectory)> {
        let key = within.key.child(name);
        let layers = (within.from..within.to).rev();
        let (at, node) = layers.filter_map(|at| Some((at, self.layers[at].node(key)?))).next()?;
        let from = match node {
            LayerNode::Directory { .. } => self.lowest_seen(key, within.from, at + 1),
            _ => at,
        };
        (node != LayerNode::Whiteout).then_some((node, SeenDirectory { key, from, to: at + 1 }))
    }

    /// Returns the lowest of the layers `from..to` whose content is seen in a directory that the highest one has.
    fn lowest_seen(&self, key: PathKey, from: usize, to: usize) -> usize {
        for at in (from..to).rev() {
            match self.layers[at].node(key) {
                None | Some(LayerNode::Directory { is_opaque: false, .. }) => {}
                Some(LayerNode::Directory { is_opaque: true, .. }) => return at,
                Some(_) => return at + 1,
            }
        }
        from
    }
}

/// Checks a file that an engine opens.
fn check_file(path: &str, place: PathPlace) -> Result<(), LayerFlaw> {
    let why = match place {
        PathPlace::Missing | PathPlace::BelowFile | PathPlace::File { is_long: false } => return Ok(()),
        PathPlace::File { is_long: true } => {
            let kib = ACCOUNTS_MAX >> 10;
            return Err(refused(&format!(
                "its {path} has more than {kib} KiB; leave it as the base image has it"
            )));
        }
        PathPlace::Directory => "is a directory",
        PathPlace::Special(SpecialFile::Fifo) => "is a FIFO",
        PathPlace::Special(SpecialFile::Device) => "is a device",
        PathPlace::Kernel => "is a link into /proc, /sys or /dev",
        PathPlace::Circle => "is a link that leads in a circle",
    };
    Err(refused(&format!("its {path} {why}; put an ordinary file in its place")))
}

fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

fn refused(why: &str) -> LayerFlaw {
    LayerFlaw::Refused(why.to_owned())
}

#[cfg(test)]
mod tests;
