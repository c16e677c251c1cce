//! Operators of ONNX that become several of the graph, from their bytes to their numbers, on the light runtime.
#![cfg(all(feature = "compiler", not(target_arch = "wasm32")))]

#[path = "support/onnx.rs"]
mod onnx;

use nearside::{
    Tensor,
    compile::{Compiled, Options, compile},
    graph::plan,
    runtime::Session,
    tensor::AlignedBytes,
};
use onnx::{Attribute, Onnx, Size, model};

/// The first output of a model with the float input `x`, by way of a plan file.
fn run(onnx: &[u8], x: &Tensor) -> Result<Vec<f32>, String> {
    let plan = match compile(onnx, &Options::default()).map_err(|e| e.to_string())? {
        Compiled::Plan { plan, .. } => plan,
        Compiled::Fallback { report, .. } => return Err(format!("needs the fallback: {:?}", report.passes)),
    };
    let file = plan::write(&plan).unwrap();
    let mut session = Session::new(plan::read(AlignedBytes::copy_of(&file)).unwrap()).unwrap();
    let outputs = session.run(&[("x", x.view())]).map_err(|e| e.to_string())?;
    Ok(outputs.iter().next().unwrap().1.as_slice::<f32>().unwrap().to_vec())
}

/// A model with the float input `x` of these sizes and the output `y`.
fn with_input(opset: i64, shape: &[i64], build: impl FnOnce(&mut Onnx)) -> Vec<u8> {
    let mut onnx = Onnx::new(opset);
    onnx.input("x", &shape.iter().map(|&d| Size::Fixed(d)).collect::<Vec<_>>());
    build(&mut onnx);
    onnx.output("y");
    onnx.bytes()
}

fn floats(shape: &[usize], data: &[f32]) -> Tensor {
    Tensor::from_slice(shape, data).unwrap()
}

#[test]
fn scatters() {
    let x = floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let onnx = with_input(18, &[2, 2], |m| {
        m.ints("at", &[-1]);
        m.ints("shape", &[1, 1]);
        m.node("Reshape", &["at", "shape"], "tuple", &[]);
        m.floats("rows", &[1, 2], &[10.0, 20.0]);
        m.node("ScatterND", &["x", "tuple", "rows"], "y", &[("reduction", Attribute::Text("add"))]);
    });
    assert_eq!(run(&onnx, &x).unwrap(), [1.0, 2.0, 13.0, 24.0]);
    let onnx = with_input(18, &[2, 2], |m| {
        m.ints("at", &[1, -2]);
        m.ints("shape", &[2, 1]);
        m.node("Reshape", &["at", "shape"], "columns", &[]);
        m.floats("values", &[2, 1], &[7.0, 8.0]);
        m.node("ScatterElements", &["x", "columns", "values"], "y", &[("axis", Attribute::Int(1))]);
    });
    assert_eq!(run(&onnx, &x).unwrap(), [1.0, 7.0, 8.0, 4.0]);
    // A row that is not there is an error of the run, not a number from elsewhere.
    let onnx = with_input(18, &[2, 2], |m| {
        m.ints("at", &[5]);
        m.ints("shape", &[1, 1]);
        m.node("Reshape", &["at", "shape"], "tuple", &[]);
        m.floats("rows", &[1, 2], &[10.0, 20.0]);
        m.node("ScatterND", &["x", "tuple", "rows"], "y", &[]);
    });
    assert!(run(&onnx, &x).unwrap_err().contains("index 5 is out of range"));
}

#[test]
fn running_sums() {
    let x = floats(&[2, 3], &[3.0, 1.0, 2.0, 4.0, 6.0, 5.0]);
    let onnx = with_input(14, &[2, 3], |m| {
        m.ints("one", &[1]);
        m.ints("scalar", &[]);
        m.node("Reshape", &["one", "scalar"], "axis", &[]);
        m.node("CumSum", &["x", "axis"], "y", &[("reverse", Attribute::Int(1)), ("exclusive", Attribute::Int(1))]);
    });
    assert_eq!(run(&onnx, &x).unwrap(), [3.0, 2.0, 0.0, 11.0, 5.0, 0.0]);
}

