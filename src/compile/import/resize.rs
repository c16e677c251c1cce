//! Resize and Upsample: along one axis after the other, each result element is a weighted sum of some input elements.
//!
//! Which elements and weights follows from the sizes, so they are constants: nearest-neighbour is a Gather, linear and cubic are two and
//! four of them, weighted, and wider kernels a matrix product.

use alloc::{string::String, vec, vec::Vec};

use super::{
    lower::{Call, Lower, Lowering, is_one},
    movement::{moved, repeat},
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{Activation, BinaryOp, MatMul},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    matches!(op_type, "Resize" | "Upsample").then_some(resize as Lowering)
}

/// How positions and weights are computed.
struct Mode {
    interpolation: Interpolation,
    coordinates: String,
    nearest: String,
    cubic_a: f64,
    exclude_outside: bool,
    antialias: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Interpolation {
    Nearest,
    Linear,
    Cubic,
}

/// What is known of the axes: one entry each, of all axes or of those that `axes` names.
struct Given {
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<i64>>,
    roi: Option<Vec<f32>>,
}

/// One axis to be resized.
struct Axis {
    from: usize,
    to: usize,
    scale: f64,
    /// Start and end of the cropped region, as shares of the axis.
    roi: (f64, f64),
}

impl Mode {
    fn read(c: &Call) -> Result<Mode> {
        let old = c.node.op_type == "Upsample" || c.node.opset < 11;
        let text = |name: &str, default: &str| String::from(c.node.string(name).unwrap_or(default));
        let interpolation = match c.node.string("mode").unwrap_or("nearest") {
            "nearest" => Interpolation::Nearest,
            "linear" | "bilinear" => Interpolation::Linear,
            "cubic" => Interpolation::Cubic,
            other => bail!(Unsupported, "mode {other} is not supported"),
        };
        Ok(Mode {
            interpolation,
            coordinates: if old { "asymmetric".into() } else { text("coordinate_transformation_mode", "half_pixel") },
            nearest: if old { "floor".into() } else { text("nearest_mode", "round_prefer_floor") },
            cubic_a: f64::from(c.node.float("cubic_coeff_a").unwrap_or(-0.75)),
            exclude_outside: c.node.flag("exclude_outside", false),
            antialias: c.node.flag("antialias", false),
        })
    }
}

impl Given {
    fn read(l: &Lower, c: &Call) -> Result<Given> {
        let old = c.node.op_type == "Upsample" || c.node.opset < 11;
        if let Some(scales) = c.node.floats("scales") {
            return Ok(Given { scales: Some(scales.to_vec()), sizes: None, roi: None });
        }
        let (roi, scales, sizes) = if old { (None, c.optional(1), None) } else { (c.optional(1), c.optional(2), c.optional(3)) };
        let floats = |v: Option<ValueId>, what: &str| match v {
            Some(v) => match l.const_floats(v) {
                Some(list) => Ok(Some(list).filter(|l| !l.is_empty())),
                None => bail!(Unsupported, "the {what} are not constant"),
            },
            None => Ok(None),
        };
        // Sizes may be dimensions that become known later; then the shapes say all that matters.
        let sizes = sizes.and_then(|v| l.const_ints(v)).filter(|l| !l.is_empty());
        Ok(Given { scales: floats(scales, "scales")?, sizes, roi: floats(roi, "region")? })
    }
}

fn resize(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (mode, given) = (Mode::read(c)?, Given::read(l, c)?);
    let x = c.input(0)?;
    let rank = l.rank(x);
    let named: Vec<usize> = match c.node.ints("axes") {
        Some(axes) => axes.iter().map(|&a| l.axis(a, rank)).collect::<Result<_>>()?,
        None => (0..rank).collect(),
    };
    let n = named.len();
    let fits = |len: Option<usize>, n: usize| len.is_none_or(|len| len == n);
    ensure!(
        fits(given.scales.as_ref().map(Vec::len), n) && fits(given.sizes.as_ref().map(Vec::len), n),
        InvalidModel,
        "needs a scale or a size for each of {n} axes"
    );
    let crops = mode.coordinates == "tf_crop_and_resize";
    ensure!(!crops || given.roi.as_ref().is_some_and(|r| r.len() == 2 * n), Unsupported, "needs a region of {} numbers", 2 * n);
    if let Some(y) = whole_factors(l, c, x, &mode, &given, &named)? {
        return Ok(vec![y]);
    }
    let (shape, out) = (l.shape(x), c.out()?.shape);
    let common = common_scale(c, &given, &named, &shape);
    let mut y = x;
    let mut outside: Option<ValueId> = None;
    for (i, &axis) in named.iter().enumerate() {
        let (Some(from), Some(to)) = (shape[axis].as_fixed(), out[axis].as_fixed()) else {
            ensure!(
                shape[axis] == out[axis],
                Unsupported,
                "resizing an axis whose size is not known is only supported by whole factors"
            );
            continue;
        };
        ensure!(from > 0 || to == 0, InvalidModel, "an empty axis cannot be enlarged");
        let scale = match (&given.scales, common) {
            (Some(scales), _) => f64::from(scales[i]),
            (None, Some(scale)) => scale,
            (None, None) => to as f64 / from.max(1) as f64,
        };
        ensure!(scale.is_finite() && scale > 0.0, InvalidModel, "has the scale {scale}");
        let roi = given.roi.as_ref().filter(|_| crops).map_or((0.0, 1.0), |r| (f64::from(r[i]), f64::from(r[n + i])));
        let spec = Axis { from, to, scale, roi };
        let same = from == to && scale == 1.0 && roi == (0.0, 1.0);
        if same && mode.coordinates != "tf_half_pixel_for_nn" {
            continue;
        }
        let positions: Vec<f64> = (0..to).map(|o| position(&mode, &spec, o)).collect();
        if crops && positions.iter().any(|p| *p < 0.0 || *p > (from - 1) as f64) {
            let mask: Vec<u8> = positions.iter().map(|p| u8::from(*p < 0.0 || *p > (from - 1) as f64)).collect();
            let mut shape = vec![1; rank - axis];
            shape[0] = to;
            let mask = l.graph.add_const(c.name(), &Tensor::from_bytes(DType::Bool, &shape, &mask)?);
            outside = Some(match outside {
                Some(other) => l.binary(c, BinaryOp::Or, other, mask),
                None => mask,
            });
        }
        y = apply(l, c, y, axis, &mode, &spec, &positions)?;
    }
    if let Some(mask) = outside {
        let value = l.scalar_of(c.name(), l.dtype(y), f64::from(c.node.float("extrapolation_value").unwrap_or(0.0)))?;
        let ty = ValueType::new(l.dtype(y), l.shape(y));
        let y = l.raw(y);
        return Ok(vec![l.emit(c, Op::Where, &[mask, value, y], ty)]);
    }
    Ok(vec![y])
}

/// Nearest-neighbour enlargement by whole factors repeats elements, whatever the size.
fn whole_factors(l: &mut Lower, c: &Call, x: ValueId, mode: &Mode, given: &Given, named: &[usize]) -> Result<Option<ValueId>> {
    // Pixel i of the result is pixel floor(i / factor) with any of these conventions.
    let repeats = matches!(
        (mode.coordinates.as_str(), mode.nearest.as_str()),
        ("asymmetric", "floor")
            | ("half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric", "round_prefer_floor" | "round_prefer_ceil")
    );
    if mode.interpolation != Interpolation::Nearest || !repeats {
        return Ok(None);
    }
    let (shape, out) = (l.shape(x), c.out()?.shape);
    let mut times = vec![Dim::fixed(1); shape.len()];
    for (i, &axis) in named.iter().enumerate() {
        let factor = match (&given.scales, shape[axis].as_fixed(), out[axis].as_fixed()) {
            (Some(scales), ..) if scales[i] >= 1.0 && scales[i].fract() == 0.0 => scales[i] as usize,
            (None, ..) if shape[axis] == out[axis] => 1,
            (None, Some(from), Some(to)) if from > 0 && to % from == 0 => to / from,
            _ => return Ok(None),
        };
        // A single result element of a pixel convention is a special case.
        if factor > 1 && mode.coordinates == "pytorch_half_pixel" && out[axis].as_fixed() == Some(1) {
            return Ok(None);
        }
        times[axis] = Dim::fixed(factor);
    }
    if times.iter().all(is_one) {
        return Ok(Some(x));
    }
    if times.len() != 4 || !times[..2].iter().all(is_one) {
        return repeat(l, c, x, &times, true).map(Some);
    }
    // An image: channels last, like the operators around, so that whole pixels are repeated.
    let x = l.transpose(c.name(), x, &[0, 2, 3, 1]);
    let times = [0, 2, 3, 1].map(|axis: usize| times[axis].clone());
    let y = repeat(l, c, x, &times, true)?;
    Ok(Some(l.transpose(c.name(), y, &[0, 3, 1, 2])))
}

/// The one scale of all axes that keeps the aspect ratio.
fn common_scale(c: &Call, given: &Given, named: &[usize], shape: &[Dim]) -> Option<f64> {
    let policy = c.node.string("keep_aspect_ratio_policy").unwrap_or("stretch");
    let sizes = given.sizes.as_ref().filter(|_| policy != "stretch")?;
    let scales = sizes.iter().zip(named).map(|(&size, &axis)| Some(size as f64 / shape[axis].as_fixed()? as f64));
    let scales: Vec<f64> = scales.collect::<Option<_>>()?;
    let pick = if policy == "not_larger" { f64::min } else { f64::max };
    scales.into_iter().reduce(pick)
}

/// Where in the input an element of the result lies.
fn position(mode: &Mode, a: &Axis, index: usize) -> f64 {
    let (i, from, to) = (index as f64, a.from as f64, a.to as f64);
    match mode.coordinates.as_str() {
        "asymmetric" => i / a.scale,
        // As ONNX Runtime has it; ONNX's reference takes the size before it was rounded down.
        "align_corners" if a.to == 1 => 0.0,
        "align_corners" => i * (from - 1.0) / (to - 1.0),
        "pytorch_half_pixel" if a.to == 1 => 0.0,
        "tf_half_pixel_for_nn" => (i + 0.5) / a.scale,
        "tf_crop_and_resize" if a.to == 1 => 0.5 * (a.roi.0 + a.roi.1) * (from - 1.0),
        "tf_crop_and_resize" => a.roi.0 * (from - 1.0) + i * (a.roi.1 - a.roi.0) * (from - 1.0) / (to - 1.0),
        "half_pixel_symmetric" => {
            let adjustment = to / (a.scale * from);
            from / 2.0 * (1.0 - adjustment) + (i + 0.5) / a.scale - 0.5
        }
        _ => (i + 0.5) / a.scale - 0.5,
    }
}

/// The input elements of one result element with their weights, before indices are confined to the axis.
fn taps(mode: &Mode, a: &Axis, position: f64) -> Vec<(i64, f64)> {
    if mode.interpolation == Interpolation::Nearest {
        let index = match mode.nearest.as_str() {
            "floor" => position.floor(),
            "ceil" => position.ceil(),
            "round_prefer_ceil" => (position + 0.5).floor(),
            _ => (position - 0.5).ceil(),
        };
        return vec![(index as i64, 1.0)];
    }
    // A whole position is the right-hand neighbour of the pair around it.
    let base = position.ceil() - 1.0;
    let ratio = position - base;
    let squeeze = if mode.antialias { a.scale.min(1.0) } else { 1.0 };
    let (radius, kernel): (f64, &dyn Fn(f64) -> f64) = match mode.interpolation {
        Interpolation::Cubic => (2.0, &|t: f64| cubic(t, mode.cubic_a)),
        _ => (1.0, &|t: f64| (1.0 - t.abs()).max(0.0)),
    };
    let first = (-radius / squeeze).floor() as i64 + 1;
    let mut list: Vec<(i64, f64)> = (first..2 - first).map(|j| (base as i64 + j, kernel((j as f64 - ratio) * squeeze))).collect();
    if mode.exclude_outside {
        list.iter_mut().filter(|(i, _)| !(0..a.from as i64).contains(i)).for_each(|(_, w)| *w = 0.0);
    }
    if mode.exclude_outside || squeeze < 1.0 {
        let sum: f64 = list.iter().map(|(_, w)| w).sum();
        list.iter_mut().for_each(|(_, w)| *w /= sum);
    }
    list
}

/// The convolution kernel of cubic interpolation.
fn cubic(t: f64, a: f64) -> f64 {
    let t = t.abs();
    if t <= 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    } else {
        0.0
    }
}

