//! What one layer says about each path. Paths are kept as keyed hashes, so that a layer of a hundred thousand files takes
//! a few megabytes, and so that nobody can choose two paths that are taken for one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use super::LayerFlaw;
use super::archive::{ArchiveEntry, ArchiveEntryKind};
use super::budget::UnpackBudget;

/// The longest account file (`/etc/passwd`, `/etc/group`), because an engine reads them into its memory.
pub(super) const ACCOUNTS_MAX: u64 = 1 << 20;

/// The longest path and the longest name that Linux takes.
const PATH_MAX: usize = 4095;
const NAME_MAX: usize = 255;

/// The number of names in a path. Build tools of JavaScript nest deepest, some sixty.
const DEPTH_MAX: usize = 256;

/// The number of links that one path may lead through. Linux allows as many.
pub(super) const LINKS_MAX: usize = 40;

/// The bytes of a link's target that count as one file. So the targets of an image take 64 MB at most.
const TARGET_SHARE: u64 = 128;

/// The number of names that are looked up for all links of a layer together.
const STEPS_MAX: u64 = 20_000_000;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A path from the root, without links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PathKey(u64);

/// What a layer has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerNode {
    Directory {
        has_entries: bool,
        /// True if the directory hides what lower layers have in it.
        is_opaque: bool,
    },
    File {
        /// True if the file is longer than an account file may be.
        is_long: bool,
    },
    /// A symbolic link. Holds the place of its target in [`LayerTree::target`].
    Link(u32),
    Special(SpecialFile),
    /// Nothing, also if a lower layer has something.
    Whiteout,
}

/// The kinds of files that are neither files nor directories nor links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpecialFile {
    Fifo,
    Device,
}

/// All that one layer says.
#[derive(Debug, Default)]
pub(crate) struct LayerTree {
    nodes: HashMap<PathKey, LayerNode>,
    targets: Vec<Box<[u8]>>,
    /// The number of files that the layer takes of a budget.
    cost: u64,
    steps: u64,
    /// The memory of the targets, bytes.
    target_bytes: usize,
}

impl PathKey {
    pub(super) const ROOT: Self = Self(0);

    pub(super) fn child(self, name: &[u8]) -> Self {
        Self(HASHES.hash_one((self.0, name)))
    }
}

impl LayerTree {
    pub(super) fn node(&self, key: PathKey) -> Option<LayerNode> {
        self.nodes.get(&key).copied()
    }

    pub(super) fn target(&self, link: u32) -> &[u8] {
        &self.targets[link as usize]
    }

    /// Returns the number of files and directories, with those that the layer has several times. Long targets of links
    /// count as well.
    pub(super) fn entries(&self) -> u64 {
        self.cost
    }

