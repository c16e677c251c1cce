use nearside::compile::{Options, import::import};
fn main() {
    for f in std::env::args().skip(1) {
        let bytes = std::fs::read(&f).unwrap();
        let t = std::time::Instant::now();
        match import(&bytes, &Options::default()) {
            Ok(i) => {
                let mut g = i.graph;
                let v = g.sort().and_then(|_| {
                    g.remove_dead();
                    nearside::graph::verify::verify(&g)
                });
                println!(
                    "{f}: {} nodes, {:?}, missing {:?} verify {:?}",
                    g.nodes.len(),
                    t.elapsed(),
                    i.missing_operators,
                    v.err().map(|e| e.to_string())
                );
                for r in i.missing_reasons.iter().take(5) {
                    println!("    {r}");
                }
                if std::env::var("PRINT").is_ok() {
                    println!("{}", nearside::graph::print::print(&g));
                }
            }
            Err(e) => println!("{f}: ERROR {:?} {e}", e.kind()),
        }
    }
}
