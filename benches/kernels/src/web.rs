//! The page's side: prints into a text, by the page's clock.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// The table of the cases that `filter` chooses.
#[wasm_bindgen]
pub fn bench_kernels(filter: &str) -> Result<String, JsValue> {
    collect(|say| crate::run(filter, &|| now(), say))
}

/// The times of a plan's operators.
#[wasm_bindgen]
pub fn profile_plan(file: &[u8]) -> Result<String, JsValue> {
    collect(|say| crate::profile(file, &|| now(), say))
}

/// What tuning a plan finds.
#[wasm_bindgen]
pub fn tune_plan(file: &[u8]) -> Result<String, JsValue> {
    collect(|say| crate::tune(file, &|| now(), say))
}

fn collect(f: impl FnOnce(&mut dyn FnMut(&str)) -> nearside::Result<()>) -> Result<String, JsValue> {
    let mut text = String::new();
    let result = f(&mut |line| {
        text.push_str(line);
        text.push('\n');
    });
    result.map(|()| text).map_err(|e| JsValue::from_str(&e.to_string()))
}
