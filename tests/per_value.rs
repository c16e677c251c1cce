//! Models whose shapes depend on the values of inputs.
#![cfg(feature = "compiler")]

#[path = "support/onnx.rs"]
mod onnx;

use nearside::{
    TensorView,
    compile::{Compiled, Fallback, Options, Resident, compile},
};
use onnx::{BOOL, FLOAT, INT64, model};

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
    assert_eq!(notes, ["The values of 'shape' decide shapes in this model: it is compiled anew when they change."]);
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
                let mut session = nearside::runtime::Session::new(plan).unwrap();
                session.run(&inputs).unwrap().get("same").unwrap().to_tensor()
            }
            Compiled::Fallback { mut model, .. } => model.run(&inputs).unwrap().remove(0).1,
        };
        assert_eq!(same.bytes(), [u8::from(batch == 1), 1]);
        let reference = Fallback::new(&onnx, &Options::default()).unwrap().run(&inputs).unwrap();
        assert_eq!(reference[0].1.bytes(), [u8::from(batch == 1), 1]);
    }
}
