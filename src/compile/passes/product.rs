//! Takes products of several factors apart, in whatever order and with whatever brackets an exporter wrote them.

use alloc::{vec, vec::Vec};

use super::{
    common::{binary_inputs, scalar},
    rewrite::Rewrite,
};
use crate::graph::{ValueId, ops::BinaryOp};

/// A product: its factors that are no constants, and all constants multiplied.
pub(super) struct Product {
    pub factors: Vec<ValueId>,
    pub constant: f32,
}

const MAX_FACTORS: usize = 8;

/// The factors of `v`; partial products that something else reads as well count as one factor.
pub(super) fn product(rw: &Rewrite, v: ValueId) -> Option<Product> {
    let mut out = Product { factors: Vec::new(), constant: 1.0 };
    let mut open = vec![(v, true)];
    while let Some((v, root)) = open.pop() {
        if out.factors.len() + open.len() > MAX_FACTORS {
            return None;
        }
        let own = root || rw.only_user(v).is_some();
        if let Some(c) = scalar(rw, v) {
            out.constant *= c;
        } else if let Some([a, b]) = binary_inputs(rw, v, BinaryOp::Mul).filter(|_| own) {
            open.extend([(b, false), (a, false)]);
        } else if let Some(([a, _], c)) =
            binary_inputs(rw, v, BinaryOp::Div).filter(|_| own).and_then(|ab| Some((ab, scalar(rw, ab[1])?)))
        {
            out.constant /= c;
            open.push((a, false));
        } else {
            out.factors.push(v);
        }
    }
    Some(out)
}

/// `v` as another value plus a constant.
pub(super) fn plus_constant(rw: &Rewrite, v: ValueId) -> Option<(ValueId, f32)> {
    let [a, b] = binary_inputs(rw, v, BinaryOp::Add)?;
    scalar(rw, b).map(|c| (a, c)).or_else(|| scalar(rw, a).map(|c| (b, c)))
}
