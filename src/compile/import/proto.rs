//! ONNX bytes to a protobuf model that tract can be given: recognised, checked, and without its weights.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use prost::Message;
use tract_onnx::{
    pb::{self, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto},
    prelude::SymbolScope,
};

use super::{
    Ports, contrib,
    dims::SymbolNames,
    expand,
    half::{self, Half},
    shape_math, validate, weights,
    write::attribute,
};
use crate::{
    compile::{
        Needed, Options, WeightFiles,
        reader::is_own,
        weight_files::{self, Place},
    },
    error::{Error, Result, bail, ensure},
    graph::plan,
    runtime::{DimInfo, PortInfo},
    tensor::Tensor,
};

/// Newest operator set whose operators were reviewed.
const NEWEST_OPSET: i64 = 28;

/// A checked model.
pub(super) struct Model {
    pub proto: pb::ModelProto,
    pub symbols: SymbolNames,
    pub half: Half,
}

/// Decodes and checks a model.
pub(super) fn decode(onnx: &[u8], options: &Options) -> Result<Model> {
    let (mut proto, half) = checked(onnx, options)?;
    let graph = proto.graph.get_or_insert_default();
    shape_math::open_ends(graph);
    shape_math::fold_ranges(graph);
    shape_math::widen(graph);
    drop_unused_outputs(graph);
    make_names_unique(graph);
    // What the file claims about intermediate and output shapes is inferred anyway, and may be wrong.
    graph.value_info.clear();
    for output in &mut graph.output {
        output.r#type = None;
    }
    let symbols = name_dimensions(graph, &options.dimensions)?;
    Ok(Model { proto, symbols, half })
}

/// Decodes and checks a model for the mixed executor: its values may be of any kind, and nothing is prepared for tract.
pub(super) fn decode_mixed(onnx: &[u8], options: &Options) -> Result<super::MixedModel> {
    let (mut proto, _) = checked(onnx, options)?;
    make_names_unique(proto.graph.get_or_insert_default());
    Ok(super::MixedModel { proto })
}

/// A model, which has a graph, with what is known of its weights and inputs brought in; and which of its ports are of half precision.
fn checked(onnx: &[u8], options: &Options) -> Result<(pb::ModelProto, Half)> {
    recognise(onnx)?;
    let mut proto = message(onnx)?;
    check_opsets(&proto)?;
    let Some(graph) = &mut proto.graph else { bail!(InvalidModel, "the bytes hold no ONNX graph; is this really a model file?") };
    ensure!(!graph.output.is_empty(), InvalidModel, "the model's graph has no outputs");
    inline_external_data(graph, &options.external_data)?;
    inline_constants(graph, &options.constants);
    contrib::rewrite(graph);
    expand::expand(graph);
    let half = half::widen(graph);
    check_graph(graph, options, &BTreeSet::new(), 0)?;
    check_order(graph)?;
    validate::check_nodes(graph)?;
    write_defaults(graph);
    normalise_domains(graph);
    Ok((proto, half))
}

pub(super) fn recognise(bytes: &[u8]) -> Result<()> {
    ensure!(!bytes.is_empty(), InvalidModel, "the model is empty (0 bytes)");
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).trim_start().to_ascii_lowercase();
    ensure!(
        !head.starts_with("version https://git-lfs"),
        InvalidModel,
        "the file is a Git LFS pointer, not the model itself; run `git lfs pull`, or download it through the LFS address"
    );
    ensure!(
        !(head.starts_with("<!doctype") || head.starts_with("<html") || head.starts_with("<?xml")),
        InvalidModel,
        "the file is a web page, not a model; the server probably answered with an error or log-in page"
    );
    ensure!(!head.starts_with('{'), InvalidModel, "the file is JSON text, not an ONNX model");
    ensure!(!plan::is_plan(bytes), InvalidModel, "the file is a compiled plan; load it as it is, without compiling");
    for (magic, what) in [
        (&b"PK\x03\x04"[..], "a zip archive; unpack it (a PyTorch .pt file must be exported to ONNX)"),
        (b"\x1f\x8b", "gzip data; decompress it"),
        (b"\x89HDF", "an HDF5 (Keras) file; convert it with tf2onnx"),
    ] {
        ensure!(!bytes.starts_with(magic), InvalidModel, "the file is {what} first");
    }
    ensure!(
        bytes.len() < 12 || &bytes[4..8] != b"TFL3",
        InvalidModel,
        "the file is a TensorFlow Lite model; convert it with tf2onnx first"
    );
    Ok(())
}

