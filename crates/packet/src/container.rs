//! The `.npu` file: header, table of sections, manifest, packet streams, constants.
//!
//! ```text
//!  0  magic "PKWRNPU\0"        32  section: kind u32, entry u32, offset u64, length u64,
//!  8  version u32                           crc32 u32, zero u32
//! 12  number of sections u32   64  section …
//! 16  length of the file u64
//! 24  crc32 of header and table, this field taken as zero
//! 28  zero u32
//! ```
//!
//! All numbers are little-endian. Sections come in a fixed order (manifest, the packets of each
//! entry, the constants if present), each at the next multiple of 64, with zeros between: the
//! lengths determine every offset, and every byte of a file is covered by a checksum or is a
//! checked zero. The same program gives the same bytes.

use std::io::{self, Seek, SeekFrom, Write};

use bytes::Bytes;
use prost::Message;

use crate::decode::{DecodeError, decode_stream};
use crate::encode::encode_stream;
use crate::manifest::Manifest;
use crate::program::{Constants, Program};

/// The first eight bytes of a file.
pub const MAGIC: [u8; 8] = *b"PKWRNPU\0";
/// The version that this crate writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// Alignment of sections in bytes.
pub const ALIGNMENT: u64 = 64;

const HEADER_BYTES: u64 = 32;
const ROW_BYTES: u64 = 32;
const CRC_AT: usize = 24;
/// Where the header and each row of the table hold a zero.
const SPARE_AT: usize = 28;

const MANIFEST: u32 = 1;
const PACKETS: u32 = 2;
const CONSTANTS: u32 = 3;

/// How a file is read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// Whether the checksum of the constants is computed, which takes a pass over them.
    pub verify_constants: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            verify_constants: true,
        }
    }
}

/// Why bytes are no `.npu` file that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// The file is shorter than it says, or than a header.
    #[error("the file has {found} bytes where at least {wanted} belong to it")]
    Truncated {
        /// Bytes that should be there.
        wanted: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The file does not start like a `.npu` file.
    #[error("the file does not start with the magic of a .npu file")]
    BadMagic,
    /// The file is of a version that this crate does not know.
    #[error("the file has version {found}, this tool reads up to version {VERSION}")]
    Version {
        /// The version of the file.
        found: u32,
    },
    /// A checksum does not fit.
    #[error("the checksum of the {section} does not fit its bytes")]
    Checksum {
        /// What is damaged.
        section: String,
    },
    /// Offsets, lengths or order of sections are not those of a `.npu` file.
    #[error("the table of sections is wrong: {what}")]
    Layout {
        /// What is wrong.
        what: String,
    },
    /// The manifest cannot be read.
    #[error("the manifest is wrong: {what}")]
    Manifest {
        /// What is wrong.
        what: String,
    },
    /// A packet stream cannot be read.
    #[error("the packets of entry {entry} are wrong: {error}")]
    Packets {
        /// Index of the entry.
        entry: usize,
        /// What is wrong.
        error: DecodeError,
    },
    /// A packet stream is not in the one form that the encoder writes.
    #[error("the packets of entry {entry} are not encoded in the shortest form")]
    NotCanonical {
        /// Index of the entry.
        entry: usize,
    },
}

