//! Symbolic dimensions: integer expressions over the model's symbols (`batch`, `seq`), evaluated when shapes are bound.

use alloc::{format, string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::error::{Result, bail, ensure};

/// One dimension: a number or an expression over symbols.
///
/// Expressions are stored in postfix order, so that reading one from an untrusted file needs no recursion.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dim(Repr);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Repr {
    Fixed(i64),
    Expr(Vec<Token>),
}

/// A token of a postfix expression. `Div` rounds towards negative infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Token {
    Const(i64),
    Symbol(u32),
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

/// Stands for a symbol whose value does not follow from the inputs.
pub const UNKNOWN: i64 = i64::MIN;

/// Longest expression that is accepted.
const MAX_TOKENS: usize = 4096;

impl Dim {
    /// A known dimension.
    pub fn fixed(value: usize) -> Dim {
        Dim(Repr::Fixed(value as i64))
    }

    /// A known number, which may be negative inside an expression.
    pub fn constant(value: i64) -> Dim {
        Dim(Repr::Fixed(value))
    }

    /// The symbol with the given index in the graph's table.
    pub fn symbol(index: u32) -> Dim {
        Dim(Repr::Expr(vec![Token::Symbol(index)]))
    }

    /// The number, if this is one.
    pub fn as_fixed(&self) -> Option<usize> {
        match self.0 {
            Repr::Fixed(v) => usize::try_from(v).ok(),
            Repr::Expr(_) => None,
        }
    }

    /// The symbol's index, if this is just a symbol.
    pub fn as_symbol(&self) -> Option<u32> {
        match &self.0 {
            Repr::Expr(tokens) => match tokens.as_slice() {
                [Token::Symbol(s)] => Some(*s),
                _ => None,
            },
            Repr::Fixed(_) => None,
        }
    }

    /// The symbols that the expression refers to.
    pub fn symbols(&self) -> impl Iterator<Item = u32> {
        let tokens = match &self.0 {
            Repr::Fixed(_) => &[][..],
            Repr::Expr(tokens) => tokens,
        };
        tokens.iter().filter_map(|t| if let Token::Symbol(s) = t { Some(*s) } else { None })
    }

    /// Combines two dimensions; folds numbers, and drops neutral elements.
    pub fn combine(self, token: Token, other: Dim) -> Dim {
        if let (Repr::Fixed(a), Repr::Fixed(b)) = (&self.0, &other.0)
            && let Some(v) = apply(token, *a, *b)
        {
            return Dim(Repr::Fixed(v));
        }
        match (token, &self.0, &other.0) {
            (Token::Add | Token::Sub, _, Repr::Fixed(0)) | (Token::Mul | Token::Div, _, Repr::Fixed(1)) => return self,
            (Token::Add, Repr::Fixed(0), _) | (Token::Mul, Repr::Fixed(1), _) => return other,
            (Token::Mul, Repr::Fixed(0), _) | (Token::Mul, _, Repr::Fixed(0)) => return Dim(Repr::Fixed(0)),
            _ => {}
        }
        let mut tokens = self.into_tokens();
        tokens.extend(other.into_tokens());
        tokens.push(token);
        Dim(Repr::Expr(tokens))
    }

    fn into_tokens(self) -> Vec<Token> {
        match self.0 {
            Repr::Fixed(v) => vec![Token::Const(v)],
            Repr::Expr(tokens) => tokens,
        }
    }

    /// The value, given the symbols' values. Fails on overflow, on division by zero and on a malformed expression.
    #[cfg_attr(small, optimize(size))]
    pub fn eval_signed(&self, symbols: &[i64]) -> Result<i64> {
        let tokens = match &self.0 {
            Repr::Fixed(v) => return Ok(*v),
            Repr::Expr(tokens) => tokens,
        };
        ensure!(
            tokens.len() <= MAX_TOKENS,
            Limit,
            "a dimension's expression has {} terms, the limit is {MAX_TOKENS}",
            tokens.len()
        );
        let mut stack: Vec<i64> = Vec::with_capacity(8);
        for &token in tokens {
            let value = match token {
                Token::Const(v) => v,
                Token::Symbol(s) => match symbols.get(s as usize) {
                    Some(&UNKNOWN) => bail!(Unsupported, "a dimension is not known from the shapes of the inputs alone"),
                    Some(v) => *v,
                    None => bail!(InvalidModel, "a dimension uses symbol {s}, the model has {}", symbols.len()),
                },
                op => {
                    let (Some(b), Some(a)) = (stack.pop(), stack.pop()) else {
                        bail!(InvalidModel, "a dimension's expression lacks an operand");
                    };
                    match apply(op, a, b) {
                        Some(v) => v,
                        None => bail!(InvalidInput, "a dimension cannot be computed: {a} {} {b}", op.sign()),
                    }
                }
            };
            stack.push(value);
        }
        match stack.as_slice() {
            [v] => Ok(*v),
            _ => bail!(InvalidModel, "a dimension's expression leaves {} values", stack.len()),
        }
    }

