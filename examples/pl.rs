use nearside::compile::{Compiled, Options, compile};
fn main() {
    let f = std::env::args().nth(1).unwrap();
    match compile(&std::fs::read(&f).unwrap(), &Options::default()) {
        Ok(Compiled::Plan { plan, report }) => {
            for p in &report.passes {
                println!("{}: {} e.g. {:?}", p.name, p.changes.len(), p.changes.iter().take(3).collect::<Vec<_>>());
            }
            println!("{}", nearside::graph::print::print(&plan.graph));
        }
        Ok(Compiled::Fallback { report, .. }) => println!("fallback {:?}", report.notes),
        Err(e) => println!("ERR {e}"),
    }
}
