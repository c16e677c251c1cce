//! Recurrent cells.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Unary;

/// See [`Op::Recurrent`](super::Op::Recurrent).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recurrent {
    /// Which formulas.
    pub cell: Cell,
    /// From the end of each row to its start.
    pub reverse: bool,
    /// The activations f, g, h, as many as the cell has.
    pub activations: Vec<Unary>,
    /// Bound of what goes into the activations; infinite for none.
    pub clip: f32,
    /// Whether a bias of the recurrent product follows (GRU).
    pub bias: bool,
    /// Whether peephole weights follow (LSTM).
    pub peepholes: bool,
    /// Whether the rows' lengths follow.
    pub lengths: bool,
}

/// The kinds of recurrent cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    /// One gate.
    Rnn,
    /// Update, reset and candidate.
    Gru {
        /// The reset gate is applied to the product, not to the state before it.
        reset_after: bool,
    },
    /// Input, output, forget and cell.
    Lstm,
}

impl Cell {
    /// Number of gates.
    pub fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm => 4,
        }
    }

    /// Number of activations.
    pub fn activations(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 2,
            Cell::Lstm => 3,
        }
    }
}
