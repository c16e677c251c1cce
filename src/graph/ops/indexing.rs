//! Reading and writing at computed places.

use serde::{Deserialize, Serialize};

/// What becomes of a row and its update; see [`Op::Scatter`](super::Op::Scatter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Combine {
    /// The update.
    Set,
    Add,
    Mul,
    Min,
    Max,
}

/// See [`Op::GridSample`](super::Op::GridSample).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridSample {
    /// How a number is made of its neighbours.
    pub interpolation: Interpolation,
    /// What lies outside x.
    pub outside: Outside,
    /// Reflections are at the centres of the outermost pixels, not at their edges.
    pub align_corners: bool,
}

/// How a number between pixels is made of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interpolation {
    /// The nearest pixel, half to even.
    Nearest,
    /// Weighted by distance, along each axis.
    Linear,
    /// Of four pixels along each axis, by the cubic with a = −0.75.
    Cubic,
}

/// What is read outside a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outside {
    /// Zeros.
    Zeros,
    /// The nearest pixel.
    Border,
    /// The mirror image.
    Reflection,
}

/// See [`Op::RoiAlign`](super::Op::RoiAlign).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoiAlign {
    /// The largest sample of a cell instead of the mean.
    pub max: bool,
    /// Samples per cell and axis; 0 for as many as a cell has pixels, rounded up.
    pub samples: usize,
    /// From the boxes' units to pixels.
    pub scale: f32,
    /// Boxes are measured from the corner of the first pixel, not from its centre.
    pub half_pixel: bool,
}
