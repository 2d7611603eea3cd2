//! What the check of programs lets through, the machine executes; what it refuses is survived.
//!
//! Commands are random texts, right more often than wrong in each field.

use packwright_packet::asm::assemble_command;
use packwright_packet::check::check;
use packwright_packet::program::{Entry, Origin, Program, RegionKind};
use packwright_target::Target;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::scratch::{Noise, bare, load, port, program, region, store};
use crate::func::Machine;

/// Commands with a hole for each number, view and word that is chosen at random: `{m}`, `{n}` and
/// `{k}` are extents, which a view repeats behind its element types to be wide enough.
const COMMANDS: &[&str] = &[
    "load dst={addr} src=d0+{addr} block={m}({pitch}:{pitch})x{n}({pitch}:{pitch})x{k}",
    "store dst=d1+{addr} src={addr} block={m}({pitch}:{pitch})x{k}",
    "gather dst={addr} dst_pitch={pitch} table=d0+{addr} row_bytes={k} row_pitch={pitch} \
     table_rows={m} index={i32,i64 n} count={n}",
    "matmul m={m} n={n} k={k} group={group} a={i8 k} b={i8 k} a_scale={f32 n} b_scale={f32 n} \
     bias={f32 n} residual={f32,f16 n} acc={f32,i32 n} start={bool} finish={bool} out={f32,f16,i8 n}",
    "matmul m={m} n={n} k={k} a={i8 k} b={i8 k} out={f32,f16 n}",
    "matmul m={m} n={n} k={k} a={i8 k} b={i8 k} acc={f32,i32 n} start={bool} finish={bool} out={f32 n}",
    "matmul m={m} n={n} k={k} group={group} a={i8 k} b={i8 k} b_bits=4 b_group={group} b_step={f16 k} out={f32,f16 n}",
    "matmul m={m} n={n} k={k} a={i8 k} b={i8 k} b_bits=4 b_scale={f32 n} out={f32,i8 n}",
    "unary rows={m} cols={n} func=relu src={any n} dst={f32,f16,i8,i32 n}",
    "binary rows={m} cols={n} func=add a={any n} b={any n} dst={f32,f16,i8,i32 n}",
    "select rows={m} cols={n} cond={any n} a={any n} b={any n} dst={f32,f16,i8,i32 n}",
    "fill rows={m} cols={n} value=1.5 dst={f32,f16,i8,i32 n}",
    "norm rows={m} cols={n} kind=layer eps=1e-5 src={f32,f16 n} gamma={f32 n} beta={f16 n} dst={f32,f16 n}",
    "norm rows={m} cols={n} kind=rms eps=1e-5 src={f32,f16 n} gamma={f32 n} dst={f32,f16 n}",
    "norm rows={m} cols={n} kind=rms eps=1e-5 src={f32,f16 n} beta={f32 n} dst={f32,f16 n}",
    "softmax rows={m} cols={n} src={f32,f16 n} mask={f32,f16 n} causal={k} col_scale={f32 n} dst={f32,f16 n}",
    "softmax rows={m} cols={n} src={f32,f16 n} dst={i8,f32 n} dst_scale={f32 n}",
    "quantize rows={m} cols={n} group={group} src={f32,f16 n} dst={i8 n} dst_scale={f32 n}",
    "quantize rows={m} cols={n} src={f32,f16 n} dst={i8 n} scale=0.25",
    "dequantize rows={m} cols={n} src={i8,i32 n} scale={f32 n} addend={f16,f32 n} dst={f32,f16 n}",
    "rotary rows={m} cols={n} layout=half src={f32,f16 n} cos={f32 n} sin={f32 n} dst={f32,f16 n}",
    "reduce rows={m} cols={n} kind=max src={any n} dst={f32,f16 n}",
    "copy rows={m} cols={n} src={any n} dst={any n}",
    "softmax rows={m} cols={n} src={f32,f16 n} mask={f32 n} dst={i8,f32 n} dst_scale={f32 n} log_sum={f32 n}",
    "fill rows={m} cols={n} value=1.5 dst={f32,f16,i8,i32 n} step=0.5",
    "reduce rows={m} cols={n} kind=arg_max src={any n} dst={f32,f16 n}",
    "sort rows={m} cols={n} src={any n} dst={i32,f32 n}",
    "scatter rows={m} cols={n} index={i32,i64 m} src={i8,f32 n} table={i8,f32 n} table_rows={k}",
    "lookup rows={m} cols={n} index={i32,i64 m} table={i8,f32 n} table_rows={k} dst={i8,f32 n}",
];

