//! A whole model, operator by operator.

use std::collections::BTreeMap;

use nearside::{
    DType, Result, Tensor, TensorView,
    graph::plan,
    runtime::{self, DimInfo, NodeProfile, Session},
    tensor::AlignedBytes,
};

use crate::measure::Clock;

/// Dimensions that a model leaves open, unless their name says that they are a batch.
const OPEN: usize = 128;
const BUDGET_MS: f64 = 1500.0;

/// Runs a plan on invented inputs and tells the fastest time of every operator kind, and of the slowest nodes.
pub fn profile(file: &[u8], clock: Clock<'_>, mut say: impl FnMut(&str)) -> Result<()> {
    let mut session = Session::new(plan::read(AlignedBytes::copy_of(file))?)?;
    let inputs = inputs(&session)?;
    let views: Vec<(&str, TensorView<'_>)> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    let (mut runs, mut whole) = (0, f64::INFINITY);
    let start = clock();
    while clock() - start < BUDGET_MS / 2.0 {
        let begin = clock();
        session.run(&views)?;
        whole = whole.min(clock() - begin);
        runs += 1;
    }
    let mut nodes = runtime::profile(&mut session, &views, runs, clock)?;
    let sum: f64 = nodes.iter().map(|n| n.min_ms).sum();
    say(&format!("{:.3} ms; the operators by themselves {sum:.3} ms", whole));
    let mut kinds = BTreeMap::<&str, (usize, f64)>::new();
    for node in &nodes {
        let entry = kinds.entry(node.op).or_default();
        *entry = (entry.0 + 1, entry.1 + node.min_ms);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    for (kind, (count, ms)) in kinds {
        say(&format!("{:>9.1} µs {:>5.1} %  {kind}×{count}", ms * 1e3, ms / sum * 100.0));
    }
    nodes.sort_by(|a, b| b.min_ms.total_cmp(&a.min_ms));
    for NodeProfile { op, name, min_ms, .. } in nodes.iter().take(16) {
        say(&format!("{:>9.1} µs {:>5.1} %  {op} '{name}'", min_ms * 1e3, min_ms / sum * 100.0));
    }
    Ok(())
}

/// An input for each port of a model.
pub(crate) fn inputs(session: &Session) -> Result<Vec<(String, Tensor)>> {
    let mut inputs = Vec::new();
    for port in session.inputs() {
        let size = |d: &DimInfo| match d {
            DimInfo::Fixed(n) => *n,
            DimInfo::Symbol(name) if name.to_lowercase().starts_with('b') || name == "N" => 1,
            DimInfo::Symbol(_) => OPEN,
        };
        let shape: Vec<usize> = port.shape.iter().map(size).collect();
        inputs.push((port.name.clone(), invented(port.dtype, &shape)?));
    }
    Ok(inputs)
}

/// Numbers that no kernel treats specially: reals around zero, small indices.
fn invented(dtype: DType, shape: &[usize]) -> Result<Tensor> {
    let mut tensor = Tensor::zeros(dtype, shape)?;
    match dtype {
        DType::F32 => {
            let values = tensor.as_mut_slice::<f32>()?;
            values.iter_mut().enumerate().for_each(|(i, v)| *v = (i * 37 % 101) as f32 / 50.0 - 1.0);
        }
        DType::I64 => tensor.as_mut_slice::<i64>()?.fill(1),
        DType::I32 => tensor.as_mut_slice::<i32>()?.fill(1),
        _ => tensor.bytes_mut().fill(1),
    }
    Ok(tensor)
}
