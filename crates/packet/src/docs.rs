//! The page of packets, generated from the table of commands.

use crate::check::RULES;
use crate::defs::{CommandDef, FieldDef, TABLE, Unit};
use crate::operand::{BinaryFn, Elem, Hold, NormKind, ReduceKind, RotaryLayout, UnaryFn};
use crate::program::RegionKind;
use crate::spelling::Spelled;

const HEAD: &str = "# Packets

Generated from the table in `crates/packet/src/defs.rs` by `cargo xtask docs`.

A packet is a fragment of the data with all that it depends on, and the commands that carry it through a
piece of the network. Its commands run one after the other; packets overlap. An example written by hand is
`crates/packet/tests/data/two-layers.packets`; `packwright dis` prints any program in this form, and
`packwright asm` reads it.

## Text

One thing stands on a line. Indentation means nothing, `;` starts a comment. Numbers are decimal or
hexadecimal (`0x40`).

| line | meaning |
|---|---|
| `program \"name\"`, `tool \"…\"`, `precision \"…\"` | name of the model, version of the tool, label of the precision; only the first is required |
| `target` | the machine in TOML, on the lines below, each after a `\\|` |
| `constants absent 64` | the size of the constants, whose bytes are not at hand |
| `constants hex 4` | the bytes of the constants, in hex digits on the lines below, each after a `\\|` |
| `constants file \"w.bin\" bytes=… crc32=…` | the constants are the bytes of a file |
| `origin o0 layer=\"…\" what=\"…\" nodes=\"…\",\"…\"` | a row of the table that packets are charged to |
| `entry \"name\"` | one way to run the program; all lines below belong to an entry |
| `bind \"axis\" 128` | a dynamic axis with the extent that the entry is compiled for |
| `register r0 \"position\" max=127` | an integer that is given at run time |
| `region d0 weights \"w\" address=0x0 bytes=64 constant=0x0` | a range of DRAM and, for weights and embeddings, its place in the constants |
| `input \"x\" f32[8,16] d1`, `output \"y\" f32[8,16] d2` | inputs and outputs with type, shape and region |
| `facts …`, `bound …`, `term \"name\" 12` | what the compiler knows about the model and its least cost, for reports |
| `packet p0 origin=o0 priority=1 wait=t0,t1 signal=t2 free=0x200+512` | a packet; the lines below are its commands |

**Packets.** The index `p0` may be left out, as may all of the other words. `origin` is the layer that is
charged. `priority` decides between packets that are ready for the same unit: the higher goes first, then the
earlier. A token is signalled by one packet, when its last command is done, and waited for by later packets
only. `free` names SRAM that nobody reads after the packet.

**Commands.** A mnemonic and fields, in any order. A field that has a default is left out, in text and bytes,
where it equals the default.

**Addresses.** SRAM addresses are bytes. A DRAM place is a region of the entry and an offset (`d0+0x40`).
Extents and addresses may be affine in one register (`8+2*r0`, `4*r0`).

**Views.** `f16@0x400:768` is f16 rows from byte 0x400, 768 bytes apart; `:0` repeats one row; `:768/4` puts
the elements of a row 4 bytes apart, `/0` repeats one element. A transposed operand has the size of an element
between rows and the distance of its rows between elements (`i8@0x0:1/16`).

**Blocks.** `block=64` moves 64 contiguous bytes, `block=32(384:388)x384` moves 32 runs of 384 bytes, 384 bytes
apart in DRAM and 388 in SRAM; up to three such dimensions may stand before the bytes of a run.
";

const BYTES: &str = "
## Bytes

```text
packet  = length · counts · origin · priority · [long counts] · signals · waits · frees · commands
command = opcode · [mask of the fields that differ from their defaults] · fields
```

Numbers are little-endian in base 128: seven bits a byte, the top bit says that another byte follows. `length`
counts the bytes behind it. `counts` is a byte with two bits each for waits, signals, frees and commands, where 3
says that the number follows as a long count. Tokens are differences: the first signal as it is, the first wait
against the first signal, every other against its neighbour; 0, -1, 1, -2, … are stored as 0, 1, 2, 3, …
Addresses and strides that are multiples of 64 lose their zeros (`value / 64 * 2`, others `value * 2 + 1`). There is
one form for each program; another is refused.

| type | bytes |
|---|---|
| `u32`, `u64` | a number |
| `f32` | four bytes, little-endian |
| `bool`, words | one byte: 0 or 1, the position in the list of words |
| `Affine` | the number `base * 2 + t`; with t = 1 the register's byte and the scale follow |
| `View` | a byte (bits 0–2 element type, 3 step is 0, 4 step follows, 5 pitch is 0, 6 register follows), address, [register, scale], [pitch], [step] |
| `DramRef` | the number `region * 2 + t`, offset, with t = 1 register and scale |
| `Block` | a byte with a bit for each dimension that is used, bytes of a run, then count and strides in DRAM and SRAM of each |
| `Option<…>` | as its contents, where its bit of the mask is set |

