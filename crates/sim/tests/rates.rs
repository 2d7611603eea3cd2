//! Each command on `e2` takes the cycles that the documented table of rates says, computed by hand here.

use std::collections::BTreeSet;

use packwright_packet::asm::assemble;
use packwright_packet::defs::{TABLE, Unit};
use packwright_sim::part::rates;
use packwright_sim::{Options, simulate};
use packwright_target::Target;

/// Cycles of one command, without what the SRAM ports could hold it up.
fn cycles(command: &str, settings: &[&str]) -> u64 {
    let text = format!(
        "program \"one\"\ntool \"test\"\nprecision \"w8a8\"\ntarget\n  |name = \"e2\"\nconstants absent 0\n\
         origin o0 layer=\"a\" what=\"work\"\n\nentry \"main\"\n  region d0 packets \"packets\" address=0x0 bytes=4096\n  \
         packet p0 origin=o0\n    {command}\n"
    );
    let program = assemble(&text, None).unwrap_or_else(|errors| panic!("{command}: {errors:#?}"));
    let mut target = Target::preset("e2").expect("is a preset");
    for setting in settings {
        target.set(setting).expect("is a field");
    }
    let options = Options {
        spans: true,
        ..Options::default()
    };
    let report = simulate(&program, &program.entries[0], &target, &options).expect("runs");
    let span = &report.spans[0];
    assert_eq!(span.mnemonic, command.split(' ').next().expect("a word"));
    span.end - span.start
}

const ROWS: u64 = 32;
const COLS: u64 = 64;
const ALL: u64 = ROWS * COLS;
/// A reduction and a function of a row, in lane cycles.
const REDUCTION: u64 = 16;
const FUNCTION: u64 = 4;

#[test]
fn commands_take_what_the_table_says() {
    let src = "src=f32@0x0:256";
    let dst = "dst=f32@0x10000:256";
    let to_i8 = "dst=i8@0x10000:64 dst_scale=f32@0x20000:4";
    let unary = |func: &str| format!("unary func={func} {src} {dst}");
    let binary = |func: &str| format!("binary func={func} a=f32@0x0:256 b=f32@0x8000:256 {dst}");
    let vectors = "gamma=f32@0x8000:0 beta=f32@0x9000:0";
    let cases: [(String, u64); 34] = [
        (unary("identity"), ALL),
        (unary("relu"), ALL),
        (unary("exp"), 4 * ALL),
        (unary("rsqrt"), 4 * ALL),
        (unary("sigmoid"), 4 * ALL),
        (unary("silu"), 5 * ALL),
        (unary("gelu_erf"), 8 * ALL),
        (unary("gelu_tanh"), 12 * ALL),
        (binary("add"), ALL),
        (binary("less"), ALL),
        (binary("div"), 4 * ALL),
        (binary("pow"), 9 * ALL),
        (
            format!("select cond=i8@0x20000:64 a=f32@0x0:256 b=f32@0x8000:256 {dst}"),
            ALL,
        ),
        (format!("fill value=1.0 {dst}"), ALL),
        (
            format!("norm kind=layer eps=1e-5 {src} {dst}"),
            5 * ALL + ROWS * (2 * REDUCTION + FUNCTION),
        ),
        (
            format!("norm kind=layer eps=1e-5 {src} {vectors} {dst}"),
            7 * ALL + ROWS * (2 * REDUCTION + FUNCTION),
        ),
        (
            format!("norm kind=rms eps=1e-5 {src} {dst}"),
            3 * ALL + ROWS * (REDUCTION + FUNCTION),
        ),
        (
            format!("softmax {src} {dst}"),
            8 * ALL + ROWS * (2 * REDUCTION + FUNCTION),
        ),
        (
            format!("softmax {src} scale=0.125 {dst}"),
            9 * ALL + ROWS * (2 * REDUCTION + FUNCTION),
        ),
        (
            format!("softmax {src} mask=f32@0x8000:0 {dst}"),
            9 * ALL + ROWS * (2 * REDUCTION + FUNCTION),
        ),
        (
            format!("softmax {src} row_mask=f32@0x8000:4 col_scale=f32@0x9000:0 {dst}"),
            10 * ALL + ROWS * (2 * REDUCTION + FUNCTION),
        ),
        (
            format!("softmax {src} {to_i8}"),
            10 * ALL + ROWS * (3 * REDUCTION + 2 * FUNCTION),
        ),
        (
            format!("softmax {src} {dst} log_sum=f32@0x20000:4"),
            8 * ALL + ROWS * (2 * REDUCTION + 2 * FUNCTION),
        ),
        (
            format!("quantize {src} {to_i8}"),
            3 * ALL + ROWS * (REDUCTION + FUNCTION),
        ),
        (
            format!("quantize {src} group=16 dst=i8@0x10000:64 dst_scale=f32@0x20000:16"),
            3 * ALL + 4 * ROWS * (REDUCTION + FUNCTION),
        ),
        (
            format!("quantize {src} dst=i8@0x10000:64 scale=0.5"),
            2 * ALL,
        ),
        (
            format!("dequantize src=i8@0x0:64 scale=f32@0x8000:4/0 {dst}"),
            ALL,
        ),
        (
            format!("dequantize src=i8@0x0:64 scale=f32@0x8000:4/0 addend=f32@0x9000:256 {dst}"),
            2 * ALL,
        ),
        (
            format!("rotary layout=half {src} cos=f32@0x8000:128 sin=f32@0x9000:128 {dst}"),
            3 * ALL,
        ),
        (
            format!("reduce kind=max {src} dst=f32@0x10000:4"),
            ALL + ROWS * REDUCTION,
        ),
        (
            format!("reduce kind=sum_squares {src} dst=f32@0x10000:4"),
            2 * ALL + ROWS * REDUCTION,
        ),
        (format!("copy {src} {dst}"), ALL),
        // Six levels of a network over 64 elements: 1 + 2 + … + 6 steps.
        (format!("sort {src} dst=i32@0x10000:256"), 21 * ALL),
        (format!("scan {src} {dst}"), 5 * ALL),
    ];
    let wide = ["sram.bank_bytes_per_cycle=4096"];
    for (fields, lane_cycles) in cases {
        let (mnemonic, rest) = fields.split_once(' ').expect("two words");
        let command = format!("{mnemonic} rows={ROWS} cols={COLS} {rest}");
        assert_eq!(
            cycles(&command, &wide),
            12 + lane_cycles.div_ceil(64),
            "{command}"
        );
    }
    let table = "index=i32@0x0:128 table=f32@0x8000:256 table_rows=100";
    for command in [
        format!("lookup rows={ROWS} cols={COLS} {table} {dst}"),
        format!("scatter rows={ROWS} cols={COLS} {table} src=f32@0x10000:256"),
    ] {
        assert_eq!(cycles(&command, &wide), 12 + ALL / 64, "{command}");
    }
}

