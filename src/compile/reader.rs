//! Reads an ONNX file as it arrives: the bytes of large weights go straight to where they stay, so that a model is held once.
//!
//! ONNX is protobuf: `ModelProto.graph` (7) holds `GraphProto.initializer` (5), which holds `TensorProto.raw_data` (9). Only this path is
//! followed; everything else is passed on as it is, to a copy of the file without those bytes.

use alloc::{format, string::String, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};

use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::pb;

use super::weight_files::{WeightFiles, mark};
use crate::{
    error::{Error, Result, bail, ensure},
    tensor::AlignedBytes,
};

/// Smaller weights stay in the file: shapes, axes and scales are folded by tract.
pub(super) const DETACH_FROM: usize = 1024;

const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const RAW_DATA: u64 = 9;

/// Wire type of what carries its length.
const DELIMITED: u64 = 2;

/// A model without its large weights, and those.
#[derive(Debug)]
pub(super) struct Stripped {
    pub onnx: Vec<u8>,
    pub weights: WeightFiles,
    /// Of the whole file.
    pub sha256: [u8; 32],
}

/// Takes a file in pieces.
#[derive(Debug)]
pub(super) struct Reader {
    model: Vec<u8>,
    graph: Vec<u8>,
    has_graph: bool,
    tensor: Vec<u8>,
    raw: Option<AlignedBytes>,
    weights: WeightFiles,
    hash: Sha256,
    /// Bytes that are left of the file, the graph and the tensor; the last is where the reader is.
    left: Vec<u64>,
    state: State,
    /// A field's head that has not arrived as a whole.
    head: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At the start of a field.
    Field,
    /// In a field that is passed on.
    Copy(u64),
    /// In a weight, of which so many bytes are there.
    Raw(usize),
}

impl Reader {
    /// A reader of a file of this many bytes.
    pub(super) fn new(total: u64) -> Reader {
        Reader {
            model: Vec::new(),
            graph: Vec::new(),
            has_graph: false,
            tensor: Vec::new(),
            raw: None,
            weights: WeightFiles::default(),
            hash: Sha256::new(),
            left: alloc::vec![total],
            state: State::Field,
            head: Vec::new(),
        }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        while !bytes.is_empty() {
            let taken = match self.state {
                State::Field => self.field(bytes)?,
                State::Copy(len) => {
                    let n = fitting(len, bytes);
                    self.out().extend_from_slice(&bytes[..n]);
                    self.consume(n as u64)?;
                    self.state = if n as u64 == len { State::Field } else { State::Copy(len - n as u64) };
                    n
                }
                State::Raw(done) => self.raw(done, bytes)?,
            };
            bytes = &bytes[taken..];
            self.leave()?;
        }
        Ok(())
    }

    /// The model, once all of it is there.
    pub(super) fn finish(mut self) -> Result<Stripped> {
        let ended = self.left == [0] && self.head.is_empty() && matches!(self.state, State::Field);
        ensure!(ended, InvalidModel, "the bytes are not an ONNX model, or it is truncated or damaged");
        if self.has_graph {
            append_delimited(&mut self.model, GRAPH, &self.graph);
        }
        Ok(Stripped { onnx: self.model, weights: self.weights, sha256: self.hash.finalize().into() })
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self.left.len() {
            1 => &mut self.model,
            2 => &mut self.graph,
            _ => &mut self.tensor,
        }
    }

    fn consume(&mut self, n: u64) -> Result<()> {
        for left in &mut self.left {
            *left = left.checked_sub(n).ok_or_else(damaged)?;
        }
        Ok(())
    }

    /// Reads a field's tag and, if it has one, its length; gives how many bytes that took.
    fn field(&mut self, bytes: &[u8]) -> Result<usize> {
        for (i, &byte) in bytes.iter().enumerate() {
            self.head.push(byte);
            if let Some((tag, value)) = head(&self.head)? {
                self.consume(i as u64 + 1)?;
                self.enter(tag, value)?;
                return Ok(i + 1);
            }
        }
        self.consume(bytes.len() as u64)?;
        Ok(bytes.len())
    }

