use super::*;
use crate::{
    graph::{
        Dim, Quant, ValueType,
        ops::{Activation, Conv, MatMul, Unary, Window},
        plan::{Meta, Plan},
    },
    runtime::Session,
    tensor::{DType, Tensor, TensorView},
};

fn bytes_type(shape: &[usize], quant: (f32, i32)) -> ValueType {
    let shape = shape.iter().map(|&d| Dim::fixed(d)).collect();
    ValueType { dtype: DType::U8, shape, quant: Some(Quant::per_tensor(quant.0, quant.1)) }
}

fn weight(graph: &mut Graph, shape: &[usize]) -> ValueId {
    let count = shape.iter().product::<usize>();
    let bytes: Vec<i8> = (0..count).map(|i| (i * 89 % 255) as u8 as i8).collect();
    graph.add_quantized_const("w", &Tensor::from_slice(shape, &bytes).unwrap(), Some(Quant::per_tensor(0.01, 0)))
}

/// A product, then a clamp to another scale; `steps` is how many the runtime makes of the two.
fn run(depthwise: bool, matrix: bool, also_output: bool) -> (Vec<u8>, usize) {
    let mut graph = Graph::default();
    let (x_shape, y_shape) = if matrix { (vec![7, 36], vec![7, 20]) } else { (vec![1, 9, 7, 20], vec![1, 9, 7, 20]) };
    let x = graph.add_input("x", bytes_type(&x_shape, (0.02, 120)));
    let (op, w) = if matrix {
        let op = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::None };
        (Op::MatMul(op), weight(&mut graph, &[36, 20]))
    } else {
        let window = Window { kernel: [3; 2], strides: [1; 2], dilations: [1; 2], pads: [[1; 2]; 2], ceil: false };
        let groups = if depthwise { 20 } else { 1 };
        let op = Conv { window, groups, bias: false, dynamic: false, activation: Activation::None };
        (Op::Conv(op), weight(&mut graph, &[20, 3, 3, 20 / groups]))
    };
    let product = graph.add_node("product", op, &[x, w], bytes_type(&y_shape, (0.0471, 131)));
    let clamp = Op::Unary(Unary::Clamp { lo: 0.0, hi: 6.0 });
    let y = graph.add_node("clamp", clamp, &[product], bytes_type(&y_shape, (6.0 / 255.0, 3)));
    graph.add_output("y", y);
    if also_output {
        graph.add_output("product", product);
    }
    let x: Vec<u8> = (0..x_shape.iter().product::<usize>()).map(|i| (i * 151 % 256) as u8).collect();
    let mut session = Session::new(Plan { graph, meta: Meta::default() }).unwrap();
    let mut steps = 0;
    let view = TensorView::from_slice(&x_shape, &x).unwrap();
    let outputs = session.run_observed(&[("x", view)], |_, _| steps += 1).unwrap();
    (outputs.get("y").unwrap().data.to_vec(), steps)
}

#[test]
fn a_clamp_is_computed_along_with_the_product_before_it() {
    for (depthwise, matrix) in [(false, false), (true, false), (false, true)] {
        let (apart, two) = run(depthwise, matrix, true);
        let (along, one) = run(depthwise, matrix, false);
        assert_eq!((two, one), (2, 1));
        assert_eq!(apart, along);
        assert!(apart.iter().any(|v| *v != apart[0]));
    }
}

/// A product of x with a constant; in batches of any size, or of 5 rows.
fn matrix_product(dynamic_batch: bool, quantized: bool) -> Plan {
    let mut graph = Graph::default();
    let rows = if dynamic_batch { Dim::symbol(graph.symbol("n")) } else { Dim::fixed(5) };
    let ty = |width: usize, scale: f32| ValueType {
        dtype: if quantized { DType::U8 } else { DType::F32 },
        shape: vec![rows.clone(), Dim::fixed(width)],
        quant: quantized.then(|| Quant::per_tensor(scale, 128)),
    };
    let x = graph.add_input("x", ty(256, 0.01));
    let w = if quantized {
        weight(&mut graph, &[256, 80])
    } else {
        let numbers: Vec<f32> = (0..256 * 80).map(|i| (i % 23) as f32 - 11.0).collect();
        graph.add_const("w", &Tensor::from_slice(&[256, 80], &numbers).unwrap())
    };
    let op = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::None };
    let y = graph.add_node("product", Op::MatMul(op), &[x, w], ty(80, 0.2));
    graph.add_output("y", y);
    Plan { graph, meta: Meta::default() }
}

fn product_of_rows(session: &mut Session, rows: usize, quantized: bool) -> Vec<u8> {
    let bytes: Vec<u8> = (0..rows * 256).map(|i| (i * 31 % 251) as u8).collect();
    let floats: Vec<f32> = bytes.iter().map(|&b| f32::from(b) * 0.125).collect();
    let shape = [rows, 256];
    let view = if quantized { TensorView::from_slice(&shape, &bytes) } else { TensorView::from_slice(&shape, &floats) }.unwrap();
    session.run(&[("x", view)]).unwrap().get("y").unwrap().data.to_vec()
}

