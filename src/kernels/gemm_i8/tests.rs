//! Every scheme of this machine against a triple loop.

use super::*;
use crate::{
    kernels::{
        requant::{Dequant, Raw, Requant, requantize},
        rescale::Rescale,
    },
    tensor::AlignedBytes,
};

struct Case {
    m: usize,
    n: usize,
    k: usize,
    a: Vec<u8>,
    /// `[n][k]`.
    w: Vec<u8>,
    init: Vec<i32>,
}

impl Case {
    fn new(m: usize, n: usize, k: usize, seed: u32, extreme: bool) -> Case {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if extreme { [0, 127, 128, 255][(state >> 30) as usize] } else { (state >> 20) as u8 }
        };
        let a = (0..m * k).map(|_| next()).collect();
        let w = (0..n * k).map(|_| next()).collect();
        let init = (0..n).map(|_| i32::from(next()) * 997 - 100_000).collect();
        Case { m, n, k, a, w, init }
    }

    fn expected(&self, row_sum: Option<&[i32]>) -> Vec<i32> {
        let dot = |i: usize, j: usize| {
            let a = &self.a[i * self.k..][..self.k];
            let products: i32 =
                a.iter().zip(&self.w[j * self.k..][..self.k]).map(|(&a, &w)| i32::from(a) * i32::from(w as i8)).sum();
            let sum: i32 = a.iter().map(|&a| i32::from(a)).sum();
            self.init[j] + products + row_sum.map_or(0, |f| sum * f[j])
        };
        (0..self.m * self.n).map(|i| dot(i / self.n, i % self.n)).collect()
    }

    /// Runs with garbage between and around the operands, and checks that the gaps of the output stay as they were.
    fn run<F: Store>(
        &self,
        scheme: Scheme,
        by_depth: bool,
        row_sum: Option<&[i32]>,
        staged: bool,
        finish: impl Fn(usize) -> F,
    ) -> Vec<F::Out>
    where
        F::Out: PartialEq + core::fmt::Debug,
    {
        let (n, k) = (self.n, self.k);
        let (bytes, stride) = if by_depth {
            ((0..k * (n + 3)).map(|i| if i % (n + 3) < n { self.w[i % (n + 3) * k + i / (n + 3)] } else { 99 }).collect(), n + 3)
        } else {
            (self.w.clone(), k)
        };
        let packed = Packed::new(scheme, Weights { bytes: &bytes, stride, by_depth, unsigned: false }, n, k).unwrap();
        let gemm = Gemm::new(scheme, self.m, n, k, staged, Choice::AUTO);
        let mut init: Vec<i32> = self.init.iter().zip(&packed.sums).map(|(i, s)| i + s * scheme.row_offset()).collect();
        init.resize(gemm.padded_columns(), 77);
        let mut scratch = AlignedBytes::zeroed(gemm.scratch());
        scratch.fill(0xEE);
        let finish = finish(gemm.padded_columns());
        let columns = Columns { packed: &packed.bytes, init: &init, row_sum };
        let ldo = n + 2;
        let marker: F::Out = bytemuck::cast_slice(&[0x5Au8; 4][..size_of::<F::Out>()])[0];
        let mut out = vec![marker; self.m * ldo];
        let result = if k.is_multiple_of(4) {
            gemm.run(&InPlace { bytes: &self.a, stride: k }, columns, &finish, &mut out, ldo, Crew::alone(&mut scratch))
        } else {
            gemm.run(&Padded { bytes: &self.a, depth: k }, columns, &finish, &mut out, ldo, Crew::alone(&mut scratch))
        };
        result.unwrap();
        assert!(out.chunks(ldo).all(|row| row[n..].iter().all(|v| *v == marker)), "{scheme:?} writes beyond the row");
        out.chunks(ldo).flat_map(|row| row[..n].iter().copied()).collect()
    }

    fn check(&self) {
        let expected = self.expected(None);
        for scheme in probe::exact_schemes() {
            for by_depth in [false, true] {
                assert_eq!(self.run(scheme, by_depth, None, false, |_| Raw), expected, "{scheme:?}");
            }
            let m = |j: usize| 1e-4 + j as f32 * 3e-5;
            let multiplier: Vec<f32> = (0..self.n + 64).map(m).collect();
            for then in [None, Some(Rescale { from: 100, multiplier: 1.37, to: 7, lo: 9, hi: 190 })] {
                let bytes = self.run(scheme, false, None, false, |_| Requant {
                    multiplier: &multiplier,
                    zero_point: 100,
                    lo: 20,
                    hi: 251,
                    then,
                    bounded: true,
                });
                let once = expected.iter().enumerate().map(|(i, &v)| requantize(v, m(i % self.n), 100, 20, 251));
                let wanted: Vec<u8> = once.map(|q| then.map_or(q, |then| then.apply(q))).collect();
                assert_eq!(bytes, wanted, "{scheme:?}");
            }
            let bias: Vec<f32> = (0..self.n + 64).map(|j| j as f32 - 3.5).collect();
            let reals =
                self.run(scheme, false, None, false, |_| Dequant { multiplier: &multiplier, bias: &bias, lo: -9.0, hi: 900.0 });
            let wanted: Vec<f32> = expected
                .iter()
                .enumerate()
                .map(|(i, &v)| (v as f32 * m(i % self.n) + bias[i % self.n]).clamp(-9.0, 900.0))
                .collect();
            assert_eq!(reals, wanted, "{scheme:?}");
            let factors: Vec<i32> = (0..self.n as i32).map(|j| 7 - j).collect();
            assert_eq!(self.run(scheme, true, Some(&factors), true, |_| Raw), self.expected(Some(&factors)), "{scheme:?}");
        }
    }
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn selftest_passes() {
    selftest().unwrap();
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn edges() {
    for (m, n, k) in
        [(1, 1, 1), (1, 32, 64), (1, 33, 5), (2, 16, 3), (5, 100, 17), (6, 8, 4), (49, 24, 12), (200, 9, 31), (3, 7, 0)]
    {
        Case::new(m, n, k, 1, true).check();
    }
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn large_products_are_cut_in_several_calls() {
    Case::new(97, 700, 1030, 5, false).check();
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #[test]
    fn exact(m in 1..40usize, n in 1..70usize, k in 0..150usize, seed: u32, extreme: bool) {
        Case::new(m, n, k, seed, extreme).check();
    }
}
