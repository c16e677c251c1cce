use proptest::prelude::*;

use crate::{
    DType, ErrorKind, Tensor,
    graph::Op,
    kernels::testing::{Arg, Out, byte_noise, noise, run_op},
};

proptest! {
    #[test]
    fn picks_rows(
        outer in 0usize..3, size in 1usize..9, inner in 0usize..6, count in prop::collection::vec(0usize..4, 0..3),
        dtype in prop::sample::select(vec![DType::U8, DType::I16, DType::F32, DType::I64]), wide: bool, seed: u64,
    ) {
        let shape = [outer, size, inner];
        let bytes = byte_noise(DType::U8, &[outer * size * inner * dtype.size()], seed);
        let data = Tensor::from_bytes(dtype, &shape, bytes.bytes()).unwrap();
        let mut next = noise(seed);
        let picks: Vec<i64> = (0..count.iter().product()).map(|_| i64::from(next() >> 8) % (2 * size as i64) - size as i64).collect();
        let narrow: Vec<i32> = picks.iter().map(|i| *i as i32).collect();
        let indices = if wide { Tensor::from_slice(&count, &picks) } else { Tensor::from_slice(&count, &narrow) };
        let target = [&[outer], &count[..], &[inner]].concat();
        let args = [Arg::new(data.clone()), Arg::new(indices.unwrap())];
        let y = run_op(Op::Gather { axis: 1 }, &args, &[Out::new(dtype, &target)]).unwrap();
        let row = inner * dtype.size();
        let mut expected = Vec::new();
        for o in 0..outer {
            for pick in &picks {
                let at = (o * size) + pick.rem_euclid(size as i64) as usize;
                expected.extend_from_slice(&data.bytes()[at * row..(at + 1) * row]);
            }
        }
        prop_assert_eq!(y[0].bytes(), expected);
    }
}

#[test]
fn an_index_out_of_range_is_an_error() {
    for (index, inner) in [(3i64, 2), (-4, 2), (i64::MIN, 1), (i64::MAX, 0)] {
        let data = Tensor::zeros(DType::F32, &[3, inner]).unwrap();
        let args = [Arg::new(data), Arg::new(Tensor::scalar(index))];
        let error = run_op(Op::Gather { axis: 0 }, &args, &[Out::new(DType::F32, &[inner])]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), format!("index {index} is out of range for axis 0 of size 3"));
    }
    let args = [Arg::new(Tensor::zeros(DType::F32, &[0]).unwrap()), Arg::new(Tensor::scalar(0i64))];
    assert!(run_op(Op::Gather { axis: 0 }, &args, &[Out::new(DType::F32, &[])]).is_err());
}
