//! How much a model may ask for, so that a small file cannot take all there is. Exceeding a limit is [`Error::Limit`](crate::Error::Limit),
//! which names it.

/// The limits, with defaults that fit models made for browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a model, with the files of its weights. 2 GiB.
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
