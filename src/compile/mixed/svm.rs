//! Support vector machines of `ai.onnx.ml`, as onnxruntime computes them: ONNX's text leaves votes and probabilities open.

use alloc::{vec, vec::Vec};

use super::{call::Call, value::Value};
use crate::error::{Result, bail, ensure};

/// The samples `[N,F]` and the machine's numbers.
struct Machine {
    samples: Vec<f64>,
    features: usize,
    vectors: Vec<f64>,
    coefficients: Vec<f64>,
    rho: Vec<f64>,
    kernel: Kernel,
}

enum Kernel {
    Linear,
    /// `(gamma · a·b + coef0) ^ degree`
    Poly([f64; 3]),
    /// `exp(−gamma · |a − b|²)`
    Rbf(f64),
    /// `tanh(gamma · a·b + coef0)`
    Sigmoid([f64; 2]),
}

impl Kernel {
    fn of(&self, a: &[f64], b: &[f64]) -> f64 {
        let dot = || a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        match *self {
            Kernel::Linear => dot(),
            Kernel::Poly([gamma, coef0, degree]) => (gamma * dot() + coef0).powf(degree),
            Kernel::Rbf(gamma) => (-gamma * a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()).exp(),
            Kernel::Sigmoid([gamma, coef0]) => (gamma * dot() + coef0).tanh(),
        }
    }
}

fn numbers(call: &Call<'_>, name: &str) -> Vec<f64> {
    call.node.floats(name).unwrap_or(&[]).iter().map(|v| f64::from(*v)).collect()
}

impl Machine {
    fn new(call: &Call<'_>) -> Result<Machine> {
        let x = call.tensor(0)?;
        let features = match *x.shape() {
            [n] => n,
            [_, n] => n,
            ref other => bail!(InvalidInput, "the input has rank {}, it must have 1 or 2", other.len()),
        };
        let parameters = numbers(call, "kernel_params");
        let at = |i: usize| parameters.get(i).copied().unwrap_or(0.0);
        let kernel = match call.node.string("kernel_type").unwrap_or("LINEAR") {
            "LINEAR" => Kernel::Linear,
            "POLY" => Kernel::Poly([at(0), at(1), at(2)]),
            "RBF" => Kernel::Rbf(at(0)),
            "SIGMOID" => Kernel::Sigmoid([at(0), at(1)]),
            other => bail!(InvalidModel, "has the kernel_type '{other}'"),
        };
        let (vectors, rho) = (numbers(call, "support_vectors"), numbers(call, "rho"));
        ensure!(
            features > 0 && vectors.len().is_multiple_of(features),
            InvalidInput,
            "{features} features do not fit the vectors"
        );
        ensure!(!rho.is_empty(), InvalidModel, "has no rho");
        Ok(Machine { samples: call.floats(0)?, features, vectors, coefficients: numbers(call, "coefficients"), rho, kernel })
    }