fn check_opsets(proto: &pb::ModelProto) -> Result<()> {
    let is_default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let version = proto.opset_import.iter().find(|o| is_default(&o.domain)).map(|o| o.version);
    if let Some(v) = version {
        ensure!(
            (1..=NEWEST_OPSET).contains(&v),
            Unsupported,
            "the model uses ONNX operator set {v}, the newest known is {NEWEST_OPSET}; export it with an older operator set"
        );
    }
    // Files older than the field's invention (IR version 3) mean version 1.
    ensure!(
        version.is_some() || proto.ir_version < 3 || !proto.opset_import.is_empty(),
        InvalidModel,
        "the model does not say which ONNX operator set it uses (opset_import is missing)"
    );
    Ok(())
}

/// Forgets optional outputs that nothing reads, such as Dropout's mask.
fn drop_unused_outputs(graph: &mut pb::GraphProto) {
    let mut read: BTreeSet<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    collect_reads(graph, &mut read);
    for node in &mut graph.node {
        let optional = matches!(
            node.op_type.as_str(),
            "Dropout"
                | "BatchNormalization"
                | "MaxPool"
                | "LayerNormalization"
                | "SkipLayerNormalization"
                | "SimplifiedLayerNormalization"
        );
        if optional {
            for output in node.output.iter_mut().skip(1).filter(|o| !read.contains(*o)) {
                output.clear();
            }
            while node.output.last().is_some_and(String::is_empty) {
                node.output.pop();
            }
        }
    }
}

fn collect_reads(graph: &pb::GraphProto, read: &mut BTreeSet<String>) {
    for node in &graph.node {
        read.extend(node.input.iter().cloned());
        for body in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            read.extend(body.output.iter().map(|o| o.name.clone()));
            collect_reads(body, read);
        }
    }
}

/// The parts of other files in which the model keeps weights.
pub(super) fn external_ranges(onnx: &[u8]) -> Result<Vec<Needed>> {
    let proto = message(onnx)?;
    let tensors = proto.graph.iter().flat_map(|g| &g.initializer).filter(|t| weight_files::is_external(t));
    let range = |tensor: &pb::TensorProto| {
        let place = Place::of(tensor)?;
        let len = place.len.or(weights::byte_len(tensor)).unwrap_or_default();
        Ok(Needed { path: place.path, start: place.start, len })
    };
    let ranges = tensors.map(range).filter(|r| !r.as_ref().is_ok_and(|r: &Needed| is_own(&r.path)));
    ranges.collect()
}

fn message(onnx: &[u8]) -> Result<pb::ModelProto> {
    pb::ModelProto::decode(onnx)
        .map_err(|e| Error::InvalidModel(format!("the bytes are not an ONNX model, or it is truncated or damaged ({e})")))
}

/// Brings weights of other files into the model, but for those that [`weights::detach`] takes from there.
fn inline_external_data(graph: &mut pb::GraphProto, files: &WeightFiles) -> Result<()> {
    for tensor in graph.initializer.iter_mut().filter(|t| weight_files::is_external(t)) {
        if !weights::is_detachable(tensor) || half::is_widened(tensor.data_type) {
            weights::inline(tensor, files)?;
        }
    }
    Ok(())
}

/// ConstantOfShape fills with float32 zeros by default, where tract takes float64.
fn write_defaults(graph: &mut pb::GraphProto) {
    for node in &mut graph.node {
        if node.op_type == "ConstantOfShape" && node.attribute.iter().all(|a| a.name != "value") {
            node.attribute.push(attribute("value", weights::message("", &Tensor::scalar(0f32))));
        }
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(write_defaults);
        }
    }
}

/// Inputs whose values are known become weights.
fn inline_constants(graph: &mut pb::GraphProto, constants: &[(String, Tensor)]) {
    for (name, tensor) in constants {
        let before = graph.input.len();
        graph.input.retain(|i| i.name != *name);
        if graph.input.len() < before {
            graph.initializer.retain(|t| t.name != *name);
            graph.initializer.push(weights::message(name, tensor));
        }
    }
}

