//! Quantized models as exporters write them, messy ones among them: all become the same lean graph, and where folding would not be safe, the
//! graph stays with floats and says why.
#![cfg(all(feature = "compiler", not(target_arch = "wasm32")))]

#[path = "support/onnx.rs"]
mod onnx;

use nearside::{
    Tensor, TensorView,
    compile::{Compiled, Fallback, Options, Report, compile},
    graph::{plan::Plan, print::print},
    runtime::Session,
};
use onnx::{Attribute, Body, FLOAT, INT8, INT32, Onnx, Size, UINT8};

fn plan(onnx: &[u8]) -> (Plan, Report) {
    match compile(onnx, &Options::default()).unwrap() {
        Compiled::Plan { plan, report } => (plan, report),
        Compiled::Fallback { report, .. } => panic!("needs the fallback: {:?}", report.passes),
    }
}

fn operators(plan: &Plan) -> Vec<&'static str> {
    plan.graph.nodes.iter().map(|n| n.op.name()).collect()
}

/// Compiles, checks the operators, and compares with an execution node by node: within `tolerance`, an output's step.
fn check(onnx: Onnx, expected: &[&str], inputs: &[(&str, Tensor)], tolerance: f32) -> Report {
    let onnx = onnx.bytes();
    let (plan, report) = plan(&onnx);
    assert_eq!(operators(&plan), expected, "{}", print(&plan.graph));
    let views: Vec<(&str, TensorView<'_>)> = inputs.iter().map(|(name, t)| (*name, t.view())).collect();
    let reference = Fallback::new(&onnx, &Options::default()).unwrap().run(&views).unwrap();
    let mut session = Session::new(plan).unwrap();
    let outputs = session.run(&views).unwrap();
    for (name, tensor) in &reference {
        let got = outputs.get(name).unwrap();
        assert_eq!((got.shape, got.dtype), (tensor.shape(), tensor.dtype()), "{name}");
        if let (Ok(a), Ok(b)) = (got.as_slice::<f32>(), tensor.as_slice::<f32>()) {
            let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart <= tolerance, "{name}: {apart}\n{a:?}\n{b:?}");
        } else {
            assert_eq!(got.data, tensor.bytes(), "{name}");
        }
    }
    report
}

fn noise(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product();
    let data: Vec<f32> = (0..count).map(|i| ((i * 37 + seed * 101) % 61) as f32 / 30.0 - 1.0).collect();
    Tensor::from_slice(shape, &data).unwrap()
}

fn bytes(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|i| ((i * 53 + seed * 29) % 251) as u8).collect()
}

/// A scale and a zero point of this type.
fn quantization(m: &mut Onnx, name: &str, scale: f32, kind: onnx::DataType, zero: u8) {
    m.floats(&format!("{name}_scale"), &[], &[scale]);
    m.raw(&format!("{name}_zero"), kind, &[], &[zero]);
}

/// `DequantizeLinear(QuantizeLinear(x))`.
fn qdq(m: &mut Onnx, x: &str, y: &str, with: &str) {
    let (scale, zero) = (format!("{with}_scale"), format!("{with}_zero"));
    m.node("QuantizeLinear", &[x, &scale, &zero], &format!("{y}_q"), &[]);
    m.node("DequantizeLinear", &[&format!("{y}_q"), &scale, &zero], y, &[]);
}

/// A 3×3 convolution of 2 to 3 channels with s8 weights, per tensor or per channel.
fn weights(m: &mut Onnx, name: &str, per_channel: bool) {
    m.raw(&format!("{name}_q"), INT8, &[3, 2, 3, 3], &bytes(54, 3));
    let (scale, zero) = (format!("{name}_scale"), format!("{name}_zero"));
    if per_channel {
        m.floats(&scale, &[3], &[0.01, 0.02, 0.015]);
        m.raw(&zero, INT8, &[3], &[0; 3]);
    } else {
        m.floats(&scale, &[], &[0.01]);
        m.raw(&zero, INT8, &[], &[0]);
    }
    m.node("DequantizeLinear", &[&format!("{name}_q"), &scale, &zero], name, &[("axis", Attribute::Int(0))]);
}

fn image(m: &mut Onnx) {
    m.input("x", &[Size::Named("batch"), Size::Fixed(2), Size::Fixed(6), Size::Fixed(6)]);
}

