//! What quantized convolutions and matrix products share: from scales, zero points and bias to the parameters of each column.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    Follower, Io, Operand,
    gemm_i8::{Columns, Store, cast},
    requant::{Dequant, Raw, Requant},
    rescale::Rescale,
    team::Crew,
};
use crate::{
    error::{Error, Result, bail, ensure},
    graph::ops::Activation,
    tensor::DType,
};

/// Quantization of a product of u8 rows with i8 columns. Columns are output channels.
#[derive(Debug)]
pub(crate) struct Linear {
    rows: Rows,
    /// One per column.
    scale: Vec<f32>,
    /// One per column, of weights as i8.
    zero_point: Vec<i32>,
    bias: Bias,
    output: Output,
    /// No accumulator times its multiplier is below −2²³.
    bounded: bool,
}

#[derive(Debug)]
enum Rows {
    Static(RowQuant),
    /// Known when run: the inputs that hold scale and zero point.
    Dynamic {
        scale: usize,
        zero_point: usize,
    },
}

/// What the rows' integers stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowQuant {
    pub scale: f32,
    pub zero_point: u8,
}

#[derive(Debug)]
enum Bias {
    None,
    /// In units of the accumulator.
    Integer(Vec<i32>),
    Real(Vec<f32>),
}

#[derive(Debug)]
enum Output {
    Quantized { scale: f32, zero_point: u8, lo: u8, hi: u8, then: Option<Rescale> },
    Real { lo: f32, hi: f32 },
    Accumulators,
}

/// Parameters of columns, padded to whole panels.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    init: Vec<i32>,
    multiplier: Vec<f32>,
    bias: Vec<f32>,
    row_sum: Option<Vec<i32>>,
}

/// A set of columns: all, those of a group, or those of a batch.
pub(crate) struct ColumnSet<'a> {
    /// The channels that they give.
    pub channels: Range<usize>,
    /// Depth.
    pub k: usize,
    /// See [`super::gemm_i8::Scheme::row_offset`].
    pub row_offset: i32,
    /// Sum of each column, padded.
    pub sums: &'a [i32],
}

/// A computation with any kind of result.
pub(crate) trait Product {
    /// Runs it. `init` of the columns and the finish hold parameters for whole panels.
    fn run<F: Store>(&self, columns: Columns<'_>, finish: &F, out: &mut [F::Out], crew: Crew<'_>) -> Result<()>;
}

