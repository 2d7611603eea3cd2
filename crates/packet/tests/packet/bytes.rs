//! Packets and their bytes.

use packwright_packet::asm::assemble_command;
use packwright_packet::decode::{DecodeError, decode_stream};
use packwright_packet::defs::{Command, TABLE};
use packwright_packet::encode::{encode_packet, encode_stream, packet_sizes};
use packwright_packet::packet::{OriginId, Packet, SramRange, Token};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategy;

proptest! {
    #[test]
    fn packets_come_back(packets in vec(strategy::packet(), 0..6)) {
        let bytes = encode_stream(&packets);
        let sizes = packet_sizes(&packets);
        prop_assert_eq!(sizes.iter().map(|&size| size as usize).sum::<usize>(), bytes.len());
        let decoded = decode_stream(&bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&packets));
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode_stream(&bytes);
    }

    #[test]
    fn damaged_packets_are_survived(
        packet in strategy::packet(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let mut bytes = Vec::new();
        encode_packet(&packet, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = decode_stream(&bytes);
        bytes.truncate(at);
        prop_assert!(at == 0 || decode_stream(&bytes).is_err());
    }
}

/// A packet around commands given as text.
fn packet(commands: &[&str]) -> Packet {
    let command = |text: &&str| assemble_command(text).expect("a command");
    Packet {
        origin: OriginId(17),
        priority: 0,
        waits: vec![Token(4998), Token(4990)],
        signals: vec![Token(5000)],
        frees: vec![SramRange {
            addr: 0x40000,
            bytes: 0x4000,
        }],
        commands: commands.iter().map(command).collect(),
    }
}

#[test]
fn packets_are_small() {
    let loading = packet(&["load dst=0x20000 src=d2+0x123400 block=64(1536:1536)x384"]);
    let matmul = packet(
        &["matmul m=128 n=64 k=384 a=i8@0x8000:384 b=i8@0x20000:384 \
        a_scale=f32@0x100:4 b_scale=f32@0x300:0 bias=f32@0x400:0 activation=gelu_erf \
        out=i8@0x40000:1536 out_scale=0.02"],
    );
    assert_eq!(packet_sizes(&[loading, matmul]), [27, 48]);
}

#[test]
fn lying_counts_allocate_nothing() {
    let mut bytes = vec![12, 0b11_000000, 0, 0];
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(
        decode_stream(&bytes),
        Err(DecodeError::Truncated { at: 13 })
    );
}

#[test]
fn every_error_has_its_place() {
    let slug = |bytes: &[u8]| decode_stream(bytes).expect_err("wrong bytes").slug();
    assert_eq!(
        decode_stream(&[4, 0x40, 0, 0, 0xee]),
        Err(DecodeError::Opcode {
            at: 4,
            opcode: 0xee
        })
    );
    assert_eq!(slug(&[4, 0x40, 0, 0]), "packet-truncated");
    assert_eq!(slug(&[4, 0, 0, 0, 0]), "packet-trailing");
    let mut bytes = Vec::new();
    encode_packet(
        &packet(&["unary rows=1 cols=1 func=relu src=i8@0x0:0 dst=f32@0x0:0"]),
        &mut bytes,
    );
    let func = bytes.len() - 5;
    bytes[func] = 99;
    assert_eq!(slug(&bytes), "packet-code");
}

#[test]
fn optional_fields_have_the_default_none() {
    for def in TABLE {
        for field in def.fields {
            assert_eq!(
                field.ty.starts_with("Option"),
                field.default == Some("None"),
                "{}",
                field.name
            );
        }
    }
}

#[test]
fn opcodes_are_unique_and_ascend() {
    let opcodes: Vec<_> = TABLE.iter().map(|def| def.opcode).collect();
    assert!(opcodes.is_sorted_by(|a, b| a < b));
    let fill = assemble_command("fill rows=1 cols=1 value=0.0 dst=f32@0x0:4").expect("a command");
    assert!(matches!(fill, Command::Fill(_)));
}