#[test]
fn packed_weights_are_given_back_and_other_shapes_still_run() {
    for (dynamic_batch, quantized) in [(false, false), (false, true), (true, false), (true, true)] {
        let plan = matrix_product(dynamic_batch, quantized);
        let kept = plan.graph.clone();
        let mut session = Session::new(plan).unwrap();
        let first = product_of_rows(&mut session, 5, quantized);
        let constant = session.graph().value(session.graph().nodes[0].inputs[1]);
        let Some(Init::Data(blob)) = &constant.init else { panic!("the weight is a constant") };
        assert!(blob.bytes().is_empty() && blob.len() >= 256 * 80);
        if dynamic_batch {
            for rows in [1, 2, 40] {
                let mut fresh = Session::new(Plan { graph: kept.clone(), meta: Meta::default() }).unwrap();
                assert_eq!(product_of_rows(&mut session, rows, quantized), product_of_rows(&mut fresh, rows, quantized));
            }
        }
        assert_eq!(product_of_rows(&mut session, 5, quantized), first);
    }
}

#[test]
fn a_weight_that_others_read_stays() {
    let mut plan = matrix_product(false, false);
    let w = plan.graph.nodes[0].inputs[1];
    plan.graph.add_output("w", w);
    let mut session = Session::new(plan).unwrap();
    product_of_rows(&mut session, 5, false);
    let Some(Init::Data(blob)) = &session.graph().value(w).init else { panic!("the weight is a constant") };
    assert_eq!(blob.bytes().len(), 4 * 256 * 80);
}

/// Two convolutions of x and x itself, side by side; `apart` makes the convolutions' results outputs, so that they are stored.
fn joined(quantized: bool, apart: bool) -> (Vec<u8>, usize) {
    let mut graph = Graph::default();
    let ty = |channels: usize, quant: (f32, i32)| {
        let shape = [2, 9, 7, channels];
        if quantized {
            bytes_type(&shape, quant)
        } else {
            ValueType::new(DType::F32, shape.iter().map(|&d| Dim::fixed(d)).collect())
        }
    };
    let x = graph.add_input("x", ty(20, (0.02, 120)));
    let mut conv = |kernel: usize, outputs: usize, quant| {
        let w = weight(&mut graph, &[outputs, kernel, kernel, 20]);
        let pads = [[kernel / 2; 2]; 2];
        let window = Window { kernel: [kernel; 2], strides: [1; 2], dilations: [1; 2], pads, ceil: false };
        let op = Conv { window, groups: 1, bias: false, dynamic: false, activation: Activation::Relu };
        let w = if quantized {
            w
        } else {
            let numbers: Vec<f32> = (0..outputs * kernel * kernel * 20).map(|i| (i * 37 % 101) as f32 * 0.01 - 0.5).collect();
            graph.add_const("w", &Tensor::from_slice(&[outputs, kernel, kernel, 20], &numbers).unwrap())
        };
        graph.add_node("conv", Op::Conv(op), &[x, w], ty(outputs, quant))
    };
    let (a, b) = (conv(1, 12, (0.05, 3)), conv(3, 17, (0.0471, 131)));
    let y = graph.add_node("joined", Op::Concat { axis: 3 }, &[a, x, b], ty(49, (0.05, 3)));
    graph.add_output("y", y);
    if apart {
        graph.add_output("a", a);
        graph.add_output("b", b);
    }
    let count = 2 * 9 * 7 * 20;
    let bytes: Vec<u8> = (0..count).map(|i| (i * 151 % 256) as u8).collect();
    let floats: Vec<f32> = bytes.iter().map(|b| f32::from(*b) * 0.25).collect();
    let shape = [2, 9, 7, 20];
    let view = if quantized { TensorView::from_slice(&shape, &bytes) } else { TensorView::from_slice(&shape, &floats) }.unwrap();
    let mut session = Session::new(Plan { graph, meta: Meta::default() }).unwrap();
    session.run(&[("x", view)]).unwrap();
    let mut copied = 0;
    let outputs = session.run_observed(&[("x", view)], |_, node| copied += usize::from(node.op.name() == "Concat")).unwrap();
    (outputs.get("y").unwrap().data.to_vec(), copied)
}

#[test]
fn convolutions_store_their_part_of_a_concatenation() {
    for quantized in [false, true] {
        let (apart, together) = (joined(quantized, true), joined(quantized, false));
        assert_eq!(apart, together);
        assert_eq!(together.1, 1, "x is copied");
    }
}

#[test]
fn a_concatenation_of_convolutions_alone_is_no_step() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", bytes_type(&[1, 4, 4, 8], (0.02, 120)));
    let mut conv = || {
        let w = weight(&mut graph, &[8, 1, 1, 8]);
        let window = Window { kernel: [1; 2], strides: [1; 2], dilations: [1; 2], pads: [[0; 2]; 2], ceil: false };
        let op = Conv { window, groups: 1, bias: false, dynamic: false, activation: Activation::None };
        graph.add_node("conv", Op::Conv(op), &[x, w], bytes_type(&[1, 4, 4, 8], (0.05, 3)))
    };
    let parts = [conv(), conv(), conv()];
    let y = graph.add_node("joined", Op::Concat { axis: 3 }, &parts, bytes_type(&[1, 4, 4, 24], (0.05, 3)));
    graph.add_output("y", y);
    let mut session = Session::new(Plan { graph, meta: Meta::default() }).unwrap();
    let x: Vec<u8> = (0..128).map(|i| (i * 3) as u8).collect();
    let mut steps = 0;
    let outputs = session.run_observed(&[("x", TensorView::from_slice(&[1, 4, 4, 8], &x).unwrap())], |_, _| steps += 1).unwrap();
    let y = outputs.get("y").unwrap().data;
    assert_eq!((steps, y.len()), (3, 384));
    assert!(y.chunks(24).all(|row| row[..8] == row[8..16] && row[..8] == row[16..]));
}
