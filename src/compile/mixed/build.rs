//! ONNX graphs to programs: which nodes are interpreted, and which are left to segments.

use alloc::{
    borrow::ToOwned,
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
    vec,
    vec::Vec,
};

use tract_onnx::pb::{self, attribute_proto::AttributeType, tensor_proto::DataType, type_proto};

use super::{
    operators::{self, NAME_CLASSES, When},
    program::{Header, Kernel, Planned, Program, Single, Weights},
};
use crate::{
    compile::import,
    error::{Error, Result, bail, ensure},
};

/// Makes programs of graphs.
pub(super) struct Builder {
    header: Arc<Header>,
    /// Weights of the graphs around, the outermost first.
    frames: Vec<Weights>,
    /// Names whose values are not plain tensors, in the graphs around.
    other: Vec<BTreeSet<String>>,
    /// Inputs of 16-bit integers.
    wide: BTreeSet<String>,
    /// Whether something was found that only the mixed executor runs.
    pub needed: bool,
    /// Operators that are interpreted.
    pub interpreted: BTreeSet<String>,
}

impl Builder {
    pub fn new(header: Arc<Header>) -> Builder {
        Builder {
            header,
            frames: Vec::new(),
            other: Vec::new(),
            wide: BTreeSet::new(),
            needed: false,
            interpreted: BTreeSet::new(),
        }
    }

    /// The program of a graph, and for each output whether it may be something else than a plain tensor.
    pub fn graph(&mut self, graph: pb::GraphProto) -> Result<(Program, Vec<bool>)> {
        let (mut weights, mut other) = (Weights::new(), BTreeSet::new());
        let mut nodes = Vec::with_capacity(graph.node.len());
        let mut initializers = graph.initializer;
        for node in graph.node {
            match (node.op_type.as_str(), node.output.first()) {
                ("Constant", Some(output)) => initializers.push(constant(&node, output)?),
                _ => nodes.extend(string_classifier(node)),
            }
        }
        for tensor in initializers {
            if tensor.data_type == DataType::String as i32 {
                other.insert(tensor.name.clone());
            }
            weights.insert(tensor.name.clone(), Arc::new(tensor));
        }
        for input in graph.input.iter().filter(|i| !weights.contains_key(&i.name)) {
            if self.is_other(input) {
                other.insert(input.name.clone());
            }
            if let Some(type_proto::Value::TensorType(t)) = input.r#type.as_ref().and_then(|t| t.value.as_ref())
                && is_wide(t.elem_type)
            {
                self.wide.insert(input.name.clone());
            }
        }
        self.needed |= !other.is_empty();
        let inputs: Vec<String> = graph.input.iter().filter(|i| !weights.contains_key(&i.name)).map(|i| i.name.clone()).collect();
        let outputs: Vec<String> = graph.output.iter().map(|o| o.name.clone()).collect();
        self.frames.push(weights);
        self.other.push(other);
        let mut planned = Vec::with_capacity(nodes.len());
        for node in nodes {
            let (name, op) = (node.name.clone(), node.op_type.clone());
            planned.push(self.plan(node).map_err(|e| e.at_node(&op, &name))?);
        }
        let program = Program::new(inputs, outputs, planned, &self.frames, &self.header)?;
        let kinds = program.outputs.iter().map(|name| self.holds_other(name)).collect();
        self.frames.pop();
        self.other.pop();
        Ok((program, kinds))
    }

