//! Models that the runtime cannot run: they compile to tract's executor, say why in one sentence, and give the right numbers.
#![cfg(all(feature = "compiler", not(target_arch = "wasm32")))]

#[path = "support/onnx.rs"]
mod onnx;

use nearside::{
    DType, Error, TensorView,
    compile::{Compiled, Options, Report, Resident, compile},
    runtime::DimInfo,
};
use onnx::{Attribute, Onnx, Size};

fn fallback(onnx: Onnx) -> (Resident, Report) {
    match compile(&onnx.bytes(), &Options::default()).unwrap() {
        Compiled::Fallback { model, report } => (model, report),
        Compiled::Plan { .. } => panic!("the runtime runs this model"),
    }
}

/// The largest entry of each row as uint16, which no kernel of the runtime finds.
fn small_max(onnx: &mut Onnx, input: &str, output: &str) {
    onnx.node("Cast", &[input], "wide", &[("to", Attribute::Int(4))]);
    onnx.node("ReduceMax", &["wide"], "top", &[("axes", Attribute::Ints(&[1]))]);
    onnx.node("Cast", &["top"], output, &[("to", Attribute::Int(1))]);
}

fn example() -> Onnx {
    let mut onnx = Onnx::new(17);
    onnx.input("x", &[Size::Named("batch"), Size::Fixed(3)]);
    onnx.node("Abs", &["x"], "positive", &[]);
    small_max(&mut onnx, "positive", "largest");
    onnx.node("Neg", &["largest"], "y", &[]);
    onnx.output("y");
    onnx
}

#[test]
fn one_warning_names_the_operators() {
    let (model, report) = fallback(example());
    assert_eq!(report.fallback_operators, ["ReduceMax"]);
    assert_eq!(
        report.notes,
        ["This model runs on the slower reference engine, because it has operators without a fast implementation: ReduceMax."]
    );
    let reasons: Vec<&String> = report.passes.iter().flat_map(|p| &p.changes).collect();
    assert!(reasons.iter().any(|r| r.starts_with("ReduceMax 'top'")), "{reasons:?}");
    assert_eq!(model.inputs()[0].shape, [DimInfo::Symbol("batch".into()), DimInfo::Fixed(3)]);
    assert_eq!(model.outputs()[0].name, "y");
}

#[test]
fn numbers_are_right_for_any_batch() {
    let (mut model, _) = fallback(example());
    for batch in [2, 1, 3] {
        let x: Vec<f32> = [3.0f32, 1.0, 2.0, -1.0, 5.0, -4.0, 7.0, -8.0, 6.0][..batch * 3].to_vec();
        let expected: Vec<f32> = x.chunks(3).map(|row| -row.iter().fold(0f32, |top, v| top.max(v.abs()))).collect();
        let outputs = model.run(&[("x", TensorView::from_slice(&[batch, 3], &x).unwrap())]).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!((outputs[0].0.as_str(), outputs[0].1.shape()), ("y", &[batch, 1][..]));
        assert_eq!(outputs[0].1.as_slice::<f32>().unwrap(), expected);
    }
}

#[test]
fn bad_inputs_are_sentences() {
    let (mut model, _) = fallback(example());
    let data = [0f32; 6];
    let mut message = |inputs: &[(&str, TensorView<'_>)]| match model.run(inputs) {
        Err(Error::InvalidInput(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(message(&[]), "input 'x' is missing");
    let wide = TensorView::from_slice(&[1, 6], &data).unwrap();
    assert!(message(&[("x", wide)]).starts_with("input 'x' has shape [1, 6], the model expects"));
    let good = TensorView::from_slice(&[2, 3], &data).unwrap();
    assert_eq!(message(&[("x", good), ("z", good)]), "the model has no input 'z'");
    assert_eq!(
        message(&[("x", TensorView { dtype: DType::I32, ..good })]),
        "input 'x' is int32, the model expects float32; convert it before the call"
    );
}

/// A model that the graph expresses but no kernel runs: found out when it is compiled, not at its first run.
#[test]
fn a_node_without_kernel_is_found_when_compiling() {
    let mut onnx = Onnx::new(17);
    onnx.input("x", &[Size::Named("n"), Size::Fixed(4)]);
    small_max(&mut onnx, "x", "y");
    onnx.output("y");
    let (mut model, report) = fallback(onnx);
    assert_eq!(report.fallback_operators, ["ReduceMax"]);
    let reason = &report.passes[0].changes[0];
    assert!(reason.starts_with("ReduceMax 'top': ") && reason.contains("uint16"), "{reason}");
    let outputs = model.run(&[("x", TensorView::from_slice(&[1, 4], &[1f32; 4]).unwrap())]).unwrap();
    assert_eq!(outputs[0].1.as_slice::<f32>().unwrap(), [1.0]);
}

#[test]
fn what_nobody_knows_is_named() {
    let mut onnx = Onnx::new(17);
    onnx.input("x", &[Size::Fixed(4)]);
    onnx.node("Frobnicate", &["x"], "y", &[]);
    onnx.output("y");
    let error = compile(&onnx.bytes(), &Options::default()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "node 'y' uses the operator Frobnicate, which is not supported; replace it in the model, or export the model without it"
    );
}

/// A few bytes must not be able to ask for terabytes.
#[test]
fn results_beyond_the_limit_are_refused() {
    let mut onnx = Onnx::new(17);
    onnx.input("x", &[Size::Named("n"), Size::Fixed(1)]);
    small_max(&mut onnx, "x", "largest");
    onnx.ints("times", &[1 << 20, 1 << 20]);
    onnx.node("Tile", &["largest", "times"], "y", &[]);
    onnx.output("y");
    let (mut model, _) = fallback(onnx);
    let error = model.run(&[("x", TensorView::from_slice(&[1, 1], &[1f32]).unwrap())]).err().unwrap();
    assert!(matches!(error.kind(), nearside::ErrorKind::Limit), "{error}");

    let mut onnx = Onnx::new(17);
    onnx.ints("shape", &[1 << 20, 1 << 20]);
    onnx.input("x", &[Size::Fixed(1)]);
    onnx.node("ConstantOfShape", &["shape"], "zeros", &[]);
    onnx.node("Add", &["zeros", "x"], "y", &[]);
    onnx.output("y");
    let error = compile(&onnx.bytes(), &Options::default()).err().unwrap();
    assert!(matches!(error.kind(), nearside::ErrorKind::Limit), "{error}");
}