fn apply(l: &mut Lower, c: &Call, x: ValueId, axis: usize, mode: &Mode, a: &Axis, positions: &[f64]) -> Result<ValueId> {
    let all: Vec<Vec<(i64, f64)>> = positions.iter().map(|&p| taps(mode, a, p)).collect();
    let inside = |i: i64| i.clamp(0, a.from as i64 - 1);
    let width = all.iter().map(Vec::len).max().unwrap_or(0);
    let mut shape = l.shape(x);
    shape[axis] = Dim::fixed(a.to);
    if mode.interpolation == Interpolation::Nearest {
        let indices: Vec<i64> = all.iter().flatten().map(|(i, _)| inside(*i)).collect();
        let indices = l.graph.add_const(c.name(), &Tensor::from_slice(&[a.to], &indices)?);
        let ty = moved(l, x, shape);
        return Ok(l.emit(c, Op::Gather { axis }, &[x, indices], ty));
    }
    ensure!(l.dtype(x) == DType::F32, Unsupported, "interpolation of {} is not supported", l.dtype(x));
    if width > 4 {
        return product(l, c, x, axis, a, &all);
    }
    let ty = ValueType::new(DType::F32, shape);
    let mut along = vec![1; l.rank(x) - axis];
    along[0] = a.to;
    let mut sum: Option<ValueId> = None;
    for k in 0..width {
        let at = |list: &Vec<(i64, f64)>| list.get(k).copied().unwrap_or((0, 0.0));
        let indices: Vec<i64> = all.iter().map(|list| inside(at(list).0)).collect();
        let weights: Vec<f32> = all.iter().map(|list| at(list).1 as f32).collect();
        let indices = l.graph.add_const(c.name(), &Tensor::from_slice(&[a.to], &indices)?);
        let weights = l.graph.add_const(c.name(), &Tensor::from_slice(&along, &weights)?);
        let part = l.emit(c, Op::Gather { axis }, &[x, indices], ty.clone());
        let part = l.binary(c, BinaryOp::Mul, part, weights);
        sum = Some(match sum {
            Some(sum) => l.binary(c, BinaryOp::Add, sum, part),
            None => part,
        });
    }
    match sum {
        Some(sum) => Ok(sum),
        None => bail!(Unsupported, "an empty result is not supported"),
    }
}

