//! The page of packets, generated from the table of commands.

use crate::defs::{CommandDef, FieldDef, TABLE, Unit};

const HEAD: &str = "# Packets

Generated from the table in `crates/packet/src/defs.rs` by `cargo xtask docs`.

A packet is a fragment of the data with all that it depends on, and the commands that carry it through a
piece of the network. Its header names its origin (the layer that is charged for it), a priority, tokens to
wait for and to signal, and SRAM that nobody reads after it. Its commands run one after the other; packets
overlap. A token is signalled by one packet, when its last command is done, and waited for by later packets
only.

**Addresses.** SRAM addresses are bytes. A DRAM place is a region of the entry and an offset (`d0+0x40`).
Extents and addresses may be affine in one register (`8+2*r0`).

**Views.** `f16@0x400:768` is f16 rows from byte 0x400, 768 bytes apart; `:0` repeats one row; `:768/4` puts
the elements of a row 4 bytes apart, `/0` repeats one element.

**Blocks.** `block=32(388:388)x388` moves 32 runs of 388 bytes, 388 bytes apart in SRAM and in DRAM.

A field that has a default is left out, in text and bytes, where it equals the default.
";

/// The page in Markdown.
pub fn packets_md() -> String {
    let mut page = HEAD.to_owned();
    for (unit, title) in [
        (Unit::Dma, "DMA"),
        (Unit::Matrix, "Matrix array"),
        (Unit::Vector, "Vector unit"),
    ] {
        page.push_str(&format!("\n## {title}\n"));
        for command in TABLE.iter().filter(|command| command.unit == unit) {
            push_command(command, &mut page);
        }
    }
    page
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
        let default = default.map_or_else(String::new, |value| format!("`{}`", flat(value)));
        page.push_str(&format!(
            "| {name} | `{}` | {default} | {} |\n",
            flat(ty),
            flat(doc)
        ));
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
    }
}
