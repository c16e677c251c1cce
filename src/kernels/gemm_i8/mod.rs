//! Products of u8 rows with packed i8 columns, exact in i32: what every quantized convolution and matrix product runs on.
//!
//! Rows come in blocks that fit a cache ([`RowSource`]), columns in panels packed for the instruction set ([`Scheme`]),
//! and a [`Finish`] turns accumulators into results while they are in registers.

mod pack;
mod probe;
mod rows;
mod scalar;
mod scheme;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
mod wide;
#[cfg(target_arch = "x86_64")]
mod x86;

use core::ops::Range;

pub(crate) use pack::{Packed, Weights, pack_into, packed_len};
pub(crate) use probe::selftest;
pub(crate) use rows::{InPlace, Padded, RowSource, Rows, Segments, padded_depth, widen};
pub(crate) use scheme::Scheme;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use wasm::{Dot, Dot16, Store, unroll};
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub(crate) use wasm::{Rdot, RdotSigned};
pub(crate) use wide::run_wide;

use super::{
    choice::{Choice, Made, Method},
    requant::{Finish, Raw},
    team::{Crew, Shared, part, part_in_units},
};
use crate::error::{Error, Result, ensure};

/// A [`Finish`] that the instruction sets know how to apply.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(crate) trait Store: Finish {}
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
impl<F: Finish> Store for F {}

/// The sizes of a product, and how it is cut into blocks.
#[derive(Debug, Clone)]
pub(crate) struct Gemm {
    pub scheme: Scheme,
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Depth.
    pub k: usize,
    /// Rows of a block.
    block: usize,
    /// Tiles begin at rows that are multiples of this.
    unit: usize,
    /// How a row is cut; one segment unless rows are windows.
    segments: Segments,
    /// Bytes that the source of rows may write for a block.
    rows_bytes: usize,
    /// Whether accumulators pass through memory, for a correction per row or for a finish that vectors cannot do exactly.
    staged: bool,
}

/// The columns of a product.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Packed weights.
    pub packed: &'a [u8],
    /// Initial accumulators, one per column of whole panels.
    pub init: &'a [i32],
    /// What each row's sum is multiplied by and added to the accumulator: minus the weights' zero point.
    pub row_sum: Option<&'a [i32]>,
}

/// Bytes of a block of rows: it stays in the first-level cache beside a panel.
const BLOCK_BYTES: usize = 24 << 10;
/// Multiply-accumulates of one call. V8 cannot replace a running function by its optimised version, so calls must be short.
const CALL_MACS: usize = 16 << 20;
/// Multiply-accumulates that are worth a tile of their own: some ten microseconds.
const TILE_MACS: usize = 512 << 10;
/// Tiles begin at rows that are multiples of this, and so of the rows that any instruction set computes at once.
const TILE_ROWS: usize = 12;
/// Fewest columns of a tile: each tile copies and widens its rows anew.
const TILE_COLUMNS: usize = if cfg!(test) { 8 } else { 64 };

impl Gemm {
    /// A product of `m` rows with `n` columns of depth `k`. `staged` must hold if columns have row sums or the finish is not bounded.
    pub fn new(scheme: Scheme, m: usize, n: usize, k: usize, staged: bool, choice: Choice) -> Gemm {
        let fit = choice.scale(BLOCK_BYTES) / padded_depth(k).max(1);
        let block = if staged { TILE_ROWS } else { (fit / TILE_ROWS * TILE_ROWS).clamp(2 * TILE_ROWS, choice.scale(96)) };
        let block = block.min(m.max(1));
        let segments = Segments { count: 1, len: k, stride: 0 };
        Gemm { scheme, m, n, k, block, unit: block.min(TILE_ROWS), segments, rows_bytes: block * padded_depth(k), staged }
    }

