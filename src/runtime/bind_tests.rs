use super::*;
use crate::{
    graph::{
        Quant, ValueType,
        ops::{Activation, Conv, MatMul, Unary, Window},
        plan::{Meta, Plan},
    },
    runtime::Session,
    tensor::{Tensor, TensorView},
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
    let outputs = session.run_observed(&[("x", view)], |_| steps += 1).unwrap();
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