/// The weights as a matrix, for kernels that reach far.
fn product(l: &mut Lower, c: &Call, x: ValueId, axis: usize, a: &Axis, all: &[Vec<(i64, f64)>]) -> Result<ValueId> {
    let mut matrix = vec![0f32; a.from * a.to];
    for (o, list) in all.iter().enumerate() {
        for (i, w) in list {
            let i = (*i).clamp(0, a.from as i64 - 1) as usize;
            matrix[i * a.to + o] += *w as f32;
        }
    }
    let matrix = l.graph.add_const(c.name(), &Tensor::from_slice(&[a.from, a.to], &matrix)?);
    let rank = l.rank(x);
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(axis, rank - 1);
    let last = l.transpose(c.name(), x, &perm);
    let mut shape = l.shape(last);
    // A product needs two axes.
    let lead = shape[..rank - 1].iter().cloned().fold(Dim::fixed(1), |a, b| a * b);
    let rows = l.reshape(c.name(), last, vec![lead.clone(), Dim::fixed(a.from)]);
    let op = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::None };
    let y = l.emit(c, Op::MatMul(op), &[rows, matrix], ValueType::new(DType::F32, vec![lead, Dim::fixed(a.to)]));
    shape[rank - 1] = Dim::fixed(a.to);
    let y = l.reshape(c.name(), y, shape);
    Ok(l.transpose(c.name(), y, &perm))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(interpolation: Interpolation, coordinates: &str) -> Mode {
        Mode {
            interpolation,
            coordinates: coordinates.into(),
            nearest: "round_prefer_floor".into(),
            cubic_a: -0.75,
            exclude_outside: false,
            antialias: false,
        }
    }

    #[test]
    fn weights_sum_to_one() {
        for interpolation in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
            for (from, to, antialias, exclude_outside) in
                [(4, 9, false, false), (9, 4, true, false), (5, 3, true, true), (3, 3, false, true)]
            {
                let mode = Mode { antialias, exclude_outside, ..mode(interpolation, "half_pixel") };
                let a = Axis { from, to, scale: to as f64 / from as f64, roi: (0.0, 1.0) };
                for o in 0..to {
                    let sum: f64 = taps(&mode, &a, position(&mode, &a, o)).iter().map(|t| t.1).sum();
                    assert!((sum - 1.0).abs() < 1e-12, "{from} to {to} at {o}: {sum}");
                }
            }
        }
    }

    #[test]
    fn linear_weights_are_distances() {
        let mode = mode(Interpolation::Linear, "half_pixel");
        let a = Axis { from: 2, to: 4, scale: 2.0, roi: (0.0, 1.0) };
        assert_eq!(position(&mode, &a, 1), 0.25);
        assert_eq!(taps(&mode, &a, 0.25), [(0, 0.75), (1, 0.25)]);
        assert_eq!(taps(&mode, &a, 1.0), [(0, 0.0), (1, 1.0)]);
    }
}
