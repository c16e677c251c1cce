//! The plan file: a compiled graph with its weights.
//!
//! ```text
//! 0   magic "NEARPLAN"         8 bytes
//! 8   format version           u32
//! 12  reserved, zero           u32
//! 16  length of the metadata   u64
//! 24  length of the file       u64
//! 32  XXH64 of all bytes but these 32, and 24 zeros
//! 64  metadata: the graph without weights (postcard), zero-padded to a multiple of 64
//! …   weights, each starting at a multiple of 64
//! …   on a device that tuned the plan, a record of that (`runtime::tune`), which is no part of the file's length and sum
//! ```
//! Numbers are little-endian. `docs/plan-format.md` describes the metadata.

mod reader;

use alloc::{format, string::String, vec::Vec};

use core::hash::Hasher;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use super::{Dim, Graph, Init, Node, Port, ValueType};
use crate::error::{Error, Result};

pub use reader::{Reader, read};

const MAGIC: &[u8; 8] = b"NEARPLAN";
/// How a record behind a plan begins.
pub const RECORD_MAGIC: &[u8; 8] = b"NEARTUNE";
const HEADER: usize = 64;
const ALIGN: usize = 64;

/// The version of the format that this crate writes, and the newest that it reads.
pub const VERSION: u32 = 3;

/// A compiled model.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The graph with its weights.
    pub graph: Graph,
    /// Where it came from.
    pub meta: Meta,
}

/// Where a plan came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Name and version of the compiler.
    pub producer: String,
    /// Sha-256 of the ONNX file in hexadecimal; empty if unknown.
    pub source_sha256: String,
    /// What the user should know about the model, as sentences.
    pub notes: Vec<String>,
    /// For each node of the graph, the ONNX nodes that became part of it; empty if unknown.
    pub origins: Vec<Vec<Origin>>,
    /// The record that follows the plan in its file, of how a device computes it best; empty if there is none. Not written with the plan.
    #[serde(skip)]
    pub record: Vec<u8>,
}

/// A node of the ONNX model from which a plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its operator.
    pub op: String,
    /// Its name; nodes without one were given one.
    pub name: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    meta: Meta,
    symbols: Vec<String>,
    values: Vec<StoredValue>,
    nodes: Vec<Node>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

#[derive(Serialize, Deserialize)]
struct StoredValue {
    name: String,
    ty: ValueType,
    init: Option<StoredInit>,
}

#[derive(Serialize, Deserialize)]
enum StoredInit {
    /// A range of the weights section.
    Data {
        offset: u64,
        len: u64,
    },
    Dims(Vec<Dim>),
}

/// Whether the bytes start as a plan does.
pub fn is_plan(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The plan as a file.
pub fn write(plan: &Plan) -> Result<Vec<u8>> {
    let pieces = Pieces::of(plan)?;
    let mut out = Vec::with_capacity(pieces.len());
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    Ok(out)
}

/// A plan's file in pieces, of which the weights are the plan's own: writing a large one takes no memory for a second copy.
pub struct Pieces<'a> {
    graph: &'a Graph,
    /// Header and metadata.
    head: Vec<u8>,
}

const PADDING: [u8; ALIGN] = [0; ALIGN];

impl<'a> Pieces<'a> {
    /// Encodes what stands before the weights.
    pub fn of(plan: &'a Plan) -> Result<Pieces<'a>> {
        let mut pieces = Pieces { graph: &plan.graph, head: encode_head(plan)? };
        let total = pieces.len() as u64;
        pieces.head[24..32].copy_from_slice(&total.to_le_bytes());
        let mut hash = begin_sum(&pieces.head);
        pieces.iter().skip(1).for_each(|piece| hash.write(piece));
        pieces.head[32..64].copy_from_slice(&end_sum(hash));
        Ok(pieces)
    }

    /// Bytes of the file.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    /// The pieces, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let padded = |bytes: &'a [u8]| [bytes, &PADDING[..bytes.len().next_multiple_of(ALIGN) - bytes.len()]];
        let blobs = self.graph.values.iter().filter_map(|v| match &v.init {
            Some(Init::Data(blob)) => Some(blob.bytes()),
            _ => None,
        });
        core::iter::once(&self.head[..]).chain(blobs.flat_map(padded))
    }
}

