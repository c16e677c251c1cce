//! Runs a plan: binds shapes, lays out memory once per set of shapes, calls kernels. Knows nothing of ONNX or tract.

mod along;
mod arena;
mod bind;
mod frame;
mod info;
mod pace;
mod profile;
mod session;
mod trial;
mod tune;

pub use info::{DimInfo, NodeInfo, PortInfo};
pub use profile::{NodeProfile, profile};
pub use session::{Memory, Outputs, Session};
pub use trial::refused_nodes;
pub use tune::{Choices, Tuned, TunedNode, Tuner};
