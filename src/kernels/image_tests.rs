use proptest::prelude::*;

use super::*;

/// One colour of a pixel of the scaled picture, as the double sum of the definition.
fn scaled(pixels: &[[f64; 3]], width: usize, height: usize, r: &Recipe, x: usize, y: usize) -> [f64; 3] {
    let weights = |start: f64, len: f64, all: usize, count: usize, i: usize| -> Vec<f64> {
        let step = len / count as f64;
        let center = start + (i as f64 + 0.5) * step;
        let weights: Vec<f64> = (0..all).map(|j| (1.0 - (j as f64 + 0.5 - center).abs() / step.max(1.0)).max(0.0)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    };
    let columns = weights(r.window.left, r.window.width, width, r.frame.width, x);
    let rows = weights(r.window.top, r.window.height, height, r.frame.height, y);
    let mut sum = [0.0; 3];
    for (j, row) in rows.iter().enumerate() {
        for (i, column) in columns.iter().enumerate() {
            (0..3).for_each(|c| sum[c] += row * column * pixels[j * width + i][c]);
        }
    }
    sum
}

/// The whole result in f64, in the order of the layout.
fn reference(pixels: &[u8], width: usize, height: usize, r: &Recipe) -> Vec<f64> {
    let flat: Vec<[f64; 3]> = pixels
        .chunks(4)
        .map(|p| {
            let alpha = f64::from(p[3]) / 255.0;
            core::array::from_fn(|c| (f64::from(p[c]) * alpha + f64::from(r.background[c]) * (1.0 - alpha)).round())
        })
        .collect();
    let channels = r.colors.count();
    let mut out = vec![0.0; channels * r.width * r.height];
    for y in 0..r.height {
        for x in 0..r.width {
            let inside = (r.frame.left..r.frame.left + r.frame.width).contains(&x)
                && (r.frame.top..r.frame.top + r.frame.height).contains(&y);
            let [red, green, blue] = if inside {
                scaled(&flat, width, height, r, x - r.frame.left, y - r.frame.top)
            } else {
                r.background.map(f64::from)
            };
            let values = match r.colors {
                Colors::Rgb => vec![red, green, blue],
                Colors::Bgr => vec![blue, green, red],
                Colors::Gray => vec![0.299 * red + 0.587 * green + 0.114 * blue],
            };
            for (c, value) in values.into_iter().enumerate() {
                let at = if r.interleaved { (y * r.width + x) * channels + c } else { (c * r.height + y) * r.width + x };
                out[at] = value * f64::from(r.scale[c]) + f64::from(r.offset[c]);
            }
        }
    }
    out
}

fn plain(width: usize, height: usize) -> Recipe {
    Recipe {
        window: Area { left: 0.0, top: 0.0, width: width as f64, height: height as f64 },
        frame: Area { left: 0, top: 0, width, height },
        width,
        height,
        background: [0; 3],
        colors: Colors::Rgb,
        interleaved: false,
        scale: [1.0; 3],
        offset: [0.0; 3],
    }
}

/// A part of `all`, at least a thousandth of it.
fn part(all: usize) -> impl Strategy<Value = (f64, f64)> {
    (0.0..1.0f64, 0.001..1.0f64).prop_map(move |(start, len)| (start * (1.0 - len) * all as f64, len * all as f64))
}

fn place(all: usize) -> impl Strategy<Value = (usize, usize)> {
    (0..all).prop_flat_map(move |start| (Just(start), 1..=all - start))
}

fn recipes(width: usize, height: usize) -> impl Strategy<Value = Recipe> {
    let colors = prop::sample::select(vec![Colors::Rgb, Colors::Bgr, Colors::Gray]);
    let numbers = (prop::array::uniform3(0.001..2.0f32), prop::array::uniform3(-130.0..130.0f32));
    let places = (1usize..9, 1usize..9).prop_flat_map(|(w, h)| (Just((w, h)), place(w), place(h)));
    (part(width), part(height), places, any::<[u8; 3]>(), colors, any::<bool>(), numbers).prop_map(
        |((left, w), (top, h), ((width, height), (x, fw), (y, fh)), background, colors, interleaved, (scale, offset))| Recipe {
            window: Area { left, top, width: w, height: h },
            frame: Area { left: x, top: y, width: fw, height: fh },
            width,
            height,
            background,
            colors,
            interleaved,
            scale,
            offset,
        },
    )
}

fn cases() -> impl Strategy<Value = (Vec<u8>, usize, usize, Recipe)> {
    let byte = || prop::sample::select(vec![0u8, 1, 77, 128, 200, 254, 255, 255]);
    (1usize..40, 1usize..30).prop_flat_map(move |(width, height)| {
        let pixels = prop::collection::vec(byte(), width * height * 4);
        (pixels, Just(width), Just(height), recipes(width, height))
    })
}

fn prepared(pixels: &[u8], width: usize, height: usize, recipe: &Recipe, dtype: DType) -> Vec<u8> {
    let mut out = vec![0x55; recipe.elements().unwrap() * dtype.size()];
    prepare_image(&mut pixels.to_vec(), width, height, recipe, dtype, &mut out).unwrap();
    out
}

fn elements<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

proptest! {
    #[test]
    fn is_the_double_sum((pixels, width, height, recipe) in cases()) {
        let want = reference(&pixels, width, height, &recipe);
        let floats: Vec<f32> = elements(&prepared(&pixels, width, height, &recipe, DType::F32));
        // Two sums of at most 82 weighted values up to 255, each product and addition rounded to 24 bits, then scaled and moved.
        let bound = |v: f64, scale: f32| 4.0 * 84.0 * 255.0 * f64::from(scale) / f64::from(1 << 24) + v.abs() / f64::from(1 << 22) + 1e-4;
        for (i, (got, want)) in floats.iter().zip(&want).enumerate() {
            let scale = recipe.scale.iter().fold(0f32, |a, b| a.max(*b));
            prop_assert!((f64::from(*got) - want).abs() <= bound(*want, scale), "{i}: {got} is not {want}");
        }
        let halves: Vec<u16> = elements(&prepared(&pixels, width, height, &recipe, DType::F16));
        prop_assert_eq!(halves, floats.iter().map(|v| f32_to_f16(*v)).collect::<Vec<_>>());
        let bytes = prepared(&pixels, width, height, &recipe, DType::U8);
        prop_assert_eq!(bytes, floats.iter().map(|v| v.round_ties_even() as u8).collect::<Vec<_>>());
        let signed: Vec<i8> = elements(&prepared(&pixels, width, height, &recipe, DType::I8));
        prop_assert_eq!(signed, floats.iter().map(|v| v.round_ties_even() as i8).collect::<Vec<_>>());
    }
}

#[test]
fn the_same_size_is_the_same_picture() {
    let pixels: Vec<u8> = (0..7 * 5 * 4).map(|i| if i % 4 == 3 { 255 } else { (i * 37 % 256) as u8 }).collect();
    let recipe = Recipe { interleaved: true, ..plain(7, 5) };
    let rgb: Vec<u8> = pixels.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    assert_eq!(prepared(&pixels, 7, 5, &recipe, DType::U8), rgb);
}

#[test]
fn half_the_size_is_a_mean_that_overlaps() {
    // 8 → 4: a triangle of 4 pixels, weights 1 3 3 1, cut off and made whole again at the ends.
    let line = [0u8, 0, 80, 80, 160, 160, 240, 240];
    let pixels: Vec<u8> = line.iter().flat_map(|&v| [v, v, v, 255]).collect();
    let recipe = Recipe { width: 4, frame: Area { left: 0, top: 0, width: 4, height: 1 }, colors: Colors::Gray, ..plain(8, 1) };
    let out = prepared(&pixels, 8, 1, &recipe, DType::U8);
    assert_eq!(out, [11, 80, 160, 229]);
}

#[test]
fn what_is_impossible_is_an_error() {
    let mut out = [0u8; 12];
    let base = plain(2, 2);
    let mut check = |recipe: Recipe, dtype: DType, len: usize, text: &str| {
        let error = prepare_image(&mut vec![0; len], 2, 2, &recipe, dtype, &mut out).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    check(base, DType::U8, 15, "15 bytes are no picture of 2×2 pixels");
    check(base, DType::I64, 16, "not int64; give a tensor");
    check(base, DType::F32, 16, "does not fill 12 bytes");
    check(Recipe { window: Area { width: f64::NAN, ..base.window }, ..base }, DType::U8, 16, "the part NaN×2 from (0, 0)");
    check(Recipe { window: Area { left: 1.0, ..base.window }, ..base }, DType::U8, 16, "from (1, 0) on is not within a picture");
    check(Recipe { window: Area { top: -2.5, ..base.window }, ..base }, DType::U8, 16, "(0, -2.50)");
    check(Recipe { window: Area { width: 4.061, ..base.window }, ..base }, DType::U8, 16, "part 4.06×2 from");
    check(Recipe { frame: Area { left: 1, ..base.frame }, ..base }, DType::U8, 16, "are not within 2×2");
    check(Recipe { frame: Area { width: 0, ..base.frame }, ..base }, DType::U8, 16, "are not within 2×2");
    check(Recipe { frame: Area { left: usize::MAX, ..base.frame }, ..base }, DType::U8, 16, "are not within 2×2");
    check(Recipe { width: usize::MAX, ..base }, DType::U8, 16, "does not fill");
}
