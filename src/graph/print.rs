//! The graph as text: one line per node, for `nearside inspect`, tests and bug reports.

use alloc::{format, string::String, vec::Vec};
use core::fmt::Write;

use super::{Graph, Init, Op, ValueId, ValueType};
use crate::graph::ops::Activation;

/// The whole graph, a node per line.
pub fn print(graph: &Graph) -> String {
    let mut out = String::new();
    for port in &graph.inputs {
        let _ = writeln!(out, "input  {}: {}", port.name, ty(graph, port.value));
    }
    for node in &graph.nodes {
        let outputs = list(&node.outputs, |v| format!("%{}: {}", v.0, ty(graph, v)));
        let inputs = list(&node.inputs, |v| operand(graph, v));
        let _ = writeln!(out, "{outputs} = {}{}({inputs})  # {}", node.op.name(), attributes(&node.op), node.name);
    }
    for port in &graph.outputs {
        let _ = writeln!(out, "output {} = {}: {}", port.name, operand(graph, port.value), ty(graph, port.value));
    }
    out
}

/// Number of nodes by operator, most frequent first.
pub fn operators(graph: &Graph) -> Vec<(&'static str, usize)> {
    let mut counts = alloc::collections::BTreeMap::new();
    for node in &graph.nodes {
        *counts.entry(node.op.name()).or_insert(0usize) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, n)| core::cmp::Reverse(*n));
    counts
}

/// The same as text: `Conv×52 Add×10`.
pub fn histogram(operators: &[(&str, usize)]) -> String {
    operators.iter().map(|(name, n)| format!("{name}×{n}")).collect::<Vec<_>>().join(" ")
}

/// A type: `uint8[1×112×112×32, scale 0.023, zero 128]`.
pub fn type_text(ty: &ValueType, symbols: &[String]) -> String {
    let dims = ty.shape.iter().map(|d| d.display(symbols)).collect::<Vec<_>>().join("×");
    match &ty.quant {
        None => format!("{}[{dims}]", ty.dtype),
        Some(q) => match q.as_per_tensor() {
            Some((scale, zero)) => format!("{}[{dims}, scale {scale}, zero {zero}]", ty.dtype),
            None => format!("{}[{dims}, scales by axis {}]", ty.dtype, q.axis.unwrap_or(0)),
        },
    }
}

fn ty(graph: &Graph, id: ValueId) -> String {
    type_text(&graph.value(id).ty, &graph.symbols)
}

fn operand(graph: &Graph, id: ValueId) -> String {
    let value = graph.value(id);
    match &value.init {
        Some(Init::Data(_)) => format!("const {} '{}'", ty(graph, id), value.name),
        Some(Init::Dims(dims)) => {
            format!("dims [{}]", dims.iter().map(|d| d.display(&graph.symbols)).collect::<Vec<_>>().join(", "))
        }
        None => format!("%{}", id.0),
    }
}

fn list(ids: &[ValueId], text: impl Fn(ValueId) -> String) -> String {
    ids.iter().map(|v| text(*v)).collect::<Vec<_>>().join(", ")
}

/// The attributes of an operator, e.g. `<3×3 stride 2×2>`; empty if there are none.
pub fn attributes(op: &Op) -> String {
    let clamp = |a: Activation| match a {
        Activation::None => String::new(),
        Activation::Relu => " relu".into(),
        Activation::Clamp { lo, hi } => format!(" clamp {lo}..{hi}"),
    };
    let text = match op {
        Op::Conv(c) => {
            let w = &c.window;
            let mut t = format!("{}×{}", w.kernel[0], w.kernel[1]);
            if w.strides != [1, 1] {
                let _ = write!(t, " stride {}×{}", w.strides[0], w.strides[1]);
            }
            if w.dilations != [1, 1] {
                let _ = write!(t, " dilation {}×{}", w.dilations[0], w.dilations[1]);
            }
            if w.pads != [[0, 0], [0, 0]] {
                let _ = write!(t, " pads {:?}", w.pads);
            }
            if c.groups != 1 {
                let _ = write!(t, " groups {}", c.groups);
            }
            t + if c.dynamic { " dynamic" } else { "" } + &clamp(c.activation)
        }
        Op::MatMul(m) => {
            let mut t = String::new();
            if m.transpose_b {
                t += " transposed";
            }
            if m.dynamic {
                t += " dynamic";
            }
            t + &clamp(m.activation)
        }
        Op::Attention(a) => format!("{} heads", a.heads),
        Op::Pool(p) => format!("{:?} stride {:?}", p.window.kernel, p.window.strides),
        Op::Binary(b) => clamp(b.activation),
        Op::InstanceNorm(n) => clamp(n.activation),
        Op::Transpose { perm } => format!("{perm:?}"),
        Op::Reduce { axes, .. } => format!("{axes:?}"),
        Op::Softmax { axis, .. } | Op::LayerNorm { axis, .. } | Op::Concat { axis } | Op::Gather { axis } => {
            format!("axis {axis}")
        }
        Op::Slice { axis, step, .. } => format!("axis {axis} step {step}"),
        Op::TopK { axis, largest } => format!("axis {axis}{}", if *largest { "" } else { " smallest" }),
        Op::Cumulate { axis, exclusive, reverse, .. } => {
            format!("axis {axis}{}{}", if *exclusive { " exclusive" } else { "" }, if *reverse { " reverse" } else { "" })
        }
        Op::Scatter { combine } => format!("{combine:?}").to_lowercase(),
        Op::GridSample(g) => format!("{:?} {:?}", g.interpolation, g.outside).to_lowercase(),
        Op::RoiAlign(r) => format!("{} samples {}", if r.max { "max" } else { "mean" }, r.samples),
        _ => String::new(),
    };
    if text.is_empty() { text } else { format!("<{}>", text.trim()) }
}
