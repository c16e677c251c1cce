//! The crate's one error type. Messages are sentences: what was wrong, where, and what to do about it.

use alloc::{boxed::Box, string::String};
use core::fmt;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What went wrong, in coarse classes that callers can branch on (the JavaScript package maps each to an error class).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are not a model that can be used: not ONNX, truncated, inconsistent.
    InvalidModel,
    /// The bytes are not a plan that this version can read: flipped bits, truncated, a newer version.
    InvalidPlan,
    /// The model is sound but holds something that Nearside cannot run.
    Unsupported,
    /// The inputs given to a run do not fit the model.
    InvalidInput,
    /// A limit of the options was exceeded.
    Limit,
    /// A defect of Nearside itself.
    Internal,
}

impl ErrorKind {
    /// Stable name of the kind, as it crosses to JavaScript.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::InvalidModel => "InvalidModel",
            ErrorKind::InvalidPlan => "InvalidPlan",
            ErrorKind::Unsupported => "Unsupported",
            ErrorKind::InvalidInput => "InvalidInput",
            ErrorKind::Limit => "Limit",
            ErrorKind::Internal => "Internal",
        }
    }
}

/// An error of loading, compiling or running a model.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// See [`ErrorKind::InvalidModel`].
    #[error("{0}")]
    InvalidModel(String),
    /// See [`ErrorKind::InvalidPlan`].
    #[error("{0}")]
    InvalidPlan(String),
    /// See [`ErrorKind::Unsupported`].
    #[error("{0}")]
    Unsupported(String),
    /// See [`ErrorKind::InvalidInput`].
    #[error("{0}")]
    InvalidInput(String),
    /// See [`ErrorKind::Limit`].
    #[error("{0}")]
    Limit(String),
    /// See [`ErrorKind::Internal`].
    #[error("{0}")]
    Internal(String),
    /// Any of the others, with the node it happened at.
    #[error("{op} '{node}': {source}")]
    AtNode {
        /// The operator's name.
        op: String,
        /// The node's name in the model.
        node: String,
        /// What happened there.
        source: Box<Error>,
    },
}

impl Error {
    /// The coarse class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::InvalidModel(_) => ErrorKind::InvalidModel,
            Error::InvalidPlan(_) => ErrorKind::InvalidPlan,
            Error::Unsupported(_) => ErrorKind::Unsupported,
            Error::InvalidInput(_) => ErrorKind::InvalidInput,
            Error::Limit(_) => ErrorKind::Limit,
            Error::Internal(_) => ErrorKind::Internal,
            Error::AtNode { source, .. } => source.kind(),
        }
    }

    /// Adds the node at which the error happened; the innermost node wins.
    #[cold]
    pub fn at_node(self, op: &str, node: &str) -> Error {
        match self {
            Error::AtNode { .. } => self,
            other => Error::AtNode { op: op.into(), node: node.into(), source: Box::new(other) },
        }
    }
}

/// A real number as a sentence has it. The formatting of floating-point numbers as such is kilobytes of code, which nothing else in the
/// runtime needs.
pub(crate) struct Hundredths(pub f64);

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_finite() {
            return f.write_str(if self.0.is_nan() { "NaN" } else { "infinity" });
        }
        let all = (self.0.abs() * 100.0).round() as u64;
        let (sign, whole, rest) = (if self.0 < 0.0 { "-" } else { "" }, all / 100, all % 100);
        if rest == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{rest:02}") }
    }
}

/// `bail!(InvalidModel, "Conv: weight has {} channels", n)`: returns the error from the enclosing function.
macro_rules! bail {
    ($kind:ident, $($arg:tt)*) => {
        return Err($crate::Error::$kind(alloc::format!($($arg)*)))
    };
}
/// `ensure!(cond, InvalidModel, "…")`: [`bail!`] unless the condition holds.
macro_rules! ensure {
    ($cond:expr, $kind:ident, $($arg:tt)*) => {
        if !$cond {
            $crate::error::bail!($kind, $($arg)*);
        }
    };
}
pub(crate) use {bail, ensure};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_decimals_if_any() {
        let texts = [0.0, 224.0, -2.5, 4.061, 0.999, 1e9, f64::NAN].map(|v| alloc::format!("{}", Hundredths(v)));
        assert_eq!(texts, ["0", "224", "-2.50", "4.06", "1", "1000000000", "NaN"]);
    }

    #[test]
    fn node_is_named_once() {
        let inner = Error::InvalidInput("weight has 3 channels, input has 4".into());
        let error = inner.at_node("Conv", "stem/conv1").at_node("Conv", "outer");
        assert_eq!(error.to_string(), "Conv 'stem/conv1': weight has 3 channels, input has 4");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
