//! A program as text: the `.packets` form that [`crate::asm`] reads back without loss.

use std::fmt::Write;

use crate::cursor::quote;
use crate::defs::Command;
use crate::packet::{Packet, SramRange, Token};
use crate::program::{Bound, Constants, Entry, Origin, Port, Program, Region, Slope};

/// Constants up to this size stand in the text as hex digits; larger ones are referred to.
pub const INLINE_CONSTANTS: usize = 4096;

/// What the text says about things beside the program.
#[derive(Clone, Copy, Debug)]
pub struct DisasmOptions<'a> {
    /// Name of the file that holds the constants where they are too large for the text.
    pub constants_file: &'a str,
}

impl Default for DisasmOptions<'_> {
    fn default() -> Self {
        Self {
            constants_file: "constants.bin",
        }
    }
}

/// The text of a program.
pub fn disassemble(program: &Program, options: &DisasmOptions<'_>) -> String {
    let mut out = String::new();
    line(&mut out, format_args!("program {}", quoted(&program.model)));
    for (word, value) in [("tool", &program.tool), ("precision", &program.precision)] {
        if !value.is_empty() {
            line(&mut out, format_args!("{word} {}", quoted(value)));
        }
    }
    if !program.target_toml.is_empty() {
        line(&mut out, format_args!("target"));
        for text in program.target_toml.split('\n') {
            line(&mut out, format_args!("  |{text}"));
        }
    }
    print_constants(&program.constants, options, &mut out);
    for (at, origin) in program.origins.iter().enumerate() {
        print_origin(at, origin, &mut out);
    }
    for entry in &program.entries {
        print_entry(entry, &mut out);
    }
    out
}

/// One packet as it stands in the text, its lines indented by two and four.
pub fn print_packet(index: usize, packet: &Packet, out: &mut String) {
    let Packet {
        origin,
        priority,
        waits,
        signals,
        frees,
        commands,
    } = packet;
    out.push_str(&format!("  packet p{index} origin=o{}", origin.0));
    if *priority != 0 {
        out.push_str(&format!(" priority={priority}"));
    }
    list(out, "wait", waits, |Token(token)| format!("t{token}"));
    list(out, "signal", signals, |Token(token)| format!("t{token}"));
    list(out, "free", frees, |SramRange { addr, bytes }| {
        format!("0x{addr:x}+{bytes}")
    });
    out.push('\n');
    for command in commands {
        out.push_str(&format!("    {}\n", command_text(command)));
    }
}

/// The text of one command: its mnemonic and the fields that differ from their defaults.
pub fn command_text(command: &Command) -> String {
    let mut out = command.mnemonic().to_owned();
    command.print_fields(&mut out);
    out
}

/// Appends ` name=a,b,c` unless the list is empty.
fn list<T>(out: &mut String, name: &str, items: &[T], text: impl Fn(&T) -> String) {
    if !items.is_empty() {
        let items: Vec<_> = items.iter().map(text).collect();
        out.push_str(&format!(" {name}={}", items.join(",")));
    }
}

/// Appends a line.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes every text");
    out.push('\n');
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(text, &mut out);
    out
}

fn print_constants(constants: &Constants, options: &DisasmOptions<'_>, out: &mut String) {
    match constants {
        Constants::Absent { bytes } => line(out, format_args!("constants absent {bytes}")),
        Constants::Present(bytes) if bytes.len() <= INLINE_CONSTANTS => {
            line(out, format_args!("constants hex {}", bytes.len()));
            for chunk in bytes.chunks(32) {
                let digits: String = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
                line(out, format_args!("  |{digits}"));
            }
        }
        Constants::Present(bytes) => {
            let (file, length) = (quoted(options.constants_file), bytes.len());
            let crc = crc32fast::hash(bytes);
            line(
                out,
                format_args!("constants file {file} bytes={length} crc32=0x{crc:08x}"),
            );
        }
    }
}

fn print_origin(at: usize, origin: &Origin, out: &mut String) {
    let Origin { layer, what, nodes } = origin;
    let mut text = format!("origin o{at} layer={} what={}", quoted(layer), quoted(what));
    list(&mut text, "nodes", nodes, |node| quoted(node));
    line(out, format_args!("{text}"));
}

fn print_entry(entry: &Entry, out: &mut String) {
    line(out, format_args!("\nentry {}", quoted(&entry.name)));
    for (name, value) in &entry.binding {
        line(out, format_args!("  bind {} {value}", quoted(name)));
    }
    for (at, register) in entry.registers.iter().enumerate() {
        line(
            out,
            format_args!(
                "  register r{at} {} max={}",
                quoted(&register.name),
                register.max
            ),
        );
    }
    for (at, region) in entry.regions.iter().enumerate() {
        print_region(at, region, out);
    }
    for (word, ports) in [("input", &entry.inputs), ("output", &entry.outputs)] {
        for port in ports {
            print_port(word, port, out);
        }
    }
    let facts = &entry.facts;
    if *facts != Default::default() {
        line(
            out,
            format_args!(
                "  facts parameters={} macs={} weight_bytes={} sram_peak={}",
                facts.parameters, facts.macs, facts.weight_bytes, facts.sram_peak
            ),
        );
    }
    print_bound(&entry.bound, out);
    for (index, packet) in entry.packets.iter().enumerate() {
        print_packet(index, packet, out);
    }
}

fn print_region(at: usize, region: &Region, out: &mut String) {
    let Region {
        name,
        kind,
        address,
        bytes,
        constant_offset,
    } = region;
    let name = quoted(name);
    let mut text = format!("  region d{at} {kind} {name} address=0x{address:x} bytes={bytes}");
    if let Some(offset) = constant_offset {
        text.push_str(&format!(" constant=0x{offset:x}"));
    }
    line(out, format_args!("{text}"));
}

fn print_port(word: &str, port: &Port, out: &mut String) {
    let Port {
        name,
        elem,
        shape,
        region,
    } = port;
    let shape: Vec<_> = shape.iter().map(u64::to_string).collect();
    let (name, shape) = (quoted(name), shape.join(","));
    line(
        out,
        format_args!("  {word} {name} {elem}[{shape}] d{}", region.0),
    );
}

fn print_bound(bound: &Bound, out: &mut String) {
    let Bound {
        dram_bytes,
        attainable_dram_bytes,
        seconds,
        attainable_seconds,
        binding_term,
        terms,
        slopes,
    } = bound;
    let is_default = |seconds: f64| seconds == 0.0 && seconds.is_sign_positive();
    if is_default(*seconds) && is_default(*attainable_seconds) && *bound == Default::default() {
        return;
    }
    let seconds = seconds_text(*seconds);
    let attainable_seconds = seconds_text(*attainable_seconds);
    line(
        out,
        format_args!(
            "  bound dram_bytes={dram_bytes} attainable_dram_bytes={attainable_dram_bytes} \
         seconds={seconds} attainable_seconds={attainable_seconds} binding_term={}",
            quoted(binding_term)
        ),
    );
    for (name, value) in terms {
        line(out, format_args!("  term {} {value}", quoted(name)));
    }
    for Slope {
        dram_bytes,
        seconds,
    } in slopes
    {
        let seconds = seconds_text(*seconds);
        line(
            out,
            format_args!("  slope dram_bytes={dram_bytes} seconds={seconds}"),
        );
    }
}

fn seconds_text(seconds: f64) -> String {
    match seconds.is_nan() {
        true => format!("nan:0x{:x}", seconds.to_bits()),
        false => format!("{seconds:?}"),
    }
}
