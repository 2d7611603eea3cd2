fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    for slm in packwright_zoo::Zoo::all() {
        for f in slm.files {
            if !f.file.contains(&only) {
                continue;
            }
            for c in f.cases {
                let t = std::time::Instant::now();
                let m = f.model().unwrap();
                let td = t.elapsed();
                match f.import(c, None) {
                    Ok(i) => {
                        let g = i.graph;
                        println!(
                            "{:60} {:8} ok nodes {:6} consts {:5} bytes {:9} {:?}/{:?} par {} macs {} w {}",
                            f.file,
                            c.name,
                            packwright_ir::order::topological(&g).len(),
                            g.consts().len(),
                            g.consts()
                                .iter()
                                .map(|c| match &c.source {
                                    packwright_ir::konst::Source::Bytes(b) => b.len(),
                                    _ => 0,
                                })
                                .sum::<usize>(),
                            td,
                            t.elapsed(),
                            if g.facts.parameters == f.parameters {
                                "=".into()
                            } else {
                                format!("{} vs {}", g.facts.parameters, f.parameters)
                            },
                            if g.facts.macs == c.macs {
                                "=".into()
                            } else {
                                format!("{} vs {}", g.facts.macs, c.macs)
                            },
                            i.warnings.len()
                        );
                        if std::env::args().nth(2).is_some() {
                            for n in packwright_ir::order::topological(&g) {
                                println!(
                                    "{n} {:?} {:?} {:?} {:?}",
                                    g.op(n),
                                    g.operands(n),
                                    g.types(n).iter().map(|t| t.to_string()).collect::<Vec<_>>(),
                                    g.origin(g.origin_of(n))
                                );
                            }
                        }
                    }
                    Err(e) => {
                        println!(
                            "{:60} {:8} {} errors {:?}",
                            f.file,
                            c.name,
                            e.0.len(),
                            t.elapsed()
                        );
                        for d in e.0.iter().take(6) {
                            println!("     {d}");
                        }
                    }
                }
                let _ = m;
            }
        }
    }
}
