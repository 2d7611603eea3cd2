//! Loads, stores and gathers.

use packwright_packet::defs::{Command, Gather, Load, Store};
use packwright_packet::operand::{Affine, Block, DramRef, Elem, Reg, RegionId};
use packwright_packet::program::{Region, RegionKind};

use super::scratch::{Noise, Scratch, Style, bare, load, port, program, put, region, store};
use crate::func::Machine;

/// A table of constants and an output.
fn regions(table: u64, output: u64) -> Vec<Region> {
    let weights = region("table", RegionKind::Embeddings, 0, table);
    let weights = Region {
        constant_offset: Some(16),
        ..weights
    };
    vec![weights, region("out", RegionKind::Output, 1 << 20, output)]
}

/// Runs commands between the table and the output.
fn execute(table: &[u8], output: u64, commands: Vec<Command>, registers: &[u64]) -> Vec<u8> {
    let mut constants = vec![0xee; 16];
    constants.extend_from_slice(table);
    let mut entry = bare(commands);
    entry.regions = regions(table.len() as u64, output);
    entry.outputs = vec![port("out", 1, output)];
    let name = String::from("position");
    entry.registers = registers
        .iter()
        .map(|_| packwright_packet::program::Register {
            name: name.clone(),
            max: 99,
        })
        .collect();
    let program = program(vec![entry], constants);
    let mut machine = Machine::with_sram(&program, 4096).expect("a small machine");
    let outputs = machine
        .run(&program.entries[0], &[], registers)
        .expect("a good program");
    outputs[0].bytes.clone()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = Noise(7);
    (0..bytes).map(|_| noise.bits() as u8).collect()
}

fn place(region: u16, offset: Affine) -> DramRef {
    DramRef {
        region: RegionId(region),
        offset,
    }
}

#[test]
fn blocks_move_in_four_dimensions() {
    let table = noise(600);
    let block = Block {
        count: [2, 3, 4].map(|c: u64| c.into()),
        bytes: Affine::constant(5),
        dram: [300, 100, 7],
        sram: [512, 128, 16],
    };
    let src = place(0, Affine::constant(3));
    let commands = vec![
        Command::Load(Load {
            dst: 8u64.into(),
            src,
            block,
        }),
        store(1, 0, 1024),
    ];
    let out = execute(&table, 1024, commands, &[]);
    let mut expected = vec![0; 1024];
    for (a, b, c) in (0..2).flat_map(|a| (0..3).flat_map(move |b| (0..4).map(move |c| (a, b, c)))) {
        let (to, from) = (
            8 + a * 512 + b * 128 + c * 16,
            3 + a * 300 + b * 100 + c * 7,
        );
        expected[to..to + 5].copy_from_slice(&table[from..from + 5]);
    }
    assert_eq!(out, expected);
}

#[test]
fn addresses_and_extents_follow_registers() {
    let table = noise(64);
    let of_r0 = |base, scale| Affine {
        base,
        term: Some((Reg(0), scale)),
    };
    let src = place(0, of_r0(4, 8));
    let block = Block::run(of_r0(0, 2));
    let commands = vec![
        Command::Load(Load {
            dst: of_r0(0, 16),
            src,
            block,
        }),
        Command::Store(Store {
            dst: place(1, of_r0(1, 1)),
            src: of_r0(0, 16),
            block,
        }),
    ];
    let out = execute(&table, 32, commands.clone(), &[3]);
    let mut expected = vec![0; 32];
    expected[4..10].copy_from_slice(&table[28..34]);
    assert_eq!(out, expected);
    assert_eq!(
        execute(&table, 32, commands, &[0]),
        vec![0; 32],
        "no byte is moved"
    );
}

#[test]
fn gather_wraps_and_clamps() {
    let table = noise(5 * 12);
    for elem in [Elem::I32, Elem::I64] {
        let mut s = Scratch::new(0);
        let index = s.room(elem, [1, 6], Style::Rows(0));
        for (j, x) in [0.0, 4.0, -1.0, -5.0, 5.0, -6.0].into_iter().enumerate() {
            put(&mut s.image, &index, 0, j, x);
        }
        // The indices come as the first bytes of the table's constants.
        let mut constants = s.image[..64].to_vec();
        constants.extend_from_slice(&table);
        let gather = Gather {
            dst: 256u64.into(),
            dst_pitch: 16,
            table: place(0, Affine::constant(64)),
            row_bytes: 10,
            row_pitch: 12,
            table_rows: 5,
            index,
            count: 6u64.into(),
        };
        let block = Block::rows(6u64, 10u64, 10, 16);
        let dst = place(1, Affine::constant(0));
        let commands = vec![
            load(0, 0, 64),
            Command::Gather(gather),
            Command::Store(Store {
                dst,
                src: 256u64.into(),
                block,
            }),
        ];
        let out = execute(&constants, 60, commands, &[]);
        for (i, row) in [0, 4, 4, 0, 4, 4].into_iter().enumerate() {
            assert_eq!(
                out[i * 10..][..10],
                table[row * 12..][..10],
                "{elem:?} row {i}"
            );
        }
    }
}
