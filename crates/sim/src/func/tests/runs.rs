//! Whole runs: ports, state, spreading over threads.

use packwright_packet::defs::{Command, Store, Unary};
use packwright_packet::operand::{Affine, Block, DramRef, Elem, Reg, RegionId, UnaryFn, View};
use packwright_packet::program::{Entry, Program, RegionKind, Register};

use super::scratch::{Scratch, Style, bare, load, port, program, region, store};
use crate::func::Machine;

/// Appends its input at a position of the state and returns all of the state.
fn appending() -> Program {
    let row = DramRef {
        region: RegionId(1),
        offset: Affine {
            base: 0,
            term: Some((Reg(0), 4)),
        },
    };
    let append = Command::Store(Store {
        dst: row,
        src: 0u64.into(),
        block: Block::run(4u64),
    });
    let entry = Entry {
        registers: vec![Register {
            name: "position".into(),
            max: 3,
        }],
        regions: vec![
            region("x", RegionKind::Input, 0, 8),
            region("cache", RegionKind::State, 64, 16),
        ],
        inputs: vec![port("x", 0, 4), port("cache", 1, 16)],
        outputs: vec![port("cache", 1, 16)],
        ..bare(vec![load(0, 0, 8), append])
    };
    program(vec![entry], vec![])
}

#[test]
fn state_outlives_a_run() {
    let program = appending();
    let entry = &program.entries[0];
    let mut machine = Machine::with_sram(&program, 64).expect("a small machine");
    let run = |machine: &mut Machine<'_>, x: u8, position| {
        let outputs = machine
            .run(entry, &[("x", &[x; 4])], &[position])
            .expect("a good run");
        outputs[0].bytes.clone()
    };
    run(&mut machine, 1, 0);
    let cache = run(&mut machine, 2, 1);
    assert_eq!(cache, [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(machine.state().get("cache"), Some(&cache[..]));
    let given = machine.run(entry, &[("cache", &[9; 16]), ("x", &[3; 4])], &[3]);
    let given = given.expect("state may be given");
    assert_eq!(
        given[0].bytes,
        [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 3, 3, 3, 3]
    );
    machine.clear_state();
    assert_eq!(run(&mut machine, 5, 0)[4..], [0; 12]);
}

#[test]
fn state_that_moves_is_refused() {
    let mut program = appending();
    let mut moved = program.entries[0].clone();
    moved.regions[1].address += 64;
    program.entries.push(moved);
    let mut machine = Machine::with_sram(&program, 64).expect("a small machine");
    machine
        .run(&program.entries[0], &[("x", &[1; 4])], &[0])
        .expect("a good run");
    let error = machine
        .run(&program.entries[1], &[("x", &[1; 4])], &[0])
        .expect_err("moved");
    assert_eq!(error.slug(), "moved-state");
    assert!(machine.state().get("cache").is_some(), "the state is kept");
}

#[test]
fn sram_is_cold_in_every_run() {
    let entry = Entry {
        regions: vec![
            region("x", RegionKind::Input, 0, 8),
            region("y", RegionKind::Output, 8, 8),
        ],
        inputs: vec![port("x", 0, 8)],
        outputs: vec![port("y", 1, 8)],
        ..bare(vec![store(1, 0, 8), load(0, 0, 8)])
    };
    let program = program(vec![entry], vec![]);
    let mut machine = Machine::with_sram(&program, 8).expect("a small machine");
    for _ in 0..2 {
        let outputs = machine
            .run(&program.entries[0], &[("x", &[7; 8])], &[])
            .expect("good");
        assert_eq!(outputs[0].bytes, [0; 8]);
    }
}

#[test]
fn large_commands_give_the_same_rows_as_small_ones() {
    let mut s = Scratch::new(1);
    let extents = [64, 500];
    let src = s.data(Elem::F32, extents, Style::Rows(0));
    let dst = s.room(Elem::F16, extents, Style::Rows(0));
    let unary = |src: View, dst: View, rows: u64| {
        let (rows, cols) = (Affine::constant(rows), Affine::constant(500));
        Command::Unary(Unary {
            rows,
            cols,
            func: UnaryFn::GeluErf,
            src,
            dst,
        })
    };
    let row = |view: View, i: u64| View {
        addr: Affine::constant(view.addr.base + i * u64::from(view.pitch)),
        ..view
    };
    let small: Vec<_> = (0..64)
        .map(|i| unary(row(src, i), row(dst, i), 1))
        .collect();
    assert!(s.run(&[unary(src, dst, 64)]) == s.run(&small));
}
