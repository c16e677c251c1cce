use alloc::vec::Vec;

use super::*;
use crate::{
    graph::{
        Dim, ValueType,
        ops::{Activation, Binary, BinaryOp, Op},
        plan::{Meta, write},
    },
    tensor::{DType, Tensor},
};

/// A file whose constants have these numbers of elements.
fn file(lengths: &[usize]) -> Vec<u8> {
    let mut graph = Graph::default();
    let add = Op::Binary(Binary { op: BinaryOp::Add, activation: Activation::None });
    for (i, &len) in lengths.iter().enumerate() {
        let ty = ValueType::new(DType::F32, alloc::vec![Dim::fixed(len)]);
        let x = graph.add_input(&format!("x{i}"), ty.clone());
        let numbers: Vec<f32> = (0..len).map(|n| (n * 7 + i) as f32).collect();
        let c = graph.add_const(format!("c{i}"), &Tensor::from_slice(&[len], &numbers).unwrap());
        let y = graph.add_node(&format!("sum{i}"), add.clone(), &[x, c], ty);
        graph.add_output(&format!("y{i}"), y);
    }
    write(&Plan { graph, meta: Meta::default() }).unwrap()
}

fn in_pieces(file: &[u8], piece: usize) -> Result<Plan> {
    let mut reader = Reader::new(file.len());
    file.chunks(piece).try_for_each(|piece| reader.push(piece))?;
    reader.finish()
}

const LARGE: usize = OWN_MEMORY / 4;
const FILES: [&[usize]; 7] =
    [&[], &[3], &[0], &[3, LARGE, 5, 0], &[LARGE, LARGE + 1, 2], &[LARGE - 1, 7, 4 * LARGE], &[2, 0, LARGE, 0, LARGE]];

#[test]
fn pieces_of_any_size_give_the_same_plan() {
    for lengths in FILES {
        let file = file(lengths);
        let whole = read(AlignedBytes::copy_of(&file)).unwrap();
        for piece in [1, 63, 64, 1000, OWN_MEMORY, file.len()] {
            let plan = in_pieces(&file, piece).unwrap();
            assert_eq!(write(&plan).unwrap(), file, "{lengths:?} by {piece}");
            assert_eq!(plan.graph.nodes, whole.graph.nodes);
        }
    }
}

#[test]
fn damage_and_truncation_give_the_same_errors_as_for_whole_files() {
    let file = file(&[3, LARGE, 5]);
    let same = |bytes: &[u8]| {
        let whole = read(AlignedBytes::copy_of(bytes)).unwrap_err().to_string();
        assert_eq!(in_pieces(bytes, 4096).unwrap_err().to_string(), whole);
    };
    for at in (0..file.len()).step_by(97).chain(0..400) {
        let mut bad = file.clone();
        bad[at] ^= 4;
        same(&bad);
    }
    for len in (0..file.len()).step_by(1009).chain(0..70) {
        same(&file[..len]);
    }
}

#[test]
fn what_was_announced_must_come_and_no_more() {
    let file = file(&[LARGE]);
    let mut reader = Reader::new(file.len());
    reader.push(&file[..file.len() - 1]).unwrap();
    assert!(reader.finish().unwrap_err().to_string().contains("truncated"));
    let mut reader = Reader::new(file.len());
    reader.push(&file).unwrap();
    assert!(reader.push(&[0]).is_err());
}

#[test]
fn large_constants_have_memory_of_their_own() {
    let plan = in_pieces(&file(&[3, LARGE, 5, LARGE]), 777).unwrap();
    let shared = |a: usize, b: usize| {
        let blob = |i: usize| match &plan.graph.value(plan.graph.nodes[i].inputs[1]).init {
            Some(Init::Data(blob)) => blob.clone(),
            _ => panic!("no constant"),
        };
        blob(a).shares_memory(&blob(b))
    };
    assert!(!shared(1, 3) && !shared(0, 1) && !shared(1, 2));
}
