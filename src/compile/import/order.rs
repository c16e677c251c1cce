//! The largest entries, and running sums and products.

use alloc::{vec, vec::Vec};

use super::lower::{Call, Lower, Lowering};
use crate::{
    error::{Result, bail, ensure},
    graph::{Node, Op, ValueId, ValueType},
    tensor::DType,
};

pub(super) fn lowering(op_type: &str) -> Option<Lowering> {
    Some(match op_type {
        "TopK" => top_k,
        "CumSum" => |l, c| cumulate(l, c, false),
        "CumProd" => |l, c| cumulate(l, c, true),
        _ => return None,
    })
}

fn top_k(l: &mut Lower, c: &Call) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let x = l.raw(x);
    let axis = l.axis(c.node.int("axis").unwrap_or(-1), l.rank(x))?;
    let shape = c.out()?.shape;
    ensure!(shape.len() == l.rank(x), InvalidModel, "gives another rank than its input's");
    let outputs = [l.dtype(x), DType::I64].map(|dtype| l.graph.add_value(c.name(), ValueType::new(dtype, shape.clone())));
    let op = Op::TopK { axis, largest: c.node.flag("largest", true) };
    l.graph.nodes.push(Node { name: c.name().into(), op, inputs: vec![x], outputs: outputs.to_vec() });
    // tract numbers the outputs that are there.
    let wanted = outputs.into_iter().enumerate().filter(|(i, _)| c.wants(*i)).map(|(_, v)| v);
    Ok(wanted.collect())
}

fn cumulate(l: &mut Lower, c: &Call, product: bool) -> Result<Vec<ValueId>> {
    let x = c.input(0)?;
    let x = l.raw(x);
    let Some([axis]) = l.const_ints(c.input(1)?).and_then(|v| <[i64; 1]>::try_from(v).ok()) else {
        bail!(Unsupported, "the axis is not constant");
    };
    let axis = l.axis(axis, l.rank(x))?;
    let dtype = l.dtype(x);
    // Small integers wrap as larger ones do that are cast back.
    let wide = match dtype {
        DType::U32 => DType::I64,
        DType::U64 => bail!(Unsupported, "running sums of {dtype} are not supported"),
        _ => dtype,
    };
    let x = l.cast(c, x, wide);
    let op = Op::Cumulate { axis, product, exclusive: c.node.flag("exclusive", false), reverse: c.node.flag("reverse", false) };
    let ty = ValueType::new(wide, l.shape(x));
    let y = l.emit(c, op, &[x], ty);
    Ok(vec![l.cast(c, y, dtype)])
}
