//! Models that are compiled in parts, with interpreted operators between.
#![cfg(feature = "compiler")]

#[path = "support/onnx.rs"]
mod onnx;

use nearside::{
    ErrorKind, Tensor,
    compile::{Compiled, Keys, Kind, Options, Resident, Value, compile},
};
use onnx::{Attribute, Body, Onnx, Size};

fn mixed(onnx: Onnx) -> Resident {
    match compile(&onnx.bytes(), &Options::default()).unwrap() {
        Compiled::Fallback { model: model @ Resident::Mixed(_), .. } => model,
        Compiled::Fallback { report, .. } => panic!("not mixed: {:?}", report.notes),
        Compiled::Plan { .. } => panic!("there is a plan"),
    }
}

fn floats(shape: &[usize], data: &[f32]) -> Value {
    Tensor::from_slice(shape, data).unwrap().into()
}

fn words(data: &[&str]) -> Value {
    let strings = nearside::compile::Strings::new(vec![data.len()], data.iter().map(|s| s.to_string()).collect());
    Value::Strings(std::sync::Arc::new(strings.unwrap()))
}

fn run(model: &mut Resident, inputs: &[(&str, Value)]) -> Vec<Value> {
    model.run_values(inputs).unwrap().into_iter().map(|(_, value)| value).collect()
}

fn as_floats(value: &Value) -> Vec<f32> {
    value.tensor().unwrap().as_slice::<f32>().unwrap().to_vec()
}

fn as_ints(value: &Value) -> Vec<i64> {
    value.tensor().unwrap().as_slice::<i64>().unwrap().to_vec()
}

/// `acc = acc + x · w` a number of times, each sum also stacked; `x` and `w` are of the graph around.
fn summing(trips: i64, condition: bool) -> Onnx {
    let mut body = Body::new(&["i", "going", "acc"]);
    body.node("Mul", &["x", "w"], &["product"], &[]);
    body.node("Add", &["acc", "product"], &["next"], &[]);
    body.node("Identity", &["going"], &["still"], &[]);
    body.outputs(&["still", "next", "next"]);
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Fixed(2)]);
    model.floats("w", &[2], &[2.0, 3.0]);
    model.floats("zero", &[2], &[0.0, 0.0]);
    model.scalar("trips", trips);
    model.flag("condition", condition);
    model.body("Loop", &["trips", "condition", "zero"], &["sum", "sums"], &[("body", body)], &[]);
    model.output("sum");
    model.output("sums");
    model
}

#[test]
fn a_loop_carries_values_and_stacks_others() {
    let mut model = mixed(summing(3, true));
    for _ in 0..2 {
        let results = run(&mut model, &[("x", floats(&[2], &[1.0, -1.0]))]);
        assert_eq!(as_floats(&results[0]), [6.0, -9.0]);
        assert_eq!((results[1].shape().unwrap(), as_floats(&results[1])), (&[3, 2][..], vec![2.0, -3.0, 4.0, -6.0, 6.0, -9.0]));
    }
    assert!(!model.on_tract());
    let results = run(&mut mixed(summing(3, false)), &[("x", floats(&[2], &[1.0, -1.0]))]);
    assert_eq!(as_floats(&results[0]), [0.0, 0.0]);
    assert_eq!(results[1].tensor().unwrap().len(), 0);
}

#[test]
fn a_loop_without_end_meets_the_limit() {
    let mut body = Body::new(&["i", "going"]);
    body.node("Identity", &["going"], &["still"], &[]);
    body.node("Identity", &["i"], &["at"], &[]);
    body.outputs(&["still", "at"]);
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Fixed(1)]);
    model.flag("condition", true);
    model.body("Loop", &["", "condition"], &["all"], &[("body", body)], &[]);
    model.output("all");
    let error = mixed(model).run_values(&[("x", floats(&[1], &[0.0]))]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("iterations"), "{error}");
}

