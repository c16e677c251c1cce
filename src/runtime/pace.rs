//! Whether runs are faster with helping threads or without.
//!
//! On a machine with more to do than cores, a helper may lose its core in the middle of a tile, and the whole run waits. What that
//! costs is seen only by comparing whole runs: the calling thread loses its core as well, and less often when it works alone.

/// Runs before the first comparison: they are slower, as the engine still optimises the code.
const WARM: u32 = 4;
/// How much of a mean the latest run makes.
const RECENT: f64 = 0.25;
/// Runs with helpers are compared anew when they take more than this part of a run alone.
const DOUBTFUL: f64 = 0.9;
/// The other way takes over when it needs less than this part of the time.
const BETTER: f64 = 0.97;
/// Most runs of a trial of helpers and of one without. Helpers are lucky at times, and lose little as long as they are.
const TRIES: [u32; 2] = [12, 3];
/// Runs of a trial of helpers that count before it can be lost: they sleep at first.
const START: u32 = 2;
/// How much slower than alone the first of them may be.
const SLOW_START: f64 = 1.5;
/// Shortest and longest time between two comparisons, in milliseconds.
const INTERVALS: (f64, f64) = (50.0, 2000.0);
/// Least number of runs between two trials of helpers.
const RARITY: f64 = 50.0;

/// The times of runs of one binding, and what follows from them.
#[derive(Debug)]
pub(super) struct Pace {
    runs: u32,
    /// Whether runs go without helpers, trials aside.
    alone: bool,
    /// What runs take with helpers and alone, in milliseconds.
    means: [Option<f64>; 2],
    /// Runs of the current trial of the other way, and what they took in all.
    trial: Option<(u32, f64)>,
    /// When the ways are compared next, and how long after that again.
    next: f64,
    interval: f64,
}

impl Pace {
    pub const NEW: Pace =
        Pace { runs: 0, alone: false, means: [None; 2], trial: None, next: f64::NEG_INFINITY, interval: INTERVALS.0 };

    /// Whether a run that begins at `now` shall go without helpers.
    pub fn goes_alone(&mut self, now: f64) -> bool {
        if self.trial.is_none() && now >= self.next && self.is_doubtful() {
            self.trial = Some((0, 0.0));
        }
        self.alone != self.trial.is_some()
    }

    fn is_doubtful(&self) -> bool {
        let [helped, alone] = self.means;
        self.alone || helped.is_some_and(|helped| alone.is_none_or(|alone| helped > DOUBTFUL * alone))
    }

    /// A run that began when [`Pace::goes_alone`] was asked took so many milliseconds and ended at `now`.
    pub fn enter(&mut self, took: f64, now: f64) {
        self.runs = self.runs.saturating_add(1);
        let (usual, other) = (usize::from(self.alone), usize::from(!self.alone));
        let Some((runs, sum)) = &mut self.trial else {
            if self.runs > WARM {
                let mean = &mut self.means[usual];
                *mean = Some(mean.map_or(took, |mean| mean + RECENT * (took - mean)));
            }
            return;
        };
        *runs += 1;
        *sum += took;
        let mean = *sum / f64::from(*runs);
        let most = self.means[usual].unwrap_or(f64::INFINITY) * if self.alone && *runs < START { SLOW_START } else { BETTER };
        if *runs < TRIES[other] && mean < most {
            return;
        }
        self.trial = None;
        self.means[other] = Some(mean);
        let wins = mean < most;
        self.interval = if wins { INTERVALS.0 } else { (2.0 * self.interval).min(INTERVALS.1) };
        self.next = now + self.interval;
        if wins != self.alone {
            // Helpers lose: they are tried again after some runs at least.
            self.next = self.next.max(now + RARITY * mean);
        }
        self.alone ^= wins;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs for a while on a machine where a run takes `with` milliseconds with helpers or `without`: the sum, and how many went alone.
    fn go(pace: &mut Pace, now: &mut f64, runs: usize, with: impl Fn(usize) -> f64, without: f64) -> (f64, usize) {
        let (begin, mut alone) = (*now, 0);
        for run in 0..runs {
            let goes_alone = pace.goes_alone(*now);
            let took = if goes_alone { without } else { with(run) };
            alone += usize::from(goes_alone);
            *now += took;
            pace.enter(took, *now);
        }
        (*now - begin, alone)
    }

    #[test]
    fn on_a_quiet_machine_one_run_goes_alone() {
        let (mut pace, mut now) = (Pace::NEW, 0.0);
        assert_eq!(go(&mut pace, &mut now, 1000, |_| 6.0, 10.0).1, 1);
    }

    #[test]
    fn helpers_that_lose_their_core_are_left_out_and_come_back() {
        let (mut pace, mut now) = (Pace::NEW, 0.0);
        go(&mut pace, &mut now, 100, |_| 6.0, 10.0);
        // Every second run waits for a helper without a core.
        let busy = |run: usize| if run.is_multiple_of(2) { 6.0 } else { 22.0 };
        let (took, _) = go(&mut pace, &mut now, 1000, busy, 10.0);
        assert!(took < 1.04 * 10_000.0, "{took} ms");
        let (_, alone) = go(&mut pace, &mut now, 1000, |_| 6.0, 10.0);
        assert!(alone < 250, "{alone} runs went alone");
    }

    #[test]
    fn a_machine_that_becomes_slower_as_a_whole_keeps_its_helpers() {
        let (mut pace, mut now) = (Pace::NEW, 0.0);
        go(&mut pace, &mut now, 100, |_| 6.0, 10.0);
        assert!(go(&mut pace, &mut now, 1000, |_| 12.0, 20.0).1 < 5);
    }

    #[test]
    fn helpers_that_change_nothing_are_seldom_compared() {
        let (mut pace, mut now) = (Pace::NEW, 0.0);
        let (took, _) = go(&mut pace, &mut now, 10_000, |_| 0.3, 0.3);
        assert!((took - 3000.0).abs() < 1e-6);
        let (mut pace, mut now) = (Pace::NEW, 0.0);
        let (took, _) = go(&mut pace, &mut now, 1000, |_| 22.0, 20.0);
        assert!(took < 1.03 * 20_000.0, "{took} ms");
    }
}
