//! Elementary functions of f32 without branches or calls, so that a loop over a slice is vectorised.
//!
//! Polynomials are minimax fits of this crate (Remez, in double precision); the stated errors are what the tests' sweeps find,
//! rounded up. NaN gives NaN. Results too small for a normal number become zero: arithmetic on denormals is many times slower.

/// Adding and subtracting it rounds to an integer (half to even), which then also stands in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// `ln 2` in two parts; products of the first with integers up to 2^9 are exact.
const LN2_HI: f32 = 355.0 / 512.0;
const LN2_LO: f32 = -2.121_944_4e-4;

/// Logarithm of the smallest normal number.
const LN_MIN: f32 = -87.336_54;

/// `if condition { a } else { b }` on values that are both computed, which compiles to a select.
#[inline(always)]
fn select(condition: bool, a: f32, b: f32) -> f32 {
    if condition { a } else { b }
}

/// Sum of `coefficients[i] · x^i`.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    let mut i = N - 1;
    // By index: an iterator's loop is unrolled too late for the loop around it to be vectorised.
    while i > 0 {
        i -= 1;
        sum = sum * x + coefficients[i];
    }
    sum
}

/// `e^x`, within 1 ULP; zero below −87.33654, infinity above 88.72284.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = select(x < -88.0, -88.0, select(x > 89.0, 89.0, x));
    let rounded = clamped * core::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN2_HI - n * LN2_LO;
    let q = polynomial(r, [0.499_999_94, 0.166_665_2, 0.041_668_393, 0.008_368_781, 0.001_381_446_7]);
    let p = r * r * q + r + 1.0;
    // 2^n in two factors, since 2^128 is no number while 2^128 · 0.9 is.
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |e: i32| f32::from_bits((e.wrapping_add(127) as u32) << 23);
    select(x < LN_MIN, 0.0, p * power(half) * power(n.wrapping_sub(half)))
}

/// `e^x` from −87.33654 to 88, within 1 ULP; anything beyond, but NaN stays NaN. Fewer constants than [`exp`]: see `unary::two_steps`.
#[inline(always)]
fn exp_within(x: f32) -> f32 {
    let rounded = x * core::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN2_HI - n * LN2_LO;
    let q = polynomial(r, [0.499_999_94, 0.166_665_2, 0.041_668_393, 0.008_368_781, 0.001_381_446_7]);
    // The integer in the low bits becomes the exponent; the other bits are shifted out.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1f32.to_bits()));
    (r * r * q + r + 1.0) * power
}

/// `e^x` up to 88, within 1 ULP; zero below −87.33654.
#[inline(always)]
pub(crate) fn exp_below(x: f32) -> f32 {
    let tiny = x < LN_MIN;
    select(tiny, 0.0, exp_within(select(tiny, LN_MIN, x)))
}

/// Natural logarithm, within 1 ULP; −infinity at zero, NaN below.
#[inline(always)]
pub(crate) fn log(x: f32) -> f32 {
    const TWO_23: f32 = 8_388_608.0;
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let tiny = x < f32::MIN_POSITIVE;
    let bits = select(tiny, x * TWO_23, x).to_bits();
    // x = 2^e · m with m between √½ and √2.
    let e = (bits.wrapping_sub(SQRT_HALF) as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((e as u32) << 23));
    let e = e as f32 + select(tiny, -23.0, 0.0);
    let f = m - 1.0;
    let q = polynomial(
        f,
        [
            0.333_333_13,
            -0.250_000_1,
            0.200_021_19,
            -0.166_679_96,
            0.142_195_52,
            -0.124_055_885,
            0.118_881_62,
            -0.116_756_52,
            0.067_466_42,
        ],
    );
    let f2 = f * f;
    let small = f2 * f * q + e * LN2_LO;
    let y = e * LN2_HI + (f - (0.5 * f2 - small));
    let y = select(x == f32::INFINITY, x, y);
    let y = select(x < 0.0, f32::NAN, y);
    select(x == 0.0, f32::NEG_INFINITY, y) + select(x.is_nan(), x, 0.0)
}

