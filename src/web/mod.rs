//! The JavaScript side of the crate.
