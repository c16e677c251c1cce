//! Operators of training: optimisers, and batch normalisation that updates its statistics.

use alloc::{vec, vec::Vec};

use super::{
    call::{Call, numbers, of_numbers},
    value::Value,
};
use crate::{
    error::{Result, bail, ensure},
    tensor::Tensor,
};

/// The groups of an optimiser's tensors after rate and step: `groups` lists of `count` each.
struct Groups {
    rate: f64,
    step: f64,
    count: usize,
}

fn groups(call: &Call<'_>, groups: usize) -> Result<Groups> {
    let count = call.args.len().saturating_sub(2) / groups;
    let whole = call.args.len() == 2 + groups * count && count > 0;
    ensure!(whole, InvalidModel, "{} inputs are not rate, step and groups of {groups}", call.args.len());
    Ok(Groups { rate: call.float(0)?, step: call.float(1)?, count })
}

/// The tensors of the `i`-th parameter in all groups, of one size.
fn parameters<'a>(call: &'a Call<'_>, groups: &Groups, i: usize, of: usize) -> Result<(&'a Tensor, Vec<Vec<f64>>)> {
    let first = call.tensor(2 + i)?;
    let mut all = Vec::with_capacity(of);
    for group in 0..of {
        let tensor = call.tensor(2 + group * groups.count + i)?;
        ensure!(tensor.len() == first.len(), InvalidInput, "shapes {:?} and {:?} differ", first.shape(), tensor.shape());
        all.push(numbers(tensor)?);
    }
    Ok((first, all))
}

fn setting(call: &Call<'_>, name: &str, default: f32) -> f64 {
    f64::from(call.node.float(name).unwrap_or(default))
}

/// The new tensors, group by group.
fn collect(groups: &Groups, results: Vec<Vec<Value>>) -> Vec<Value> {
    let of = results.first().map_or(0, Vec::len);
    (0..of).flat_map(|g| (0..groups.count).map(move |i| (i, g))).filter_map(|(i, g)| results.get(i)?.get(g).cloned()).collect()
}

/// Runs an optimiser for each parameter: `update` gets the elements of all groups and changes them.
fn optimise(call: &Call<'_>, of: usize, kept: &[usize], update: impl Fn(&Groups, &mut [f64])) -> Result<Vec<Value>> {
    let groups = groups(call, of)?;
    let mut results = Vec::with_capacity(groups.count);
    for i in 0..groups.count {
        let (like, mut all) = parameters(call, &groups, i, of)?;
        let mut element = vec![0.0; of];
        for at in 0..like.len() {
            for (e, group) in element.iter_mut().zip(&all) {
                *e = group[at];
            }
            update(&groups, &mut element);
            for (e, group) in element.iter().zip(&mut all) {
                group[at] = *e;
            }
        }
        let value = |g: &usize| Ok(of_numbers(like.dtype(), like.shape(), &all[*g])?.into());
        results.push(kept.iter().map(value).collect::<Result<Vec<Value>>>()?);
    }
    Ok(collect(&groups, results))
}

/// Adagrad: parameters, gradients, sums of squared gradients.
pub(super) fn adagrad(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let (decay, epsilon, norm) =
        (setting(call, "decay_factor", 0.0), setting(call, "epsilon", 1e-6), setting(call, "norm_coefficient", 0.0));
    optimise(call, 3, &[0, 2], |g, e| {
        let rate = g.rate / (1.0 + g.step * decay);
        let gradient = norm * e[0] + e[1];
        e[2] += gradient * gradient;
        e[0] -= rate * gradient / (e[2].sqrt() + epsilon);
    })
}

