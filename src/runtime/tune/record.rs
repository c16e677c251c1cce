//! What a device found best for a plan: a byte for each node, kept behind the plan's file.
//!
//! ```text
//! 0   magic "NEARTUNE"                     8 bytes
//! 8   XXH64 of what follows                u64
//! 16  XXH64 of the device's description    u64
//! 24  XXH64 of the inputs' shapes          u64
//! 32  for each node of the graph, how it is computed (`Choice::to_byte`)
//! ```

use alloc::vec::Vec;
use core::hash::Hasher;

use twox_hash::XxHash64;

use crate::{graph::plan::RECORD_MAGIC, kernels::Choice};

const HEADER: usize = 32;

/// How the nodes of a graph are computed for inputs of certain shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    shapes: u64,
    nodes: Vec<u8>,
}

impl Choices {
    /// By the kernels' own rules, for inputs of these shapes and a graph of `nodes` nodes.
    #[cold]
    #[inline(never)]
    pub fn none(shapes: &[&[usize]], nodes: usize) -> Choices {
        Choices { shapes: sum_of_shapes(shapes), nodes: alloc::vec![0; nodes] }
    }

    /// Whether they were made for inputs of these shapes.
    pub fn are_for(&self, shapes: &[&[usize]]) -> bool {
        self.shapes == sum_of_shapes(shapes)
    }

    /// How a node is computed.
    pub fn of(&self, node: usize) -> Choice {
        self.nodes.get(node).map_or(Choice::AUTO, |byte| Choice::from_byte(*byte))
    }

    /// Sets how a node is computed.
    pub fn set(&mut self, node: usize, choice: Choice) {
        if let Some(byte) = self.nodes.get_mut(node) {
            *byte = choice.to_byte();
        }
    }

    /// The record for the device of this description, to be appended to the plan's file.
    #[cold]
    #[inline(never)]
    pub fn encode(&self, device: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.nodes.len());
        out.extend_from_slice(RECORD_MAGIC);
        for number in [0, sum(device.as_bytes()), self.shapes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.nodes);
        let check = sum(&out[16..]);
        out[8..16].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads a record; `None` if it is damaged, of another device, or of a graph with another number of nodes.
    #[cold]
    #[inline(never)]
    pub fn decode(record: &[u8], device: &str, nodes: usize) -> Option<Choices> {
        let number = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
        let fits = record.starts_with(RECORD_MAGIC)
            && record.len() == HEADER + nodes
            && number(8)? == sum(&record[16..])
            && number(16)? == sum(device.as_bytes());
        fits.then_some(Choices { shapes: number(24)?, nodes: record[HEADER..].to_vec() })
    }
}

#[inline(never)]
fn sum(bytes: &[u8]) -> u64 {
    let mut sum = XxHash64::with_seed(0);
    sum.write(bytes);
    sum.finish()
}

#[inline(never)]
fn sum_of_shapes(shapes: &[&[usize]]) -> u64 {
    let mut sum = XxHash64::with_seed(0);
    for shape in shapes {
        sum.write(&(shape.len() as u64).to_le_bytes());
        shape.iter().for_each(|d| sum.write(&(*d as u64).to_le_bytes()));
    }
    sum.finish()
}
