//! Folds, and the loops that run them. What differs between folds is in small leaves; the loops around them are compiled once per pair of
//! types, for two dozen folds would be a tenth of the runtime.

use super::Nest;
use crate::{
    kernels::strided::{Axis, walk},
    tensor::Element,
};

/// Neighbouring results, or partial results of one row, that are folded side by side.
const LANES: usize = 16;

/// How elements of type `T` are folded.
pub(super) trait Fold<T> {
    /// What is accumulated.
    type Acc: Copy;
    /// The result of no element.
    const INIT: Self::Acc;
    /// Takes one more element in.
    fn add(acc: Self::Acc, x: T) -> Self::Acc;
    /// Joins two partial results.
    fn join(a: Self::Acc, b: Self::Acc) -> Self::Acc;
}

/// Numbers that have an order, for [`Smallest`] and [`Largest`].
pub(super) trait Order: Element {
    const LOWEST: Self;
    const HIGHEST: Self;
    fn smaller(a: Self, b: Self) -> Self;
    fn larger(a: Self, b: Self) -> Self;
}

/// Numbers that can be added and multiplied; integers wrap.
pub(super) trait Number: Order {
    const ZERO: Self;
    const ONE: Self;
    fn plus(a: Self, b: Self) -> Self;
    fn times(a: Self, b: Self) -> Self;
    fn absolute(self) -> Self;
    fn divide(self, count: usize) -> Self;
}

macro_rules! integer_order {
    ($($t:ty),*) => { $( impl Order for $t {
        const LOWEST: Self = <$t>::MIN;
        const HIGHEST: Self = <$t>::MAX;
        #[inline(always)]
        fn smaller(a: Self, b: Self) -> Self { a.min(b) }
        #[inline(always)]
        fn larger(a: Self, b: Self) -> Self { a.max(b) }
    } )* };
}
integer_order!(u8, i8, i32, i64);

impl Order for f32 {
    const LOWEST: f32 = f32::NEG_INFINITY;
    const HIGHEST: f32 = f32::INFINITY;
    // NaN in either operand gives NaN.
    #[inline(always)]
    fn smaller(a: f32, b: f32) -> f32 {
        if a < b || a.is_nan() { a } else { b }
    }
    #[inline(always)]
    fn larger(a: f32, b: f32) -> f32 {
        if a > b || a.is_nan() { a } else { b }
    }
}

macro_rules! integer_number {
    ($($t:ty),*) => { $( impl Number for $t {
        const ZERO: Self = 0;
        const ONE: Self = 1;
        #[inline(always)]
        fn plus(a: Self, b: Self) -> Self { a.wrapping_add(b) }
        #[inline(always)]
        fn times(a: Self, b: Self) -> Self { a.wrapping_mul(b) }
        #[inline(always)]
        fn absolute(self) -> Self { self.wrapping_abs() }
        fn divide(self, count: usize) -> Self {
            // The mean of nothing has no integer; 0 stands for it.
            <$t>::try_from(count).ok().and_then(|n| self.checked_div(n)).unwrap_or(0)
        }
    } )* };
}
integer_number!(i32, i64);

