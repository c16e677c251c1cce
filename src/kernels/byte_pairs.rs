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
        kernels::{
            quantized::{Rounder, real},
            sum8::Sum8,
            testing::{Arg, Out, run_op, stored},
        },
        tensor::{DType, Tensor},
    };

    const PAIRS: usize = 1 << 16;

    #[wasm_bindgen_test]
    fn vectors_follow_the_definition() {
        let (a, b): (Vec<u8>, Vec<u8>) = (0..PAIRS).map(|pair| ((pair >> 8) as u8, pair as u8)).unzip();
        // The second scales have ties; the third ones are too far apart for the rounding of QLinearAdd.
        for scales in [[0.0231, 0.0457, 0.0513], [0.25, 0.5, 1.0], [0.7, 0.6, 0.03]] {
            for dtypes in [[DType::U8; 3], [DType::I8; 3], [DType::U8, DType::I8, DType::U8]] {
                let quants: [(f32, i32); 3] =
                    core::array::from_fn(|i| (scales[i], if dtypes[i] == DType::I8 { -5 } else { 123 }));
                let tensor = |i: usize, x: &[u8]| Tensor::from_bytes(dtypes[i], &[PAIRS], x).unwrap();
                let args = [(0, &a), (1, &b)]
                    .map(|(i, x)| Arg::new(tensor(i, x)).quantized(Quant::per_tensor(quants[i].0, quants[i].1)));
                let out = Out::new(dtypes[2], &[PAIRS]).quantized(Quant::per_tensor(quants[2].0, quants[2].1));
                let rounder = Rounder::new(quants[2], dtypes[2], (f32::NEG_INFINITY, f32::INFINITY)).unwrap();
                let sum = Sum8::new(quants[0], quants[1], quants[2], rounder.stored_bounds());
                let integers = [0, 1].map(|i| stored(&args[i].tensor));
                for op in [BinaryOp::Add, BinaryOp::Mul, BinaryOp::QLinearAdd] {
                    let node = Op::Binary(Binary { op, activation: Activation::None });
                    let result = run_op(node, &args, core::slice::from_ref(&out)).unwrap();
                    for ((y, &a), &b) in stored(&result[0]).iter().zip(&integers[0]).zip(&integers[1]) {
                        let (x, z) = (real(a, quants[0]), real(b, quants[1]));
                        let expected = match (op, sum) {
                            (BinaryOp::QLinearAdd, Some(sum)) => sum.store(a, b),
                            (BinaryOp::Mul, _) => rounder.store(x * z),
                            _ => rounder.store(x + z),
                        };
                        assert_eq!(*y, expected, "{op:?} of {a} and {b}, {dtypes:?} {scales:?}");
                    }
                }
            }
        }
    }
}
