//! Codes of readers and runs of programs, whose errors are types instead of tables.

use packwright_ir::diag::CodeDoc;

use super::doc;

/// Codes of readers and runs, whose errors are types instead of tables.
pub const CODES: &[CodeDoc] = &[
    doc(
        "npu-truncated",
        "The program file ends early.",
        "It was cut short: copy or compile it again.",
    ),
    doc(
        "npu-bad-magic",
        "The file is no program.",
        "A program is what `packwright compile` or `packwright asm` has written.",
    ),
    doc(
        "npu-version",
        "The program has another format version.",
        "Use the packwright that wrote it, or compile the model again.",
    ),
    doc(
        "npu-checksum",
        "The program is damaged.",
        "A checksum does not fit its bytes: copy or compile it again.",
    ),
    doc(
        "npu-layout",
        "The program's table of sections is wrong.",
        "The file was not written by packwright, or is damaged: compile it again.",
    ),
    doc(
        "npu-manifest",
        "The program's manifest is wrong.",
        "The file was not written by packwright, or is damaged: compile it again.",
    ),
    doc(
        "npu-packets",
        "The program's packets cannot be read.",
        "The file was not written by packwright, or is damaged: compile it again.",
    ),
    doc(
        "npu-not-canonical",
        "The program's packets are not in the shortest form.",
        "There is one form for each program, so that the same program has the same bytes. Compile it again.",
    ),
    doc(
        "asm-syntax",
        "A line of assembler cannot be read.",
        "`packwright dis` prints the form that is read.",
    ),
    doc(
        "asm-statement",
        "A line starts with a word that is no command and no other kind of line.",
        "`docs/packets.md` lists the lines and the commands of the text form.",
    ),
    doc(
        "asm-order",
        "An index is not the next of its kind.",
        "Origins, registers, regions and packets are numbered in the order of their lines, from 0; a packet may go without.",
    ),
    doc(
        "asm-missing",
        "Something that must stand in the text is missing.",
        "The message says what.",
    ),
    doc(
        "asm-repeated",
        "Something stands twice that may stand once.",
        "Remove one of the two.",
    ),
    doc(
        "asm-unknown",
        "There is no such command or field.",
        "`docs/packets.md` lists the commands with their fields.",
    ),
    doc(
        "asm-constants",
        "The constants do not fit the text.",
        "The text names the file that holds its constants, with its size and checksum. `packwright dis` writes both together.",
    ),
    doc(
        "missing-inputs",
        "Inputs have no value.",
        "Give an array for each input of the entry.",
    ),
    doc(
        "unknown-inputs",
        "Values are given for inputs that do not exist.",
        "The message lists the inputs of the entry.",
    ),
    doc(
        "repeated-input",
        "An input is given twice.",
        "Give each input once.",
    ),
    doc(
        "input-size",
        "An input has another size.",
        "The entry is compiled for one shape and type of each input: pad or convert.",
    ),
    doc(
        "register-count",
        "Registers have no value.",
        "Give a value to each register of the entry.",
    ),
    doc(
        "register-too-large",
        "A register is above its maximum.",
        "Stay below the maximum, or compile with a larger capacity.",
    ),
    doc(
        "absent-constants",
        "The program has no weights.",
        "It was compiled without them, so it has a cost and no outputs. Compile a model that has its weights.",
    ),
    doc(
        "bad-region",
        "A region makes no sense.",
        "The program is malformed: compile it again.",
    ),
    doc(
        "bad-port",
        "An input or output makes no sense.",
        "The program is malformed: compile it again.",
    ),
    doc(
        "moved-state",
        "State moved between two runs.",
        "All entries of a program share the place of their state: compile them together.",
    ),
    doc(
        "no-memory",
        "The host has not enough memory.",
        "Run on a host with more memory.",
    ),
    doc(
        "address-overflow",
        "An address is beyond 64 bits.",
        MALFORMED,
    ),
    doc(
        "unknown-register",
        "A command reads a register that does not exist.",
        MALFORMED,
    ),
    doc(
        "outside-sram",
        "A command reaches beyond SRAM.",
        "The program was compiled for more SRAM than the target has, or is malformed. Run it on the target that it was compiled for.",
    ),
    doc(
        "extent-too-large",
        "A command has more rows or columns than the machine holds.",
        MALFORMED,
    ),
    doc(
        "unknown-region",
        "A command names a region that does not exist.",
        MALFORMED,
    ),
    doc(
        "outside-region",
        "A command reaches beyond a region of DRAM.",
        MALFORMED,
    ),
    doc(
        "read-only-region",
        "A command writes to weights, inputs or packets.",
        MALFORMED,
    ),
    doc(
        "empty-region",
        "A command reads a region that has no contents.",
        MALFORMED,
    ),
    doc(
        "self-overlap",
        "Elements of one result lie on each other.",
        MALFORMED,
    ),
    doc(
        "overlap",
        "A result lies on an operand that is still to be read.",
        MALFORMED,
    ),
    doc(
        "uneven-groups",
        "Groups that share a scale do not divide a row.",
        MALFORMED,
    ),
    doc("missing-field", "A command lacks a field.", MALFORMED),
    doc(
        "unexpected-field",
        "A command has a field that does not fit the others.",
        MALFORMED,
    ),
    doc(
        "odd-width",
        "Rows to rotate have an odd number of columns.",
        MALFORMED,
    ),
    doc(
        "empty-table",
        "A table to gather from has no rows.",
        MALFORMED,
    ),
];

const MALFORMED: &str = "The program is malformed: compile it again. In hand-written programs, the message names the packet and the command.";
