//! An SRAM image to lay operands in, and the program that runs commands on it.

use half::f16;
use packwright_packet::defs::{Command, Load, Store};
use packwright_packet::operand::{Affine, Block, DramRef, Elem, RegionId, View};
use packwright_packet::packet::{OriginId, Packet};
use packwright_packet::program::{
    Bound, Constants, Entry, Facts, Port, Program, Region, RegionKind, Register,
};

use crate::func::{FuncError, Machine};

/// Bytes of SRAM in tests.
pub const SRAM: usize = 1 << 20;

/// How a view lies in SRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Row after row, with this many elements of padding.
    Rows(usize),
    /// Column after column, with this many elements of padding.
    Transposed(usize),
    /// One row for all.
    Repeated,
    /// One element for each row.
    Column,
}

/// Random numbers for data.
pub struct Noise(pub u64);

impl Noise {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in [-4, 4), sometimes a round one.
    pub fn float(&mut self) -> f32 {
        let bits = self.bits();
        let x = (bits % 8192) as f32 / 1024.0 - 4.0;
        if bits >> 60 == 0 {
            x.round()
        } else {
            x + (bits >> 40) as f32 * 1e-9
        }
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
}

/// An SRAM image under construction.
pub struct Scratch {
    pub image: Vec<u8>,
    pub noise: Noise,
    top: usize,
}

impl Scratch {
    pub fn new(seed: u64) -> Self {
        Self {
            image: vec![0; SRAM],
            noise: Noise(seed),
            top: 0,
        }
    }

    /// Room for rows × cols elements.
    pub fn room(&mut self, elem: Elem, [rows, cols]: [usize; 2], style: Style) -> View {
        let size = elem.bytes() as usize;
        let (pitch, step, elements) = match style {
            Style::Rows(pad) => ((cols + pad) * size, size, rows * (cols + pad)),
            Style::Transposed(pad) => (size, (rows + pad) * size, cols * (rows + pad)),
            Style::Repeated => (0, size, cols),
            Style::Column => (size, 0, rows),
        };
        let addr = self.top as u64;
        self.top = (self.top + elements * size + 8) & !7;
        assert!(self.top <= SRAM, "the image has room");
        View {
            elem,
            addr: Affine::constant(addr),
            pitch: pitch as u32,
            step: step as u32,
        }
    }

    /// Room with random contents: i8 in [-127, 127], numbers in [-4, 4).
    pub fn data(&mut self, elem: Elem, extents: [usize; 2], style: Style) -> View {
        let view = self.room(elem, extents, style);
        for i in 0..extents[0] {
            for j in 0..extents[1] {
                let x = match elem {
                    Elem::I8 => self.noise.below(255) as f32 - 127.0,
                    Elem::I32 | Elem::I64 => self.noise.below(2001) as f32 - 1000.0,
                    Elem::F16 | Elem::F32 => self.noise.float(),
                };
                put(&mut self.image, &view, i, j, x);
            }
        }
        view
    }

    /// Runs commands on the image and returns SRAM as they leave it.
    pub fn run(&self, commands: &[Command]) -> Result<Vec<u8>, FuncError> {
        self.run_with(commands, &[])
    }

