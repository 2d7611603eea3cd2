//! Generation: one binary for every length, entries that share weights and caches.

use std::fmt::Write as _;

use packwright_compile::compile::{compile, with_constants};
use packwright_compile::entries::{CompiledProgram, EntrySource, compile_entries};
use packwright_compile::graph::recipe::{Caches, Recipe, Weights};
use packwright_compile::options::{CompileOptions, PlanMode};
use packwright_compile::pipeline::{self, GraphOptions};
use packwright_compile::plan::Fragment;
use packwright_compile::plan::cache::{Cache, caches};
use packwright_ir::tensor::Tensor;
use packwright_ir::{Graph, eval, text};
use packwright_packet::check::check;
use packwright_packet::program::Entry;
use packwright_sim::func::Machine;
use packwright_sim::{Options, simulate};
use packwright_tests::way::{both, planes, target};

const LAYERS: usize = 2;
const VOCABULARY: usize = 50;

/// A decoder for a past and a number of new positions, by the seed of its weights.
type Make = fn(usize, usize, u64) -> Graph;

/// A small decoder as exporters write it: grouped heads, a past where `past` is not 0, a mask that hides
/// later positions.
fn decoder(past: usize, seq: usize, seed: u64) -> Graph {
    decoder_of(past, seq, seed, false)
}

/// The same with a bias by distance, looked up in a table of buckets.
fn biased(past: usize, seq: usize, seed: u64) -> Graph {
    decoder_of(past, seq, seed, true)
}