impl Number for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    #[inline(always)]
    fn plus(a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn times(a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn absolute(self) -> f32 {
        self.abs()
    }
    fn divide(self, count: usize) -> f32 {
        self / count as f32
    }
}

/// `Σ x`
pub(super) struct Sum;
/// `Σ x²`
pub(super) struct SumSquare;
/// `Σ |x|`
pub(super) struct AbsSum;
/// `Π x`
pub(super) struct Product;
/// Minimum.
pub(super) struct Smallest;
/// Maximum.
pub(super) struct Largest;

macro_rules! fold {
    ($name:ident, $bound:ident, $init:ident, |$acc:ident, $x:ident| $add:expr, $join:path) => {
        impl<T: $bound> Fold<T> for $name {
            type Acc = T;
            const INIT: T = T::$init;
            #[inline(always)]
            fn add($acc: T, $x: T) -> T {
                $add
            }
            #[inline(always)]
            fn join(a: T, b: T) -> T {
                $join(a, b)
            }
        }
    };
}
fold!(SumSquare, Number, ZERO, |acc, x| T::plus(acc, T::times(x, x)), T::plus);
fold!(AbsSum, Number, ZERO, |acc, x| T::plus(acc, x.absolute()), T::plus);
fold!(Product, Number, ONE, |acc, x| T::times(acc, x), T::times);
fold!(Smallest, Order, HIGHEST, |acc, x| T::smaller(acc, x), T::smaller);
fold!(Largest, Order, LOWEST, |acc, x| T::larger(acc, x), T::larger);

macro_rules! sum {
    ($($t:ty => $acc:ty),*) => { $( impl Fold<$t> for Sum {
        type Acc = $acc;
        const INIT: $acc = <$acc as Number>::ZERO;
        #[inline(always)]
        fn add(acc: $acc, x: $t) -> $acc { <$acc>::plus(acc, <$acc>::from(x)) }
        #[inline(always)]
        fn join(a: $acc, b: $acc) -> $acc { <$acc>::plus(a, b) }
    } )* };
}
sum!(f32 => f32, i32 => i32, i64 => i64, u8 => i32, i8 => i32);

/// What a fold does with many elements at once.
pub(super) struct Leaves<T, A> {
    /// The result of no element.
    pub init: A,
    /// Takes `turns` rows, which lie `stride` apart, into the first `count` lanes.
    rows: fn(lanes: &mut [A; LANES], x: &[T], count: usize, turns: usize, stride: usize),
    /// Joins all lanes.
    join: fn(lanes: &[A; LANES]) -> A,
}

impl<T: Element, A: Copy> Leaves<T, A> {
    /// The leaves of a fold.
    pub fn of<F: Fold<T, Acc = A>>() -> Leaves<T, A> {
        Leaves { init: F::INIT, rows: rows::<T, F>, join: |lanes| lanes.iter().copied().fold(F::INIT, F::join) }
    }

    /// Folds `x`, which is not empty, and gives each result with its index to `store`.
    #[inline(never)]
    pub fn run(&self, nest: &Nest, x: &[T], store: &mut dyn FnMut(usize, A)) {
        let (last, outer) = match nest.reduced.split_last() {
            Some((last, outer)) => (*last, outer),
            None => (Axis { size: 1, strides: [0] }, &[][..]),
        };
        let mut at = 0;
        walk(&nest.kept, [0], &mut |[start]| {
            if nest.inner_kept {
                for first in (0..nest.inner).step_by(LANES) {
                    // The last turn may repeat some of what the one before did.
                    let first = first.min(nest.inner.saturating_sub(LANES));
                    let count = LANES.min(nest.inner);
                    let mut lanes = [self.init; LANES];
                    walk(outer, [(start + first) as isize], &mut |[from]| {
                        (self.rows)(&mut lanes, &x[from..], count, last.size, last.strides[0] as usize);
                    });
                    for (i, lane) in lanes[..count].iter().enumerate() {
                        store(at + first + i, *lane);
                    }
                }
                at += nest.inner;
            } else {
                let mut lanes = [self.init; LANES];
                walk(&nest.reduced, [start as isize], &mut |[from]| {
                    let (whole, rest) = x[from..from + nest.inner].split_at(nest.inner / LANES * LANES);
                    (self.rows)(&mut lanes, whole, LANES, whole.len() / LANES, LANES);
                    (self.rows)(&mut lanes, rest, rest.len(), 1, LANES);
                });
                store(at, (self.join)(&lanes));
                at += 1;
            }
        });
    }
}

fn rows<T: Element, F: Fold<T>>(lanes: &mut [F::Acc; LANES], x: &[T], count: usize, turns: usize, stride: usize) {
    if count == LANES {
        // A copy, for registers to hold.
        let mut sums = *lanes;
        for turn in 0..turns {
            let row = &x[turn * stride..][..LANES];
            for i in 0..LANES {
                sums[i] = F::add(sums[i], row[i]);
            }
        }
        *lanes = sums;
    } else {
        for (i, lane) in lanes[..count].iter_mut().enumerate() {
            for x in x[i..].iter().step_by(stride.max(1)).take(turns) {
                *lane = F::add(*lane, *x);
            }
        }
    }
}
