//! Text to a program: reads what [`crate::disasm`] writes, and what people write by hand.
//!
//! One thing stands on a line, and its first word says what: `program`, `tool`, `precision`,
//! `target`, `constants`, `origin`, then for each entry `entry`, `bind`, `register`, `region`,
//! `input`, `output`, `facts`, `bound`, `term`, `packet` and the commands. Indentation means
//! nothing; `;` starts a comment. Lines that start with `|` continue `target` and `constants hex`.
//! The index of a packet may be left out, so that packets can be moved about.

use bytes::Bytes;

use crate::cursor::{Cursor, Expected};
use crate::defs::{Command, TABLE};
use crate::field::parse_region;
use crate::fields::Fields;
use crate::packet::{OriginId, Packet, SramRange, Token};
use crate::program::{
    Bound, Constants, Entry, Facts, Origin, Port, Program, Region, RegionKind, Register, Slope,
};

/// One thing that is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Stable name of the kind of error.
    pub code: &'static str,
    /// Line, counted from one.
    pub line: u32,
    /// Column in characters, counted from one.
    pub column: u32,
    /// What was expected there.
    pub expected: String,
    /// What stands there; empty at the end of a line.
    pub found: String,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            code,
            line,
            column,
            expected,
            found,
        } = self;
        let found = if found.is_empty() {
            "the end of the line"
        } else {
            found
        };
        write!(
            f,
            "{line}:{column}: {code}: expected {expected}, found {found}"
        )
    }
}

impl std::error::Error for ParseError {}

/// Reads a program. `constants` are the bytes of the file that the text refers to, see
/// [`constants_file`]. All errors are returned, in the order of lines.
pub fn assemble(text: &str, constants: Option<Bytes>) -> Result<Program, Vec<ParseError>> {
    let mut parser = Parser::new(constants);
    for (number, line) in (1..).zip(text.split('\n')) {
        parser.line(number, line);
    }
    parser.finish()
}

/// The name of the file that a text refers to for its constants, if it does.
pub fn constants_file(text: &str) -> Option<String> {
    text.split('\n').find_map(|line| {
        let mut cursor = Cursor::new(line, 1);
        cursor.space();
        for word in ["constants", "file"] {
            cursor.require(word).ok()?;
            cursor.space();
        }
        cursor.string().ok()
    })
}

/// What lines that start with `|` belong to.
#[derive(PartialEq)]
enum Raw {
    Nothing,
    Target,
    Hex { left: u64 },
}

/// What has been read so far.
struct Parser {
    program: Program,
    file: Option<Bytes>,
    raw: Raw,
    target: Vec<String>,
    hex: Vec<u8>,
    /// Lines that may stand once, and did, since the last `entry`.
    seen: Vec<&'static str>,
    line: u32,
    text: String,
    errors: Vec<ParseError>,
}

impl Parser {
    fn new(file: Option<Bytes>) -> Self {
        let program = Program {
            model: String::new(),
            target_toml: String::new(),
            precision: String::new(),
            tool: String::new(),
            origins: Vec::new(),
            entries: Vec::new(),
            constants: Constants::Absent { bytes: 0 },
        };
        Self {
            program,
            file,
            raw: Raw::Nothing,
            target: Vec::new(),
            hex: Vec::new(),
            seen: Vec::new(),
            line: 0,
            text: String::new(),
            errors: Vec::new(),
        }
    }

    fn finish(mut self) -> Result<Program, Vec<ParseError>> {
        self.end_raw();
        if !self.seen_program() {
            self.line = 1;
            self.text.clear();
            self.complain(Cursor::new("", 1).complain("asm-missing", "a line program \"…\""));
        }
        if !self.errors.is_empty() {
            self.errors.sort_by_key(|error| (error.line, error.column));
            return Err(self.errors);
        }
        self.program.target_toml = self.target.join("\n");
        Ok(self.program)
    }

    fn seen_program(&self) -> bool {
        self.seen.contains(&"program")
    }