    /// A product of `m` rows that are windows, `block` of them at a time, with `n` columns. The source of rows writes up to `rows_bytes`
    /// for a block, which begins at a multiple of `block`.
    pub fn of_windows(scheme: Scheme, [m, n]: [usize; 2], segments: Segments, block: usize, rows_bytes: usize) -> Gemm {
        let block = block.clamp(1, m.max(1));
        Gemm { scheme, m, n, k: segments.depth(), block, unit: block, segments, rows_bytes, staged: false }
    }

    /// What the product is prepared to do.
    pub fn made(&self, method: Method) -> Made {
        Made { method, inner: self.scheme.inner(), blocks: [self.block, 0] }
    }

    /// Columns of whole panels.
    pub fn padded_columns(&self) -> usize {
        self.n.next_multiple_of(self.scheme.panel())
    }

    /// Bytes of scratch space that [`Gemm::run`] needs.
    pub fn scratch(&self) -> usize {
        let [rows, wide, staged] = self.scratch_parts();
        rows + wide + staged
    }

    /// Bytes for: rows, rows widened to i16, accumulators.
    fn scratch_parts(&self) -> [usize; 3] {
        let rows = self.rows_bytes.next_multiple_of(64);
        let widens = self.scheme.widens() && self.segments.count == 1;
        let wide = if widens { 2 * rows } else { 0 };
        let staged = if self.staged { (self.block * self.padded_columns() * 4).next_multiple_of(64) } else { 0 };
        [rows, wide, staged]
    }

    /// Computes all rows. Row `i` of the result starts at `out[i · stride]`. Each member of `crew` needs [`Gemm::scratch`] bytes, aligned
    /// to 64.
    pub fn run<F: Store>(
        &self,
        source: &dyn RowSource,
        columns: Columns<'_>,
        finish: &F,
        out: &mut [F::Out],
        stride: usize,
        crew: Crew<'_>,
    ) -> Result<()> {
        let padded = self.padded_columns();
        if self.m == 0 || self.n == 0 {
            return Ok(());
        }
        ensure!(
            columns.packed.len() >= packed_len(self.scheme, self.n, self.k)
                && columns.init.len() >= padded
                && columns.row_sum.is_none_or(|r| r.len() >= self.n)
                && finish.columns() >= padded
                && stride >= self.n
                && out.len() >= (self.m - 1) * stride + self.n
                && (self.staged || (columns.row_sum.is_none() && finish.is_bounded())),
            Internal,
            "operands of an integer product are too short for {}×{}×{}",
            self.m,
            self.n,
            self.k
        );
        if self.k == 0 {
            out.chunks_mut(stride).take(self.m).for_each(|row| finish.row(&columns.init[..self.n], 0, &mut row[..self.n]));
            return Ok(());
        }
        let out = Shared::new(out);
        let tile = |rows, panels, scratch: &mut [u8]| self.tile(source, &columns, finish, (&out, stride), rows, panels, scratch);
        let [row_parts, panel_parts] = self.cut(crew);
        let panels = self.n.div_ceil(self.scheme.panel());
        crew.run(row_parts * panel_parts, &|i, scratch| {
            let rows = part_in_units(self.m, self.unit, i / panel_parts, row_parts);
            tile(rows, part(panels, i % panel_parts, panel_parts), scratch)
        })
    }

    /// In how many parts to cut rows and columns.
    fn cut(&self, crew: Crew<'_>) -> [usize; 2] {
        let tiles = crew.tiles(self.m.saturating_mul(self.n).saturating_mul(self.k), TILE_MACS);
        let rows = crew.even(self.m.div_ceil(self.block).min(tiles), self.m.div_ceil(self.unit).min(tiles));
        [rows, tiles.div_ceil(rows).min(self.n / TILE_COLUMNS).max(1)]
    }

