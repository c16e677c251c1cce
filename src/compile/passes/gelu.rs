//! Recognises GELU, written out with the error function or with its tanh approximation.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    Pass,
    common::{binary_inputs, close, label, scalar},
    product::{plus_constant, product},
    rewrite::Rewrite,
};
use crate::{
    error::Result,
    graph::{
        Graph, Op, ValueId,
        ops::{BinaryOp, Unary},
    },
};

/// See the module's documentation.
pub(super) struct FuseGelu;

impl Pass for FuseGelu {
    fn name(&self) -> &'static str {
        "fuse-gelu"
    }

    fn run(&self, graph: &mut Graph, changes: &mut Vec<String>) -> Result<()> {
        let mut rw = Rewrite::new(graph);
        // From the end, so that a whole product is seen before its parts.
        for i in (0..rw.len()).rev() {
            let Some(node) = rw.node(i) else { continue };
            let Op::Binary(_) = node.op else { continue };
            let name = label(node);
            if let Some((x, function)) = gelu(&rw, node.outputs[0]) {
                rw.update(i, Op::Unary(function), vec![x]);
                changes.push(format!("{name}: joined a written-out {}", Op::Unary(function).name()));
            }
        }
        rw.finish()
    }
}

/// Matches `½ · x · (1 + f)` with `f = erf(x/√2)` or `f = tanh(√(2/π)·(x + 0.044715·x³))`.
fn gelu(rw: &Rewrite, v: ValueId) -> Option<(ValueId, Unary)> {
    let whole = product(rw, v)?;
    let &[a, b] = whole.factors.as_slice() else { return None };
    if !close(whole.constant, 0.5) {
        return None;
    }
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let (inner, one) = plus_constant(rw, gate)?;
        let node = rw.source(inner).filter(|_| close(one, 1.0))?;
        match node.op {
            Op::Unary(Unary::Erf) => is_over_root_two(rw, node.inputs[0], x).then_some((x, Unary::Gelu)),
            Op::Unary(Unary::Tanh) => is_tanh_argument(rw, node.inputs[0], x).then_some((x, Unary::GeluTanh)),
            _ => None,
        }
    })
}

fn is_over_root_two(rw: &Rewrite, v: ValueId, x: ValueId) -> bool {
    product(rw, v).is_some_and(|p| p.factors == [x] && close(p.constant, core::f32::consts::FRAC_1_SQRT_2))
}

fn is_tanh_argument(rw: &Rewrite, v: ValueId, x: ValueId) -> bool {
    let Some(p) = product(rw, v) else { return false };
    if !close(p.constant, 0.797_884_6) {
        return false;
    }
    match *p.factors.as_slice() {
        // √(2/π) · (x + 0.044715·x³)
        [sum] => binary_inputs(rw, sum, BinaryOp::Add)
            .is_some_and(|[a, b]| (a == x && is_power(rw, b, x, 3)) || (b == x && is_power(rw, a, x, 3))),
        // √(2/π) · x · (1 + 0.044715·x²)
        [a, b] => [(a, b), (b, a)].iter().any(|&(factor, sum)| {
            factor == x && plus_constant(rw, sum).is_some_and(|(square, one)| close(one, 1.0) && is_power(rw, square, x, 2))
        }),
        _ => false,
    }
}

/// Whether `v` is `0.044715 · x^exponent`.
fn is_power(rw: &Rewrite, v: ValueId, x: ValueId, exponent: usize) -> bool {
    let Some(p) = product(rw, v) else { return false };
    let power: Option<usize> = p.factors.iter().try_fold(0, |n, &f| {
        if f == x {
            return Some(n + 1);
        }
        let [base, e] = binary_inputs(rw, f, BinaryOp::Pow)?;
        let e = scalar(rw, e).filter(|e| base == x && (*e == 2.0 || *e == 3.0))?;
        Some(n + e as usize)
    });
    power == Some(exponent) && close(p.constant, 0.044_715)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::compile::passes::testing::{Build, Noise, apply, difference, ops, run};

    fn check(build: impl Fn(&mut Build, ValueId) -> ValueId, expected: &str) {
        let mut b = Build::default();
        let x = b.input(&[100]);
        let y = build(&mut b, x);
        let mut g = b.finish(y);
        let data = [Noise(1).floats(&[100], 5.0)];
        let before = run(&g, &data);
        assert_eq!(apply(&FuseGelu, &mut g).len(), 1);
        assert_eq!(ops(&g), expected);
        assert!(difference(&before, &run(&g, &data)) < 2e-6);
    }

    #[test]
    fn with_the_error_function() {
        for order in 0..3 {
            check(
                |b, x| {
                    let (root, one, half) = (b.scalar(2f32.sqrt()), b.scalar(1.0), b.scalar(0.5));
                    let e = b.binary(BinaryOp::Div, x, root);
                    let e = b.unary(Unary::Erf, e);
                    let e = b.binary(BinaryOp::Add, e, one);
                    let (first, second, third) = [(x, e, half), (half, x, e), (e, half, x)][order];
                    let y = b.binary(BinaryOp::Mul, first, second);
                    b.binary(BinaryOp::Mul, y, third)
                },
                "Gelu×1",
            );
        }
    }

    #[test]
    fn with_tanh() {
        for powers in [true, false] {
            check(
                |b, x| {
                    let (c, root, one, half) = (b.scalar(0.044715), b.scalar(0.7978846), b.scalar(1.0), b.scalar(0.5));
                    let inner = if powers {
                        let three = b.scalar(3.0);
                        let cube = b.binary(BinaryOp::Pow, x, three);
                        let cube = b.binary(BinaryOp::Mul, cube, c);
                        b.binary(BinaryOp::Add, x, cube)
                    } else {
                        let square = b.binary(BinaryOp::Mul, x, x);
                        let square = b.binary(BinaryOp::Mul, c, square);
                        let sum = b.binary(BinaryOp::Add, one, square);
                        b.binary(BinaryOp::Mul, x, sum)
                    };
                    let t = b.binary(BinaryOp::Mul, inner, root);
                    let t = b.unary(Unary::Tanh, t);
                    let t = b.binary(BinaryOp::Add, one, t);
                    let y = b.binary(BinaryOp::Mul, half, x);
                    b.binary(BinaryOp::Mul, y, t)
                },
                "GeluTanh×1",
            );
        }
    }
}
