//! tract's symbolic dimensions to the graph's.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use tract_onnx::prelude::TDim;

use crate::{
    error::{Result, bail},
    graph::{Dim, Graph, dim::Token},
};

/// Names that tract's parser cannot read, by the symbol that stands in for each.
#[derive(Debug, Clone, Default)]
pub(super) struct SymbolNames(pub BTreeMap<String, String>);

impl SymbolNames {
    /// The model's own name of a symbol.
    pub(super) fn original<'a>(&'a self, symbol: &'a str) -> &'a str {
        self.0.get(symbol).map_or(symbol, String::as_str)
    }
}

/// The graph's form of `dim`; adds symbols as they appear.
pub(super) fn lower_dim(graph: &mut Graph, names: &SymbolNames, dim: &TDim) -> Result<Dim> {
    let mut fold = |terms: &[TDim], token: Token, neutral: i64| -> Result<Dim> {
        let mut terms = terms.iter();
        let Some(first) = terms.next() else { return Ok(Dim::constant(neutral)) };
        let first = lower_dim(graph, names, first)?;
        terms.try_fold(first, |sum, t| Ok(sum.combine(token, lower_dim(graph, names, t)?)))
    };
    Ok(match dim {
        TDim::Val(v) => Dim::constant(*v),
        TDim::Add(terms) => fold(terms, Token::Add, 0)?,
        TDim::Mul(terms) => fold(terms, Token::Mul, 1)?,
        TDim::Min(terms) => fold(terms, Token::Min, 0)?,
        // Broadcasting takes the larger of two dimensions that are equal or of which one is 1.
        TDim::Max(terms) | TDim::Broadcast(terms) => fold(terms, Token::Max, 0)?,
        TDim::MulInt(factor, term) => Dim::constant(*factor) * lower_dim(graph, names, term)?,
        TDim::Div(term, divisor) => {
            let divisor = i64::try_from(*divisor).unwrap_or(i64::MAX);
            lower_dim(graph, names, term)? / Dim::constant(divisor)
        }
        TDim::Sym(symbol) => {
            let name = format!("{symbol}");
            Dim::symbol(graph.symbol(names.original(&name)))
        }
        TDim::Ge(..) | TDim::Eq(..) => bail!(Unsupported, "a dimension depends on a comparison of dimensions ({dim})"),
    })
}

/// Dimensions of a shape.
pub(super) fn lower_shape<'d>(
    graph: &mut Graph,
    names: &SymbolNames,
    dims: impl IntoIterator<Item = &'d TDim>,
) -> Result<Vec<Dim>> {
    dims.into_iter().map(|d| lower_dim(graph, names, d)).collect()
}

/// The permutation from `[N,C,S…]` to `[N,S…,C]`.
pub(super) fn to_last(rank: usize) -> Vec<usize> {
    [vec![0], (2..rank).collect(), vec![1]].concat()
}

/// The permutation from `[N,S…,C]` to `[N,C,S…]`.
pub(super) fn to_first(rank: usize) -> Vec<usize> {
    [vec![0, rank - 1], (1..rank - 1).collect()].concat()
}

/// Numpy's broadcast of two dimensions.
pub(super) fn broadcast(a: &Dim, b: &Dim) -> Dim {
    if a == b || b.as_fixed() == Some(1) {
        a.clone()
    } else if a.as_fixed() == Some(1) || b.as_fixed().is_some() {
        b.clone()
    } else if a.as_fixed().is_some() {
        a.clone()
    } else {
        a.clone().combine(Token::Max, b.clone())
    }
}

/// Numpy's broadcast of two shapes.
pub(super) fn broadcast_shapes(a: &[Dim], b: &[Dim]) -> Vec<Dim> {
    let rank = a.len().max(b.len());
    let at = |shape: &[Dim], i: usize| match (i + shape.len()).checked_sub(rank) {
        Some(j) => shape[j].clone(),
        None => Dim::fixed(1),
    };
    (0..rank).map(|i| broadcast(&at(a, i), &at(b, i))).collect()
}
