//! Random numbers, and the operators that draw them. ONNX does not fix a generator: a seed makes runs repeatable, not equal to other engines.

use alloc::{vec, vec::Vec};

use super::{
    call::{Call, numbers, of_integers, of_numbers},
    value::{Value, checked_count},
};
use crate::{
    compile::import,
    error::{Result, bail, ensure},
    tensor::{DType, Tensor},
};

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, but without, 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Box and Muller's transform of two uniform numbers.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (core::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Draws for a node: from its seed, or from where the run's numbers are.
fn draw(call: &mut Call<'_>, count: usize, one: impl Fn(&mut Random) -> f64) -> Vec<f64> {
    let mut seeded = call.node.float("seed").map(|s| Random::new(u64::from(s.to_bits())));
    let random = seeded.as_mut().unwrap_or(call.random);
    (0..count).map(|_| one(random)).collect()
}

/// How many numbers fill a shape, of eight bytes each.
fn drawn(shape: &[usize]) -> Result<usize> {
    Ok(checked_count(&[shape, &[8]].concat())? / 8)
}

/// The type that the attribute `dtype` names.
fn dtype(call: &Call<'_>, default: DType) -> Result<DType> {
    call.node.int("dtype").map_or(Ok(default), |code| import::supported(i32::try_from(code).unwrap_or(0)))
}

fn fill(call: &mut Call<'_>, shape: &[usize], dtype: DType) -> Result<Vec<Value>> {
    let count = drawn(shape)?;
    let setting = |name: &str, default: f32| f64::from(call.node.float(name).unwrap_or(default));
    let data = if call.node.op_type.starts_with("RandomUniform") {
        let (low, high) = (setting("low", 0.0), setting("high", 1.0));
        draw(call, count, |r| low + (high - low) * r.uniform())
    } else {
        let (mean, scale) = (setting("mean", 0.0), setting("scale", 1.0));
        draw(call, count, |r| mean + scale * r.normal())
    };
    Ok(vec![of_numbers(dtype, shape, &data)?.into()])
}

/// RandomUniform and RandomNormal.
pub(super) fn of_shape(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let shape: Vec<usize> =
        call.node.ints("shape").unwrap_or(&[]).iter().map(|d| usize::try_from(*d).unwrap_or(usize::MAX)).collect();
    let dtype = dtype(call, DType::F32)?;
    fill(call, &shape, dtype)
}

/// RandomUniformLike and RandomNormalLike.
pub(super) fn like(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let like = call.tensor(0)?;
    let (shape, dtype) = (like.shape().to_vec(), dtype(call, like.dtype())?);
    fill(call, &shape, dtype)
}

/// Bernoulli: 1 with the probability that each element gives.
pub(super) fn bernoulli(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let (shape, dtype, p) = (x.shape().to_vec(), dtype(call, x.dtype())?, numbers(x)?);
    let drawn = draw(call, p.len(), Random::uniform);
    let out: Vec<f64> = p.iter().zip(drawn).map(|(p, r)| if r < *p { 1.0 } else { 0.0 }).collect();
    Ok(vec![of_numbers(dtype, &shape, &out)?.into()])
}

/// Multinomial: classes drawn from rows of unnormalised log-probabilities.
pub(super) fn multinomial(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let &[rows, classes] = x.shape() else {
        bail!(InvalidInput, "the input has shape {:?}, it must be [rows, classes]", x.shape())
    };
    let count = usize::try_from(call.node.int("sample_size").unwrap_or(1)).unwrap_or(0);
    let (x, dtype) = (numbers(x)?, dtype(call, DType::I32)?);
    ensure!(classes > 0, InvalidInput, "there are no classes to draw from");
    let drawn = draw(call, drawn(&[rows, count])?, Random::uniform);
    let mut out = Vec::with_capacity(drawn.len());
    for (i, r) in drawn.iter().enumerate() {
        let row = &x[i / count * classes..][..classes];
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = row.iter().map(|v| (v - most).exp()).collect();
        let mut rest = r * weights.iter().sum::<f64>();
        let found = weights.iter().position(|w| {
            rest -= w;
            rest < 0.0
        });
        out.push(found.unwrap_or(classes - 1) as i64);
    }
    Ok(vec![of_integers(dtype, &[rows, count], &out)?.into()])
}

/// Dropout: in training, elements become 0 with the given probability and the others grow to keep the mean.
pub(super) fn dropout(call: &mut Call<'_>) -> Result<Vec<Value>> {
    // Before operator set 12 the node's attribute holds the ratio, and there is no training.
    let ratio = if call.given(1).is_some() { call.float(1)? } else { f64::from(call.node.float("ratio").unwrap_or(0.5)) };
    let training = call.given(2).is_some() && call.int(2)? != 0;
    let x = call.tensor(0)?;
    let (shape, kind, data) = (x.shape().to_vec(), x.dtype(), numbers(x)?);
    ensure!((0.0..1.0).contains(&ratio), InvalidInput, "the ratio {ratio} is not in the range from 0 up to 1");
    let active = training && ratio > 0.0;
    let kept: Vec<u8> = match active {
        true => draw(call, data.len(), Random::uniform).iter().map(|r| u8::from(*r >= ratio)).collect(),
        false => vec![1; data.len()],
    };
    let scale = if active { 1.0 / (1.0 - ratio) } else { 1.0 };
    let out: Vec<f64> = data.iter().zip(&kept).map(|(v, k)| if *k != 0 { v * scale } else { 0.0 }).collect();
    let mask = Tensor::from_bytes(DType::Bool, &shape, &kept)?;
    Ok(vec![of_numbers(kind, &shape, &out)?.into(), mask.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(1);
        let n = 100_000;
        let uniform: Vec<f64> = (0..n).map(|_| random.uniform()).collect();
        let normal: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let variance = |x: &[f64]| mean(&x.iter().map(|v| v * v).collect::<Vec<_>>()) - mean(x).powi(2);
        // Five standard errors: √(1/12/n) ≈ 0.0009 and √(1/n) ≈ 0.0032 for the means.
        assert!((mean(&uniform) - 0.5).abs() < 0.005 && (variance(&uniform) - 1.0 / 12.0).abs() < 0.005);
        assert!(mean(&normal).abs() < 0.016 && (variance(&normal) - 1.0).abs() < 0.025);
        assert!(uniform.iter().all(|v| (0.0..1.0).contains(v)));
    }
}
