//! The team of the threaded builds: Workers that entered the module with the same memory.

use alloc::sync::Arc;
use std::sync::OnceLock;

use js_sys::Function;
use wasm_bindgen::prelude::*;

use super::report_panics_to;
use crate::kernels::{Pool, Team};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn now() -> f64;
}

static POOL: OnceLock<(Arc<Pool>, Team)> = OnceLock::new();

/// Models that are loaded from now on share their work with up to `size` − 1 helpers.
#[wasm_bindgen]
pub fn form_team(size: usize) {
    let pool = Arc::new(Pool::new(size, now));
    // A second call changes nothing: helpers may have come.
    let _ = POOL.set((pool.clone(), Team::of_pool(pool)));
}

/// The team, if there is one.
pub(super) fn current() -> Team {
    POOL.get().map_or(Team::ALONE, |(_, team)| team.clone())
}

/// Makes the calling Worker the helper `member`, for ever. `report` gets the text of a panic.
#[wasm_bindgen]
pub fn help(member: usize, report: Function) {
    report_panics_to(report);
    if let Some((pool, _)) = POOL.get() {
        pool.help(member);
    }
}

/// Says that a helper trapped.
#[wasm_bindgen]
pub fn helper_failed() {
    if let Some((pool, _)) = POOL.get() {
        pool.fail();
    }
}
