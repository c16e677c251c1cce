//! TreeEnsemble, as `ai.onnx.ml` has it from version 5 on, as the TreeEnsembleRegressor of the versions before.

use alloc::{vec, vec::Vec};

use tract_onnx::pb;

use super::{narrow, weights, write::attribute as written};
use crate::tensor::DType;

/// The modes by their numbers; a member's test is a chain of equalities.
const MODES: [&str; 6] = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
const MEMBER: u8 = 6;

/// The node in the older form; `None` if its lists do not fit together.
pub(super) fn older(node: &pb::NodeProto) -> Option<pb::NodeProto> {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
    let ints = |name: &str| attribute(name).map_or(&[][..], |a| &a.ints);
    let int = |name: &str, default: i64| attribute(name).map_or(default, |a| a.i);
    let floats = |name: &str| attribute(name).and_then(|a| a.t.as_ref()).map_or(Some(Vec::new()), numbers);
    let modes = attribute("nodes_modes")?.t.as_ref()?;
    let modes = weights::tensor(modes).ok()?.bytes().to_vec();
    let (splits, leaf_weights, members) = (floats("nodes_splits")?, floats("leaf_weights")?, floats("membership_values")?);
    let (features, missing) = (ints("nodes_featureids"), ints("nodes_missing_value_tracks_true"));
    let targets = ints("leaf_targetids");
    let count = modes.len();
    // Where each side leads: to a node, or to a leaf, which stands behind all nodes.
    let side = |ids: &str, leaves: &str| -> Option<Vec<i64>> {
        let (ids, leaves) = (ints(ids), ints(leaves));
        let at = |i: usize| Some(if *leaves.get(i)? != 0 { count as i64 + ids.get(i)? } else { *ids.get(i)? });
        (0..count).map(at).collect()
    };
    let (mut yes, mut no) = (side("nodes_truenodeids", "nodes_trueleafs")?, side("nodes_falsenodeids", "nodes_falseleafs")?);
    let fits = [splits.len(), features.len()] == [count; 2]
        && targets.len() == leaf_weights.len()
        && (missing.is_empty() || missing.len() == count);
    if !fits {
        return None;
    }
    let mut all = Lists { ids: (0..count as i64).collect(), features: features.to_vec(), splits, ..Lists::default() };
    all.missing = if missing.is_empty() { vec![0; count] } else { missing.to_vec() };
    let mut next = (count + targets.len()) as i64;
    let mut sets = members.split(|v| v.is_nan());
    for (i, mode) in modes.iter().enumerate() {
        if *mode != MEMBER {
            all.modes.push(MODES.get(usize::from(*mode))?);
            continue;
        }
        let set = sets.next()?;
        all.modes.push("BRANCH_EQ");
        all.splits[i] = set.first().copied().unwrap_or(f32::NAN);
        let otherwise = no[i];
        let mut last = i;
        for value in set.iter().skip(1) {
            no[last] = next;
            last = all.ids.len();
            all.ids.push(next);
            all.features.push(features[i]);
            all.splits.push(*value);
            all.missing.push(all.missing[i]);
            yes.push(yes[i]);
            no.push(otherwise);
            next += 1;
        }
    }
    all.modes.resize(all.ids.len(), "BRANCH_EQ");
    let leaves = (0..targets.len() as i64).map(|i| count as i64 + i);
    all.ids.extend(leaves.clone());
    let nodes = all.ids.len();
    all.modes.resize(nodes, "LEAF");
    all.splits.resize(nodes, 0.0);
    [&mut all.features, &mut all.missing, &mut yes, &mut no].into_iter().for_each(|list| list.resize(nodes, 0));

    let choice = |name: &str, default: i64, names: &[&'static str]| {
        usize::try_from(int(name, default)).ok().and_then(|i| names.get(i).copied())
    };
    let mut lists = vec![
        written("nodes_treeids", vec![0; nodes]),
        written("nodes_nodeids", all.ids),
        written("nodes_featureids", all.features),
        written("nodes_truenodeids", yes),
        written("nodes_falsenodeids", no),
        written("nodes_missing_value_tracks_true", all.missing),
        written("nodes_values", all.splits),
        written("target_treeids", vec![0; targets.len()]),
        written("target_nodeids", leaves.collect::<Vec<i64>>()),
        written("target_ids", targets.to_vec()),
        written("target_weights", leaf_weights),
        written("aggregate_function", choice("aggregate_function", 1, &["AVERAGE", "SUM", "MIN", "MAX"])?),
        written("post_transform", choice("post_transform", 0, &["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"])?),
    ];
    lists.push(written("nodes_modes", all.modes.as_slice()));
    lists.extend(attribute("n_targets").cloned());
    Some(pb::NodeProto { op_type: "TreeEnsembleRegressor".into(), attribute: lists, ..node.clone() })
}

/// Whether the trees' numbers are float64.
pub(super) fn are_double(node: &pb::NodeProto) -> bool {
    let splits = node.attribute.iter().find(|a| a.name == "nodes_splits").and_then(|a| a.t.as_ref());
    splits.is_some_and(|splits| splits.data_type == pb::tensor_proto::DataType::Double as i32)
}

/// A number per node.
#[derive(Default)]
struct Lists {
    ids: Vec<i64>,
    modes: Vec<&'static str>,
    features: Vec<i64>,
    splits: Vec<f32>,
    missing: Vec<i64>,
}

/// The numbers of a tensor of floats of whatever size.
fn numbers(tensor: &pb::TensorProto) -> Option<Vec<f32>> {
    let mut tensor = tensor.clone();
    narrow::hold(&mut tensor);
    let tensor = weights::tensor(&tensor).ok()?;
    match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>().ok().map(<[f32]>::to_vec),
        DType::F64 => tensor.as_slice::<f64>().ok().map(|s| s.iter().map(|&v| v as f32).collect()),
        _ => None,
    }
}
