//! Labels, categories and maps: operators of `ai.onnx.ml`.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};

use super::{
    call::{Call, integers, numbers},
    value::{self, Keys, Map, Value},
};
use crate::{
    compile::import::OnnxNode,
    error::{Result, bail, ensure},
    tensor::{DType, element_count},
};

/// What a table maps from: strings, or numbers by their bits.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Text(String),
    Number(u64),
}

/// -0 is 0, and every NaN is the same.
fn number(v: f64) -> Key {
    Key::Number(if v.is_nan() { f64::NAN } else { v + 0.0 }.to_bits())
}

fn keys_of(value: &Value) -> Result<Vec<Key>> {
    Ok(match value {
        Value::Strings(s) => s.data().iter().map(|s| Key::Text(s.clone())).collect(),
        other => numbers(other.tensor()?)?.into_iter().map(number).collect(),
    })
}

/// The list that a node has as `<name>_strings`, `<name>_int64s`, `<name>_floats` or `<name>_tensor`.
fn list(node: &OnnxNode, name: &str) -> Result<Option<Value>> {
    let full = |kind: &str| alloc::format!("{name}_{kind}");
    if let Some(tensor) = node.tensor(&full("tensor")) {
        return value::of_message(tensor).map(Some);
    }
    let strings: Vec<String> = node.strings(&full("strings")).into_iter().map(String::from).collect();
    Ok(if !strings.is_empty() {
        Some(Value::strings(&[strings.len()], strings)?)
    } else if let Some(ints) = node.ints(&full("int64s")).filter(|l| !l.is_empty()) {
        Some(Value::numbers(&[ints.len()], ints)?)
    } else if let Some(floats) = node.floats(&full("floats")).filter(|l| !l.is_empty()) {
        Some(Value::numbers(&[floats.len()], floats)?)
    } else {
        None
    })
}

/// What stands for values that a table lacks; of the type of its values.
fn default(node: &OnnxNode, like: &Value) -> Result<Value> {
    if let Some(tensor) = node.tensor("default_tensor") {
        return value::of_message(tensor)?.reshaped(&[1]);
    }
    let dtype = match like {
        Value::Strings(_) => return Value::strings(&[1], vec![node.string("default_string").unwrap_or("_Unused").to_string()]),
        other => other.tensor()?.dtype(),
    };
    match dtype {
        DType::F32 => Value::numbers(&[1], &[node.float("default_float").unwrap_or(-0.0)]),
        DType::I64 => Value::numbers(&[1], &[node.int("default_int64").unwrap_or(-1)]),
        other => Ok(crate::Tensor::zeros(other, &[1])?.into()),
    }
}

/// LabelEncoder and CategoryMapper: a table from keys to values.
pub(super) fn encode(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let input = call.arg(0)?;
    let (keys, values) = match (list(call.node, "keys")?, list(call.node, "values")?) {
        (Some(keys), Some(values)) => (keys, values),
        _ => positions(call.node, matches!(input, Value::Strings(_)))?,
    };
    let table: BTreeMap<Key, usize> = keys_of(&keys)?.into_iter().zip(0..).collect();
    let count = element_count(values.shape()?)?;
    ensure!(count >= table.len(), InvalidModel, "there are {} keys for {count} values", table.len());
    let all = super::movement::join(&[values.clone().reshaped(&[count])?, default(call.node, &values)?], 0, false)?;
    let found = keys_of(input)?;
    let mut at = found.iter().map(|key| Some(table.get(key).copied().unwrap_or(count)));
    Ok(vec![all.pick(input.shape()?, &mut at)?])
}

/// The first forms: strings and their positions, or numbers.
fn positions(node: &OnnxNode, from_strings: bool) -> Result<(Value, Value)> {
    let words = [node.strings("classes_strings"), node.strings("cats_strings")].concat();
    ensure!(!words.is_empty(), InvalidModel, "the node has no table of keys and values");
    let classes = Value::strings(&[words.len()], words.into_iter().map(String::from).collect())?;
    let count = element_count(classes.shape()?)?;
    let numbers = match node.ints("cats_int64s") {
        Some(ints) => Value::numbers(&[ints.len()], ints)?,
        None => Value::numbers(&[count], &(0..count as i64).collect::<Vec<_>>())?,
    };
    Ok(if from_strings { (classes, numbers) } else { (numbers, classes) })
}