    /// The value as a dimension: fails where [`Dim::eval_signed`] does and when negative.
    pub fn eval(&self, symbols: &[i64]) -> Result<usize> {
        let v = self.eval_signed(symbols)?;
        match usize::try_from(v) {
            Ok(v) => Ok(v),
            Err(_) => bail!(InvalidInput, "a dimension comes out as {v}; the input shapes do not fit the model"),
        }
    }

    /// The expression in infix form with the symbols' names.
    pub fn display(&self, names: &[String]) -> String {
        let tokens = match &self.0 {
            Repr::Fixed(v) => return format!("{v}"),
            Repr::Expr(tokens) => tokens,
        };
        let mut stack: Vec<String> = Vec::new();
        for &token in tokens {
            let text = match token {
                Token::Const(v) => format!("{v}"),
                Token::Symbol(s) => names.get(s as usize).cloned().unwrap_or_else(|| format!("s{s}")),
                op => {
                    let b = stack.pop().unwrap_or_default();
                    let a = stack.pop().unwrap_or_default();
                    match op {
                        Token::Min | Token::Max => format!("{}({a},{b})", op.sign()),
                        _ => format!("({a}{}{b})", op.sign()),
                    }
                }
            };
            stack.push(text);
        }
        stack.pop().unwrap_or_default()
    }
}

impl Token {
    fn sign(self) -> &'static str {
        match self {
            Token::Add => "+",
            Token::Sub => "-",
            Token::Mul => "*",
            Token::Div => "/",
            Token::Min => "min",
            Token::Max => "max",
            Token::Const(_) | Token::Symbol(_) => "",
        }
    }
}

fn apply(token: Token, a: i64, b: i64) -> Option<i64> {
    match token {
        Token::Add => a.checked_add(b),
        Token::Sub => a.checked_sub(b),
        Token::Mul => a.checked_mul(b),
        Token::Div if b > 0 => a.checked_div_euclid(b),
        Token::Div => None,
        Token::Min => Some(a.min(b)),
        Token::Max => Some(a.max(b)),
        Token::Const(_) | Token::Symbol(_) => None,
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $token:ident),*) => { $(
        impl core::ops::$trait for Dim {
            type Output = Dim;
            fn $method(self, other: Dim) -> Dim {
                self.combine(Token::$token, other)
            }
        }
    )* };
}
operators!(Add add Add, Sub sub Sub, Mul mul Mul, Div div Div);

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim::fixed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_fold_and_evaluate() {
        assert_eq!((Dim::fixed(3) * Dim::fixed(4)).as_fixed(), Some(12));
        let seq = Dim::symbol(0);
        let d = (seq.clone() + Dim::constant(-1)) / Dim::fixed(2) + Dim::fixed(1);
        assert_eq!(d.eval(&[7]).unwrap(), 4);
        assert_eq!(d.display(&["seq".into()]), "(((seq+-1)/2)+1)");
        assert_eq!((seq.clone() * Dim::fixed(1)).as_symbol(), Some(0));
        assert!((seq - Dim::fixed(9)).eval(&[7]).is_err());
    }

    #[test]
    fn malformed_expressions_are_errors() {
        assert!(Dim(Repr::Expr(vec![Token::Add])).eval(&[]).is_err());
        assert!(Dim(Repr::Expr(vec![Token::Const(1), Token::Const(2)])).eval(&[]).is_err());
        assert!(Dim(Repr::Expr(vec![])).eval(&[]).is_err());
        assert!(Dim::symbol(3).eval(&[1]).is_err());
    }
}
