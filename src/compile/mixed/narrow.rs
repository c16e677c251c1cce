//! Numbers of narrow types: decoded, and encoded by rounding to the nearest.
//!
//! The 8-bit floats are those of "FP8 formats for deep learning" (Micikevicius et al., 2022) and of "8-bit numerical formats for deep
//! neural networks" (Noune et al., 2022), which is ONNX's choice; E2M1 and E8M0 are of the OCP microscaling formats.

use alloc::vec::Vec;

use crate::{compile::import::Narrow, tensor::DType};

/// How a float type is laid out: bits of exponent and mantissa, the exponent's bias, and the largest code of a finite number.
struct Layout {
    exponent: u32,
    mantissa: u32,
    bias: i32,
    largest: u8,
}

fn layout(kind: Narrow) -> Option<Layout> {
    let (exponent, mantissa, bias, largest) = match kind {
        Narrow::E4M3Fn => (4, 3, 7, 0x7E),
        Narrow::E4M3FnUz => (4, 3, 8, 0x7F),
        Narrow::E5M2 => (5, 2, 15, 0x7B),
        Narrow::E5M2FnUz => (5, 2, 16, 0x7F),
        Narrow::E2M1 => (2, 1, 1, 0x7),
        _ => return None,
    };
    Some(Layout { exponent, mantissa, bias, largest })
}

impl Layout {
    fn sign_bit(&self) -> u8 {
        1 << (self.exponent + self.mantissa)
    }

    /// The number of a code without its sign.
    fn magnitude(&self, code: u8) -> f64 {
        let fraction = f64::from(code & ((1 << self.mantissa) - 1));
        let steps = f64::from(1u32 << self.mantissa);
        match i32::from(code >> self.mantissa) {
            0 => fraction / steps * 2f64.powi(1 - self.bias),
            e => (1.0 + fraction / steps) * 2f64.powi(e - self.bias),
        }
    }
}

/// The number that a code stands for.
pub(super) fn decode(kind: Narrow, code: u8) -> f64 {
    match kind {
        Narrow::Int4 | Narrow::Int2 => f64::from(code as i8),
        Narrow::Uint4 | Narrow::Uint2 => f64::from(code),
        Narrow::E8M0 if code == 0xFF => f64::NAN,
        Narrow::E8M0 => 2f64.powi(i32::from(code) - 127),
        Narrow::E4M3FnUz | Narrow::E5M2FnUz if code == 0x80 => f64::NAN,
        _ => {
            let Some(layout) = layout(kind) else { return f64::NAN };
            let magnitude = code & (layout.sign_bit() - 1);
            let number = match kind {
                Narrow::E5M2 if magnitude == 0x7C => f64::INFINITY,
                _ if magnitude > layout.largest => f64::NAN,
                _ => layout.magnitude(magnitude),
            };
            if code & layout.sign_bit() != 0 { -number } else { number }
        }
    }
}

/// What becomes of numbers that are no code.
#[derive(Clone, Copy)]
pub(super) struct Rounding<'a> {
    /// Numbers beyond the largest become the largest, else infinity or NaN.
    pub saturate: bool,
    /// How E8M0 rounds: `up`, `down` or `nearest`.
    pub mode: &'a str,
}

/// The code of a number.
pub(super) fn encode(kind: Narrow, value: f64, rounding: Rounding<'_>) -> u8 {
    match kind {
        Narrow::Int4 => wrap(value, 4) as u8,
        Narrow::Int2 => wrap(value, 2) as u8,
        Narrow::Uint4 => value as i64 as u8 & 15,
        Narrow::Uint2 => value as i64 as u8 & 3,
        Narrow::E8M0 => power(value, rounding),
        _ => layout(kind).map_or(0, |layout| float(kind, &layout, value, rounding.saturate)),
    }
}

/// The whole part, of which the lowest bits are kept.
fn wrap(value: f64, bits: u32) -> i8 {
    let shift = 8 - bits;
    ((value as i64 as u8) << shift) as i8 >> shift
}