impl ContainerError {
    /// Stable name of the kind of error.
    pub const fn slug(&self) -> &'static str {
        match self {
            ContainerError::Truncated { .. } => "npu-truncated",
            ContainerError::BadMagic => "npu-bad-magic",
            ContainerError::Version { .. } => "npu-version",
            ContainerError::Checksum { .. } => "npu-checksum",
            ContainerError::Layout { .. } => "npu-layout",
            ContainerError::Manifest { .. } => "npu-manifest",
            ContainerError::Packets { .. } => "npu-packets",
            ContainerError::NotCanonical { .. } => "npu-not-canonical",
        }
    }

    /// What the user can do.
    pub const fn help(&self) -> &'static str {
        match self {
            ContainerError::Truncated { .. } => "the file was cut short: copy or compile it again",
            ContainerError::BadMagic => "give a file that `packwright compile` has written",
            ContainerError::Version { .. } => {
                "use a newer version of packwright, or compile the model again with this one"
            }
            ContainerError::Checksum { .. } => "the file is damaged: copy or compile it again",
            ContainerError::Layout { .. }
            | ContainerError::Manifest { .. }
            | ContainerError::Packets { .. }
            | ContainerError::NotCanonical { .. } => {
                "the file was not written by packwright, or by a version with a defect: compile the model again"
            }
        }
    }
}

/// A row of the table of sections.
struct Row {
    kind: u32,
    entry: u32,
    offset: u64,
    length: u64,
    crc: u32,
}

/// Writes a program as a `.npu` file.
pub fn write(program: &Program, out: &mut impl Write) -> io::Result<()> {
    let sections = Sections::of(program, program.constants.is_present());
    let constants: &[u8] = match &program.constants {
        Constants::Present(bytes) => bytes,
        Constants::Absent { .. } => &[],
    };
    let rows = sections.rows(constants.len() as u64, crc32fast::hash(constants));
    sections.write(&rows, out)?;
    out.write_all(constants)?;
    out.flush()
}

