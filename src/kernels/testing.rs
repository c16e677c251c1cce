//! Runs a single operator on tensors, for the kernels' tests.

// The property tests, which use all of this, run on the host only.
#![cfg_attr(target_arch = "wasm32", allow(dead_code))]

use super::{Io, Method, Operand, PackedWeights, Prepare, Region, Team, candidates, prepare, scratch_len};
use crate::{
    error::Result,
    graph::{Node, Op, Quant, ValueId},
    tensor::{AlignedBytes, DType, Tensor},
};

/// An input of an operator under test.
pub(crate) struct Arg {
    pub tensor: Tensor,
    pub quant: Option<Quant>,
    pub constant: bool,
}

impl Arg {
    pub fn new(tensor: Tensor) -> Arg {
        Arg { tensor, quant: None, constant: false }
    }

    pub fn constant(tensor: Tensor) -> Arg {
        Arg { tensor, quant: None, constant: true }
    }

    pub fn quantized(self, quant: Quant) -> Arg {
        Arg { quant: Some(quant), ..self }
    }
}

/// The type of an expected output.
pub(crate) struct Out {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub quant: Option<Quant>,
}

impl Out {
    pub fn new(dtype: DType, shape: &[usize]) -> Out {
        Out { dtype, shape: shape.to_vec(), quant: None }
    }

    pub fn quantized(self, quant: Quant) -> Out {
        Out { quant: Some(quant), ..self }
    }
}

/// Teams of every size up to four, to be shared by all tests: those whose turn does not come work alone.
fn teams() -> &'static [Team] {
    static TEAMS: std::sync::OnceLock<Vec<Team>> = std::sync::OnceLock::new();
    #[cfg(not(target_arch = "wasm32"))]
    return TEAMS.get_or_init(|| (1..=4).map(Team::spawn).collect());
    #[cfg(target_arch = "wasm32")]
    TEAMS.get_or_init(|| vec![Team::ALONE])
}

/// Prepares and runs `op`, twice alone and once by each team: no run may depend on what the one before left in outputs and scratch,
/// or on the number of threads.
pub(crate) fn run_op(op: Op, args: &[Arg], outs: &[Out]) -> Result<Vec<Tensor>> {
    let ids: Vec<ValueId> = (0..(args.len() + outs.len()) as u32).map(ValueId).collect();
    let node = Node { name: "test".into(), op, inputs: ids[..args.len()].to_vec(), outputs: ids[args.len()..].to_vec() };
    let inputs = args
        .iter()
        .zip(&ids)
        .map(|(a, id)| Operand {
            id: *id,
            dtype: a.tensor.dtype(),
            shape: a.tensor.shape().to_vec(),
            quant: a.quant.as_ref(),
            data: a.constant.then_some(a.tensor.bytes()),
        })
        .collect();
    let outputs = outs
        .iter()
        .zip(&ids[args.len()..])
        .map(|(o, id)| Operand { id: *id, dtype: o.dtype, shape: o.shape.clone(), quant: o.quant.as_ref(), data: None })
        .collect();
    let mut packed = PackedWeights::default();
    let mut prepared = Prepare::new(&node, inputs, outputs, &mut packed);
    let kernel = prepare(&mut prepared)?;
    let (made, inputs, outputs) = (prepared.made, prepared.inputs, prepared.outputs);
    let mut results: Vec<Tensor> = outs.iter().map(|o| Tensor::zeros(o.dtype, &o.shape)).collect::<Result<_>>()?;
    let mut first: Option<Vec<Vec<u8>>> = None;
    for (team, fill) in [Team::ALONE].iter().chain(teams()).zip([0xA5u8, 0x5A, 0x3C, 0xC3, 0x69]) {
        let mut scratch = AlignedBytes::zeroed(scratch_len(&*kernel, team));
        scratch.fill(fill);
        for r in &mut results {
            r.bytes_mut().fill(fill);
        }
        let input_regions: Vec<Region> = args.iter().map(|a| Region::of(a.tensor.bytes())).collect();
        let output_regions: Vec<Region> = results.iter_mut().map(|r| Region::of_mut(r.bytes_mut())).collect();
        // SAFETY: all regions belong to distinct live tensors or to the scratch buffer, each aligned to 64 bytes.
        let mut io = unsafe { Io::new(&*kernel, &input_regions, &output_regions, Region::of_mut(&mut scratch), team) };
        kernel.run(&mut io)?;
        let bytes: Vec<Vec<u8>> = results.iter().map(comparable).collect();
        assert!(*first.get_or_insert_with(|| bytes.clone()) == bytes, "a team of {} gives other bytes", team.size());
    }
    // Whatever way is chosen, the bytes are the same; but for Winograd's method with floats, which has tests of its own.
    let mut known = vec![made];
    for choice in candidates() {
        let mut packed = PackedWeights::default();
        let mut prepared = Prepare { choice, ..Prepare::new(&node, inputs.clone(), outputs.clone(), &mut packed) };
        let kernel = prepare(&mut prepared)?;
        let other = prepared.made;
        let rounds =
            args[0].tensor.dtype() == DType::F32 && (other.method == Method::Winograd) != (made.method == Method::Winograd);
        if known.contains(&other) || rounds {
            continue;
        }
        known.push(other);
        for team in [&Team::ALONE, &teams()[teams().len() - 1]] {
            let mut scratch = AlignedBytes::zeroed(scratch_len(&*kernel, team));
            let mut again: Vec<Tensor> = outs.iter().map(|o| Tensor::zeros(o.dtype, &o.shape)).collect::<Result<_>>()?;
            let input_regions: Vec<Region> = args.iter().map(|a| Region::of(a.tensor.bytes())).collect();
            let output_regions: Vec<Region> = again.iter_mut().map(|r| Region::of_mut(r.bytes_mut())).collect();
            // SAFETY: as above.
            let mut io = unsafe { Io::new(&*kernel, &input_regions, &output_regions, Region::of_mut(&mut scratch), team) };
            kernel.run(&mut io)?;
            let bytes: Vec<Vec<u8>> = again.iter().map(comparable).collect();
            assert!(first.as_ref() == Some(&bytes), "{choice:?} gives other bytes");
        }
    }
    Ok(results)
}