/// Fills the holes of a command.
fn command(template: &str, noise: &mut Noise) -> String {
    let pick = |noise: &mut Noise, from: &[u64]| from[noise.below(from.len())];
    let extents = ["m", "n", "k"].map(|_| pick(noise, &[0, 1, 2, 4, 4, 6, 8, 16]));
    let mut parts = template.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    let places: Vec<u64> = (0..3).map(|_| noise.below(30) as u64 * 64).collect();
    for part in parts {
        let (hole, rest) = part.split_once('}').expect("a closed hole");
        let addr = match noise.below(40) {
            0 => 4090,
            1 => 1,
            2..12 => pick(noise, &places),
            _ => noise.below(60) as u64 * 64,
        };
        text += &match hole {
            "m" => extents[0].to_string(),
            "n" => extents[1].to_string(),
            "k" => extents[2].to_string(),
            "addr" => addr.to_string(),
            "pitch" => pick(noise, &[0, 3, 4, 16, 16, 32, 64, 256]).to_string(),
            "group" => pick(noise, &[extents[1], extents[2], extents[2], 2, 4, 0]).to_string(),
            "bool" => (noise.below(2) == 0).to_string(),
            view => {
                let (elems, cols) = view.split_once(' ').expect("element types and an extent");
                let any = ["i8", "i32", "i64", "f16", "f32"];
                let elems: Vec<_> = elems.split(',').collect();
                let wrong = elems == ["any"] || noise.below(30) == 0;
                let elem = if wrong {
                    any[noise.below(5)]
                } else {
                    elems[noise.below(elems.len())]
                };
                let bytes = match elem {
                    "i8" => 1,
                    "f16" => 2,
                    "i64" => 8,
                    _ => 4,
                };
                let cols = extents[["m", "n", "k"]
                    .iter()
                    .position(|&name| name == cols)
                    .unwrap_or(0)];
                match noise.below(12) {
                    0 => format!("{elem}@{addr}:0"),
                    1 => format!("{elem}@{addr}:{bytes}/0"),
                    2 => format!("{elem}@{addr}:{bytes}/{}", extents[0] * bytes),
                    3 => format!("{elem}@{addr}:{}", pick(noise, &[8, 16, 24])),
                    4..8 => format!("{elem}@{addr}:64"),
                    _ => format!("{elem}@{addr}:{}", cols * bytes),
                }
            }
        };
        text += rest;
    }
    text
}

/// A program that fills the first 4 KiB of SRAM, stores the output and executes the command.
fn around(text: &str) -> Program {
    let command = assemble_command(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let entry = Entry {
        regions: vec![
            region("x", RegionKind::Input, 0, 4096),
            region("y", RegionKind::Output, 4096, 4096),
        ],
        inputs: vec![port("x", 0, 4096)],
        outputs: vec![port("y", 1, 4096)],
        ..bare(vec![load(0, 0, 4096), store(1, 0, 4096), command])
    };
    let origin = Origin {
        layer: "test".into(),
        what: "test".into(),
        nodes: vec![],
    };
    Program {
        origins: vec![origin],
        ..program(vec![entry], vec![])
    }
}

/// What the check and the machine say about a command.
fn judge(text: &str, target: &Target, image: &[u8]) -> (Vec<String>, Option<String>) {
    let program = around(text);
    let problems = check(&program, target);
    let mut machine = Machine::new(&program, target).expect("a small machine");
    let run = machine.run(&program.entries[0], &[("x", image)], &[]);
    let problems = problems.iter().map(ToString::to_string).collect();
    (problems, run.err().map(|error| error.to_string()))
}

fn machine() -> (Target, Vec<u8>) {
    let target = Target::preset("tiny").expect("a preset");
    let mut noise = Noise(7);
    let image = (0..4096).map(|_| noise.bits() as u8).collect();
    (target, image)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_checked_runs(template in prop::sample::select(COMMANDS), seed in any::<u64>()) {
        let (target, image) = machine();
        let text = command(template, &mut Noise(seed));
        let (problems, fault) = judge(&text, &target, &image);
        prop_assert!(!problems.is_empty() || fault.is_none(), "{}: {:?}", text, fault);
    }
}

#[test]
fn the_random_commands_are_good_and_bad() {
    let (target, image) = machine();
    let mut runner = TestRunner::deterministic();
    for template in COMMANDS {
        let mut sound = 0;
        for _ in 0..200 {
            let seed = any::<u64>()
                .new_tree(&mut runner)
                .expect("a number")
                .current();
            let text = command(template, &mut Noise(seed));
            sound += usize::from(judge(&text, &target, &image).0.is_empty());
        }
        let never = template.contains("kind=rms eps=1e-5 src={f32,f16 n} beta");
        assert!(
            never == (sound == 0) || sound > 3,
            "{sound} of 200: {template}"
        );
        assert!(sound < 190, "{sound} of 200: {template}");
    }
}