/// Hyperbolic tangent, within 1.5 ULP.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let far = 1.0 - 2.0 / (exp(a + a) + 1.0);
    let x2 = x * x;
    let near = a + a * x2 * polynomial(x2, [-0.333_333_16, 0.133_325_86, -0.053_852_31, 0.021_071_68, -0.006_274_24]);
    select(a < 0.55, near, far).copysign(x)
}

/// `1 / (1 + e^−x)`, within 2.5 ULP; zero below −87.33654.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    sigmoid_from_exp(x, exp_of_minus(x))
}

/// `e^−x` between ±87.33654, within 1 ULP; beyond as there. For [`sigmoid_from_exp`] and [`silu_from_exp`].
#[inline(always)]
pub(crate) fn exp_of_minus(x: f32) -> f32 {
    let minus = select(x > -LN_MIN, LN_MIN, -x);
    exp_within(select(minus > -LN_MIN, -LN_MIN, minus))
}

/// [`sigmoid`] of x from x and its [`exp_of_minus`].
#[inline(always)]
pub(crate) fn sigmoid_from_exp(x: f32, e: f32) -> f32 {
    select(x < LN_MIN, 0.0, 1.0 / (1.0 + e))
}

/// `x / (1 + e^−x)` from x and its [`exp_of_minus`], within 2.5 ULP; zero below −87.33654.
#[inline(always)]
pub(crate) fn silu_from_exp(x: f32, e: f32) -> f32 {
    select(x < LN_MIN, x * 0.0, x / (1.0 + e))
}

/// The error function, within 1.5 ULP.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let x2 = x * x;
    let near = x + x * polynomial(
        x2,
        [0.128_379_17, -0.376_126_26, 0.112_835_854, -0.026_853_813, 0.005_188_328, -0.000_801_019_4, 7.853_861_5e-5],
    );
    // 1 − erfc(a), from a fit of −ln erfc(a); beyond 4 the result is 1.
    let b = select(a > 4.0, 4.0, a);
    let exponent = polynomial(
        b,
        [0.000_341_523_38, 1.127_089_1, 0.638_144_85, 0.103_106_75, -0.021_838_063, 0.002_947_658, -0.000_186_379_16],
    );
    let far = 1.0 - exp(-exponent);
    select(a < 1.0, near, far).copysign(x)
}

/// `−ln(1 − Φ(|x|))` with the normal distribution Φ, by a fit whose errors weigh as much as they change [`gelu_from_exponent`].
#[inline(always)]
pub(crate) fn gelu_exponent(x: f32) -> f32 {
    let a = x.abs();
    let b = select(a > 6.0, 6.0, a);
    polynomial(
        b,
        [0.693_137_2, 0.798_009_1, 0.317_798_67, 0.037_323_855, -0.005_829_871_6, 0.000_621_203_04, -3.895_1e-5, 1.054_418_4e-6],
    )
}

