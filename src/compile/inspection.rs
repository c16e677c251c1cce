//! What can be told of a compiled model, for `inspect` and for whoever writes declarations of its inputs and outputs.

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Write;

use super::{
    front::{Compiled, Report},
    mixed::Kind,
};
use crate::{
    graph::{Graph, Init, Port, plan::Plan, print},
    runtime::{DimInfo, PortInfo},
    tensor::Tensor,
};

/// What can be told of a compiled model.
pub struct Inspection {
    /// The inputs, and what kind of value each is.
    pub inputs: Vec<(PortInfo, Kind)>,
    /// The outputs, and what kind of value each is.
    pub outputs: Vec<(PortInfo, Kind)>,
    /// Whether the model has a plan.
    pub plan: bool,
    /// Number of the plan's nodes by operator, most frequent first.
    pub operators: Vec<(&'static str, usize)>,
    /// Bytes of the plan's constants.
    pub weights: usize,
    /// What the compiler did.
    pub report: Report,
}

/// What an input must be, because the model was compiled for this value.
#[derive(Debug, Clone)]
pub struct Demand {
    /// The input's name.
    pub input: String,
    /// The value in words, `16000` or `[2, 3]`.
    pub text: String,
    /// The value.
    pub value: Tensor,
}

impl Demand {
    /// What a plan's graph demands: an input that refers to a constant was given when the model was compiled.
    pub fn list(graph: &Graph) -> Vec<Demand> {
        let demand = |port: &Port| {
            let value = graph.value(port.value);
            let Some(Init::Data(blob)) = &value.init else { return None };
            let tensor = Tensor::from_bytes(value.ty.dtype, &value.ty.fixed_shape()?, blob.bytes()).ok()?;
            Some(Demand { input: port.name.clone(), text: value.name.clone(), value: tensor })
        };
        graph.inputs.iter().filter_map(demand).collect()
    }
}

impl Inspection {
    /// Of what the compiler made of a model.
    pub fn of(compiled: &Compiled) -> Inspection {
        let tensors = |ports: Vec<PortInfo>| ports.into_iter().map(|port| (port, Kind::Tensor)).collect();
        match compiled {
            Compiled::Plan { plan: Plan { graph, .. }, report } => Inspection {
                inputs: tensors(PortInfo::list(graph, &graph.inputs)),
                outputs: tensors(PortInfo::list(graph, &graph.outputs)),
                plan: true,
                operators: print::operators(graph),
                weights: graph.constant_bytes(),
                report: report.clone(),
            },
            Compiled::Fallback { model, report } => Inspection {
                inputs: model.inputs().iter().cloned().zip(model.kinds(false)).collect(),
                outputs: model.outputs().iter().cloned().zip(model.kinds(true)).collect(),
                plan: false,
                operators: vec![],
                weights: 0,
                report: report.clone(),
            },
        }
    }

    /// As text: the notes, with `passes` what each pass did, and inputs, outputs and counts; with `graph` that graph in their place.
    pub fn text(&self, passes: bool, graph: Option<&Graph>) -> String {
        let mut out = String::new();
        for note in &self.report.notes {
            let _ = writeln!(out, "note: {note}");
        }
        for pass in self.report.passes.iter().filter(|_| passes) {
            let _ = writeln!(out, "pass {} ({} changes)", pass.name, pass.changes.len());
            for change in &pass.changes {
                let _ = writeln!(out, "    {change}");
            }
        }
        if let Some(graph) = graph {
            return out + &print::print(graph);
        }
        for (side, ports) in [("input ", &self.inputs), ("output", &self.outputs)] {
            for port in ports {
                let _ = writeln!(out, "{side}  {}", port_text(port));
            }
        }
        let _ = if self.plan {
            writeln!(out, "nodes   {}\nweights {} bytes", print::histogram(&self.operators), self.weights)
        } else {
            writeln!(out, "no plan: runs in the compiler{}", self.because())
        };
        out
    }

    /// `, for the operators A, B`, where some are the reason why there is no plan.
    fn because(&self) -> String {
        match self.report.fallback_operators.as_slice() {
            [] => String::new(),
            operators => format!(", for the operators {}", operators.join(", ")),
        }
    }
}

/// `image: float32[batch×1×28×28]`, or `probabilities: sequence`.
fn port_text((port, kind): &(PortInfo, Kind)) -> String {
    if *kind != Kind::Tensor {
        return format!("{}: {}", port.name, kind.name());
    }
    let dim = |d: &DimInfo| match d {
        DimInfo::Fixed(n) => format!("{n}"),
        DimInfo::Symbol(s) => s.clone(),
    };
    format!("{}: {}[{}]", port.name, port.dtype, port.shape.iter().map(dim).collect::<Vec<_>>().join("×"))
}
