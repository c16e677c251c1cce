//! The right-hand side of a product as an operator has it: weights and bias, each a constant (packed once) or not (packed in each run).

use alloc::{format, sync::Arc};

use super::{Packed, Panels, flush_denormals, pack, packed_len, panel_width};
use crate::{
    error::{Error, Result},
    kernels::{Prepare, vector::Isa},
    tensor::{AlignedBytes, describe_shape},
};

/// Matrices of one shape, and their biases: one for each or one for all.
pub(crate) struct Right {
    isa: Isa,
    pub depth: usize,
    pub columns: usize,
    transposed: bool,
    weights: Option<Arc<Packed>>,
    bias: Bias,
}

enum Bias {
    None,
    Constant(Arc<PaddedBias>),
    Runtime,
}

/// Biases of consecutive matrices, each padded to whole panels.
struct PaddedBias {
    columns: usize,
    count: usize,
    data: AlignedBytes,
}

/// What [`Right`] is made from, beside the node's operands.
pub(crate) struct RightShape {
    pub depth: usize,
    pub columns: usize,
    /// Number of matrices.
    pub count: usize,
    /// Each matrix is stored `[columns][depth]`, not `[depth][columns]`.
    pub transposed: bool,
}

impl Right {
    /// Takes input 1 as the matrices and, if `has_bias`, input 2 as the biases.
    pub fn prepare(p: &mut Prepare<'_>, has_bias: bool, shape: &RightShape) -> Result<Right> {
        let isa = Isa::best();
        let &RightShape { depth, columns, count, transposed } = shape;
        let weight = &p.inputs[1];
        let too_large = || Error::Limit(format!("weight {} is too large to be packed", describe_shape(&weight.shape)));
        packed_len(isa, depth, columns).ok_or_else(too_large)?;
        let weights = match weight.constant::<f32>() {
            Some(data) => {
                let layout = if transposed { "f32 panels of a transposed matrix" } else { "f32 panels" };
                let make = || Packed::new(isa, data, depth, columns, transposed).ok_or_else(too_large);
                let packed = p.packed.get(weight.id, layout, make)?;
                // Another operator may cut the same constant into other matrices.
                Some(if packed.is(isa, depth, columns, count) { packed } else { Arc::new(make()?) })
            }
            None => None,
        };
        let bias = match p.inputs.get(2).filter(|_| has_bias) {
            None => Bias::None,
            Some(operand) => match operand.constant::<f32>() {
                None => Bias::Runtime,
                Some(data) => {
                    let make = || Ok(PaddedBias::new(isa, data, columns));
                    let bias = p.packed.get(operand.id, "f32 bias", make)?;
                    Bias::Constant(if bias.columns == columns { bias } else { Arc::new(make()?) })
                }
            },
        };
        Ok(Right { isa, depth, columns, transposed, weights, bias })
    }

    fn padded_columns(&self) -> usize {
        self.columns.next_multiple_of(panel_width(self.isa))
    }

    /// Elements of scratch space that [`Right::load`] needs.
    pub fn scratch(&self) -> usize {
        let weights = if self.weights.is_none() { self.padded_columns() * self.depth } else { 0 };
        let bias = if matches!(self.bias, Bias::Runtime) { self.padded_columns() } else { 0 };
        weights + bias
    }

    /// Matrix `i` and its bias. `weight` and `bias` are the operands' contents, read unless they are constants; what is not constant
    /// is packed to `scratch`. `reuse` says that the matrix is the one that was loaded before with this scratch.
    pub fn load<'s>(
        &'s self,
        i: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
        scratch: &'s mut [f32],
        reuse: bool,
    ) -> (Panels<'s>, Option<&'s [f32]>) {
        let &Right { isa, depth, columns, .. } = self;
        let padded = self.padded_columns();
        let runtime_weights = if self.weights.is_none() { padded * depth } else { 0 };
        let (packed, padded_bias) = scratch.split_at_mut(runtime_weights);
        let panels = match &self.weights {
            Some(weights) => weights.matrix(i),
            None => {
                if !reuse {
                    pack(isa, &weight[i * depth * columns..][..depth * columns], depth, columns, self.transposed, packed);
                }
                Panels { isa, depth, columns, data: packed }
            }
        };
        let bias = match (&self.bias, bias) {
            (Bias::Constant(bias), _) => Some(bias.of_matrix(i, padded)),
            (Bias::Runtime, Some(bias)) => {
                let target = &mut padded_bias[..padded];
                let i = if bias.len() > columns { i } else { 0 };
                target[..columns].copy_from_slice(&bias[i * columns..][..columns]);
                target[columns..].fill(0.0);
                Some(&*target)
            }
            _ => None,
        };
        (panels, bias)
    }
}

impl PaddedBias {
    fn new(isa: Isa, bias: &[f32], columns: usize) -> PaddedBias {
        let padded = columns.next_multiple_of(panel_width(isa));
        let count = bias.len() / columns.max(1);
        let mut data = AlignedBytes::zeroed(padded * count * 4);
        let floats: &mut [f32] = bytemuck::cast_slice_mut(&mut data);
        for (to, from) in floats.chunks_exact_mut(padded.max(1)).zip(bias.chunks_exact(columns.max(1))) {
            to[..columns].copy_from_slice(from);
        }
        flush_denormals(floats);
        PaddedBias { columns, count, data }
    }

    fn of_matrix(&self, i: usize, padded: usize) -> &[f32] {
        let floats: &[f32] = bytemuck::cast_slice(&self.data);
        let i = if self.count > 1 { i } else { 0 };
        &floats[i * padded..(i + 1) * padded]
    }
}
