//! Models whose shapes depend on the values of inputs.
#![cfg(feature = "compiler")]

#[path = "support/onnx.rs"]
mod onnx;

use nearside::{
    TensorView,
    compile::{Compiled, Demand, Fallback, Options, Resident, compile},
    graph::plan::Plan,
    runtime::Session,
    tensor::AlignedBytes,
};
use onnx::{BOOL, DataType, FLOAT, INT64, Onnx, Size, model};

/// `y = reshape(−x, shape)`.
fn reshaped() -> (Resident, Vec<String>) {
    let onnx = model(
        &[("x", FLOAT, &[2, 3]), ("shape", INT64, &[2])],
        &[("Neg", &["x"], &["n"]), ("Reshape", &["n", "shape"], &["y"])],
        &[("y", FLOAT, &[-1, -1])],
    );
    match compile(&onnx, &Options::default()).unwrap() {
        Compiled::Fallback { model, report } => (model, report.notes),
        Compiled::Plan { .. } => panic!("the output's shape is not known"),
    }
}

fn run(model: &mut Resident, shape: &[i64]) -> Result<Vec<usize>, String> {
    let x = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let rank = [shape.len()];
    let inputs = [("x", TensorView::from_slice(&[2, 3], &x).unwrap()), ("shape", TensorView::from_slice(&rank, shape).unwrap())];
    let outputs = model.run(&inputs).map_err(|e| e.to_string())?;
    let (name, y) = &outputs[0];
    assert_eq!(name, "y");
    assert_eq!(y.as_slice::<f32>().unwrap(), x.map(|v| -v));
    Ok(y.shape().to_vec())
}

#[test]
fn every_value_gets_its_shape_on_the_light_runtime() {
    let (mut model, notes) = reshaped();
    assert_eq!(
        notes,
        [
            "The values of 'shape' decide shapes or branches in this model: the compiler makes a plan for each set of them, and keeps the last 8. \
          `nearside compile` with --value shape=… makes a plan for one set, which pages load without the compiler."
        ]
    );
    assert_eq!(model.inputs().len(), 2);
    for shape in [[3, 2], [1, -1], [3, 2], [6, 1]] {
        let expected = shape.map(|d| if d < 0 { 6 } else { d as usize });
        assert_eq!(run(&mut model, &shape).unwrap(), expected);
        assert!(!model.on_tract());
    }
    // More than are kept.
    for _ in 0..2 {
        for d in [1, 2, 3, 6, -1] {
            assert_eq!(run(&mut model, &[d, -1]).is_ok(), d > 0);
            assert_eq!(run(&mut model, &[-1, d]).is_ok(), d > 0);
        }
    }
}

#[test]
fn bad_values_are_sentences_and_the_next_run_works() {
    let (mut model, _) = reshaped();
    let error = run(&mut model, &[4, 2]).unwrap_err();
    assert!(error.contains("Reshape") || error.contains("reshape"), "{error}");
    assert_eq!(run(&mut model, &[2]).unwrap_err(), "input 'shape' has shape [1], the model expects [Fixed(2)]");
    let x = [0f32; 6];
    let inputs = [("x", TensorView::from_slice(&[2, 3], &x).unwrap())];
    assert_eq!(model.run(&inputs).unwrap_err().to_string(), "input 'shape' is missing");
    assert_eq!(run(&mut model, &[3, 2]).unwrap(), [3, 2]);
}

/// `same = Equal(Shape(x), Shape(z))`, z being 1×3 and x having any batch.
#[test]
fn dimensions_that_may_be_equal_are_compared_when_they_are_known() {
    let onnx = model(
        &[("x", FLOAT, &[-1, 3]), ("z", FLOAT, &[1, 3])],
        &[("Shape", &["x"], &["a"]), ("Shape", &["z"], &["b"]), ("Equal", &["a", "b"], &["same"])],
        &[("same", BOOL, &[2])],
    );
    for batch in [1, 2] {
        let (x, z) = (vec![0f32; 3 * batch], [0f32; 3]);
        let shape = [batch, 3];
        let inputs = [("x", TensorView::from_slice(&shape, &x).unwrap()), ("z", TensorView::from_slice(&[1, 3], &z).unwrap())];
        let same = match compile(&onnx, &Options::default()).unwrap() {
            Compiled::Plan { plan, .. } => {
                let mut session = Session::new(plan).unwrap();
                session.run(&inputs).unwrap().get("same").unwrap().to_tensor()
            }
            Compiled::Fallback { mut model, .. } => model.run(&inputs).unwrap().remove(0).1,
        };
        assert_eq!(same.bytes(), [u8::from(batch == 1), 1]);
        let reference = Fallback::new(&onnx, &Options::default()).unwrap().run(&inputs).unwrap();
        assert_eq!(reference[0].1.bytes(), [u8::from(batch == 1), 1]);
    }
}