    /// Whether a port is something else than a tensor of numbers.
    fn is_other(&self, port: &pb::ValueInfoProto) -> bool {
        match port.r#type.as_ref().map(|t| t.value.as_ref()) {
            Some(Some(type_proto::Value::TensorType(t))) => t.elem_type == DataType::String as i32,
            // Types that tract's messages leave out: sequences, optionals, maps.
            Some(None) => true,
            None => false,
        }
    }

    fn holds_other(&self, name: &str) -> bool {
        self.other.iter().any(|names| names.contains(name))
    }

    /// Whether a name is that of 16-bit integers, as far as an input or a weight says.
    fn is_wide(&self, name: &str) -> bool {
        self.wide.contains(name) || super::program::weight(&self.frames, name).is_some_and(|t| is_wide(t.data_type))
    }

    fn mark(&mut self, name: &str) {
        if let Some(names) = self.other.last_mut()
            && !name.is_empty()
        {
            names.insert(name.to_owned());
        }
    }

    fn plan(&mut self, node: pb::NodeProto) -> Result<Planned> {
        let opset = self.header.opset();
        if operators::is_control(&node.op_type) {
            return self.control(node, opset);
        }
        ensure!(
            node.attribute.iter().all(|a| a.g.is_none() && a.graphs.is_empty()),
            Unsupported,
            "has a graph inside, which is supported in If, Loop, Scan and SequenceMap only"
        );
        let operator = operators::of(&node.op_type);
        let known = import::is_known(&node.op_type);
        ensure!(
            operator.is_some() || known,
            Unsupported,
            "the operator is not supported; replace it in the model, or export the model without it"
        );
        let lowered = import::is_lowered(&node.op_type);
        let operand = node.input.iter().any(|name| self.holds_other(name));
        let to_strings =
            node.op_type == "Cast" && node.attribute.iter().any(|a| a.name == "to" && a.i == DataType::String as i64);
        let special = operand || to_strings;
        let interpreted = operator.filter(|o| match o.when {
            When::Always => !lowered || special,
            When::DataDependent => true,
            When::NoPlan => special,
        });
        let wide = node.op_type == "QuantizeLinear" && node.input.get(2).is_some_and(|zero| self.is_wide(zero));
        self.needed |=
            special || wide || trains(&node) || is_blocked(&node) || (operator.is_some_and(|o| o.when == When::Always) && !known);
        if special && may_keep_kind(&node.op_type) || to_strings {
            for name in node.output.clone() {
                self.mark(&name);
            }
        }
        match interpreted {
            Some(operator) => {
                let kernel = Kernel::Builtin(operator.run);
                self.interpreted.insert(node.op_type.clone());
                if gives_other(&node.op_type) {
                    node.output.iter().for_each(|name| self.mark(name));
                }
                Ok(Planned::Single(Box::new(Single::new(&node, opset, BTreeSet::new(), kernel))))
            }
            None => {
                ensure!(!special || known, Unsupported, "cannot take strings or sequences");
                Ok(Planned::Ordinary(node))
            }
        }
    }

    fn control(&mut self, mut node: pb::NodeProto, opset: i64) -> Result<Planned> {
        let mut captured = BTreeSet::new();
        let mut bodies = BTreeMap::new();
        // tract's Scan wants to know the types of the body's inputs.
        let typed = |body: &pb::GraphProto| body.input.iter().all(|i| i.r#type.is_some());
        self.needed |= node.op_type == "Scan" && !node.attribute.iter().filter_map(|a| a.g.as_ref()).all(typed);
        for attribute in &mut node.attribute {
            if let Some(body) = attribute.g.take() {
                free_names(&body, &mut captured);
                bodies.insert(attribute.name.clone(), body);
            }
        }
        // Weights become constants of the bodies that read them.
        captured.retain(|name| super::program::weight(&self.frames, name).is_none());
        let mut body = |this: &mut Builder, name: &str| match bodies.remove(name) {
            Some(graph) => this.graph(graph),
            None => bail!(InvalidModel, "lacks the graph '{name}'"),
        };
        let (kernel, kinds) = match node.op_type.as_str() {
            "If" => {
                let (then, a) = body(self, "then_branch")?;
                let (otherwise, b) = body(self, "else_branch")?;
                ensure!(
                    a.len() == b.len() && a.len() >= node.output.len(),
                    InvalidModel,
                    "has {} outputs, its branches give {} and {}",
                    node.output.len(),
                    a.len(),
                    b.len()
                );
                (Kernel::If { then, otherwise }, a.iter().zip(&b).map(|(a, b)| *a || *b).collect())
            }
            "Loop" => {
                let (program, kinds) = body(self, "body")?;
                self.needed = true;
                (Kernel::Loop(program), kinds.get(1..).unwrap_or(&[]).to_vec())
            }
            "Scan" => {
                let (program, kinds) = body(self, "body")?;
                (Kernel::Scan(program), kinds)
            }
            _ => {
                let (program, kinds) = body(self, "body")?;
                self.needed = true;
                (Kernel::Map(program), vec![true; kinds.len()])
            }
        };
        for (name, other) in node.output.iter().zip(kinds) {
            if other {
                self.mark(name);
            }
        }
        self.interpreted.insert(node.op_type.clone());
        Ok(Planned::Single(Box::new(Single::new(&node, opset, captured, kernel))))
    }
}

/// Whether an element type is a 16-bit integer.
fn is_wide(code: i32) -> bool {
    code == DataType::Int16 as i32 || code == DataType::Uint16 as i32
}

/// Whether the node has a scale for each block of an axis.
fn is_blocked(node: &pb::NodeProto) -> bool {
    let quantizes = matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear");
    quantizes && node.attribute.iter().any(|a| a.name == "block_size" && a.i > 0)
}

/// Whether the node behaves as in training.
fn trains(node: &pb::NodeProto) -> bool {
    match node.op_type.as_str() {
        "Dropout" => node.input.get(2).is_some_and(|i| !i.is_empty()),
        "BatchNormalization" => node.attribute.iter().any(|a| a.name == "training_mode" && a.i != 0),
        _ => false,
    }
}