/// The inputs and outputs as the model describes them.
pub(super) fn ports(onnx: &[u8]) -> Result<Ports> {
    let proto = message(onnx)?;
    let Some(graph) = &proto.graph else { bail!(InvalidModel, "the model has no graph") };
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|i| !constants.contains(i.name.as_str()));
    Ok(Ports { inputs: inputs.map(port).collect::<Result<_>>()?, outputs: graph.output.iter().map(port).collect::<Result<_>>()? })
}

fn port(info: &pb::ValueInfoProto) -> Result<PortInfo> {
    let Some(type_proto::Value::TensorType(t)) = info.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        bail!(Unsupported, "'{}' is not a tensor", info.name);
    };
    let dims = t.shape.iter().flat_map(|s| &s.dim).enumerate();
    let dims = dims.map(|(axis, dim)| match &dim.value {
        Some(dimension::Value::DimValue(v)) if *v >= 0 => DimInfo::Fixed(*v as usize),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() && name != "?" => DimInfo::Symbol(name.clone()),
        _ => DimInfo::Symbol(format!("{}_d{axis}", info.name)),
    });
    let dtype = weights::supported(t.elem_type).map_err(|e| Error::Unsupported(format!("'{}': {e}", info.name)))?;
    Ok(PortInfo { name: info.name.clone(), dtype, shape: dims.collect() })
}

/// Every name that is read is defined, every tensor is as long as it says; `outer` are the names that enclosing graphs define.
fn check_graph(graph: &pb::GraphProto, options: &Options, outer: &BTreeSet<&str>, depth: usize) -> Result<()> {
    let (files, limits) = (&options.external_data, &options.limits);
    ensure!(
        depth <= limits.nesting,
        Limit,
        "graphs are nested in each other more than {} times, the limit (nesting); raise it, or use another model",
        limits.nesting
    );
    ensure!(
        graph.node.len() <= limits.nodes,
        Limit,
        "the model has {} nodes, the limit is {} (nodes); raise it, or simplify the model",
        graph.node.len(),
        limits.nodes
    );
    ensure!(graph.sparse_initializer.is_empty(), Unsupported, "the model has sparse weights; export it with dense ones");
    let mut defined = outer.clone();
    for tensor in &graph.initializer {
        weights::check(tensor, files)?;
        defined.insert(&tensor.name);
    }
    for input in &graph.input {
        check_input(input)?;
        defined.insert(&input.name);
    }
    let mut written = BTreeSet::new();
    for node in &graph.node {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            ensure!(written.insert(output.as_str()), InvalidModel, "'{output}' is the output of two nodes");
            defined.insert(output);
        }
    }
    for node in &graph.node {
        for input in node.input.iter().filter(|i| !i.is_empty()) {
            ensure!(
                defined.contains(input.as_str()),
                InvalidModel,
                "{} '{}' reads '{input}', which nothing defines",
                node.op_type,
                node.name
            );
        }
        for attribute in &node.attribute {
            for tensor in attribute.t.iter().chain(&attribute.tensors) {
                weights::check(tensor, files).map_err(|e| e.at_node(&node.op_type, &node.name))?;
            }
            for body in attribute.g.iter().chain(&attribute.graphs) {
                check_graph(body, options, &defined, depth + 1)?;
            }
        }
    }
    for output in &graph.output {
        ensure!(defined.contains(output.name.as_str()), InvalidModel, "no node computes the output '{}'", output.name);
    }
    Ok(())
}

fn check_input(input: &pb::ValueInfoProto) -> Result<()> {
    let Some(type_proto::Value::TensorType(t)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        // Body graphs may leave the types of their inputs open.
        return Ok(());
    };
    if t.elem_type != 0 {
        weights::supported(t.elem_type).map_err(|e| Error::Unsupported(format!("input '{}': {e}", input.name)))?;
    }
    Ok(())
}

