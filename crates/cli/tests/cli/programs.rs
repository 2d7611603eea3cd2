//! A small program: two rows that are brought in, made positive and stored.

use packwright::packet::asm;
use packwright::packet::container;
use packwright::target::Target;

/// The text of the program, for the target `tiny`.
pub fn text() -> String {
    let target = Target::preset("tiny").expect("preset").to_toml();
    let target: String = target
        .split('\n')
        .map(|line| format!("  |{line}\n"))
        .collect();
    format!(
        r#"program "relu"
tool "test"
precision "w8a8"
target
{target}constants absent 0
origin o0 layer="layer.0" what="elementwise"

entry "main"
  region d0 input "x" address=0x0 bytes=32
  region d1 output "y" address=0x40 bytes=32
  input "x" f32[2,4] d0
  output "y" f32[2,4] d1
  packet p0 origin=o0 signal=t0
{LOAD}
  packet p1 origin=o0 wait=t0 signal=t1
{RELU}
  packet p2 origin=o0 wait=t1
{STORE}
"#
    )
}

const LOAD: &str = "    load dst=0x0 src=d0 block=32";
const RELU: &str = "    unary rows=2 cols=4 func=relu src=f32@0x0:16 dst=f32@0x20:16";
const STORE: &str = "    store dst=d1 src=0x20 block=32";

/// The bytes of the program's file.
pub fn bytes() -> Vec<u8> {
    let program = asm::assemble(&text(), None).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let mut bytes = Vec::new();
    container::write(&program, &mut bytes).expect("writes to memory");
    bytes
}
