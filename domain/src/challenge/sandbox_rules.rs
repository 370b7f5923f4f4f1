//! The table `[sandbox]` of a challenge's file.

use serde::{Deserialize, Serialize};

use crate::sandbox::SandboxGrade;

/// The demands on the sandbox in which an app runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxRules {
    /// The lowest grade of a node that gets work. `None` allows every grade.
    #[serde(default)]
    pub grade: Option<SandboxGrade>,
    /// Paths that are writable in memory on a node whose root file system is read-only, beside those that always are.
    #[serde(default)]
    pub writable: Vec<String>,
    /// The consequence of open ways into a node's kernel. It decides no verdict, so the published rules do not have it.
    #[serde(default, skip_serializing_if = "OpenKernelWays::are_permitted")]
    pub open_kernel_ways: OpenKernelWays,
}

/// The consequence of ways into the kernel that the inspector finds open on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenKernelWays {
    /// The node gets work, and operators are warned.
    #[default]
    Permitted,
    /// The node gets no work.
    Refused,
}

impl OpenKernelWays {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn are_permitted(&self) -> bool {
        *self == Self::Permitted
    }
}

impl SandboxRules {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