#[test]
fn branches_are_nested_and_see_the_outer_values() {
    let branch = |op: &str| {
        let mut body = Body::new(&[]);
        body.node(op, &["x"], &["inner"], &[]);
        body.outputs(&["inner"]);
        body
    };
    let mut outer = Body::new(&[]);
    outer.body("If", &["second"], &["chosen"], &[("then_branch", branch("Neg")), ("else_branch", branch("Abs"))], &[]);
    outer.outputs(&["chosen"]);
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Fixed(2)]);
    model.floats("zero", &[], &[0.0]);
    model.floats("ten", &[], &[10.0]);
    model.node("ReduceMax", &["x"], "most", &[("keepdims", Attribute::Int(0))]);
    model.node("Greater", &["most", "zero"], "first", &[]);
    model.node("Greater", &["most", "ten"], "second", &[]);
    model.body("If", &["first"], &["y"], &[("then_branch", outer), ("else_branch", branch("Exp"))], &[]);
    model.output("y");
    let mut model = mixed(model);
    for (x, y) in [([20.0, -1.0], [-20.0, 1.0]), ([2.0, -1.0], [2.0, 1.0]), ([0.0, 0.0], [1.0, 1.0])] {
        assert_eq!(as_floats(&run(&mut model, &[("x", floats(&[2], &x))])[0]), y);
    }
    assert!(!model.on_tract());
}

#[test]
fn a_scan_runs_along_an_axis() {
    let mut body = Body::new(&["state", "row"]);
    body.node("Add", &["state", "row"], &["next"], &[]);
    body.node("Mul", &["next", "row"], &["product"], &[]);
    body.outputs(&["next", "product"]);
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Named("n"), Size::Fixed(2)]);
    model.floats("zero", &[2], &[0.0, 0.0]);
    let scan = [("num_scan_inputs", Attribute::Int(1)), ("scan_input_directions", Attribute::Ints(&[1]))];
    model.body("Scan", &["zero", "x"], &["last", "all"], &[("body", body)], &scan);
    // Keeps the model from tract.
    model.node("NonZero", &["all"], "at", &[]);
    model.output("last");
    model.output("all");
    model.output_int("at");
    let mut model = mixed(model);
    for n in [2, 3] {
        let x: Vec<f32> = (0..2 * n).map(|v| v as f32).collect();
        let results = run(&mut model, &[("x", floats(&[n, 2], &x))]);
        let mut state = [0.0, 0.0];
        let mut all = Vec::new();
        for row in x.chunks(2).rev() {
            state = [state[0] + row[0], state[1] + row[1]];
            all.extend([state[0] * row[0], state[1] * row[1]]);
        }
        assert_eq!(as_floats(&results[0]), state);
        assert_eq!(as_floats(&results[1]), all);
    }
}

#[test]
fn sequences_grow_shrink_and_come_out() {
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Fixed(2)]);
    model.ints("first", &[0]);
    model.node("Neg", &["x"], "minus", &[]);
    model.node("SequenceConstruct", &["x", "minus"], "two", &[]);
    model.node("Exp", &["minus"], "e", &[]);
    model.node("SequenceInsert", &["two", "e", "first"], "three", &[]);
    model.node("SequenceErase", &["three"], "last_gone", &[]);
    model.node("ConcatFromSequence", &["last_gone"], "joined", &[("axis", Attribute::Int(0)), ("new_axis", Attribute::Int(1))]);
    model.node("SequenceLength", &["three"], "count", &[]);
    model.output_sequence("three");
    model.output("joined");
    model.output_int("count");
    let mut model = mixed(model);
    assert_eq!(model.kinds(true), [Kind::Sequence, Kind::Tensor, Kind::Tensor]);
    let results = run(&mut model, &[("x", floats(&[2], &[0.0, 1.0]))]);
    let Value::Sequence(items) = &results[0] else { panic!("no sequence") };
    let e = (-1f32).exp();
    assert_eq!(items.iter().map(as_floats).collect::<Vec<_>>(), [[1.0, e], [0.0, 1.0], [-0.0, -1.0]]);
    assert_eq!((results[1].shape().unwrap(), as_floats(&results[1])), (&[2, 2][..], vec![1.0, e, 0.0, 1.0]));
    assert_eq!(as_ints(&results[2]), [3]);
    assert!(!model.on_tract());
    let error = model.run(&[("x", Tensor::from_slice(&[2], &[0f32, 1.0]).unwrap().view())]).unwrap_err().to_string();
    assert_eq!(error, "output 'three' is a sequence of 3, not a tensor of numbers; take it with run_values");
}

