//! What is done with the bytes; `tests/fuzz.rs` does the same with a fixed number of changed seeds. Nothing here may panic.

#[cfg(feature = "compiler")]
use nearside::compile::{Compiled, Options, compile};
use nearside::{
    Limits, Tensor, TensorView,
    graph::plan,
    runtime::{DimInfo, PortInfo, Session},
    tensor::AlignedBytes,
};

/// Small, so that a try takes no longer than it must.
fn limits() -> Limits {
    Limits { tensor_bytes: 1 << 20, loop_iterations: 1000, ..Limits::default() }
}

/// Reads a plan, and runs it if it can be read. The header is made right first: with a wrong sum no change would get any further.
pub fn plan(data: &[u8]) {
    let Some(mut bytes) = sealed(data) else { return };
    if let Ok(plan) = plan::read(AlignedBytes::copy_of(&bytes))
        && let Ok(mut session) = Session::with_limits(plan, &limits())
    {
        let ports = session.inputs().to_vec();
        run(&ports, |inputs| drop(session.run(inputs).map(|_| ())));
    }
    // As it came, too: length, version and sum are read as well.
    bytes.clear();
    bytes.extend_from_slice(data);
    let _ = plan::read(AlignedBytes::copy_of(&bytes));
}

/// The bytes as a file whose length and sum are right; `None` if they are too few for a header.
fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 64;
    let mut bytes = data.get(..HEADER)?.to_vec();
    bytes.extend_from_slice(&data[HEADER..]);
    bytes[..8].copy_from_slice(b"NEARPLAN");
    bytes[8..12].copy_from_slice(&plan::VERSION.to_le_bytes());
    let total = bytes.len() as u64;
    bytes[24..32].copy_from_slice(&total.to_le_bytes());
    let sum = plan::checksum(&bytes);
    bytes[32..64].copy_from_slice(&sum);
    Some(bytes)
}

/// Compiles a model, and runs whatever comes of it.
#[cfg(feature = "compiler")]
pub fn onnx(data: &[u8]) {
    let options = Options { limits: limits(), ..Options::default() };
    match compile(data, &options) {
        Ok(Compiled::Plan { plan, .. }) => {
            if let Ok(mut session) = Session::with_limits(plan, &limits()) {
                let ports = session.inputs().to_vec();
                run(&ports, |inputs| drop(session.run(inputs).map(|_| ())));
            }
        }
        Ok(Compiled::Fallback { mut model, .. }) => {
            let ports = model.inputs().to_vec();
            run(&ports, |inputs| drop(model.run(inputs)));
        }
        Err(_) => {}
    }
}

/// Runs with zeros, of the least size where a dimension is open.
fn run(ports: &[PortInfo], model: impl FnOnce(&[(&str, TensorView<'_>)])) {
    let size = |d: &DimInfo| if let DimInfo::Fixed(n) = d { *n } else { 1 };
    let zeros = |port: &PortInfo| {
        let shape: Vec<usize> = port.shape.iter().map(size).collect();
        let bytes = shape.iter().try_fold(port.dtype.size(), |n, d| n.checked_mul(*d))?;
        (bytes <= limits().tensor_bytes).then(|| Tensor::zeros(port.dtype, &shape).ok())?
    };
    let Some(tensors) = ports.iter().map(zeros).collect::<Option<Vec<Tensor>>>() else { return };
    let views: Vec<(&str, TensorView<'_>)> =
        ports.iter().map(|p| p.name.as_str()).zip(tensors.iter().map(Tensor::view)).collect();
    model(&views);
}
