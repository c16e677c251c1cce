//! Operators of `ai.onnx.ml`, which classical models are exported with.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use super::lower::{Call, Lower, Lowering};
use crate::{
    error::{Result, bail, ensure},
    graph::{
        Dim, Op, ValueId, ValueType,
        ops::{Activation, Aggregate, BinaryOp, MatMul, NodeMode, ReduceOp, Unary},
    },
    tensor::{DType, Tensor},
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "Scaler" => scaler,
        "TreeEnsembleRegressor" => |l, c| {
            let scores = trees(l, c, "target", usize::try_from(c.node.int("n_targets").unwrap_or(1)).unwrap_or(0))?;
            Ok(vec![transform(l, c, scores)?])
        },
        "TreeEnsembleClassifier" => tree_classifier,
        "LinearClassifier" => linear_classifier,
        "LinearRegressor" => |l, c| {
            let scores = linear(l, c, usize::try_from(c.node.int("targets").unwrap_or(1)).unwrap_or(0))?;
            Ok(vec![transform(l, c, scores)?])
        },
        _ => return None,
    })
}

/// `(x − offset) · scale`.
fn scaler(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let mut y = l.cast(c, x, DType::F32);
    for (name, op) in [("offset", BinaryOp::Sub), ("scale", BinaryOp::Mul)] {
        if let Some(values) = c.node.floats(name) {
            ensure!(!values.is_empty(), InvalidModel, "has an empty {name}");
            let values = l.graph.add_const(c.name(), &Tensor::from_slice(&[values.len()], values)?);
            y = l.binary(c, op, y, values);
        }
    }
    Ok(vec![y])
}

/// The scores' function.
fn transform(l: &mut Lower, c: &Call, scores: ValueId) -> Result<ValueId> {
    Ok(match c.node.string("post_transform").unwrap_or("NONE") {
        "NONE" => scores,
        "LOGISTIC" => l.unary(c, Unary::Sigmoid, scores),
        "SOFTMAX" => {
            let ty = ValueType::new(DType::F32, l.shape(scores));
            l.emit(c, Op::Softmax { axis: 1, log: false }, &[scores], ty)
        }
        other => bail!(Unsupported, "post_transform {other} is not supported"),
    })
}

/// `[N,F]` of f32.
fn samples(l: &mut Lower, c: &Call) -> Result<(ValueId, Dim)> {
    let x = c.input(0)?;
    let x = l.cast(c, x, DType::F32);
    let shape = match l.shape(x).as_slice() {
        [features] => vec![Dim::fixed(1), features.clone()],
        [n, features] => vec![n.clone(), features.clone()],
        other => bail!(Unsupported, "needs an input of rank 2, has {}", other.len()),
    };
    let n = shape[0].clone();
    Ok((l.reshape(c.name(), x, shape), n))
}

/// The class labels that are integers.
fn labels(l: &mut Lower, c: &Call, names: [&str; 2]) -> Result<(ValueId, usize)> {
    ensure!(c.node.strings(names[1]).is_empty(), Unsupported, "class labels that are strings are not supported");
    let labels = c.node.ints(names[0]).unwrap_or(&[]);
    ensure!(!labels.is_empty(), InvalidModel, "has no class labels");
    Ok((l.graph.add_const(c.name(), &Tensor::from_slice(&[labels.len()], labels)?), labels.len()))
}

/// The label of the largest score.
fn best(l: &mut Lower, c: &Call, scores: ValueId, labels: ValueId) -> ValueId {
    let ty = ValueType::new(DType::I64, vec![l.shape(scores)[0].clone()]);
    let arg = Op::Reduce { op: ReduceOp::ArgMax, axes: vec![1], keep_dims: false };
    let index = l.emit(c, arg, &[scores], ty.clone());
    l.emit(c, Op::Gather { axis: 0 }, &[labels, index], ty)
}

