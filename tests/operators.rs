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
use onnx::{Attribute, INT32, Onnx, Size, UINT8, model};

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

/// Operators that onnxruntime adds, with the numbers that it gives.
#[test]
fn operators_of_onnxruntime() {
    let x = floats(&[1, 2, 4], &[0.5, -1.0, 2.0, 0.25, 1.5, 0.0, -0.5, 1.0]);
    let single = |op: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)], constants: &[(&str, &[usize], &[f32])]| {
        let onnx = with_input(17, &[1, 2, 4], |m| {
            constants.iter().for_each(|(name, shape, data)| m.floats(name, shape, data));
            m.node(&format!("com.microsoft::{op}"), inputs, "y", attributes);
        });
        run(&onnx, &x).unwrap()
    };
    let (b, ones) = (&[1.0f32, 2.0, 3.0, 4.0][..], &[1.0f32; 4][..]);
    let close =
        |a: Vec<f32>, b: &[f32]| assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5) && a.len() == b.len(), "{a:?}");
    let sum = single("BiasAdd", &["x", "b", "x"], &[], &[("b", &[4], b)]);
    close(sum, &[2.0, 0.0, 7.0, 4.5, 4.0, 2.0, 2.0, 6.0]);
    let gelu = |v: f32| f64::from(v) * 0.5 * (1.0 + libm_erf(f64::from(v) / core::f64::consts::SQRT_2));
    let split = single("BiasSplitGelu", &["x", "b"], &[], &[("b", &[4], &[0.0; 4])]);
    close(split, &[0.5 * gelu(2.0) as f32, -gelu(0.25) as f32, 1.5 * gelu(-0.5) as f32, 0.0]);
    // The root mean square of 2·x.
    let rms = single("SkipSimplifiedLayerNormalization", &["x", "x", "ones"], &[], &[("ones", &[4], ones)]);
    let norm = |row: &[f32]| (row.iter().map(|v| 4.0 * v * v).sum::<f32>() / 4.0).sqrt();
    let rows = x.as_slice::<f32>().unwrap().chunks(4);
    close(rms, &rows.flat_map(|row| row.iter().map(|v| 2.0 * v / norm(row)).collect::<Vec<f32>>()).collect::<Vec<f32>>());
    let onnx = with_input(17, &[1, 4, 2], |m| {
        m.floats("s", &[2], &[2.0, 0.5]);
        m.floats("z", &[2], &[0.0, 1.0]);
        m.floats("one", &[2], &[1.0, 1.0]);
        let inputs = ["x", "s", "z", "z", "one"];
        m.node("com.ms.internal.nhwc::BatchNormalization", &inputs, "y", &[("epsilon", Attribute::Float(0.0))]);
    });
    let y = run(&onnx, &floats(&[1, 4, 2], x.as_slice().unwrap())).unwrap();
    close(y, &[1.0, 0.0, 4.0, 0.625, 3.0, 0.5, -1.0, 1.0]);
}

/// The error function, to 1e-7 (Abramowitz and Stegun 7.1.26).
fn libm_erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let poly = t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    (1.0 - poly * (-x * x).exp()).copysign(x)
}

/// Tables and weights of few bits: packed bytes, zero points, and groups that are not in order.
#[test]
fn weights_of_few_bits() {
    let onnx = with_input(17, &[1, 16], |m| {
        m.raw("w", UINT8, &[1, 1, 16], &(0..16).map(|i| 128 + i).collect::<Vec<u8>>());
        m.floats("s", &[1, 1], &[0.5]);
        let attributes = [
            ("N", Attribute::Int(1)),
            ("K", Attribute::Int(16)),
            ("bits", Attribute::Int(8)),
            ("block_size", Attribute::Int(16)),
        ];
        m.node("com.microsoft::MatMulNBits", &["x", "w", "s"], "y", &attributes);
    });
    let x = floats(&[1, 16], &(0..16).map(|i| i as f32).collect::<Vec<f32>>());
    assert_eq!(run(&onnx, &x).unwrap(), [0.5 * (0..16).map(|i| (i * i) as f32).sum::<f32>()]);
    let onnx = with_input(17, &[1, 32], |m| {
        m.raw("w", UINT8, &[1, 2, 8], &[0x99; 16]);
        m.floats("s", &[1, 2], &[1.0, 10.0]);
        // Even rows have the first scale, odd ones the second.
        m.raw("groups", INT32, &[32], &(0..32).flat_map(|i| (i % 2i32).to_le_bytes()).collect::<Vec<u8>>());
        let attributes = [("N", Attribute::Int(1)), ("K", Attribute::Int(32)), ("block_size", Attribute::Int(16))];
        m.node("com.microsoft::MatMulNBits", &["x", "w", "s", "", "groups"], "y", &attributes);
    });
    assert_eq!(run(&onnx, &floats(&[1, 32], &[1.0; 32])).unwrap(), [16.0 + 160.0]);
    // Row 1 of a table of two numbers a byte; the zero points of its two blocks are 1 and 2.
    let onnx = with_input(17, &[1], |m| {
        m.raw("table", UINT8, &[2, 16], &(0..32).map(|i| if i < 16 { 0 } else { 0x32 }).collect::<Vec<u8>>());
        m.floats("s", &[2, 2], &[9.0, 9.0, 1.0, 10.0]);
        m.raw("z", UINT8, &[2, 1], &[0, 0x21]);
        m.node("Cast", &["x"], "at", &[("to", Attribute::Int(7))]);
        let attributes = [("block_size", Attribute::Int(16)), ("quantize_axis", Attribute::Int(1)), ("bits", Attribute::Int(4))];
        m.node("com.microsoft::GatherBlockQuantized", &["table", "at", "s", "z"], "y", &attributes);
    });
    let y = run(&onnx, &floats(&[1], &[-1.0])).unwrap();
    assert_eq!((y.len(), &y[..4], &y[16..20]), (32, &[1.0, 2.0, 1.0, 2.0][..], &[0.0, 10.0, 0.0, 10.0][..]));
}

/// A reflection goes on at the far end; a pool with gaps pads for a window without them, as onnxruntime does.
#[test]
fn pads_beyond_the_size() {
    let onnx = with_input(10, &[3], |m| {
        m.node("Pad", &["x"], "y", &[("mode", Attribute::Text("reflect")), ("pads", Attribute::Ints(&[5, 4]))]);
    });
    let y = run(&onnx, &floats(&[3], &[1.0, 2.0, 3.0])).unwrap();
    assert_eq!(y, [2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0]);
    let onnx = with_input(13, &[1, 1, 1, 6], |m| {
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[1, 3])),
            ("dilations", Attribute::Ints(&[1, 2])),
            ("auto_pad", Attribute::Text("SAME_LOWER")),
        ];
        m.node("MaxPool", &["x"], "y", &attributes);
    });
    assert_eq!(run(&onnx, &floats(&[1, 1, 1, 6], &[6.0, 5.0, 4.0, 3.0, 2.0, 1.0])).unwrap(), [5.0, 6.0, 5.0, 4.0]);
}
