//! Winograd's method on every instruction set against the definition.

use proptest::prelude::*;

use super::*;
use crate::{
    kernels::{conv_f32::tests::numbers, team::Team},
    tensor::AlignedBytes,
};

/// Largest error, in units of the largest result's sum of absolute products.
///
/// A sum of `n` products errs by at most `n · 2⁻²⁴` of its absolute products. Here, beside the sum over channels, transforms take 3 · 2
/// sums of up to 6 terms, and their terms exceed the result by a factor that depends on the numbers: at worst thousands, 8 on noise.
fn bound(channels: usize) -> f64 {
    8.0 * (channels + 36) as f64 * 2f64.powi(-24)
}

fn geometry(batch: usize, input: [usize; 2], pad: [usize; 2], output: [usize; 2], channels: usize, outputs: usize) -> Geometry {
    Geometry {
        batch,
        input,
        channels,
        output,
        out_channels: outputs,
        groups: 1,
        kernel: [3; 2],
        strides: [1; 2],
        dilations: [1; 2],
        pad,
    }
}

fn winograd(g: &Geometry, isa: Isa, weight: &[f32], has_bias: bool, bounds: (f32, f32)) -> Winograd {
    let [block, columns] = cut(g, isa, Choice::AUTO);
    let taps = Arc::new(pack(g, isa, weight).unwrap());
    let place = Placement { offset: 0, stride: g.out_channels };
    Winograd { geometry: g.clone(), isa, taps, has_bias, bounds, place, block, columns }
}

fn check(g: &Geometry, bounds: (f32, f32), with_bias: bool, seed: u32) {
    let [h, w] = g.input;
    let x = numbers(g.batch * h * w * g.channels, seed);
    let weight = numbers(g.out_channels * 9 * g.channels, seed + 1);
    let bias = with_bias.then(|| numbers(g.out_channels, seed + 2));
    let (mut exact, mut largest) = (Vec::new(), 0f64);
    for row in 0..g.rows() {
        let (n, oy, ox) = (row / g.output[1] / g.output[0], row / g.output[1] % g.output[0], row % g.output[1]);
        for o in 0..g.out_channels {
            let start = bias.as_ref().map_or(0.0, |b| f64::from(b[o]));
            let (mut sum, mut magnitude) = (start, start.abs());
            for (ky, kx, c) in (0..9 * g.channels).map(|i| (i / g.channels / 3, i / g.channels % 3, i % g.channels)) {
                let (iy, ix) = ((oy + ky).wrapping_sub(g.pad[0]), (ox + kx).wrapping_sub(g.pad[1]));
                if iy < h && ix < w {
                    let x = x[((n * h + iy) * w + ix) * g.channels + c];
                    let product = f64::from(x) * f64::from(weight[((o * 3 + ky) * 3 + kx) * g.channels + c]);
                    sum += product;
                    magnitude += product.abs();
                }
            }
            exact.push(sum.clamp(bounds.0.into(), bounds.1.into()));
            largest = largest.max(magnitude);
        }
    }
    for &isa in Isa::available().iter().filter(|isa| isa.lanes() <= g.channels.min(g.out_channels)) {
        let mut kernel = winograd(g, isa, &weight, with_bias, bounds);
        if seed % 2 == 1 && (g.out_channels - 1) % panel_width(isa) + 1 >= isa.lanes() {
            // Several parts of the outputs, as large filters have them.
            kernel.columns = panel_width(isa);
        }
        let mut y = vec![f32::NAN; g.rows() * g.out_channels];
        let mut filters = vec![f32::NAN; kernel.scratch() / 4];
        let mut scratch = AlignedBytes::zeroed(kernel.own_scratch().next_multiple_of(64));
        scratch.fill(0xFF);
        kernel.share(&x, bias.as_deref(), &mut y, &mut filters, Crew::alone(&mut scratch)).unwrap();
        for (at, (&value, exact)) in y.iter().zip(&exact).enumerate() {
            let error = (f64::from(value) - exact).abs();
            assert!(error <= bound(g.channels) * largest, "{value} instead of {exact} at {at} by {isa:?}: {g:?}");
        }
    }
}

#[test]
fn usual_layers() {
    let all = (f32::NEG_INFINITY, f32::INFINITY);
    check(&geometry(1, [14, 14], [1, 1], [14, 14], 32, 48), all, true, 1);
    check(&geometry(1, [28, 9], [1, 1], [28, 9], 17, 16), (0.0, 6.0), true, 2);
    check(&geometry(2, [10, 10], [0, 0], [8, 8], 64, 20), (0.0, f32::INFINITY), false, 3);
}

#[test]
fn whole_kernels_are_chosen_where_they_pay() {
    let chosen = |input: [usize; 2], channels, outputs| applies(&geometry(1, input, [1, 1], input, channels, outputs));
    assert!(chosen([56, 56], 64, 64) && chosen([7, 7], 512, 512) && chosen([160, 160], 16, 16));
    assert!(!chosen([56, 56], 3, 64) && !chosen([1, 200], 64, 64) && !chosen([4, 4], 512, 512));
    let strided = Geometry { strides: [2, 2], output: [28, 28], ..geometry(1, [56, 56], [1, 1], [56, 56], 64, 64) };
    assert!(!applies(&strided));
}

#[test]
fn threads_give_the_same_bytes() {
    let g = geometry(1, [40, 41], [1, 1], [40, 41], 32, 32);
    let (x, weight) = (numbers(40 * 41 * 32, 5), numbers(9 * 32 * 32, 6));
    let kernel = winograd(&g, Isa::best(), &weight, false, (f32::NEG_INFINITY, f32::INFINITY));
    let [alone, shared] = [1, 3].map(|size| {
        let team = Team::spawn(size);
        let mut y = vec![0.0; g.rows() * 32];
        let mut scratch = AlignedBytes::zeroed(kernel.own_scratch().next_multiple_of(64) * team.size());
        // SAFETY: the scratch space is this call's own.
        let crew = unsafe { Crew::new(&team, crate::kernels::Region::of_mut(&mut scratch)) };
        let mut filters = vec![0.0; kernel.scratch() / 4];
        kernel.share(&x, None, &mut y, &mut filters, crew).unwrap();
        y
    });
    assert!(alone == shared);
}

proptest! {
    #[test]
    fn random_layers(
        (batch, input, pad, more) in (1..3usize, [3..14usize, 3..14usize], [0..3usize, 0..3usize], [0..3usize, 0..3usize]),
        (channels, outputs) in (16..40usize, 16..40usize),
        (bias, clamped, seed) in (any::<bool>(), any::<bool>(), 0..1000u32),
    ) {
        let output = [0, 1].map(|i| input[i] + pad[i] + more[i] - 2);
        let bounds = if clamped { (-0.5, 1.5) } else { (f32::NEG_INFINITY, f32::INFINITY) };
        check(&geometry(batch, input, pad, output, channels, outputs), bounds, bias, seed);
    }
}
