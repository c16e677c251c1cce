//! Integer products in plain Rust, for processors without a vector path.

use super::{Block, Finish, Scheme};

const COLUMNS: usize = Scheme::Scalar.panel();
const GROUP: usize = Scheme::Scalar.group();

/// # Safety
/// As for [`Block::run`].
pub(super) unsafe fn run<F: Finish>(block: &Block<'_, F>) {
    for panel in block.panels.clone() {
        let column = panel * COLUMNS;
        let count = COLUMNS.min(block.n - column);
        // SAFETY: `b` and `init` hold every panel of the range.
        let (b, init) = unsafe {
            (
                core::slice::from_raw_parts(
                    block.b.add(panel * block.panel_bytes).cast::<[[i8; GROUP]; COLUMNS]>(),
                    block.segments * block.groups,
                ),
                block.init.add(column).cast::<[i32; COLUMNS]>().read(),
            )
        };
        for row in 0..block.rows {
            let mut acc = init;
            // SAFETY: `row` is one of the block's.
            let mut first = unsafe { block.row(row) };
            for b in b.chunks_exact(block.groups.max(1)) {
                // SAFETY: every row holds `segments` segments of `groups` groups.
                let a = unsafe { core::slice::from_raw_parts(first.cast::<[u8; GROUP]>(), block.groups) };
                for (a, b) in a.iter().zip(b) {
                    for (acc, b) in acc.iter_mut().zip(b) {
                        for (a, b) in a.iter().zip(b) {
                            *acc = acc.wrapping_add(i32::from(*a) * i32::from(*b));
                        }
                    }
                }
                first = first.wrapping_add(block.groups * GROUP).wrapping_add(block.gap);
            }
            // SAFETY: `out` holds n columns from each row's start, and `count` ends at n.
            let out = unsafe { block.out_row(row, column, count) };
            block.finish.row(&acc, column, out);
        }
    }
}
