//! Discrete Fourier transforms of any length, behind the part of rustfft's interface that tract uses.
//!
//! rustfft's planner and its code for many special lengths are a twelfth of what the ONNX compiler weighs in a page, where transforms only
//! serve models that run on the fallback executor. Powers of two are computed by Cooley and Tukey's algorithm (1965), other lengths by
//! Bluestein's (1970), both in double precision.

use std::{f64::consts::TAU, fmt::Debug, marker::PhantomData, sync::Arc};

pub use num_complex;
pub use num_traits;

use num_complex::Complex;
use num_traits::{FromPrimitive, Signed, ToPrimitive};

type C = Complex<f64>;

/// A number that can be transformed.
pub trait FftNum: Copy + FromPrimitive + ToPrimitive + Signed + Sync + Send + Debug + 'static {}
impl<T: Copy + FromPrimitive + ToPrimitive + Signed + Sync + Send + Debug + 'static> FftNum for T {}

/// Which way a transform goes; neither way scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FftDirection {
    /// With e^(−2πi/n).
    Forward,
    /// With e^(2πi/n).
    Inverse,
}

/// A transform of one length.
pub trait Fft<T: FftNum>: Sync + Send {
    /// Transforms every run of the length in `buffer`, in place.
    fn process(&self, buffer: &mut [Complex<T>]);
}

/// Makes transforms.
pub struct FftPlanner<T>(PhantomData<T>);

impl<T: FftNum> FftPlanner<T> {
    /// A planner.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        FftPlanner(PhantomData)
    }

    /// A transform of `len` numbers.
    pub fn plan_fft(&mut self, len: usize, direction: FftDirection) -> Arc<dyn Fft<T>> {
        Arc::new(Transform { len, sign: if direction == FftDirection::Forward { -1.0 } else { 1.0 } })
    }

    /// A forward transform of `len` numbers.
    pub fn plan_fft_forward(&mut self, len: usize) -> Arc<dyn Fft<T>> {
        self.plan_fft(len, FftDirection::Forward)
    }
}

struct Transform {
    len: usize,
    sign: f64,
}

impl<T: FftNum> Fft<T> for Transform {
    fn process(&self, buffer: &mut [Complex<T>]) {
        if self.len < 2 {
            return;
        }
        let wide = |v: T| v.to_f64().unwrap_or(f64::NAN);
        let narrow = |v: f64| T::from_f64(v).unwrap_or_else(T::zero);
        for run in buffer.chunks_exact_mut(self.len) {
            let mut x: Vec<C> = run.iter().map(|c| C::new(wide(c.re), wide(c.im))).collect();
            if self.len.is_power_of_two() {
                power_of_two(&mut x, self.sign);
            } else {
                bluestein(&mut x, self.sign);
            }
            for (to, from) in run.iter_mut().zip(x) {
                *to = Complex::new(narrow(from.re), narrow(from.im));
            }
        }
    }
}

fn unit(angle: f64) -> C {
    C::new(angle.cos(), angle.sin())
}

/// Iterative, by decimation in time.
fn power_of_two(x: &mut [C], sign: f64) {
    let n = x.len();
    let shift = usize::BITS - n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> shift;
        if i < j {
            x.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        for start in (0..n).step_by(2 * half) {
            for k in 0..half {
                let twiddle = unit(sign * TAU * k as f64 / (2 * half) as f64);
                let (a, b) = (x[start + k], x[start + k + half] * twiddle);
                x[start + k] = a + b;
                x[start + k + half] = a - b;
            }
        }
        half *= 2;
    }
}

/// As a convolution with a chirp, which a longer transform of a power of two computes.
fn bluestein(x: &mut [C], sign: f64) {
    let n = x.len();
    let padded = (2 * n - 1).next_power_of_two();
    // The square modulo 2n keeps the angle small, and so exact.
    let chirp = |k: usize| unit(sign * TAU / 2.0 * ((k as u128 * k as u128) % (2 * n as u128)) as f64 / n as f64);
    let mut a = vec![C::new(0.0, 0.0); padded];
    let mut b = a.clone();
    for k in 0..n {
        a[k] = x[k] * chirp(k);
        b[k] = chirp(k).conj();
        b[(padded - k) % padded] = b[k];
    }
    power_of_two(&mut a, -1.0);
    power_of_two(&mut b, -1.0);
    for (a, b) in a.iter_mut().zip(&b) {
        *a *= *b;
    }
    power_of_two(&mut a, 1.0);
    for (k, x) in x.iter_mut().enumerate() {
        *x = a[k] * chirp(k) / padded as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_both_ways_gives_what_the_definition_gives() {
        for n in (0..40).chain([64, 97, 128, 400]) {
            let x: Vec<Complex<f64>> = (0..n).map(|i| C::new((i * 7 % 11) as f64 - 5.0, (i * 5 % 13) as f64 - 6.0)).collect();
            for (direction, sign) in [(FftDirection::Forward, -1.0), (FftDirection::Inverse, 1.0)] {
                let mut y = x.clone();
                FftPlanner::new().plan_fft(n, direction).process(&mut y);
                for (k, y) in y.iter().enumerate() {
                    let wanted: C = x.iter().enumerate().map(|(j, x)| x * unit(sign * TAU * (j * k % n) as f64 / n as f64)).sum();
                    assert!((y - wanted).l1_norm() < 1e-10 * n as f64, "{n} {k}: {y} instead of {wanted}");
                }
            }
        }
    }

    #[test]
    fn every_run_of_a_buffer_is_transformed() {
        let mut x = [1f32, 2.0, 3.0, 4.0].map(|re| Complex::new(re, 0.0));
        FftPlanner::new().plan_fft_forward(2).process(&mut x);
        assert_eq!(x.map(|c| c.re), [3.0, -1.0, 7.0, -1.0]);
    }
}