#[test]
fn words_go_in_and_labels_and_maps_come_out() {
    let mut model = Onnx::new(16);
    model.ml();
    model.input_words("text", &[Size::Named("n")]);
    let table = [("keys_strings", Attribute::Texts(&["red", "green"])), ("values_int64s", Attribute::Ints(&[7, 8]))];
    model.node("LabelEncoder", &["text"], "codes", &table);
    model.node("Cast", &["codes"], "numbers", &[("to", Attribute::Int(1))]);
    model.ints("rows", &[-1, 1]);
    model.node("Reshape", &["numbers", "rows"], "column", &[]);
    model.node("ZipMap", &["column"], "maps", &[("classlabels_strings", Attribute::Texts(&["code"]))]);
    model.node("StringNormalizer", &["text"], "loud", &[("case_change_action", Attribute::Text("UPPER"))]);
    model.output_sequence("maps");
    model.output_words("loud");
    let mut model = mixed(model);
    for text in [&["red", "blue"][..], &["green"]] {
        let results = run(&mut model, &[("text", words(text))]);
        let Value::Sequence(maps) = &results[0] else { panic!("no sequence") };
        for (map, word) in maps.iter().zip(text) {
            let Value::Map(map) = map else { panic!("no map") };
            assert_eq!(map.keys, Keys::Strings(vec!["code".into()]));
            assert_eq!(
                as_floats(&map.values),
                [match *word {
                    "red" => 7.0,
                    "green" => 8.0,
                    _ => -1.0,
                }]
            );
        }
        let loud: Vec<String> = text.iter().map(|w| w.to_uppercase()).collect();
        assert_eq!(results[1].as_strings().unwrap().data(), loud);
    }
    let error = model.run_values(&[("text", floats(&[1], &[0.0]))]).unwrap_err();
    assert_eq!(error.to_string(), "input 'text' is float32, the model expects string; convert it before the call");
}

#[test]
fn what_lies_around_a_data_dependent_node_is_compiled() {
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Named("n"), Size::Fixed(2)]);
    model.floats("w", &[2, 2], &[1.0, 0.0, 0.0, -1.0]);
    model.node("MatMul", &["x", "w"], "y", &[]);
    model.node("Relu", &["y"], "z", &[]);
    model.node("NonZero", &["z"], "at", &[]);
    model.node("Transpose", &["at"], "pairs", &[]);
    model.node("GatherND", &["z", "pairs"], "found", &[]);
    model.node("Neg", &["found"], "out", &[]);
    model.output("out");
    let mut model = mixed(model);
    let results = run(&mut model, &[("x", floats(&[2, 2], &[1.0, 2.0, -3.0, -4.0]))]);
    assert_eq!(as_floats(&results[0]), [-1.0, -4.0]);
    let results = run(&mut model, &[("x", floats(&[1, 2], &[5.0, -6.0]))]);
    assert_eq!(as_floats(&results[0]), [-5.0, -6.0]);
}

/// `all = all ++ x[i]`, so that each iteration has another shape and another value that decides.
#[test]
fn shapes_and_deciding_values_may_change_with_each_iteration() {
    let mut body = Body::new(&["i", "going", "all"]);
    body.node("Unsqueeze", &["i", "zeroth"], &["start"], &[]);
    body.node("Add", &["start", "one"], &["end"], &[]);
    body.node("Slice", &["x", "start", "end"], &["part"], &[]);
    body.node("Exp", &["part"], &["new"], &[]);
    body.node("Concat", &["all", "new"], &["longer"], &[("axis", Attribute::Int(0))]);
    body.node("Sqrt", &["longer"], &["root"], &[]);
    body.node("Mul", &["root", "root"], &["next"], &[]);
    body.node("Identity", &["going"], &["still"], &[]);
    body.outputs(&["still", "next"]);
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Named("n")]);
    model.ints("zeroth", &[0]);
    model.ints("one", &[1]);
    model.ints_of("trips", &[], &[20]);
    model.flag("condition", true);
    model.node("Slice", &["x", "zeroth", "zeroth"], "nothing", &[]);
    model.body("Loop", &["trips", "condition", "nothing"], &["y"], &[("body", body)], &[]);
    model.output("y");
    let x: Vec<f32> = (0..20).map(|v| v as f32 / 10.0).collect();
    let results = run(&mut mixed(model), &[("x", floats(&[20], &x))]);
    let y = as_floats(&results[0]);
    // Twenty times a root and a square, each within half a unit in the last place.
    assert!(y.len() == 20 && y.iter().zip(&x).all(|(y, x)| (y / x.exp() - 1.0).abs() < 40.0 * f32::EPSILON), "{y:?}");
}

#[test]
fn duplicates_are_found() {
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Named("n")]);
    model.many("Unique", &["x"], &["y", "first", "inverse", "counts"]);
    model.output("y");
    ["first", "inverse", "counts"].iter().for_each(|name| model.output_int(name));
    let results = run(&mut mixed(model), &[("x", floats(&[6], &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0]))]);
    assert_eq!(as_floats(&results[0]), [1.0, 2.0, 3.0, 4.0]);
    let lists: Vec<Vec<i64>> = results[1..].iter().map(as_ints).collect();
    assert_eq!(lists, [vec![1, 0, 3, 4], vec![1, 0, 0, 2, 3, 2], vec![2, 1, 2, 1]]);
}

