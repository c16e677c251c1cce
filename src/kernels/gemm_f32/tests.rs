//! The tiled product against the plain one, on every instruction set that the machine has.

use super::*;
use crate::kernels::vector::Isa;

/// `c[m,n]` and, for the tolerance, the sum of the magnitudes that were added.
fn reference(rows: usize, gemm: &Case, i: usize, j: usize) -> (f32, f64) {
    assert!(i < rows);
    let products = (0..gemm.depth).map(|k| {
        let b = if gemm.transposed { gemm.b[j * gemm.depth + k] } else { gemm.b[k * gemm.columns + j] };
        f64::from(gemm.a[i * gemm.a_stride + k]) * f64::from(b)
    });
    let bias = gemm.bias.as_ref().map_or(0.0, |b| f64::from(b[j]));
    let (sum, magnitude) = products.fold((bias, bias.abs()), |(s, m), p| (s + p, m + p.abs()));
    (sum.clamp(f64::from(gemm.bounds.0), f64::from(gemm.bounds.1)) as f32, magnitude)
}

struct Case {
    rows: usize,
    depth: usize,
    columns: usize,
    transposed: bool,
    a: Vec<f32>,
    a_stride: usize,
    b: Vec<f32>,
    bias: Option<Vec<f32>>,
    bounds: (f32, f32),
    c_stride: usize,
}

/// Numbers between −1 and 1 from a multiplicative generator.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2) | 1;
    let mut next = || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn check(case: &Case) {
    for &isa in Isa::available() {
        let packed = Packed::new(isa, &case.b, case.depth, case.columns, case.transposed).unwrap();
        let empty = Panels { isa, depth: 0, columns: case.columns, data: &[] };
        let b = if case.depth == 0 { empty } else { packed.matrix(0) };
        let mut bias = case.bias.clone();
        if let Some(bias) = &mut bias {
            bias.resize(case.columns.next_multiple_of(panel_width(isa)), f32::NAN);
        }
        let gemm = Gemm {
            a: &case.a,
            a_stride: case.a_stride,
            b,
            bias: bias.as_deref(),
            bounds: case.bounds,
            c_stride: case.c_stride,
            blocking: Blocking::of(Choice::AUTO),
        };
        let mut c = vec![-77.0; case.rows * case.c_stride];
        gemm.run(case.rows, &mut c);
        for i in 0..case.rows {
            for j in 0..case.c_stride {
                let value = c[i * case.c_stride + j];
                if j >= case.columns {
                    assert_eq!(value, -77.0, "{isa:?} writes beyond column {}", case.columns);
                    continue;
                }
                let (exact, magnitude) = reference(case.rows, case, i, j);
                let bound = (case.depth + 2) as f64 * f64::from(f32::EPSILON) * magnitude;
                let error = f64::from((value - exact).abs());
                assert!(error <= bound, "{isa:?} at {i},{j}: {value} instead of {exact}, bound {bound}");
            }
        }
    }
}

fn case(rows: usize, depth: usize, columns: usize, seed: u32) -> Case {
    let (a_stride, c_stride) = (depth + (seed % 3) as usize, columns + (seed % 5) as usize);
    Case {
        rows,
        depth,
        columns,
        transposed: seed.is_multiple_of(2),
        a: numbers(rows * a_stride, seed),
        a_stride,
        b: numbers(depth * columns, seed + 1),
        bias: (!seed.is_multiple_of(4)).then(|| numbers(columns, seed + 2)),
        bounds: if seed.is_multiple_of(3) { (f32::NEG_INFINITY, f32::INFINITY) } else { (-0.5, 1.5) },
        c_stride,
    }
}

#[test]
fn every_tile_height_and_width() {
    for rows in 1..=26 {
        for columns in [1, 3, 8, 15, 16, 17, 31, 32, 33, 64, 70, 130] {
            check(&case(rows, 5, columns, (rows * 31 + columns) as u32));
        }
    }
}

#[test]
fn deep_products_are_summed_in_parts() {
    for (rows, depth, columns) in [(1, 3000, 9), (7, MAX_DEPTH + 1, 20), (13, 2 * MAX_DEPTH, 8)] {
        check(&case(rows, depth, columns, 3));
        check(&case(rows, depth, columns, 4));
    }
}

#[test]
fn products_are_cut_into_blocks_of_rows_and_columns() {
    check(&case(250, 300, 33, 1));
    check(&case(1100, 3, 3, 2));
    let wide = CALL_PRODUCTS / 64 / 24 + 40;
    check(&case(24, 64, wide, 5));
}

#[test]
fn nothing_to_sum_gives_the_bias() {
    check(&case(9, 0, 11, 1));
}

#[test]
fn denormal_weights_are_flushed() {
    let packed = Packed::new(Isa::best(), &[1e-40, -1e-45, 1.0, f32::NAN], 2, 2, false).unwrap();
    let data = packed.matrix(0).data;
    assert_eq!((data[0].to_bits(), data[1].to_bits()), (0, 0));
    assert!(data[panel_width(Isa::best())] == 1.0 && data[panel_width(Isa::best()) + 1].is_nan());
}

#[test]
fn selftest_passes() {
    selftest().unwrap();
}

#[test]
fn nan_is_not_clamped() {
    for &isa in Isa::available() {
        let packed = Packed::new(isa, &[1.0, f32::NAN], 1, 2, false).unwrap();
        let mut c = [0.0; 2];
        Gemm {
            a: &[-3.0],
            a_stride: 1,
            b: packed.matrix(0),
            bias: None,
            bounds: (0.0, 6.0),
            c_stride: 2,
            blocking: Blocking::of(Choice::AUTO),
        }
        .run(1, &mut c);
        assert!(c[0] == 0.0 && c[1].is_nan(), "{isa:?}: {c:?}");
    }
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #[test]
    fn random_sizes(rows in 1..60usize, depth in 1..120usize, columns in 1..90usize, seed in 0..1_000_000u32) {
        check(&case(rows, depth, columns, seed));
    }
}
