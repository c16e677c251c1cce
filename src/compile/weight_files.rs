//! Weights that lie outside the model's own bytes: by file, and by range of it.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use tract_onnx::pb::{self, tensor_proto::DataLocation};

use crate::{
    error::{Result, bail, ensure},
    graph::Blob,
    tensor::AlignedBytes,
};

/// Ranges of files that hold weights. Copies share the bytes.
#[derive(Debug, Clone, Default)]
pub struct WeightFiles {
    files: BTreeMap<String, Vec<Range>>,
}

#[derive(Debug, Clone)]
struct Range {
    start: u64,
    bytes: Arc<AlignedBytes>,
}

impl WeightFiles {
    /// Adds a whole file, by the path that the model gives.
    pub fn insert_file(&mut self, path: &str, bytes: AlignedBytes) {
        self.insert(path, 0, bytes);
    }

    /// Adds the part of a file that begins at byte `start`.
    pub fn insert(&mut self, path: &str, start: u64, bytes: AlignedBytes) {
        self.files.entry(path.to_string()).or_default().push(Range { start, bytes: Arc::new(bytes) });
    }

    /// Adds what `others` has.
    pub fn extend(&mut self, others: WeightFiles) {
        for (path, ranges) in others.files {
            self.files.entry(path).or_default().extend(ranges);
        }
    }

    /// Whether any part of the file is here.
    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// `len` bytes from `start` on; shared where they lie where kernels can read them, else copied. `None` if they are not all here.
    fn get(&self, path: &str, start: u64, len: usize) -> Option<Blob> {
        self.files.get(path)?.iter().find_map(|range| {
            let from = usize::try_from(start.checked_sub(range.start)?).ok()?;
            let bytes = range.bytes.get(from..from.checked_add(len)?)?;
            Some(Blob::range(&range.bytes, from, len).unwrap_or_else(|| Blob::new(AlignedBytes::copy_of(bytes))))
        })
    }

    /// The bytes of a tensor that lies in another file; `expected` is what its type and shape take.
    pub(super) fn of_tensor(&self, tensor: &pb::TensorProto, expected: usize) -> Result<Blob> {
        let place = Place::of(tensor)?;
        ensure!(
            self.has(&place.path),
            InvalidModel,
            "weight '{}' is stored in the file '{}', which was not given; pass it along, or save the model as one file",
            tensor.name,
            place.path
        );
        match self.get(&place.path, place.start, place.len.unwrap_or(expected)) {
            Some(blob) => Ok(blob),
            None => bail!(InvalidModel, "weight '{}' reaches beyond the end of '{}'", tensor.name, place.path),
        }
    }
}

/// Where a tensor says that it lies.
pub(super) struct Place {
    pub path: String,
    pub start: u64,
    pub len: Option<usize>,
}

impl Place {
    /// An error for a path that leads out of the model's folder, or numbers that are none.
    pub(super) fn of(tensor: &pb::TensorProto) -> Result<Place> {
        // The last entry counts, as for any repeated field that is read as a map.
        let entry = |key: &str| tensor.external_data.iter().rfind(|e| e.key == key).map(|e| e.value.as_str());
        let path = entry("location").unwrap_or_default();
        ensure!(
            is_inside(path),
            InvalidModel,
            "weight '{}' is said to be in '{path}', which is not a file in the model's folder; save the model anew",
            tensor.name
        );
        let number = |key: &str| match entry(key).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => bail!(InvalidModel, "weight '{}' has an {key} that is no number", tensor.name),
        };
        let len = number("length")?.map(usize::try_from).transpose();
        let Ok(len) = len else { bail!(Limit, "weight '{}' is longer than this machine can address", tensor.name) };
        Ok(Place { path: path.into(), start: number("offset")?.unwrap_or(0), len })
    }
}

/// Whether the path names a file in the model's folder or below it, on any system and as the end of an address.
fn is_inside(path: &str) -> bool {
    let plain = !path.is_empty() && !path.starts_with('/') && !path.contains(['\\', ':', '?', '#', '%']);
    plain && path.split('/').all(|part| part != "..")
}

/// Whether a tensor's bytes lie elsewhere.
pub(super) fn is_external(tensor: &pb::TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32)
}

/// Says in the message that the tensor lies at the start of `path`.
pub(super) fn mark(tensor: &mut pb::TensorProto, path: &str) {
    tensor.data_location = Some(DataLocation::External as i32);
    tensor.external_data = alloc::vec![pb::StringStringEntryProto { key: "location".into(), value: path.into() }];
}

/// A range of a file that a model needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needed {
    /// The file, relative to the model's folder.
    pub path: String,
    /// Its first byte.
    pub start: u64,
    /// Number of bytes.
    pub len: usize,
}

impl core::fmt::Display for Needed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "bytes {} to {} of '{}'", self.start, self.start.saturating_add(self.len as u64), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(entries: &[(&str, &str)]) -> pb::TensorProto {
        let entry = |(key, value): &(&str, &str)| pb::StringStringEntryProto { key: (*key).into(), value: (*value).into() };
        pb::TensorProto { name: "w".into(), external_data: entries.iter().map(entry).collect(), ..Default::default() }
    }

    #[test]
    fn only_paths_in_the_folder_are_followed() {
        for good in ["weights.bin", "data/weights.bin", "a..b", "./w"] {
            assert!(Place::of(&tensor(&[("location", good)])).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../w", "a/../../w", "C:\\w", "..\\w", "https://x/y", "//x/y", "a/%2e%2e/b", "w?x", "a/.."]
        {
            let error = Place::of(&tensor(&[("location", bad)])).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("not a file in the model's folder"), "{bad}: {error}");
        }
    }

    #[test]
    fn ranges_are_found_wherever_they_begin() {
        let mut files = WeightFiles::default();
        files.insert("a", 100, AlignedBytes::copy_of(&[1, 2, 3, 4]));
        files.insert_file("b", AlignedBytes::copy_of(&[7; 70]));
        let get = |path: &str, start: &str, len: usize| {
            let place = tensor(&[("location", path), ("offset", start)]);
            files.of_tensor(&place, len).map(|b| b.bytes().to_vec()).map_err(|e| e.to_string())
        };
        assert_eq!(get("a", "101", 2).unwrap(), [2, 3]);
        assert_eq!(get("b", "64", 6).unwrap(), [7; 6]);
        assert!(get("a", "99", 2).unwrap_err().contains("beyond the end"));
        assert!(get("a", "103", 2).unwrap_err().contains("beyond the end"));
        assert!(get("c", "0", 1).unwrap_err().contains("was not given"));
        assert!(get("a", "-1", 1).unwrap_err().contains("no number"));
        assert!(get("a", "18446744073709551615", 9).unwrap_err().contains("beyond the end"));
    }
}