impl Linear {
    /// Reads the operands of a node: x, weight, bias if `bias`, scale and zero point of x if `dynamic`.
    /// The product is of depth `k`; the weight's scales may differ along `axis`, which has `n` entries. `output` is what `then` gives.
    #[cfg_attr(small, optimize(size))]
    pub fn new(
        inputs: &[Operand<'_>],
        output: &Operand<'_>,
        (bias, dynamic): (bool, bool),
        activation: Activation,
        axis: usize,
        (n, k): (usize, usize),
        then: Option<&Follower>,
    ) -> Result<Linear> {
        let (Some(x), Some(weight)) = (inputs.first(), inputs.get(1)) else {
            bail!(InvalidModel, "a quantized product needs two inputs, it has {}", inputs.len());
        };
        ensure!(
            x.dtype == DType::U8 && matches!(weight.dtype, DType::I8 | DType::U8),
            Unsupported,
            "a product of {} with {} has no kernel; use uint8 activations and int8 weights",
            x.dtype,
            weight.dtype
        );
        let rows = row_quant(x, inputs, bias, dynamic)?;
        let (scale, zero_point) = weight_quant(weight, axis, n)?;
        let bias = if bias { read_bias(&inputs[2], n)? } else { Bias::None };
        let own = Operand { quant: then.map_or(output.quant, |t| Some(&t.quant)), ..output.clone() };
        let mut output = output_kind(&own, activation, &bias, dynamic)?;
        if let Some(follower) = then {
            let Output::Quantized { lo, hi, then, .. } = &mut output else {
                bail!(Internal, "what follows a product with {} output cannot be a part of it", own.dtype);
            };
            *then = Some(follower.line.within(*lo, *hi));
        }
        let mut linear = Linear { rows, scale, zero_point, bias, output, bounded: true };
        if let Rows::Static(rows) = linear.rows {
            let mut multiplier = alloc::vec![0.0; n];
            linear.multipliers(0..n, rows.scale, &mut multiplier);
            ensure!(
                multiplier.iter().all(|m| m.is_finite()),
                InvalidModel,
                "the scales of input, weight and output give a multiplier that is no finite number"
            );
            let then = then.map_or(1.0, |t| t.line.multiplier.max(1.0));
            let largest = linear.largest(k) * multiplier.iter().fold(0.0, |a, m| m.max(a)) * then;
            linear.bounded = !linear.is_quantized() || largest < 8e6;
        }
        Ok(linear)
    }

    /// A bound of the accumulators of products of depth `k`.
    fn largest(&self, k: usize) -> f32 {
        let bias = match &self.bias {
            Bias::Integer(bias) => bias.iter().map(|b| b.unsigned_abs()).max().unwrap_or(0),
            _ => 0,
        };
        (255.0 * 255.0 * k as f32 + bias as f32).min(2f32.powi(31))
    }

    fn is_quantized(&self) -> bool {
        matches!(self.output, Output::Quantized { .. })
    }

    /// The weights' zero points, one per column.
    pub fn zero_points(&self) -> &[i32] {
        &self.zero_point
    }

    /// Scale and zero point of the rows.
    pub fn rows(&self, io: &Io<'_>) -> Result<RowQuant> {
        match self.rows {
            Rows::Static(rows) => Ok(rows),
            Rows::Dynamic { scale, zero_point } => match (io.input::<f32>(scale).first(), io.input::<u8>(zero_point).first()) {
                (Some(&scale), Some(&zero_point)) => Ok(RowQuant { scale, zero_point }),
                _ => Err(Error::Internal("scale or zero point of a dynamic product is empty".into())),
            },
        }
    }

    /// Whether accumulators must pass through memory (see [`super::gemm_i8::Gemm::new`]).
    pub fn is_staged(&self) -> bool {
        !self.bounded || self.zero_point.iter().any(|&z| z != 0)
    }

    /// Whether vectors finish every accumulator exactly.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    pub fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// Parameters that do not depend on the run. The columns' sums may be known only then.
    pub fn parameters(&self, set: &ColumnSet<'_>, sums_known: bool) -> Parameters {
        let padded = set.sums.len();
        let mut p = Parameters::default();
        if let (Rows::Static(rows), true) = (&self.rows, sums_known) {
            p.init = alloc::vec![0; padded];
            p.multiplier = alloc::vec![0.0; padded];
            self.init(set, rows.zero_point, &mut p.init);
            self.multipliers(set.channels.clone(), rows.scale, &mut p.multiplier);
        }
        if matches!(self.output, Output::Real { .. }) {
            p.bias = alloc::vec![0.0; padded];
            if let Bias::Real(bias) = &self.bias {
                p.bias[..set.channels.len()].copy_from_slice(&bias[set.channels.clone()]);
            }
        }
        if self.zero_point[set.channels.clone()].iter().any(|&z| z != 0) {
            p.row_sum = Some(self.zero_point[set.channels.clone()].iter().map(|z| -z).collect());
        }
        p
    }

    /// Scratch space of [`Linear::run`], beside what the product needs for each thread.
    pub fn scratch(&self, padded: usize) -> usize {
        2 * (padded * 4).next_multiple_of(64)
    }

    /// Runs `product` with the finish that fits the output, whose first element is `out[offset]`. `scratch` is aligned to 64 bytes.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        set: &ColumnSet<'_>,
        packed: &[u8],
        parameters: &Parameters,
        rows: RowQuant,
        product: &impl Product,
        out: &mut [u8],
        offset: usize,
        scratch: &mut [u8],
        crew: Crew<'_>,
    ) -> Result<()> {
        let padded = set.sums.len();
        ensure!(scratch.len() >= self.scratch(padded), Internal, "scratch space is too small");
        let own = &mut scratch[..self.scratch(padded)];
        let (mut init, mut multiplier) = (parameters.init.as_slice(), parameters.multiplier.as_slice());
        if init.is_empty() {
            let (a, b) = own.split_at_mut(own.len() / 2);
            let (a, b) = (&mut cast::<i32>(a)?[..padded], &mut cast::<f32>(b)?[..padded]);
            self.init(set, rows.zero_point, a);
            b.fill(0.0);
            self.multipliers(set.channels.clone(), rows.scale, b);
            (init, multiplier) = (a, b);
        }
        let columns = Columns { packed, init, row_sum: parameters.row_sum.as_deref() };
        let beyond = || Error::Internal("the output of a product is too short".into());
        match self.output {
            Output::Quantized { zero_point, lo, hi, then, .. } => {
                let out = out.get_mut(offset..).ok_or_else(beyond)?;
                let finish = Requant { multiplier, zero_point: zero_point.into(), lo, hi, then, bounded: self.bounded };
                product.run(columns, &finish, out, crew)
            }
            Output::Real { lo, hi } => {
                let out = cast::<f32>(out)?.get_mut(offset..).ok_or_else(beyond)?;
                product.run(columns, &Dequant { multiplier, bias: &parameters.bias, lo, hi }, out, crew)
            }
            Output::Accumulators => product.run(columns, &Raw, cast::<i32>(out)?.get_mut(offset..).ok_or_else(beyond)?, crew),
        }
    }

    fn init(&self, set: &ColumnSet<'_>, row_zero: u8, out: &mut [i32]) {
        let shift = i32::from(row_zero) - set.row_offset;
        let constant = (set.k as i32).wrapping_mul(row_zero.into());
        out.fill(0);
        for ((out, sum), channel) in out.iter_mut().zip(set.sums).zip(set.channels.clone()) {
            let bias = if let Bias::Integer(bias) = &self.bias { bias[channel] } else { 0 };
            *out = bias.wrapping_sub(shift.wrapping_mul(*sum)).wrapping_add(constant.wrapping_mul(self.zero_point[channel]));
        }
    }