    /// The same with values of registers.
    pub fn run_with(&self, commands: &[Command], registers: &[u64]) -> Result<Vec<u8>, FuncError> {
        let program = program(vec![entry(commands.to_vec(), registers.len())], vec![]);
        let mut machine = Machine::with_sram(&program, SRAM as u64)?;
        let outputs = machine.run(&program.entries[0], &[("image", &self.image)], registers)?;
        Ok(outputs[0].bytes.clone())
    }
}

/// Address of element (i, j) of a view without registers.
pub fn at(view: &View, i: usize, j: usize) -> usize {
    view.addr.base as usize + i * view.pitch as usize + j * view.step as usize
}

/// The bytes of an element.
pub fn bytes<const N: usize>(image: &[u8], view: &View, i: usize, j: usize) -> [u8; N] {
    let at = at(view, i, j);
    image[at..at + N].try_into().expect("N bytes")
}

/// An element as f32.
pub fn get(image: &[u8], view: &View, i: usize, j: usize) -> f32 {
    match view.elem {
        Elem::I8 => f32::from(i8::from_le_bytes(bytes(image, view, i, j))),
        Elem::I32 => i32::from_le_bytes(bytes(image, view, i, j)) as f32,
        Elem::I64 => i64::from_le_bytes(bytes(image, view, i, j)) as f32,
        Elem::F16 => f16::from_le_bytes(bytes(image, view, i, j)).to_f32(),
        Elem::F32 => f32::from_le_bytes(bytes(image, view, i, j)),
    }
}

/// The first `cols` elements of row i.
pub fn row(image: &[u8], view: &View, i: usize, cols: usize) -> Vec<f32> {
    (0..cols).map(|j| get(image, view, i, j)).collect()
}

/// Stores an element, rounded to the type of the view; i8 with a scale of 1.
pub fn put(image: &mut [u8], view: &View, i: usize, j: usize, x: f32) {
    let at = at(view, i, j);
    let mut set = |bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    match view.elem {
        Elem::I8 => set(&(x.round_ties_even().clamp(-127.0, 127.0) as i8).to_le_bytes()),
        Elem::I32 => set(&(x as i32).to_le_bytes()),
        Elem::I64 => set(&(x as i64).to_le_bytes()),
        Elem::F16 => set(&packwright_numerics::half_float::narrow_f16(x).to_le_bytes()),
        Elem::F32 => set(&packwright_numerics::round::canonical(x).to_le_bytes()),
    }
}

/// A program of the given entries and constants.
pub fn program(entries: Vec<Entry>, constants: Vec<u8>) -> Program {
    Program {
        model: "test".into(),
        target_toml: String::new(),
        precision: "w8a8".into(),
        tool: "test".into(),
        origins: vec![],
        entries,
        constants: Constants::Present(constants.into()),
    }
}

/// A region of run-time data.
pub fn region(name: &str, kind: RegionKind, address: u64, bytes: u64) -> Region {
    Region {
        name: name.into(),
        kind,
        address,
        bytes,
        constant_offset: None,
    }
}

/// A port of bytes on a region.
pub fn port(name: &str, region: u16, bytes: u64) -> Port {
    Port {
        name: name.into(),
        elem: Elem::I8,
        shape: vec![bytes],
        region: RegionId(region),
    }
}

/// An entry without regions.
pub fn bare(commands: Vec<Command>) -> Entry {
    let packet = Packet {
        origin: OriginId(0),
        priority: 0,
        waits: vec![],
        signals: vec![],
        frees: vec![],
        commands,
    };
    Entry {
        name: "main".into(),
        binding: vec![],
        registers: vec![],
        regions: vec![],
        inputs: vec![],
        outputs: vec![],
        packets: vec![packet],
        facts: Facts::default(),
        bound: Bound::default(),
    }
}

/// An entry that loads its input `image` into all of SRAM, executes commands and stores all of SRAM.
fn entry(mut commands: Vec<Command>, registers: usize) -> Entry {
    commands.insert(0, load(0, 0, SRAM as u64));
    commands.push(store(1, 0, SRAM as u64));
    let register = |r| Register {
        name: format!("r{r}"),
        max: 1 << 16,
    };
    Entry {
        registers: (0..registers).map(register).collect(),
        regions: vec![
            region("image", RegionKind::Input, 0, SRAM as u64),
            region("result", RegionKind::Output, SRAM as u64, SRAM as u64),
        ],
        inputs: vec![port("image", 0, SRAM as u64)],
        outputs: vec![port("result", 1, SRAM as u64)],
        ..bare(commands)
    }
}

/// Loads the first bytes of a region to an address.
pub fn load(region: u16, dst: u64, bytes: u64) -> Command {
    let src = DramRef {
        region: RegionId(region),
        offset: Affine::constant(0),
    };
    Command::Load(Load {
        dst: dst.into(),
        src,
        block: Block::run(bytes),
    })
}

/// Stores bytes from an address to the start of a region.
pub fn store(region: u16, src: u64, bytes: u64) -> Command {
    let dst = DramRef {
        region: RegionId(region),
        offset: Affine::constant(0),
    };
    Command::Store(Store {
        dst,
        src: src.into(),
        block: Block::run(bytes),
    })
}
