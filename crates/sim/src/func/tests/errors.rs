//! Bad programs and bad inputs are errors.

use packwright_packet::defs::{Command, Fill, Gather, Matmul, Quantize, Softmax};
use packwright_packet::operand::{Affine, DramRef, Elem, Hold, Reg, RegionId, UnaryFn, View};
use packwright_packet::program::{Constants, Entry, Program, Region, RegionKind, Register};

use super::scratch::{SRAM, Scratch, bare, load, port, program, region, store};
use crate::func::{FuncError, Machine};

/// Copies `x` to `y`.
fn echo() -> Program {
    let entry = Entry {
        registers: vec![Register {
            name: "length".into(),
            max: 5,
        }],
        regions: vec![
            region("x", RegionKind::Input, 0, 8),
            region("y", RegionKind::Output, 8, 8),
            region("packets", RegionKind::Packets, 16, 8),
        ],
        inputs: vec![port("x", 0, 8)],
        outputs: vec![port("y", 1, 8)],
        ..bare(vec![load(0, 0, 8), store(1, 0, 8)])
    };
    program(vec![entry], vec![])
}

fn run(program: &Program, inputs: &[(&str, &[u8])], registers: &[u64]) -> Result<(), FuncError> {
    let mut machine = Machine::with_sram(program, 64)?;
    machine
        .run(&program.entries[0], inputs, registers)
        .map(|_| ())
}

fn slug(result: Result<(), FuncError>) -> &'static str {
    result.err().map_or("ok", |error| {
        assert!(!error.to_string().is_empty() && !error.help().is_empty());
        error.slug()
    })
}

/// Runs the echo with other commands.
fn slug_of(commands: Vec<Command>) -> &'static str {
    let mut program = echo();
    program.entries[0].packets[0].commands = commands;
    slug(run(&program, &[("x", &[0; 8])], &[0]))
}

#[test]
fn inputs_have_to_fit() {
    let program = echo();
    let x: (&str, &[u8]) = ("x", &[1; 8]);
    assert_eq!(slug(run(&program, &[x], &[5])), "ok");
    assert_eq!(slug(run(&program, &[], &[0])), "missing-inputs");
    assert_eq!(
        slug(run(&program, &[x, ("z", &[])], &[0])),
        "unknown-inputs"
    );
    assert_eq!(slug(run(&program, &[x, x], &[0])), "repeated-input");
    assert_eq!(slug(run(&program, &[("x", &[1; 7])], &[0])), "input-size");
    assert_eq!(slug(run(&program, &[x], &[])), "register-count");
    assert_eq!(slug(run(&program, &[x], &[6])), "register-too-large");
}

#[test]
fn ports_and_regions_have_to_fit() {
    let x: [(&str, &[u8]); 1] = [("x", &[1; 8])];
    let with = |change: &dyn Fn(&mut Program)| {
        let mut program = echo();
        change(&mut program);
        slug(run(&program, &x, &[0]))
    };
    assert_eq!(
        with(&|p| p.entries[0].inputs[0].region = RegionId(9)),
        "bad-port"
    );
    assert_eq!(
        with(&|p| p.entries[0].inputs[0].region = RegionId(1)),
        "bad-port"
    );
    assert_eq!(
        with(&|p| p.entries[0].outputs[0].region = RegionId(2)),
        "bad-port"
    );
    assert_eq!(
        with(&|p| p.entries[0].outputs[0].shape = vec![9]),
        "bad-port"
    );
    assert_eq!(
        with(&|p| p.entries[0].outputs[0].shape = vec![u64::MAX, 2]),
        "bad-port"
    );
    assert_eq!(
        with(&|p| p.entries[0].inputs[0].shape = vec![u64::MAX, 2]),
        "bad-port"
    );
    assert_eq!(
        with(&|p| p.entries[0].regions[1].bytes = u64::MAX),
        "no-memory"
    );
    let constants = |p: &mut Program, offset| {
        let weights = region("w", RegionKind::Weights, 64, 4);
        p.entries[0].regions.push(Region {
            constant_offset: Some(offset),
            ..weights
        });
    };
    assert_eq!(with(&|p| constants(p, 0)), "bad-region");
    assert_eq!(with(&|p| constants(p, u64::MAX)), "bad-region");
    let absent = |p: &mut Program| {
        constants(p, 0);
        p.constants = Constants::Absent { bytes: 4 };
    };
    assert_eq!(with(&absent), "absent-constants");
}