    fn multipliers(&self, channels: Range<usize>, row_scale: f32, out: &mut [f32]) {
        for (out, scale) in out.iter_mut().zip(&self.scale[channels]) {
            *out = match self.output {
                Output::Quantized { scale: output, .. } => row_scale * scale / output,
                _ => row_scale * scale,
            };
        }
    }
}

fn row_quant(x: &Operand<'_>, inputs: &[Operand<'_>], bias: bool, dynamic: bool) -> Result<Rows> {
    if dynamic {
        let (scale, zero_point) = (2 + usize::from(bias), 3 + usize::from(bias));
        let fits = |i: usize, dtype| inputs.get(i).is_some_and(|o| o.dtype == dtype && o.len() == 1);
        ensure!(
            fits(scale, DType::F32) && fits(zero_point, DType::U8),
            InvalidModel,
            "a dynamic product needs a float32 scale and a uint8 zero point"
        );
        return Ok(Rows::Dynamic { scale, zero_point });
    }
    let Some(quant) = x.quant else { return Ok(Rows::Static(RowQuant { scale: 1.0, zero_point: 0 })) };
    match quant.as_per_tensor().map(|(s, z)| (s, u8::try_from(z))) {
        Some((scale, Ok(zero_point))) => Ok(Rows::Static(RowQuant { scale, zero_point })),
        _ => bail!(Unsupported, "activations must have one scale and a zero point from 0 to 255"),
    }
}

/// Scale and zero point of every column.
fn weight_quant(weight: &Operand<'_>, axis: usize, n: usize) -> Result<(Vec<f32>, Vec<i32>)> {
    let shift = if weight.dtype == DType::U8 { 128 } else { 0 };
    let Some(quant) = weight.quant else { return Ok((alloc::vec![1.0; n], alloc::vec![-shift; n])) };
    let spread = quant.scale.len() == n && quant.axis == Some(axis);
    ensure!(
        quant.scale.len() == quant.zero_point.len() && (quant.scale.len() == 1 || spread),
        Unsupported,
        "a weight needs one scale, or one for each of its {n} output channels (axis {axis}); it has {}, of axis {}",
        quant.scale.len(),
        quant.axis.unwrap_or(0)
    );
    let at = |i: usize| if quant.scale.len() == 1 { 0 } else { i };
    let zero_point: Vec<i32> = (0..n).map(|i| quant.zero_point[at(i)].saturating_sub(shift)).collect();
    if let Some(z) = zero_point.iter().find(|z| i8::try_from(**z).is_err()) {
        bail!(InvalidModel, "a weight's zero point {} is not of its type, {}", z + shift, weight.dtype);
    }
    Ok(((0..n).map(|i| quant.scale[at(i)]).collect(), zero_point))
}

fn read_bias(bias: &Operand<'_>, n: usize) -> Result<Bias> {
    ensure!(bias.len() == n, InvalidModel, "bias has {} elements, there are {n} output channels", bias.len());
    if let Some(bias) = bias.constant::<i32>() {
        Ok(Bias::Integer(bias.to_vec()))
    } else if let Some(bias) = bias.constant::<f32>() {
        Ok(Bias::Real(bias.to_vec()))
    } else {
        bail!(Unsupported, "the bias of a quantized product must be a constant of int32 or float32")
    }
}

fn output_kind(output: &Operand<'_>, activation: Activation, bias: &Bias, dynamic: bool) -> Result<Output> {
    let (lo, hi) = activation.bounds();
    match (output.dtype, output.quant) {
        (DType::U8, Some(quant)) => {
            let Some((scale, Ok(zero_point))) = quant.as_per_tensor().map(|(s, z)| (s, u8::try_from(z))) else {
                bail!(Unsupported, "a quantized output must have one scale and a zero point from 0 to 255");
            };
            ensure!(!dynamic, Unsupported, "a product with dynamic quantization gives float32 or int32, not uint8");
            ensure!(
                !matches!(bias, Bias::Real(_)),
                Unsupported,
                "a product with uint8 output needs an int32 bias, it has float32"
            );
            let bound = |real: f32| ((real / scale).round_ties_even() + f32::from(zero_point)).clamp(0.0, 255.0) as u8;
            Ok(Output::Quantized { scale, zero_point, lo: bound(lo), hi: bound(hi), then: None })
        }
        (DType::F32, None) => {
            ensure!(
                !(dynamic && matches!(bias, Bias::Integer(_))),
                Unsupported,
                "a product with dynamic quantization needs a float32 bias, it has int32"
            );
            Ok(Output::Real { lo, hi })
        }
        (DType::I32, None) => {
            ensure!(
                activation == Activation::None && !matches!(bias, Bias::Real(_)),
                Unsupported,
                "a product with int32 output takes neither an activation nor a float32 bias"
            );
            Ok(Output::Accumulators)
        }
        (dtype, _) => bail!(Unsupported, "a quantized product gives quantized uint8, float32 or int32, not {dtype}"),
    }
}
