//! The runtime against tract's executor, on random graphs of float operators and on the float models among the test models.
//!
//! Both compute in f32 and differ in the order of sums only, so results agree within 1e-4 of the largest magnitude.
#![cfg(all(feature = "compiler", not(target_arch = "wasm32")))]

#[path = "support/graphs.rs"]
mod graphs;
#[path = "support/onnx.rs"]
mod onnx;
mod support;

use nearside::{
    Tensor, TensorView,
    compile::{Compiled, Fallback, Options, compile},
    runtime::Session,
};
use proptest::{prelude::*, test_runner::RngSeed};
use support::{Model, difference, floats};

const TOLERANCE: f32 = 1e-4;
/// Deep networks whose activations grow from layer to layer.
const DEEP: [&str; 3] = ["arch/yolo_n_640", "real/style_candy_224", "real/ppocr_v2_det"];

/// Runs the same bytes on both; a sentence if they disagree.
fn compare(onnx: &[u8], runs: &[Vec<(String, Tensor)>], tolerance: f32) -> Result<f32, String> {
    let mut session = match compile(onnx, &Options::default()).map_err(|e| format!("cannot be compiled: {e}"))? {
        Compiled::Plan { plan, .. } => Session::new(plan).map_err(|e| format!("cannot be prepared: {e}"))?,
        Compiled::Fallback { report, .. } => return Err(format!("needs the fallback: {:?}", report.passes)),
    };
    let mut reference = Fallback::new(onnx, &Options::default()).map_err(|e| format!("tract cannot load it: {e}"))?;
    let mut worst = 0f32;
    for inputs in runs {
        let views: Vec<(&str, TensorView<'_>)> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
        let expected = reference.run(&views).map_err(|e| format!("tract cannot run it: {e}"))?;
        let outputs = session.run(&views).map_err(|e| format!("cannot run: {e}"))?;
        for (name, tensor) in &expected {
            let Some(got) = outputs.get(name) else { return Err(format!("output '{name}' is missing")) };
            if got.shape != tensor.shape() || got.dtype != tensor.dtype() {
                return Err(format!("output '{name}' is {}, tract's is {}", got.describe(), tensor.view().describe()));
            }
            let (apart, largest) = difference(&floats(&got, 1), &floats(&tensor.view(), 1));
            if apart > tolerance * largest.max(1e-6) {
                return Err(format!("output '{name}' differs by {apart} where the largest number is {largest}"));
            }
            worst = worst.max(apart / largest.max(1e-6));
        }
    }
    Ok(worst)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_agree_with_tract(recipe in graphs::recipe()) {
        let built = graphs::build(&recipe);
        match compare(&built.onnx, &built.runs, TOLERANCE) {
            // tract has its own gaps.
            Err(e) if !e.starts_with("tract cannot") => prop_assert!(false, "{e}\n{}", built.listing.join("\n")),
            _ => {}
        }
    }
}

#[test]
fn float_models_agree_with_tract() {
    let Some(assets) = support::folder() else { return };
    let mut failures = Vec::new();
    for name in Model::all(&assets) {
        let model = Model::open(&assets, &name);
        if !model.variants().contains(&"f32".to_string()) {
            continue;
        }
        let onnx = model.onnx("f32");
        let runs: Vec<_> = model.cases("f32").into_iter().take(2).map(|c| c.inputs).collect();
        match compare(&onnx, &runs, if DEEP.contains(&name.as_str()) { 10.0 * TOLERANCE } else { TOLERANCE }) {
            Ok(worst) => println!("{name}: {worst:.1e}"),
            // What one of the two cannot run cannot be compared.
            Err(e) if e.starts_with("output") || e.starts_with("cannot run") => failures.push(format!("{name}: {e}")),
            Err(e) => println!("{name}: not compared; it {e}"),
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