/// What writes the bytes of a constants section, piece by piece.
pub type ConstantsWriter<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// As [`write`], with constants that are made while they are written: `constants` writes as many bytes as the
/// program says that it lacks. The file is the one that [`write`] makes of the whole program.
///
/// # Errors
/// Those of the output, and [`io::ErrorKind::InvalidData`] where another number of bytes is written.
pub fn write_with(
    program: &Program,
    constants: &mut ConstantsWriter<'_>,
    out: &mut (impl Write + Seek),
) -> io::Result<()> {
    let sections = Sections::of(program, true);
    let length = program.constants.len();
    let start = out.stream_position()?;
    // The checksum of the constants stands before them: the head is written once more at the end.
    sections.write(&sections.rows(length, 0), out)?;
    let mut checked = Checked {
        out,
        crc: crc32fast::Hasher::new(),
        count: 0,
    };
    constants(&mut checked)?;
    let Checked { crc, count, .. } = checked;
    if count != length {
        let message = format!("{count} bytes of constants were written, not {length}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let end = out.stream_position()?;
    out.seek(SeekFrom::Start(start))?;
    sections.write(&sections.rows(length, crc.finalize()), out)?;
    out.seek(SeekFrom::Start(end))?;
    out.flush()
}

/// Counts and sums up what is written.
struct Checked<'a, W> {
    out: &'a mut W,
    crc: crc32fast::Hasher,
    count: u64,
}

impl<W: Write> Write for Checked<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.crc.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The sections of a file but for the bytes of its constants, which come last.
struct Sections {
    manifest: Vec<u8>,
    streams: Vec<Vec<u8>>,
    constants: bool,
}

impl Sections {
    /// `constants`: whether the file holds their bytes.
    fn of(program: &Program, constants: bool) -> Self {
        let mut manifest = Manifest::of(program);
        manifest.constants_present = constants;
        let streams = program.entries.iter();
        Self {
            manifest: manifest.encode_to_vec(),
            streams: streams.map(|e| encode_stream(&e.packets)).collect(),
            constants,
        }
    }

    /// The table, for constants of a length and checksum.
    fn rows(&self, length: u64, crc: u32) -> Vec<Row> {
        let sum = |bytes: &[u8]| (bytes.len() as u64, crc32fast::hash(bytes));
        let mut sections = vec![(MANIFEST, 0, sum(&self.manifest))];
        for (entry, stream) in (0..).zip(&self.streams) {
            sections.push((PACKETS, entry, sum(stream)));
        }
        sections.extend(self.constants.then_some((CONSTANTS, 0, (length, crc))));
        let mut end = HEADER_BYTES + ROW_BYTES * sections.len() as u64;
        let mut rows = Vec::new();
        for (kind, entry, (length, crc)) in sections {
            let offset = end.next_multiple_of(ALIGNMENT);
            rows.push(Row {
                kind,
                entry,
                offset,
                length,
                crc,
            });
            end = offset + length;
        }
        rows
    }

    /// Writes all that comes before the bytes of the constants.
    fn write(&self, rows: &[Row], out: &mut impl Write) -> io::Result<()> {
        let length = rows.last().map_or(0, |row| row.offset + row.length);
        let head = head_bytes(rows, length);
        out.write_all(&head)?;
        let mut at = head.len() as u64;
        let bytes = [&self.manifest].into_iter().chain(&self.streams);
        let bytes = bytes.map(Vec::as_slice).chain([&[][..]]);
        for (row, bytes) in rows.iter().zip(bytes) {
            let padding = [0; ALIGNMENT as usize];
            out.write_all(&padding[..(row.offset - at) as usize])?;
            out.write_all(bytes)?;
            at = row.offset + bytes.len() as u64;
        }
        Ok(())
    }
}

/// Header and table of sections.
fn head_bytes(rows: &[Row], file_length: u64) -> Vec<u8> {
    let mut head = Vec::new();
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    head.extend_from_slice(&file_length.to_le_bytes());
    head.extend_from_slice(&[0; 8]);
    for row in rows {
        head.extend_from_slice(&row.kind.to_le_bytes());
        head.extend_from_slice(&row.entry.to_le_bytes());
        head.extend_from_slice(&row.offset.to_le_bytes());
        head.extend_from_slice(&row.length.to_le_bytes());
        head.extend_from_slice(&row.crc.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
    }
    let crc = crc32fast::hash(&head);
    head[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    head
}

/// Reads a `.npu` file; the constants stay where they are, `file` is shared with the program.
pub fn read(file: Bytes) -> Result<Program, ContainerError> {
    read_with(file, &ReadOptions::default())
}

/// Reads a `.npu` file as [`ReadOptions`] say.
pub fn read_with(file: Bytes, options: &ReadOptions) -> Result<Program, ContainerError> {
    let rows = read_head(&file)?;
    let mut sections = Vec::new();
    for row in &rows {
        sections.push(read_section(&file, row, options)?);
    }
    let wrong = |what: String| ContainerError::Manifest { what };
    let manifest = Manifest::decode(sections[0].clone()).map_err(|e| wrong(e.to_string()))?;
    if manifest.encode_to_vec() != sections[0] {
        return Err(wrong(
            "it holds fields that this version does not know".to_owned(),
        ));
    }
    let entries = manifest.entries.len();
    check_order(&rows, entries, manifest.constants_present)?;
    let mut packets = Vec::new();
    for (entry, section) in sections[1..=entries].iter().enumerate() {
        let stream = decode_stream(section);
        let stream = stream.map_err(|error| ContainerError::Packets { entry, error })?;
        if encode_stream(&stream) != *section {
            return Err(ContainerError::NotCanonical { entry });
        }
        if stream.len() as u64 != manifest.entries[entry].packets {
            return Err(wrong(format!(
                "entry {entry} has another number of packets"
            )));
        }
        packets.push(stream);
    }
    let constants = match sections.get(1 + entries) {
        Some(bytes) if bytes.len() as u64 != manifest.constants_bytes => {
            return Err(wrong("the constants have another size".to_owned()));
        }
        Some(bytes) => Constants::Present(bytes.clone()),
        None => Constants::Absent {
            bytes: manifest.constants_bytes,
        },
    };
    manifest.program(packets, constants).map_err(wrong)
}

/// The four bytes at `at` as a number; `bytes` are long enough.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The eight bytes at `at` as a number; `bytes` are long enough.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Reads header and table of sections, and checks that every section lies where it must.
fn read_head(file: &[u8]) -> Result<Vec<Row>, ContainerError> {
    let found = file.len() as u64;
    let need = |wanted: u64| {
        if found < wanted {
            Err(ContainerError::Truncated { wanted, found })
        } else {
            Ok(())
        }
    };
    if file.len() >= MAGIC.len() && !file.starts_with(&MAGIC) {
        return Err(ContainerError::BadMagic);
    }
    need(HEADER_BYTES)?;
    let version = u32_at(file, 8);
    if version != VERSION {
        return Err(ContainerError::Version { found: version });
    }
    let count = u64::from(u32_at(file, 12));
    let head_length = HEADER_BYTES + ROW_BYTES * count;
    need(head_length)?;
    let mut head = file[..head_length as usize].to_vec();
    let crc = u32_at(&head, CRC_AT);
    head[CRC_AT..CRC_AT + 4].fill(0);
    if crc32fast::hash(&head) != crc {
        return Err(ContainerError::Checksum {
            section: "header".to_owned(),
        });
    }
    let length = u64_at(&head, 16);
    need(length)?;
    let layout = |what: &str| {
        Err(ContainerError::Layout {
            what: what.to_owned(),
        })
    };
    if found > length {
        return layout("bytes follow the last section");
    }
    let table = head[HEADER_BYTES as usize..].chunks(ROW_BYTES as usize);
    let spare = table.clone().map(|row| u32_at(row, SPARE_AT));
    if spare
        .chain([u32_at(&head, SPARE_AT)])
        .any(|spare| spare != 0)
    {
        return layout("a field that is not used is not zero");
    }
    let rows: Vec<_> = table.map(read_row).collect();
    let mut end = head_length;
    for row in &rows {
        if row.offset != end.next_multiple_of(ALIGNMENT) || row.length > length {
            return layout("a section is not where the one before it ends");
        }
        need(row.offset + row.length)?;
        if file[end as usize..row.offset as usize]
            .iter()
            .any(|&byte| byte != 0)
        {
            return layout("there is something between two sections");
        }
        end = row.offset + row.length;
    }
    if rows.is_empty() || end != length {
        return layout("the sections do not fill the file");
    }
    Ok(rows)
}

/// One row of the table.
fn read_row(row: &[u8]) -> Row {
    Row {
        kind: u32_at(row, 0),
        entry: u32_at(row, 4),
        offset: u64_at(row, 8),
        length: u64_at(row, 16),
        crc: u32_at(row, 24),
    }
}

/// The bytes of a section, after its checksum.
fn read_section(file: &Bytes, row: &Row, options: &ReadOptions) -> Result<Bytes, ContainerError> {
    let bytes = file.slice(row.offset as usize..(row.offset + row.length) as usize);
    let verify = row.kind != CONSTANTS || options.verify_constants;
    if verify && crc32fast::hash(&bytes) != row.crc {
        let section = match row.kind {
            MANIFEST => "manifest".to_owned(),
            PACKETS => format!("packets of entry {}", row.entry),
            CONSTANTS => "constants".to_owned(),
            kind => format!("section of kind {kind}"),
        };
        return Err(ContainerError::Checksum { section });
    }
    Ok(bytes)
}

/// Sections are the manifest, the packets of each entry, and the constants where present.
fn check_order(rows: &[Row], entries: usize, constants: bool) -> Result<(), ContainerError> {
    let mut wanted = vec![(MANIFEST, 0)];
    wanted.extend((0..).zip(0..entries).map(|(entry, _)| (PACKETS, entry)));
    wanted.extend(constants.then_some((CONSTANTS, 0)));
    if rows.iter().map(|row| (row.kind, row.entry)).eq(wanted) {
        return Ok(());
    }
    let what = "the sections are not those that the manifest names".to_owned();
    Err(ContainerError::Layout { what })
}