#[test]
fn a_seed_makes_random_numbers_repeatable() {
    let model = || {
        let mut model = Onnx::new(16);
        model.input("p", &[Size::Fixed(64)]);
        model.node("Bernoulli", &["p"], "y", &[("seed", Attribute::Float(3.0))]);
        model.output("y");
        mixed(model)
    };
    let p = floats(&[64], &[0.5; 64]);
    let (a, b) = (run(&mut model(), &[("p", p.clone())]), run(&mut model(), &[("p", p)]));
    assert_eq!(as_floats(&a[0]), as_floats(&b[0]));
    let ones: f32 = as_floats(&a[0]).iter().sum();
    assert!((10.0..54.0).contains(&ones));
}

#[test]
fn mistakes_are_sentences_with_the_node() {
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Fixed(2)]);
    model.ints_of("at", &[], &[5]);
    model.node("SequenceConstruct", &["x", "x"], "two", &[]);
    model.node("SequenceAt", &["two", "at"], "y", &[]);
    model.output("y");
    let error = mixed(model).run_values(&[("x", floats(&[2], &[0.0, 1.0]))]).unwrap_err();
    assert_eq!(error.to_string(), "SequenceAt 'y': position 5 is out of range for a sequence of 2");
    let mut model = Onnx::new(16);
    model.input("x", &[Size::Fixed(2)]);
    model.node("SequenceConstruct", &["x"], "s", &[]);
    model.node("NoSuchOperator", &["x"], "y", &[]);
    model.output("y");
    let error = compile(&model.bytes(), &Options::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("not supported"), "{error}");
}

/// A recurrence is a loop over the steps; graphs inside attention stand between its products.
#[test]
fn attention_that_is_defined_by_other_operators() {
    let mut model = Onnx::new(27);
    let input = |width: i64| [Size::Fixed(1), Size::Named("steps"), Size::Fixed(width)];
    model.input("q", &input(2));
    model.input("k", &input(2));
    model.input("v", &input(2));
    let attributes = [
        ("q_num_heads", Attribute::Int(1)),
        ("kv_num_heads", Attribute::Int(1)),
        ("scale", Attribute::Float(1.0)),
        ("update_rule", Attribute::Text("linear")),
    ];
    model.node("LinearAttention", &["q", "k", "v"], "y", &attributes);
    model.outputs_of_last(&["y", "state"]);
    model.output("y");
    model.output("state");
    let mut model = mixed(model);
    let step = |data: &[f32]| floats(&[1, data.len() / 2, 2], data);
    // y = q·(Σ k⊗v): the second step sees the first one's value where its query is like that key.
    let inputs = [("q", step(&[1.0, 0.0, 1.0, 1.0])), ("k", step(&[1.0, 0.0, 0.0, 2.0])), ("v", step(&[3.0, 4.0, 5.0, 6.0]))];
    let results = run(&mut model, &inputs);
    assert_eq!(as_floats(&results[0]), [3.0, 4.0, 13.0, 16.0]);
    assert_eq!(as_floats(&results[1]), [3.0, 4.0, 10.0, 12.0]);
}

/// A support vector machine, as onnxruntime computes it: votes decide, and two scores stand for one.
#[test]
fn support_vectors_vote() {
    let mut model = Onnx::new(17);
    model.input("x", &[Size::Named("n"), Size::Fixed(1)]);
    let attributes = [
        ("kernel_type", Attribute::Text("LINEAR")),
        ("support_vectors", Attribute::Floats(&[1.0, -1.0])),
        ("vectors_per_class", Attribute::Ints(&[1, 1])),
        ("coefficients", Attribute::Floats(&[0.5, -0.5])),
        ("rho", Attribute::Floats(&[-1.0])),
        ("classlabels_strings", Attribute::Texts(&["far", "near"])),
    ];
    model.node("ai.onnx.ml::SVMClassifier", &["x"], "label", &attributes);
    model.outputs_of_last(&["label", "scores"]);
    model.output_words("label");
    model.output("scores");
    let results = run(&mut mixed(model), &[("x", floats(&[2, 1], &[3.0, 0.5]))]);
    assert!(matches!(&results[0], Value::Strings(labels) if labels.data() == ["far", "near"]));
    assert_eq!(as_floats(&results[1]), [-2.0, 2.0, 0.5, -0.5]);
}