/// Symmetric and not, of either sign, weights per tensor and per channel: one integer convolution between two conversions.
#[test]
fn activations_of_either_sign_become_integers() {
    for (kind, zero) in [(UINT8, 128), (UINT8, 3), (INT8, 0), (INT8, 250)] {
        for per_channel in [false, true] {
            let mut m = Onnx::new(13);
            image(&mut m);
            quantization(&mut m, "in", 0.02, kind, zero);
            quantization(&mut m, "out", 0.05, kind, zero);
            qdq(&mut m, "x", "dx", "in");
            weights(&mut m, "w", per_channel);
            // The bias is stored as i32, in units of both scales.
            m.raw("b_q", INT32, &[3], &[100i32, -50, 7].map(i32::to_le_bytes).concat());
            let scales: Vec<f32> = if per_channel { vec![0.0002, 0.0004, 0.0003] } else { vec![0.0002; 3] };
            m.floats("b_scale", &[3], &scales);
            m.node("DequantizeLinear", &["b_q", "b_scale"], "b", &[("axis", Attribute::Int(0))]);
            m.node("Conv", &["dx", "w", "b"], "c", &[("pads", Attribute::Ints(&[1, 1, 1, 1]))]);
            m.node("Relu", &["c"], "r", &[]);
            qdq(&mut m, "r", "y", "out");
            m.output("y");
            let expected = ["Quantize", "Transpose", "Conv", "Dequantize", "Transpose"];
            check(m, &expected, &[("x", noise(&[2, 2, 6, 6], 1))], 0.0501);
        }
    }
}

/// A batch that the graph leaves open, and an empty one.
#[test]
fn batches_of_any_size() {
    let mut m = Onnx::new(13);
    m.input("x", &[Size::Named("batch"), Size::Fixed(4)]);
    quantization(&mut m, "in", 0.02, UINT8, 128);
    qdq(&mut m, "x", "dx", "in");
    m.raw("w_q", INT8, &[4, 3], &bytes(12, 1));
    quantization(&mut m, "w", 0.01, INT8, 0);
    m.node("DequantizeLinear", &["w_q", "w_scale", "w_zero"], "w", &[]);
    m.node("MatMul", &["dx", "w"], "y", &[]);
    m.output("y");
    let (plan, _) = plan(&m.bytes());
    let mut session = Session::new(plan).unwrap();
    let rows = noise(&[5, 4], 1);
    let all = session.run(&[("x", rows.view())]).unwrap().get("y").unwrap().to_tensor();
    for row in 0..5 {
        let one = Tensor::from_slice(&[1, 4], &rows.as_slice::<f32>().unwrap()[row * 4..][..4]).unwrap();
        let alone = session.run(&[("x", one.view())]).unwrap().get("y").unwrap().to_tensor();
        assert_eq!(alone.as_slice::<f32>().unwrap(), &all.as_slice::<f32>().unwrap()[row * 3..][..3]);
    }
    let none = Tensor::from_slice::<f32>(&[0, 4], &[]).unwrap();
    assert_eq!(session.run(&[("x", none.view())]).unwrap().get("y").unwrap().shape, [0, 3]);
}

/// One dequantized activation for two convolutions, whose sum is quantized.
#[test]
fn a_dequantized_value_may_have_several_readers() {
    let mut m = Onnx::new(13);
    image(&mut m);
    for (name, scale) in [("in", 0.02), ("mid", 0.05), ("out", 0.08)] {
        quantization(&mut m, name, scale, UINT8, 128);
    }
    qdq(&mut m, "x", "dx", "in");
    weights(&mut m, "w", false);
    for (c, q) in [("c1", "d1"), ("c2", "d2")] {
        m.node("Conv", &["dx", "w"], c, &[]);
        qdq(&mut m, c, q, "mid");
    }
    m.node("Sigmoid", &["d1"], "s", &[]);
    qdq(&mut m, "s", "ds", "mid");
    m.node("Add", &["ds", "d2"], "sum", &[]);
    qdq(&mut m, "sum", "y", "out");
    m.output("y");
    let onnx = m.bytes();
    let (plan, _) = plan(&onnx);
    let list = operators(&plan);
    assert_eq!(list.iter().filter(|op| **op == "Dequantize").count(), 1, "{list:?}");
    assert!(!list.contains(&"Sigmoid") && list.contains(&"Table"), "{list:?}");
}