/// Whether results of operands that are no plain tensors may be of their kind.
fn may_keep_kind(op_type: &str) -> bool {
    !matches!(
        op_type,
        "Cast"
            | "CastLike"
            | "Shape"
            | "Size"
            | "Equal"
            | "DequantizeLinear"
            | "SequenceLength"
            | "SequenceAt"
            | "ConcatFromSequence"
            | "OptionalHasElement"
            | "OptionalGetElement"
            | "LabelEncoder"
            | "CategoryMapper"
            | "OneHotEncoder"
            | "TfIdfVectorizer"
            | "DictVectorizer"
    )
}

/// Whether an operator gives no plain tensors, whatever it takes.
fn gives_other(op_type: &str) -> bool {
    matches!(
        op_type,
        "SequenceConstruct" | "SequenceEmpty" | "SequenceInsert" | "SequenceErase" | "SplitToSequence" | "Optional" | "ZipMap"
    ) || matches!(op_type, "StringNormalizer" | "StringConcat" | "StringSplit" | NAME_CLASSES)
}

/// A Constant node's value as a weight.
fn constant(node: &pb::NodeProto, output: &str) -> Result<pb::TensorProto> {
    let floats = |dims: Vec<i64>, data: Vec<f32>| pb::TensorProto {
        dims,
        data_type: DataType::Float as i32,
        float_data: data,
        ..Default::default()
    };
    let ints = |dims: Vec<i64>, data: Vec<i64>| pb::TensorProto {
        dims,
        data_type: DataType::Int64 as i32,
        int64_data: data,
        ..Default::default()
    };
    let strings = |dims: Vec<i64>, data: Vec<Vec<u8>>| pb::TensorProto {
        dims,
        data_type: DataType::String as i32,
        string_data: data,
        ..Default::default()
    };
    let found = node.attribute.iter().find_map(|a| {
        Some(match a.name.as_str() {
            "value" => a.t.clone()?,
            "value_float" => floats(Vec::new(), vec![a.f]),
            "value_floats" => floats(vec![a.floats.len() as i64], a.floats.clone()),
            "value_int" => ints(Vec::new(), vec![a.i]),
            "value_ints" => ints(vec![a.ints.len() as i64], a.ints.clone()),
            "value_string" => strings(Vec::new(), vec![a.s.clone()]),
            "value_strings" => strings(vec![a.strings.len() as i64], a.strings.clone()),
            _ => return None,
        })
    });
    let tensor =
        found.ok_or_else(|| Error::Unsupported("has no value, or a sparse one; export the model with dense constants".into()));
    tensor.map(|t| pb::TensorProto { name: output.to_owned(), ..t }).map_err(|e| e.at_node("Constant", &node.name))
}

/// A classifier with string labels gives their numbers, which another node turns into the labels.
fn string_classifier(mut node: pb::NodeProto) -> Vec<pb::NodeProto> {
    let ints = match node.op_type.as_str() {
        "TreeEnsembleClassifier" => "classlabels_int64s",
        "LinearClassifier" | "SVMClassifier" => "classlabels_ints",
        _ => return vec![node],
    };
    let Some(at) = node.attribute.iter().position(|a| a.name == "classlabels_strings" && !a.strings.is_empty()) else {
        return vec![node];
    };
    let Some(output) = node.output.first_mut().filter(|o| !o.is_empty()) else { return vec![node] };
    let numbers = format!("{output}/number");
    let label = core::mem::replace(output, numbers.clone());
    let labels = node.attribute.remove(at);
    node.attribute.retain(|a| a.name != ints);
    node.attribute.push(pb::AttributeProto {
        name: ints.into(),
        r#type: AttributeType::Ints as i32,
        ints: (0..labels.strings.len() as i64).collect(),
        ..Default::default()
    });
    let name = pb::NodeProto {
        name: format!("{}/labels", node.name),
        op_type: NAME_CLASSES.into(),
        input: vec![numbers],
        output: vec![label],
        attribute: vec![labels],
        ..Default::default()
    };
    vec![node, name]
}

/// The names that a graph reads from those around it.
fn free_names(graph: &pb::GraphProto, free: &mut BTreeSet<String>) {
    let mut read = BTreeSet::new();
    for node in &graph.node {
        read.extend(node.input.iter().filter(|i| !i.is_empty()).cloned());
        for body in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            free_names(body, &mut read);
        }
    }
    read.extend(graph.output.iter().map(|o| o.name.clone()));
    let defined: BTreeSet<&String> = graph
        .input
        .iter()
        .map(|i| &i.name)
        .chain(graph.initializer.iter().map(|t| &t.name))
        .chain(graph.node.iter().flat_map(|n| &n.output))
        .collect();
    free.extend(read.into_iter().filter(|name| !defined.contains(name)));
}
