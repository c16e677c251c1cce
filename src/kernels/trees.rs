//! Ensembles of decision trees.

use alloc::{boxed::Box, vec, vec::Vec};

use super::{Io, Kernel, Prepare};
use crate::{
    error::{Result, bail, ensure},
    graph::ops::{Aggregate, NodeMode},
    tensor::DType,
};

/// A node as it is walked.
#[derive(Clone, Copy)]
struct Node {
    mode: NodeMode,
    /// Where NaN goes.
    missing_true: bool,
    feature: usize,
    threshold: f32,
    /// Next nodes; of a leaf, start and end of its weights.
    yes: usize,
    no: usize,
}

struct Trees {
    nodes: Vec<Node>,
    roots: Vec<usize>,
    weights: Vec<(usize, f32)>,
    aggregate: Aggregate,
    features: usize,
    targets: usize,
}

/// Prepares [`Op::TreeEnsemble`](crate::graph::Op::TreeEnsemble). Everything that is walked later is checked here.
pub(super) fn prepare(aggregate: Aggregate, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    let (x, y) = (&p.inputs[0], &p.outputs[0]);
    let constants = (
        p.inputs[1].constant::<i32>(),
        p.inputs[2].constant::<f32>(),
        p.inputs[3].constant::<i32>(),
        p.inputs[4].constant::<i32>(),
        p.inputs[5].constant::<f32>(),
    );
    let (Some(table), Some(thresholds), Some(roots), Some(ids), Some(weights)) = constants else { return Err(p.unsupported()) };
    let (&[_, features], &[_, targets]) = (x.shape.as_slice(), y.shape.as_slice()) else { return Err(p.unsupported()) };
    if x.dtype != DType::F32 || y.dtype != DType::F32 {
        return Err(p.unsupported());
    }
    let count = thresholds.len();
    ensure!(table.len() == count * 4 && ids.len() == weights.len(), InvalidModel, "has lists of different lengths");
    let below = |value: i32, limit: usize, what: &str| match usize::try_from(value) {
        Ok(v) if v < limit => Ok(v),
        _ => bail!(InvalidModel, "a tree refers to {what} {value}, of {limit}"),
    };
    let mut nodes = Vec::with_capacity(count);
    for (entry, &threshold) in table.chunks_exact(4).zip(thresholds) {
        let Some(mode) = NodeMode::from_code(entry[0] & 0xFF) else {
            bail!(InvalidModel, "a tree has a node of kind {}", entry[0])
        };
        let leaf = mode == NodeMode::Leaf;
        // A leaf's range may end where the list of weights does.
        let limit = if leaf { weights.len() + 1 } else { count };
        let what = if leaf { "weight" } else { "node" };
        nodes.push(Node {
            mode,
            missing_true: entry[0] & 0x100 != 0,
            feature: if leaf { 0 } else { below(entry[1], features, "feature")? },
            threshold,
            yes: below(entry[2], limit, what)?,
            no: below(entry[3], limit, what)?,
        });
    }
    let roots = roots.iter().map(|&r| below(r, count, "node")).collect::<Result<Vec<_>>>()?;
    check_acyclic(&nodes, &roots)?;
    let weights = ids.iter().zip(weights).map(|(&id, &w)| Ok((below(id, targets, "target")?, w))).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(Trees { nodes, roots, weights, aggregate, features, targets }))
}

/// Fails if a walk could come back to a node.
fn check_acyclic(nodes: &[Node], roots: &[usize]) -> Result<()> {
    // 0 unseen, 1 on the way down, 2 done.
    let mut state = vec![0u8; nodes.len()];
    let mut open: Vec<usize> = roots.to_vec();
    while let Some(&at) = open.last() {
        if state[at] != 0 {
            state[at] = 2;
            open.pop();
            continue;
        }
        state[at] = 1;
        let node = &nodes[at];
        if node.mode == NodeMode::Leaf {
            continue;
        }
        for next in [node.yes, node.no] {
            ensure!(state[next] != 1, InvalidModel, "a tree leads back to a node that it came from");
            if state[next] == 0 {
                open.push(next);
            }
        }
    }
    Ok(())
}

