use proptest::prelude::*;

use crate::{
    DType, Tensor,
    graph::Op,
    kernels::testing::{Arg, Out, byte_noise, indices, position, run_op},
};

proptest! {
    #[test]
    fn selects(
        target in prop::collection::vec(prop_oneof![8 => 1usize..5, 1 => Just(0), 1 => Just(100)], 0..4),
        ones in any::<[[bool; 3]; 3]>(),
        dtype in prop::sample::select(vec![DType::Bool, DType::F16, DType::F32, DType::I64]),
        seed: u64,
    ) {
        let shapes = ones.map(|ones| target.iter().zip(ones).map(|(&s, one)| if one { 1 } else { s }).collect::<Vec<_>>());
        let cond: Vec<u8> = byte_noise(DType::U8, &shapes[0], seed).bytes().iter().map(|b| b & 1).collect();
        let side = |shape: &[usize], seed| {
            let bytes = byte_noise(DType::U8, &[shape.iter().product::<usize>() * dtype.size()], seed);
            Tensor::from_bytes(dtype, shape, bytes.bytes()).unwrap()
        };
        let (a, b) = (side(&shapes[1], seed + 1), side(&shapes[2], seed + 2));
        let condition = Tensor::from_bytes(DType::Bool, &shapes[0], &cond).unwrap();
        let y = run_op(Op::Where, &[Arg::new(condition), Arg::new(a.clone()), Arg::new(b.clone())], &[Out::new(dtype, &target)]).unwrap();
        let size = dtype.size();
        let expected: Vec<u8> = indices(&target).iter().flat_map(|i| {
            let from = if cond[position(&shapes[0], i)] != 0 { &a } else { &b };
            from.bytes()[position(from.shape(), i) * size..][..size].to_vec()
        }).collect();
        prop_assert_eq!(y[0].bytes(), expected);
    }
}
