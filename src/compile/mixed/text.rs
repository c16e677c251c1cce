//! Operators on strings.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{
    call::{Call, numbers},
    movement::{broadcast, broadcast_shape},
    value::Value,
};
use crate::{
    error::{Result, bail, ensure},
    tensor::{DType, Tensor},
};

/// StringNormalizer: stop words are removed, the case is changed. Nothing left gives one empty string.
pub(super) fn normalize(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let case: fn(&str) -> String = match call.node.string("case_change_action").unwrap_or("NONE") {
        "LOWER" => |s| s.to_lowercase(),
        "UPPER" => |s| s.to_uppercase(),
        "NONE" => |s| s.to_string(),
        other => bail!(InvalidModel, "case_change_action is '{other}', it must be LOWER, UPPER or NONE"),
    };
    let sensitive = call.node.flag("is_case_sensitive", false);
    let fold = |s: &str| if sensitive { s.to_string() } else { s.to_lowercase() };
    let stop: Vec<String> = call.node.strings("stopwords").into_iter().map(fold).collect();
    let words = call.arg(0)?.as_strings()?;
    ensure!(
        matches!(words.shape(), [_] | [1, _]),
        InvalidInput,
        "the input has shape {:?}, it must be a list, or a list in a batch of one",
        words.shape()
    );
    let mut kept: Vec<String> = words.data().iter().filter(|w| !stop.contains(&fold(w))).map(|w| case(w)).collect();
    if kept.is_empty() {
        kept.push(String::new());
    }
    let shape = if words.shape().len() == 1 { vec![kept.len()] } else { vec![1, kept.len()] };
    Ok(vec![Value::strings(&shape, kept)?])
}

/// Two tensors broadcast to one shape.
fn pairs(call: &Call<'_>) -> Result<(Vec<usize>, Value, Value)> {
    let (a, b) = (call.arg(0)?, call.arg(1)?);
    let shape = broadcast_shape(a.shape()?, b.shape()?)?;
    let (a, b) = (broadcast(a, &shape)?, broadcast(b, &shape)?);
    Ok((shape, a, b))
}

pub(super) fn concat(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let (shape, a, b) = pairs(call)?;
    super::value::checked_count(&[a.bytes() + b.bytes()])?;
    let joined = a.as_strings()?.data().iter().zip(b.as_strings()?.data()).map(|(a, b)| format!("{a}{b}"));
    Ok(vec![Value::strings(&shape, joined.collect())?])
}

pub(super) fn equal(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let (shape, a, b) = pairs(call)?;
    let same: Vec<u8> = match (&a, &b) {
        (Value::Strings(a), Value::Strings(b)) => a.data().iter().zip(b.data()).map(|(a, b)| u8::from(a == b)).collect(),
        (a, b) => numbers(a.tensor()?)?.iter().zip(numbers(b.tensor()?)?).map(|(a, b)| u8::from(*a == b)).collect(),
    };
    Ok(vec![Value::booleans(&shape, &same)?])
}

/// StringSplit: the parts of each string, padded with empty ones, and how many there are. Without a delimiter, runs of spaces separate.
pub(super) fn split(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let most = call.node.int("maxsplit").and_then(|n| usize::try_from(n).ok());
    let delimiter = call.node.string("delimiter").unwrap_or("");
    let words = call.arg(0)?.as_strings()?;
    let parts: Vec<Vec<&str>> = words.data().iter().map(|w| split_one(w, delimiter, most)).collect();
    let widest = parts.iter().map(Vec::len).max().unwrap_or(0);
    let counts: Vec<i64> = parts.iter().map(|p| p.len() as i64).collect();
    super::value::checked_count(&[parts.len(), widest, size_of::<String>()])?;
    let padded = parts.iter().flat_map(|p| (0..widest).map(|i| p.get(i).copied().unwrap_or("").to_string())).collect();
    let shape = [words.shape(), &[widest]].concat();
    Ok(vec![Value::strings(&shape, padded)?, Value::numbers(words.shape(), &counts)?])
}