fn decoder_of(past: usize, seq: usize, seed: u64, biased: bool) -> Graph {
    let t = past + seq;
    let mut g = String::from("graph decoder\n");
    let mut constant = |index: usize, shape: &str, name: &str, std: f64| {
        let line = format!("  @{index} : f32[{shape}] \"{name}\"");
        let _ = writeln!(g, "{line} = synthetic normal(std={std:?}, seed={seed})");
    };
    constant(0, "50,32", "wte.weight", 0.5);
    constant(1, "64,32", "wpe.weight", 0.5);
    constant(2, "32,50", "head.weight", 0.5);
    for layer in 0..LAYERS {
        let at = 10 * (layer + 1);
        let mut own = |index, shape, name: &str, std| {
            constant(at + index, shape, &format!("h.{layer}.{name}"), std);
        };
        own(0, "32", "norm", 1.0);
        own(1, "32,32", "q", 0.3);
        own(2, "32,16", "k", 0.3);
        own(3, "32,16", "v", 0.3);
        own(4, "32,32", "o", 0.3);
    }
    let causal: Vec<&str> = (0..seq * t)
        .map(|i| {
            if i % t <= past + i / t {
                "true"
            } else {
                "false"
            }
        })
        .collect();
    let _ = writeln!(g, "  @3 : bool[1,1,{seq},{t}] = [{}]", causal.join(", "));
    let _ = writeln!(g, "  @4 : f32[] = [0.353]\n  @5 : f32[] = [-inf]");
    if biased {
        // Distances from 4 on go in pairs.
        let bucket = |d: usize| d.min(4 + d.saturating_sub(4) / 2).min(7);
        let buckets: Vec<String> = (0..seq * t)
            .map(|i| bucket((past + i / t).saturating_sub(i % t)).to_string())
            .collect();
        let _ = writeln!(
            g,
            "  @6 : i64[{seq},{t}] = [{}]\n  @7 : f32[8,4] \"bias.weight\" = synthetic normal(std=1.0, seed={seed})",
            buckets.join(", ")
        );
    }
    let mut next = 0;
    let mut node = |ty: String, what: String| {
        let _ = writeln!(g, "  %{next} : {ty} = {what}");
        next += 1;
        format!("%{}", next - 1)
    };
    let ids = node(format!("i64[1,{seq}]"), "input \"input_ids\"".into());
    let mask = node(format!("i64[1,{t}]"), "input \"attention_mask\"".into());
    let pos = node(format!("i64[1,{seq}]"), "input \"position_ids\"".into());
    let words = node(
        format!("f32[1,{seq},32]"),
        format!("gather @0, {ids} axis=0"),
    );
    let places = node(
        format!("f32[1,{seq},32]"),
        format!("gather @1, {pos} axis=0"),
    );
    let mut x = node(format!("f32[1,{seq},32]"), format!("add {words}, {places}"));
    let seen = node(format!("bool[1,{t}]"), format!("cast {mask} to=bool"));
    let seen = node(format!("bool[1,1,1,{t}]"), format!("reshape {seen}"));
    let seen = node(format!("bool[1,1,{seq},{t}]"), format!("and @3, {seen}"));
    let bias = biased.then(|| {
        let rows = node(format!("f32[{seq},{t},4]"), "gather @7, @6 axis=0".into());
        let turned = node(
            format!("f32[4,{seq},{t}]"),
            format!("transpose {rows} perm=[2,0,1]"),
        );
        node(format!("f32[1,4,{seq},{t}]"), format!("reshape {turned}"))
    });
    let mut outputs = Vec::new();
    for layer in 0..LAYERS {
        let at = 10 * (layer + 1);
        let n = node(
            format!("f32[1,{seq},32]"),
            format!("rms_norm {x}, @{at} eps=1e-5 affine"),
        );
        let mut factor = |index: usize, name: &str, heads: usize| {
            let width = heads * 8;
            let y = node(
                format!("f32[1,{seq},{width}]"),
                format!("matmul {n}, @{}", at + index),
            );
            let y = node(format!("f32[1,{seq},{heads},8]"), format!("reshape {y}"));
            let y = node(
                format!("f32[1,{heads},{seq},8]"),
                format!("transpose {y} perm=[0,2,1,3]"),
            );
            if name.is_empty() {
                return y;
            }
            let whole = if past == 0 {
                y
            } else {
                let input = format!("input \"past_key_values.{layer}.{name}\"");
                let held = node(format!("f32[1,2,{past},8]"), input);
                node(
                    format!("f32[1,2,{t},8]"),
                    format!("concat {held}, {y} axis=2"),
                )
            };
            outputs.push(format!("  output {whole} \"present.{layer}.{name}\"\n"));
            let y = node(format!("f32[1,2,1,{t},8]"), format!("reshape {whole}"));
            let y = node(format!("f32[1,2,2,{t},8]"), format!("expand {y}"));
            node(format!("f32[1,4,{t},8]"), format!("reshape {y}"))
        };
        let (q, k, v) = (factor(1, "", 4), factor(2, "key", 2), factor(3, "value", 2));
        let k = node(
            format!("f32[1,4,8,{t}]"),
            format!("transpose {k} perm=[0,1,3,2]"),
        );
        let scores = node(format!("f32[1,4,{seq},{t}]"), format!("matmul {q}, {k}"));
        let mut scores = node(format!("f32[1,4,{seq},{t}]"), format!("mul {scores}, @4"));
        if let Some(bias) = &bias {
            scores = node(
                format!("f32[1,4,{seq},{t}]"),
                format!("add {scores}, {bias}"),
            );
        }
        let scores = node(
            format!("f32[1,4,{seq},{t}]"),
            format!("where {seen}, {scores}, @5"),
        );
        let p = node(
            format!("f32[1,4,{seq},{t}]"),
            format!("softmax {scores} axis=3"),
        );
        let y = node(format!("f32[1,4,{seq},8]"), format!("matmul {p}, {v}"));
        let y = node(
            format!("f32[1,{seq},4,8]"),
            format!("transpose {y} perm=[0,2,1,3]"),
        );
        let y = node(format!("f32[1,{seq},32]"), format!("reshape {y}"));
        let y = node(
            format!("f32[1,{seq},32]"),
            format!("matmul {y}, @{}", at + 4),
        );
        x = node(format!("f32[1,{seq},32]"), format!("add {x}, {y}"));
    }
    let logits = node(
        format!("f32[1,{seq},{VOCABULARY}]"),
        format!("matmul {x}, @2"),
    );
    let _ = write!(g, "  output {logits} \"logits\"\n{}", outputs.concat());
    text::parse(&g).unwrap_or_else(|errors| panic!("{errors:?}\n{g}"))
}

/// Weights of four bits, but for the head.
fn int4() -> CompileOptions {
    by(Recipe {
        weights: Weights::Int4 { group: 64 },
        ..Recipe::default()
    })
}

/// Caches that keep floats.
fn floats() -> CompileOptions {
    by(Recipe {
        caches: Caches::F16,
        ..Recipe::default()
    })
}

fn by(recipe: Recipe) -> CompileOptions {
    CompileOptions {
        graph: GraphOptions {
            recipe,
            ..GraphOptions::default()
        },
        ..CompileOptions::default()
    }
}

/// The graph that an entry means at a length.
fn quantized(make: Make, past: usize, seq: usize, options: &CompileOptions) -> Graph {
    let mut graph = make(past, seq, 1);
    pipeline::run_graph_pipeline(&mut graph, &options.graph)
        .unwrap_or_else(|problems| panic!("{problems}"));
    graph
}

