//! Every embedded file at three bindings: what is left after fusion, what it is, what it costs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use insta::assert_snapshot;
use packwright_compile::compile::compile;
use packwright_compile::options::CompileOptions;
use packwright_compile::pipeline;
use packwright_ir::order::topological;
use packwright_ir::{Graph, Op};
use packwright_packet::check::check;
use packwright_sim::{Options, simulate};
use packwright_tests::roles::{Role, roles};
use packwright_tests::way::target;
use packwright_zoo::{Case, Lengths, ModelFile, Phase, Zoo};
use rayon::prelude::*;

/// The machine that a file is estimated on, and the one for what that cannot hold.
const TARGETS: [&str; 2] = ["e2", "evo"];

/// From so many positions on only the larger machine is asked.
const LONG: u64 = 500;

/// A file at a binding, with the products that are expected there.
struct Row {
    file: &'static ModelFile,
    name: String,
    case: Case,
    macs: Option<u64>,
}

/// The catalogue's cases of all files, and two more lengths for those with free axes.
fn rows() -> Vec<Row> {
    let files = Zoo::all().iter().flat_map(|slm| slm.files);
    files.flat_map(cases).collect()
}

fn cases(file: &'static ModelFile) -> Vec<Row> {
    let lengths = |seq: u64, past: u64, encoder: u64| Lengths {
        seq: Some(seq),
        past: Some(past),
        encoder: Some(encoder),
    };
    let more = match file.phase {
        Phase::Encoder | Phase::Classifier | Phase::MaskedLm | Phase::Prefill => {
            vec![lengths(1, 0, 0), lengths(511, 0, 0)]
        }
        Phase::Decode => vec![lengths(1, 0, 0)],
        Phase::Decoder => vec![lengths(1, 0, 1), lengths(77, 0, 511)],
        Phase::DecoderPast => vec![lengths(1, 0, 128)],
    };
    let mut rows: Vec<Row> = file
        .cases
        .iter()
        .map(|case| Row {
            file,
            name: described(&case.lengths),
            case: *case,
            macs: Some(case.macs),
        })
        .collect();
    if file.file.contains(".dyn.") {
        let own = file.cases[0].lengths;
        for lengths in more {
            let keep = |new: Option<u64>, own: Option<u64>| own.and(new);
            let lengths = Lengths {
                seq: keep(lengths.seq, own.seq),
                past: keep(lengths.past, own.past),
                encoder: keep(lengths.encoder, own.encoder),
            };
            rows.push(Row {
                file,
                name: described(&lengths),
                case: Case {
                    lengths,
                    ..file.cases[0]
                },
                macs: None,
            });
        }
    }
    rows
}

fn described(lengths: &Lengths) -> String {
    let Lengths { seq, past, encoder } = lengths;
    let parts = [("seq", seq), ("past", past), ("enc", encoder)];
    let parts = parts
        .iter()
        .filter_map(|(name, length)| length.map(|length| format!("{name} {length}")));
    parts.collect::<Vec<_>>().join(" ")
}

/// Lines of the rows, worked on in parallel, in order; a defect costs its own row.
fn table(line: impl Fn(&Row) -> String + Sync) -> String {
    let lines: Vec<String> = rows()
        .par_iter()
        .map(|row| {
            let text = catch_unwind(AssertUnwindSafe(|| line(row)));
            let text = text.unwrap_or_else(|_| "PANIC".to_owned());
            format!("{:<52} {:<22} {text}\n", row.file.file, row.name)
        })
        .collect();
    lines.concat()
}

fn imported(row: &Row) -> Graph {
    row.file
        .import(&row.case, None)
        .unwrap_or_else(|problems| panic!("{} {}: {problems}", row.file.file, row.name))
        .graph
}

fn count(graph: &Graph, of: impl Fn(&Op) -> bool) -> usize {
    topological(graph)
        .into_iter()
        .filter(|&node| of(graph.op(node)))
        .count()
}

#[test]
fn nothing_is_loose_after_fusion() {
    let mut legend = String::new();
    for role in Role::ALL {
        legend.push_str(&format!("{:<8} {}\n", role.name(), role.reason()));
    }
    let table = table(|row| {
        let mut graph = imported(row);
        let before = topological(&graph).len();
        if let Err(problems) = pipeline::fuse(&mut graph) {
            return format!("{problems}");
        }
        let is = |f: fn(&Op) -> bool| count(&graph, f);
        let mut line = format!(
            "{before:>5} nodes {:>4} left: attention {:<2} linear {:<3} norm {:<2} rotary {:<2} embedding {:<2} view {:<3} |",
            topological(&graph).len(),
            is(|op| matches!(op, Op::Attention(_))),
            is(|op| matches!(op, Op::Matmul(_))),
            is(|op| matches!(op, Op::LayerNorm { .. } | Op::RmsNorm { .. })),
            is(|op| matches!(op, Op::Rotary { .. })),
            is(|op| matches!(op, Op::Embedding { .. })),
            is(|op| matches!(op, Op::Reshape { .. } | Op::Slice { .. })),
        );
        let mut counts: BTreeMap<Role, BTreeMap<&str, usize>> = BTreeMap::new();
        for (node, role) in roles(&graph) {
            let of = counts.entry(role).or_default();
            *of.entry(graph.op(node).name()).or_default() += 1;
        }
        for (role, ops) in counts {
            let ops: Vec<String> = ops.iter().map(|(op, n)| format!("{op} {n}")).collect();
            line.push_str(&format!(" {} ({})", role.name(), ops.join(", ")));
        }
        line
    });
    assert!(!table.contains(" loose ("), "{table}");
    assert_snapshot!(format!("{legend}\n{table}"));
}

#[test]
fn every_file_compiles_and_simulates() {
    let table = table(|row| {
        let graph = imported(row);
        assert_eq!(graph.facts.parameters, row.file.parameters);
        if let Some(macs) = row.macs {
            assert_eq!(graph.facts.macs, macs);
        }
        let Lengths { seq, past, encoder } = row.case.lengths;
        let long = [seq, past, encoder]
            .into_iter()
            .flatten()
            .any(|n| n >= LONG);
        let targets = if long { &TARGETS[1..] } else { &TARGETS[..] };
        let mut reason = String::new();
        for &name in targets {
            let target = target(name, &[]);
            let compiled = match compile(graph.clone(), &target, &CompileOptions::default()) {
                Ok(compiled) => compiled,
                Err(problems) => {
                    reason = problems.to_string();
                    continue;
                }
            };
            let problems = check(&compiled.program, &target);
            assert!(problems.is_empty(), "{:?}", problems.first());
            let entry = &compiled.program.entries[0];
            let options = Options {
                registers: entry.registers.iter().map(|r| r.max).collect(),
                ..Options::default()
            };
            let report = simulate(&compiled.program, entry, &target, &options);
            let report = report.unwrap_or_else(|error| panic!("{error}"));
            return format!(
                "{name:<3} {:>4} operators {:>10} parameters {:>12} MACs {:>6} packets {:>10} bytes {:>6.3} of bound",
                topological(&compiled.graph).len(),
                entry.facts.parameters,
                entry.facts.macs,
                report.packets,
                report.dram.bytes.total(),
                report.dram.bytes.without_packets() as f64 / entry.bound.dram_bytes.max(1) as f64,
            );
        }
        let first = reason.lines().next().unwrap_or_default();
        format!("not yet: {first}")
    });
    assert_snapshot!(table);
}
