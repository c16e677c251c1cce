use super::*;
use crate::{
    graph::{
        Dim, Quant, ValueType,
        ops::{Activation, Conv, MatMul, Op, Window},
        plan::{self, Reader},
    },
    kernels::{Choice, Team, candidates},
    limits::Limits,
    tensor::DType,
};

/// Two convolutions and a product on bytes; or on floats.
fn model(quantized: bool) -> Plan {
    let mut graph = Graph::default();
    let ty = |shape: &[usize], scale: f32| ValueType {
        dtype: if quantized { DType::U8 } else { DType::F32 },
        shape: shape.iter().map(|&d| Dim::fixed(d)).collect(),
        quant: quantized.then(|| Quant::per_tensor(scale, 120)),
    };
    let weight = |graph: &mut Graph, shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        let bytes: Vec<i8> = (0..count).map(|i| (i * 89 % 255) as u8 as i8).collect();
        let floats: Vec<f32> = bytes.iter().map(|b| f32::from(*b) / 100.0).collect();
        match quantized {
            true => graph.add_quantized_const("w", &Tensor::from_slice(shape, &bytes).unwrap(), Some(Quant::per_tensor(0.01, 0))),
            false => graph.add_const("w", &Tensor::from_slice(shape, &floats).unwrap()),
        }
    };
    let conv = |kernel: usize| {
        let window = Window { kernel: [kernel; 2], strides: [1; 2], dilations: [1; 2], pads: [[kernel / 2; 2]; 2], ceil: false };
        Op::Conv(Conv { window, groups: 1, bias: false, dynamic: false, activation: Activation::None })
    };
    let x = graph.add_input("x", ty(&[1, 14, 13, 24], 0.02));
    let w = weight(&mut graph, &[20, 3, 3, 24]);
    let y = graph.add_node("three", conv(3), &[x, w], ty(&[1, 14, 13, 20], 0.3));
    let w = weight(&mut graph, &[36, 1, 1, 20]);
    let y = graph.add_node("one", conv(1), &[y, w], ty(&[1, 14, 13, 36], 0.4));
    let w = weight(&mut graph, &[36, 10]);
    let op = MatMul { transpose_b: false, bias: false, dynamic: false, activation: Activation::None };
    let y = graph.add_node("product", Op::MatMul(op), &[y, w], ty(&[1, 14, 13, 10], 0.9));
    graph.add_output("y", y);
    Plan { graph, meta: Meta::default() }
}

const SHAPE: [usize; 4] = [1, 14, 13, 24];

fn input(quantized: bool) -> Tensor {
    let bytes: Vec<u8> = (0..SHAPE.iter().product::<usize>()).map(|i| (i * 151 % 256) as u8).collect();
    let floats: Vec<f32> = bytes.iter().map(|b| f32::from(*b) / 64.0 - 2.0).collect();
    if quantized { Tensor::from_slice(&SHAPE, &bytes).unwrap() } else { Tensor::from_slice(&SHAPE, &floats).unwrap() }
}

fn result(session: &mut Session, x: &Tensor) -> Vec<u8> {
    session.run(&[("x", x.view())]).unwrap().get("y").unwrap().data.to_vec()
}

fn with_choices(quantized: bool, choices: Choices) -> Session {
    Session::with_choices(model(quantized), &Limits::default(), Team::ALONE, Some(choices)).unwrap()
}

/// Tunes for about `budget_ms` milliseconds by `clock`, in slices.
fn tune(session: &mut Session, quantized: bool, budget_ms: f64, clock: &mut dyn FnMut() -> f64) -> Tuned {
    let x = input(quantized);
    let mut tuner = Tuner::new(model(quantized), session, &[("x", x.view())], budget_ms).unwrap();
    let mut done = 0.0;
    while done < 1.0 {
        let now = tuner.advance(session, clock, 5.0).unwrap();
        assert!(now >= done);
        done = now;
    }
    tuner.finish(session)
}