    /// Some rows by some panels.
    #[allow(clippy::too_many_arguments)]
    fn tile<F: Store>(
        &self,
        source: &dyn RowSource,
        columns: &Columns<'_>,
        finish: &F,
        (out, stride): (&Shared<'_, F::Out>, usize),
        rows: Range<usize>,
        panels: Range<usize>,
        scratch: &mut [u8],
    ) -> Result<()> {
        ensure!(scratch.len() >= self.scratch(), Internal, "scratch space of an integer product is too small");
        let padded = self.padded_columns();
        let parts = self.scratch_parts();
        let (rows_scratch, rest) = scratch.split_at_mut(parts[0]);
        let (wide_scratch, rest) = rest.split_at_mut(parts[1]);
        let wide: &mut [i16] = cast(wide_scratch)?;
        let staged: &mut [i32] = cast(&mut rest[..parts[2]])?;
        let panel = self.scheme.panel();
        let own = panels.start * panel..(panels.end * panel).min(self.n);
        let mut at = rows.start;
        while at < rows.end {
            let count = self.block.min(rows.end - at);
            let rows = source.rows(at..at + count, rows_scratch);
            if self.staged {
                self.block(&rows, count, wide, columns, &Raw, panels.clone(), staged.as_mut_ptr(), padded)?;
                for i in 0..count {
                    let acc = &mut staged[i * padded..][own.clone()];
                    if let (Some(factors), Rows::Apart { bytes, stride }) = (columns.row_sum, &rows) {
                        let sum = bytes[i * stride..][..self.k].iter().map(|&v| i32::from(v)).sum::<i32>();
                        let factors = &factors[own.clone()];
                        acc.iter_mut().zip(factors).for_each(|(acc, f)| *acc = acc.wrapping_add(sum.wrapping_mul(*f)));
                    }
                    let first = (at + i) * stride;
                    // SAFETY: these columns of this row are this tile's alone.
                    finish.row(acc, own.start, unsafe { out.part(first + own.start..first + own.end) });
                }
            } else {
                // SAFETY: `run` found `out` long enough for row `at`.
                let out = unsafe { out.as_ptr().add(at * stride) };
                self.block(&rows, count, wide, columns, finish, panels.clone(), out, stride)?;
            }
            at += count;
        }
        Ok(())
    }

    /// One block of rows, a few of the panels at a time. `out` must hold `n` columns of every row.
    #[allow(clippy::too_many_arguments)]
    fn block<F: Store>(
        &self,
        rows: &Rows<'_>,
        count: usize,
        wide: &mut [i16],
        columns: &Columns<'_>,
        finish: &F,
        panels: Range<usize>,
        out: *mut F::Out,
        stride: usize,
    ) -> Result<()> {
        let depth = padded_depth(self.k);
        let too_short = || Error::Internal("rows of an integer product are too short".into());
        let (a, lda, offsets) = match *rows {
            Rows::Windows { bytes, offsets } => {
                let size = if self.scheme.widens() { 2 } else { 1 };
                let Segments { count: segments, len, stride } = self.segments;
                let last = offsets.get(..count).and_then(|offsets| offsets.iter().max()).ok_or_else(too_short)?;
                let end = *last as usize + (segments - 1) * stride + padded_depth(len) * size;
                ensure!(bytes.len() >= end, Internal, "windows of an integer product are too short");
                (bytes.as_ptr(), 0, offsets.as_ptr())
            }
            Rows::Apart { bytes, stride } => {
                if bytes.len() < (count - 1) * stride + depth || self.segments.count > 1 {
                    return Err(too_short());
                }
                if self.scheme.widens() {
                    for i in 0..count {
                        widen(&bytes[i * stride..][..depth], &mut wide[i * depth..][..depth]);
                    }
                    (wide.as_ptr().cast::<u8>(), 2 * depth, core::ptr::null())
                } else {
                    (bytes.as_ptr(), stride, core::ptr::null())
                }
            }
        };
        let groups = padded_depth(self.segments.len) / self.scheme.group();
        let panel = self.scheme.panel();
        let step = (CALL_MACS / (count * depth * panel).max(1)).max(1);
        let mut first = panels.start;
        while first < panels.end {
            let last = (first + step).min(panels.end);
            let block = Block {
                a,
                lda,
                offsets,
                rows: count,
                segments: self.segments.count,
                gap: self.segments.stride.wrapping_sub(4 * groups),
                b: columns.packed.as_ptr(),
                panel_bytes: depth * panel,
                groups,
                panels: first..last,
                n: self.n,
                init: columns.init.as_ptr(),
                finish,
                out,
                ldo: stride,
            };
            // SAFETY: `run` and the check above found every operand long enough for whole rows and panels, and `out` for n columns
            // of every row; other threads write other columns or rows. Schemes are only constructed where their instructions exist.
            unsafe { block.run(self.scheme) };
            first = last;
        }
        Ok(())
    }
}

/// A block of rows against a range of panels, as the instruction sets see it.
struct Block<'a, F: Finish> {
    /// Rows: u8, or i16 if the scheme widens; at `offsets`, or if that is null `lda` bytes apart.
    a: *const u8,
    lda: usize,
    offsets: *const u32,
    rows: usize,
    /// Segments of a row, and bytes from the end of one to the beginning of the next.
    segments: usize,
    gap: usize,
    b: *const u8,
    panel_bytes: usize,
    /// Groups of depth in a segment.
    groups: usize,
    panels: Range<usize>,
    /// Columns of the result; the last panel may reach beyond.
    n: usize,
    init: *const i32,
    finish: &'a F,
    out: *mut F::Out,
    ldo: usize,
}

