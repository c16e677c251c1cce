//! Inputs whose values are given when a model is compiled. The plan is for these values alone: it keeps the inputs, so that pages call it as
//! they call the model, and refuses other values.

use alloc::{format, string::String, vec::Vec};
use core::str::FromStr;

use super::{Options, import::Ports};
use crate::{
    error::{Result, bail, ensure},
    graph::{Graph, Port},
    runtime::{DimInfo, PortInfo},
    tensor::{DType, Element, Tensor},
};

/// How many elements of a value messages show.
const SHOWN: usize = 8;

/// The values that are given of a model's inputs.
pub(super) struct Values(Vec<Given>);

struct Given {
    /// Its place among the model's inputs.
    index: usize,
    name: String,
    value: Tensor,
    /// The value in words, `16000` or `[2, 3]`.
    text: String,
}

impl Values {
    /// Turns the options' values into constants. Fails where the model has no input, or no open dimension, of a name in the options.
    pub(super) fn take(onnx: &[u8], options: &mut Options) -> Result<Values> {
        let mut given: Vec<Given> = Vec::new();
        let texts = core::mem::take(&mut options.values);
        let known = &options.dimensions;
        let inputs = if texts.is_empty() && known.is_empty() { Vec::new() } else { Ports::read(onnx)?.inputs };
        let open = symbols(&inputs);
        if let Some((name, _)) = known.iter().find(|(name, _)| !open.contains(&name)) {
            let names: Vec<String> = open.iter().map(|name| format!("'{name}'")).collect();
            bail!(InvalidInput, "the model has no open dimension '{name}'; it has {}", list(names));
        }
        for (name, text) in texts {
            let Some(index) = inputs.iter().position(|port| port.name == name) else {
                let names: Vec<String> = inputs.iter().map(|port| format!("'{}'", port.name)).collect();
                bail!(InvalidInput, "the model has no input '{name}' that takes a value; it has {}", list(names));
            };
            ensure!(given.iter().all(|other| other.index != index), InvalidInput, "the value of input '{name}' is given twice");
            let value = parse(&inputs[index], &text)?;
            options.constants.push((name.clone(), value.clone()));
            given.push(Given { index, text: words(&text, value.shape().is_empty()), name, value });
        }
        given.sort_by_key(|given| given.index);
        Ok(Values(given))
    }

    /// Gives a graph, in which they are constants, the inputs back; also gives what users should know. The constant that an input refers to
    /// is called what the input must be.
    pub(super) fn demand(self, graph: &mut Graph) -> Vec<String> {
        let mut notes = Vec::new();
        for Given { index, name, value, text } in self.0 {
            notes.push(format!("Input '{name}' must be {text}: the plan is for this value."));
            let value = graph.add_const(text, &value);
            graph.inputs.insert(index.min(graph.inputs.len()), Port { name, value });
        }
        notes
    }
}

/// Names of the inputs' open dimensions.
pub(super) fn symbols(inputs: &[PortInfo]) -> Vec<&String> {
    let mut names = Vec::new();
    for dim in inputs.iter().flat_map(|port| &port.shape) {
        match dim {
            DimInfo::Symbol(name) if !names.contains(&name) => names.push(name),
            _ => (),
        }
    }
    names
}

fn list(names: Vec<String>) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// A tensor of the elements that are written with commas between them.
fn parse(port: &PortInfo, text: &str) -> Result<Tensor> {
    let PortInfo { name, dtype, shape } = port;
    let mut bytes = Vec::new();
    let mut count = 0;
    for item in text.split(',').map(str::trim) {
        ensure!(
            element(*dtype, item, &mut bytes).is_some(),
            InvalidInput,
            "input '{name}' takes {dtype}, which '{item}' is not; write its elements with commas between them"
        );
        count += 1;
    }
    let fixed: usize = shape.iter().map(|d| if let DimInfo::Fixed(n) = d { *n } else { 1 }).product();
    let open = shape.iter().filter(|d| matches!(d, DimInfo::Symbol(_))).count();
    ensure!(open <= 1, Unsupported, "input '{name}' has {open} open dimensions, so that elements do not say its shape");
    let fits = if open == 0 { count == fixed } else { fixed > 0 && count % fixed == 0 };
    let takes = if open == 0 { elements(fixed) } else { format!("a multiple of {}", elements(fixed)) };
    let were = if count == 1 { "was" } else { "were" };
    ensure!(fits, InvalidInput, "input '{name}' takes {takes}, {count} {were} given");
    let dim = |d: &DimInfo| if let DimInfo::Fixed(n) = d { *n } else { count / fixed };
    Tensor::from_bytes(*dtype, &shape.iter().map(dim).collect::<Vec<_>>(), &bytes)
}