/// The plan of `y = reshape(−x, shape)` for one shape.
fn planned(values: &[(&str, &str)]) -> Result<Plan, String> {
    let onnx = model(
        &[("shape", INT64, &[2]), ("x", FLOAT, &[2, 3])],
        &[("Neg", &["x"], &["n"]), ("Reshape", &["n", "shape"], &["y"])],
        &[("y", FLOAT, &[-1, -1])],
    );
    let values = values.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    match compile(&onnx, &Options { values, ..Options::default() }).map_err(|e| e.to_string())? {
        Compiled::Plan { plan, .. } => Ok(plan),
        Compiled::Fallback { .. } => Err("no plan".into()),
    }
}

#[test]
fn a_value_given_beforehand_makes_a_plan_that_demands_it() {
    let plan = planned(&[("shape", "3,2")]).unwrap();
    assert_eq!(plan.meta.notes, ["Input 'shape' must be [3, 2]: the plan is for this value."]);
    let file = nearside::graph::plan::write(&plan).unwrap();
    let plan = nearside::graph::plan::read(AlignedBytes::copy_of(&file)).unwrap();
    let demands = Demand::list(&plan.graph);
    let [Demand { input, text, value }] = &demands[..] else { panic!("{demands:?}") };
    assert_eq!((input.as_str(), text.as_str(), value.as_slice::<i64>().unwrap()), ("shape", "[3, 2]", &[3, 2][..]));
    let mut session = Session::new(plan).unwrap();
    let names: Vec<&str> = session.inputs().iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["shape", "x"]);
    let x = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut run = |shape: &[i64]| {
        let rank = [shape.len()];
        let inputs =
            [("x", TensorView::from_slice(&[2, 3], &x).unwrap()), ("shape", TensorView::from_slice(&rank, shape).unwrap())];
        session.run(&inputs).map(|outputs| outputs.get("y").unwrap().to_tensor()).map_err(|e| e.to_string())
    };
    for _ in 0..2 {
        let y = run(&[3, 2]).unwrap();
        assert_eq!((y.shape(), y.as_slice::<f32>().unwrap()), (&[3, 2][..], &x.map(|v| -v)[..]));
        for other in [&[2, 3][..], &[3], &[3, 2, 1]] {
            assert_eq!(
                run(other).unwrap_err(),
                "input 'shape' must be [3, 2], for which the plan was compiled; give that, or compile another plan with yours"
            );
        }
    }
}

#[test]
fn values_that_do_not_fit_are_refused() {
    for (values, message) in [
        (&[("shape", "3")][..], "input 'shape' takes 2 elements, 1 was given"),
        (&[("shap", "3,2")], "the model has no input 'shap' that takes a value; it has 'shape', 'x'"),
        (&[("shape", "3,2"), ("shape", "3,2")], "the value of input 'shape' is given twice"),
    ] {
        assert_eq!(planned(values).map(|_| ()).unwrap_err(), message);
    }
    assert!(planned(&[("shape", "4,2")]).is_err());
}

/// `y = reshape(squeeze(x, 0), shape)`: the first axis of x must be 1.
fn squeezed(values: &[(&str, &str)], dimensions: &[(&str, usize)]) -> Result<Compiled, String> {
    let mut onnx = Onnx::new(17);
    onnx.input("x", &[Size::Named("rows"), Size::Fixed(6)]);
    onnx.input_of("shape", DataType::Int64, &[Size::Fixed(2)]);
    onnx.ints("axes", &[0]);
    onnx.node("Squeeze", &["x", "axes"], "row", &[]);
    onnx.node("Reshape", &["row", "shape"], "y", &[]);
    onnx.output("y");
    let values = values.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let dimensions = dimensions.iter().map(|(name, size)| (name.to_string(), *size)).collect();
    compile(&onnx.bytes(), &Options { values, dimensions, ..Options::default() }).map_err(|e| e.to_string())
}

#[test]
fn values_and_sizes_are_settled_as_far_as_they_must_be() {
    let Compiled::Fallback { mut model, .. } = squeezed(&[], &[]).unwrap() else { panic!("values decide") };
    let x = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    for shape in [[3i64, 2], [1, 6], [3, 2]] {
        let inputs =
            [("x", TensorView::from_slice(&[1, 6], &x).unwrap()), ("shape", TensorView::from_slice(&[2], &shape).unwrap())];
        let y = model.run(&inputs).unwrap().remove(0).1;
        assert_eq!((y.shape(), y.as_slice::<f32>().unwrap()), (&shape.map(|d| d as usize)[..], &x[..]));
        assert!(!model.on_tract());
    }

    let Compiled::Fallback { model, report } = squeezed(&[("shape", "3,2")], &[]).unwrap() else { panic!("sizes decide") };
    assert_eq!(
        report.notes,
        [
            "This model makes sense for some sizes of its inputs only: the compiler makes a plan for each set of them, and keeps the last 8. \
          `nearside compile` with --dimension rows=… makes a plan for one set, which pages load without the compiler."
        ]
    );
    assert_eq!(model.inputs().iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["x"]);
    assert!(matches!(squeezed(&[("shape", "3,2")], &[("rows", 1)]), Ok(Compiled::Plan { .. })));
    let error = squeezed(&[("shape", "3,2")], &[("columns", 1)]).map(|_| ()).unwrap_err();
    assert_eq!(error, "the model has no open dimension 'columns'; it has 'rows'");
}