## File

```text
 0  magic \"PKWRNPU\\0\"        32  section: kind u32, entry u32, offset u64, length u64,
 8  version u32                           crc32 u32, zero u32
12  number of sections u32   64  section …
16  length of the file u64
24  crc32 of header and table, this field taken as zero
28  zero u32
```

All of these numbers are little-endian. Sections are the manifest (kind 1, a protobuf message: all but packets and
constants), the packets of each entry (kind 2) and the constants if present (kind 3), each at the next multiple of
64 with zeros between. Every byte is covered by a checksum or is a checked zero; the same program gives the same
bytes.
";

/// The page in Markdown.
pub fn packets_md() -> String {
    let mut page = HEAD.to_owned();
    for (unit, title) in [
        (Unit::Dma, "DMA commands"),
        (Unit::Matrix, "Matrix commands"),
        (Unit::Vector, "Vector commands"),
    ] {
        page.push_str(&format!("\n## {title}\n"));
        for command in TABLE.iter().filter(|command| command.unit == unit) {
            push_command(command, &mut page);
        }
    }
    page.push_str("\n## Words\n\n| set | words, in the order of their codes |\n|---|---|\n");
    push_words::<Elem>("Elem", &mut page);
    push_words::<RegionKind>("RegionKind", &mut page);
    push_words::<UnaryFn>("UnaryFn", &mut page);
    push_words::<BinaryFn>("BinaryFn", &mut page);
    push_words::<NormKind>("NormKind", &mut page);
    push_words::<ReduceKind>("ReduceKind", &mut page);
    push_words::<RotaryLayout>("RotaryLayout", &mut page);
    push_words::<Hold>("Hold", &mut page);
    push_rules(&mut page);
    page.push_str(BYTES);
    page
}

/// The words of a closed set.
fn push_words<T: Spelled>(name: &str, page: &mut String) {
    let words: Vec<_> = T::ALL
        .iter()
        .map(|word| format!("`{}`", word.name()))
        .collect();
    let what = T::WHAT;
    page.push_str(&format!("| {what}, `{name}` | {} |\n", words.join(" ")));
}

/// What a program must obey.
fn push_rules(page: &mut String) {
    page.push_str(
        "\n## Rules\n\nA program is checked before it runs. Registers are taken at their declared maxima, and only \
         tokens order\npackets.\n\n| code | rule |\n|---|---|\n",
    );
    for rule in RULES {
        page.push_str(&format!("| `{}` | {} |\n", rule.slug, rule.rule));
    }
}

fn push_command(command: &CommandDef, page: &mut String) {
    let CommandDef {
        mnemonic,
        opcode,
        doc,
        fields,
        ..
    } = command;
    page.push_str(&format!(
        "\n### {mnemonic}\n\nOpcode 0x{opcode:02x}. {}\n",
        flat(doc)
    ));
    page.push_str("\n| field | type | default | meaning |\n|---|---|---|---|\n");
    for field in *fields {
        let FieldDef {
            name,
            ty,
            default,
            doc,
        } = field;
        let default =
            default.map_or_else(String::new, |value| format!("`{}`", default_text(value)));
        page.push_str(&format!(
            "| {name} | `{}` | {default} | {} |\n",
            flat(ty),
            flat(doc)
        ));
    }
}

/// A default as it would stand in the text: `*k` is the field k, `Hold::B` the word `b`.
fn default_text(expression: &str) -> String {
    let expression = flat(expression);
    match expression.split_once("::") {
        Some((_, variant)) => variant.trim().to_lowercase(),
        None => expression
            .trim_start_matches(['*', ' '])
            .replace("None", "none"),
    }
}

/// One line, without spaces at its ends.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_field_stands_on_the_page() {
        let page = packets_md();
        for command in TABLE {
            assert!(page.contains(&format!("### {}\n", command.mnemonic)));
            for field in command.fields {
                assert!(
                    page.contains(&format!("| {} | ", field.name)),
                    "{}",
                    field.name
                );
            }
        }
        for rule in RULES {
            assert!(page.contains(&format!("| `{}` | ", rule.slug)));
        }
    }

    #[test]
    fn defaults_stand_as_in_the_text() {
        let texts = ["* k", "Hold :: B", "UnaryFn::Identity", "None", "1.0"].map(default_text);
        assert_eq!(texts, ["k", "b", "identity", "none", "1.0"]);
    }

    #[test]
    fn the_file_is_drawn_as_in_the_container() {
        let container = include_str!("container.rs");
        let (_, drawing) = BYTES.split_once("## File\n\n```text\n").expect("a drawing");
        for line in drawing.lines().take_while(|line| *line != "```") {
            assert!(container.contains(&format!("//! {line}\n")), "{line}");
        }
    }
}