/// An output that stays quantized, and an input that is.
#[test]
fn ends_may_be_quantized() {
    let mut m = Onnx::new(13);
    image(&mut m);
    quantization(&mut m, "in", 0.02, UINT8, 120);
    quantization(&mut m, "out", 0.05, UINT8, 128);
    qdq(&mut m, "x", "dx", "in");
    weights(&mut m, "w", true);
    m.node("Conv", &["dx", "w"], "c", &[]);
    m.node("QuantizeLinear", &["c", "out_scale", "out_zero"], "y", &[]);
    m.output_of("y", UINT8);
    check(m, &["Quantize", "Transpose", "Conv", "Transpose"], &[("x", noise(&[1, 2, 6, 6], 1))], 0.0);

    let mut m = Onnx::new(13);
    m.input_of("x", UINT8, &[Size::Fixed(2), Size::Fixed(4)]);
    quantization(&mut m, "in", 0.02, UINT8, 120);
    m.node("DequantizeLinear", &["x", "in_scale", "in_zero"], "dx", &[]);
    m.raw("w_q", INT8, &[4, 3], &bytes(12, 1));
    quantization(&mut m, "w", 0.01, INT8, 0);
    m.node("DequantizeLinear", &["w_q", "w_scale", "w_zero"], "w", &[]);
    m.node("MatMul", &["dx", "w"], "y", &[]);
    m.output("y");
    let x = Tensor::from_slice(&[2, 4], &bytes(8, 5)).unwrap();
    check(m, &["Reinterpret", "MatMul"], &[("x", x)], 1e-4);
}

