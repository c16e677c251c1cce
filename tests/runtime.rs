//! The runtime on small hand-made graphs: binding, reuse of memory, messages, and no allocation in a second run.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use nearside::{
    DType, Tensor, TensorView,
    graph::{
        Dim, Graph, Op, ValueType,
        ops::{Activation, Binary, BinaryOp, Unary},
        plan::{Meta, Plan},
    },
    runtime::{DimInfo, Session},
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `y = relu(exp(x) + bias)`, with a dynamic batch, and `flat`, the same reshaped to one axis.
fn session() -> Session {
    let mut g = Graph::default();
    let batch = g.symbol("batch");
    let ty = ValueType::new(DType::F32, vec![Dim::symbol(batch), Dim::fixed(3)]);
    let x = g.add_input("x", ty.clone());
    let bias = g.add_const("bias", &Tensor::from_slice(&[3], &[-1f32, -2.0, -100.0]).unwrap());
    let exp = g.add_node("exp", Op::Unary(Unary::Exp), &[x], ty.clone());
    let add = Op::Binary(Binary { op: BinaryOp::Add, activation: Activation::Relu });
    let y = g.add_node("add", add, &[exp, bias], ty);
    let flat_type = ValueType::new(DType::F32, vec![Dim::symbol(batch) * Dim::fixed(3)]);
    let flat = g.add_node("flat", Op::Reshape, &[y], flat_type);
    g.add_output("y", y);
    g.add_output("flat", flat);
    Session::new(Plan { graph: g, meta: Meta::default() }).unwrap()
}

fn run(session: &mut Session, shape: &[usize], data: &[f32]) -> Vec<f32> {
    let view = TensorView::from_slice(shape, data).unwrap();
    let outputs = session.run(&[("x", view)]).unwrap();
    let y = outputs.get("y").unwrap();
    assert_eq!(y.shape, shape);
    assert_eq!(outputs.get("flat").unwrap().shape, [shape[0] * 3]);
    assert_eq!(outputs.get("flat").unwrap().data, y.data);
    y.as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn runs_with_any_batch() {
    let mut session = session();
    assert_eq!(session.inputs()[0].shape, [DimInfo::Symbol("batch".into()), DimInfo::Fixed(3)]);
    let one = run(&mut session, &[1, 3], &[0.0, 1.0, 2.0]);
    assert_eq!(one[0], 0.0);
    assert!((one[1] - (1f32.exp() - 2.0)).abs() < 1e-6 && one[2] == 0.0);
    for batch in [4, 2, 0, 7, 1] {
        let data: Vec<f32> = (0..batch * 3).map(|i| (i % 3) as f32).collect();
        let y = run(&mut session, &[batch, 3], &data);
        assert!(y.chunks(3).all(|row| row == one));
    }
}

#[test]
fn a_second_run_allocates_nothing() {
    let mut session = session();
    let (small, large) = ([0.5f32; 3], [0.5f32; 12]);
    let views = [TensorView::from_slice(&[1, 3], &small).unwrap(), TensorView::from_slice(&[4, 3], &large).unwrap()];
    for view in views {
        session.run(&[("x", view)]).unwrap();
    }
    let before = ALLOCATIONS.get();
    let mut sum = 0.0;
    for _ in 0..10 {
        for view in views {
            let outputs = session.run(&[("x", view)]).unwrap();
            sum += outputs.get("y").unwrap().as_slice::<f32>().unwrap()[0];
        }
    }
    assert_eq!(ALLOCATIONS.get(), before);
    assert!(sum > 0.0);
}

#[test]
fn bad_inputs_are_sentences_and_the_next_run_works() {
    let mut session = session();
    let data = [0f32; 6];
    let integers = [0i64; 3];
    let good = TensorView::from_slice(&[1, 3], &data[..3]).unwrap();
    let mut message = |inputs: &[(&str, TensorView<'_>)]| session.run(inputs).err().unwrap().to_string();

    assert_eq!(message(&[]), "input 'x' is missing");
    assert_eq!(message(&[("x", good), ("z", good)]), "the model has no input 'z'; its inputs are: x");
    assert_eq!(message(&[("x", good), ("x", good)]), "input 'x' is given twice");
    let wrong_rank = TensorView::from_slice(&[3], &data[..3]).unwrap();
    assert_eq!(message(&[("x", wrong_rank)]), "input 'x' is 3, the model expects batch×3 (2 dimensions)");
    let wrong_axis = TensorView::from_slice(&[3, 2], &data).unwrap();
    assert_eq!(message(&[("x", wrong_axis)]), "input 'x' is 3×2, the model expects batch×3: axis 1 must be 3");
    let wrong_type = TensorView::from_slice(&[1, 3], &integers).unwrap();
    assert_eq!(message(&[("x", wrong_type)]), "input 'x' is int64, the model expects float32; convert it before the call");
    let short = TensorView { data: &[0; 4], ..good };
    assert_eq!(message(&[("x", short)]), "input 'x' of shape 1×3 needs 12 bytes, 4 were given");

    assert!(run(&mut session, &[1, 3], &[f32::NAN, 1.0, 2.0])[1] > 0.0);
}
