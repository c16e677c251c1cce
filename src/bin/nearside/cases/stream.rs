//! Cases that feed a model chunk after chunk, with its state: what an output gives is an input of the next call.

use anyhow::{Context, Result, bail};
use nearside::{Tensor, TensorView, runtime::DimInfo};
use serde_json::Value;

use super::folder::{Folder, Named};
use crate::engine::Engine;

type Outcome = Result<nearside::Result<Named>>;

/// Runs the chunks along the first axis of the given inputs. The other inputs are states, zeros at first; their new values are those outputs
/// that are not collected, in order. `expected` are names and shapes: one more axis than the model's output has means all chunks.
pub fn chunks(given: &Named, expected: &[(String, Vec<usize>)], engine: &mut Engine) -> Outcome {
    let count = given.first().and_then(|(_, t)| t.shape().first().copied()).context("the stream has no chunks")?;
    let collects = |engine: &Engine, name: &str| {
        let rank = engine.outputs().iter().find(|p| p.name == name).map(|p| p.shape.len());
        expected.iter().any(|(n, shape)| n == name && Some(shape.len()) == rank.map(|r| r + 1))
    };
    let names: Vec<String> = engine.outputs().iter().map(|p| p.name.clone()).collect();
    let (collected, fed_back): (Vec<String>, Vec<String>) = names.into_iter().partition(|n| collects(engine, n));
    let mut states: Named = Vec::new();
    for port in engine.inputs().iter().filter(|p| given.iter().all(|(n, _)| *n != p.name)) {
        let fixed = |d: &DimInfo| if let DimInfo::Fixed(n) = d { *n } else { 1 };
        let shape: Vec<usize> = port.shape.iter().map(fixed).collect();
        states.push((port.name.clone(), Tensor::zeros(port.dtype, &shape)?));
    }
    if states.len() != fed_back.len() {
        bail!("{} states are read and {} written", states.len(), fed_back.len());
    }
    let mut all: Vec<(String, Vec<u8>, Tensor)> = Vec::new();
    for i in 0..count {
        let mut views: Vec<(&str, TensorView<'_>)> = Vec::new();
        for (name, tensor) in given {
            let shape = &tensor.shape()[1..];
            let bytes = shape.iter().product::<usize>() * tensor.dtype().size();
            views.push((name, TensorView { dtype: tensor.dtype(), shape, data: &tensor.bytes()[i * bytes..(i + 1) * bytes] }));
        }
        views.extend(states.iter().map(|(n, t)| (n.as_str(), t.view())));
        let outputs = match engine.run(&views) {
            Ok(outputs) => outputs,
            Err(e) => return Ok(Err(e)),
        };
        for (name, tensor) in outputs {
            if let Some(k) = fed_back.iter().position(|n| *n == name) {
                states[k].1 = tensor;
            } else if collected.contains(&name) {
                match all.iter_mut().find(|(n, ..)| *n == name) {
                    Some((_, bytes, _)) => bytes.extend_from_slice(tensor.bytes()),
                    None => all.push((name, tensor.bytes().to_vec(), tensor)),
                }
            }
        }
    }
    let mut results: Named = Vec::new();
    for (name, bytes, first) in all {
        let shape = [&[count], first.shape()].concat();
        results.push((name, Tensor::from_bytes(first.dtype(), &shape, &bytes)?));
    }
    // The final states, under the outputs' names and, where the case has a name of its own for one, under that.
    let own: Vec<&String> = expected.iter().map(|(n, _)| n).filter(|n| !fed_back.contains(n) && !collected.contains(n)).collect();
    for (k, (_, state)) in states.into_iter().enumerate() {
        results.extend(own.get(k).map(|name| ((*name).clone(), state.clone())));
        results.push((fed_back[k].clone(), state));
    }
    Ok(Ok(results))
}

/// Speech detection on 16-bit samples: each call sees the end of the chunk before and a chunk; the answer is a probability.
pub fn speech(folder: &Folder, case: &Value, engine: &mut Engine) -> Outcome {
    let number = |v: &Value| v.as_u64().map(|v| v as usize).context("the stream lacks a number");
    if case["kind"] != "v5" {
        bail!("the kind of stream {} is not known", case["kind"]);
    }
    let (samples, chunk, context) = (number(&case["audio"]["samples"])?, number(&case["chunk"])?, number(&case["context"])?);
    let audio = folder.tensor(&case["audio"], &[samples])?;
    let audio: Vec<f32> = audio.as_slice::<i16>()?.iter().map(|&v| f32::from(v) / 32768.0).collect();
    let rate = Tensor::scalar(case["audio"]["rate"].as_i64().unwrap_or(16000));
    let mut state = Tensor::zeros(nearside::DType::F32, &[2, 1, 128])?;
    let mut window = vec![0f32; context + chunk];
    let mut answers: Vec<f32> = Vec::new();
    for part in audio.chunks_exact(chunk) {
        window.copy_within(chunk.., 0);
        window[context..].copy_from_slice(part);
        let shape = [1, window.len()];
        let input = TensorView::from_slice(&shape, &window)?;
        let outputs = match engine.run(&[("input", input), ("state", state.view()), ("sr", rate.view())]) {
            Ok(outputs) => outputs,
            Err(e) => return Ok(Err(e)),
        };
        for (name, tensor) in outputs {
            if name == "stateN" {
                state = tensor;
            } else {
                answers.extend(tensor.as_slice::<f32>()?);
            }
        }
    }
    Ok(Ok(vec![("prob".into(), Tensor::from_slice(&[answers.len()], &answers)?)]))
}
