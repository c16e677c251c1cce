//! Decision trees.

use serde::{Deserialize, Serialize};

/// See [`Op::TreeEnsemble`](super::Op::TreeEnsemble).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// What a node of a tree asks of its feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NodeMode {
    Leaf = 0,
    LessOrEqual = 1,
    Less = 2,
    Greater = 3,
    GreaterOrEqual = 4,
    Equal = 5,
    NotEqual = 6,
}

impl NodeMode {
    const ALL: [(NodeMode, &'static str); 7] = [
        (NodeMode::Leaf, "LEAF"),
        (NodeMode::LessOrEqual, "BRANCH_LEQ"),
        (NodeMode::Less, "BRANCH_LT"),
        (NodeMode::Greater, "BRANCH_GT"),
        (NodeMode::GreaterOrEqual, "BRANCH_GTE"),
        (NodeMode::Equal, "BRANCH_EQ"),
        (NodeMode::NotEqual, "BRANCH_NEQ"),
    ];

    /// By ONNX's name.
    pub fn from_name(name: &str) -> Option<NodeMode> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(mode, _)| *mode)
    }

    /// By its number.
    pub fn from_code(code: i32) -> Option<NodeMode> {
        Self::ALL.iter().find(|(mode, _)| *mode as i32 == code).map(|(mode, _)| *mode)
    }

    /// Whether the test holds.
    pub fn holds(self, value: f32, threshold: f32) -> bool {
        match self {
            NodeMode::Leaf => false,
            NodeMode::LessOrEqual => value <= threshold,
            NodeMode::Less => value < threshold,
            NodeMode::Greater => value > threshold,
            NodeMode::GreaterOrEqual => value >= threshold,
            NodeMode::Equal => value == threshold,
            NodeMode::NotEqual => value != threshold,
        }
    }
}
