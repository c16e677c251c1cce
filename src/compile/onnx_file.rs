//! An ONNX model that is read piece by piece, with the files in which it keeps weights.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use super::{
    Compiled, Options,
    front::{compile_stripped, hex},
    import,
    reader::{Reader, Stripped},
    weight_files::Needed,
};
use crate::{
    error::{Result, bail, ensure},
    limits::Limits,
    tensor::AlignedBytes,
};

/// Takes an ONNX file as it arrives. Large weights are copied once, to where they stay.
#[derive(Debug)]
pub struct OnnxReader {
    reader: Reader,
    /// The beginning, by which a file is recognised.
    head: Vec<u8>,
    total: u64,
}

/// As much as tells what kind of file it is.
const HEAD: usize = 256;

impl OnnxReader {
    /// A reader of a file of `total` bytes. Fails if that is more than the limit.
    pub fn new(total: u64, limits: &Limits) -> Result<OnnxReader> {
        limits.check_model(total)?;
        Ok(OnnxReader { reader: Reader::new(total), head: Vec::new(), total })
    }

    /// Takes the next bytes. Fails as soon as they cannot be an ONNX model.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if self.head.len() < HEAD {
            self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD - self.head.len())]);
        }
        let result = self.reader.push(bytes);
        result.or_else(|error| import::recognise(&self.head).and(Err(error)))
    }

    /// The model, after all of the file.
    pub fn finish(self) -> Result<OnnxFile> {
        ensure!(self.total > 0, InvalidModel, "the model is empty (0 bytes)");
        import::recognise(&self.head)?;
        OnnxFile::of(self.reader.finish()?)
    }
}

/// An ONNX model whose own bytes are all here.
#[derive(Debug)]
pub struct OnnxFile {
    stripped: Stripped,
    needed: Vec<Needed>,
    /// What was supplied of each of them.
    supplied: BTreeMap<Needed, (AlignedBytes, usize)>,
}

impl OnnxFile {
    fn of(stripped: Stripped) -> Result<OnnxFile> {
        let needed: BTreeSet<Needed> = import::external_ranges(&stripped.onnx)?.into_iter().collect();
        Ok(OnnxFile { stripped, needed: needed.into_iter().collect(), supplied: BTreeMap::new() })
    }

    /// Sha-256 of the file in hexadecimal, without the files of its weights.
    pub fn sha256(&self) -> String {
        hex(&self.stripped.sha256)
    }

    /// The ranges of other files that the model needs, by path and place. Paths are relative and do not leave the model's folder.
    pub fn needed(&self) -> &[Needed] {
        &self.needed
    }

    /// Takes a piece of another file, which begins at its byte `at`. Pieces of a needed range must come in order; what nothing needs is
    /// passed over.
    pub fn supply(&mut self, path: &str, at: u64, bytes: &[u8]) -> Result<()> {
        let end = at.saturating_add(bytes.len() as u64);
        for needed in self.needed.iter().filter(|n| n.path == path && n.start < end && at < n.start + n.len as u64) {
            let (buffer, done) = match self.supplied.get_mut(needed) {
                Some(entry) => entry,
                None => self.supplied.entry(needed.clone()).or_insert((AlignedBytes::try_zeroed(needed.len)?, 0)),
            };
            let next = needed.start + *done as u64;
            let Some(rest) = next.checked_sub(at).and_then(|skip| bytes.get(usize::try_from(skip).ok()?..)) else {
                bail!(InvalidInput, "the bytes of '{path}' come out of order: {at} where {next} was to come");
            };
            let n = rest.len().min(needed.len - *done);
            buffer[*done..*done + n].copy_from_slice(&rest[..n]);
            *done += n;
        }
        Ok(())
    }