#[test]
fn transfers_stay_within_their_memories() {
    assert_eq!(slug_of(vec![load(0, 56, 8)]), "ok");
    assert_eq!(slug_of(vec![load(0, 57, 8)]), "outside-sram");
    assert_eq!(slug_of(vec![load(0, u64::MAX, 8)]), "address-overflow");
    assert_eq!(slug_of(vec![load(0, 0, 9)]), "outside-region");
    assert_eq!(slug_of(vec![load(7, 0, 1)]), "unknown-region");
    assert_eq!(slug_of(vec![load(2, 0, 1)]), "empty-region");
    assert_eq!(slug_of(vec![store(0, 0, 1)]), "read-only-region");
    assert_eq!(slug_of(vec![store(2, 0, 1)]), "read-only-region");
    assert_eq!(slug_of(vec![store(1, 60, 8)]), "outside-sram");
    assert_eq!(slug_of(vec![store(1, 0, 9)]), "outside-region");
    let Command::Load(mut repeated) = load(0, 0, 4) else {
        return;
    };
    repeated.block.count[0] = Affine::constant(u64::MAX);
    assert_eq!(slug_of(vec![Command::Load(repeated)]), "self-overlap");
}

#[test]
fn gathers_stay_within_their_table() {
    let gather = Gather {
        dst: 0u64.into(),
        dst_pitch: 4,
        table: DramRef {
            region: RegionId(0),
            offset: 0u64.into(),
        },
        row_bytes: 4,
        row_pitch: 4,
        table_rows: 2,
        index: View::row(Elem::I64, 32u64),
        count: 2u64.into(),
    };
    let slug = |change: &dyn Fn(&mut Gather)| {
        let mut gather = gather.clone();
        change(&mut gather);
        slug_of(vec![Command::Gather(gather)])
    };
    assert_eq!(slug(&|_| {}), "ok");
    assert_eq!(slug(&|g| g.table_rows = 3), "outside-region");
    assert_eq!(slug(&|g| g.table_rows = 0), "empty-table");
    assert_eq!(slug(&|g| g.row_pitch = 1 << 40), "outside-region");
    assert_eq!(slug(&|g| g.row_pitch = u64::MAX), "address-overflow");
    assert_eq!(slug(&|g| g.table_rows = u64::MAX), "address-overflow");
    assert_eq!(slug(&|g| g.index.elem = Elem::F32), "element-type");
    assert_eq!(slug(&|g| g.dst_pitch = 3), "self-overlap");
    assert_eq!(slug(&|g| g.dst = 30u64.into()), "overlap");
    assert_eq!(slug(&|g| g.count = u64::MAX.into()), "extent-too-large");
}

#[test]
fn numbers_have_to_make_sense() {
    let fill = |rows: Affine, addr: Affine| {
        let dst = View {
            addr,
            ..View::rows(Elem::F32, 0u64, 8)
        };
        slug_of(vec![Command::Fill(Fill {
            rows,
            cols: 2u64.into(),
            value: 1.0,
            dst,
            step: 0.0,
        })])
    };
    let of = |reg, scale| Affine {
        base: u64::MAX,
        term: Some((Reg(reg), scale)),
    };
    assert_eq!(fill(8u64.into(), 0u64.into()), "ok");
    assert_eq!(fill(9u64.into(), 0u64.into()), "outside-sram");
    assert_eq!(fill(u64::MAX.into(), 0u64.into()), "extent-too-large");
    assert_eq!(fill(of(1, 1), 0u64.into()), "unknown-register");
    assert_eq!(fill(2u64.into(), u64::MAX.into()), "address-overflow");
    let mut program = echo();
    let dst = View {
        addr: of(0, u64::MAX),
        ..View::rows(Elem::F32, 0u64, 8)
    };
    let (rows, cols) = (2u64.into(), 2u64.into());
    let fill = Command::Fill(Fill {
        rows,
        cols,
        value: 1.0,
        dst,
        step: 0.0,
    });
    program.entries[0].packets[0].commands = vec![fill];
    assert_eq!(
        slug(run(&program, &[("x", &[0; 8])], &[5])),
        "address-overflow"
    );
}

