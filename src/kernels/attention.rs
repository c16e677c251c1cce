//! Attention: `softmax(q·kᵀ · scale + mask) · v`, a few rows of one head at a time, so that scores never leave the cache.

use alloc::{boxed::Box, vec::Vec};

use super::{
    Io, Kernel, Prepare,
    gemm_f32::{Blocking, Gemm, Lines, Panels, pack_lines, packed_len},
    softmax,
    strided::broadcast_indices,
    team::{Shared, part},
    vector::Isa,
};
use crate::{
    error::{Error, Result},
    graph::ops::Attention,
};

/// Rows of scores that are computed at a time: whole tiles of most instruction sets.
const ROWS: usize = 48;
/// Multiply-accumulates that are worth a tile of their own.
const TILE_MACS: usize = 96 << 10;

struct AttentionF32 {
    isa: Isa,
    heads: Vec<Head>,
    /// Rows of q, and of k and v.
    rows: usize,
    keys: usize,
    /// Elements that are multiplied for a score, and elements of a result.
    depth: usize,
    width: usize,
    /// Elements from row to row of q, k, v and the output.
    strides: [usize; 4],
    scale: f32,
    divide: bool,
    /// Elements from row to row of the mask.
    mask_stride: usize,
    packed: [usize; 2],
}

/// Where the first elements of a head are.
struct Head {
    q: usize,
    k: usize,
    v: usize,
    out: usize,
    mask: usize,
}

/// Prepares [`Op::Attention`](crate::graph::Op::Attention).
#[inline(never)]
#[cfg_attr(small, optimize(size))]
pub(super) fn prepare(op: &Attention, p: &Prepare<'_>) -> Result<Box<dyn Kernel>> {
    if !p.is_f32() {
        return Err(p.unsupported());
    }
    let [q, k, v] = [0, 1, 2].map(|i| split(&p.inputs[i].shape));
    let out = split(&p.outputs[0].shape);
    let (rows, keys, depth, width) = (q.rows, k.rows, op.depth, out.row / op.heads.max(1));
    let isa = Isa::best();
    let heads_of = |lead: &[usize]| broadcast_indices(lead, out.lead);
    let (q_of, k_of, v_of) = (heads_of(q.lead), heads_of(k.lead), heads_of(v.lead));
    // The mask has the rank of the scores, or lacks leading dimensions.
    let (mask_of, mask_rows) = match p.inputs.get(3).map(|mask| &mask.shape[..]) {
        Some([lead @ .., rows, _]) => (broadcast_indices(lead, &[out.lead, &[op.heads]].concat()), *rows),
        _ => (Vec::new(), 0),
    };
    let mut heads = Vec::new();
    let pairs = if p.outputs[0].is_empty() { 0 } else { q_of.len() };
    for (i, ((q_of, k_of), v_of)) in q_of.iter().zip(&k_of).zip(&v_of).enumerate().take(pairs) {
        for h in 0..op.heads {
            heads.push(Head {
                q: q_of * rows * q.row + op.columns[0] + h * depth,
                k: k_of * keys * k.row + op.columns[1] + h * depth,
                v: v_of * keys * v.row + op.columns[2] + h * width,
                out: i * rows * out.row + h * width,
                mask: mask_of.get(heads.len()).map_or(0, |matrix| matrix * mask_rows * keys),
            });
        }
    }
    let too_large = || Error::Limit("keys and values are too large to be packed".into());
    let packed = [packed_len(isa, depth, keys).ok_or_else(too_large)?, packed_len(isa, keys, width).ok_or_else(too_large)?];
    let strides = [q.row, k.row, v.row, out.row];
    let mask_stride = if mask_rows > 1 { keys } else { 0 };
    Ok(Box::new(AttentionF32 {
        isa,
        heads,
        rows,
        keys,
        depth,
        width,
        strides,
        scale: op.scale,
        divide: op.divide,
        mask_stride,
        packed,
    }))
}

/// A tensor as matrices.
struct Matrices<'a> {
    lead: &'a [usize],
    rows: usize,
    row: usize,
}

fn split(shape: &[usize]) -> Matrices<'_> {
    match shape {
        [lead @ .., rows, row] => Matrices { lead, rows: *rows, row: *row },
        _ => Matrices { lead: &[], rows: 0, row: 0 },
    }
}

impl Kernel for AttentionF32 {
    fn own_scratch(&self) -> usize {
        (self.packed[0] + self.packed[1] + ROWS.min(self.rows) * self.keys) * size_of::<f32>()
    }

    fn run(&self, io: &mut Io<'_>) -> Result<()> {
        let [q, k, v] = [0, 1, 2].map(|i| io.input::<f32>(i));
        let mask = (io.input_count() > 3).then(|| io.input::<f32>(3));
        let (out, _, crew) = io.output_scratch_and_crew::<f32>(0);
        if self.keys == 0 {
            out.fill(0.0);
            return Ok(());
        }
        let out = Shared::new(out);
        let &AttentionF32 { isa, rows, keys, depth, width, .. } = self;
        let blocks = rows.div_ceil(ROWS);
        let units = self.heads.len() * blocks;
        let macs = ROWS.min(rows) * keys * (depth + width);
        let tiles = crew.tiles(units, TILE_MACS.div_ceil(macs.max(1)));
        crew.run(tiles, &|tile, scratch| {
            let (keys_packed, scratch) = bytemuck::cast_slice_mut::<_, f32>(scratch).split_at_mut(self.packed[0]);
            let (values_packed, scores) = scratch.split_at_mut(self.packed[1]);
            let mut loaded = usize::MAX;
            for unit in part(units, tile, tiles) {
                let head = &self.heads[unit / blocks];
                if unit / blocks != loaded {
                    loaded = unit / blocks;
                    let lines = Lines { data: &k[head.k..], stride: self.strides[1] };
                    pack_lines(isa, lines, depth, keys, true, keys_packed);
                    let lines = Lines { data: &v[head.v..], stride: self.strides[2] };
                    pack_lines(isa, lines, keys, width, false, values_packed);
                }
                let first = unit % blocks * ROWS;
                let count = ROWS.min(rows - first);
                let product = |a, a_stride, [depth, columns]: [usize; 2], data, c_stride| Gemm {
                    a,
                    a_stride,
                    b: Panels { isa, depth, columns, data },
                    bias: None,
                    bounds: (f32::NEG_INFINITY, f32::INFINITY),
                    c_stride,
                    blocking: Blocking::of(super::Choice::AUTO),
                };
                let [q_stride, _, _, out_stride] = self.strides;
                let scores = &mut scores[..count * keys];
                let rows_of_q = &q[head.q + first * q_stride..];
                product(rows_of_q, q_stride, [depth, keys], keys_packed, keys).run(count, scores);
                for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                    if self.divide {
                        row.iter_mut().for_each(|s| *s /= self.scale);
                    } else if self.scale != 1.0 {
                        row.iter_mut().for_each(|s| *s *= self.scale);
                    }
                    if let Some(mask) = mask {
                        let mask = &mask[head.mask + (first + i) * self.mask_stride..][..keys];
                        row.iter_mut().zip(mask).for_each(|(s, m)| *s += m);
                    }
                    softmax::row_in_place(row);
                }
                let out = out.from(head.out + first * out_stride);
                // SAFETY: these rows of this head are this unit's alone.
                unsafe { product(scores, keys, [keys, width], values_packed, out_stride).run_part(0..count, 0..width, &out) }
            }
            Ok(())
        })
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "attention_tests.rs"]
mod tests;