    /// Decides what becomes of a field.
    fn enter(&mut self, tag: u64, value: Option<u64>) -> Result<()> {
        let head = core::mem::take(&mut self.head);
        let (field, wire) = (tag >> 3, tag & 7);
        let len = match (wire, value) {
            // A number, which is part of the head.
            (0, _) => 0,
            (1, _) => 8,
            (5, _) => 4,
            (_, Some(len)) => len,
            _ => return Err(damaged()),
        };
        ensure!(self.left.last().is_some_and(|left| len <= *left), InvalidModel, "{}", damaged());
        if wire == DELIMITED {
            match (self.left.len(), field) {
                (1, GRAPH) => {
                    self.has_graph = true;
                    self.left.push(len);
                    return Ok(());
                }
                (2, INITIALIZER) => {
                    self.left.push(len);
                    return Ok(());
                }
                (3, RAW_DATA) if len >= DETACH_FROM as u64 => {
                    let len = usize::try_from(len).map_err(|_| damaged())?;
                    self.raw = Some(AlignedBytes::try_zeroed(len)?);
                    self.state = State::Raw(0);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.out().extend_from_slice(&head);
        self.state = if len == 0 { State::Field } else { State::Copy(len) };
        Ok(())
    }

    fn raw(&mut self, done: usize, bytes: &[u8]) -> Result<usize> {
        let Some(raw) = &mut self.raw else { bail!(Internal, "a weight has no memory") };
        let n = bytes.len().min(raw.len() - done);
        raw[done..done + n].copy_from_slice(&bytes[..n]);
        self.state = if done + n == raw.len() { State::Field } else { State::Raw(done + n) };
        self.consume(n as u64)?;
        Ok(n)
    }

    /// Ends the messages of which nothing is left.
    fn leave(&mut self) -> Result<()> {
        while self.left.len() > 1 && self.left.last() == Some(&0) {
            ensure!(self.head.is_empty() && matches!(self.state, State::Field), InvalidModel, "{}", damaged());
            self.left.pop();
            if self.left.len() == 2 {
                self.tensor_ends()?;
            }
        }
        Ok(())
    }

    fn tensor_ends(&mut self) -> Result<()> {
        let mut message = core::mem::take(&mut self.tensor);
        if let Some(raw) = self.raw.take() {
            let mut tensor = pb::TensorProto::decode(&message[..]).map_err(|_| damaged())?;
            let path = unique_path();
            mark(&mut tensor, &path);
            self.weights.insert_file(&path, raw);
            message = tensor.encode_to_vec();
        }
        append_delimited(&mut self.graph, INITIALIZER, &message);
        Ok(())
    }
}

/// Splits a file that is there as a whole.
pub(super) fn strip(onnx: &[u8]) -> Result<Stripped> {
    let mut reader = Reader::new(onnx.len() as u64);
    reader.push(onnx)?;
    reader.finish()
}

/// What names of weights begin with that were split off, and no path of a file does.
const OWN: char = '\0';

/// A name that no other weight of this program has.
fn unique_path() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{OWN}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether the bytes at this path were split off the model itself.
pub(super) fn is_own(path: &str) -> bool {
    path.starts_with(OWN)
}

fn fitting(len: u64, bytes: &[u8]) -> usize {
    usize::try_from(len).map_or(bytes.len(), |len| len.min(bytes.len()))
}

fn append_delimited(out: &mut Vec<u8>, field: u64, message: &[u8]) {
    prost::encoding::encode_varint(field << 3 | DELIMITED, out);
    prost::encoding::encode_varint(message.len() as u64, out);
    out.extend_from_slice(message);
}

/// A tag, and the number or length after it; `None` if more bytes are needed.
fn head(bytes: &[u8]) -> Result<Option<(u64, Option<u64>)>> {
    let Some((tag, at)) = varint(bytes)? else { return Ok(None) };
    if !matches!(tag & 7, 0 | DELIMITED) {
        return Ok(Some((tag, None)));
    }
    Ok(varint(&bytes[at..])?.map(|(value, _)| (tag, Some(value))))
}

fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().enumerate() {
        ensure!(i < 10, InvalidModel, "{}", damaged());
        value |= u64::from(byte & 0x7F).checked_shl(7 * i as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    ensure!(bytes.len() < 10, InvalidModel, "{}", damaged());
    Ok(None)
}

#[cold]
fn damaged() -> Error {
    Error::InvalidModel("the bytes are not an ONNX model, or it is truncated or damaged".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(sizes: &[usize]) -> pb::ModelProto {
        let tensor = |(i, &len): (usize, &usize)| pb::TensorProto {
            name: format!("w{i}"),
            data_type: 3,
            dims: alloc::vec![len as i64],
            raw_data: (0..len).map(|b| (b * 7 + i) as u8).collect(),
            ..Default::default()
        };
        let node = pb::NodeProto { op_type: "Relu".into(), name: "n".repeat(300), ..Default::default() };
        let initializer = sizes.iter().enumerate().map(tensor).collect();
        let graph = pb::GraphProto { name: "g".into(), node: alloc::vec![node], initializer, ..Default::default() };
        pb::ModelProto { ir_version: 8, producer_name: "p".into(), graph: Some(graph), ..Default::default() }
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Stripped> {
        let mut reader = Reader::new(bytes.len() as u64);
        bytes.chunks(piece).try_for_each(|piece| reader.push(piece))?;
        reader.finish()
    }

    /// The model with its weights back where they were.
    fn whole(stripped: &Stripped) -> pb::ModelProto {
        let mut model = pb::ModelProto::decode(&stripped.onnx[..]).unwrap();
        for tensor in model.graph.iter_mut().flat_map(|g| &mut g.initializer) {
            if super::super::weight_files::is_external(tensor) {
                tensor.raw_data = stripped.weights.of_tensor(tensor, tensor.dims[0] as usize).unwrap().bytes().to_vec();
                tensor.external_data.clear();
                tensor.data_location = None;
            }
        }
        model
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_whole(sizes in proptest::collection::vec(0usize..3000, 0..6), piece in 1usize..4000) {
            let model = sample(&sizes);
            let bytes = model.encode_to_vec();
            let stripped = read(&bytes, piece).unwrap();
            prop_assert_eq!(whole(&stripped), model);
            prop_assert_eq!(&stripped.sha256[..], &Sha256::digest(&bytes)[..]);
            let large: usize = sizes.iter().filter(|s| **s >= DETACH_FROM).sum();
            prop_assert!(stripped.onnx.len() <= bytes.len() - large + 64 * sizes.len());
        }

        #[test]
        fn damage_is_an_error_or_another_model(at in 0usize..4000, byte: u8, end in 0usize..4000) {
            let mut bytes = sample(&[2000, 10, 1500]).encode_to_vec();
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(len - end % 3 * (end % len) / 3);
            let _ = read(&bytes, 100);
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = sample(&[1100]).encode_to_vec();
        for len in 0..bytes.len() {
            // A cut between two fields of the model leaves one that is shorter.
            if let Ok(stripped) = read(&bytes[..len], 64) {
                assert!(pb::ModelProto::decode(&bytes[..len]).is_ok(), "{len} of {}", bytes.len());
                assert!(stripped.onnx.len() <= len);
            }
        }
        let mut reader = Reader::new(bytes.len() as u64);
        reader.push(&bytes[..500]).unwrap();
        assert!(reader.finish().is_err());
    }
}