/// The nodes can be put in an order (tract would loop or panic).
fn check_order(graph: &pb::GraphProto) -> Result<()> {
    let mut producer: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        producer.extend(node.output.iter().filter(|o| !o.is_empty()).map(|o| (o.as_str(), i)));
    }
    let mut missing = vec![0usize; graph.node.len()];
    let mut readers = vec![Vec::new(); graph.node.len()];
    for (i, node) in graph.node.iter().enumerate() {
        for p in node.input.iter().filter_map(|v| producer.get(v.as_str())) {
            missing[i] += 1;
            readers[*p].push(i);
        }
    }
    let mut ready: Vec<usize> = (0..missing.len()).filter(|&i| missing[i] == 0).collect();
    let mut done = 0;
    while let Some(i) = ready.pop() {
        done += 1;
        for &r in &readers[i] {
            missing[r] -= 1;
            if missing[r] == 0 {
                ready.push(r);
            }
        }
    }
    if done < missing.len() {
        let node = graph.node.iter().zip(&missing).find(|(_, m)| **m > 0).map(|(n, _)| n);
        let (op, name) = node.map_or(("", ""), |n| (&n.op_type, &n.name));
        bail!(InvalidModel, "the graph has a cycle; {op} '{name}' waits for its own output");
    }
    Ok(())
}

/// tract looks operators up by name only, so an operator of a domain that is not known gets its domain into its name.
fn normalise_domains(graph: &mut pb::GraphProto) {
    for node in &mut graph.node {
        let known = match node.domain.as_str() {
            "" | "ai.onnx" | "ai.onnx.ml" => true,
            "com.microsoft" => super::is_known_contrib(&node.op_type),
            _ => false,
        };
        if !known {
            node.op_type = format!("{}.{}", node.domain, node.op_type);
        }
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(normalise_domains);
        }
    }
}

/// tract refuses two nodes of one name, which ONNX allows.
pub(super) fn make_names_unique(graph: &mut pb::GraphProto) {
    let mut used: BTreeSet<String> = graph.input.iter().map(|i| i.name.clone()).collect();
    used.extend(graph.initializer.iter().map(|t| t.name.clone()));
    for (i, node) in graph.node.iter_mut().enumerate() {
        if node.name.is_empty() {
            node.name = node.output.iter().find(|o| !o.is_empty()).cloned().unwrap_or_else(|| node.op_type.clone());
        }
        if !used.insert(node.name.clone()) {
            node.name = format!("{}#{i}", node.name);
            used.insert(node.name.clone());
        }
    }
}

/// Gives every unknown input dimension a symbol, and every symbol a name that tract can read.
fn name_dimensions(graph: &mut pb::GraphProto, known: &[(String, usize)]) -> Result<SymbolNames> {
    let mut stand_ins: BTreeMap<String, String> = BTreeMap::new();
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    for input in &mut graph.input {
        if constants.contains(input.name.as_str()) {
            continue;
        }
        let Some(type_proto::Value::TensorType(t)) = input.r#type.as_mut().and_then(|t| t.value.as_mut()) else {
            bail!(Unsupported, "input '{}' is not a tensor", input.name);
        };
        let Some(shape) = &mut t.shape else {
            bail!(Unsupported, "input '{}' has no shape, not even a rank; export the model with input shapes", input.name);
        };
        for (axis, dim) in shape.dim.iter_mut().enumerate() {
            let name = match &dim.value {
                Some(dimension::Value::DimValue(v)) if *v >= 0 => continue,
                Some(dimension::Value::DimParam(name)) if !name.is_empty() && name != "?" => name.clone(),
                _ => format!("{}_d{axis}", input.name),
            };
            if let Some((_, size)) = known.iter().find(|(n, _)| *n == name) {
                dim.value = Some(dimension::Value::DimValue(*size as i64));
                continue;
            }
            let name = if is_readable(&name) {
                name
            } else {
                let next = format!("dim_{}", stand_ins.len());
                stand_ins.entry(name).or_insert(next).clone()
            };
            dim.value = Some(dimension::Value::DimParam(name));
        }
    }
    Ok(SymbolNames(stand_ins.into_iter().map(|(name, symbol)| (symbol, name)).collect()))
}

fn is_readable(name: &str) -> bool {
    let identifier = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("dim_")
        && !name.starts_with("unk__");
    let is_expression = name.chars().all(|c| c.is_ascii_alphanumeric() || "_+-*/() ".contains(c))
        && name.contains(['+', '-', '*', '/'])
        && !name.starts_with(['-', '+'])
        && tract_onnx::dim_expr::parse_onnx_dim(&SymbolScope::default(), name).is_ok();
    identifier || is_expression
}

/// Name of an ONNX element type, for messages.
pub(super) fn type_name(code: i32) -> String {
    DataType::try_from(code).map_or_else(|_| format!("type {code}"), |d| d.as_str_name().to_string())
}
