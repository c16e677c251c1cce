//! Whether an output is the expected one.

use nearside::{DType, TensorView};

/// How far apart two numbers may be: the largest of the three bounds counts. Integers, booleans and shapes must be equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tolerance {
    /// A difference that always passes.
    pub absolute: f64,
    /// As a share of the expected number.
    pub of_each: f64,
    /// As a share of the largest expected number of the tensor.
    pub of_largest: f64,
}

/// An output as it should be: every `stride`-th element of a tensor of this shape.
pub struct Expected<'a> {
    /// Shape of the whole output.
    pub shape: &'a [usize],
    /// The elements that are compared.
    pub tensor: TensorView<'a>,
    /// How far they lie apart in the output.
    pub stride: usize,
}

/// `Err` with a sentence if the output differs by more than the tolerance.
pub fn compare(got: &TensorView<'_>, expected: &Expected<'_>, tolerance: &Tolerance) -> Result<(), String> {
    let want = &expected.tensor;
    if got.dtype != want.dtype {
        return Err(format!("is {} instead of {}", got.dtype, want.dtype));
    }
    if got.shape != expected.shape {
        return Err(format!("has shape {:?} instead of {:?}", got.shape, expected.shape));
    }
    let size = want.dtype.size();
    if !matches!(want.dtype, DType::F32 | DType::F64 | DType::F16) {
        let signed = matches!(want.dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
        let (mut got, mut want) = (got.data.chunks_exact(size).step_by(expected.stride), want.data.chunks_exact(size));
        return match got.by_ref().zip(want.by_ref()).enumerate().find(|(_, (a, b))| a != b) {
            Some((i, (a, b))) => Err(format!("differs at element {i}: {} instead of {}", integer(a, signed), integer(b, signed))),
            None => Ok(()),
        };
    }
    let (got, want) = (floats(got, expected.stride)?, floats(want, 1)?);
    let largest = want.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
    let mut worst: Option<(f64, usize)> = None;
    for (i, (&a, &b)) in got.iter().zip(&want).enumerate() {
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let allowed = tolerance.absolute.max(tolerance.of_each * b.abs()).max(tolerance.of_largest * largest);
        let difference = (a - b).abs();
        // NaN compares as too far, and so does an infinity that the other side lacks.
        let within = difference <= allowed && b.is_finite();
        let excess = if difference.is_nan() { f64::INFINITY } else { difference - allowed };
        if !within && worst.is_none_or(|(w, _)| excess > w) {
            worst = Some((excess, i));
        }
    }
    match worst {
        Some((_, i)) => Err(format!("differs at element {i}: {} instead of {} (largest expected {largest})", got[i], want[i])),
        None => Ok(()),
    }
}

/// A little-endian integer.
fn integer(bytes: &[u8], signed: bool) -> i128 {
    let negative = signed && bytes.last().is_some_and(|b| *b >= 0x80);
    let start: i128 = if negative { -1 } else { 0 };
    bytes.iter().rev().fold(start, |v, &b| (v << 8) | i128::from(b))
}

/// Every `stride`-th element of a float tensor.
pub fn floats(view: &TensorView<'_>, stride: usize) -> Result<Vec<f64>, String> {
    let text = |e: nearside::Error| e.to_string();
    let all: Vec<f64> = match view.dtype {
        DType::F32 => view.as_slice::<f32>().map_err(text)?.iter().map(|&v| f64::from(v)).collect(),
        DType::F64 => view.as_slice::<f64>().map_err(text)?.to_vec(),
        DType::F16 => view.data.chunks_exact(2).map(|b| half(u16::from_le_bytes([b[0], b[1]]))).collect(),
        other => return Err(format!("{other} is not a float type")),
    };
    Ok(all.into_iter().step_by(stride).collect())
}

/// A half-precision number.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// The nearest half-precision number, ties to even.
pub fn to_half(value: f32) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = f64::from(value.abs());
    if magnitude.is_nan() {
        return sign | 0x7E00;
    }
    // Below 2⁻¹⁴ numbers are multiples of 2⁻²⁴, above of 2⁻¹⁰ times their power of two. A mantissa that rounds up to the next power of two
    // carries into the exponent by itself.
    let exponent = magnitude.log2().floor().max(-14.0);
    let steps = (magnitude / 2f64.powf(exponent - 10.0)).round_ties_even();
    let bits = (exponent + 14.0) * 1024.0 + steps;
    sign | if bits >= 31744.0 { 0x7C00 } else { bits as u16 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearside::Tensor;

    fn check(got: &Tensor, want: &Tensor, stride: usize, tolerance: &Tolerance) -> Result<(), String> {
        compare(&got.view(), &Expected { shape: got.shape(), tensor: want.view(), stride }, tolerance)
    }

    fn reals(values: &[f32]) -> Tensor {
        Tensor::from_slice(&[values.len()], values).unwrap()
    }

    #[test]
    fn floats_may_differ_by_the_tolerance() {
        let tolerance = Tolerance { of_largest: 0.01, ..Tolerance::default() };
        let (got, want) = (reals(&[1.0, 100.0, f32::NAN]), reals(&[1.9, 100.0, f32::NAN]));
        assert_eq!(check(&got, &want, 1, &tolerance), Ok(()));
        let strict = Tolerance { of_each: 0.01, ..Tolerance::default() };
        let message = check(&got, &want, 1, &strict).unwrap_err();
        assert_eq!(message, "differs at element 0: 1 instead of 1.899999976158142 (largest expected 100)");
        assert!(check(&reals(&[f32::NAN]), &reals(&[1.0]), 1, &tolerance).is_err());
        assert!(check(&reals(&[f32::INFINITY]), &reals(&[1.0]), 1, &tolerance).is_err());
        assert!(check(&reals(&[1.0]), &reals(&[f32::INFINITY]), 1, &tolerance).is_err());
        assert_eq!(check(&reals(&[1.0, 7.0, 2.0]), &reals(&[1.0, 2.0]), 2, &strict), Ok(()));
    }

    #[test]
    fn integers_must_be_equal() {
        let loose = Tolerance { absolute: 5.0, ..Tolerance::default() };
        let (got, want) = (Tensor::scalar(-1i8), Tensor::scalar(0i8));
        assert_eq!(check(&got, &want, 1, &loose).unwrap_err(), "differs at element 0: -1 instead of 0");
        assert_eq!(check(&got, &got, 1, &loose), Ok(()));
    }

    #[test]
    fn half_precision() {
        assert_eq!([0x3C00, 0xC500, 1, 0x7C00].map(half), [1.0, -5.0, 2f64.powi(-24), f64::INFINITY]);
        assert!(half(0x7E00).is_nan());
        for bits in (0..0x7C00).step_by(7) {
            assert_eq!(to_half(half(bits) as f32), bits);
        }
        let rounded = [65519.0, 65520.0, 1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11), -5.0, 2f32.powi(-25)].map(to_half);
        assert_eq!(rounded, [0x7BFF, 0x7C00, 0x3C00, 0x3C02, 0xC500, 0]);
    }
}
