//! Maps between bytes that are a line with rounding: a clamp, or a change of scale. Products compute them along with their results.

use super::{Operand, quantized, requant::ROUNDING_MAGIC, unary};
use crate::{graph::ops::Unary, tensor::DType};

/// `round((byte − from) · multiplier) + to`, clamped to `lo..=hi`: for every byte what the table of the map says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rescale {
    pub from: u8,
    pub multiplier: f32,
    pub to: u8,
    pub lo: u8,
    pub hi: u8,
}

impl Rescale {
    /// `op` between two u8 quantizations; `None` if that is no line.
    pub fn of_unary(op: Unary, x: &Operand<'_>, y: &Operand<'_>) -> Option<Rescale> {
        let (qx, qy) = (x.quant8()?, y.quant8()?);
        let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
        matches!(op, Unary::Identity | Unary::Clamp { .. }).then_some(())?;
        let table = quantized::table((x.dtype, qx), (y.dtype, qy), unbounded, |v| unary::eval(op, v))?;
        (x.dtype == DType::U8 && y.dtype == DType::U8).then(|| Rescale::of_table(&table, qx, qy)).flatten()
    }

    /// The line that gives exactly `table`, if one does. The table rounds a quotient where the line rounds a product.
    pub fn of_table(table: &[u8; 256], (from_scale, from): (f32, i32), (to_scale, to): (f32, i32)) -> Option<Rescale> {
        let ratio = from_scale / to_scale;
        let (lo, hi) = (*table.iter().min()?, *table.iter().max()?);
        let (from, to) = (u8::try_from(from).ok()?, u8::try_from(to).ok()?);
        // Beyond, a product would leave the range in which the magic number rounds.
        (ratio < 8192.0).then_some(())?;
        [ratio, ratio.next_up(), ratio.next_down()]
            .map(|multiplier| Rescale { from, multiplier, to, lo, hi })
            .into_iter()
            .find(|line| (0..=255u8).zip(table).all(|(x, y)| line.apply(x) == *y))
    }

    /// The definition.
    #[inline(always)]
    pub fn apply(&self, byte: u8) -> u8 {
        let real = (f32::from(byte) - f32::from(self.from)) * self.multiplier;
        let rounded = (real + ROUNDING_MAGIC).to_bits() as i32 - ROUNDING_MAGIC.to_bits() as i32 + i32::from(self.to);
        rounded.clamp(self.lo.into(), self.hi.into()) as u8
    }

    /// The same of all bytes of `x`, which are rows of `len`, to rows of `y`, `stride` apart.
    pub fn apply_rows(&self, x: &[u8], len: usize, y: &mut [u8], stride: usize) {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        if len >= 16 {
            return self.vectors(x, len, y, stride);
        }
        for (x, y) in x.chunks_exact(len.max(1)).zip(y.chunks_mut(stride.max(1))) {
            for (y, x) in y.iter_mut().zip(x) {
                *y = self.apply(*x);
            }
        }
    }

    /// Sixteen bytes at a time, of which the last of a row may have been computed before.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    fn vectors(&self, x: &[u8], len: usize, y: &mut [u8], stride: usize) {
        use core::arch::wasm32::*;

        let (from, multiplier) = (i32x4_splat(self.from.into()), f32x4_splat(self.multiplier));
        let (magic, bits) = (f32x4_splat(ROUNDING_MAGIC), i32x4_splat(ROUNDING_MAGIC.to_bits() as i32));
        let (to, lo, hi) = (i16x8_splat(self.to.into()), u8x16_splat(self.lo), u8x16_splat(self.hi));
        // The difference is taken of integers: LLVM knows of bytes that they are not negative, and would convert each by itself.
        let four = |v: v128| {
            let real = f32x4_mul(f32x4_convert_i32x4(i32x4_sub(v, from)), multiplier);
            i32x4_sub(f32x4_add(real, magic), bits)
        };
        // Saturation to 16 bits changes nothing that is not clamped later.
        let eight = |v: v128| {
            let (low, high) = (four(u32x4_extend_low_u16x8(v)), four(u32x4_extend_high_u16x8(v)));
            i16x8_add_sat(i16x8_narrow_i32x4(low, high), to)
        };
        for (x, y) in x.chunks_exact(len).zip(y.chunks_mut(stride)) {
            let y = &mut y[..len];
            for at in (0..len).step_by(16) {
                let at = at.min(len - 16);
                // SAFETY: both rows have 16 bytes from here on.
                unsafe {
                    let v = v128_load(x.as_ptr().add(at).cast());
                    let bytes = u8x16_narrow_i16x8(eight(u16x8_extend_low_u8x16(v)), eight(u16x8_extend_high_u8x16(v)));
                    v128_store(y.as_mut_ptr().add(at).cast(), u8x16_min(u8x16_max(bytes, lo), hi));
                }
            }
        }
    }

    /// The same for bytes from `lo` to `hi`, and what it gives for those two for all others.
    pub fn within(self, lo: u8, hi: u8) -> Rescale {
        Rescale { lo: self.apply(lo), hi: self.apply(hi), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clamp_table(from: (f32, i32), to: (f32, i32), bounds: (f32, f32)) -> [u8; 256] {
        quantized::table((DType::U8, from), (DType::U8, to), bounds, |v| v).unwrap()
    }

    #[cfg_attr(not(target_arch = "wasm32"), test)]
    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    fn a_line_gives_what_the_table_gives() {
        let mut found = 0;
        for i in 0..300 {
            let from = (0.011 + i as f32 * 7.3e-4, (i * 37) % 256);
            let to = (0.09 - i as f32 * 2.1e-4, (i * 91 + 5) % 256);
            let bounds = if i % 3 == 0 { (0.0, 6.0) } else { (f32::NEG_INFINITY, f32::INFINITY) };
            let table = clamp_table(from, to, bounds);
            let Some(line) = Rescale::of_table(&table, from, to) else { continue };
            found += 1;
            for byte in 0..=255 {
                assert_eq!(line.apply(byte), table[usize::from(byte)], "{line:?}");
            }
            let all: Vec<u8> = (0..=255).collect();
            for (len, stride) in [(256, 256), (19, 19), (16, 21), (5, 6)] {
                let mut mapped = vec![7; 256 / len * stride];
                line.apply_rows(&all, len, &mut mapped, stride);
                for (row, x) in mapped.chunks(stride).zip(all.chunks(len)) {
                    assert!(x.iter().zip(row).all(|(x, y)| *y == table[usize::from(*x)]), "{line:?}");
                    assert!(row[len..].iter().all(|y| *y == 7), "{line:?} writes beyond the row");
                }
            }
            let within = line.within(40, 200);
            for byte in 0..=255u8 {
                assert_eq!(within.apply(byte), table[usize::from(byte.clamp(40, 200))], "{line:?}");
            }
        }
        assert!(found > 250, "{found} of 300 tables are lines");
    }

    #[cfg_attr(not(target_arch = "wasm32"), test)]
    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    fn a_curve_is_no_line() {
        let curve = quantized::table((DType::U8, (0.05, 128)), (DType::U8, (0.004, 0)), (0.0, 1.0), |v| v * v).unwrap();
        assert_eq!(Rescale::of_table(&curve, (0.05, 128), (0.004, 0)), None);
    }
}