/// The value of a result.
fn result<'a>(results: &'a [(String, Tensor)], name: &str) -> &'a Tensor {
    let found = results.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("{name} is computed")).1
}

/// Whole numbers as the bytes of a port.
fn integers(values: impl IntoIterator<Item = i64>) -> Vec<u8> {
    values.into_iter().flat_map(i64::to_le_bytes).collect()
}

/// Runs an entry on tokens at a position and returns all logits.
fn run(machine: &mut Machine<'_>, entry: &Entry, tokens: &[i64], position: i64) -> Vec<u8> {
    let inputs: Vec<(&str, Vec<u8>)> = entry
        .inputs
        .iter()
        .map(|port| {
            let count = port.shape[1] as i64;
            let values: Vec<i64> = match port.name.as_str() {
                "input_ids" => (0..count)
                    .map(|i| tokens.get(i as usize).copied().unwrap_or(7))
                    .collect(),
                "position_ids" => (position..position + count).collect(),
                _ => vec![1; count as usize],
            };
            (port.name.as_str(), integers(values))
        })
        .collect();
    let ports: Vec<(&str, &[u8])> = inputs.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    let registers = vec![position as u64; entry.registers.len()];
    let outputs = machine
        .run(entry, &ports, &registers)
        .unwrap_or_else(|error| panic!("{error}"));
    outputs.into_iter().next().expect("there are logits").bytes
}

#[test]
fn one_binary_computes_what_the_graph_means_at_every_length() {
    assert_every_length(decoder, &CompileOptions::default());
}

#[test]
fn caches_of_floats_compute_what_the_graph_means_at_every_length() {
    assert_every_length(decoder, &floats());
}

#[test]
fn biases_by_distance_are_those_of_the_length_at_hand() {
    assert_every_length(biased, &CompileOptions::default());
}

fn assert_every_length(make: Make, options: &CompileOptions) {
    let tiny = target("tiny", &[]);
    const CAPACITY: usize = 13;
    let mut whole = compile(make(CAPACITY - 1, 1, 1), &tiny, options)
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert!(with_constants(&mut whole).expect("weights are synthetic"));
    let problems = check(&whole.program, &tiny);
    assert!(problems.is_empty(), "{:?}", problems.first());
    let entry = &whole.program.entries[0];
    assert_eq!(entry.registers[0].max, CAPACITY as u64 - 1);
    for position in [0, 1, 7, CAPACITY - 1] {
        let graph = quantized(make, position, 1, options);
        let inputs = eval::random_inputs(&graph, position as u64);
        let expected = eval::run(&graph, &inputs).unwrap_or_else(|error| panic!("{error}"));
        let mut machine = Machine::new(&whole.program, &tiny).expect("a machine");
        let mut given: Vec<(&str, Vec<u8>)> = Vec::new();
        let all: Vec<Cache> = caches(&graph);
        for (name, tensor) in &inputs {
            let cache = all.iter().find(|c| name.ends_with(&c.name));
            match cache {
                None if name == "attention_mask" => {
                    // What is behind the last column is not looked at.
                    let mut bytes = tensor.to_le_bytes();
                    bytes.resize(CAPACITY * 8, 0xff);
                    given.push((name, bytes));
                }
                None => given.push((name, tensor.to_le_bytes())),
                Some(cache) => {
                    let region = entry.regions.iter().find(|r| r.name == cache.name);
                    let bytes = planes(cache, tensor, CAPACITY);
                    let region = region.expect("caches have regions");
                    machine.set_state(region, &bytes).expect("it fits");
                }
            }
        }
        let ports: Vec<(&str, &[u8])> = given.iter().map(|(n, b)| (*n, b.as_slice())).collect();
        let found = machine
            .run(entry, &ports, &[position as u64])
            .unwrap_or_else(|error| panic!("{error}"));
        let logits = result(&expected, "logits").to_le_bytes();
        assert!(found[0].bytes == logits, "logits differ at {position}");
        for cache in &all {
            let tensor = result(&expected, &format!("present.{}", cache.name));
            let state = machine.state().get(&cache.name).expect("it was written");
            assert!(
                state == planes(cache, tensor, CAPACITY),
                "{} differs at {position}",
                cache.name
            );
        }
    }
}