    /// How like each of these vectors a sample is.
    fn likeness(&self, sample: &[f64], vectors: &[f64]) -> Vec<f64> {
        vectors.chunks_exact(self.features).map(|v| self.kernel.of(sample, v)).collect()
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The inverse of the normal distribution, with the approximation of the inverse error function that onnxruntime has.
fn probit(x: f64) -> f64 {
    let y = 2.0 * x - 1.0;
    let log = ((1.0 - y) * (1.0 + y)).ln();
    let v = 2.0 / (core::f64::consts::PI * 0.147) + 0.5 * log;
    let magnitude = ((v * v - log / 0.147).sqrt() - v).sqrt();
    core::f64::consts::SQRT_2 * if y < 0.0 { -magnitude } else { magnitude }
}

/// Changes a row of scores as `post_transform` says.
fn transform(call: &Call<'_>, scores: &mut [f64]) -> Result<()> {
    let softmax = |scores: &mut [f64], keep_zeros: bool| {
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        for s in scores.iter_mut() {
            *s = if keep_zeros && s.abs() <= 1e-7 { *s * (-largest).exp() } else { (*s - largest).exp() };
            sum += *s;
        }
        scores.iter_mut().for_each(|s| *s /= sum);
    };
    match call.node.string("post_transform").unwrap_or("NONE") {
        "NONE" => {}
        "LOGISTIC" => scores.iter_mut().for_each(|s| *s = logistic(*s)),
        "SOFTMAX" => softmax(scores, false),
        "SOFTMAX_ZERO" => softmax(scores, true),
        "PROBIT" => scores.iter_mut().for_each(|s| *s = probit(*s)),
        other => bail!(InvalidModel, "has the post_transform '{other}'"),
    }
    Ok(())
}

/// The two scores that stand for one.
fn two(call: &Call<'_>, score: f64) -> Result<Vec<f64>> {
    Ok(match call.node.string("post_transform").unwrap_or("NONE") {
        "NONE" => vec![-score, score],
        "LOGISTIC" => vec![logistic(-score), logistic(score)],
        "SOFTMAX" | "SOFTMAX_ZERO" => vec![1.0 - score, score],
        other => bail!(Unsupported, "the post_transform {other} of a single score is not supported"),
    })
}

/// The position of the first of the largest numbers.
fn best(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

pub(super) fn classify(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let machine = Machine::new(call)?;
    let labels = call.node.ints("classlabels_ints").unwrap_or(&[]).to_vec();
    ensure!(!labels.is_empty(), InvalidModel, "has no class labels");
    let counts: Vec<usize> =
        call.node.ints("vectors_per_class").unwrap_or(&[]).iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
    let (prob_a, prob_b) = (numbers(call, "prob_a"), numbers(call, "prob_b"));
    let pairs = counts.len() * counts.len().saturating_sub(1) / 2;
    let vectors = machine.vectors.len() / machine.features;
    if vectors > 0 {
        let fits = counts.iter().sum::<usize>() == vectors
            && machine.coefficients.len() == vectors * counts.len().saturating_sub(1)
            && counts.len() == labels.len()
            && machine.rho.len() == pairs
            && counts.len() > 1;
        ensure!(fits, InvalidModel, "has vectors, coefficients, rho and labels that do not fit together");
        let probabilities = [prob_a.len(), prob_b.len()];
        ensure!(
            probabilities == [0, 0] || probabilities == [pairs, pairs],
            InvalidModel,
            "has prob_a or prob_b of another length"
        );
    } else {
        let fits = machine.coefficients.len() == machine.features * labels.len();
        ensure!(fits, InvalidModel, "has {} coefficients for {} classes", machine.coefficients.len(), labels.len());
    }
    let (mut chosen, mut scores) = (Vec::new(), Vec::new());
    for sample in machine.samples.chunks_exact(machine.features) {
        if vectors == 0 {
            let mut row = machine.likeness(sample, &machine.coefficients);
            row.iter_mut().for_each(|s| *s += machine.rho[0]);
            chosen.push(labels[best(&row)]);
            transform(call, &mut row)?;
            scores.push(row);
            continue;
        }
        let (mut row, votes) = duel(&machine, sample, &counts);
        chosen.push(labels[best(&votes)]);
        scores.push(if !prob_a.is_empty() {
            let mut row = probabilities(&row, &prob_a, &prob_b, counts.len());
            transform(call, &mut row)?;
            row
        } else if let &[score] = row.as_slice() {
            two(call, score)?
        } else {
            transform(call, &mut row)?;
            row
        });
    }
    let width = scores.first().map_or(labels.len(), Vec::len);
    let scores: Vec<f32> = scores.into_iter().flatten().map(|s| s as f32).collect();
    Ok(vec![Value::numbers(&[chosen.len()], &chosen)?, Value::numbers(&[chosen.len(), width], &scores)?])
}

/// The scores of all pairs of classes, and how many pairs each class wins.
fn duel(machine: &Machine, sample: &[f64], counts: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let likeness = machine.likeness(sample, &machine.vectors);
    let starts: Vec<usize> = counts.iter().scan(0, |sum, n| Some(core::mem::replace(sum, *sum + n))).collect();
    let share = |row: usize, class: usize| -> f64 {
        let range = starts[class]..starts[class] + counts[class];
        let weights = &machine.coefficients[row * likeness.len()..][range.clone()];
        weights.iter().zip(&likeness[range]).map(|(w, k)| w * k).sum()
    };
    let (mut scores, mut votes) = (Vec::new(), vec![0.0; counts.len()]);
    for i in 0..counts.len() {
        for j in i + 1..counts.len() {
            let score = share(j - 1, i) + share(i, j) + machine.rho[scores.len()];
            votes[if score > 0.0 { i } else { j }] += 1.0;
            scores.push(score);
        }
    }
    (scores, votes)
}

/// Probabilities of the classes from those of the pairs, by the second method of Wu, Lin and Weng (2004), with libsvm's bounds.
fn probabilities(scores: &[f64], a: &[f64], b: &[f64], classes: usize) -> Vec<f64> {
    let mut r = vec![0.0; classes * classes];
    let mut pair = 0;
    for i in 0..classes {
        for j in i + 1..classes {
            let p = (1.0 - logistic(scores[pair] * a[pair] + b[pair])).clamp(1e-7, 1.0 - 1e-7);
            (r[i * classes + j], r[j * classes + i]) = (p, 1.0 - p);
            pair += 1;
        }
    }
    let q = |i: usize, j: usize| {
        if i == j {
            (0..classes).filter(|k| *k != i).map(|k| r[k * classes + i] * r[k * classes + i]).sum()
        } else {
            -r[j * classes + i] * r[i * classes + j]
        }
    };
    let mut p = vec![1.0 / classes as f64; classes];
    for _ in 0..100 {
        let mut qp: Vec<f64> = (0..classes).map(|i| (0..classes).map(|j| q(i, j) * p[j]).sum()).collect();
        let mut pqp: f64 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        if qp.iter().all(|v| (v - pqp).abs() < 0.005 / classes as f64) {
            break;
        }
        for i in 0..classes {
            let step = (pqp - qp[i]) / q(i, i);
            p[i] += step;
            pqp = (pqp + step * (step * q(i, i) + 2.0 * qp[i])) / (1.0 + step) / (1.0 + step);
            for j in 0..classes {
                qp[j] = (qp[j] + step * q(i, j)) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}

pub(super) fn regress(call: &mut Call<'_>) -> Result<Vec<Value>> {
    let machine = Machine::new(call)?;
    let supports = machine.vectors.len() / machine.features;
    let needed = if supports > 0 { supports } else { machine.features };
    let found = machine.coefficients.len();
    ensure!(found == needed, InvalidModel, "has {found} coefficients, it needs {needed}");
    let one_class = call.node.flag("one_class", false);
    let mut results: Vec<f32> = Vec::new();
    for sample in machine.samples.chunks_exact(machine.features) {
        let sum: f64 = if supports > 0 {
            machine.likeness(sample, &machine.vectors).iter().zip(&machine.coefficients).map(|(k, c)| k * c).sum()
        } else {
            machine.kernel.of(sample, &machine.coefficients)
        };
        let value = sum + machine.rho[0];
        if one_class {
            results.push(if value > 0.0 { 1.0 } else { -1.0 });
            continue;
        }
        let mut row = [value];
        transform(call, &mut row)?;
        results.push(row[0] as f32);
    }
    Ok(vec![Value::numbers(&[results.len(), 1], &results)?])
}