/// The scores of all trees, for `columns` targets or classes.
fn trees(l: &mut Lower, c: &Call, prefix: &str, columns: usize) -> Result<ValueId> {
    let (x, n) = samples(l, c)?;
    let ints = |name: &str| c.node.ints(name).unwrap_or(&[]);
    let (tree_ids, node_ids, modes) = (ints("nodes_treeids"), ints("nodes_nodeids"), c.node.strings("nodes_modes"));
    let thresholds = c.node.floats("nodes_values").unwrap_or(&[]);
    let (features, yes, no) = (ints("nodes_featureids"), ints("nodes_truenodeids"), ints("nodes_falsenodeids"));
    let missing = ints("nodes_missing_value_tracks_true");
    let count = tree_ids.len();
    let lengths = [node_ids.len(), modes.len(), thresholds.len(), features.len(), yes.len(), no.len()];
    ensure!(
        count > 0 && lengths.iter().all(|&n| n == count),
        InvalidModel,
        "has lists of different lengths: {count}, {lengths:?}"
    );
    ensure!(missing.is_empty() || missing.len() == count, InvalidModel, "has {} marks of missing values", missing.len());
    let index: BTreeMap<(i64, i64), usize> = (0..count).map(|i| ((tree_ids[i], node_ids[i]), i)).collect();
    ensure!(index.len() == count, InvalidModel, "has two nodes of one number in a tree");

    let name = |suffix: &str| alloc::format!("{prefix}_{suffix}");
    let (leaf_trees, leaf_nodes, leaf_ids) = (ints(&name("treeids")), ints(&name("nodeids")), ints(&name("ids")));
    let leaf_weights = c.node.floats(&name("weights")).unwrap_or(&[]);
    ensure!(
        [leaf_nodes.len(), leaf_ids.len(), leaf_weights.len()].iter().all(|&n| n == leaf_trees.len()),
        InvalidModel,
        "has lists of different lengths for its leaves"
    );
    let mut leaves: Vec<Vec<(i64, f32)>> = vec![Vec::new(); count];
    for i in 0..leaf_trees.len() {
        let Some(&node) = index.get(&(leaf_trees[i], leaf_nodes[i])) else {
            bail!(InvalidModel, "a weight belongs to node {} of tree {}, which is not there", leaf_nodes[i], leaf_trees[i]);
        };
        leaves[node].push((leaf_ids[i], leaf_weights[i]));
    }
    let (mut table, mut ids, mut weights): (Vec<i32>, Vec<i32>, Vec<f32>) = Default::default();
    let mut is_root = vec![true; count];
    for i in 0..count {
        let Some(mode) = NodeMode::from_name(modes[i]) else {
            bail!(Unsupported, "nodes of mode {} are not supported", modes[i])
        };
        let mut kind = mode as i32;
        if missing.get(i).is_some_and(|m| *m != 0) {
            kind |= 0x100;
        }
        let entry = if mode == NodeMode::Leaf {
            let start = ids.len() as i32;
            ids.extend(leaves[i].iter().map(|(id, _)| *id as i32));
            weights.extend(leaves[i].iter().map(|(_, w)| w));
            [kind, 0, start, ids.len() as i32]
        } else {
            let mut next = |id: i64| match index.get(&(tree_ids[i], id)) {
                Some(&next) => {
                    is_root[next] = false;
                    Ok(next as i32)
                }
                None => bail!(InvalidModel, "node {} of tree {} leads to {id}, which is not there", node_ids[i], tree_ids[i]),
            };
            [kind, i32::try_from(features[i]).unwrap_or(-1), next(yes[i])?, next(no[i])?]
        };
        table.extend(entry);
    }
    let roots: Vec<i32> = (0..count).filter(|&i| is_root[i]).map(|i| i as i32).collect();
    ensure!(!roots.is_empty(), InvalidModel, "has no tree with a root");
    let mut constant = |t: Result<Tensor>| t.map(|t| l.graph.add_const(c.name(), &t));
    let operands = [
        x,
        constant(Tensor::from_slice(&[table.len()], &table))?,
        constant(Tensor::from_slice(&[count], thresholds))?,
        constant(Tensor::from_slice(&[roots.len()], &roots))?,
        constant(Tensor::from_slice(&[ids.len()], &ids))?,
        constant(Tensor::from_slice(&[weights.len()], &weights))?,
    ];
    let aggregate = match c.node.string("aggregate_function").unwrap_or("SUM") {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => bail!(InvalidModel, "has the aggregate_function {other}"),
    };
    let ty = ValueType::new(DType::F32, vec![n, Dim::fixed(columns)]);
    let scores = l.emit(c, Op::TreeEnsemble { aggregate }, &operands, ty);
    match c.node.floats("base_values").filter(|b| !b.is_empty()) {
        Some(base) => {
            ensure!(
                base.len() == columns || base.len() == 1,
                InvalidModel,
                "has {} base values for {columns} results",
                base.len()
            );
            let base = l.graph.add_const(c.name(), &Tensor::from_slice(&[base.len()], base)?);
            Ok(l.binary(c, BinaryOp::Add, scores, base))
        }
        None => Ok(scores),
    }
}

fn tree_classifier(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (labels, classes) = labels(l, c, ["classlabels_int64s", "classlabels_strings"])?;
    let ids = c.node.ints("class_ids").unwrap_or(&[]);
    let single = classes == 2 && ids.iter().all(|id| Some(id) == ids.first());
    // With two classes the leaves may score only one: the other has what is left.
    ensure!(!single, Unsupported, "two classes of which only one is scored are not supported");
    let scores = trees(l, c, "class", classes)?;
    let label = best(l, c, scores, labels);
    Ok(vec![label, transform(l, c, scores)?])
}

/// `x · coefficientsᵀ + intercepts`.
fn linear(l: &mut Lower, c: &Call, columns: usize) -> Result<ValueId> {
    let (x, n) = samples(l, c)?;
    let coefficients = c.node.floats("coefficients").unwrap_or(&[]);
    ensure!(
        columns > 0 && !coefficients.is_empty() && coefficients.len().is_multiple_of(columns),
        InvalidModel,
        "has {} coefficients for {columns} results",
        coefficients.len()
    );
    let matrix = Tensor::from_slice(&[columns, coefficients.len() / columns], coefficients)?;
    let mut inputs = vec![x, l.graph.add_const(c.name(), &matrix)];
    if let Some(intercepts) = c.node.floats("intercepts").filter(|i| !i.is_empty()) {
        ensure!(intercepts.len() == columns, InvalidModel, "has {} intercepts for {columns} results", intercepts.len());
        inputs.push(l.graph.add_const(c.name(), &Tensor::from_slice(&[columns], intercepts)?));
    }
    let op = MatMul { transpose_b: true, bias: inputs.len() > 2, dynamic: false, activation: Activation::None };
    Ok(l.emit(c, Op::MatMul(op), &inputs, ValueType::new(DType::F32, vec![n, Dim::fixed(columns)])))
}

fn linear_classifier(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let (labels, classes) = labels(l, c, ["classlabels_ints", "classlabels_strings"])?;
    let rows = c.node.floats("intercepts").map_or(classes, <[f32]>::len);
    ensure!(rows == classes, Unsupported, "{rows} rows of coefficients for {classes} classes are not supported");
    let scores = linear(l, c, classes)?;
    let label = best(l, c, scores, labels);
    Ok(vec![label, transform(l, c, scores)?])
}