#[test]
fn costs_follow_the_rows_that_are_held() {
    // A row of a head has eight elements, and a scale where they are integers.
    for (options, bytes) in [(CompileOptions::default(), 8 + 4), (floats(), 2 * 8)] {
        assert_costs_follow(&options, LAYERS as u64 * 2 * 2 * bytes);
    }
}

/// `row`: bytes of a position in all caches.
fn assert_costs_follow(options: &CompileOptions, row: u64) {
    let tiny = target("tiny", &[]);
    let program = compile(decoder(31, 1, 1), &tiny, options)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .program;
    let entry = &program.entries[0];
    let moved = |position: u64| {
        let options = Options {
            registers: vec![position],
            ..Options::default()
        };
        let report = simulate(&program, entry, &tiny, &options);
        report.unwrap_or_else(|error| panic!("{error}")).dram.bytes
    };
    for position in [0, 1, 20, 31] {
        let bytes = moved(position);
        assert_eq!(bytes.kv_read, position * row, "read at {position}");
        assert_eq!(bytes.kv_write, row, "written at {position}");
        let least = entry.bound.at(&entry.registers, &[position]).0;
        let more = bytes.without_packets() - least;
        assert_eq!(more, moved(31).without_packets() - entry.bound.dram_bytes);
    }
}

#[test]
fn caches_leave_with_the_heads_of_each_pass() {
    let halves = (12..22).map(|half| half << 9);
    let sizes: Vec<u64> = halves
        .chain([12, 14, 16, 24].map(|kib| kib << 10))
        .collect();
    for (name, positions, mut options) in [
        ("int8", 48, CompileOptions::default()),
        ("floats", 64, floats()),
    ] {
        let mut by_heads = false;
        for (mode, &bytes) in [PlanMode::Best, PlanMode::Least]
            .iter()
            .flat_map(|mode| sizes.iter().map(move |s| (mode, s)))
        {
            options.plan.mode = *mode;
            let machine = target("e1", &[&format!("sram.bytes={bytes}")]);
            let mut compiled = match compile(decoder(0, positions, 1), &machine, &options) {
                Ok(compiled) => compiled,
                Err(problems) => {
                    assert!(problems.to_string().contains("sram"), "{problems}");
                    continue;
                }
            };
            let mut stores = compiled.plan.fragments.iter();
            by_heads |= stores.any(|f| matches!(f, Fragment::StoreOutput { pass: Some(_), .. }));
            for (output, expected, found) in both(&mut compiled, &machine, 1) {
                assert!(
                    expected == found,
                    "{name} in {bytes} bytes, {mode:?}: {output} differs"
                );
            }
        }
        assert!(by_heads, "{name}: no size makes a plan by heads");
    }
}

