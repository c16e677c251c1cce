//! How much a model may ask for, so that a small file cannot take all there is. Exceeding a limit is [`Error::Limit`](crate::Error::Limit),
//! which names it.

use crate::error::{Result, ensure};

/// The limits, with defaults that fit models made for browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a model's file, ONNX or plan. 2 GiB.
    pub model_bytes: u64,
    /// Nodes of a graph. 20 000.
    pub nodes: usize,
    /// Graphs inside graphs (bodies of If, Loop and Scan). 16.
    pub nesting: usize,
    /// Bytes of the intermediate results of a run together, and of any one of them. 1 GiB.
    pub tensor_bytes: usize,
    /// Iterations of a loop. 1 000 000.
    pub loop_iterations: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { model_bytes: 2 << 30, nodes: 20_000, nesting: 16, tensor_bytes: 1 << 30, loop_iterations: 1_000_000 }
    }
}

impl Limits {
    /// Fails if a model's file of so many bytes is too large.
    pub fn check_model(&self, bytes: u64) -> Result<()> {
        let limit = self.model_bytes;
        ensure!(
            bytes <= limit,
            Limit,
            "the model has {bytes} bytes, the limit is {limit} (modelBytes); raise it, or use a smaller model"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_be_as_large_as_the_limit() {
        let limits = Limits { model_bytes: 1000, ..Limits::default() };
        limits.check_model(1000).unwrap();
        let error = limits.check_model(1001).unwrap_err().to_string();
        assert_eq!(error, "the model has 1001 bytes, the limit is 1000 (modelBytes); raise it, or use a smaller model");
    }
}