/// The bytes, with one pattern for every NaN: which one an instruction gives is left to the machine.
fn comparable(tensor: &Tensor) -> Vec<u8> {
    match tensor.as_slice::<f32>() {
        Ok(numbers) => numbers.iter().flat_map(|v| if v.is_nan() { f32::NAN } else { *v }.to_le_bytes()).collect(),
        Err(_) => tensor.bytes().to_vec(),
    }
}

/// All indices of `shape`, the last axis turning fastest.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &size in shape {
        all = all.iter().flat_map(|index| (0..size).map(move |i| [&index[..], &[i]].concat())).collect();
    }
    all
}

/// Position in a dense tensor of `shape` of an index of a shape that it is broadcast to.
pub(crate) fn position(shape: &[usize], index: &[usize]) -> usize {
    let index = &index[index.len() - shape.len()..];
    shape.iter().zip(index).fold(0, |at, (&size, &i)| at * size + if size == 1 { 0 } else { i })
}

/// Reproducible noise: whole numbers below 2³².
pub(crate) fn noise(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 32) as u32
    }
}

/// A tensor of noise between −`bound` and `bound`.
pub(crate) fn real_noise(shape: &[usize], bound: f32, seed: u64) -> Tensor {
    let mut next = noise(seed);
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| (next() as f32 / u32::MAX as f32 * 2.0 - 1.0) * bound).collect();
    Tensor::from_slice(shape, &data).unwrap()
}

/// A tensor of random bytes of an 8-bit type.
pub(crate) fn byte_noise(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let mut next = noise(seed);
    let data: Vec<u8> = (0..shape.iter().product()).map(|_| (next() >> 13) as u8).collect();
    Tensor::from_bytes(dtype, shape, &data).unwrap()
}

/// The values of a tensor of an 8-bit type.
pub(crate) fn stored(t: &Tensor) -> Vec<i32> {
    let sign = |b: &u8| if t.dtype() == DType::I8 { i32::from(*b as i8) } else { i32::from(*b) };
    t.bytes().iter().map(sign).collect()
}
