//! Tuning, for JavaScript: in slices, so that the thread that runs models answers other calls between.

use alloc::{boxed::Box, vec::Vec};

use js_sys::{Array, Float64Array, Function, Uint8Array};
use wasm_bindgen::prelude::*;

use super::{
    RawLoader, RawModel,
    error::to_js,
    model::{Executor, views},
};
use crate::{
    error::Result,
    kernels::Made,
    runtime::{Session, Tuner},
};

#[wasm_bindgen]
impl RawModel {
    /// Begins to tune for the staged inputs, which are then no longer staged, in about `budget` milliseconds. `loader` has the plan again.
    pub fn tune(&mut self, loader: RawLoader, budget: f64) -> Result<(), JsValue> {
        let result = self.try_tune(loader, budget);
        for slot in &mut self.staged {
            slot.given = false;
        }
        result.map_err(to_js)
    }

    /// Goes on for about `slice` milliseconds, as `clock` tells them; gives how much of all is done.
    pub fn tune_on(&mut self, slice: f64, clock: &Function) -> Result<f64, JsValue> {
        // A clock that fails ends the slice, and in time all of it.
        let mut now = || clock.call0(&JsValue::NULL).ok().and_then(|v| v.as_f64()).unwrap_or(f64::INFINITY);
        let RawModel { executor, tuner, .. } = self;
        match (session(executor), tuner) {
            (Ok(session), Some(tuner)) => tuner.advance(session, &mut now, slice).map_err(to_js),
            _ => Ok(1.0),
        }
    }

    /// Ends tuning; with `keep`, the model changes if all was done and it became faster. Gives the record for `device`, to be kept behind the plan and empty
    /// if nothing changed, and the report, flat: whether it is kept, times of the whole model before and after, and for each node its index, its
    /// times before and after, and method, inner loops and two sizes of blocks of the way before and of the one after.
    pub fn tune_end(&mut self, device: &str, keep: bool) -> Array {
        let mut record = Vec::new();
        let mut numbers = Vec::new();
        if let (Some(tuner), Ok(session)) = (self.tuner.take().filter(|_| keep), session(&mut self.executor)) {
            let report = tuner.finish(session);
            numbers.extend([f64::from(u8::from(report.kept)), report.before_ms, report.after_ms]);
            for node in &report.nodes {
                numbers.extend([node.index as f64, node.before_ms, node.after_ms]);
                for Made { method, inner, blocks } in [node.before, node.after] {
                    numbers.extend([method as usize, inner as usize, blocks[0], blocks[1]].map(|n| n as f64));
                }
            }
            if let Some(choices) = session.choices().filter(|_| report.kept) {
                record = choices.encode(device);
            }
        }
        Array::of2(&Uint8Array::from(&record[..]), &Float64Array::from(&numbers[..]))
    }
}

impl RawModel {
    #[cold]
    #[inline(never)]
    fn try_tune(&mut self, loader: RawLoader, budget: f64) -> Result<()> {
        let RawModel { executor, inputs, staged, tuner } = self;
        let session = session(executor)?;
        let plan = loader.into_plan()?;
        *tuner = Some(Box::new(Tuner::new(plan, session, &views(inputs, staged)?, budget)?));
        Ok(())
    }
}

fn session(executor: &mut Executor) -> Result<&mut Session> {
    match executor {
        Executor::Plan(session) => Ok(session),
        #[cfg(feature = "compiler")]
        Executor::Fallback(_) => Err(crate::error::Error::Unsupported(
            "only models that run on the light runtime can be tuned, this one needs the fallback".into(),
        )),
    }
}
