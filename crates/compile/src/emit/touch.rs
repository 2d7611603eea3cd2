//! What a command touches in SRAM, as strided runs of bytes.

use packwright_packet::defs::Command;
use packwright_packet::operand::{Affine, Block, View};

/// Runs of bytes in SRAM: `rows` runs of `width` bytes, `pitch` bytes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub write: bool,
    pub addr: u64,
    pub rows: u64,
    pub pitch: u64,
    pub width: u64,
}

impl Touch {
    /// One contiguous run.
    pub fn run(write: bool, addr: u64, bytes: u64) -> Self {
        Self {
            write,
            addr,
            rows: 1,
            pitch: bytes,
            width: bytes,
        }
    }

    /// End of the last run.
    pub fn end(&self) -> u64 {
        self.addr + (self.rows.max(1) - 1) * self.pitch + self.width
    }

    /// Whether two touches share a byte. Runs of unlike pitch count as sharing where their spans do.
    pub fn overlaps(&self, other: &Touch) -> bool {
        if self.addr >= other.end() || other.addr >= self.end() {
            return false;
        }
        if self.rows > 1 && other.rows > 1 && self.pitch != other.pitch {
            return true;
        }
        let (few, many) = if self.rows <= other.rows {
            (self, other)
        } else {
            (other, self)
        };
        if many.rows == 1 {
            return true;
        }
        let pitch = many.pitch;
        if few.width >= pitch {
            return true;
        }
        // Columns modulo the pitch; the row ranges overlap because the spans do, up to the edges.
        let offset = (few.addr + pitch - many.addr % pitch) % pitch;
        offset < many.width || offset + few.width > pitch
    }

    /// Whether every byte of `other` is among this one's.
    pub fn covers(&self, other: &Touch) -> bool {
        if self.addr > other.addr || self.end() < other.end() {
            return false;
        }
        if self.rows == 1 {
            return true;
        }
        self.pitch == other.pitch && {
            let offset = (other.addr - self.addr) % self.pitch;
            offset + other.width <= self.width
        }
    }

    fn of_view(write: bool, view: &View, rows: u64, cols: u64, maxima: &[u64]) -> Self {
        let (addr, elem) = (view.addr.at(maxima), u64::from(view.elem.bytes()));
        let (pitch, step) = (u64::from(view.pitch), u64::from(view.step));
        let rows = if pitch == 0 { 1 } else { rows };
        let cols = if step == 0 { 1 } else { cols };
        let touch = if step <= elem || cols == 1 {
            Self {
                write,
                addr,
                rows,
                pitch,
                width: cols * elem,
            }
        } else if pitch == elem || rows == 1 {
            Self {
                write,
                addr,
                rows: cols,
                pitch: step,
                width: rows * elem,
            }
        } else {
            let span = (rows - 1) * pitch + (cols - 1) * step + elem;
            Self::run(write, addr, span)
        };
        touch.joined()
    }

    /// Adjacent runs become one.
    fn joined(self) -> Self {
        if self.rows == 1 || self.pitch == self.width {
            let bytes = (self.rows - 1) * self.pitch + self.width;
            Self::run(self.write, self.addr, bytes)
        } else {
            self
        }
    }

    fn of_block(write: bool, addr: Affine, block: &Block, maxima: &[u64]) -> Vec<Self> {
        let [outer, middle, inner] = block.count.map(|count| count.at(maxima));
        let mut touches = Vec::new();
        for a in 0..outer {
            for b in 0..middle {
                let start =
                    addr.at(maxima) + a * u64::from(block.sram[0]) + b * u64::from(block.sram[1]);
                touches.push(
                    Self {
                        write,
                        addr: start,
                        rows: inner,
                        pitch: u64::from(block.sram[2]),
                        width: block.bytes.at(maxima),
                    }
                    .joined(),
                );
            }
        }
        touches
    }
}

