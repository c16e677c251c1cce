//! Rules beside tract's: where those trust the model, and where they ask for more than ONNX does.

use alloc::vec::Vec;

use tract_onnx::{
    tract_core::internal::{DatumType, TDim, TVec},
    tract_hir::infer::{Factoid, InferenceFact},
};

use super::{conv_transpose, node::OnnxNode};
use crate::error::{Result, ensure};

/// Operators without a lowering that are kept whole all the same, so that their axes are checked.
pub(super) const CHECKED: [&str; 5] = ["Hardmax", "TopK", "GatherElements", "ScatterElements", "Scatter"];

/// Fails if attributes and constant operands do not fit the operands' ranks and sizes; tract indexes with them as they are.
pub(super) fn check(node: &OnnxNode, inputs: &[&InferenceFact]) -> Result<()> {
    let Some(rank) = inputs.first().and_then(|f| f.shape.rank().concretize()) else { return Ok(()) };
    let operands = Operands { node, inputs, rank };
    operands.check().map_err(|e| e.at_node(&node.op_type, &node.name))
}

struct Operands<'a> {
    node: &'a OnnxNode,
    inputs: &'a [&'a InferenceFact],
    rank: i64,
}

impl Operands<'_> {
    fn check(&self) -> Result<()> {
        let (node, rank) = (self.node, self.rank);
        match node.op_type.as_str() {
            "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => {
                ensure!(rank > 0, InvalidModel, "its input is a scalar, which has no axis to normalise over");
                self.axis(node.int("axis").unwrap_or(-1), rank)
            }
            "Flatten" => self.axis(node.int("axis").unwrap_or(1), rank + 1),
            "Gather" => {
                let axis = node.int("axis").unwrap_or(0);
                self.axis(axis, rank)?;
                self.indices(1, axis)
            }
            "Softmax" | "LogSoftmax" | "Hardmax" | "Concat" | "GatherElements" | "ScatterElements" | "Scatter" | "ArgMax"
            | "ArgMin" | "LpNormalization" => node.int("axis").map_or(Ok(()), |axis| self.axis(axis, rank)),
            "TopK" => {
                node.int("axis").map_or(Ok(()), |axis| self.axis(axis, rank))?;
                self.counts(1, "k")
            }
            "Split" => self.split(),
            "MatMul" | "MatMulInteger" | "QLinearMatMul" => {
                let second = if node.op_type == "QLinearMatMul" { 3 } else { 1 };
                let other = self.fact(second).and_then(|f| f.shape.rank().concretize());
                ensure!(rank > 0 && other != Some(0), InvalidModel, "one of its operands is a scalar");
                Ok(())
            }
            "Pow" => {
                let bools = inputs_are(self.inputs, &[DatumType::Bool, DatumType::String]);
                ensure!(!bools, InvalidModel, "its operands are not numbers");
                Ok(())
            }
            "Squeeze" | "ReduceSum" | "ReduceMean" | "ReduceMin" | "ReduceMax" | "ReduceProd" | "ReduceSumSquare"
            | "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" => self.axes(1, rank),
            "Unsqueeze" => {
                let added = node.ints("axes").map(<[i64]>::len).or(self.constant(1).map(|v| v.len())).unwrap_or(0);
                self.axes(1, rank + added as i64)
            }
            "Slice" => {
                self.axes(3, rank)?;
                let steps = self.constant(4).unwrap_or_default();
                // tract keeps them in 32 bits.
                let steps_fit = steps.iter().all(|s| *s != 0 && s.unsigned_abs() < 1 << 31);
                ensure!(steps_fit, InvalidModel, "has steps {steps:?}");
                Ok(())
            }
            "Transpose" => {
                let perm = node.ints("perm").map_or(rank, |p| p.len() as i64);
                ensure!(perm == rank, InvalidModel, "permutes {perm} axes of a tensor of rank {rank}");
                Ok(())
            }
            "Pad" => self.pad(),
            "Tile" => self.counts(1, "repeats"),
            "Expand" => self.counts(1, "a shape"),
            "ConstantOfShape" => self.counts(0, "a shape"),
            "Conv" | "ConvTranspose" | "FusedConv" | "MaxPool" | "AveragePool" => self.window(),
            "InstanceNormalization" | "GlobalAveragePool" | "GlobalMaxPool" => {
                ensure!(rank >= 2, InvalidModel, "its input has rank {rank}; it needs batch and channels");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The operator's `i`-th input, if that is a constant of integers.
    fn constant(&self, i: usize) -> Option<Vec<i64>> {
        let index = self.node.inputs.get(i).copied().flatten()?;
        let value = self.inputs.get(index)?.value.concretize()?;
        let value = value.cast_to_dt(DatumType::I64).ok()?;
        Some(value.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.to_vec())
    }

    /// The operator's `i`-th input.
    fn fact(&self, i: usize) -> Option<&InferenceFact> {
        self.inputs.get(self.node.inputs.get(i).copied().flatten()?).copied()
    }

    /// The `i`-th input holds positions along an axis of the first.
    fn indices(&self, i: usize, axis: i64) -> Result<()> {
        let axis = if axis < 0 { axis + self.rank } else { axis };
        let shape = self.inputs.first().and_then(|f| f.shape.concretize()).unwrap_or_default();
        let Some(size) = usize::try_from(axis).ok().and_then(|a| shape.get(a)?.as_i64()) else { return Ok(()) };
        let outside = self.constant(i).unwrap_or_default().into_iter().find(|v| !(-size..size).contains(v));
        ensure!(outside.is_none(), InvalidModel, "index {} is out of range for {size} elements", outside.unwrap_or_default());
        Ok(())
    }

    fn axis(&self, axis: i64, last: i64) -> Result<()> {
        let rank = self.rank;
        ensure!((-last.max(1)..last.max(1)).contains(&axis), InvalidModel, "axis {axis} is out of range for rank {rank}");
        Ok(())
    }

    /// Axes as an attribute or as the `i`-th input.
    fn axes(&self, i: usize, last: i64) -> Result<()> {
        let axes = self.node.ints("axes").map(<[i64]>::to_vec).or(self.constant(i)).unwrap_or_default();
        axes.iter().try_for_each(|&axis| self.axis(axis, last))?;
        let mut from_start: Vec<i64> = axes.iter().map(|a| if *a < 0 { a + last } else { *a }).collect();
        from_start.sort_unstable();
        ensure!(from_start.is_sorted_by(|a, b| a < b), InvalidModel, "names an axis twice: {axes:?}");
        Ok(())
    }

    /// The `i`-th input holds no negative and no enormous numbers.
    fn counts(&self, i: usize, what: &str) -> Result<()> {
        let values = self.constant(i).unwrap_or_default();
        let wrong = values.iter().find(|v| !(-1..1 << 48).contains(*v));
        ensure!(wrong.is_none(), InvalidModel, "has {what} of {values:?}");
        Ok(())
    }

    fn split(&self) -> Result<()> {
        self.axis(self.node.int("axis").unwrap_or(0), self.rank)?;
        let sizes = self.node.ints("split").map(<[i64]>::to_vec).or(self.constant(1));
        let Some(sizes) = sizes.filter(|s| !s.is_empty()) else { return Ok(()) };
        let parts = self.node.outputs.len();
        ensure!(sizes.len() == parts, InvalidModel, "has {} sizes for {parts} outputs", sizes.len());
        ensure!(sizes.iter().all(|s| (0..1 << 48).contains(s)), InvalidModel, "has sizes {sizes:?}");
        Ok(())
    }

    fn pad(&self) -> Result<()> {
        let attribute = self.node.ints("pads").or(self.node.ints("paddings")).map(<[i64]>::to_vec);
        let Some(pads) = attribute.or(self.constant(1)) else { return Ok(()) };
        let rank = self.rank as usize;
        ensure!(pads.iter().all(|p| p.unsigned_abs() < 1 << 31), InvalidModel, "has pads {pads:?}");
        if self.node.inputs.get(3).copied().flatten().is_some() {
            return self.axes(3, self.rank);
        }
        ensure!(pads.len() == 2 * rank, InvalidModel, "has {} pads for {rank} axes", pads.len());
        let mode = self.node.string("mode").unwrap_or("constant");
        let mirrors = mode != "constant";
        let shape = self.inputs.first().and_then(|f| f.shape.concretize()).unwrap_or_default();
        for (axis, dim) in shape.iter().enumerate() {
            let (before, after) = (pads[axis], pads[rank + axis]);
            ensure!(
                !mirrors || (before >= 0 && after >= 0),
                InvalidModel,
                "has pads {pads:?}; only mode constant takes negative ones"
            );
            let Some(size) = dim.as_i64() else { continue };
            // What is mirrored or repeated must be there.
            let most = if mirrors && size == 0 { 0 } else { i64::MAX };
            let fits = before >= -size && after >= -size && size + before + after >= 0 && before.max(after) <= most.max(0);
            ensure!(fits, InvalidModel, "pads axis {axis} of size {size} by {before} and {after}");
        }
        Ok(())
    }

    /// Kernel, strides, dilations and pads are for as many axes as the input has.
    fn window(&self) -> Result<()> {
        ensure!(self.rank >= 3, InvalidModel, "its input has rank {}; it needs batch, channels and spatial axes", self.rank);
        let n = self.rank as usize - 2;
        let lengths = [("kernel_shape", n), ("strides", n), ("dilations", n), ("pads", 2 * n), ("output_padding", n)];
        for (name, expected) in lengths {
            let given = self.node.ints(name).map_or(0, <[i64]>::len);
            ensure!(given == 0 || given == expected, InvalidModel, "has {given} {name} for {n} spatial axes");
        }
        let pool = self.node.op_type.ends_with("Pool");
        ensure!(!pool || self.node.ints("kernel_shape").is_some_and(|k| !k.is_empty()), InvalidModel, "has no kernel_shape");
        let shape = self.inputs.first().and_then(|f| f.shape.concretize()).unwrap_or_default();
        let empty = pool && shape.iter().skip(1).any(|d| d.as_i64() == Some(0));
        ensure!(!empty, InvalidModel, "its input {shape:?} is empty");
        let weight = self.inputs.get(1).filter(|_| !pool).and_then(|f| f.shape.rank().concretize());
        ensure!(weight.is_none_or(|r| r == self.rank), InvalidModel, "the weight has rank {weight:?}, the input {}", self.rank);
        Ok(())
    }
}

fn inputs_are(inputs: &[&InferenceFact], kinds: &[DatumType]) -> bool {
    inputs.iter().any(|f| f.datum_type.concretize().is_some_and(|dt| kinds.contains(&dt)))
}

/// The type of a Concat whose other axes tract cannot prove equal: that they are is checked when shapes are bound.
pub(super) fn concat(node: &OnnxNode, inputs: &[&InferenceFact]) -> Option<InferenceFact> {
    let first = inputs.first()?;
    let datum_type = first.datum_type.concretize()?;
    let mut shapes = TVec::new();
    for fact in inputs {
        if fact.datum_type.concretize()? != datum_type {
            return None;
        }
        shapes.push(fact.shape.concretize()?);
    }
    let rank = shapes[0].len();
    let axis = node.int("axis").unwrap_or(1);
    let axis = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()?;
    if axis >= rank || shapes.iter().any(|s| s.len() != rank) {
        return None;
    }
    let mut out = shapes[0].clone();
    for (i, dim) in out.iter_mut().enumerate() {
        if i == axis {
            *dim = shapes.iter().map(|s| s[i].clone()).sum();
        } else if let Some(known) = shapes.iter().find(|s| s[i].as_i64().is_some()) {
            *dim = known[i].clone();
        }
    }
    Some(InferenceFact::dt_shape(datum_type, out))
}

/// Operands that ONNX wants scalar and exporters give as lists of one, which tract refuses.
pub(super) fn scalars(op_type: &str) -> &'static [usize] {
    match op_type {
        "Pad" => &[2],
        "Range" => &[0, 1, 2],
        _ => &[],
    }
}

