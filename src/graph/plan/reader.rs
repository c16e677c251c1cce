//! Reading plans: whole, or in pieces as they arrive.

use alloc::{format, sync::Arc, vec, vec::Vec};
use core::{hash::Hasher, ops::Range};

use twox_hash::XxHash64;

use super::{ALIGN, HEADER, Meta, Plan, RECORD_MAGIC, Stored, StoredInit, VERSION, begin_sum, end_sum, is_plan};
use crate::{
    error::{Error, Result, bail, ensure},
    graph::{Blob, Graph, Init, Value, verify},
    tensor::AlignedBytes,
};

/// Constants from this size on have memory of their own when a plan is read in pieces.
const OWN_MEMORY: usize = 1 << 16;

/// Reads and verifies a plan. Weights stay in `bytes`, which the graph shares.
pub fn read(bytes: AlignedBytes) -> Result<Plan> {
    let (metadata_len, total) = check_header(&bytes, bytes.len())?;
    let record = check_record(&bytes[total..], total)?;
    check_sum(begin_sum(&bytes[..total]), &bytes)?;
    let stored = decode(&bytes[HEADER..HEADER + metadata_len])?;
    let weights_at = HEADER + metadata_len.next_multiple_of(ALIGN);
    let buffer = Arc::new(bytes);
    plan_of(stored, record, |range| {
        let start = range.start.checked_add(weights_at)?;
        (range.end <= total - weights_at.min(total)).then(|| Blob::range(&buffer, start, range.len()))?
    })
}

/// What an aligned allocation may take beyond its bytes: a weight that is packed into as many bytes as one that was given back then finds room
/// in that one's place. Without it, WebAssembly's memory would grow by all packed weights, for it never shrinks.
const ROOM: usize = 128;

/// Takes a plan's file in pieces, each copied once to where it stays. Large constants get memory of their own, so that a session can give
/// one back as soon as it is packed.
///
/// ```
/// # use nearside::graph::plan::Reader;
/// # fn read(file: &[u8]) -> nearside::Result<nearside::graph::plan::Plan> {
/// let mut reader = Reader::new(file.len());
/// for piece in file.chunks(1 << 16) {
///     reader.push(piece)?;
/// }
/// reader.finish()
/// # }
/// # assert!(read(b"nothing").is_err());
/// ```
pub struct Reader {
    /// Bytes of the plan, without the record.
    total: usize,
    /// Bytes of the plan that arrived.
    filled: usize,
    /// What follows the plan, and how much of it arrived.
    record: Vec<u8>,
    recorded: usize,
    /// Header, metadata and padding; a part of it until all of that is there.
    head: AlignedBytes,
    /// From when the head is complete.
    body: Option<Body>,
}

/// What follows the head.
struct Body {
    sum: XxHash64,
    /// The metadata, or why it cannot be decoded; that counts only if the sum is right.
    stored: Result<Stored>,
    /// Ranges of the weights, in order and without gaps.
    segments: Vec<Range<usize>>,
    /// Memory of the segments that are complete, and of the one that is being filled.
    memory: Vec<Arc<AlignedBytes>>,
    current: AlignedBytes,
}