impl<F: Finish> Block<'_, F> {
    /// The first element of a row.
    ///
    /// # Safety
    /// `row` must be one of the block's.
    #[inline(always)]
    unsafe fn row(&self, row: usize) -> *const u8 {
        // SAFETY: as the caller promises; `offsets` holds one for every row.
        unsafe { self.a.add(if self.offsets.is_null() { row * self.lda } else { *self.offsets.add(row) as usize }) }
    }

    /// Columns `column..column + count` of a row of the result.
    ///
    /// # Safety
    /// They must lie within the n columns, and no other reference to them may be alive.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    unsafe fn out_row(&self, row: usize, column: usize, count: usize) -> &mut [F::Out] {
        // SAFETY: as the caller promises.
        unsafe { core::slice::from_raw_parts_mut(self.out.add(row * self.ldo + column), count) }
    }
}

impl<F: Store> Block<'_, F> {
    /// # Safety
    /// Rows must hold `segments` segments of `groups` groups, `b` and `init` all panels of the range, and `out` `n` columns at each row's start.
    unsafe fn run(&self, scheme: Scheme) {
        // SAFETY: as the caller promises.
        unsafe {
            match scheme {
                Scheme::Scalar => scalar::run(self),
                #[cfg(target_arch = "x86_64")]
                Scheme::Avx2 => x86::run_avx2(self),
                #[cfg(target_arch = "x86_64")]
                Scheme::AvxVnni => x86::run_avx_vnni(self),
                #[cfg(target_arch = "x86_64")]
                Scheme::Avx512Vnni => x86::run_avx512_vnni(self),
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                Scheme::Dot16 => wasm::run::<wasm::Dot16, F>(self),
                #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
                Scheme::Rdot => wasm::run::<wasm::Rdot, F>(self),
                #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
                Scheme::RdotSigned => wasm::run::<wasm::RdotSigned, F>(self),
            }
        }
    }
}

/// Scratch bytes as elements.
pub(crate) fn cast<T: bytemuck::Pod>(bytes: &mut [u8]) -> Result<&mut [T]> {
    let len = bytes.len() / size_of::<T>() * size_of::<T>();
    bytemuck::try_cast_slice_mut(&mut bytes[..len]).map_err(|_| Error::Internal("scratch space is not aligned".into()))
}
