//! Einstein sums: transposes, products and reductions, two operands at a time.

use alloc::{string::String, vec, vec::Vec};

use super::{
    index::{iota, product},
    lower::{Call, Lower, Lowering, is_one},
    matmul,
};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{BinaryOp, ReduceOp},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    (op_type == "Einsum").then_some(einsum)
}

/// An operand and the letter of each of its axes. The axes of an ellipsis have digits from the end on, so that they are aligned.
#[derive(Clone)]
struct Term {
    value: ValueId,
    letters: Vec<char>,
}

fn einsum(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let equation: String = c.node.string("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let parts: Vec<&str> = left.split(',').collect();
    ensure!(parts.len() == c.inputs.len(), InvalidModel, "has {} terms for {} inputs", parts.len(), c.inputs.len());
    let mut terms = Vec::new();
    let mut dots = 0;
    for (part, &value) in parts.into_iter().zip(&c.inputs) {
        let rank = l.rank(value);
        let named = part.chars().filter(char::is_ascii_alphabetic).count();
        ensure!(part.contains("...") || named == rank, InvalidModel, "has the term '{part}' for an input of rank {rank}");
        ensure!(named <= rank, InvalidModel, "has the term '{part}' for an input of rank {rank}");
        dots = dots.max(rank - named);
        let letters = letters(part, rank - named)?;
        ensure!(letters.len() == rank, InvalidModel, "has the term '{part}' for an input of rank {rank}");
        terms.push(Term { value, letters });
    }
    let result = match right {
        Some(right) => letters(right, dots)?,
        None => {
            let all: Vec<char> = terms.iter().flat_map(|t| t.letters.iter().copied()).collect();
            let mut once: Vec<char> =
                all.iter().copied().filter(|a| a.is_ascii_alphabetic() && all.iter().filter(|b| *b == a).count() == 1).collect();
            once.sort_unstable();
            [letters("...", dots)?, once].concat()
        }
    };
    let mut done: Option<Term> = None;
    for i in 0..terms.len() {
        let term = diagonal(l, c, terms[i].clone())?;
        let kept: Vec<char> = terms[i + 1..].iter().flat_map(|t| &t.letters).chain(&result).copied().collect();
        done = Some(match done {
            None => term,
            Some(other) => multiply(l, c, other, term, &kept)?,
        });
    }
    let Some(term) = done else { bail!(InvalidModel, "has no inputs") };
    let term = sum(l, c, term, &result);
    let perm: Option<Vec<usize>> = result.iter().map(|a| term.letters.iter().position(|b| a == b)).collect();
    let Some(perm) = perm.filter(|p| p.len() == term.letters.len()) else {
        bail!(InvalidModel, "the equation '{equation}' names an axis that no input has, or one twice");
    };
    Ok(vec![l.transpose(c.name(), term.value, &perm)])
}

fn letters(term: &str, dots: usize) -> Result<Vec<char>> {
    ensure!(dots <= 8, InvalidModel, "has {dots} axes behind an ellipsis");
    let digits: String = (0..dots as u32).rev().filter_map(|i| char::from_digit(i, 10)).collect();
    let full = term.replacen("...", &digits, 1);
    ensure!(full.chars().all(|c| c.is_ascii_alphanumeric()), InvalidModel, "has the term '{term}'");
    Ok(full.chars().collect())
}

/// Axes of one letter joined to one: zeros beside the diagonal, then a sum.
fn diagonal(l: &mut Lower, c: &Call, term: Term) -> Result<Term> {
    let Term { mut value, mut letters } = term;
    loop {
        let twice = (0..letters.len()).find_map(|i| Some((i, (i + 1..letters.len()).find(|&j| letters[j] == letters[i])?)));
        let Some((i, j)) = twice else { return Ok(Term { value, letters }) };
        let (shape, dtype) = (l.shape(value), l.dtype(value));
        ensure!(shape[i] == shape[j], InvalidModel, "has axes '{}' of different sizes in one term", letters[i]);
        let (a, b) = (iota(l, c, shape[i].clone(), i, shape.len())?, iota(l, c, shape[j].clone(), j, shape.len())?);
        let hit = l.binary(c, BinaryOp::Equal, a, b);
        let zero = l.graph.add_const(c.name(), &Tensor::zeros(dtype, &[])?);
        value = l.emit(c, Op::Where, &[hit, value, zero], ValueType::new(dtype, shape));
        value = reduce(l, c, value, &[j]);
        letters.remove(j);
    }
}

fn reduce(l: &mut Lower, c: &Call, x: ValueId, axes: &[usize]) -> ValueId {
    if axes.is_empty() {
        return x;
    }
    let kept = l.shape(x).into_iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d).collect();
    let ty = ValueType::new(l.dtype(x), kept);
    l.emit(c, Op::Reduce { op: ReduceOp::Sum, axes: axes.to_vec(), keep_dims: false }, &[x], ty)
}