#[test]
fn the_table_names_every_command_of_the_vector_unit() {
    let vector = TABLE.iter().filter(|def| def.unit == Unit::Vector);
    let commands: BTreeSet<&str> = vector.map(|def| def.mnemonic).collect();
    let rows: BTreeSet<&str> = rates::TABLE.iter().map(|row| row.command).collect();
    assert_eq!(commands, rows);
    let page = rates::rates_md();
    for row in rates::TABLE {
        let start = format!(
            "| `{}` | {} | {} |",
            row.command, row.what, row.rate.element
        );
        assert_eq!(page.matches(&start).count(), 1, "{start}");
    }
}

#[test]
fn groups_shorter_than_the_array_are_charged() {
    let product = |group: u64, settings: &[&str]| {
        let command = format!(
            "matmul m=128 n=128 k=256 a=i8@0x0:256 b=i8@0x10000:256 group={group} a_scale=f32@0x20000:{} out=f32@0x40000:512",
            4 * 256 / group
        );
        cycles(
            &command,
            &[settings, &["sram.bank_bytes_per_cycle=4096"]].concat(),
        )
    };
    let whole = product(256, &[]);
    assert_eq!(product(64, &[]), whole);
    // Eight folds of 128 rows that take two cycles each.
    assert_eq!(product(32, &[]), whole + 8 * 128);
    assert_eq!(product(16, &[]), whole + 8 * 3 * 128);
    assert_eq!(product(16, &["matrix.taps=4"]), whole);
}

#[test]
fn a_pitch_of_all_banks_is_slower_than_one_of_a_word_more() {
    let copy = |pitch: u64| {
        cycles(
            &format!("copy rows=256 cols=8 src=f32@0x0:{pitch} dst=f32@0x80000:32"),
            &[],
        )
    };
    // Rows of a word of 32 bytes in one of 16 banks: a word a cycle, and the result's word each sixteenth cycle.
    assert_eq!(copy(512), 256 + 16);
    assert_eq!(copy(544), 12 + 256 * 8 / 64);
}
