//! Shape rules of the operators, on concrete shapes. Checked once per binding, so that kernels may index by shapes they are given.

use alloc::vec::Vec;

use super::{
    Op,
    ops::{Attention, Conv, MatMul, Pool, Recurrent, Window},
};
use crate::{
    error::{Result, bail, ensure},
    tensor::describe_shape,
};

/// Fails unless `outputs` are the shapes that `op` gives for `inputs`. Ranks and attributes were verified with the graph.
#[cfg_attr(small, optimize(size))]
pub fn check(op: &Op, inputs: &[&[usize]], outputs: &[&[usize]]) -> Result<()> {
    let expected = match op {
        Op::Conv(conv) => check_conv(conv, inputs)?,
        Op::MatMul(mm) => check_matmul(mm, inputs)?,
        Op::Attention(op) => check_attention(op, inputs, outputs[0])?,
        Op::Pool(pool) => check_pool(pool, inputs[0])?,
        Op::Binary(_) | Op::Where => broadcast(inputs)?,
        Op::InstanceNorm(_) | Op::Unary(_) | Op::Cast | Op::Softmax { .. } | Op::Quantize | Op::Dequantize | Op::Reinterpret => {
            inputs[0].to_vec()
        }
        Op::Table => {
            ensure!(inputs[1] == [256], InvalidModel, "the table is {}, not 256", describe_shape(inputs[1]));
            inputs[0].to_vec()
        }
        Op::LayerNorm { axis, .. } => {
            for parameter in &inputs[1..] {
                let normalised = &inputs[0][*axis..];
                ensure!(
                    *parameter == normalised,
                    InvalidModel,
                    "scale and bias are {}, the normalised axes are {}",
                    describe_shape(parameter),
                    describe_shape(normalised)
                );
            }
            inputs[0].to_vec()
        }
        Op::Reduce { axes, keep_dims, .. } => {
            let kept = inputs[0].iter().enumerate();
            if *keep_dims {
                kept.map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect()
            } else {
                kept.filter(|(i, _)| !axes.contains(i)).map(|(_, &d)| d).collect()
            }
        }
        Op::Reshape => {
            let (from, to): (usize, usize) = (inputs[0].iter().product(), outputs[0].iter().product());
            ensure!(
                from == to,
                InvalidInput,
                "cannot view {} ({from} elements) as {} ({to} elements)",
                describe_shape(inputs[0]),
                describe_shape(outputs[0])
            );
            outputs[0].to_vec()
        }
        Op::Transpose { perm } => perm.iter().map(|&p| inputs[0][p]).collect(),
        Op::Expand => {
            let reached = broadcast(&[inputs[0], outputs[0]])?;
            ensure!(
                reached == outputs[0],
                InvalidModel,
                "cannot expand {} to {}",
                describe_shape(inputs[0]),
                describe_shape(outputs[0])
            );
            reached
        }
        Op::Concat { axis } => check_concat(*axis, inputs)?,
        Op::Slice { axis, start, step } => check_slice(*axis, start.eval_signed(&[])?, *step, inputs[0], outputs[0])?,
        Op::Pad { pads, .. } => {
            let padded = inputs[0].iter().zip(pads).map(|(&d, (before, after))| {
                let total = d as i64 + before.eval_signed(&[])? + after.eval_signed(&[])?;
                usize::try_from(total).or_else(|_| bail!(InvalidModel, "pads an axis of {d} to {total}"))
            });
            padded.collect::<Result<Vec<_>>>()?
        }
        Op::Gather { axis } => {
            let (before, rest) = inputs[0].split_at(*axis);
            [before, inputs[1], &rest[1..]].concat()
        }
        Op::Range => {
            ensure!(outputs[0].len() == 1, InvalidModel, "the output is not a list");
            outputs[0].to_vec()
        }
        Op::Recurrent(r) => check_recurrent(r, inputs, outputs)?,
        Op::TreeEnsemble { .. } => {
            ensure!(inputs[0].len() == 2 && outputs[0].len() == 2, InvalidModel, "needs samples of rank 2");
            alloc::vec![inputs[0][0], outputs[0][1]]
        }
        Op::Cumulate { .. } => inputs[0].to_vec(),
        Op::Scatter { .. } => {
            let expected = [inputs[1], inputs[0].get(1..).unwrap_or_default()].concat();
            ensure!(
                inputs[2] == expected,
                InvalidInput,
                "updates are {}, the rows at {} indices are {}",
                describe_shape(inputs[2]),
                describe_shape(inputs[1]),
                describe_shape(&expected)
            );
            inputs[0].to_vec()
        }
        Op::TopK { axis, .. } => {
            let mut expected = inputs[0].to_vec();
            expected[*axis] = outputs[0].get(*axis).copied().unwrap_or(0);
            ensure!(
                expected[*axis] <= inputs[0][*axis],
                InvalidInput,
                "asks for {} entries of an axis of {}",
                expected[*axis],
                inputs[0][*axis]
            );
            ensure!(outputs[1] == outputs[0], InvalidModel, "gives indices of another shape than the entries");
            expected
        }
        Op::GridSample(_) => check_grid_sample(inputs[0], inputs[1])?,
        Op::RoiAlign(_) => check_roi_align(inputs, outputs[0])?,
        Op::DynamicQuantize => {
            ensure!(outputs[1].is_empty() && outputs[2].is_empty(), InvalidModel, "scale and zero point are not scalar");
            inputs[0].to_vec()
        }
    };
    ensure!(
        expected == outputs[0],
        InvalidInput,
        "computes {}, the model expects {}; the input shapes do not fit the model",
        describe_shape(&expected),
        describe_shape(outputs[0])
    );
    Ok(())
}