/// Adam: parameters, gradients, averages of gradients and of their squares.
pub(super) fn adam(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let (alpha, beta, epsilon) = (setting(call, "alpha", 0.9), setting(call, "beta", 0.999), setting(call, "epsilon", 1e-6));
    let (norm, after) = (setting(call, "norm_coefficient", 0.0), setting(call, "norm_coefficient_post", 0.0));
    optimise(call, 4, &[0, 2, 3], |g, e| {
        let gradient = norm * e[0] + e[1];
        e[2] = alpha * e[2] + (1.0 - alpha) * gradient;
        e[3] = beta * e[3] + (1.0 - beta) * gradient * gradient;
        let rate = if g.step > 0.0 { g.rate * (1.0 - beta.powf(g.step)).sqrt() / (1.0 - alpha.powf(g.step)) } else { g.rate };
        e[0] = (1.0 - after) * (e[0] - rate * e[2] / (e[3].sqrt() + epsilon));
    })
}

/// Momentum: parameters, gradients, momenta.
pub(super) fn momentum(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let (alpha, beta, norm) = (setting(call, "alpha", 0.0), setting(call, "beta", 0.0), setting(call, "norm_coefficient", 0.0));
    let nesterov = match call.text("mode")?.as_str() {
        "standard" => false,
        "nesterov" => true,
        other => bail!(InvalidModel, "mode is '{other}', it must be standard or nesterov"),
    };
    optimise(call, 3, &[0, 2], |g, e| {
        let gradient = norm * e[0] + e[1];
        let beta = if g.step > 0.0 { beta } else { 1.0 };
        e[2] = alpha * e[2] + beta * gradient;
        e[0] -= g.rate * if nesterov { gradient + alpha * e[2] } else { e[2] };
    })
}

/// BatchNormalization in training: by the batch's own mean and variance, which also move the running ones.
pub(super) fn batch_norm(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let (epsilon, momentum) = (setting(call, "epsilon", 1e-5), setting(call, "momentum", 0.9));
    let training = call.node.flag("training_mode", false);
    let x = call.tensor(0)?;
    let shape = x.shape().to_vec();
    let channels = shape.get(1).copied().unwrap_or(1);
    let inner: usize = shape.iter().skip(2).product();
    ensure!(shape.len() >= 2, InvalidInput, "the input has shape {shape:?}, it must have a batch and channels");
    let data = numbers(x)?;
    let mut lists = Vec::with_capacity(4);
    for i in 1..5 {
        let list = call.floats(i)?;
        ensure!(list.len() == channels, InvalidInput, "input {i} has {} elements for {channels} channels", list.len());
        lists.push(list);
    }
    let [scale, bias, mean, variance] = lists.as_slice() else { bail!(Internal, "four lists were read") };
    // An empty tensor may have a batch of any size.
    if data.is_empty() {
        return Ok(vec![call.arg(0)?.clone(), call.arg(3)?.clone(), call.arg(4)?.clone()]);
    }
    let mut out = data.clone();
    let (mut new_mean, mut new_variance) = (mean.clone(), variance.clone());
    let batch = shape.first().copied().unwrap_or(1);
    let count = batch * inner;
    for c in 0..channels {
        let channel = || (0..batch).flat_map(move |n| (0..inner).map(move |i| (n * channels + c) * inner + i));
        let (mut m, mut v) = (mean[c], variance[c]);
        if training && count > 0 {
            m = channel().map(|i| data[i]).sum::<f64>() / count as f64;
            v = channel().map(|i| (data[i] - m).powi(2)).sum::<f64>() / count as f64;
            new_mean[c] = mean[c] * momentum + m * (1.0 - momentum);
            new_variance[c] = variance[c] * momentum + v * (1.0 - momentum);
        }
        for i in channel() {
            out[i] = (data[i] - m) / (v + epsilon).sqrt() * scale[c] + bias[c];
        }
    }
    let list = |i: usize, data: &[f64]| -> Result<Value> { Ok(of_numbers(call.tensor(i)?.dtype(), &[channels], data)?.into()) };
    Ok(vec![of_numbers(x.dtype(), &shape, &out)?.into(), list(3, &new_mean)?, list(4, &new_variance)?])
}
