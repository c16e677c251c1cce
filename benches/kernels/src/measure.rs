//! Time on a machine that others use too: the minimum of many short slices is what the code takes when nobody interferes.

use nearside::Result;

/// Milliseconds since some moment.
pub type Clock<'a> = &'a dyn Fn() -> f64;

/// How long a case runs before it counts: an engine compiles its hot functions anew meanwhile.
const WARM_UP_MS: f64 = 80.0;
/// A slice: many times the clock's resolution, short enough to fall between two interruptions.
const SLICE_MS: f64 = 0.6;
const BUDGET_MS: f64 = 160.0;
/// Slices of a case however long it takes.
const FEWEST: usize = 12;

/// Milliseconds that `f` takes at best.
pub(crate) fn fastest(clock: Clock<'_>, f: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let mut slice = |calls: usize| -> Result<f64> {
        let start = clock();
        for _ in 0..calls {
            f()?;
        }
        Ok((clock() - start) / calls as f64)
    };
    let start = clock();
    while clock() - start < WARM_UP_MS {
        slice(1)?;
    }
    // Two in a row, so that an interruption does not pass for a slow function.
    let mut calls = 1;
    while calls < 1 << 24 && slice(calls)?.min(slice(calls)?) * (calls as f64) < SLICE_MS {
        calls *= 2;
    }
    let mut best = f64::INFINITY;
    let start = clock();
    let mut slices = 0;
    while slices < FEWEST || clock() - start < BUDGET_MS {
        best = best.min(slice(calls)?);
        slices += 1;
    }
    Ok(best)
}