/// A prefill for 8 tokens and a decode with caches for 16.
fn family(make: Make, options: &CompileOptions) -> CompiledProgram {
    let source = |name: &str, graph| EntrySource {
        name: name.into(),
        graph,
    };
    let sources = vec![
        source("prefill", make(0, 8, 1)),
        source("decode", make(15, 1, 1)),
    ];
    compile_entries(sources, &target("tiny", &[]), options)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn a_text_goes_through_prefill_and_decode() {
    assert_text_goes_through(decoder, &CompileOptions::default());
}

#[test]
fn a_text_goes_through_with_biases_by_distance() {
    assert_text_goes_through(biased, &CompileOptions::default());
}

#[test]
fn weights_of_four_bits_generate_what_the_graph_means() {
    assert_text_goes_through(decoder, &int4());
}

#[test]
fn caches_of_floats_generate_what_the_graph_means() {
    assert_text_goes_through(decoder, &floats());
}

#[test]
fn weights_of_four_bits_take_half_the_bytes() {
    let [wide, narrow] =
        [CompileOptions::default(), int4()].map(|options| family(decoder, &options));
    assert_eq!(wide.program.precision, "w8a8");
    assert_eq!(narrow.program.precision, "w4a8");
    // 32 inputs of a channel: 32 values and a scale of four bytes, or 16 and a step of two, padded.
    let channels = LAYERS as u64 * (32 + 16 + 16 + 32);
    let less = wide.program.constants.len() - narrow.program.constants.len();
    assert_eq!(less, channels * (36 - 20));
    for (wide, narrow) in wide.program.entries.iter().zip(&narrow.program.entries) {
        assert_eq!(
            wide.bound.dram_bytes - narrow.bound.dram_bytes,
            less,
            "the bound of {}",
            wide.name
        );
    }
}

fn assert_text_goes_through(make: Make, options: &CompileOptions) {
    let tiny = target("tiny", &[]);
    let mut family = family(make, options);
    let alone =
        compile(make(15, 1, 1), &tiny, options).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(family.with_constants().expect("weights are synthetic"));
    let program = &family.program;
    let problems = check(program, &tiny);
    assert!(problems.is_empty(), "{:?}", problems.first());
    // The second entry adds its mask or buckets, and no weight.
    let more = program.constants.len() - alone.program.constants.len();
    assert!(more <= 512, "{more} bytes more than one entry");

    let prompt = [3, 14, 15, 9, 26];
    let mut machine = Machine::new(program, &tiny).expect("a machine");
    let logits = run(&mut machine, &program.entries[0], &prompt, 0);
    let graph = quantized(make, 0, prompt.len(), options);
    let mut held: Vec<(String, Tensor)> = Vec::new();
    let ones = |n: usize| Tensor::i64(&[1, n], vec![1; n]);
    let inputs = vec![
        (
            "input_ids".to_owned(),
            Tensor::i64(&[1, 5], prompt.to_vec()),
        ),
        ("attention_mask".to_owned(), ones(5)),
        (
            "position_ids".to_owned(),
            Tensor::i64(&[1, 5], (0..5).collect()),
        ),
    ];
    let mut expected = eval::run(&graph, &inputs).unwrap_or_else(|error| panic!("{error}"));
    let mut want = result(&expected, "logits").to_le_bytes();
    assert!(logits[..want.len()] == want, "rows behind the prompt show");
    for position in 5..12 {
        let row = &want[want.len() - VOCABULARY * 4..];
        let numbers: Vec<f32> = row
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&word| f32::from_le_bytes(word))
            .collect();
        let best = numbers.iter().copied().fold(f32::MIN, f32::max);
        let token = numbers
            .iter()
            .position(|&x| x == best)
            .expect("one is the largest") as i64;
        let logits = run(&mut machine, &program.entries[1], &[token], position as i64);

        let graph = quantized(make, position, 1, options);
        held.clear();
        for (name, tensor) in &expected {
            if let Some(rest) = name.strip_prefix("present.") {
                held.push((format!("past_key_values.{rest}"), tensor.clone()));
            }
        }
        held.push(("input_ids".into(), Tensor::i64(&[1, 1], vec![token])));
        held.push((
            "position_ids".into(),
            Tensor::i64(&[1, 1], vec![position as i64]),
        ));
        held.push(("attention_mask".into(), ones(position + 1)));
        expected = eval::run(&graph, &held).unwrap_or_else(|error| panic!("{error}"));
        want = result(&expected, "logits").to_le_bytes();
        assert!(logits == want, "logits differ at {position}");
    }
}

#[test]
fn entries_that_do_not_belong_together_say_so() {
    let compiled = |sources: Vec<EntrySource>| {
        let options = CompileOptions::default();
        let failed = compile_entries(sources, &target("tiny", &[]), &options);
        let problems = failed.expect_err("they do not belong together").0;
        problems.iter().map(|p| p.code).collect::<Vec<_>>()
    };
    let source = |name: &str, graph: Graph| EntrySource {
        name: name.into(),
        graph,
    };
    assert_eq!(
        compiled(vec![
            source("decode", decoder(3, 1, 1)),
            source("decode", decoder(7, 1, 1)),
        ]),
        ["entry-repeated"]
    );
    // A past that grows and is not given back.
    let lost = text::parse(
        "graph g
           %0 : f32[1,2,5,4] = input \"past_key_values.0.key\"
           %1 : f32[1,2,1,4] = input \"k\"
           %2 : f32[1,2,6,4] = concat %0, %1 axis=2
           %3 : f32[1,2,6,4] = exp %2
           output %3 \"y\"",
    );
    let lost = lost.unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(
        compiled(vec![source("decode", lost)]),
        ["cache-without-present"]
    );
    // Weights of one name with other values.
    let stored = |value: f32| {
        let matrix = vec![format!("{value:?}"); 64].join(", ");
        let graph = text::parse(&format!(
            "graph g
               @0 : f32[8,8] \"h.weight\" = [{matrix}]
               %0 : f32[2,8] = input \"x\"
               %1 : f32[2,8] = matmul %0, @0
               output %1 \"y\""
        ));
        graph.unwrap_or_else(|errors| panic!("{errors:?}"))
    };
    assert_eq!(
        compiled(vec![source("a", stored(0.5)), source("b", stored(0.25))]),
        ["entry-weights-differ"]
    );
}
