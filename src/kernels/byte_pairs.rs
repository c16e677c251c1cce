//! Functions of two bytes, sixteen pairs at a time with WebAssembly's vectors.

use core::arch::wasm32::*;

/// The part of a kernel that is computed on vectors: `f` gets four elements of each operand as i32, from 0 to 255, and the low bytes of
/// the four integers that it gives are stored. The operands' bytes are flipped by the bits of `flips` before. Gives the number of
/// elements done; fewer than 16 are left.
#[inline(always)]
pub(super) fn run(a: &[u8], b: &[u8], y: &mut [u8], flips: [u8; 2], f: impl Fn(v128, v128) -> v128) -> usize {
    let [flip_a, flip_b] = flips.map(|flip| u8x16_splat(flip));
    let mut done = 0;
    for ((a, b), y) in a.chunks_exact(16).zip(b.chunks_exact(16)).zip(y.chunks_exact_mut(16)) {
        // SAFETY: both are 16 bytes.
        let (a, b) = unsafe { (v128_load(a.as_ptr().cast()), v128_load(b.as_ptr().cast())) };
        let (a, b) = (v128_xor(a, flip_a), v128_xor(b, flip_b));
        let low = eight(u16x8_extend_low_u8x16(a), u16x8_extend_low_u8x16(b), &f);
        let high = eight(u16x8_extend_high_u8x16(a), u16x8_extend_high_u8x16(b), &f);
        let bytes = u8x16_shuffle::<0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30>(low, high);
        // SAFETY: it is 16 bytes.
        unsafe { v128_store(y.as_mut_ptr().cast(), bytes) };
        done += 16;
    }
    done
}

/// The low halves of eight results.
#[inline(always)]
fn eight(a: v128, b: v128, f: &impl Fn(v128, v128) -> v128) -> v128 {
    let low = f(u32x4_extend_low_u16x8(a), u32x4_extend_low_u16x8(b));
    let high = f(u32x4_extend_high_u16x8(a), u32x4_extend_high_u16x8(b));
    u16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(low, high)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use crate::{
        graph::{
            Op, Quant,
            ops::{Activation, Binary, BinaryOp},
        },
        kernels::testing::{Arg, Out, run_op},
        tensor::{DType, Tensor},
    };

    fn combined(op: BinaryOp, dtypes: [DType; 3], scales: [f32; 3], a: &[u8], b: &[u8]) -> Vec<u8> {
        let zero = |dtype| if dtype == DType::I8 { -5 } else { 123 };
        let quant = |i: usize| Quant::per_tensor(scales[i], zero(dtypes[i]));
        let arg = |i: usize, x| Arg::new(Tensor::from_bytes(dtypes[i], &[a.len()], x).unwrap()).quantized(quant(i));
        let node = Op::Binary(Binary { op, activation: Activation::None });
        run_op(node, &[arg(0, a), arg(1, b)], &[Out::new(dtypes[2], &[a.len()]).quantized(quant(2))]).unwrap()[0].bytes().to_vec()
    }

    #[wasm_bindgen_test]
    fn vectors_give_what_single_elements_give() {
        let (a, b): (Vec<u8>, Vec<u8>) = (0..=u16::MAX).map(|pair| ((pair >> 8) as u8, pair as u8)).unzip();
        for op in [BinaryOp::Add, BinaryOp::Mul, BinaryOp::QLinearAdd] {
            // The second scales have ties; the third ones are too far apart for the rounding of QLinearAdd.
            for scales in [[0.0231, 0.0457, 0.0513], [0.25, 0.5, 1.0], [0.7, 0.6, 0.03]] {
                for dtypes in [[DType::U8; 3], [DType::I8; 3], [DType::U8, DType::I8, DType::U8]] {
                    let whole = combined(op, dtypes, scales, &a, &b);
                    // Too short for a vector.
                    let parts = a.chunks(15).zip(b.chunks(15)).flat_map(|(a, b)| combined(op, dtypes, scales, a, b));
                    assert!(parts.eq(whole), "{op:?} {dtypes:?} {scales:?}");
                }
            }
        }
    }
}