fn float(kind: Narrow, layout: &Layout, value: f64, saturate: bool) -> u8 {
    let unsigned_zero = matches!(kind, Narrow::E4M3FnUz | Narrow::E5M2FnUz);
    let sign = if value.is_sign_negative() { layout.sign_bit() } else { 0 };
    // E2M1 has no NaN: the code of -0 stands for it, as in the ml_dtypes library.
    let nan = match kind {
        Narrow::E2M1 => 8,
        Narrow::E5M2 => 0x7E | sign,
        _ if unsigned_zero => 0x80,
        _ => 0x7F | sign,
    };
    if value.is_nan() {
        return nan;
    }
    let size = value.abs();
    let largest = layout.magnitude(layout.largest);
    // What the next code would stand for, if it were a number.
    let beyond = 2.0 * largest - layout.magnitude(layout.largest - 1);
    let half = (largest + beyond) / 2.0;
    let magnitude = if size > half || (size == half && layout.largest % 2 == 1) {
        match kind {
            _ if saturate || kind == Narrow::E2M1 => layout.largest,
            Narrow::E5M2 => 0x7C,
            _ => return nan,
        }
    } else {
        // The codes are in the order of their numbers.
        let above = (0..=layout.largest).find(|c| layout.magnitude(*c) >= size).unwrap_or(layout.largest);
        let below = above.saturating_sub(1);
        let (up, down) = (layout.magnitude(above) - size, size - layout.magnitude(below));
        if up < down || (up == down && above % 2 == 0) || up == 0.0 { above } else { below }
    };
    if unsigned_zero && magnitude == 0 { 0 } else { magnitude | sign }
}

/// The power of two at or beside a number.
fn power(value: f64, rounding: Rounding<'_>) -> u8 {
    if value.is_nan() {
        return 0xFF;
    }
    let size = value.abs();
    if size == 0.0 {
        return 0;
    }
    if size.is_infinite() {
        return if rounding.saturate { 0xFE } else { 0xFF };
    }
    let floor = size.log2().floor();
    let base = 2f64.powf(floor);
    let up = match rounding.mode {
        "down" => false,
        "nearest" => size >= base * 1.5,
        _ => size > base,
    };
    let exponent = floor + if up { 1.0 } else { 0.0 } + 127.0;
    match exponent {
        e if e < 0.0 => 0,
        e if e > 254.0 => {
            if rounding.saturate {
                0xFE
            } else {
                0xFF
            }
        }
        e => e as u8,
    }
}

/// All codes as numbers.
pub(super) fn decode_all(kind: Narrow, codes: &[u8]) -> Vec<f64> {
    codes.iter().map(|c| decode(kind, *c)).collect()
}

/// The least and largest number of an integer type.
pub(super) fn integer_range(kind: Result<DType, Narrow>) -> Option<(f64, f64)> {
    Some(match kind {
        Ok(DType::I8) => (-128.0, 127.0),
        Ok(DType::U8) => (0.0, 255.0),
        Ok(DType::I16) => (-32768.0, 32767.0),
        Ok(DType::U16) => (0.0, 65535.0),
        Ok(DType::I32) => (f64::from(i32::MIN), f64::from(i32::MAX)),
        Err(Narrow::Int4) => (-8.0, 7.0),
        Err(Narrow::Uint4) => (0.0, 15.0),
        Err(Narrow::Int2) => (-2.0, 1.0),
        Err(Narrow::Uint2) => (0.0, 3.0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SATURATE: Rounding<'_> = Rounding { saturate: true, mode: "up" };

    #[test]
    fn every_code_comes_back() {
        for kind in [Narrow::E4M3Fn, Narrow::E4M3FnUz, Narrow::E5M2, Narrow::E5M2FnUz] {
            for code in 0..=255u8 {
                let number = decode(kind, code);
                if number.is_finite() {
                    assert_eq!(encode(kind, number, SATURATE), code, "{kind:?} {number}");
                }
            }
        }
        for code in 0..16 {
            assert_eq!(encode(Narrow::E2M1, decode(Narrow::E2M1, code), SATURATE), code);
        }
        for code in 0..255 {
            assert_eq!(encode(Narrow::E8M0, decode(Narrow::E8M0, code), SATURATE), code);
        }
    }

    #[test]
    fn known_numbers() {
        assert_eq!(decode(Narrow::E4M3Fn, 0x7E), 448.0);
        assert_eq!(decode(Narrow::E4M3FnUz, 0x7F), 240.0);
        assert_eq!(decode(Narrow::E5M2, 0x7B), 57344.0);
        assert_eq!(decode(Narrow::E5M2FnUz, 0x7F), 57344.0);
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(|c| decode(Narrow::E2M1, c)), [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        let strict = Rounding { saturate: false, mode: "up" };
        assert_eq!(encode(Narrow::E4M3Fn, 464.0, strict), 0x7E);
        assert_eq!(encode(Narrow::E4M3Fn, 465.0, strict), 0x7F);
        assert_eq!(encode(Narrow::E5M2, -1e9, strict), 0xFC);
        assert_eq!(encode(Narrow::E4M3FnUz, 1e9, strict), 0x80);
        assert_eq!(encode(Narrow::E2M1, -0.75, SATURATE), 0b1010);
        assert_eq!(encode(Narrow::E2M1, 100.0, SATURATE), 7);
    }
}