fn split_one<'a>(word: &'a str, delimiter: &str, most: Option<usize>) -> Vec<&'a str> {
    let limit = most.map_or(usize::MAX, |n| n.saturating_add(1));
    if !delimiter.is_empty() {
        return word.splitn(limit, delimiter).collect();
    }
    let mut parts = Vec::new();
    let mut rest = word.trim_start();
    while !rest.is_empty() {
        if parts.len() + 1 == limit {
            // Python keeps what follows as it is, but for spaces at the end.
            parts.push(rest.trim_end());
            break;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    parts
}

/// Numbers as NumPy and onnxruntime print them: the shortest digits that give the number back.
pub(super) fn to_strings(tensor: &Tensor) -> Result<Vec<String>> {
    fn all<T: crate::tensor::Element + ToString>(tensor: &Tensor) -> Result<Vec<String>> {
        Ok(tensor.as_slice::<T>()?.iter().map(T::to_string).collect())
    }
    Ok(match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>()?.iter().map(|v| float(format!("{v}"), format!("{v:e}"), f64::from(*v))).collect(),
        DType::F64 => tensor.as_slice::<f64>()?.iter().map(|v| float(format!("{v}"), format!("{v:e}"), *v)).collect(),
        DType::Bool => tensor.bytes().iter().map(|b| if *b != 0 { "1" } else { "0" }.to_string()).collect(),
        DType::I8 => all::<i8>(tensor)?,
        DType::U8 => all::<u8>(tensor)?,
        DType::I16 => all::<i16>(tensor)?,
        DType::U16 => all::<u16>(tensor)?,
        DType::I32 => all::<i32>(tensor)?,
        DType::U32 => all::<u32>(tensor)?,
        DType::I64 => all::<i64>(tensor)?,
        DType::U64 => all::<u64>(tensor)?,
        other => bail!(Unsupported, "{other} cannot be written as strings"),
    })
}

/// Plain digits, or an exponent of at least two digits for very large and small numbers.
fn float(plain: String, exponent: String, value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "INF" } else { "-INF" }.into();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let (digits, power) = exponent.split_once('e').unwrap_or((&exponent, "0"));
        let (sign, power) = power.strip_prefix('-').map_or(('+', power), |p| ('-', p));
        return format!("{digits}e{sign}{power:0>2}");
    }
    plain
}

/// Numbers read from strings.
pub(super) fn to_numbers(words: &[String]) -> Result<Vec<f64>> {
    let read = |word: &String| {
        let text = word.trim();
        match text.to_ascii_lowercase().as_str() {
            "nan" | "+nan" | "-nan" => Ok(f64::NAN),
            "inf" | "+inf" | "infinity" | "+infinity" => Ok(f64::INFINITY),
            "-inf" | "-infinity" => Ok(f64::NEG_INFINITY),
            _ => match text.parse() {
                Ok(number) => Ok(number),
                Err(_) => bail!(InvalidInput, "'{word}' is not a number"),
            },
        }
    };
    words.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_follows_python() {
        assert_eq!(split_one("a.b..c", ".", None), ["a", "b", "", "c"]);
        assert_eq!(split_one("a.b.c", ".", Some(1)), ["a", "b.c"]);
        assert_eq!(split_one("  hello   world ", "", None), ["hello", "world"]);
        assert_eq!(split_one(" a  b  c ", "", Some(1)), ["a", "b  c"]);
        assert!(split_one("   ", "", None).is_empty());
        assert_eq!(split_one("", ",", None), [""]);
    }

    #[test]
    fn numbers_are_written_and_read() {
        let tensor = Tensor::from_slice(&[6], &[1.5f32, 3.0, f32::NAN, f32::INFINITY, 1e20, 0.9767611]).unwrap();
        assert_eq!(to_strings(&tensor).unwrap(), ["1.5", "3", "NaN", "INF", "1e+20", "0.9767611"]);
        let back = to_numbers(&["1.5".into(), "-INF".into(), " 7 ".into()]).unwrap();
        assert_eq!(back, [1.5, f64::NEG_INFINITY, 7.0]);
        assert!(to_numbers(&["seven".into()]).is_err());
    }
}