/// The operand as a scalar, if it is a list of one.
pub(super) fn as_scalar(fact: &InferenceFact) -> Option<InferenceFact> {
    let shape = fact.shape.concretize()?;
    (shape.len() == 1 && shape[0].as_i64() == Some(1)).then_some(())?;
    let scalar = fact.value.concretize().and_then(|v| {
        let mut tensor = (*v).clone();
        tensor.set_shape(&[]).ok()?;
        Some(InferenceFact::from(tensor))
    });
    Some(scalar.unwrap_or_else(|| InferenceFact { shape: TVec::<TDim>::new().into(), ..fact.clone() }))
}

/// The result's type where tract's rule cannot give it.
pub(super) fn of(node: &OnnxNode, inputs: &[&InferenceFact]) -> Option<InferenceFact> {
    match node.op_type.as_str() {
        "ConvTranspose" => conv_transpose(node, inputs),
        "MaxPool" | "AveragePool" if node.outputs.len() == 1 => same_pool(node, inputs),
        _ => None,
    }
}

/// The type of a pool that pads by itself and has gaps in its window, where tract follows ONNX's text; see `conv::spans`.
fn same_pool(node: &OnnxNode, inputs: &[&InferenceFact]) -> Option<InferenceFact> {
    let gaps = node.string("auto_pad")?.starts_with("SAME") && node.ints("dilations")?.iter().any(|d| *d > 1);
    let x = inputs.first().filter(|_| gaps)?;
    let mut out: TVec<TDim> = x.shape.concretize()?.into_iter().collect();
    for (i, dim) in out.iter_mut().skip(2).enumerate() {
        let at = |name: &str| node.ints(name).map_or(Some(1), |v| v.get(i).copied());
        let (kernel, stride, dilation) = (at("kernel_shape")?, at("strides")?, at("dilations")?);
        let size = dim.as_i64()?;
        let pads = ((size + stride - 1) / stride - 1) * stride + kernel - size;
        let room = size + pads.max(0) - (dilation * (kernel - 1) + 1);
        *dim = (room.max(-stride) / stride + 1).into();
    }
    Some(InferenceFact::dt_shape(x.datum_type.concretize()?, out))
}

