//! An ONNX node's attributes, inputs and outputs.

use alloc::{string::String, vec::Vec};

use tract_onnx::pb;

/// A node as the model has it; `inputs` and `outputs` count only those that are there.
#[derive(Debug, Clone)]
pub(in crate::compile) struct OnnxNode {
    pub name: String,
    pub op_type: String,
    /// The version of the default operator set.
    pub opset: i64,
    /// For each input of the operator, its index among those that are there.
    pub inputs: Vec<Option<usize>>,
    /// For each output of the operator, its index among those that are there.
    pub outputs: Vec<Option<usize>>,
    attributes: Vec<pb::AttributeProto>,
    output_names: Vec<String>,
}

impl OnnxNode {
    pub(in crate::compile) fn new(node: &pb::NodeProto, opset: i64) -> OnnxNode {
        let present = |names: &[String]| -> Vec<Option<usize>> {
            let mut next = 0..;
            names.iter().map(|n| if n.is_empty() { None } else { next.next() }).collect()
        };
        OnnxNode {
            name: node.name.clone(),
            op_type: node.op_type.clone(),
            opset,
            inputs: present(&node.input),
            outputs: present(&node.output),
            attributes: node.attribute.iter().filter(|a| a.g.is_none() && a.graphs.is_empty()).cloned().collect(),
            output_names: node.output.iter().filter(|o| !o.is_empty()).cloned().collect(),
        }
    }

    /// Name of the `i`-th output that is there.
    pub(in crate::compile) fn output_name(&self, i: usize) -> &str {
        self.output_names.get(i).map_or(&self.name, String::as_str)
    }

    fn attribute(&self, name: &str) -> Option<&pb::AttributeProto> {
        self.attributes.iter().find(|a| a.name == name)
    }

    pub(in crate::compile) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|a| a.i)
    }

    pub(in crate::compile) fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name).map_or(default, |v| v != 0)
    }

    pub(in crate::compile) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).map(|a| a.f)
    }

    pub(in crate::compile) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub(in crate::compile) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|a| a.floats.as_slice())
    }

    pub(in crate::compile) fn strings(&self, name: &str) -> Vec<&str> {
        let list = self.attribute(name).map_or(&[][..], |a| &a.strings);
        list.iter().filter_map(|s| core::str::from_utf8(s).ok()).collect()
    }

    pub(in crate::compile) fn string(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(|a| core::str::from_utf8(&a.s).ok())
    }

    pub(in crate::compile) fn tensor(&self, name: &str) -> Option<&pb::TensorProto> {
        self.attribute(name).and_then(|a| a.t.as_ref())
    }
}
