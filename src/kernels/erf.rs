//! The error function in double precision, for tables and references.

/// `1 − erf(x)`, accurate to about 1e-15 relative to the result.
pub(super) fn erfc(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < 2.0 {
        return 1.0 - erf(x);
    }
    // Continued fraction, evaluated from the tail; its terms shrink quickly from 2 on.
    let mut tail = 0.0;
    for k in (1..=60).rev() {
        tail = f64::from(k) * 0.5 / (x + tail);
    }
    (-x * x).exp() / ((x + tail) * core::f64::consts::PI.sqrt())
}

/// The error function.
pub(super) fn erf(x: f64) -> f64 {
    if x < 0.0 {
        return -erf(-x);
    }
    if x >= 2.0 {
        return 1.0 - erfc(x);
    }
    // exp(−x²) · 2/√π · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!, whose terms are all positive.
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * 2.0 / core::f64::consts::PI.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // From tables of the function (Abramowitz and Stegun 7.1).
        for (x, y) in [(0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (2.0, 0.995_322_265_018_952_7)] {
            assert!((erf(x) - y).abs() < 1e-15, "{x}: {}", erf(x));
            assert!((erf(-x) + y).abs() < 1e-15);
        }
        assert!((erfc(3.0) / 2.209_049_699_858_544e-5 - 1.0).abs() < 1e-13);
        assert!((erfc(2.0) - (1.0 - erf(1.999_999_999_999))).abs() < 1e-12);
        assert_eq!(erf(f64::INFINITY), 1.0);
        assert!(erf(f64::NAN).is_nan());
    }
}
