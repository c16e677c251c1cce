//! Whether helpers are worth having just now.

/// Most that past gains count for, in milliseconds, so that a change is seen soon.
const MOST_CREDIT: f64 = 1.0;
/// Debt in milliseconds at which helpers are left out for a while.
const MOST_DEBT: f64 = 2.0;
/// Shortest and longest time without helpers, in milliseconds.
const PAUSES: (f64, f64) = (20.0, 1000.0);

/// What helpers saved and cost. On a machine with more to do than cores, a helper may lose its core in the middle of a tile, and
/// the whole run waits; when that costs more than helpers save, the calling thread works alone, for longer each time.
#[derive(Debug)]
pub(super) struct Ledger {
    credit: f64,
    pause: f64,
    until: f64,
}

impl Ledger {
    pub const NEW: Ledger = Ledger { credit: 0.0, pause: PAUSES.0, until: f64::NEG_INFINITY };

    /// Whether helpers may take part at the time `now`.
    pub fn admits(&self, now: f64) -> bool {
        now >= self.until
    }

    /// A job that began at `start`: the caller found no more tiles at `idle`, having done `own` of them, and at `end` the helpers had
    /// done the `others`.
    pub fn enter(&mut self, own: usize, others: usize, [start, idle, end]: [f64; 3]) {
        let saved = (idle - start) / own.max(1) as f64 * others as f64;
        self.credit = (self.credit + saved - (end - idle)).min(MOST_CREDIT);
        if self.credit < -MOST_DEBT {
            self.until = end + self.pause;
            self.pause = (2.0 * self.pause).min(PAUSES.1);
            self.credit = 0.0;
        } else if self.credit == MOST_CREDIT {
            self.pause = (self.pause - (end - start)).max(PAUSES.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_that_cost_more_than_they_save_are_left_out_for_longer_each_time() {
        let mut ledger = Ledger::NEW;
        let mut now = 0.0;
        let mut pauses = Vec::new();
        for _ in 0..3 {
            while ledger.admits(now) {
                // Half a millisecond of work shared evenly, after which the last tile takes four.
                ledger.enter(4, 4, [now, now + 0.5, now + 4.5]);
                now += 4.5;
            }
            pauses.push(ledger.until - now);
            now = ledger.until;
        }
        assert_eq!(pauses, [20.0, 40.0, 80.0]);
        for _ in 0..200 {
            ledger.enter(4, 4, [now, now + 0.5, now + 0.6]);
            now += 0.6;
        }
        assert!(ledger.admits(now) && ledger.pause < 80.0);
    }
}
