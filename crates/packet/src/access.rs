//! What each command reads and writes: the one description that `check` and the simulator share.
//!
//! Extents are evaluated for given register contents. Two numbers are told apart: the *extent* of
//! an access, all bytes that it may touch, and the *bytes* that it moves.

use crate::defs::{
    Binary, Command, Copy, Dequantize, Fill, Gather, Load, Lookup, Matmul, Norm, Quantize, Reduce,
    Rotary, Scan, Scatter, Select, Softmax, Sort, Store, Unary,
};
use crate::extent::Extent;
use crate::operand::{Affine, Block, DramRef, Elem, RegionId, View};

/// Whether an access reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Bytes go from the memory to a unit.
    Read,
    /// Bytes go from a unit to the memory.
    Write,
}

/// Which memory is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The SRAM; extents hold its addresses.
    Sram,
    /// A region of DRAM; extents hold offsets in it.
    Dram(RegionId),
}

/// One access of a command to one memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Access {
    /// Read or write.
    pub mode: Mode,
    /// Which memory.
    pub place: Place,
    /// The field of the command that describes it.
    pub field: &'static str,
    /// All bytes that may be touched. For a table whose rows are named by index
    /// that is the whole table.
    pub extent: Extent,
    /// Bytes that are moved. A view's repeated row or element is moved once; a transfer moves each
    /// run, also where runs repeat; a gather moves the rows asked for.
    pub bytes: u64,
    /// The shape of a view: rows and elements of a row. `None` for transfers.
    pub shape: Option<(u64, u64)>,
}

/// Bytes that a command moves, by memory and direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Read from SRAM.
    pub sram_read: u64,
    /// Written to SRAM.
    pub sram_written: u64,
    /// Read from DRAM.
    pub dram_read: u64,
    /// Written to DRAM.
    pub dram_written: u64,
}

/// All accesses of a command: first the reads, then the writes, as a command performs them.
///
/// `registers` are the contents to evaluate for; the declared maxima give the largest extents.
pub fn accesses(command: &Command, registers: &[u64]) -> Vec<Access> {
    let mut list = Vec::with_capacity(8);
    collect_accesses(command, registers, &mut list);
    list
}

/// As [`accesses`], into a list that is emptied first: for callers that visit many commands.
pub fn collect_accesses(command: &Command, registers: &[u64], list: &mut Vec<Access>) {
    list.clear();
    let mut a = Accesses { registers, list };
    match command {
        Command::Load(c) => a.load(c),
        Command::Store(c) => a.store(c),
        Command::Gather(c) => a.gather(c),
        Command::Matmul(c) => a.matmul(c),
        Command::Unary(c) => a.unary(c),
        Command::Binary(c) => a.binary(c),
        Command::Select(c) => a.select(c),
        Command::Fill(c) => a.fill(c),
        Command::Norm(c) => a.norm(c),
        Command::Softmax(c) => a.softmax(c),
        Command::Quantize(c) => a.quantize(c),
        Command::Dequantize(c) => a.dequantize(c),
        Command::Rotary(c) => a.rotary(c),
        Command::Reduce(c) => a.reduce(c),
        Command::Scan(c) => a.scan(c),
        Command::Copy(c) => a.copy(c),
        Command::Lookup(c) => a.lookup(c),
        Command::Scatter(c) => a.scatter(c),
        Command::Sort(c) => a.sort(c),
    }
}

/// The bytes that a command moves.
pub fn traffic(command: &Command, registers: &[u64]) -> Traffic {
    let mut traffic = Traffic::default();
    for access in accesses(command, registers) {
        let sum = match (access.place, access.mode) {
            (Place::Sram, Mode::Read) => &mut traffic.sram_read,
            (Place::Sram, Mode::Write) => &mut traffic.sram_written,
            (Place::Dram(_), Mode::Read) => &mut traffic.dram_read,
            (Place::Dram(_), Mode::Write) => &mut traffic.dram_written,
        };
        *sum = sum.saturating_add(access.bytes);
    }
    traffic
}

/// The bytes that a view of `rows` × `cols` elements covers.
pub fn view_extent(view: &View, rows: u64, cols: u64, registers: &[u64]) -> Extent {
    let dims = [(rows, u64::from(view.pitch)), (cols, u64::from(view.step))];
    Extent::new(view.addr.at(registers), u64::from(view.elem.bytes()), &dims)
}

/// The bytes that a block covers in DRAM (`dram`) or in SRAM, its first run at `start`.
pub fn block_extent(block: &Block, start: u64, dram: bool, registers: &[u64]) -> Extent {
    let stride = |d: usize| {
        if dram {
            block.dram[d]
        } else {
            u64::from(block.sram[d])
        }
    };
    let dims = [0, 1, 2].map(|d| (block.count[d].at(registers), stride(d)));
    Extent::new(start, block.bytes.at(registers), &dims)
}

