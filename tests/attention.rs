//! Attention with caches, masks and rotary embeddings as onnxruntime's exporters write it, from ONNX bytes to numbers.
#![cfg(all(feature = "compiler", not(target_arch = "wasm32")))]

#[path = "support/onnx.rs"]
mod onnx;

use nearside::{
    Tensor,
    compile::{Compiled, Options, compile},
    runtime::Session,
};
use onnx::{Attribute, INT32, Onnx, Size};

const HEADS: usize = 2;
const SIZE: usize = 4;

/// A session of the model's plan.
fn session(onnx: Onnx) -> Session {
    match compile(&onnx.bytes(), &Options::default()).unwrap() {
        Compiled::Plan { plan, .. } => Session::new(plan).unwrap(),
        Compiled::Fallback { report, .. } => panic!("needs the fallback: {:?}", report.passes),
    }
}

fn run(session: &mut Session, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, String> {
    let views: Vec<_> = inputs.iter().map(|(name, t)| (*name, t.view())).collect();
    let outputs = session.run(&views).map_err(|e| e.to_string())?;
    Ok(outputs.iter().map(|(_, v)| v.to_tensor()).collect())
}

/// Numbers that look random.
fn noise(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product();
    let data: Vec<f32> = (0..count).map(|i| ((i * 37 + seed * 101) % 61) as f32 / 30.0 - 1.0).collect();
    Tensor::from_slice(shape, &data).unwrap()
}

/// A model of GroupQueryAttention with two query heads, one of keys, and a total length from the mask's shape.
fn grouped(attributes: &[(&str, Attribute<'_>)]) -> Onnx {
    let named = |width: i64| [Size::Named("batch"), Size::Named("steps"), Size::Fixed(width)];
    let cache = || [Size::Named("batch"), Size::Fixed(1), Size::Named("room"), Size::Fixed(SIZE as i64)];
    let mut onnx = Onnx::new(17);
    onnx.input("q", &named((HEADS * SIZE) as i64));
    onnx.input("k", &named(SIZE as i64));
    onnx.input("v", &named(SIZE as i64));
    onnx.input("past_key", &cache());
    onnx.input("past_value", &cache());
    onnx.input_of("lengths", INT32, &[Size::Named("batch")]);
    onnx.input("mask", &[Size::Named("batch"), Size::Named("total")]);
    onnx.scalar("one", 1);
    onnx.node("Shape", &["mask"], "shape", &[]);
    onnx.node("Gather", &["shape", "one"], "size", &[]);
    onnx.node("Cast", &["size"], "total", &[("to", Attribute::Int(6))]);
    let angle = |i: usize| i as f32 * 0.7;
    onnx.floats("cos", &[8, SIZE / 2], &(0..8 * SIZE / 2).map(|i| angle(i).cos()).collect::<Vec<f32>>());
    onnx.floats("sin", &[8, SIZE / 2], &(0..8 * SIZE / 2).map(|i| angle(i).sin()).collect::<Vec<f32>>());
    let all =
        [("num_heads", Attribute::Int(HEADS as i64)), ("kv_num_heads", Attribute::Int(1)), ("do_rotary", Attribute::Int(1))];
    let inputs = ["q", "k", "v", "past_key", "past_value", "lengths", "total", "cos", "sin"];
    let attributes: Vec<(&str, Attribute<'_>)> = all.into_iter().chain(attributes.iter().map(|(n, v)| (*n, v.clone()))).collect();
    onnx.node("com.microsoft::GroupQueryAttention", &inputs, "y", &attributes);
    onnx.outputs_of_last(&["y", "key", "value"]);
    for name in ["y", "key", "value"] {
        onnx.output(name);
    }
    onnx
}

/// The steps from `start` to `end` of `[1,S,W]`.
fn steps(x: &Tensor, start: usize, end: usize) -> Tensor {
    let width = x.shape()[2];
    Tensor::from_slice(&[1, end - start, width], &x.as_slice::<f32>().unwrap()[start * width..end * width]).unwrap()
}

fn lengths(so_far: i32) -> Tensor {
    Tensor::from_slice(&[1], &[so_far - 1]).unwrap()
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5, "{apart}: {a:?} and {b:?}");
}

#[test]
fn steps_with_a_cache_give_what_the_whole_sequence_gives() {
    for attributes in [&[][..], &[("local_window_size", Attribute::Int(2)), ("softcap", Attribute::Float(1.5))]] {
        let mut model = session(grouped(attributes));
        let (q, k, v) = (noise(&[1, 5, HEADS * SIZE], 1), noise(&[1, 5, SIZE], 2), noise(&[1, 5, SIZE], 3));
        let (none, mask) = (Tensor::from_slice::<f32>(&[1, 1, 0, SIZE], &[]).unwrap(), |n: usize| noise(&[1, n], 0));
        let mut go = |range: [usize; 2], cache: [&Tensor; 2], total: usize| {
            let parts = [&q, &k, &v].map(|x| steps(x, range[0], range[1]));
            run(
                &mut model,
                &[
                    ("q", &parts[0]),
                    ("k", &parts[1]),
                    ("v", &parts[2]),
                    ("past_key", cache[0]),
                    ("past_value", cache[1]),
                    ("lengths", &lengths(range[1] as i32)),
                    ("mask", &mask(total)),
                ],
            )
        };
        let whole = go([0, 5], [&none, &none], 5).unwrap();
        let start = go([0, 3], [&none, &none], 3).unwrap();
        assert_eq!(start[1].shape(), [1, 1, 3, SIZE]);
        // A cache that grows.
        let grown = go([3, 5], [&start[1], &start[2]], 5).unwrap();
        let tail = &whole[0].as_slice::<f32>().unwrap()[3 * HEADS * SIZE..];
        close(grown[0].as_slice().unwrap(), tail);
        close(grown[1].as_slice().unwrap(), whole[1].as_slice().unwrap());
        // A cache of a fixed size: what lies behind the steps so far must not count.
        let wide = |x: &Tensor| {
            let mut data = x.as_slice::<f32>().unwrap().to_vec();
            data.resize(7 * SIZE, 1e6);
            Tensor::from_slice(&[1, 1, 7, SIZE], &data).unwrap()
        };
        let kept = go([3, 5], [&wide(&start[1]), &wide(&start[2])], 5).unwrap();
        assert_eq!(kept[1].shape(), [1, 1, 7, SIZE]);
        close(kept[0].as_slice().unwrap(), tail);
        close(&kept[1].as_slice::<f32>().unwrap()[..5 * SIZE], whole[1].as_slice().unwrap());
        // More steps than the cache has room for are an error, not a neighbour's numbers.
        let short = go([3, 5], [&start[1], &start[2]], 3);
        assert!(short.is_err(), "{short:?}");
    }
}

fn named(inputs: [&Tensor; 7]) -> Vec<(&'static str, &Tensor)> {
    ["q", "k", "v", "past_key", "past_value", "lengths", "mask"].into_iter().zip(inputs).collect()
}

/// Rows of a batch have lengths of their own.
#[test]
fn lengths_are_those_of_each_row() {
    let mut model = session(grouped(&[]));
    let (q, k, v) = (noise(&[2, 1, HEADS * SIZE], 1), noise(&[2, 1, SIZE], 2), noise(&[2, 1, SIZE], 3));
    let (keys, values) = (noise(&[2, 1, 6, SIZE], 4), noise(&[2, 1, 6, SIZE], 5));
    let both = Tensor::from_slice(&[2], &[2i32, 4]).unwrap();
    let mask = noise(&[2, 5], 0);
    let y = run(&mut model, &named([&q, &k, &v, &keys, &values, &both, &mask])).unwrap();
    for row in 0..2 {
        let one = |x: &Tensor| {
            let n = x.len() / 2;
            let mut shape = x.shape().to_vec();
            shape[0] = 1;
            Tensor::from_slice(&shape, &x.as_slice::<f32>().unwrap()[row * n..(row + 1) * n]).unwrap()
        };
        let length = lengths([3, 5][row]);
        let [q, k, v, keys, values] = [&q, &k, &v, &keys, &values].map(one);
        let alone = run(&mut model, &named([&q, &k, &v, &keys, &values, &length, &noise(&[1, 5], 0)])).unwrap();
        close(alone[0].as_slice().unwrap(), &y[0].as_slice::<f32>().unwrap()[row * HEADS * SIZE..][..HEADS * SIZE]);
        close(alone[1].as_slice().unwrap(), &y[1].as_slice::<f32>().unwrap()[row * 6 * SIZE..][..6 * SIZE]);
    }
}

/// What onnxruntime's optimiser makes of attention, with a padding mask, is ONNX's with a bias.
#[test]
fn masks_hide_keys() {
    let with_mask = |masked: bool| {
        let mut onnx = Onnx::new(17);
        onnx.input("x", &[Size::Fixed(1), Size::Named("steps"), Size::Fixed(4)]);
        onnx.input_of("mask", INT32, &[Size::Fixed(1), Size::Named("steps")]);
        onnx.floats("w", &[4, 12], noise(&[4, 12], 1).as_slice().unwrap());
        onnx.floats("b", &[12], &[0.1; 12]);
        let inputs: &[&str] = if masked { &["x", "w", "b", "mask"] } else { &["x", "w", "b"] };
        onnx.node("com.microsoft::Attention", inputs, "y", &[("num_heads", Attribute::Int(2))]);
        onnx.output("y");
        session(onnx)
    };
    let x = noise(&[1, 3, 4], 2);
    let mask = Tensor::from_slice(&[1, 3], &[1i32, 1, 0]).unwrap();
    let masked = run(&mut with_mask(true), &[("x", &x), ("mask", &mask)]).unwrap();
    let first = steps(&x, 0, 2);
    let alone =
        run(&mut with_mask(false), &[("x", &first), ("mask", &Tensor::from_slice(&[1, 2], &[1i32, 1]).unwrap())]).unwrap();
    close(&masked[0].as_slice::<f32>().unwrap()[..8], alone[0].as_slice().unwrap());
}

/// One position for the first step and a list of positions say the same.
#[test]
fn positions_come_in_two_forms() {
    let rotary = |positions: &[i64], shape: &[usize], interleaved: i64| {
        let mut onnx = Onnx::new(17);
        onnx.input("x", &[Size::Fixed(1), Size::Fixed(2), Size::Fixed(8)]);
        onnx.ints_of("at", shape, positions);
        onnx.floats("cos", &[4, 2], &[1.0, 1.0, 0.5, 0.8, 0.0, 0.6, -0.5, 0.0]);
        onnx.floats("sin", &[4, 2], &[0.0, 0.0, 0.9, 0.6, 1.0, 0.8, 0.9, 1.0]);
        let attributes = [("interleaved", Attribute::Int(interleaved)), ("scale", Attribute::Float(1.0))];
        onnx.node("com.microsoft::RotaryEmbedding", &["x", "at", "cos", "sin"], "y", &attributes);
        onnx.output("y");
        run(&mut session(onnx), &[("x", &noise(&[1, 2, 8], 1))]).unwrap().remove(0)
    };
    let x = noise(&[1, 2, 8], 1);
    let x = x.as_slice::<f32>().unwrap();
    for interleaved in [0, 1] {
        let (one, list) = (rotary(&[2], &[1], interleaved), rotary(&[2, 3], &[1, 2], interleaved));
        close(one.as_slice().unwrap(), list.as_slice().unwrap());
        // The first pair of the first head, at position 2.
        let partner = if interleaved == 1 { 1 } else { 2 };
        close(&one.as_slice::<f32>().unwrap()[..1], &[-x[partner]]);
    }
}

/// Keys and values may be packed with the query or with each other.
#[test]
fn packed_operands_are_what_they_are_apart() {
    let (steps, width) = (3, HEADS * SIZE);
    let parts = [1, 2, 3].map(|seed| noise(&[1, steps, width], seed));
    let packed = |parts: &[Tensor]| {
        let mut data = Vec::new();
        for at in (0..steps * width).step_by(SIZE) {
            parts.iter().for_each(|x| data.extend_from_slice(&x.as_slice::<f32>().unwrap()[at..at + SIZE]));
        }
        Tensor::from_slice(&[1, steps, HEADS, parts.len(), SIZE], &data).unwrap()
    };
    let attended = |operands: &[Tensor]| {
        let names = &["q", "k", "v"][..operands.len()];
        let mut onnx = Onnx::new(17);
        for (name, x) in names.iter().zip(operands) {
            let sizes: Vec<Size> = x.shape().iter().map(|&d| Size::Fixed(d as i64)).collect();
            onnx.input(name, &sizes);
        }
        onnx.node("com.microsoft::MultiHeadAttention", names, "y", &[("num_heads", Attribute::Int(HEADS as i64))]);
        onnx.output("y");
        let inputs: Vec<(&str, &Tensor)> = names.iter().copied().zip(operands).collect();
        run(&mut session(onnx), &inputs).unwrap().remove(0)
    };
    let apart = attended(&parts);
    close(attended(&[packed(&parts)]).as_slice().unwrap(), apart.as_slice().unwrap());
    close(attended(&[parts[0].clone(), packed(&parts[1..])]).as_slice().unwrap(), apart.as_slice().unwrap());
}
