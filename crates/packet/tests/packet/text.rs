//! Programs and their text.

use bytes::Bytes;
use insta::assert_snapshot;
use packwright_packet::asm::{ParseError, assemble, assemble_command, constants_file};
use packwright_packet::disasm::{DisasmOptions, command_text, disassemble};
use packwright_packet::program::Constants;
use proptest::prelude::*;

use crate::strategy;

proptest! {
    #[test]
    fn programs_come_back(program in strategy::program()) {
        let text = disassemble(&program, &DisasmOptions::default());
        let constants = match &program.constants {
            Constants::Present(bytes) => Some(bytes.clone()),
            Constants::Absent { .. } => None,
        };
        let read = assemble(&text, constants);
        prop_assert_eq!(read.as_ref(), Ok(&program), "{}", text);
        prop_assert_eq!(constants_file(&text).is_some(), text.contains("\nconstants file "));
    }

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        let _ = assemble(&text, None);
    }

    #[test]
    fn damaged_text_is_survived(
        program in strategy::program(),
        at in any::<prop::sample::Index>(),
        with in any::<char>(),
    ) {
        let text = disassemble(&program, &DisasmOptions::default());
        let mut chars: Vec<_> = text.chars().collect();
        let at = at.index(chars.len());
        chars[at] = with;
        let _ = assemble(&chars.into_iter().collect::<String>(), None);
    }
}

const SMALL: &str = r#"
program "two layers"
  tool "packwright 0"
  precision "w8a8"
target
  |name = "tiny"
  |
constants hex 4
  |00 01 7f 80   ; weights
origin o0 layer="layer.0" what="ffn" nodes="/fc/MatMul","/fc/Add"

entry "main"
  bind "batch_size" 1
  register r0 "position" max=127
  region d0 weights "w" address=0x0 bytes=4 constant=0x0
  region d1 input "x" address=0x40 bytes=8
  region d2 output "y" address=0x80 bytes=16
  input "x" i8[2,4] d1
  output "y" f32[2,2] d2
  facts parameters=4 macs=16 weight_bytes=4 sram_peak=64
  bound dram_bytes=28 attainable_dram_bytes=28 seconds=1e-9 attainable_seconds=1e-9 binding_term="outputs"
  term "weights" 4
  packet p0 origin=o0 signal=t0
    load dst=0x0 src=d0 block=4
    load dst=0x40 src=d1+0x10+4*r0 block=1+1*r0(8:4)x4
  packet p1 origin=o0 priority=3 wait=t0 free=0x0+4,0x40+8
    ;; the product
    matmul m=2 n=2 k=2 a=i8@0x40:4 b=i8@0x0:1/2 group=2 start=true finish=false acc=i32@0x80:8 out=f32@0xc0:8
"#;

#[test]
fn text_is_readable() {
    let program = assemble(SMALL, None).expect("a program");
    assert_snapshot!(disassemble(&program, &DisasmOptions::default()), @r#"
    program "two layers"
    tool "packwright 0"
    precision "w8a8"
    target
      |name = "tiny"
      |
    constants hex 4
      |00017f80
    origin o0 layer="layer.0" what="ffn" nodes="/fc/MatMul","/fc/Add"

    entry "main"
      bind "batch_size" 1
      register r0 "position" max=127
      region d0 weights "w" address=0x0 bytes=4 constant=0x0
      region d1 input "x" address=0x40 bytes=8
      region d2 output "y" address=0x80 bytes=16
      input "x" i8[2,4] d1
      output "y" f32[2,2] d2
      facts parameters=4 macs=16 weight_bytes=4 sram_peak=64
      bound dram_bytes=28 attainable_dram_bytes=28 seconds=1e-9 attainable_seconds=1e-9 binding_term="outputs"
      term "weights" 4
      packet p0 origin=o0 signal=t0
        load dst=0x0 src=d0 block=4
        load dst=0x40 src=d1+0x10+4*r0 block=1+1*r0(8:4)x4
      packet p1 origin=o0 priority=3 wait=t0 free=0x0+4,0x40+8
        matmul m=2 n=2 k=2 a=i8@0x40:4 b=i8@0x0:1/2 acc=i32@0x80:8 finish=false out=f32@0xc0:8
    "#);
}

fn errors(text: &str) -> String {
    let errors = assemble(text, None).expect_err("a wrong text");
    errors
        .iter()
        .map(ParseError::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn all_errors_are_reported() {
    let text = r#"
program "x" y
constants hex 2
  |00
origin o1 layer="a"
  bind "batch" 1
entry "main"
  register r0 "n" max=ten
  region d0 weight "w" address=0x0 bytes=4
  input "x" i7[1] d0
    load dst=0 src=d0 block=4
  packet p0 origin=3 wait=t0,5 colour=red
    load dst=0 block=4(1:2 dst=1
    loda dst=0
    fill rows=1 cols=1 value=nan dst=f32@0:4
facts parameters=1
"#;
    assert_snapshot!(errors(text), @r"
    2:13: asm-syntax: expected the end of the line, found y
    4:1: asm-constants: expected 1 bytes more, found the end of the line
    5:8: asm-order: expected the next index, o0, found o1
    6:3: asm-syntax: expected a line `entry` before what belongs to one, found bind
    8:23: asm-syntax: expected a number below 2^64, found ten
    9:13: asm-syntax: expected kind of region (weights, embeddings, input, output, spill, state, packets), found weight
    10:13: asm-syntax: expected element type (i8, i32, i64, f16, f32), found i7[1]
    11:5: asm-syntax: expected a line `packet` before a command, found load
    12:20: asm-syntax: expected `o`, found 3
    12:30: asm-syntax: expected a token such as t7, found 5
    12:32: asm-unknown: expected no word `colour` in packet, found colour=red
    13:5: asm-missing: expected a word src=…, found load
    13:27: asm-syntax: expected `)x`, found the end of the line
    13:28: asm-repeated: expected `dst` once only, found dst=1
    13:28: asm-unknown: expected no word `dst` in load, found dst=1
    14:5: asm-statement: expected a command, or another first word of a line, found loda
    15:30: asm-syntax: expected a number such as 1.0 or 1e-5, inf, or nan:0x7fc00000, found nan
    16:1: asm-missing: expected a word macs=…, found facts
    16:1: asm-missing: expected a word weight_bytes=…, found facts
    16:1: asm-missing: expected a word sram_peak=…, found facts
    ");
}

#[test]
fn a_referred_file_must_fit() {
    let text = "program \"x\"\nconstants file \"w.bin\" bytes=3 crc32=0x352441c2\n";
    assert_eq!(constants_file(text).as_deref(), Some("w.bin"));
    assert!(assemble(text, Some(Bytes::from_static(b"abc"))).is_ok());
    assert_snapshot!(errors(text), @"2:1: asm-constants: expected the bytes of the constants, given with the text, found constants");
    let other = assemble(text, Some(Bytes::from_static(b"abd"))).expect_err("another file");
    assert_eq!(other[0].code, "asm-constants");
}

#[test]
fn defaults_are_left_out() {
    let text = "quantize rows=4 cols=8 src=f16@0x0:16 dst=i8@0x40:8 group=8 scale=1.0";
    let command = assemble_command(text).expect("a command");
    assert_snapshot!(command_text(&command), @"quantize rows=4 cols=8 src=f16@0x0:16 dst=i8@0x40:8");
    let nan =
        assemble_command("fill rows=1 cols=1 value=nan:0xffc00001 dst=f32@0:4").expect("a command");
    assert_snapshot!(command_text(&nan), @"fill rows=1 cols=1 value=nan:0xffc00001 dst=f32@0x0:4");
}
