//! Models from ONNX bytes to outputs, against reference outputs.
#![cfg(feature = "compiler")]

mod support;

use nearside::{
    compile::{Compiled, Options, compile},
    runtime::Session,
};
use support::{Case, Model, difference, floats, top};

/// Models that must compile to a plan, in every variant but the named ones.
const REQUIRED: &[(&str, &[&str])] = &[
    ("arch/bert_l6_h384_random", &[]),
    ("arch/mlp_tabular", &[]),
    ("arch/mobilenet_v2_224", &[]),
    ("arch/mobilenet_v3_small_224", &[]),
    ("arch/resnet50_224", &[]),
    ("arch/squeezenet1_1_224", &[]),
    ("arch/tiny_gpt_kvcache_random", &[]),
    ("arch/yolo_n_640", &[]),
    ("real/all_minilm_l6_v2", &[]),
    ("real/dtln_2", &[]),
    ("real/magika_v3_3", &[]),
    ("real/mnist_cntk", &[]),
    ("real/mobilenet_v2_imagenet", &[]),
    ("real/ppocr_v2_det", &[]),
    ("real/squeezenet_imagenet", &[]),
    ("real/style_candy_224", &[]),
    ("real/ultraface_rfb_320", &[]),
];

const CLASSIFIERS: &[&str] = &["real/mnist_cntk", "real/mobilenet_v2_imagenet", "real/squeezenet_imagenet"];

/// Errors of one case, as sentences.
fn check(session: &mut Session, model: &str, variant: &str, case: &Case) -> Result<String, String> {
    let outputs = session.run(&case.views()).map_err(|e| e.to_string())?;
    let mut summary = String::new();
    for expected in &case.expected {
        let Some(view) = outputs.get(&expected.name) else { return Err(format!("output '{}' is missing", expected.name)) };
        if view.shape != expected.shape {
            return Err(format!("output '{}' is {:?} instead of {:?}", expected.name, view.shape, expected.shape));
        }
        let (got, reference) = (floats(&view, expected.stride), floats(&expected.tensor.view(), 1));
        let (worst, largest) = difference(&got, &reference);
        let tolerance = if matches!(variant, "f32" | "orig") {
            1e-4 * largest
        } else {
            (2.0 * expected.natural_difference).max(0.02 * largest)
        };
        summary += &format!(" {worst:.2e}/{tolerance:.2e}");
        if worst > tolerance {
            return Err(format!("output '{}' differs by {worst}, allowed is {tolerance}", expected.name));
        }
        if CLASSIFIERS.contains(&model) {
            let classes = *view.shape.last().unwrap_or(&1);
            let same = got.chunks(classes).zip(reference.chunks(classes)).all(|(a, b)| top(a) == top(b));
            if !same {
                return Err(format!("output '{}' has another top-1 class", expected.name));
            }
        }
    }
    Ok(summary)
}

fn run_variant(model: &Model, name: &str, variant: &str) -> Result<String, String> {
    let compiled = compile(&model.onnx(variant), &Options::default()).map_err(|e| e.to_string())?;
    let mut session = match compiled {
        Compiled::Plan { plan, .. } => Session::new(plan).map_err(|e| e.to_string())?,
        Compiled::Fallback { report, .. } => return Err(format!("needs the fallback: {:?}", report.passes)),
    };
    let mut summary = String::new();
    for mut case in model.cases(variant) {
        case.fit(session.inputs());
        summary += &check(&mut session, name, variant, &case).map_err(|e| format!("{}: {e}", case.id))?;
    }
    Ok(summary)
}

#[test]
fn required_models_match_their_references() {
    let Some(assets) = support::folder() else { return };
    let mut failures = Vec::new();
    for (name, skipped) in REQUIRED {
        let model = Model::open(&assets, name);
        for variant in model.variants().iter().filter(|v| !skipped.contains(&v.as_str())) {
            match run_variant(&model, name, variant) {
                Ok(summary) => println!("{name} {variant}:{summary}"),
                Err(e) => failures.push(format!("{name} {variant}: {e}")),
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Prints what becomes of every model there is: `cargo test … -- --ignored --nocapture`.
#[test]
#[ignore = "a survey, not a test"]
fn survey_of_all_models() {
    let Some(assets) = support::folder() else { return };
    for name in Model::all(&assets) {
        let model = Model::open(&assets, &name);
        for variant in model.variants() {
            match run_variant(&model, &name, &variant) {
                Ok(summary) => println!("ok   {name} {variant}:{summary}"),
                Err(e) => println!("FAIL {name} {variant}: {e}"),
            }
        }
    }
}