/// Lists what a command reads and writes in SRAM, for the largest contents of the registers.
pub fn touches(command: &Command, maxima: &[u64]) -> Vec<Touch> {
    let mut list = Vec::new();
    let mut view = |write: bool, view: &View, rows: u64, cols: u64| {
        list.push(Touch::of_view(write, view, rows, cols, maxima));
    };
    match command {
        Command::Load(c) => return Touch::of_block(true, c.dst, &c.block, maxima),
        Command::Store(c) => return Touch::of_block(false, c.src, &c.block, maxima),
        Command::Gather(c) => {
            view(false, &c.index, 1, c.count.at(maxima));
            list.push(
                Touch {
                    write: true,
                    addr: c.dst.at(maxima),
                    rows: c.count.at(maxima),
                    pitch: u64::from(c.dst_pitch),
                    width: u64::from(c.row_bytes),
                }
                .joined(),
            );
        }
        Command::Matmul(c) => {
            let (m, n, k) = (c.m.at(maxima), c.n.at(maxima), c.k.at(maxima));
            view(false, &c.a, m, k);
            view(false, &c.b, n, k * u64::from(c.b_bits) / 8);
            if let Some(step) = &c.b_step {
                view(false, step, n, k / c.b_group.at(maxima).max(1));
            }
            if let Some(scale) = &c.a_scale {
                view(false, scale, m, k / c.group.at(maxima).max(1));
            }
            for row in [&c.b_zero, &c.b_scale, &c.bias].into_iter().flatten() {
                view(false, row, 1, n);
            }
            if let Some(residual) = &c.residual {
                view(false, residual, m, n);
            }
            if let Some(acc) = &c.acc {
                view(!c.finish, acc, m, n);
            }
            if c.finish {
                view(true, &c.out, m, n);
            }
        }
        Command::Unary(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Binary(c) => {
            view(false, &c.a, c.rows.at(maxima), c.cols.at(maxima));
            view(false, &c.b, c.rows.at(maxima), c.cols.at(maxima));
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Select(c) => {
            for source in [&c.cond, &c.a, &c.b] {
                view(false, source, c.rows.at(maxima), c.cols.at(maxima));
            }
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Fill(c) => view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima)),
        Command::Norm(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            for vector in [&c.gamma, &c.beta].into_iter().flatten() {
                view(false, vector, 1, c.cols.at(maxima));
            }
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Softmax(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            if let Some(mask) = &c.mask {
                view(false, mask, c.rows.at(maxima), c.cols.at(maxima));
            }
            if let Some(mask) = &c.row_mask {
                view(false, mask, c.rows.at(maxima), 1);
            }
            if let Some(scale) = &c.col_scale {
                view(false, scale, 1, c.cols.at(maxima));
            }
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
            for column in [&c.dst_scale, &c.log_sum].into_iter().flatten() {
                view(true, column, c.rows.at(maxima), 1);
            }
        }
        Command::Quantize(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
            if let Some(scale) = &c.dst_scale {
                view(
                    true,
                    scale,
                    c.rows.at(maxima),
                    c.cols.at(maxima) / c.group.at(maxima).max(1),
                );
            }
        }
        Command::Dequantize(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(false, &c.scale, c.rows.at(maxima), c.cols.at(maxima));
            if let Some(addend) = &c.addend {
                view(false, addend, c.rows.at(maxima), c.cols.at(maxima));
            }
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Rotary(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(false, &c.cos, c.rows.at(maxima), c.cols.at(maxima) / 2);
            view(false, &c.sin, c.rows.at(maxima), c.cols.at(maxima) / 2);
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Reduce(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(true, &c.dst, c.rows.at(maxima), 1);
        }
        Command::Scan(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Copy(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Scatter(c) => {
            view(false, &c.index, 1, c.rows.at(maxima));
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(true, &c.table, u64::from(c.table_rows), c.cols.at(maxima));
        }
        Command::Sort(c) => {
            view(false, &c.src, c.rows.at(maxima), c.cols.at(maxima));
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
        Command::Lookup(c) => {
            view(false, &c.index, 1, c.rows.at(maxima));
            view(false, &c.table, u64::from(c.table_rows), c.cols.at(maxima));
            view(true, &c.dst, c.rows.at(maxima), c.cols.at(maxima));
        }
    }
    list
}
