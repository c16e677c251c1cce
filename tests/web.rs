//! The binding, in a browser's Worker: a plan made here is loaded and run through the classes that JavaScript sees.
#![cfg(target_arch = "wasm32")]

use js_sys::{Array, Error, Float32Array, Function, Uint8Array, Uint32Array};
use nearside::{
    DType, Tensor,
    graph::{
        Dim, Graph, ValueType,
        ops::{Activation, Binary, BinaryOp, Op},
        plan::{self, Meta, Plan},
    },
    web::{self, RawDigest, RawLimits, RawLoader, RawModel},
};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// `y = x + [1, 2, 3]` on rows.
fn plan() -> Vec<u8> {
    let mut graph = Graph::default();
    let batch = graph.symbol("batch");
    let ty = ValueType::new(DType::F32, vec![Dim::symbol(batch), Dim::fixed(3)]);
    let x = graph.add_input("x", ty.clone());
    let c = graph.add_const("c", &Tensor::from_slice(&[3], &[1f32, 2.0, 3.0]).unwrap());
    let y = graph.add_node("sum", Op::Binary(Binary { op: BinaryOp::Add, activation: Activation::None }), &[x, c], ty);
    graph.add_output("y", y);
    let meta = Meta { notes: vec!["made by hand".into()], ..Meta::default() };
    plan::write(&Plan { graph, meta }).unwrap()
}

fn load(bytes: &[u8]) -> Result<RawModel, JsValue> {
    load_within(bytes, &RawLimits::new())
}

/// Loads a plan in pieces.
fn load_within(bytes: &[u8], limits: &RawLimits) -> Result<RawModel, JsValue> {
    let mut loader = RawLoader::new(bytes.len());
    for piece in bytes.chunks(100) {
        loader.push(&Uint8Array::from(piece))?;
    }
    loader.finish(limits, "")
}

fn stage(model: &mut RawModel, dims: &[u32], data: &[f32]) -> Result<(), JsValue> {
    let bytes = Uint8Array::new(&Float32Array::from(data).buffer());
    model.stage(0, &Uint32Array::from(dims), &bytes)
}

fn run(model: &mut RawModel) -> Result<(Vec<u32>, Vec<f32>), JsValue> {
    let results = model.run()?;
    assert_eq!(results.get(0).as_string().as_deref(), Some("float32"));
    let dims: Uint32Array = results.get(1).unchecked_into();
    let bytes: Uint8Array = results.get(2).unchecked_into();
    Ok((dims.to_vec(), Float32Array::new(&bytes.buffer()).to_vec()))
}

/// Kind and text of an error.
#[track_caller]
fn failure<T>(result: Result<T, JsValue>) -> (String, String) {
    let Err(error) = result else { panic!("there was no error") };
    let error: Error = error.dyn_into().unwrap();
    (error.name().into(), error.message().into())
}

fn text(array: &Array) -> String {
    js_sys::JSON::stringify(array).unwrap().into()
}

#[wasm_bindgen_test]
fn starts_and_names_its_integer_path() {
    let path = web::start(Function::new_no_args("")).unwrap();
    assert!(["i16 dot", "relaxed dot (s8×u8)", "relaxed dot (s8×s8)"].contains(&path.as_str()), "{path}");
}