/// The sum of all bytes but its own, over the beginning of a file. It tells damage, not malice: whoever can change a plan can sum it up. A
/// sum that resists malice would take most of the time in which a plan is loaded.
fn begin_sum(bytes: &[u8]) -> XxHash64 {
    let mut sum = XxHash64::with_seed(0);
    sum.write(&bytes[..32]);
    sum.write(&bytes[HEADER..]);
    sum
}

/// The sum as the header has it.
fn end_sum(sum: XxHash64) -> [u8; 32] {
    let mut field = [0; 32];
    field[..8].copy_from_slice(&sum.finish().to_le_bytes());
    field
}

/// What the header of a file, at least as long as a header, should have for a sum. For tests that change files.
#[doc(hidden)]
pub fn checksum(file: &[u8]) -> [u8; 32] {
    end_sum(begin_sum(file))
}

/// Header and metadata, but for the file's length and its sum.
fn encode_head(plan: &Plan) -> Result<Vec<u8>> {
    let graph = &plan.graph;
    let mut weights_len = 0usize;
    let values: Vec<StoredValue> = graph
        .values
        .iter()
        .map(|v| StoredValue {
            name: v.name.clone(),
            ty: v.ty.clone(),
            init: v.init.as_ref().map(|init| match init {
                Init::Dims(dims) => StoredInit::Dims(dims.clone()),
                Init::Data(blob) => {
                    let offset = weights_len as u64;
                    weights_len = (weights_len + blob.bytes().len()).next_multiple_of(ALIGN);
                    StoredInit::Data { offset, len: blob.bytes().len() as u64 }
                }
            }),
        })
        .collect();
    let stored = Stored {
        meta: plan.meta.clone(),
        symbols: graph.symbols.clone(),
        values,
        nodes: graph.nodes.clone(),
        inputs: graph.inputs.clone(),
        outputs: graph.outputs.clone(),
    };
    let metadata = postcard::to_allocvec(&stored).map_err(|e| Error::Internal(format!("the plan cannot be encoded: {e}")))?;

    let weights_at = HEADER + metadata.len().next_multiple_of(ALIGN);
    let mut out = Vec::with_capacity(weights_at);
    out.resize(HEADER, 0);
    out.extend_from_slice(&metadata);
    out.resize(weights_at, 0);
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&(metadata.len() as u64).to_le_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::ops::{Op, Unary},
        tensor::{AlignedBytes, DType, Tensor},
    };

    fn sample() -> Plan {
        let mut graph = Graph::default();
        let n = graph.symbol("batch");
        let ty = ValueType::new(DType::F32, alloc::vec![Dim::symbol(n), Dim::fixed(3)]);
        let x = graph.add_input("x", ty.clone());
        let c = graph.add_const("c", &Tensor::from_slice(&[3], &[1f32, 2.0, 3.0]).unwrap());
        let op = Op::Binary(crate::graph::ops::Binary {
            op: crate::graph::ops::BinaryOp::Add,
            activation: crate::graph::ops::Activation::None,
        });
        let sum = graph.add_node("sum", op, &[x, c], ty.clone());
        let y = graph.add_node("neg", Op::Unary(Unary::Neg), &[sum], ty);
        graph.add_output("y", y);
        Plan { graph, meta: Meta { producer: "test".into(), ..Meta::default() } }
    }

    #[test]
    fn round_trip() {
        let plan = sample();
        let bytes = write(&plan).unwrap();
        let back = read(AlignedBytes::copy_of(&bytes)).unwrap();
        assert_eq!(back.meta, plan.meta);
        assert_eq!(back.graph.nodes, plan.graph.nodes);
        assert_eq!(back.graph.symbols, plan.graph.symbols);
        let c = back.graph.nodes[0].inputs[1];
        assert_eq!(back.graph.const_f32(c).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(write(&back).unwrap(), bytes);
    }

    #[test]
    fn any_flipped_bit_is_an_error() {
        let bytes = write(&sample()).unwrap();
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 0x10;
            assert!(read(AlignedBytes::copy_of(&bad)).is_err(), "byte {i}");
        }
    }

    #[test]
    fn truncation_and_versions_are_named() {
        let bytes = write(&sample()).unwrap();
        for len in 0..bytes.len() {
            assert!(read(AlignedBytes::copy_of(&bytes[..len])).is_err());
        }
        let mut newer = bytes.clone();
        newer[8] = 4;
        let message = read(AlignedBytes::copy_of(&newer)).unwrap_err().to_string();
        assert!(message.contains("version 4") && message.contains("update nearside"), "{message}");
    }
}