#[test]
fn a_tuned_model_gives_the_same_integers() {
    let mut session = Session::new(model(true)).unwrap();
    let before = result(&mut session, &input(true));
    let start = std::time::Instant::now();
    let tuned = tune(&mut session, true, 500.0, &mut || start.elapsed().as_secs_f64() * 1e3);
    assert_eq!(result(&mut session, &input(true)), before);
    assert!(before.iter().any(|b| *b != before[0]));
    assert_eq!(tuned.nodes.iter().map(|n| n.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(tuned.kept, session.choices().is_some());
}

#[test]
fn the_model_runs_on_other_inputs_between_slices() {
    let mut session = Session::new(model(false)).unwrap();
    let x = input(false);
    let before = result(&mut session, &x);
    let start = std::time::Instant::now();
    let mut clock = || start.elapsed().as_secs_f64() * 1e3;
    let mut tuner = Tuner::new(model(false), &mut session, &[("x", x.view())], 100.0).unwrap();
    while tuner.advance(&mut session, &mut clock, 1.0).unwrap() < 1.0 {
        assert_eq!(result(&mut session, &x), before);
    }
    // Given up: nothing changes.
    drop(tuner);
    assert_eq!(result(&mut session, &x), before);
}

#[test]
fn every_choice_of_every_node_gives_the_same_bytes() {
    let x = input(true);
    let expected = result(&mut Session::new(model(true)).unwrap(), &x);
    for choice in candidates() {
        let mut choices = Choices::none(&[&SHAPE], 3);
        (0..3).for_each(|node| choices.set(node, choice));
        assert_eq!(result(&mut with_choices(true, choices), &x), expected, "{choice:?}");
    }
}

#[test]
fn ways_that_take_the_same_time_change_nothing() {
    let mut session = Session::new(model(true)).unwrap();
    let mut now = 0.0;
    // Each look at the clock takes a millisecond, and nothing else does.
    let tuned = tune(&mut session, true, 20_000.0, &mut || {
        now += 1.0;
        now
    });
    assert!(!tuned.kept && session.choices().is_none() && tuned.nodes.len() == 3);
    assert!(tuned.nodes.iter().all(|node| node.before == node.after));
}

/// A verdict on a tuned model whose runs take `tuned_ms`, where the others take 10 and every fourth pair is disturbed.
fn judge(tuned_ms: f64) -> (bool, Tuned) {
    let mut session = Session::new(model(true)).unwrap();
    let mut verdict = Verdict::new(model(true), &session, Choices::none(&[&SHAPE], 3), 0.1).unwrap();
    let inputs = [("x".into(), input(true))];
    let (mut now, mut looks) = (0.0, 0);
    let mut clock = || {
        // Two looks for a run, two runs for a comparison of which the first one does not count.
        let (comparison, run, over) = (looks / 4, looks / 2 % 2, looks % 2 == 1);
        let pair = usize::saturating_sub(comparison, 1);
        let tuned = (run + pair) % 2 == 1;
        if over {
            now += if tuned { tuned_ms } else { 10.0 } + if pair % 4 == 3 { 30.0 * run as f64 } else { 0.0 };
        }
        looks += 1;
        now
    };
    while !verdict.compare(&mut session, &inputs, &mut clock, -1.0).unwrap() {}
    let mut report = Tuned::default();
    (verdict.end(&mut report).is_some(), report)
}

#[test]
fn a_tuned_model_that_is_not_faster_is_dropped() {
    for (ms, kept) in [(12.0, false), (10.0, false), (9.95, false), (8.0, true)] {
        let (tuned, report) = judge(ms);
        assert_eq!((tuned, report.kept), (kept, kept), "{ms} ms: {report:?}");
        assert!((report.before_ms - 10.0).abs() < 1e-9 && (report.after_ms - ms).abs() < 1e-9);
    }
}

#[test]
fn choices_are_for_the_shapes_they_were_made_for() {
    let choices = Choices::none(&[&[1, 2], &[3]], 1);
    assert!(choices.are_for(&[&[1, 2], &[3]]));
    assert!(!choices.are_for(&[&[1, 2, 3]]) && !choices.are_for(&[&[2, 1], &[3]]));
}

#[test]
fn a_damaged_or_foreign_record_is_ignored() {
    let mut choices = Choices::none(&[&SHAPE], 3);
    choices.set(1, Choice { blocks: 1, ..Choice::AUTO });
    let record = choices.encode("here");
    assert_eq!(Choices::decode(&record, "here", 3), Some(choices));
    assert_eq!(Choices::decode(&record, "there", 3), None);
    assert_eq!(Choices::decode(&record, "here", 4), None);
    for at in 0..record.len() {
        let mut bad = record.clone();
        bad[at] ^= 1;
        assert_eq!(Choices::decode(&bad, "here", 3), None, "byte {at}");
        assert_eq!(Choices::decode(&record[..at], "here", 3), None);
    }
}

#[test]
fn a_record_follows_the_plan_in_its_file() {
    let file = plan::write(&model(true)).unwrap();
    let record = Choices::none(&[&SHAPE], 3).encode("here");
    let both = [&file[..], &record].concat();
    let in_pieces = |file: &[u8]| {
        let mut reader = Reader::new(file.len());
        file.chunks(50).try_for_each(|piece| reader.push(piece))?;
        reader.finish()
    };
    let whole = |file: &[u8]| plan::read(AlignedBytes::copy_of(file));
    for read in [&in_pieces as &dyn Fn(&[u8]) -> Result<Plan>, &whole] {
        let plan = read(&both).unwrap();
        assert_eq!(plan.meta.record, record);
        assert_eq!(plan::write(&plan).unwrap(), file);
        assert!(read(&file).unwrap().meta.record.is_empty());
        // Anything else that follows is an error, as before.
        let mut other = both.clone();
        other[file.len()] ^= 1;
        for bad in [&other[..], &both[..file.len() + 31]] {
            assert!(read(bad).unwrap_err().to_string().contains("truncated or padded"));
        }
    }
}