impl Reader {
    /// Prepares for a file of `total` bytes.
    pub fn new(total: usize) -> Reader {
        let head = AlignedBytes::zeroed(total.min(HEADER));
        Reader { total, filled: 0, record: Vec::new(), recorded: 0, head, body: None }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<()> {
        while !piece.is_empty() {
            let space = self.space()?;
            let len = piece.len().min(space.len());
            space[..len].copy_from_slice(&piece[..len]);
            self.advance(len)?;
            piece = &piece[len..];
        }
        Ok(())
    }

    /// Where the next bytes belong; never empty. Tell [`Reader::advance`] how many were written.
    pub fn space(&mut self) -> Result<&mut [u8]> {
        if self.filled == self.total && self.recorded < self.record.len() {
            return Ok(&mut self.record[self.recorded..]);
        }
        ensure!(self.filled < self.total, Internal, "more than the {} bytes came that were announced", self.total);
        Ok(match &mut self.body {
            None => &mut self.head[self.filled..],
            Some(body) => {
                let start = self.head.len() + body.segments[body.memory.len()].start;
                &mut body.current[self.filled - start..]
            }
        })
    }

    /// Takes note of `len` bytes, at most as many as the space has.
    pub fn advance(&mut self, len: usize) -> Result<()> {
        if self.filled == self.total {
            self.recorded += len;
            return Ok(());
        }
        self.filled += len;
        match &mut self.body {
            None if self.filled == self.head.len() => self.grow_head(),
            Some(body) if body.segments.get(body.memory.len()).is_some_and(|s| self.filled == self.head.len() + s.end) => {
                body.sum.write(&body.current[..]);
                let next = body.segments.get(body.memory.len() + 1).map_or(0, Range::len);
                let full = core::mem::replace(&mut body.current, AlignedBytes::try_zeroed_with_room(next, ROOM)?);
                body.memory.push(Arc::new(full));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// After the header, makes room for the metadata; after that, for the weights.
    fn grow_head(&mut self) -> Result<()> {
        let (metadata_len, total) = check_header(&self.head, self.total)?;
        if total < self.total {
            self.record = vec![0; self.total - total];
            self.total = total;
        }
        let weights_at = (HEADER + metadata_len.next_multiple_of(ALIGN)).min(self.total);
        if self.head.len() < weights_at {
            let mut head = AlignedBytes::try_zeroed(weights_at)?;
            head[..HEADER].copy_from_slice(&self.head);
            self.head = head;
            return Ok(());
        }
        let stored = decode(&self.head[HEADER..HEADER + metadata_len]);
        let segments = segments(stored.as_ref().ok(), self.total - weights_at);
        let current = AlignedBytes::try_zeroed_with_room(segments.first().map_or(0, Range::len), ROOM)?;
        self.body = Some(Body { sum: begin_sum(&self.head), stored, segments, memory: Vec::new(), current });
        Ok(())
    }

    /// Verifies what arrived.
    #[cfg_attr(small, optimize(size))]
    pub fn finish(self) -> Result<Plan> {
        let Reader { total, filled, record, recorded, head, body } = self;
        let all = filled == total && recorded == record.len();
        let Some(Body { sum, stored, segments, memory, .. }) = body.filter(|_| all) else {
            check_header(&head[..filled.min(head.len())], filled)?;
            bail!(InvalidPlan, "the plan is truncated: {filled} of {total} bytes came; download it again");
        };
        let record = check_record(&record, total)?;
        check_sum(sum, &head)?;
        plan_of(stored?, record, |range| {
            let i = segments.partition_point(|s| s.end <= range.start && s.end < range.end);
            let start = segments.get(i).map_or(0, |s| s.start);
            match memory.get(i) {
                Some(memory) => Blob::range(memory, range.start.checked_sub(start)?, range.len()),
                None => (segments.is_empty() && range == (0..0)).then(|| Blob::new(AlignedBytes::zeroed(0))),
            }
        })
    }
}

/// How the weights are cut: each large constant by itself, what lies between in one. In a file where constants overlap, nothing is cut.
fn segments(stored: Option<&Stored>, len: usize) -> Vec<Range<usize>> {
    let mut large: Vec<Range<usize>> = stored
        .iter()
        .flat_map(|stored| &stored.values)
        .filter_map(|v| match v.init {
            Some(StoredInit::Data { offset, len }) => range(offset, len),
            _ => None,
        })
        .filter(|r| !r.is_empty())
        .collect();
    large.sort_unstable_by_key(|r| r.start);
    let apart = large.windows(2).all(|pair| pair[0].end <= pair[1].start);
    let aligned = large.iter().all(|r| r.start.is_multiple_of(ALIGN) && r.end <= len);
    large.retain(|r| r.len() >= OWN_MEMORY && apart && aligned);
    let mut cuts = Vec::with_capacity(2 * large.len() + 1);
    let mut at = 0;
    for r in large {
        let end = r.end.next_multiple_of(ALIGN).min(len);
        cuts.extend([at..r.start, r.start..end]);
        at = end;
    }
    cuts.push(at..len);
    cuts.retain(|r| !r.is_empty());
    cuts
}

fn range(offset: u64, len: u64) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(usize::try_from(len).ok()?)?)
}

fn decode(metadata: &[u8]) -> Result<Stored> {
    postcard::from_bytes(metadata).map_err(|e| Error::InvalidPlan(format!("the plan's metadata cannot be decoded: {e}")))
}

/// The plan, with its constants from `blob`, which gets ranges of the weights.
fn plan_of(stored: Stored, record: Vec<u8>, blob: impl Fn(Range<usize>) -> Option<Blob>) -> Result<Plan> {
    let mut values = Vec::with_capacity(stored.values.len());
    for v in stored.values {
        let init = match v.init {
            None => None,
            Some(StoredInit::Dims(dims)) => Some(Init::Dims(dims)),
            Some(StoredInit::Data { offset, len }) => match range(offset, len).and_then(&blob) {
                Some(blob) => Some(Init::Data(blob)),
                None => bail!(InvalidPlan, "the plan's constant '{}' lies outside the file", v.name),
            },
        };
        values.push(Value { name: v.name, ty: v.ty, init });
    }
    let graph = Graph { symbols: stored.symbols, values, nodes: stored.nodes, inputs: stored.inputs, outputs: stored.outputs };
    verify::verify(&graph)?;
    Ok(Plan { graph, meta: Meta { record, ..stored.meta } })
}

/// Checks magic, version and length of a file of `len` bytes that starts with `bytes`; returns the lengths of the metadata and of the plan.
fn check_header(bytes: &[u8], len: usize) -> Result<(usize, usize)> {
    ensure!(is_plan(bytes), InvalidPlan, "these bytes are not a Nearside plan: they do not start with NEARPLAN");
    ensure!(
        bytes.len() >= HEADER,
        InvalidPlan,
        "the plan is truncated: {len} bytes, its header alone has {HEADER}; download it again"
    );
    let version = u32::from_le_bytes(field(bytes, 8));
    ensure!(
        version <= VERSION,
        InvalidPlan,
        "the plan has format version {version}, this release reads up to {VERSION}; update nearside or compile the model again"
    );
    ensure!(version == VERSION, InvalidPlan, "the plan has format version {version}, which is not known");
    let total = u64::from_le_bytes(field(bytes, 24));
    let record = (len as u64).checked_sub(total).filter(|&record| record == 0 || RECORD_LENGTHS.contains(&record));
    let Some(total) = usize::try_from(total).ok().filter(|&total| record.is_some() && total >= HEADER) else {
        return Err(padded(total, len));
    };
    let metadata_len = u64::from_le_bytes(field(bytes, 16));
    match usize::try_from(metadata_len) {
        Ok(metadata_len) if metadata_len <= total - HEADER => Ok((metadata_len, total)),
        _ => bail!(InvalidPlan, "the plan's metadata is said to have {metadata_len} bytes, more than the file"),
    }
}

/// Lengths that a record may have: at least its header, and a byte for each node.
const RECORD_LENGTHS: Range<u64> = 32..1 << 16;

fn padded(total: u64, len: usize) -> Error {
    let text = "the plan is truncated or padded: its header says";
    Error::InvalidPlan(format!("{text} {total} bytes, there are {len}; download it again"))
}

/// Whether what follows a plan of `total` bytes is a record. What it says is for whoever runs the plan.
fn check_record(record: &[u8], total: usize) -> Result<Vec<u8>> {
    match record.is_empty() || record.starts_with(RECORD_MAGIC) {
        true => Ok(record.to_vec()),
        false => Err(padded(total as u64, total + record.len())),
    }
}

/// Holds `sum`, of all bytes but those of the sum itself, against the one in the header.
fn check_sum(sum: XxHash64, header: &[u8]) -> Result<()> {
    ensure!(
        end_sum(sum)[..] == header[32..HEADER],
        InvalidPlan,
        "the plan is damaged: its checksum does not match; download it or compile the model again"
    );
    Ok(())
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