fn elements(count: usize) -> String {
    format!("{count} element{}", if count == 1 { "" } else { "s" })
}

/// Adds an element; `None` if the text is none of this type.
fn element(dtype: DType, text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    fn number<T: Element + FromStr>(text: &str, bytes: &mut Vec<u8>) -> Option<()> {
        text.parse::<T>().ok().map(|value| bytes.extend_from_slice(bytemuck::bytes_of(&value)))
    }
    match dtype {
        DType::Bool => text.parse::<bool>().ok().map(|value| bytes.push(value.into())),
        DType::F32 => number::<f32>(text, bytes),
        DType::F64 => number::<f64>(text, bytes),
        DType::I8 => number::<i8>(text, bytes),
        DType::U8 => number::<u8>(text, bytes),
        DType::I16 => number::<i16>(text, bytes),
        DType::U16 => number::<u16>(text, bytes),
        DType::I32 => number::<i32>(text, bytes),
        DType::U32 => number::<u32>(text, bytes),
        DType::I64 => number::<i64>(text, bytes),
        DType::U64 => number::<u64>(text, bytes),
        DType::F16 | DType::String => None,
    }
}

fn words(text: &str, scalar: bool) -> String {
    let mut items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.len() > SHOWN {
        items.truncate(SHOWN);
        items.push("…");
    }
    if scalar { items.join(", ") } else { format!("[{}]", items.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dtype: DType, shape: &[DimInfo], text: &str) -> Result<(Vec<usize>, Vec<u8>), String> {
        let port = PortInfo { name: "n".into(), dtype, shape: shape.to_vec() };
        parse(&port, text).map(|t| (t.shape().to_vec(), t.bytes().to_vec())).map_err(|e| e.to_string())
    }

    #[test]
    fn texts_become_values_of_the_inputs_type_and_shape() {
        let (open, two) = (DimInfo::Symbol("d".into()), DimInfo::Fixed(2));
        assert_eq!(of(DType::I64, &[], "16000").unwrap(), (alloc::vec![], 16000i64.to_le_bytes().to_vec()));
        assert_eq!(
            of(DType::U8, &[two.clone(), open.clone()], "1, 2,3,4").unwrap(),
            (alloc::vec![2, 2], alloc::vec![1, 2, 3, 4])
        );
        assert_eq!(of(DType::Bool, &[], "true").unwrap().1, [1]);
        assert_eq!(of(DType::F32, core::slice::from_ref(&open), "0.5").unwrap(), (alloc::vec![1], 0.5f32.to_le_bytes().to_vec()));
        for (dtype, shape, text, message) in [
            (
                DType::I64,
                &[][..],
                "16k",
                "input 'n' takes int64, which '16k' is not; write its elements with commas between them",
            ),
            (DType::I64, &[], "", "input 'n' takes int64, which '' is not; write its elements with commas between them"),
            (DType::I8, &[], "1,2", "input 'n' takes 1 element, 2 were given"),
            (DType::I8, core::slice::from_ref(&two), "1", "input 'n' takes 2 elements, 1 was given"),
            (DType::I8, &[two.clone(), open.clone()], "1,2,3", "input 'n' takes a multiple of 2 elements, 3 were given"),
            (DType::I8, &[open.clone(), open], "1", "input 'n' has 2 open dimensions, so that elements do not say its shape"),
        ] {
            assert_eq!(of(dtype, shape, text).unwrap_err(), message);
        }
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        assert_eq!(words("16000", true), "16000");
        assert_eq!(words("1,2", false), "[1, 2]");
        assert_eq!(words("1,2,3,4,5,6,7,8,9", false), "[1, 2, 3, 4, 5, 6, 7, 8, …]");
    }
}
