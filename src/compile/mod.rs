//! The compiler: ONNX bytes to a plan, through tract-onnx and the passes.

#[cfg(feature = "compiler")]
mod drawing;
#[cfg(feature = "compiler")]
pub mod fallback;
#[cfg(feature = "compiler")]
pub mod import;
#[cfg(feature = "compiler")]
mod inspection;
#[cfg(feature = "compiler")]
mod mixed;
#[cfg(feature = "compiler")]
mod onnx_file;
#[cfg(feature = "compiler")]
mod origins;
pub mod passes;
#[cfg(feature = "compiler")]
mod per_value;
#[cfg(feature = "compiler")]
mod reader;
#[cfg(feature = "compiler")]
mod resident;
#[cfg(feature = "compiler")]
mod values;
#[cfg(feature = "compiler")]
mod weight_files;

#[cfg(feature = "compiler")]
pub use drawing::{Drawing, DrawnGraph, DrawnNode, DrawnPort};
#[cfg(feature = "compiler")]
pub use fallback::Fallback;
#[cfg(feature = "compiler")]
pub use front::{Compiled, Options, Report, compile};
#[cfg(feature = "compiler")]
pub use import::{element_type, read_tensor};
#[cfg(feature = "compiler")]
pub use inspection::{Demand, Inspection};
#[cfg(feature = "compiler")]
pub use mixed::{Keys, Kind, Map, Mixed, Strings, Value, read_value};
#[cfg(feature = "compiler")]
pub use onnx_file::{OnnxFile, OnnxReader};
#[cfg(feature = "compiler")]
pub use origins::Source;
#[cfg(feature = "compiler")]
pub use per_value::PerValue;
#[cfg(feature = "compiler")]
pub use resident::Resident;
#[cfg(feature = "compiler")]
pub use weight_files::{Needed, WeightFiles};

#[cfg(feature = "compiler")]
mod front;
