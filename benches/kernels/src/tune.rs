//! A whole model, tuned: what the fastest ways to compute its products are here.

use nearside::{
    Limits, Result,
    graph::plan,
    kernels::Team,
    runtime::{Session, TunedNode, Tuner},
    tensor::AlignedBytes,
};

use crate::{measure::Clock, profile::inputs};

const BUDGET_MS: f64 = 8000.0;

/// Tunes a plan on invented inputs; tells what changed, node by node, and what that makes of the whole.
pub fn tune(file: &[u8], clock: Clock<'_>, mut say: impl FnMut(&str)) -> Result<()> {
    let plan = || plan::read(AlignedBytes::copy_of(file));
    let mut session = Session::with_team(plan()?, &Limits::default(), Team::ALONE)?;
    let inputs = inputs(&session)?;
    let views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    let mut tuner = Tuner::new(plan()?, &mut session, &views, BUDGET_MS)?;
    let start = clock();
    while tuner.advance(&mut session, &mut || clock(), 100.0)? < 1.0 {}
    let took = clock() - start;
    let tuned = tuner.finish(&mut session);
    let names: Vec<String> = session.nodes().map(|n| format!("{} '{}'", n.op, n.name)).collect();
    for node in tuned.nodes.iter().filter(|n| n.before != n.after) {
        let TunedNode { index, before_ms, after_ms, before, after } = node;
        say(&format!("{before_ms:>8.3} → {after_ms:>8.3} ms  {before} → {after}  {}", names[*index]));
    }
    let count = tuned.nodes.len();
    let verdict = if tuned.kept { "kept" } else { "not kept" };
    say(&format!(
        "{:.3} → {:.3} ms as a whole, {verdict}; {count} nodes measured in {took:.0} ms",
        tuned.before_ms, tuned.after_ms
    ));
    Ok(())
}