#[wasm_bindgen_test]
fn loads_describes_and_runs() {
    let mut model = load(&plan()).unwrap();
    assert_eq!(text(&model.ports(false)), r#"["x","float32",["batch",3]]"#);
    assert_eq!(text(&model.ports(true)), r#"["y","float32",["batch",3]]"#);
    assert_eq!(text(&model.notes()), r#"["made by hand"]"#);
    assert_eq!(model.weights(), 12);
    for rows in [1, 3, 1] {
        let x: Vec<f32> = (0..rows * 3).map(|i| i as f32).collect();
        stage(&mut model, &[rows, 3], &x).unwrap();
        let (dims, y) = run(&mut model).unwrap();
        assert_eq!(dims, [rows, 3]);
        let expected: Vec<f32> = x.iter().enumerate().map(|(i, v)| v + (i % 3 + 1) as f32).collect();
        assert_eq!(y, expected);
    }
}

#[wasm_bindgen_test]
fn not_a_number_flows_through() {
    let mut model = load(&plan()).unwrap();
    stage(&mut model, &[1, 3], &[f32::NAN, f32::INFINITY, 0.0]).unwrap();
    let (_, y) = run(&mut model).unwrap();
    assert!(y[0].is_nan() && y[1] == f32::INFINITY && y[2] == 3.0, "{y:?}");
}

#[wasm_bindgen_test]
fn bad_plans_are_errors_and_the_next_one_loads() {
    let good = plan();
    let mut flipped = good.clone();
    flipped[200] ^= 1;
    let mut newer = good.clone();
    newer[8] = 200;
    for (bytes, expected) in [
        (&good[..0], "not a Nearside plan"),
        (&b"hello world, this is no plan"[..], "not a Nearside plan"),
        (&good[..good.len() - 1], "truncated"),
        (&good[..20], "truncated"),
        (&flipped, "damaged"),
        (&newer, "update nearside"),
    ] {
        let (kind, message) = failure(load(bytes));
        assert_eq!(kind, "InvalidPlan");
        assert!(message.contains(expected), "{message}");
        assert!(load(&good).is_ok());
    }
}

#[wasm_bindgen_test]
fn bad_inputs_are_errors_and_the_next_run_works() {
    let mut model = load(&plan()).unwrap();
    let cases: [(&[u32], usize, &str); 5] = [
        (&[1, 4], 4, "'x'"),
        (&[3], 3, "'x'"),
        (&[2, 3], 5, "needs 24 bytes, 20 were given"),
        (&[u32::MAX, u32::MAX], 1, "does not fit in memory"),
        (&[], 1, "'x'"),
    ];
    for (dims, len, expected) in cases {
        stage(&mut model, dims, &vec![0.0; len]).unwrap();
        let (kind, message) = failure(run(&mut model));
        assert!(["InvalidInput", "Limit"].contains(&kind.as_str()), "{kind}: {message}");
        assert!(message.contains(expected), "{message}");
        let (kind, message) = failure(run(&mut model));
        assert_eq!((kind.as_str(), message.as_str()), ("InvalidInput", "input 'x' is missing"));
        stage(&mut model, &[1, 3], &[0.0; 3]).unwrap();
        assert_eq!(run(&mut model).unwrap().1, [1.0, 2.0, 3.0]);
    }
    let (kind, message) = failure(model.stage(1, &Uint32Array::new_with_length(0), &Uint8Array::new_with_length(0)));
    assert_eq!(kind, "InvalidInput");
    assert!(message.contains("no input 1"), "{message}");
}

#[wasm_bindgen_test]
fn digests() {
    let mut digest = RawDigest::new();
    for piece in [&b"a"[..], b"bc"] {
        digest.push(&Uint8Array::from(piece)).unwrap();
    }
    let hex = digest.finish();
    assert!(hex.starts_with("ba7816bf") && hex.len() == 64, "{hex}");
}

#[wasm_bindgen_test]
fn limits_are_kept() {
    let mut limits = RawLimits::new();
    assert!(limits.set("tensorBytes", 100.0) && !limits.set("patience", 1.0));
    let mut model = load_within(&plan(), &limits).unwrap();
    stage(&mut model, &[100, 3], &[0.0; 300]).unwrap();
    let (kind, message) = failure(run(&mut model));
    assert_eq!(kind, "Limit");
    assert!(message.contains("the limit of 100 bytes (tensorBytes)"), "{message}");
    let file = plan();
    let mut loader = RawLoader::new(file.len());
    loader.push(&Uint8Array::from(&file[..])).unwrap();
    let (kind, _) = failure(loader.push(&Uint8Array::from(&[0][..])));
    assert_eq!(kind, "Internal");
}
