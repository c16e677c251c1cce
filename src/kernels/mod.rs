//! Kernels: one file per family, each with a scalar reference, its fast paths, and tests of one against the other.
//!
//! A kernel is prepared once for concrete shapes (weights are packed then) and run many times without allocating.
//! Kernels know the graph's operators and types; they know nothing of sessions, plans or where memory comes from.

mod attention;
mod binary;
mod broadcast;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod byte_pairs;
mod cast;
mod choice;
mod concat;
mod conv_f32;
mod conv_i8;
mod copy;
mod cumulate;
mod depthwise_f32;
mod depthwise_i8;
mod erf;
mod gather;
pub(crate) mod gemm_f32;
mod gemm_i8;
mod grid_sample;
pub(crate) mod im2col;
#[cfg(any(target_arch = "wasm32", test))]
pub(crate) mod image;
mod instance_norm;
pub mod io;
mod layer_norm;
mod linear_i8;
pub(crate) mod math;
mod matmul_f32;
mod matmul_i8;
mod movement;
pub(crate) mod once;
mod pool;
mod quantize;
mod quantized;
mod range;
mod recurrent;
mod reduce;
mod requant;
mod rescale;
mod roi_align;
mod scatter;
mod softmax;
mod strided;
mod sum8;
mod table;
pub mod team;
#[cfg(test)]
pub(crate) mod testing;
mod top_k;
mod trees;
mod unary;
pub(crate) mod vector;
mod where_op;

use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::any::Any;

pub use choice::{Choice, Inner, Made, Method, candidates};
pub use io::{Io, Region, scratch_len};
pub use team::{Pool, Team};

use crate::{
    error::{Error, Result, ensure},
    graph::{Node, Op, Quant, ValueId},
    tensor::{DType, Element, describe_shape},
};

/// A prepared operator.
pub trait Kernel: Send {
    /// Bytes of scratch space that `run` needs, beside inputs and outputs.
    fn scratch(&self) -> usize {
        0
    }

    /// Bytes of scratch space that it needs beside for each thread that shares the work.
    fn own_scratch(&self) -> usize {
        0
    }

    /// Computes the outputs, to the same bytes whatever the team. Never allocates.
    fn run(&self, io: &mut Io<'_>) -> Result<()>;
}

/// An operand as a kernel sees it when it is prepared.
#[derive(Debug, Clone)]
pub struct Operand<'a> {
    /// Identity, as a key for packed weights.
    pub id: ValueId,
    /// Element type as stored.
    pub dtype: DType,
    /// Concrete dimensions.
    pub shape: Vec<usize>,
    /// What stored integers stand for.
    pub quant: Option<&'a Quant>,
    /// Contents, if the operand is a constant; empty if it was packed before and its memory given back.
    pub data: Option<&'a [u8]>,
}

impl<'a> Operand<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `quantized uint8 1×28×28`, for messages.
    pub(crate) fn describe(&self) -> String {
        let quantized = if self.quant.is_some() { "quantized " } else { "" };
        format!("{quantized}{} {}", self.dtype, describe_shape(&self.shape))
    }

    /// A constant's elements; `None` if the operand is not a constant of type `T`.
    pub fn constant<T: Element>(&self) -> Option<&'a [T]> {
        (T::DTYPE == self.dtype).then_some(())?;
        bytemuck::try_cast_slice(self.data?).ok()
    }
}

/// What a kernel is prepared from.
pub struct Prepare<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its operands, in the order that [`Op`]'s documentation gives.
    pub inputs: Vec<Operand<'a>>,
    /// Its results.
    pub outputs: Vec<Operand<'a>>,
    /// Weights that were packed before, for this or other shapes.
    pub packed: &'a mut PackedWeights,
    /// What follows the product that this is, between the types of its accumulator and of its output; see [`follower`].
    pub then: Option<Follower>,
    /// Where results go, if the output's memory holds more than them; only where [`can_place`] says so.
    pub place: Option<Placement>,
    /// The inputs of a Concat that are in its result already; [`Io`] has only the others.
    pub joined: &'a [usize],
    /// How to go about it, where there are several ways.
    pub choice: Choice,
    /// What preparation made of the choice.
    pub made: Made,
}

