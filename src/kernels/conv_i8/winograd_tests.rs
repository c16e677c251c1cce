//! Exact products at Winograd's points against the definition.

use super::*;
use crate::kernels::requant::{Raw, Requant, requantize};

struct Noise(u32);

impl Noise {
    /// Bytes of which, if `extreme`, many are at the ends of the range.
    fn bytes(&mut self, count: usize, extreme: bool) -> Vec<u8> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if extreme { [0, 127, 128, 255][(self.0 >> 30) as usize] } else { (self.0 >> 20) as u8 }
        };
        (0..count).map(|_| next()).collect()
    }
}

fn geometry(batch: usize, input: [usize; 2], pad: [usize; 2], output: [usize; 2], channels: [usize; 2]) -> Geometry {
    Geometry {
        batch,
        input,
        channels: channels[0],
        output,
        out_channels: channels[1],
        groups: 1,
        kernel: [3; 2],
        strides: [1; 2],
        dilations: [1; 2],
        pad,
    }
}

fn check(g: &Geometry, fill: u8, seed: u32, extreme: bool) {
    let [h, w] = g.input;
    let n = g.out_channels;
    let mut noise = Noise(seed);
    let x = noise.bytes(g.batch * h * w * g.channels, extreme);
    let filters = noise.bytes(n * 9 * g.channels, extreme);
    assert!(filters.chunks(9 * g.channels).all(fits));
    let mut plan = Winograd::cut(g, Choice::AUTO);
    if seed % 2 == 1 && (n - 1) % PANEL >= 3 {
        // Several parts of the outputs, as large filters have them.
        plan.step = PANEL;
    }
    let packed = plan.pack(g, &filters).unwrap();
    let init: Vec<i32> = (0..n as i32).map(|i| i * 977 - 5000).collect();
    let mut expected = Vec::new();
    for (row, o) in (0..g.rows()).flat_map(|row| (0..n).map(move |o| (row, o))) {
        let (image, oy, ox) = (row / g.output[1] / g.output[0], row / g.output[1] % g.output[0], row % g.output[1]);
        let mut acc = init[o];
        for (ky, kx, c) in (0..9 * g.channels).map(|i| (i / g.channels / 3, i / g.channels % 3, i % g.channels)) {
            let (iy, ix) = ((oy + ky).wrapping_sub(g.pad[0]), (ox + kx).wrapping_sub(g.pad[1]));
            let x = if iy < h && ix < w { x[((image * h + iy) * w + ix) * g.channels + c] } else { fill };
            acc += i32::from(x) * i32::from(filters[((o * 3 + ky) * 3 + kx) * g.channels + c] as i8);
        }
        expected.push(acc);
    }
    let stride = n + 3;
    let mut filters = AlignedBytes::zeroed(plan.scratch());
    filters.fill(0xDD);
    let mut scratch = AlignedBytes::zeroed(plan.own_scratch().next_multiple_of(64));
    scratch.fill(0xEE);
    let mut raw = vec![7i32; g.rows() * stride];
    plan.run(g, (&x, fill), (&packed.bytes, &init), &Raw, &mut raw, stride, &mut filters, Crew::alone(&mut scratch)).unwrap();
    let rows = |row: &[i32]| row[..n].to_vec();
    assert!(raw.chunks(stride).flat_map(rows).eq(expected.iter().copied()), "{g:?}");
    assert!(raw.chunks(stride).all(|row| row[n..].iter().all(|v| *v == 7)), "{g:?} writes beyond the row");

    let multiplier: Vec<f32> = (0..n).map(|o| 1e-4 + o as f32 * 1e-6).collect();
    let finish = Requant { multiplier: &multiplier, zero_point: 90, lo: 3, hi: 251, then: None, bounded: true };
    let mut bytes = vec![7u8; g.rows() * stride];
    plan.run(g, (&x, fill), (&packed.bytes, &init), &finish, &mut bytes, stride, &mut filters, Crew::alone(&mut scratch))
        .unwrap();
    for (i, acc) in expected.iter().enumerate() {
        let wanted = requantize(*acc, multiplier[i % n], 90, 3, 251);
        assert_eq!(bytes[i / n * stride + i % n], wanted, "{g:?}");
    }
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn as_by_definition() {
    for extreme in [false, true] {
        check(&geometry(1, [14, 14], [1, 1], [14, 14], [32, 48]), 131, 1, extreme);
        check(&geometry(2, [9, 11], [1, 1], [9, 11], [16, 16]), 0, 2, extreme);
        check(&geometry(1, [10, 7], [0, 0], [8, 5], [17, 21]), 255, 3, extreme);
        check(&geometry(1, [8, 8], [2, 2], [10, 10], [64, 8]), 128, 4, extreme);
    }
}

#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn extreme_sums_are_refused() {
    // 255 · 127 · 1035 is the last multiple below 2²⁵.
    assert!(fits(&[127; 1035]) && !fits(&[127; 1037]));
    assert!(fits(&[0x80; 1027]) && !fits(&[0x80; 1029]));
    let mixed: Vec<u8> = [127, 0x80].repeat(1027);
    assert!(fits(&mixed));
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #[test]
    fn exact(
        (batch, input, pad, more) in (1..3usize, [3..14usize, 3..14usize], [0..3usize, 0..3usize], [0..3usize, 0..3usize]),
        channels in [8..40usize, 4..40usize],
        (fill, seed, extreme) in proptest::prelude::any::<(u8, u32, bool)>(),
    ) {
        let output = [0, 1].map(|i| input[i] + pad[i] + more[i] - 2);
        check(&geometry(batch, input, pad, output, channels), fill, seed, extreme);
    }
}