/// The type of a ConvTranspose, also where sizes are symbolic.
fn conv_transpose(node: &OnnxNode, inputs: &[&InferenceFact]) -> Option<InferenceFact> {
    let (x, weight) = (inputs.first()?, inputs.get(1)?);
    let (shape, weight) = (x.shape.concretize()?, weight.shape.concretize()?);
    let kernel: Vec<usize> =
        weight.iter().skip(2).map(|d| d.as_i64().and_then(|d| usize::try_from(d).ok())).collect::<Option<_>>()?;
    let sizes: Vec<Option<i64>> = shape.iter().skip(2).map(|d| d.as_i64()).collect();
    let geometries = conv_transpose::geometry(node, &kernel, &sizes).ok()?;
    let groups = node.int("group").unwrap_or(1);
    let mut out: TVec<TDim> = [shape.first()?.clone(), weight.get(1)?.clone() * groups].into_iter().collect();
    for (g, size) in geometries.iter().zip(shape.iter().skip(2)) {
        out.push((size.clone() - 1) * g.stride + g.offset());
    }
    let fits = out.iter().all(|d| d.as_i64().is_none_or(|n| n >= 0));
    fits.then(|| InferenceFact::dt_shape(x.datum_type.concretize().unwrap_or(DatumType::F32), out))
}