#[test]
fn products_have_to_be_whole() {
    let i8s = |addr: u64| View::rows(Elem::I8, addr, 16);
    let good = Matmul {
        m: 4u64.into(),
        n: 4u64.into(),
        k: 16u64.into(),
        a: i8s(0),
        b: i8s(1024),
        hold: Hold::B,
        group: 16u64.into(),
        a_scale: None,
        a_zero: 0,
        b_bits: 8,
        b_group: 16u64.into(),
        b_step: None,
        b_zero: None,
        b_scale: None,
        alpha: 1.0,
        bias: None,
        activation: UnaryFn::Identity,
        residual: None,
        acc: None,
        start: true,
        finish: true,
        out: View::rows(Elem::F32, 2048u64, 16),
        out_scale: 1.0,
    };
    let slug = |change: &dyn Fn(&mut Matmul)| {
        let mut command = good.clone();
        change(&mut command);
        slug(Scratch::new(0).run(&[Command::Matmul(command)]).map(|_| ()))
    };
    let sums = |elem| Some(View::rows(elem, 4096u64, 16));
    assert_eq!(slug(&|_| {}), "ok");
    assert_eq!(slug(&|c| c.a.elem = Elem::F16), "element-type");
    assert_eq!(slug(&|c| c.out.elem = Elem::I32), "element-type");
    assert_eq!(slug(&|c| c.acc = sums(Elem::F16)), "element-type");
    assert_eq!(slug(&|c| c.start = false), "missing-field");
    assert_eq!(slug(&|c| c.finish = false), "missing-field");
    assert_eq!(slug(&|c| c.group = 5u64.into()), "uneven-groups");
    assert_eq!(slug(&|c| c.group = 0u64.into()), "uneven-groups");
    let grouped = |c: &mut Matmul| {
        c.group = 8u64.into();
        c.acc = sums(Elem::I32);
    };
    assert_eq!(slug(&grouped), "unexpected-field");
    assert_eq!(slug(&|c| c.out.addr = 32u64.into()), "overlap");
    assert_eq!(
        slug(&|c| c.b.addr = (SRAM as u64 - 60).into()),
        "outside-sram"
    );
    assert_eq!(slug(&|c| c.k = (1u64 << 18).into()), "extent-too-large");
    let far = |c: &mut Matmul| c.a_scale = Some(View::row(Elem::F32, SRAM as u64));
    assert_eq!(slug(&far), "outside-sram");
}

#[test]
fn scales_go_with_int8_results() {
    let s = Scratch::new(0);
    let (rows, cols) = (2u64.into(), 8u64.into());
    let dst = View::rows(Elem::F32, 1024u64, 32);
    let softmax = Softmax {
        rows,
        cols,
        src: View::rows(Elem::F32, 0u64, 32),
        scale: 1.0,
        mask: None,
        row_mask: None,
        causal: None,
        window: None,
        always: 0u64.into(),
        col_scale: None,
        dst,
        dst_scale: None,
        log_sum: None,
    };
    let slug = |command| slug(s.run(&[command]).map(|_| ()));
    let int8 = View::rows(Elem::I8, 1024u64, 8);
    assert_eq!(slug(Command::Softmax(softmax.clone())), "ok");
    let missing = Softmax {
        dst: int8,
        ..softmax.clone()
    };
    assert_eq!(slug(Command::Softmax(missing)), "missing-field");
    let extra = Softmax {
        dst_scale: Some(View::rows(Elem::F32, 2048u64, 4)),
        ..softmax.clone()
    };
    assert_eq!(slug(Command::Softmax(extra)), "unexpected-field");
    let quantize = Quantize {
        rows,
        cols,
        src: softmax.src,
        dst: int8,
        group: 3u64.into(),
        dst_scale: Some(View::rows(Elem::F32, 2048u64, 8)),
        scale: 1.0,
        zero: None,
    };
    assert_eq!(slug(Command::Quantize(quantize.clone())), "uneven-groups");
    let float = Quantize {
        group: 4u64.into(),
        dst,
        ..quantize
    };
    assert_eq!(slug(Command::Quantize(float)), "element-type");
}