/// `x·Φ(x)` from x and its [`gelu_exponent`], within 3e-7 of a result below 1 and 3e-7 of itself above.
#[inline(always)]
pub(crate) fn gelu_from_exponent(x: f32, exponent: f32) -> f32 {
    // The fit is between 0.69 and 21.
    let tail = select(x.abs() > 6.0, 0.0, exp_within(-exponent));
    x * select(x < 0.0, tail, 1.0 - tail)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    /// Distance in units of the last place of the correctly rounded result.
    fn ulps(value: f32, exact: f64) -> f64 {
        let rounded = exact as f32;
        if rounded.is_nan() || rounded.is_infinite() || value.is_nan() || value.is_infinite() {
            let same = value == rounded || (value.is_nan() && rounded.is_nan());
            return if same { 0.0 } else { f64::INFINITY };
        }
        if exact.abs() < f64::from(f32::MIN_POSITIVE) {
            // Flushed to zero, or rounded up to the smallest normal number.
            return if value.abs() <= f32::MIN_POSITIVE { 0.0 } else { f64::INFINITY };
        }
        let exponent = exact.abs().log2().floor();
        (f64::from(value) - exact).abs() / 2f64.powi(exponent as i32 - 23)
    }

    /// The largest error over every `step`-th f32 from `lo` to `hi` (same sign), with where it is.
    fn sweep(lo: f32, hi: f32, step: usize, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> (f64, f32) {
        let (a, b) = (lo.to_bits().min(hi.to_bits()), lo.to_bits().max(hi.to_bits()));
        (a..=b)
            .step_by(step)
            .map(f32::from_bits)
            .map(|x| (ulps(f(x), exact(f64::from(x))), x))
            .fold((0.0, 0.0), |worst, e| if e.0 > worst.0 { e } else { worst })
    }

    fn check(bound: f64, f: impl Fn(f32) -> f32 + Copy, exact: impl Fn(f64) -> f64 + Copy) {
        for (lo, hi) in [(0.0, 1e-3), (1e-3, 16.0), (16.0, 128.0), (128.0, f32::INFINITY)] {
            for sign in [1.0, -1.0] {
                let (worst, at) = sweep(sign * lo, sign * hi, 2003, f, exact);
                assert!(worst <= bound, "{worst} ULP at {at:e}, {} instead of {}", f(at), exact(f64::from(at)));
            }
        }
        assert!(f(f32::NAN).is_nan());
    }

    /// erf by its series and its continued fraction: std has none.
    fn erf64(x: f64) -> f64 {
        let a = x.abs();
        let y = if a < 2.5 {
            let (mut term, mut sum) = (a, a);
            for n in 1..80 {
                term *= -a * a / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * core::f64::consts::FRAC_2_SQRT_PI
        } else {
            let fraction = (1..120).rev().fold(a, |f, n| a + f64::from(n) / 2.0 / f);
            1.0 - (-a * a).exp() / fraction * core::f64::consts::FRAC_2_SQRT_PI / 2.0
        };
        y.copysign(x)
    }

    #[test]
    fn exp_is_close() {
        check(1.0, exp, f64::exp);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn exp_below_is_close() {
        for (lo, hi) in [(-0.0, -1e-3), (-1e-3, -16.0), (-16.0, -128.0), (-128.0, f32::NEG_INFINITY), (0.0, 88.0)] {
            let (worst, at) = sweep(lo, hi, 503, exp_below, f64::exp);
            assert!(worst <= 1.0, "{worst} ULP at {at:e}");
        }
        assert_eq!([exp_below(0.0), exp_below(f32::NEG_INFINITY)], [1.0, 0.0]);
        // The bits of a NaN must not reach the exponent.
        assert!((0..512).all(|low| exp_below(f32::from_bits(0x7fc0_0000 | low)).is_nan()));
    }

    #[test]
    fn log_is_close() {
        check(1.0, log, f64::ln);
        let (worst, at) = sweep(0.5, 2.0, 3, log, f64::ln);
        assert!(worst <= 1.0, "{worst} ULP at {at:e}");
        assert_eq!(log(1.0), 0.0);
        assert_eq!(log(-0.0), f32::NEG_INFINITY);
    }

    #[test]
    fn tanh_is_close() {
        check(1.5, tanh, f64::tanh);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn sigmoid_is_close() {
        check(2.5, sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
    }

    #[test]
    fn silu_is_close() {
        let silu = |x| silu_from_exp(x, exp_of_minus(x));
        for (lo, hi) in [(0.0, 1e-3), (1e-3, 16.0), (16.0, f32::MAX), (-0.0, -1e-3), (-1e-3, -16.0), (-16.0, -87.0)] {
            let (worst, at) = sweep(lo, hi, 2003, silu, |x| x / (1.0 + (-x).exp()));
            assert!(worst <= 2.5, "{worst} ULP at {at:e}");
        }
        assert_eq!([silu(-1000.0), silu(f32::INFINITY)], [0.0, f32::INFINITY]);
        assert!(silu(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_close() {
        let gelu = |x| gelu_from_exponent(x, gelu_exponent(x));
        for i in -4_000_000..4_000_000 {
            let x = i as f32 * 5e-6;
            let exact = crate::kernels::unary::eval(crate::graph::ops::Unary::Gelu, x);
            assert!((gelu(x) - exact).abs() <= 3e-7 * exact.abs().max(1.0), "{x}: {} is not {exact}", gelu(x));
        }
        assert_eq!([gelu(-1e30), gelu(0.0), gelu(1e30)], [0.0, 0.0, 1e30]);
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_close() {
        check(1.5, erf, erf64);
        assert!((erf64(0.5) - 0.520_499_877_813_046_5).abs() < 1e-15 && (erf64(3.0) - 0.999_977_909_503_001_4).abs() < 1e-15);
    }
}
