//! The state of a run: values by name, and what must not grow without bound.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String};

use super::{random::Random, value::Value};
use crate::{
    error::{Error, Result, ensure},
    limits::Limits,
};

/// Elements of a sequence.
pub(super) const MAX_SEQUENCE: usize = 1 << 20;

/// What a run carries along.
pub(super) struct Machine {
    pub random: Random,
    iterations: u64,
    limits: Limits,
    /// Whether tract has run a node.
    pub on_tract: bool,
}

impl Machine {
    pub fn new(seed: u64, limits: &Limits) -> Machine {
        Machine { random: Random::new(seed), iterations: 0, limits: *limits, on_tract: false }
    }

    /// Counts an iteration of a loop.
    pub fn iterate(&mut self) -> Result<()> {
        self.iterations += 1;
        ensure!(
            self.iterations <= self.limits.loop_iterations,
            Limit,
            "the model's loops made more than {} iterations in one run, the limit; does a loop never end?",
            self.limits.loop_iterations
        );
        Ok(())
    }

    /// Fails if a value is larger than intermediate results may be.
    pub fn check_bytes(&self, bytes: usize) -> Result<()> {
        let most = self.limits.tensor_bytes;
        ensure!(bytes <= most, Limit, "a result has {bytes} bytes, the limit for intermediate results is {most}");
        Ok(())
    }
}

/// Values by name, and those of the graphs around.
pub(super) struct Scope<'a> {
    values: BTreeMap<String, Value>,
    outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    /// An empty scope inside another.
    pub fn inside(outer: Option<&'a Scope<'a>>) -> Scope<'a> {
        Scope { values: BTreeMap::new(), outer }
    }

    pub fn get(&self, name: &str) -> Result<&Value> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(value) = here.values.get(name) {
                return Ok(value);
            }
            scope = here.outer;
        }
        Err(Error::InvalidModel(alloc::format!("'{name}' has no value here: the node that computes it did not run")))
    }

    /// The value, which nothing here will read again.
    pub fn take(&mut self, name: &str) -> Result<Value> {
        match self.values.remove(name) {
            Some(value) => Ok(value),
            None => self.get(name).cloned(),
        }
    }

    pub fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    pub fn forget(&mut self, name: &str) {
        self.values.remove(name);
    }
}

/// Fails for a sequence that is too long.
pub(super) fn check_length(length: usize) -> Result<()> {
    ensure!(length <= MAX_SEQUENCE, Limit, "a sequence would have {length} elements, the limit is {MAX_SEQUENCE}");
    Ok(())
}
