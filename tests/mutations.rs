//! Valid models with a few numbers changed: whatever comes of them, no code panics, for a panic ends a WebAssembly instance.
#![cfg(all(feature = "compiler", not(target_arch = "wasm32")))]

#[path = "support/graphs.rs"]
mod graphs;
#[path = "support/onnx.rs"]
mod onnx;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use nearside::{
    TensorView,
    compile::{Compiled, Options, compile},
    runtime::Session,
};
use proptest::{prelude::*, test_runner::RngSeed};
use prost::Message;
use tract_onnx::pb;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Numbers that break what is not checked.
const WEIRD: [i64; 10] = [0, -1, 1, 2, 3, 7, -9, 1 << 20, i64::MAX, i64::MIN];
const OPERATORS: [&str; 16] = [
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "MatMul",
    "Gemm",
    "Softmax",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Gather",
    "TopK",
    "Split",
    "Hardmax",
    "DepthToSpace",
    "LayerNormalization",
    "Reshape",
];

/// Changes one thing of the model, by four random bytes.
fn mutate(graph: &mut pb::GraphProto, [what, which, place, value]: [u8; 4]) {
    let [which, place, value] = [which, place, value].map(usize::from);
    let weird = WEIRD[value % WEIRD.len()];
    let nodes = graph.node.len();
    let node = &mut graph.node[which % nodes];
    match what % 7 {
        0 if !node.attribute.is_empty() => {
            let at = place % node.attribute.len();
            let attribute = &mut node.attribute[at];
            let len = attribute.ints.len().max(1);
            match attribute.ints.get_mut(value / 16 % len) {
                Some(v) => *v = weird,
                None => attribute.i = weird,
            }
        }
        1 if !node.attribute.is_empty() => drop(node.attribute.remove(place % node.attribute.len())),
        2 => node.op_type = OPERATORS[value % OPERATORS.len()].into(),
        3 if !node.input.is_empty() => drop(node.input.remove(place % node.input.len())),
        4 if !graph.initializer.is_empty() => {
            let at = which % graph.initializer.len();
            let tensor = &mut graph.initializer[at];
            // Other dimensions of the same size, so that the data still fits.
            if tensor.dims.len() > 1 {
                let by = 1 + place % (tensor.dims.len() - 1);
                tensor.dims.rotate_left(by);
            } else {
                tensor.dims.push(1);
            }
        }
        5 if !graph.initializer.is_empty() => {
            let at = which % graph.initializer.len();
            let tensor = &mut graph.initializer[at];
            if tensor.data_type == pb::tensor_proto::DataType::Int64 as i32 && tensor.raw_data.len() >= 8 {
                let at = place % (tensor.raw_data.len() / 8) * 8;
                tensor.raw_data[at..at + 8].copy_from_slice(&weird.to_le_bytes());
            }
        }
        _ => {
            let others: Vec<String> = graph.node.iter().take(which % nodes).flat_map(|n| n.output.clone()).collect();
            let node = &mut graph.node[which % nodes];
            if let (Some(other), Some(input)) = (others.get(place % others.len().max(1)), node.input.first_mut()) {
                input.clone_from(other);
            }
        }
    }
}

/// Compiles and runs; panics inside are noted by the hook.
fn attempt(onnx: &[u8], inputs: &[(String, nearside::Tensor)]) {
    let views: Vec<(&str, TensorView<'_>)> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    match compile(onnx, &Options::default()) {
        Ok(Compiled::Plan { plan, .. }) => {
            if let Ok(mut session) = Session::new(plan) {
                let _ = session.run(&views).map(|_| ());
            }
        }
        Ok(Compiled::Fallback { mut model, .. }) => drop(model.run(&views)),
        Err(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn changed_models_never_panic(recipe in graphs::recipe(), changes in prop::collection::vec(any::<[u8; 4]>(), 1..4)) {
        let built = graphs::build(&recipe);
        let mut model = pb::ModelProto::decode(built.onnx.as_slice()).unwrap();
        for change in changes {
            mutate(model.graph.as_mut().unwrap(), change);
        }
        let onnx = model.encode_to_vec();
        std::panic::set_hook(Box::new(|info| PANICS.with_borrow_mut(|p| p.push(info.to_string()))));
        let _ = catch_unwind(AssertUnwindSafe(|| attempt(&onnx, &built.runs[0])));
        let _ = std::panic::take_hook();
        let panics = PANICS.take();
        prop_assert!(panics.is_empty(), "{panics:?}\n{:#?}", model.graph.map(|g| g.node));
    }
}