/// The bytes that a block moves.
pub fn block_bytes(block: &Block, registers: &[u64]) -> u64 {
    let counts = block.count.iter().map(|count| count.at(registers));
    counts.fold(block.bytes.at(registers), u64::saturating_mul)
}

/// Collects the accesses of one command.
struct Accesses<'a> {
    registers: &'a [u64],
    list: &'a mut Vec<Access>,
}

impl Accesses<'_> {
    fn at(&self, value: Affine) -> u64 {
        value.at(self.registers)
    }

    fn view(&mut self, mode: Mode, field: &'static str, view: &View, rows: u64, cols: u64) {
        let extent = view_extent(view, rows, cols, self.registers);
        let bytes = extent.bytes();
        let shape = Some((rows, cols));
        self.list.push(Access {
            mode,
            place: Place::Sram,
            field,
            extent,
            bytes,
            shape,
        });
    }

    fn read(&mut self, field: &'static str, view: &View, rows: u64, cols: u64) {
        self.view(Mode::Read, field, view, rows, cols);
    }

    fn read_optional(&mut self, field: &'static str, view: &Option<View>, rows: u64, cols: u64) {
        if let Some(view) = view {
            self.read(field, view, rows, cols);
        }
    }

    fn write(&mut self, field: &'static str, view: &View, rows: u64, cols: u64) {
        self.view(Mode::Write, field, view, rows, cols);
    }

    fn write_optional(&mut self, field: &'static str, view: &Option<View>, rows: u64, cols: u64) {
        if let Some(view) = view {
            self.write(field, view, rows, cols);
        }
    }

    fn transfer(
        &mut self,
        mode: Mode,
        place: Place,
        field: &'static str,
        extent: Extent,
        bytes: u64,
    ) {
        self.list.push(Access {
            mode,
            place,
            field,
            extent,
            bytes,
            shape: None,
        });
    }

    fn block(&mut self, mode: Mode, field: &'static str, dram: &DramRef, block: &Block) {
        let extent = block_extent(block, self.at(dram.offset), true, self.registers);
        let bytes = block_bytes(block, self.registers);
        self.transfer(mode, Place::Dram(dram.region), field, extent, bytes);
    }

    fn block_in_sram(&mut self, mode: Mode, field: &'static str, addr: Affine, block: &Block) {
        let extent = block_extent(block, self.at(addr), false, self.registers);
        let bytes = block_bytes(block, self.registers);
        self.transfer(mode, Place::Sram, field, extent, bytes);
    }

    fn load(&mut self, c: &Load) {
        self.block(Mode::Read, "src", &c.src, &c.block);
        self.block_in_sram(Mode::Write, "dst", c.dst, &c.block);
    }

    fn store(&mut self, c: &Store) {
        self.block_in_sram(Mode::Read, "src", c.src, &c.block);
        self.block(Mode::Write, "dst", &c.dst, &c.block);
    }

    fn gather(&mut self, c: &Gather) {
        let count = self.at(c.count);
        self.read("index", &c.index, 1, count);
        let row = u64::from(c.row_bytes);
        let bytes = count.saturating_mul(row);
        let rows = if count == 0 { 0 } else { c.table_rows };
        let table = Extent::new(self.at(c.table.offset), row, &[(rows, c.row_pitch)]);
        self.transfer(
            Mode::Read,
            Place::Dram(c.table.region),
            "table",
            table,
            bytes,
        );
        let dst = Extent::new(self.at(c.dst), row, &[(count, u64::from(c.dst_pitch))]);
        self.transfer(Mode::Write, Place::Sram, "dst", dst, bytes);
    }

    fn matmul(&mut self, c: &Matmul) {
        let (m, n, k) = (self.at(c.m), self.at(c.n), self.at(c.k));
        // An empty contraction has one group, whose sum is zero.
        let groups = k.checked_div(self.at(c.group)).map_or(1, |n| n.max(1));
        self.read("a", &c.a, m, k);
        let packed = if c.b_bits == 4 { k.div_ceil(2) } else { k };
        self.read("b", &c.b, n, packed);
        if let Some(step) = &c.b_step {
            let blocks = k.checked_div(self.at(c.b_group)).map_or(1, |n| n.max(1));
            self.read("b_step", step, n, blocks);
        }
        self.read_optional("b_zero", &c.b_zero, 1, n);
        let scaled = c.finish || c.acc.is_some_and(|acc| acc.elem == Elem::F32);
        if scaled {
            self.read_optional("a_scale", &c.a_scale, m, groups);
        }
        if !c.start {
            self.read_optional("acc", &c.acc, m, n);
        }
        if c.finish {
            self.read_optional("b_scale", &c.b_scale, 1, n);
            self.read_optional("bias", &c.bias, 1, n);
            self.read_optional("residual", &c.residual, m, n);
            self.write("out", &c.out, m, n);
        } else {
            self.write_optional("acc", &c.acc, m, n);
        }
    }

    fn unary(&mut self, c: &Unary) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("src", &c.src, rows, cols);
        self.write("dst", &c.dst, rows, cols);
    }

    fn binary(&mut self, c: &Binary) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("a", &c.a, rows, cols);
        self.read("b", &c.b, rows, cols);
        self.write("dst", &c.dst, rows, cols);
    }

    fn select(&mut self, c: &Select) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("cond", &c.cond, rows, cols);
        self.read("a", &c.a, rows, cols);
        self.read("b", &c.b, rows, cols);
        self.write("dst", &c.dst, rows, cols);
    }

    fn fill(&mut self, c: &Fill) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.write("dst", &c.dst, rows, cols);
    }

    fn norm(&mut self, c: &Norm) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("src", &c.src, rows, cols);
        self.read_optional("gamma", &c.gamma, 1, cols);
        self.read_optional("beta", &c.beta, 1, cols);
        self.write("dst", &c.dst, rows, cols);
    }

    /// A causal softmax reads the columns that its last row sees, and writes all.
    fn softmax(&mut self, c: &Softmax) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        let seen = match c.causal {
            Some(causal) => {
                let last = rows.saturating_add(self.at(causal));
                cols.min(last.max(self.at(c.always)))
            }
            None => cols,
        };
        self.read("src", &c.src, rows, seen);
        self.read_optional("mask", &c.mask, rows, seen);
        self.read_optional("row_mask", &c.row_mask, rows, 1);
        self.read_optional("col_scale", &c.col_scale, 1, seen);
        self.write("dst", &c.dst, rows, cols);
        self.write_optional("dst_scale", &c.dst_scale, rows, 1);
        self.write_optional("log_sum", &c.log_sum, rows, 1);
    }

    fn quantize(&mut self, c: &Quantize) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        let groups = cols.checked_div(self.at(c.group)).unwrap_or(0);
        self.read("src", &c.src, rows, cols);
        self.write("dst", &c.dst, rows, cols);
        self.write_optional("dst_scale", &c.dst_scale, rows, groups);
    }

    fn dequantize(&mut self, c: &Dequantize) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("src", &c.src, rows, cols);
        self.read("scale", &c.scale, rows, cols);
        self.read_optional("addend", &c.addend, rows, cols);
        self.write("dst", &c.dst, rows, cols);
    }

    fn rotary(&mut self, c: &Rotary) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("src", &c.src, rows, cols);
        self.read("cos", &c.cos, rows, cols / 2);
        self.read("sin", &c.sin, rows, cols / 2);
        self.write("dst", &c.dst, rows, cols);
    }

    fn reduce(&mut self, c: &Reduce) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("src", &c.src, rows, cols);
        self.write("dst", &c.dst, rows, 1);
    }

    fn scan(&mut self, c: &Scan) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("src", &c.src, rows, cols);
        self.write("dst", &c.dst, rows, cols);
    }

    fn copy(&mut self, c: &Copy) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("src", &c.src, rows, cols);
        self.write("dst", &c.dst, rows, cols);
    }

    fn sort(&mut self, c: &Sort) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("src", &c.src, rows, cols);
        self.write("dst", &c.dst, rows, cols);
    }

    fn scatter(&mut self, c: &Scatter) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("index", &c.index, 1, rows);
        self.read("src", &c.src, rows, cols);
        self.table(Mode::Write, &c.table, c.table_rows, [rows, cols]);
    }

    /// Rows of a table by index: any of them may be touched, those asked for are moved.
    fn table(&mut self, mode: Mode, view: &View, table_rows: u32, [rows, cols]: [u64; 2]) {
        let table_rows = if rows == 0 { 0 } else { u64::from(table_rows) };
        self.list.push(Access {
            mode,
            place: Place::Sram,
            field: "table",
            extent: view_extent(view, table_rows, cols, self.registers),
            bytes: rows
                .saturating_mul(cols)
                .saturating_mul(u64::from(view.elem.bytes())),
            shape: Some((table_rows, cols)),
        });
    }

    fn lookup(&mut self, c: &Lookup) {
        let (rows, cols) = (self.at(c.rows), self.at(c.cols));
        self.read("index", &c.index, 1, rows);
        self.table(Mode::Read, &c.table, c.table_rows, [rows, cols]);
        self.write("dst", &c.dst, rows, cols);
    }
}