#[test]
fn einstein_sums_of_any_batch() {
    let mut m = Onnx::new(13);
    m.input("x", &[Size::Named("batch"), Size::Fixed(2), Size::Fixed(2)]);
    m.floats("w", &[2, 3], &[1.0, 0.0, 2.0, 0.0, 1.0, 3.0]);
    m.node("Einsum", &["x", "w"], "y", &[("equation", Attribute::Text("b i j, j k -> k b i"))]);
    m.output("y");
    let x = floats(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(run(&m.bytes(), &x).unwrap(), [1.0, 3.0, 2.0, 4.0, 8.0, 18.0]);
    let onnx = with_input(13, &[2, 2], |m| m.node("Einsum", &["x"], "y", &[("equation", Attribute::Text("ii"))]));
    assert_eq!(run(&onnx, &floats(&[2, 2], &[1.0, f32::NAN, 3.0, 4.0])).unwrap(), [5.0]);
}

#[test]
fn volumes() {
    let x: Vec<f32> = (0..8).map(|v| v as f32).collect();
    let x = floats(&[1, 1, 2, 2, 2], &x);
    let cube = ("kernel_shape", Attribute::Ints(&[2, 2, 2]));
    let onnx = with_input(13, &[1, 1, 2, 2, 2], |m| m.node("AveragePool", &["x"], "y", &[cube]));
    assert_eq!(run(&onnx, &x).unwrap(), [3.5]);
    let onnx = with_input(13, &[1, 1, 2, 2, 2], |m| {
        m.floats("w", &[1, 1, 2, 1, 1], &[1.0, 10.0]);
        m.node("Conv", &["x", "w"], "y", &[("pads", Attribute::Ints(&[1, 0, 0, 0, 0, 0]))]);
    });
    assert_eq!(run(&onnx, &x).unwrap(), [0.0, 10.0, 20.0, 30.0, 40.0, 51.0, 62.0, 73.0]);
}

#[test]
fn attention_with_nothing_to_attend_to() {
    let onnx = with_input(24, &[1, 1, 2, 1], |m| {
        m.floats("mask", &[2, 2], &[0.0, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY]);
        m.node("Attention", &["x", "x", "x", "mask"], "y", &[]);
    });
    assert_eq!(run(&onnx, &floats(&[1, 1, 2, 1], &[0.0, 4.0])).unwrap(), [2.0, 0.0]);
    let onnx = with_input(24, &[1, 2, 2], |m| m.node("Attention", &["x", "x", "x"], "y", &[]));
    assert!(run(&onnx, &floats(&[1, 2, 2], &[0.0; 4])).unwrap_err().contains("q_num_heads"));
}

#[test]
fn double_precision_is_noted() {
    use tract_onnx::pb::tensor_proto::DataType::Double;
    let onnx = model(&[("x", Double, &[2])], &[("Exp", &["x"], &["e"]), ("Add", &["e", "x"], &["y"])], &[("y", Double, &[2])]);
    let Compiled::Plan { plan, report } = compile(&onnx, &Options::default()).unwrap() else { panic!("needs the fallback") };
    assert_eq!(
        report.notes,
        ["These operators of the model compute float64 numbers in float32, with 7 digits instead of 15: Exp."]
    );
    let x = Tensor::from_slice(&[2], &[0f64, 1.0]).unwrap();
    let mut session = Session::new(plan).unwrap();
    let outputs = session.run(&[("x", x.view())]).unwrap();
    let y = outputs.iter().next().unwrap().1.as_slice::<f64>().unwrap().to_vec();
    assert!((y[0] - 1.0).abs() < 1e-6 && (y[1] - 1f64.exp() - 1.0).abs() < 1e-6);
}