    fn complain(&mut self, complaint: Expected) {
        let Expected { code, column, what } = complaint;
        let skip = column as usize - 1;
        let found: String = self
            .text
            .chars()
            .skip(skip)
            .take_while(|c| !c.is_whitespace())
            .collect();
        let (line, expected) = (self.line, what);
        self.errors.push(ParseError {
            code,
            line,
            column,
            expected,
            found,
        });
    }

    fn line(&mut self, number: u32, text: &str) {
        let mut cursor = Cursor::new(text, 1);
        cursor.space();
        if cursor.rest().is_empty() {
            (self.line, self.text) = (number, text.to_owned());
            return;
        }
        if !cursor.rest().starts_with('|') {
            self.end_raw();
        }
        (self.line, self.text) = (number, text.to_owned());
        if let Err(complaint) = self.statement(&mut cursor) {
            self.complain(complaint);
        }
    }

    /// Complains where the bytes of `constants hex` are fewer than announced.
    fn end_raw(&mut self) {
        if let Raw::Hex { left } = self.raw {
            if left > 0 {
                self.complain(
                    Cursor::new("", 1).complain("asm-constants", format!("{left} bytes more")),
                );
            }
            let bytes = Bytes::from(std::mem::take(&mut self.hex));
            self.program.constants = Constants::Present(bytes);
        }
        self.raw = Raw::Nothing;
    }

