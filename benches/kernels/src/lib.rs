//! Measures kernels one by one: each operator in a plan of its own, run by a session, beside loops that do nothing but the
//! instruction on which the kernel rests. The same code runs natively and, as a WebAssembly module, in a browser's page.

mod cases;
mod measure;
mod peaks;
mod profile;
mod tune;
#[cfg(target_arch = "wasm32")]
mod web;

use nearside::{Result, kernels};

pub use cases::{Case, Work};
pub use measure::Clock;
pub use profile::profile;
pub use tune::tune;

/// Measures every case whose name contains one of the words of `filter`, which commas separate; all if it is empty.
/// `say` gets a line of the table as soon as it is known.
pub fn run(filter: &str, clock: Clock<'_>, mut say: impl FnMut(&str)) -> Result<()> {
    let words: Vec<&str> = filter.split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
    let peaks = peaks::Peaks::measure(clock);
    say(&format!("integer path: {}", kernels::integer_path()));
    for peak in peaks.iter() {
        say(&format!("{:<52} {:>9.1} {}", format!("instruction: {}", peak.name), peak.speed, "GMAC/s"));
    }
    say(&format!("{:<52} {:>16} {:>7} {:>11}", "kernel", "speed", "of peak", "time"));
    for case in cases::all() {
        if !words.is_empty() && !words.iter().any(|w| case.name.contains(w)) {
            continue;
        }
        let mut session = case.session()?;
        let millis = measure::fastest(clock, &mut || session.run_again(|_, _| ()))?;
        let (amount, unit, best) = match case.work {
            Work::MultiplyI8(macs) => (macs, "GMAC/s", peaks.integer()),
            Work::MultiplyF32(macs) => (macs, "GMAC/s", peaks.float()),
            Work::Move(bytes) => (bytes, "GB/s", peaks::copy_speed(clock, bytes as usize / 2)?),
        };
        let speed = amount / millis / 1e6;
        let share = speed / best * 100.0;
        say(&format!("{:<52} {speed:>9.1} {unit:<6} {share:>5.0} % {:>8.1} µs", case.name, millis * 1e3));
    }
    Ok(())
}