    /// Compiles the model, once everything that it needs was supplied or is in the options.
    pub fn compile(self, options: &Options) -> Result<Compiled> {
        let mut options = options.clone();
        for (needed, (bytes, done)) in self.supplied {
            ensure!(done == needed.len, InvalidModel, "{needed} are needed, the file ends before");
            options.external_data.insert(&needed.path, needed.start, bytes);
        }
        options.external_data.extend(self.stripped.weights);
        compile_stripped(&self.stripped.onnx, hex(&self.stripped.sha256), &options)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tract_onnx::pb;

    use super::*;

    /// `y = x + w`, with w in a file.
    fn model(entries: &[(&str, &str)]) -> Vec<u8> {
        let entry = |(key, value): &(&str, &str)| pb::StringStringEntryProto { key: (*key).into(), value: (*value).into() };
        let weight = pb::TensorProto {
            name: "w".into(),
            data_type: 1,
            dims: alloc::vec![600],
            data_location: Some(1),
            external_data: entries.iter().map(entry).collect(),
            ..Default::default()
        };
        let dim = pb::tensor_shape_proto::Dimension {
            value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(600)),
            ..Default::default()
        };
        let tensor = pb::type_proto::Tensor { elem_type: 1, shape: Some(pb::TensorShapeProto { dim: alloc::vec![dim] }) };
        let ty = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
        let port = |name: &str| pb::ValueInfoProto { name: name.into(), r#type: Some(ty.clone()), ..Default::default() };
        let node = pb::NodeProto {
            op_type: "Add".into(),
            input: alloc::vec!["x".into(), "w".into()],
            output: alloc::vec!["y".into()],
            ..Default::default()
        };
        let graph = pb::GraphProto {
            node: alloc::vec![node],
            initializer: alloc::vec![weight],
            input: alloc::vec![port("x")],
            output: alloc::vec![port("y")],
            ..Default::default()
        };
        let opset = pb::OperatorSetIdProto { domain: String::new(), version: 17 };
        pb::ModelProto { ir_version: 8, opset_import: alloc::vec![opset], graph: Some(graph), ..Default::default() }
            .encode_to_vec()
    }

    fn open(onnx: &[u8]) -> Result<OnnxFile> {
        let mut reader = OnnxReader::new(onnx.len() as u64, &Limits::default())?;
        onnx.chunks(100).try_for_each(|piece| reader.push(piece))?;
        reader.finish()
    }

    #[test]
    fn weights_come_from_a_range_of_another_file() {
        let onnx = model(&[("location", "w.bin"), ("offset", "4096"), ("length", "2400")]);
        let weights: Vec<u8> = (0..600).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let mut file = open(&onnx).unwrap();
        assert_eq!(file.needed(), [Needed { path: "w.bin".into(), start: 4096, len: 2400 }]);
        let whole: Vec<u8> = [alloc::vec![9; 4096], weights, alloc::vec![9; 50]].concat();
        for (i, piece) in whole.chunks(1000).enumerate() {
            file.supply("w.bin", i as u64 * 1000, piece).unwrap();
        }
        let Compiled::Plan { plan, .. } = file.compile(&Options::default()).unwrap() else { panic!("there is a plan") };
        assert!(plan.graph.values.iter().any(|v| {
            v.const_view(&[600]).is_some_and(|c| c.as_slice::<f32>().is_ok_and(|c| c.len() == 600 && c[599] == 599.0))
        }));
    }

    #[test]
    fn what_is_missing_is_named() {
        let onnx = model(&[("location", "w.bin")]);
        let error = open(&onnx).unwrap().compile(&Options::default()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("'w.bin', which was not given"), "{error}");
        let mut file = open(&onnx).unwrap();
        file.supply("w.bin", 0, &[0; 100]).unwrap();
        assert!(file.supply("w.bin", 200, &[0; 100]).unwrap_err().to_string().contains("out of order"));
        let error = file.compile(&Options::default()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("the file ends before"), "{error}");
        let outside = open(&model(&[("location", "../w.bin")])).map(|_| ()).unwrap_err().to_string();
        assert!(outside.contains("not a file in the model's folder"), "{outside}");
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_before_it_is_read() {
        let limits = Limits { model_bytes: 1000, ..Limits::default() };
        let error = OnnxReader::new(1001, &limits).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("1001 bytes, the limit is 1000 (modelBytes)"), "{error}");
    }
}