    fn statement(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Expected> {
        if cursor.rest().starts_with('|') {
            return self.raw_line(cursor);
        }
        let start = cursor.clone();
        let word = cursor.word();
        cursor.space();
        match word {
            "program" => {
                self.once("program", &start)?;
                self.program.model = last_string(cursor)?;
            }
            "tool" => {
                self.once("tool", &start)?;
                self.program.tool = last_string(cursor)?;
            }
            "precision" => {
                self.once("precision", &start)?;
                self.program.precision = last_string(cursor)?;
            }
            "target" => {
                self.once("target", &start)?;
                self.raw = Raw::Target;
                end(cursor)?;
            }
            "constants" => {
                self.once("constants", &start)?;
                self.constants(&start, cursor)?;
            }
            "origin" => self.origin(&start, cursor)?,
            "entry" => self.entry(cursor)?,
            _ => self.entry_statement(word, &start, cursor)?,
        }
        Ok(())
    }

    /// Refuses a line that may stand once only, the second time.
    fn once(&mut self, word: &'static str, start: &Cursor<'_>) -> Result<(), Expected> {
        if self.seen.contains(&word) {
            return Err(start.complain("asm-repeated", format!("one line `{word}` only")));
        }
        self.seen.push(word);
        Ok(())
    }

    fn raw_line(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Expected> {
        cursor.eat("|");
        match &mut self.raw {
            Raw::Nothing => Err(cursor.expected("`target` or `constants hex` before lines with |")),
            Raw::Target => {
                self.target.push(cursor.rest().to_owned());
                Ok(())
            }
            Raw::Hex { left } => {
                while !cursor.at_end() {
                    let digits = cursor.rest().get(..2).unwrap_or_default();
                    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| plain);
                    let byte =
                        byte.ok_or_else(|| cursor.expected("two hex digits for each byte"))?;
                    *left = left.checked_sub(1).ok_or_else(|| {
                        cursor.complain("asm-constants", "no byte more than announced")
                    })?;
                    self.hex.push(byte);
                    cursor.eat(digits);
                }
                Ok(())
            }
        }
    }

    fn constants(&mut self, start: &Cursor<'_>, cursor: &mut Cursor<'_>) -> Result<(), Expected> {
        let kind = cursor.clone();
        match cursor.word() {
            "absent" => {
                cursor.space();
                let bytes = cursor.number("the size of the constants in bytes")?;
                self.program.constants = Constants::Absent { bytes };
                end(cursor)
            }
            "hex" => {
                cursor.space();
                let left = cursor.number("the size of the constants in bytes")?;
                self.raw = Raw::Hex { left };
                end(cursor)
            }
            "file" => {
                cursor.space();
                cursor.string()?;
                let mut fields = Fields::new(start.column(), cursor);
                let bytes: Option<u64> = fields.required("bytes");
                let crc: Option<u32> = fields.required("crc32");
                self.complain_all(fields.finish("constants"));
                let file = self.file.clone().ok_or_else(|| {
                    start.complain(
                        "asm-constants",
                        "the bytes of the constants, given with the text",
                    )
                })?;
                let fits = bytes == Some(file.len() as u64) && crc == Some(crc32fast::hash(&file));
                if bytes.is_some() && crc.is_some() && !fits {
                    return Err(
                        start.complain("asm-constants", "constants of this size and checksum")
                    );
                }
                self.program.constants = Constants::Present(file);
                Ok(())
            }
            _ => Err(kind.expected("absent, hex or file")),
        }
    }

    fn complain_all(&mut self, complaints: Vec<Expected>) {
        for complaint in complaints {
            self.complain(complaint);
        }
    }

    fn origin(&mut self, start: &Cursor<'_>, cursor: &mut Cursor<'_>) -> Result<(), Expected> {
        numbered(cursor, "o", self.program.origins.len())?;
        let mut fields = Fields::new(start.column(), cursor);
        let layer = fields.required_with("layer", Cursor::string);
        let what = fields.required_with("what", Cursor::string);
        let nodes = fields.optional_with("nodes", |value| comma_list(value, Cursor::string));
        self.complain_all(fields.finish("origin"));
        let (layer, what) = (layer.unwrap_or_default(), what.unwrap_or_default());
        self.program.origins.push(Origin {
            layer,
            what,
            nodes: nodes.unwrap_or_default(),
        });
        Ok(())
    }

    fn entry(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Expected> {
        self.seen.retain(|word| !matches!(*word, "facts" | "bound"));
        let name = last_string(cursor);
        self.program.entries.push(Entry {
            name: name.clone().unwrap_or_default(),
            binding: Vec::new(),
            registers: Vec::new(),
            regions: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            packets: Vec::new(),
            facts: Facts::default(),
            bound: Bound::default(),
        });
        name.map(|_| ())
    }

    fn entry_statement(
        &mut self,
        word: &str,
        start: &Cursor<'_>,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), Expected> {
        if matches!(word, "facts" | "bound") {
            let word = if word == "facts" { "facts" } else { "bound" };
            self.once(word, start)?;
        }
        let Some(mut entry) = self.program.entries.pop() else {
            return Err(start.expected("a line `entry` before what belongs to one"));
        };
        let mut complaints = Vec::new();
        let result = entry_line(&mut entry, word, start, cursor, &mut complaints);
        self.program.entries.push(entry);
        self.complain_all(complaints);
        result
    }
}

/// Reads a line that belongs to an entry.
fn entry_line(
    entry: &mut Entry,
    word: &str,
    start: &Cursor<'_>,
    cursor: &mut Cursor<'_>,
    complaints: &mut Vec<Expected>,
) -> Result<(), Expected> {
    match word {
        "bind" => entry.binding.push(name_and_number(cursor)?),
        "term" => entry.bound.terms.push(name_and_number(cursor)?),
        "register" => {
            numbered(cursor, "r", entry.registers.len())?;
            let name = kept(cursor.string(), complaints);
            let mut fields = Fields::new(start.column(), cursor);
            let max = fields.required("max").unwrap_or_default();
            complaints.extend(fields.finish("register"));
            entry.registers.push(Register { name, max });
        }
        "region" => {
            numbered(cursor, "d", entry.regions.len())?;
            entry.regions.push(region_line(start, cursor, complaints));
        }
        "input" => entry.inputs.push(port_line(cursor)?),
        "output" => entry.outputs.push(port_line(cursor)?),
        "facts" => entry.facts = facts_line(start, cursor, complaints),
        "bound" => {
            let terms = std::mem::take(&mut entry.bound.terms);
            let slopes = std::mem::take(&mut entry.bound.slopes);
            entry.bound = Bound {
                terms,
                slopes,
                ..bound_line(start, cursor, complaints)
            };
        }
        "slope" => {
            let mut fields = Fields::new(start.column(), cursor);
            let slope = Slope {
                dram_bytes: fields.required("dram_bytes").unwrap_or_default(),
                seconds: fields.required_with("seconds", seconds).unwrap_or_default(),
            };
            complaints.extend(fields.finish("slope"));
            entry.bound.slopes.push(slope);
        }
        "packet" => {
            if is_index(cursor.rest(), "p") {
                numbered(cursor, "p", entry.packets.len())?;
            }
            entry.packets.push(packet_line(start, cursor, complaints));
        }
        _ => {
            if !TABLE.iter().any(|def| def.mnemonic == word) {
                return Err(start.complain(
                    "asm-statement",
                    "a command, or another first word of a line",
                ));
            }
            let mut fields = Fields::new(start.column(), cursor);
            let command = Command::parse_fields(word, &mut fields);
            complaints.extend(fields.finish(word));
            let packet = entry.packets.last_mut();
            let packet =
                packet.ok_or_else(|| start.expected("a line `packet` before a command"))?;
            packet.commands.extend(command);
        }
    }
    Ok(())
}

/// Takes a string that ends the line.
fn last_string(cursor: &mut Cursor<'_>) -> Result<String, Expected> {
    let value = cursor.string()?;
    end(cursor)?;
    Ok(value)
}

/// Requires the end of the line.
fn end(cursor: &mut Cursor<'_>) -> Result<(), Expected> {
    if cursor.at_end() {
        Ok(())
    } else {
        Err(cursor.expected("the end of the line"))
    }
}

/// Whether a text starts with an index such as `p3`.
fn is_index(text: &str, prefix: &str) -> bool {
    let rest = text.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Takes an index such as `o3`, which must be the next of its kind.
fn numbered(cursor: &mut Cursor<'_>, prefix: &str, next: usize) -> Result<(), Expected> {
    let start = cursor.clone();
    let word = cursor.word();
    cursor.space();
    let wanted = format!("{prefix}{next}");
    if word == wanted {
        Ok(())
    } else {
        Err(start.complain("asm-order", format!("the next index, {wanted}")))
    }
}

/// Takes items between commas.
fn comma_list<'a, T>(
    cursor: &mut Cursor<'a>,
    mut item: impl FnMut(&mut Cursor<'a>) -> Result<T, Expected>,
) -> Result<Vec<T>, Expected> {
    let mut list = vec![item(cursor)?];
    while cursor.eat(",") {
        list.push(item(cursor)?);
    }
    Ok(list)
}

/// Takes `"name" 12`, to the end of the line.
fn name_and_number(cursor: &mut Cursor<'_>) -> Result<(String, u64), Expected> {
    let name = cursor.string()?;
    cursor.space();
    let value = cursor.number("a number below 2^64")?;
    end(cursor)?;
    Ok((name, value))
}

/// The value, or a complaint and an empty one: so that the indices of what follows are right.
fn kept<T: Default>(value: Result<T, Expected>, complaints: &mut Vec<Expected>) -> T {
    value.unwrap_or_else(|complaint| {
        complaints.push(complaint);
        T::default()
    })
}

fn region_line(
    start: &Cursor<'_>,
    cursor: &mut Cursor<'_>,
    complaints: &mut Vec<Expected>,
) -> Region {
    let kind = cursor.spelled().map(Some);
    let kind = kept(kind, complaints).unwrap_or(RegionKind::Spill);
    cursor.space();
    let name = kept(cursor.string(), complaints);
    let mut fields = Fields::new(start.column(), cursor);
    let address = fields.required("address").unwrap_or_default();
    let bytes = fields.required("bytes").unwrap_or_default();
    let constant_offset = fields.optional("constant");
    complaints.extend(fields.finish("region"));
    Region {
        name,
        kind,
        address,
        bytes,
        constant_offset,
    }
}

fn port_line(cursor: &mut Cursor<'_>) -> Result<Port, Expected> {
    let name = cursor.string()?;
    cursor.space();
    let elem = cursor.spelled()?;
    cursor.require("[")?;
    let shape = if cursor.eat("]") {
        Vec::new()
    } else {
        let shape = comma_list(cursor, |cursor| cursor.number("an extent"))?;
        cursor.require("]")?;
        shape
    };
    cursor.space();
    let region = parse_region(cursor)?;
    end(cursor)?;
    Ok(Port {
        name,
        elem,
        shape,
        region,
    })
}

fn facts_line(
    start: &Cursor<'_>,
    cursor: &mut Cursor<'_>,
    complaints: &mut Vec<Expected>,
) -> Facts {
    let mut fields = Fields::new(start.column(), cursor);
    let facts = Facts {
        parameters: fields.required("parameters").unwrap_or_default(),
        macs: fields.required("macs").unwrap_or_default(),
        weight_bytes: fields.required("weight_bytes").unwrap_or_default(),
        sram_peak: fields.required("sram_peak").unwrap_or_default(),
    };
    complaints.extend(fields.finish("facts"));
    facts
}

fn bound_line(
    start: &Cursor<'_>,
    cursor: &mut Cursor<'_>,
    complaints: &mut Vec<Expected>,
) -> Bound {
    let mut fields = Fields::new(start.column(), cursor);
    let bound = Bound {
        dram_bytes: fields.required("dram_bytes").unwrap_or_default(),
        attainable_dram_bytes: fields.required("attainable_dram_bytes").unwrap_or_default(),
        seconds: fields.required_with("seconds", seconds).unwrap_or_default(),
        attainable_seconds: fields
            .required_with("attainable_seconds", seconds)
            .unwrap_or_default(),
        binding_term: fields
            .required_with("binding_term", Cursor::string)
            .unwrap_or_default(),
        terms: Vec::new(),
        slopes: Vec::new(),
    };
    complaints.extend(fields.finish("bound"));
    bound
}

/// Takes a number of seconds.
fn seconds(cursor: &mut Cursor<'_>) -> Result<f64, Expected> {
    if cursor.eat("nan:") {
        return Ok(f64::from_bits(cursor.number("the bits of an f64")?));
    }
    let start = cursor.clone();
    cursor
        .until_space()
        .parse()
        .map_err(|_| start.expected("a number of seconds"))
}

fn packet_line(
    start: &Cursor<'_>,
    cursor: &mut Cursor<'_>,
    complaints: &mut Vec<Expected>,
) -> Packet {
    let mut fields = Fields::new(start.column(), cursor);
    let origin = fields.optional_with("origin", |value| {
        value.require("o")?;
        value.number("the number of an origin").map(OriginId)
    });
    let priority = fields.optional_with("priority", |value| value.number("a priority below 256"));
    let mut tokens = |name: &str| {
        fields
            .optional_with(name, |value| comma_list(value, token))
            .unwrap_or_default()
    };
    let (waits, signals) = (tokens("wait"), tokens("signal"));
    let frees = fields.optional_with("free", |value| comma_list(value, sram_range));
    complaints.extend(fields.finish("packet"));
    Packet {
        origin: origin.unwrap_or(OriginId(0)),
        priority: priority.unwrap_or(0),
        waits,
        signals,
        frees: frees.unwrap_or_default(),
        commands: Vec::new(),
    }
}

/// Takes a token, `t7`.
fn token(cursor: &mut Cursor<'_>) -> Result<Token, Expected> {
    let start = cursor.clone();
    let what = "a token such as t7";
    if !cursor.eat("t") {
        return Err(start.expected(what));
    }
    cursor.number(what).map(Token)
}

/// Takes a range of SRAM, `0x100+64`.
fn sram_range(cursor: &mut Cursor<'_>) -> Result<SramRange, Expected> {
    let addr = cursor.number("an SRAM address")?;
    cursor.require("+")?;
    Ok(SramRange {
        addr,
        bytes: cursor.number("a number of bytes")?,
    })
}

/// Reads one command without its packet: for tests and tools.
pub fn assemble_command(text: &str) -> Result<Command, Vec<ParseError>> {
    let mut parser = Parser::new(None);
    (parser.line, parser.text) = (1, text.to_owned());
    let mut cursor = Cursor::new(text, 1);
    cursor.space();
    let start = cursor.column();
    let word = cursor.word();
    let mut fields = Fields::new(start, &mut cursor);
    let command = Command::parse_fields(word, &mut fields);
    parser.complain_all(fields.finish(word));
    if command.is_none() && parser.errors.is_empty() {
        parser.complain(Cursor::new("", start).complain("asm-statement", "a command"));
    }
    match command {
        Some(command) if parser.errors.is_empty() => Ok(command),
        _ => Err(parser.errors),
    }
}