/// ZipMap: a map of class labels to numbers for each row.
pub(super) fn zip_map(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let scores = call.tensor(0)?;
    let columns = scores.shape().last().copied().unwrap_or(1);
    let strings: Vec<String> = call.node.strings("classlabels_strings").into_iter().map(String::from).collect();
    let keys = match call.node.ints("classlabels_int64s").filter(|l| !l.is_empty()) {
        Some(ints) => Keys::Ints(ints.to_vec()),
        None => Keys::Strings(strings),
    };
    ensure!(keys.len() == columns, InvalidModel, "there are {} class labels for {columns} columns", keys.len());
    let rows = scores.len().checked_div(columns).unwrap_or(0);
    let all = call.arg(0)?.clone().reshaped(&[rows, columns])?;
    let map = |i| Ok(Value::Map(Arc::new(Map { keys: keys.clone(), values: super::movement::row(&all, 0, i)? })));
    Ok(vec![Value::Sequence((0..rows).map(map).collect::<Result<_>>()?)])
}

/// DictVectorizer: a map's values in the order of a vocabulary.
pub(super) fn vectorize(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let Value::Map(map) = call.arg(0)? else { bail!(InvalidInput, "{} is no map", call.arg(0)?.describe()) };
    let words = call.node.strings("string_vocabulary");
    let at: Vec<Option<usize>> = match &map.keys {
        Keys::Strings(keys) => words.iter().map(|w| keys.iter().position(|k| k == w)).collect(),
        Keys::Ints(keys) => {
            let numbers = call.node.ints("int64_vocabulary").unwrap_or(&[]);
            numbers.iter().map(|n| keys.iter().position(|k| k == n)).collect()
        }
    };
    Ok(vec![map.values.pick(&[1, at.len()], &mut at.iter().copied())?])
}

/// OneHotEncoder: 1 at the category of each element.
pub(super) fn one_hot(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let input = call.arg(0)?;
    let Some(categories) = list(call.node, "cats")? else { bail!(InvalidModel, "the node has no categories") };
    let table: BTreeMap<Key, usize> = keys_of(&categories)?.into_iter().zip(0..).collect();
    let width = element_count(categories.shape()?)?;
    let shape = [input.shape()?, &[width]].concat();
    value::checked_count(&shape)?;
    let mut out = crate::Tensor::zeros(DType::F32, &shape)?;
    for (row, key) in out.as_mut_slice::<f32>()?.chunks_exact_mut(width.max(1)).zip(keys_of(input)?) {
        match table.get(&key) {
            Some(at) => row[*at] = 1.0,
            None if call.node.flag("zeros", true) => {}
            None => bail!(InvalidInput, "an element is none of the categories"),
        }
    }
    Ok(vec![out.into()])
}

/// Binarizer: 1 where a number is above the threshold.
pub(super) fn binarize(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let threshold = f64::from(call.node.float("threshold").unwrap_or(0.0));
    let out: Vec<f64> = numbers(x)?.iter().map(|v| if *v > threshold { 1.0 } else { 0.0 }).collect();
    Ok(vec![super::call::of_numbers(x.dtype(), x.shape(), &out)?.into()])
}

/// Class labels by their numbers: what a classifier with string labels ends with.
pub(super) fn name_classes(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let labels: Vec<String> = call.node.strings("classlabels_strings").into_iter().map(String::from).collect();
    let labels = Value::strings(&[labels.len()], labels)?;
    let at = integers(call.tensor(0)?)?;
    let shape = call.arg(0)?.shape()?;
    Ok(vec![labels.pick(shape, &mut at.iter().map(|i| Some(usize::try_from(*i).unwrap_or(usize::MAX))))?])
}