/// Rows of results as some columns of a larger tensor, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The first result.
    pub offset: usize,
    /// From one row of results to the next.
    pub stride: usize,
}

/// Whether the kernel of `op`, which gives `y`, can be prepared with a [`Placement`].
pub fn can_place(op: &Op, y: &Operand<'_>) -> bool {
    // Depthwise convolutions, which a single channel is too, have kernels that write whole lines.
    matches!(op, Op::Conv(conv) if conv.groups == 1) && y.shape.last().is_some_and(|channels| *channels > 1)
}

/// An operator on bytes that a quantized product computes with its own results, before it stores them.
#[derive(Debug, Clone)]
pub struct Follower {
    line: rescale::Rescale,
    /// What the product's own results stand for.
    quant: Quant,
}

/// `op` of `inputs` as a part of the convolution or matrix product that gives the first of them; `None` if it has to be a step of
/// its own.
pub fn follower(product: &Op, op: &Op, inputs: &[Operand<'_>], y: &Operand<'_>) -> Option<Follower> {
    matches!(product, Op::Conv(_) | Op::MatMul(_)).then_some(())?;
    let x = inputs.first()?;
    let line = match op {
        Op::Unary(unary) => rescale::Rescale::of_unary(*unary, x, y)?,
        Op::Table => table::line(inputs, y)?,
        _ => return None,
    };
    Some(Follower { line, quant: x.quant?.clone() })
}

impl<'a> Prepare<'a> {
    /// A node by itself, computed by the kernel's own rules.
    pub fn new(
        node: &'a Node,
        inputs: Vec<Operand<'a>>,
        outputs: Vec<Operand<'a>>,
        packed: &'a mut PackedWeights,
    ) -> Prepare<'a> {
        let (choice, made) = (Choice::AUTO, Made::default());
        Prepare { node, inputs, outputs, packed, then: None, place: None, joined: &[], choice, made }
    }

    /// Where rows of `columns` results go.
    pub(crate) fn placement(&self, columns: usize) -> Placement {
        self.place.unwrap_or(Placement { offset: 0, stride: columns })
    }

    /// Whether all operands and results are f32.
    pub(crate) fn is_f32(&self) -> bool {
        self.inputs.iter().chain(&self.outputs).all(|o| o.dtype == DType::F32)
    }

    /// The error for operands that no kernel takes.
    #[cold]
    pub(crate) fn unsupported(&self) -> Error {
        let list = |operands: &[Operand<'_>]| {
            let texts: Vec<String> = operands.iter().map(Operand::describe).collect();
            texts.join(", ")
        };
        Error::Unsupported(format!("{} has no kernel for {} → {}", self.node.op.name(), list(&self.inputs), list(&self.outputs)))
    }
}

type PackedKey = (ValueId, &'static str);

/// Packed weights by constant and layout, so that each is packed once per model and not once per set of shapes.
#[derive(Default)]
pub struct PackedWeights {
    /// In the order of their keys.
    entries: Vec<(PackedKey, Arc<dyn Any + Send + Sync>)>,
    /// Nothing is packed: preparation only asks whether there is a kernel.
    trial: bool,
    reached: bool,
}

impl PackedWeights {
    /// Packs nothing: `prepare` fails where it would pack, which is after it found the operands fit (see
    /// [`PackedWeights::was_reached`]).
    pub fn trial() -> PackedWeights {
        PackedWeights { trial: true, ..PackedWeights::default() }
    }

    /// Whether a trial came as far as packing.
    pub fn was_reached(&self) -> bool {
        self.reached
    }

    /// Whether the constant `id` was packed in any layout.
    pub fn holds(&self, id: ValueId) -> bool {
        self.entries.binary_search_by_key(&id, |(key, _)| key.0).is_ok()
    }

    /// The constant `id` in layout `layout`, packed by `pack` if it is not there yet.
    pub fn get<T: Send + Sync + 'static>(
        &mut self,
        id: ValueId,
        layout: &'static str,
        pack: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        if self.trial {
            self.reached = true;
            return Err(Error::Internal("a trial packs no weights".into()));
        }
        match self.position((id, layout)) {
            Ok(at) => {
                let entry = self.entries[at].1.clone();
                entry.downcast::<T>().map_err(|_| Error::Internal("one layout name is used for two types".into()))
            }
            Err(at) => {
                let packed = Arc::new(pack()?);
                self.entries.insert(at, ((id, layout), packed.clone()));
                Ok(packed)
            }
        }
    }

    /// Where the entry of this key is, or would be.
    #[inline(never)]
    fn position(&self, key: PackedKey) -> core::result::Result<usize, usize> {
        self.entries.binary_search_by_key(&key, |(key, _)| *key)
    }
}