/// The sum over the axes that nobody else needs.
fn sum(l: &mut Lower, c: &Call, term: Term, kept: &[char]) -> Term {
    let axes: Vec<usize> = (0..term.letters.len()).filter(|&i| !kept.contains(&term.letters[i])).collect();
    let value = reduce(l, c, term.value, &axes);
    Term { value, letters: term.letters.into_iter().filter(|a| kept.contains(a)).collect() }
}

/// The product of two terms, summed over the axes that `kept` does not name.
fn multiply(l: &mut Lower, c: &Call, mut a: Term, mut b: Term, kept: &[char]) -> Result<Term> {
    // An axis of size 1 under an ellipsis is repeated: the product does that for an axis that is not there.
    for flip in [false, true] {
        let (x, y) = if flip { (&mut b, &a) } else { (&mut a, &b) };
        let shape = l.shape(x.value);
        let other = l.shape(y.value);
        let repeated: Vec<usize> = (0..shape.len())
            .filter(|&i| {
                is_one(&shape[i]) && y.letters.iter().position(|t| *t == x.letters[i]).is_some_and(|j| !is_one(&other[j]))
            })
            .collect();
        let rest: Vec<usize> = (0..shape.len()).filter(|i| !repeated.contains(i)).collect();
        x.value = l.reshape(c.name(), x.value, rest.iter().map(|&i| shape[i].clone()).collect());
        x.letters = rest.iter().map(|&i| x.letters[i]).collect();
    }
    let with = |kept: &[char], other: &Term| [kept, &other.letters].concat();
    (a, b) = (sum(l, c, a.clone(), &with(kept, &b)), sum(l, c, b, &with(kept, &a)));
    let shared: Vec<char> = a.letters.iter().copied().filter(|t| b.letters.contains(t)).collect();
    let (batch, inner): (Vec<char>, Vec<char>) = shared.iter().partition(|t| kept.contains(t));
    let rows: Vec<char> = a.letters.iter().copied().filter(|t| !shared.contains(t)).collect();
    let columns: Vec<char> = b.letters.iter().copied().filter(|t| !shared.contains(t)).collect();
    let order = |l: &mut Lower, term: &Term, letters: &[char]| -> Result<(ValueId, Vec<Dim>)> {
        let perm: Option<Vec<usize>> = letters.iter().map(|a| term.letters.iter().position(|b| a == b)).collect();
        let Some(perm) = perm else { bail!(Internal, "an axis is lost") };
        let value = l.transpose(c.name(), term.value, &perm);
        let shape = l.shape(value);
        Ok((value, shape))
    };
    let (x, xs) = order(l, &a, &[&batch[..], &rows, &inner].concat())?;
    let (y, ys) = order(l, &b, &[&batch[..], &inner, &columns].concat())?;
    let (lead, depth) = (&xs[..batch.len()], product(&xs[batch.len() + rows.len()..]));
    let (height, width) = (&xs[batch.len()..batch.len() + rows.len()], &ys[batch.len() + inner.len()..]);
    let (m, n) = (product(height), product(width));
    let x = l.reshape(c.name(), x, vec![product(lead), m.clone(), depth.clone()]);
    let y = l.reshape(c.name(), y, vec![product(lead), depth.clone(), n]);
    let dtype = l.dtype(x);
    let z = if dtype == DType::F32 {
        matmul::emit(l, c, matmul::Operands { a: x, b: y, transpose_b: false, bias: None, dynamic: None, dtype, quant: None })?
    } else {
        let x = l.reshape(c.name(), x, vec![product(lead), m, depth, Dim::fixed(1)]);
        let mut wide = l.shape(y);
        wide.insert(1, Dim::fixed(1));
        let y = l.reshape(c.name(), y, wide);
        let all = l.binary(c, BinaryOp::Mul, x, y);
        reduce(l, c, all, &[2])
    };
    let value = l.reshape(c.name(), z, [lead, height, width].concat());
    Ok(Term { value, letters: [batch, rows, columns].concat() })
}