impl Trees {
    fn leaf(&self, root: usize, row: &[f32]) -> Node {
        let mut node = self.nodes[root];
        while node.mode != NodeMode::Leaf {
            let value = row[node.feature];
            let holds = node.mode.holds(value, node.threshold) || (node.missing_true && value.is_nan());
            node = self.nodes[if holds { node.yes } else { node.no }];
        }
        node
    }
}

impl Kernel for Trees {
    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let x = io.input::<f32>(0);
        let y = io.output::<f32>(0);
        if self.features == 0 || self.targets == 0 {
            y.fill(0.0);
            return Ok(());
        }
        let start = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Min => f32::INFINITY,
            Aggregate::Max => f32::NEG_INFINITY,
        };
        for (row, y) in x.chunks_exact(self.features).zip(y.chunks_exact_mut(self.targets)) {
            y.fill(start);
            for &root in &self.roots {
                let leaf = self.leaf(root, row);
                for &(target, weight) in self.weights.get(leaf.yes..leaf.no).unwrap_or_default() {
                    let sum = &mut y[target];
                    match self.aggregate {
                        Aggregate::Sum | Aggregate::Average => *sum += weight,
                        Aggregate::Min => *sum = sum.min(weight),
                        Aggregate::Max => *sum = sum.max(weight),
                    }
                }
            }
            if self.aggregate == Aggregate::Average {
                y.iter_mut().for_each(|v| *v /= self.roots.len().max(1) as f32);
            }
            // A target that no leaf mentions.
            y.iter_mut().filter(|v| v.is_infinite()).for_each(|v| *v = 0.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::Op,
        kernels::testing::{Arg, Out, run_op},
        tensor::Tensor,
    };

    /// One tree `x0 ≤ 0.5 ? (x1 < 2 ? 1 : 2) : 4` on target 0, and one leaf of 10 on target 1. Nodes: kind, feature, yes, no.
    fn run(nodes: &[i32], x: &[f32]) -> Result<Vec<f32>> {
        let list = |v: &[i32]| Arg::constant(Tensor::from_slice(&[v.len()], v).unwrap());
        let reals = |v: &[f32]| Arg::constant(Tensor::from_slice(&[v.len()], v).unwrap());
        let args = [
            Arg::new(Tensor::from_slice(&[x.len() / 2, 2], x).unwrap()),
            list(nodes),
            reals(&[0.5, 2.0, 0.0, 0.0, 0.0, 0.0]),
            list(&[0, 5]),
            list(&[0, 0, 0, 1]),
            reals(&[1.0, 2.0, 4.0, 10.0]),
        ];
        let op = Op::TreeEnsemble { aggregate: Aggregate::Sum };
        Ok(run_op(op, &args, &[Out::new(DType::F32, &[x.len() / 2, 2])])?[0].as_slice::<f32>()?.to_vec())
    }

    const NODES: [i32; 24] = [1, 0, 1, 4, 2, 1, 2, 3, 0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 2, 3, 0, 0, 3, 4];

    #[test]
    fn walks_to_leaves() {
        let y = run(&NODES, &[0.5, 1.0, 0.5, 2.0, 0.6, 0.0, f32::NAN, 0.0]).unwrap();
        assert_eq!(y, [1.0, 10.0, 2.0, 10.0, 4.0, 10.0, 4.0, 10.0]);
        let mut missing = NODES;
        missing[0] |= 0x100;
        assert_eq!(run(&missing, &[f32::NAN, 0.0]).unwrap(), [1.0, 10.0]);
    }

    #[test]
    fn trees_that_cannot_be_walked_are_errors() {
        let with = |at: usize, value: i32| {
            let mut nodes = NODES;
            nodes[at] = value;
            run(&nodes, &[0.0, 0.0]).unwrap_err().to_string()
        };
        assert_eq!(with(1, 2), "a tree refers to feature 2, of 2");
        assert_eq!(with(3, 6), "a tree refers to node 6, of 6");
        assert_eq!(with(6, 0), "a tree leads back to a node that it came from");
        assert_eq!(with(0, 77), "a tree has a node of kind 77");
    }
}