/// Scales or zero points that are computed leave floats, and the report says where.
#[test]
fn a_computed_scale_keeps_floats() {
    for computed in ["scale", "zero"] {
        let mut m = Onnx::new(13);
        image(&mut m);
        quantization(&mut m, "in", 0.02, UINT8, 120);
        let zero_kind = if computed == "scale" {
            m.input("given", &[]);
            FLOAT
        } else {
            m.input_of("given", UINT8, &[]);
            UINT8
        };
        let (scale, zero) = if computed == "scale" { ("given", "in_zero") } else { ("in_scale", "given") };
        m.node("QuantizeLinear", &["x", scale, zero], "q", &[]);
        m.node("DequantizeLinear", &["q", scale, zero], "dx", &[]);
        weights(&mut m, "w", false);
        m.node("Conv", &["dx", "w"], "y", &[]);
        m.output("y");
        let onnx = m.bytes();
        let (plan, report) = plan(&onnx);
        let conv = plan.graph.nodes.iter().find(|n| n.op.name() == "Conv").unwrap();
        assert!(plan.graph.value(conv.inputs[0]).ty.quant.is_none());
        let given = if zero_kind == FLOAT { Tensor::scalar(0.02f32) } else { Tensor::scalar(120u8) };
        let x = noise(&[1, 2, 6, 6], 1);
        let inputs = [("x", x.view()), ("given", given.view())];
        let reference = Fallback::new(&onnx, &Options::default()).unwrap().run(&inputs).unwrap();
        let mut session = Session::new(plan).unwrap();
        let outputs = session.run(&inputs).unwrap();
        let (got, expected) = (outputs.get("y").unwrap(), reference[0].1.view());
        for (a, b) in got.as_slice::<f32>().unwrap().iter().zip(expected.as_slice::<f32>().unwrap()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        let sentences: Vec<&String> = report.passes.iter().flat_map(|p| &p.changes).collect();
        assert!(sentences.iter().any(|s| s.starts_with("Conv 'y' stays float")), "{computed}: {sentences:#?}");
    }
}

/// The same convolution with all that published files have around it.
#[test]
fn messy_files_end_in_the_same_graph() {
    let mut m = Onnx::new(13);
    image(&mut m);
    quantization(&mut m, "in", 0.02, UINT8, 120);
    quantization(&mut m, "out", 0.05, UINT8, 128);
    // Constants that are inputs, too, and constants that come out of nodes.
    m.input_of("in_scale", FLOAT, &[]);
    m.input_of("w_q", INT8, &[Size::Fixed(3), Size::Fixed(2), Size::Fixed(3), Size::Fixed(3)]);
    let mut x = "x".to_string();
    for i in 0..20 {
        let (same, cast) = (format!("same{i}"), format!("cast{i}"));
        m.node("Identity", &[&x], &same, &[]);
        m.node("Cast", &[&same], &cast, &[("to", Attribute::Int(1))]);
        x = cast;
    }
    qdq(&mut m, &x, "dx", "in");
    weights(&mut m, "w", true);
    m.node("Identity", &["w"], "w_same", &[]);
    m.node("Conv", &["dx", "w_same"], "c", &[]);
    m.node("Identity", &["c"], "c_same", &[]);
    qdq(&mut m, "c_same", "dy", "out");
    m.node("Dropout", &["dy"], "y", &[]);
    m.output("y");
    let expected = ["Quantize", "Transpose", "Conv", "Dequantize", "Transpose"];
    check(m, &expected, &[("x", noise(&[1, 2, 6, 6], 1))], 0.0501);
}

/// Operators around which quantizers put pairs: none of them leaves the integers.
#[test]
fn pairs_around_other_operators() {
    let mut m = Onnx::new(13);
    image(&mut m);
    quantization(&mut m, "in", 0.02, UINT8, 120);
    quantization(&mut m, "out", 0.05, UINT8, 128);
    quantization(&mut m, "prob", 1.0 / 256.0, UINT8, 0);
    qdq(&mut m, "x", "dx", "in");
    weights(&mut m, "w", true);
    m.node("Conv", &["dx", "w"], "c", &[("pads", Attribute::Ints(&[1, 1, 1, 1]))]);
    qdq(&mut m, "c", "dc", "out");
    m.node("MaxPool", &["dc"], "p", &[("kernel_shape", Attribute::Ints(&[2, 2])), ("strides", Attribute::Ints(&[2, 2]))]);
    qdq(&mut m, "p", "dp", "out");
    m.node("AveragePool", &["dc"], "a", &[("kernel_shape", Attribute::Ints(&[2, 2])), ("strides", Attribute::Ints(&[2, 2]))]);
    qdq(&mut m, "a", "da", "out");
    m.node("Concat", &["dp", "da"], "cat", &[("axis", Attribute::Int(1))]);
    qdq(&mut m, "cat", "dcat", "out");
    m.floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let nearest = [
        ("mode", Attribute::Text("nearest")),
        ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
        ("nearest_mode", Attribute::Text("floor")),
    ];
    m.node("Resize", &["dcat", "", "scales"], "big", &nearest);
    qdq(&mut m, "big", "dbig", "out");
    m.node("Softmax", &["dbig"], "soft", &[("axis", Attribute::Int(1))]);
    qdq(&mut m, "soft", "y", "prob");
    m.output("y");
    let onnx = m.bytes();
    let (plan, _) = plan(&onnx);
    let list = operators(&plan);
    assert_eq!(list.iter().filter(|op| matches!(**op, "Quantize" | "Dequantize")).count(), 2, "{list:?}");
}

/// Models of operator set 7, where attributes say what operands say now.
#[test]
fn operator_set_7() {
    let mut m = Onnx::new(7);
    image(&mut m);
    m.floats("w", &[3, 2, 3, 3], noise(&[54], 2).as_slice().unwrap());
    for (name, value) in [("scale", 1.5), ("bias", 0.1), ("mean", 0.2), ("var", 0.9)] {
        m.floats(name, &[3], &[value; 3]);
    }
    m.node("Conv", &["x", "w"], "c", &[]);
    m.node("BatchNormalization", &["c", "scale", "bias", "mean", "var"], "n", &[("epsilon", Attribute::Float(1e-5))]);
    m.node("Relu", &["n"], "r", &[]);
    m.node(
        "Upsample",
        &["r"],
        "u",
        &[("scales", Attribute::Floats(&[1.0, 1.0, 2.0, 2.0])), ("mode", Attribute::Text("nearest"))],
    );
    m.node("Dropout", &["u"], "d", &[("ratio", Attribute::Float(0.5))]);
    m.node("Clip", &["d"], "y", &[("min", Attribute::Float(0.0)), ("max", Attribute::Float(1.0))]);
    m.output("y");
    let (plan, _) = plan(&m.bytes());
    let list = operators(&plan);
    assert_eq!(list.iter().filter(|op| **op == "Conv").count(), 1);
    // Relu is a part of the convolution; what clips stands behind Upsample.
    assert!(!list.contains(&"Mul") && list.iter().filter(|op| **op == "Clamp").count() == 1, "{list:?}");
    Session::new(plan).unwrap().run(&[("x", noise(&[1, 2, 6, 6], 1).view())]).unwrap();
}

/// A recurrent network inside a branch that a constant chooses is that network.
#[test]
fn a_network_inside_a_branch() {
    let branch = |op: &str| {
        let mut body = Body::new(&[]);
        body.node(op, &["x", "w", "r"], &["all", "last"], &[("hidden_size", Attribute::Int(2))]);
        body.outputs(&["last"]);
        body
    };
    let mut m = Onnx::new(13);
    m.input("x", &[Size::Named("steps"), Size::Fixed(1), Size::Fixed(3)]);
    m.floats("w", &[1, 8, 3], noise(&[24], 2).as_slice().unwrap());
    m.floats("r", &[1, 8, 2], noise(&[16], 3).as_slice().unwrap());
    m.flag("yes", true);
    m.body("If", &["yes"], &["y"], &[("then_branch", branch("LSTM")), ("else_branch", branch("GRU"))], &[]);
    m.output("y");
    let (plan, _) = plan(&m.bytes());
    assert!(operators(&plan).contains(&"Lstm"), "{:?}", operators(&plan));
    let mut session = Session::new(plan).unwrap();
    for steps in [1, 4] {
        let y = session.run(&[("x", noise(&[steps, 1, 3], 1).view())]).unwrap();
        assert_eq!(y.get("y").unwrap().shape, [1, 1, 2]);
    }
}