    /// Returns about how much memory this takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        1024 + self.nodes.capacity() * (size_of::<(PathKey, LayerNode)>() + 1)
            + self.target_bytes
            + self.targets.capacity() * size_of::<Box<[u8]>>()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.nodes.shrink_to_fit();
        self.targets.shrink_to_fit();
    }

    /// Applies the next entry of the layer's archive, as an engine does.
    pub(super) fn apply(&mut self, entry: ArchiveEntry, budget: &UnpackBudget) -> Result<(), LayerFlaw> {
        self.spend(1, budget)?;
        let names = names(&entry.path)?;
        // The root itself is always a directory.
        let Some((name, parents)) = names.split_last() else { return Ok(()) };
        if entry.kind == ArchiveEntryKind::Global {
            return match self.find(parents)?.and_then(|parent| self.node(parent.child(name))) {
                Some(_) => Err(disorderly(&entry.path)),
                None => Ok(()),
            };
        }
        let parent = self.make_directories(parents, budget)?;
        if *name == OPAQUE {
            self.nodes.insert(parent, LayerNode::Directory { has_entries: true, is_opaque: true });
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(disorderly(&entry.path));
            }
            return match self.node(parent.child(hidden)) {
                // An engine cannot make the whiteout where a file is.
                Some(node) if node != LayerNode::Whiteout => Err(disorderly(&entry.path)),
                _ => {
                    self.nodes.insert(parent.child(hidden), LayerNode::Whiteout);
                    Ok(())
                }
            };
        }
        let node = match entry.kind {
            ArchiveEntryKind::Directory => LayerNode::Directory { has_entries: false, is_opaque: false },
            ArchiveEntryKind::File { size } => LayerNode::File { is_long: size > ACCOUNTS_MAX },
            ArchiveEntryKind::SymbolicLink(target) => self.link(target, &entry.path, budget)?,
            ArchiveEntryKind::HardLink(target) => self.linked(&target, &entry.path)?,
            ArchiveEntryKind::Fifo => LayerNode::Special(SpecialFile::Fifo),
            ArchiveEntryKind::Device => LayerNode::Special(SpecialFile::Device),
            ArchiveEntryKind::OverlayWhiteout | ArchiveEntryKind::Global => LayerNode::Whiteout,
        };
        self.replace(parent.child(name), node, &entry.path)
    }

    fn replace(&mut self, key: PathKey, node: LayerNode, path: &[u8]) -> Result<(), LayerFlaw> {
        use LayerNode::Directory;
        let node = match (self.node(key), node) {
            (Some(old @ Directory { .. }), Directory { .. }) => old,
            // What was in the directory would have to be forgotten. No program writes such a layer.
            (Some(Directory { has_entries: true, .. }), _) => return Err(disorderly(path)),
            (_, node) => node,
        };
        self.nodes.insert(key, node);
        Ok(())
    }

    fn spend(&mut self, amount: u64, budget: &UnpackBudget) -> Result<(), LayerFlaw> {
        self.cost += amount;
        budget.spend_entries(amount)
    }

    fn link(&mut self, target: Vec<u8>, path: &[u8], budget: &UnpackBudget) -> Result<LayerNode, LayerFlaw> {
        if target.is_empty() || target.len() > PATH_MAX {
            return Err(disorderly(path));
        }
        self.spend(target.len() as u64 / TARGET_SHARE, budget)?;
        // The budget has far fewer entries.
        let link = u32::try_from(self.targets.len()).map_err(|_| disorderly(path))?;
        self.target_bytes += target.len();
        self.targets.push(target.into());
        Ok(LayerNode::Link(link))
    }

    /// Returns what a hard link is another name of.
    fn linked(&mut self, target: &[u8], path: &[u8]) -> Result<LayerNode, LayerFlaw> {
        let names = names(target)?;
        let Some((name, parents)) = names.split_last() else { return Err(disorderly(path)) };
        let linked = self.find(parents)?.and_then(|parent| self.node(parent.child(name)));
        match linked {
            None | Some(LayerNode::Directory { .. }) => Err(LayerFlaw::Broken(format!(
                "the hard link {} leads to nothing in its layer",
                printed(path)
            ))),
            Some(node) => Ok(node),
        }
    }

    /// Returns the directory of this path, through the links of this layer, and makes what is missing.
    fn make_directories(&mut self, names: &[&[u8]], budget: &UnpackBudget) -> Result<PathKey, LayerFlaw> {
        self.walk(names, Some(budget))?.ok_or_else(|| disorderly(&names.join(&b"/"[..])))
    }

    /// Returns the directory of this path, if the layer has it.
    fn find(&mut self, names: &[&[u8]]) -> Result<Option<PathKey>, LayerFlaw> {
        self.walk(names, None)
    }

    /// Walks to a directory. With a budget, makes the directories that are missing. Without one, returns `None` when one
    /// is missing. Returns `None` as well if a file is in the way.
    fn walk(&mut self, names: &[&[u8]], make: Option<&UnpackBudget>) -> Result<Option<PathKey>, LayerFlaw> {
        let mut walked = vec![PathKey::ROOT];
        let mut pending: Vec<Vec<u8>> = Vec::new();
        let mut ahead = names.iter();
        let mut links = 0;
        loop {
            let owned;
            let name: &[u8] = match pending.pop() {
                Some(name) => {
                    owned = name;
                    &owned
                }
                None => match ahead.next() {
                    Some(name) => name,
                    None => break,
                },
            };
            if name == b".." {
                if walked.len() > 1 {
                    walked.pop();
                }
                continue;
            }
            let within = walked.last().copied().unwrap_or(PathKey::ROOT);
            let key = within.child(name);
            match (self.node(key), make) {
                (Some(LayerNode::Directory { .. }), _) => walked.push(key),
                (Some(LayerNode::Link(link)), _) => {
                    links += 1;
                    let target = self.targets[link as usize].clone();
                    let steps = parts(&target);
                    self.steps += steps.len() as u64;
                    if links > LINKS_MAX || self.steps > STEPS_MAX {
                        return Err(LayerFlaw::Refused(
                            "a layer puts its files through too many links".to_owned(),
                        ));
                    }
                    if target.first() == Some(&b'/') {
                        walked.truncate(1);
                    }
                    pending.extend(steps.iter().rev().map(|part| part.to_vec()));
                }
                (Some(LayerNode::File { .. } | LayerNode::Special(_)), _) => return Ok(None),
                (None | Some(LayerNode::Whiteout), None) => return Ok(None),
                (None | Some(LayerNode::Whiteout), Some(budget)) => {
                    self.spend(1, budget)?;
                    self.nodes.insert(key, LayerNode::Directory { has_entries: false, is_opaque: false });
                    walked.push(key);
                }
            }
        }
        let directory = walked.last().copied().unwrap_or(PathKey::ROOT);
        if make.is_some() {
            for key in walked {
                if let Some(LayerNode::Directory { has_entries, .. }) = self.nodes.get_mut(&key) {
                    *has_entries = true;
                }
            }
        }
        Ok(Some(directory))
    }
}

/// Returns the parts of a link's target, with its turns.
pub(super) fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect()
}

/// Returns the names of an entry's path, without its turns. A path that leads out of the root is refused.
fn names(path: &[u8]) -> Result<Vec<&[u8]>, LayerFlaw> {
    let mut names = Vec::new();
    for part in parts(path) {
        if part != b".." {
            names.push(part);
        } else if names.pop().is_none() && path.first() != Some(&b'/') {
            return Err(LayerFlaw::Refused(format!(
                "a layer has {}, which leads out of its root",
                printed(path)
            )));
        }
    }
    let is_long = path.len() > PATH_MAX || names.iter().any(|name| name.len() > NAME_MAX);
    if is_long || names.len() > DEPTH_MAX {
        return Err(LayerFlaw::Refused(format!(
            "a layer has a path of more than {DEPTH_MAX} directories, or one that is too long for Linux"
        )));
    }
    Ok(names)
}

fn disorderly(path: &[u8]) -> LayerFlaw {
    LayerFlaw::Broken(format!("a layer has {} in a way that no engine can unpack", printed(path)))
}

/// Returns the beginning of a path for a message.
pub(super) fn printed(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().filter(|c| !c.is_control()).take(80).collect()
}
