//! Numeric operators that are rare, and cheap or small: determinants, running products, other types for the same bits.

use alloc::{vec, vec::Vec};

use super::{
    call::{Call, axis_of, integers, numbers, of_integers, of_numbers},
    value::Value,
};
use crate::{
    compile::import,
    error::{Result, bail, ensure},
    tensor::{DType, Tensor},
};

/// Det: of square matrices along the last two axes, by elimination with pivots.
pub(super) fn det(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let (shape, n) = match x.shape() {
        [lead @ .., n, m] if n == m => (lead, *n),
        other => bail!(InvalidInput, "the input has shape {other:?}, its last two axes must be of one size"),
    };
    let data = numbers(x)?;
    let count = super::value::checked_count(shape)?;
    let out: Vec<f64> = (0..count).map(|i| determinant(data[i * n * n..][..n * n].to_vec(), n)).collect();
    Ok(vec![of_numbers(x.dtype(), shape, &out)?.into()])
}

fn determinant(mut m: Vec<f64>, n: usize) -> f64 {
    let mut det = 1.0;
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| m[a * n + column].abs().total_cmp(&m[b * n + column].abs())).unwrap_or(column);
        if m[pivot * n + column] == 0.0 {
            return 0.0;
        }
        if pivot != column {
            (0..n).for_each(|i| m.swap(pivot * n + i, column * n + i));
            det = -det;
        }
        let head = m[column * n + column];
        det *= head;
        for row in column + 1..n {
            let factor = m[row * n + column] / head;
            (column..n).for_each(|i| m[row * n + i] -= factor * m[column * n + i]);
        }
    }
    det
}

/// CumProd: products along an axis, of all elements up to each one, or before it.
pub(super) fn cum_prod(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let shape = x.shape();
    let axis = axis_of(call.int(1)?, shape.len())?;
    let (exclusive, reverse) = (call.node.flag("exclusive", false), call.node.flag("reverse", false));
    let inner: usize = shape[axis + 1..].iter().product();
    let size = shape[axis];
    let line = |start: usize| {
        (0..size).map(move |i| start / inner * size * inner + start % inner + if reverse { size - 1 - i } else { i } * inner)
    };
    let lines = (x.len()).checked_div(size).unwrap_or(0);
    let result = if matches!(x.dtype(), DType::F32 | DType::F64) {
        let mut data = numbers(x)?;
        for start in 0..lines {
            line(start).fold(1.0, |product, i| {
                let next = product * data[i];
                data[i] = if exclusive { product } else { next };
                next
            });
        }
        of_numbers(x.dtype(), shape, &data)?
    } else {
        let mut data = integers(x)?;
        for start in 0..lines {
            line(start).fold(1i64, |product, i| {
                let next = product.wrapping_mul(data[i]);
                data[i] = if exclusive { product } else { next };
                next
            });
        }
        of_integers(x.dtype(), shape, &data)?
    };
    Ok(vec![result.into()])
}

/// BitCast: the same bytes as elements of another type of the same size.
pub(super) fn bit_cast(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let dtype = import::supported(call.node.int("to").and_then(|c| i32::try_from(c).ok()).unwrap_or(0))?;
    ensure!(
        dtype.size() == x.dtype().size() && dtype != DType::String,
        InvalidInput,
        "{} cannot be taken for {dtype}: the elements differ in size",
        x.dtype()
    );
    Ok(vec![Tensor::from_bytes(dtype, x.shape(), x.bytes())?.into()])
}

/// Range for every type.
pub(super) fn range(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let dtype = call.tensor(0)?.dtype();
    let (start, limit, step) = (call.float(0)?, call.float(1)?, call.float(2)?);
    ensure!(step != 0.0, InvalidInput, "the step is 0");
    let count = ((limit - start) / step).ceil().max(0.0);
    let count = super::value::checked_count(&[count as usize, size_of::<f64>()])? / size_of::<f64>();
    let data: Vec<f64> = (0..count).map(|i| start + i as f64 * step).collect();
    Ok(vec![of_numbers(dtype, &[count], &data)?.into()])
}

/// ConstantOfShape.
pub(super) fn constant_of_shape(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let shape: Vec<usize> = call.ints(0)?.iter().map(|d| usize::try_from(*d).unwrap_or(usize::MAX)).collect();
    let value = match call.node.tensor("value") {
        Some(tensor) => super::value::of_message(tensor)?,
        None => Value::numbers(&[1], &[0f32])?,
    };
    let value = value.reshaped(&[1])?;
    let count = super::value::checked_count(&shape)?;
    Ok(vec![value.pick(&shape, &mut (0..count).map(|_| Some(0)))?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn determinants() {
        assert_eq!(determinant([1.0, 2.0, 3.0, 4.0].into(), 2), -2.0);
        assert_eq!(determinant([0.0, 1.0, 1.0, 0.0].into(), 2), -1.0);
        assert_eq!(determinant([1.0, 2.0, 2.0, 4.0].into(), 2), 0.0);
        assert_eq!(determinant([].into(), 0), 1.0);
    }
}