/// Prepares the kernel for a node. Shapes and types were verified; what no kernel can run is [`Error::Unsupported`].
///
/// Those of integer products and of arithmetic are never inlined: with them this would be a function of 68 kB, which browsers optimise in the
/// midst of a model's first run.
pub fn prepare(p: &mut Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let node = p.node;
    ensure!(
        node.op.arity().is_none_or(|n| n == p.inputs.len()) && node.op.output_count() == p.outputs.len(),
        InvalidModel,
        "{} does not take {} inputs and give {} outputs",
        node.op.name(),
        p.inputs.len(),
        p.outputs.len()
    );
    let quantized = p.inputs.first().is_some_and(|x| matches!(x.dtype, DType::U8 | DType::I8));
    match &node.op {
        Op::Conv(conv) if p.is_f32() => conv_f32::prepare(conv, p),
        Op::MatMul(mm) if p.is_f32() => matmul_f32::prepare(mm, p),
        Op::Conv(conv) if quantized => conv_i8::prepare(conv, p),
        Op::MatMul(op) if quantized => matmul_i8::prepare(op, p),
        Op::Pool(pool) => pool::prepare(pool, p),
        Op::Binary(op) => binary::prepare(op, p),
        Op::Unary(op) => unary::prepare(*op, p),
        Op::Where => where_op::prepare(p),
        Op::Cast => cast::prepare(p),
        Op::Reduce { op, axes, .. } => reduce::prepare(*op, axes, p),
        Op::Softmax { axis, log } => softmax::prepare(*axis, *log, p),
        Op::LayerNorm { axis, epsilon, bias } => layer_norm::prepare(*axis, *epsilon, *bias, p),
        Op::Attention(op) => attention::prepare(op, p),
        Op::InstanceNorm(op) => instance_norm::prepare(op, p),
        Op::Transpose { perm } => movement::transpose(perm, p),
        Op::Expand => movement::expand(p),
        Op::Concat { axis } => concat::prepare(*axis, p),
        Op::Slice { axis, start, step } => movement::slice(*axis, start, *step, p),
        Op::Pad { pads, value } => movement::pad(pads, *value, p),
        Op::Gather { axis } => gather::prepare(*axis, p),
        Op::Quantize => quantize::quantize(p),
        Op::Dequantize => quantize::dequantize(p),
        Op::DynamicQuantize => quantize::dynamic(p),
        Op::Range => range::prepare(p),
        Op::Table => table::prepare(p),
        Op::TreeEnsemble { aggregate } => trees::prepare(*aggregate, p),
        Op::Recurrent(op) => recurrent::prepare(op, p),
        Op::Scatter { combine } => scatter::prepare(*combine, p),
        Op::TopK { axis, largest } => top_k::prepare(*axis, *largest, p),
        Op::Cumulate { axis, product, exclusive, reverse } => {
            cumulate::prepare(*axis, *product, cumulate::Order { exclusive: *exclusive, reverse: *reverse }, p)
        }
        Op::GridSample(op) => grid_sample::prepare(*op, p),
        Op::RoiAlign(op) => roi_align::prepare(*op, p),
        // Aliases: the planner gives input and output the same memory.
        Op::Reshape | Op::Reinterpret => Err(Error::Internal("an alias has no kernel".into())),
        other => Err(Error::Unsupported(format!("{} has no kernel", other.name()))),
    }
}

/// How products of quantized values are computed on this engine, in a word or two.
pub fn integer_path() -> &'static str {
    gemm_i8::Scheme::best().name()
}

/// Checks on this engine that the fast kernels give what plain arithmetic gives. Takes some milliseconds.
pub fn selftest() -> Result<()> {
    gemm_i8::selftest()?;
    gemm_f32::selftest()?;
    depthwise_f32::selftest()
}