/// The shape that all of `shapes` broadcast to, by NumPy's rules.
pub fn broadcast(shapes: &[&[usize]]) -> Result<Vec<usize>> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = alloc::vec![1; rank];
    for shape in shapes {
        for (o, &d) in out.iter_mut().rev().zip(shape.iter().rev()) {
            if *o == 1 {
                *o = d;
            } else if d != 1 && d != *o {
                let all: Vec<_> = shapes.iter().map(|s| describe_shape(s)).collect();
                bail!(InvalidInput, "shapes {} do not broadcast", all.join(" and "));
            }
        }
    }
    Ok(out)
}

/// Output size of a window along one spatial axis (0 = height), or an error if the kernel does not fit.
pub fn window_output(window: &Window, axis: usize, input: usize) -> Result<usize> {
    let span = window.dilations[axis] * (window.kernel[axis] - 1) + 1;
    let [before, after] = window.pads[axis];
    let padded = input + before + after;
    ensure!(
        padded >= span,
        InvalidInput,
        "a kernel of {span} (with dilation) does not fit an input of {input} padded to {padded}"
    );
    let stride = window.strides[axis];
    let steps = if window.ceil {
        let steps = (padded - span).div_ceil(stride);
        // ONNX ignores windows that would start in the padding behind the input.
        if steps * stride >= input + before { steps.saturating_sub(1) } else { steps }
    } else {
        (padded - span) / stride
    };
    Ok(steps + 1)
}

fn check_conv(conv: &Conv, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    let (x, w) = (inputs[0], inputs[1]);
    ensure!(w.len() == 4, InvalidModel, "weight has rank {} instead of 4", w.len());
    ensure!(
        w[3] * conv.groups == x[3],
        InvalidInput,
        "weight has {} input channels in {} groups, input has {} (NHWC {})",
        w[3],
        conv.groups,
        x[3],
        describe_shape(x)
    );
    ensure!(w[0].is_multiple_of(conv.groups), InvalidModel, "{} output channels do not divide into {} groups", w[0], conv.groups);
    ensure!(
        w[1..3] == conv.window.kernel,
        InvalidModel,
        "weight is {} for a kernel of {:?}",
        describe_shape(w),
        conv.window.kernel
    );
    check_epilogue(conv.bias, conv.dynamic, w[0], inputs)?;
    let oh = window_output(&conv.window, 0, x[1])?;
    let ow = window_output(&conv.window, 1, x[2])?;
    Ok(alloc::vec![x[0], oh, ow, w[0]])
}

fn check_epilogue(bias: bool, dynamic: bool, channels: usize, inputs: &[&[usize]]) -> Result<()> {
    if bias {
        let given = inputs[2];
        ensure!(given == [channels], InvalidModel, "bias is {}, there are {channels} outputs", describe_shape(given));
    }
    if dynamic {
        let scalars = inputs[2 + usize::from(bias)..].iter().all(|s| s.iter().product::<usize>() == 1);
        ensure!(scalars, InvalidModel, "scale and zero point of the input are not scalar");
    }
    Ok(())
}

fn check_matmul(mm: &MatMul, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    let (a, b) = (inputs[0], inputs[1]);
    ensure!(a.len() >= 2 && b.len() >= 2, InvalidModel, "needs operands of rank 2 or more");
    let (m, k) = (a[a.len() - 2], a[a.len() - 1]);
    let (mut bk, mut n) = (b[b.len() - 2], b[b.len() - 1]);
    if mm.transpose_b {
        core::mem::swap(&mut bk, &mut n);
    }
    ensure!(
        k == bk,
        InvalidInput,
        "rows of a have {k} elements, columns of b have {bk} ({} · {})",
        describe_shape(a),
        describe_shape(b)
    );
    check_epilogue(mm.bias, mm.dynamic, n, inputs)?;
    let mut out = broadcast(&[&a[..a.len() - 2], &b[..b.len() - 2]])?;
    out.extend([m, n]);
    Ok(out)
}

fn check_attention(op: &Attention, inputs: &[&[usize]], output: &[usize]) -> Result<Vec<usize>> {
    let (&[ref q_lead @ .., rows, q], &[ref k_lead @ .., keys, k], &[ref v_lead @ .., values, v], &[.., out]) =
        (inputs[0], inputs[1], inputs[2], output)
    else {
        bail!(InvalidModel, "needs operands of rank 2 or more");
    };
    let fits = |first: usize, own: usize, row: usize| {
        own.checked_mul(op.heads).and_then(|n| n.checked_add(first)).is_some_and(|end| end <= row)
    };
    let [q_first, k_first, v_first] = op.columns;
    let width = out.checked_div(op.heads).unwrap_or(0);
    ensure!(
        keys == values
            && width * op.heads == out
            && fits(q_first, op.depth, q)
            && fits(k_first, op.depth, k)
            && fits(v_first, width, v),
        InvalidInput,
        "{} heads of {} elements do not fit q {}, k {} and v {}",
        op.heads,
        op.depth,
        describe_shape(inputs[0]),
        describe_shape(inputs[1]),
        describe_shape(inputs[2])
    );
    let mut expected = broadcast(&[q_lead, k_lead, v_lead])?;
    if let Some(mask) = inputs.get(3) {
        let scores = [&expected[..], &[op.heads, rows, keys]].concat();
        ensure!(
            mask.last() == Some(&keys) && broadcast(&[mask, &scores])? == scores,
            InvalidInput,
            "the mask {} does not fit scores {}",
            describe_shape(mask),
            describe_shape(&scores)
        );
    }
    expected.extend([rows, out]);
    Ok(expected)
}

fn check_recurrent(r: &Recurrent, inputs: &[&[usize]], outputs: &[&[usize]]) -> Result<Vec<usize>> {
    let (&[steps, batch, width], &[rows, hidden]) = (inputs[0], inputs[2]) else {
        bail!(InvalidModel, "needs gates of rank 3 and a state of rank 2");
    };
    ensure!(
        width == r.cell.gates() * hidden && rows == batch && inputs[1] == [width, hidden],
        InvalidInput,
        "gates {}, recurrent weight {} and state {} do not fit together",
        describe_shape(inputs[0]),
        describe_shape(inputs[1]),
        describe_shape(inputs[2])
    );
    ensure!(outputs[1..].iter().all(|o| *o == [batch, hidden]), InvalidModel, "the last state has another shape than the first");
    Ok(alloc::vec![steps, batch, hidden])
}

fn check_grid_sample(x: &[usize], positions: &[usize]) -> Result<Vec<usize>> {
    let (&[batch, .., channels], &[rows, .., axes]) = (x, positions) else {
        bail!(InvalidModel, "needs an image and positions of rank 2 or more");
    };
    ensure!(
        batch == rows && axes + 2 == x.len() && axes > 0,
        InvalidInput,
        "positions {} do not fit x {}",
        describe_shape(positions),
        describe_shape(x)
    );
    let mut out = positions.to_vec();
    out[positions.len() - 1] = channels;
    Ok(out)
}

fn check_roi_align(inputs: &[&[usize]], output: &[usize]) -> Result<Vec<usize>> {
    let (&[_, _, _, channels], &[count, 4]) = (inputs[0], inputs[1]) else {
        bail!(InvalidModel, "needs an image of rank 4 and boxes of four numbers");
    };
    ensure!(inputs[2] == [count], InvalidInput, "has {count} boxes and {} numbers of images", describe_shape(inputs[2]));
    ensure!(output.len() == 4, InvalidModel, "gives another rank than 4");
    Ok(alloc::vec![count, output[1], output[2], channels])
}

fn check_pool(pool: &Pool, x: &[usize]) -> Result<Vec<usize>> {
    let oh = window_output(&pool.window, 0, x[1])?;
    let ow = window_output(&pool.window, 1, x[2])?;
    Ok(alloc::vec![x[0], oh, ow, x[3]])
}

fn check_concat(axis: usize, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    let mut out = inputs[0].to_vec();
    for shape in &inputs[1..] {
        let same = shape.len() == out.len() && shape.iter().zip(&out).enumerate().all(|(i, (a, b))| i == axis || a == b);
        ensure!(same, InvalidInput, "cannot join {} and {} along axis {axis}", describe_shape(inputs[0]), describe_shape(shape));
        out[axis] += shape[axis];
    }
    Ok(out)
}

fn check_slice(axis: usize, start: i64, step: i64, input: &[usize], output: &[usize]) -> Result<Vec<usize>> {
    ensure!(output.len() == input.len(), InvalidModel, "changes the rank");
    let mut out = input.to_vec();
    out[axis] = output[axis];
    if let Some(last) = output[axis].checked_sub(1) {
        let end = step.checked_mul(last as i64).and_then(|d| start.checked_add(d));
        let inside = |i: i64| (0..input[axis] as i64).contains(&i);
        ensure!(
            inside(start) && end.is_some_and(inside),
            InvalidInput,
            "indices {start}, {} … ({} of them) reach out of an axis of {}",
            start.saturating_add(step),
            output[axis],
            input[axis]
        );
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{Activation, ReduceOp};

    fn window(kernel: usize, stride: usize, pad: usize, ceil: bool) -> Window {
        Window { kernel: [kernel; 2], strides: [stride; 2], dilations: [1; 2], pads: [[pad; 2]; 2], ceil }
    }

    #[test]
    fn window_sizes() {
        assert_eq!(window_output(&window(3, 2, 1, false), 0, 224).unwrap(), 112);
        assert_eq!(window_output(&window(3, 2, 0, true), 0, 112).unwrap(), 56);
        assert_eq!(window_output(&window(2, 2, 1, true), 0, 2).unwrap(), 2);
        assert!(window_output(&window(5, 1, 0, false), 0, 4).is_err());
    }

    #[test]
    fn mismatches_are_sentences() {
        let conv = Op::Conv(Conv {
            window: window(1, 1, 0, false),
            groups: 1,
            bias: false,
            dynamic: false,
            activation: Activation::None,
        });
        let error = check(&conv, &[&[1, 224, 224, 4], &[8, 1, 1, 3]], &[&[1, 224, 224, 8]]).unwrap_err();
        assert_eq!(error.to_string(), "weight has 3 input channels in 1 groups, input has 4 (NHWC 1×224×224×4)");
        let reduce = Op::Reduce { op: ReduceOp::Mean, axes: alloc::vec![1], keep_dims: true };
        assert!(check(&reduce, &[&[2, 3]], &[&[2, 1]]).is_ok());
        assert!(check(&reduce, &[&[2, 3]], &[&[2]]).is_err());
        let slice = Op::Slice { axis: 0, start: crate::graph::Dim::fixed(2), step: -1 };
        assert!(check(&slice, &[&[3]], &[&[3]]).is_ok());
        assert!(check(&slice, &[&[3]], &[&[4]]).is_err());
    }

    #[test]
    fn broadcasting() {
        assert_eq!(broadcast(&[&[2, 1, 3], &[4, 1]]).unwrap(), [2, 4, 3]);
        assert_eq!(broadcast(&[&[0], &[1]]).unwrap(), [0]);
        assert!(broadcast(&[&[2], &[3]]).is_err());
    }
}
