//! `load` and `store`: strided runs of bytes between DRAM and SRAM.

use packwright_packet::defs::{Load, Store};
use packwright_packet::operand::{Affine, Block};

use super::area::distinct;
use super::dram::Dram;
use super::error::Fault;
use super::frame::Frame;
use super::registers::Registers;

/// Executes a `load`.
pub(super) fn load(frame: &mut Frame<'_>, dram: &Dram<'_>, command: &Load) -> Result<(), Fault> {
    let Some(runs) = Runs::of(frame.registers, &command.block)? else {
        return Ok(());
    };
    let source = dram.read("src", command.src.region)?;
    let from = runs.dram("src", frame.registers, command.src.offset)?;
    from.within(source.len(), |end, bytes| {
        let region = dram.name(command.src.region);
        Fault::OutsideRegion {
            field: "src",
            region,
            end,
            bytes,
        }
    })?;
    let to = runs.sram("dst", frame.registers, command.dst)?;
    to.within(frame.sram.len(), |end, bytes| Fault::OutsideSram {
        field: "dst",
        end,
        bytes,
    })?;
    to.writable(&runs)?;
    runs.transfer(&from, source, &to, frame.sram);
    Ok(())
}

/// Executes a `store`.
pub(super) fn store(frame: &Frame<'_>, dram: &mut Dram<'_>, command: &Store) -> Result<(), Fault> {
    let Some(runs) = Runs::of(frame.registers, &command.block)? else {
        return Ok(());
    };
    let from = runs.sram("src", frame.registers, command.src)?;
    from.within(frame.sram.len(), |end, bytes| Fault::OutsideSram {
        field: "src",
        end,
        bytes,
    })?;
    let region = dram.name(command.dst.region);
    let target = dram.write("dst", command.dst.region)?;
    let to = runs.dram("dst", frame.registers, command.dst.offset)?;
    to.within(target.len(), |end, bytes| Fault::OutsideRegion {
        field: "dst",
        region,
        end,
        bytes,
    })?;
    to.writable(&runs)?;
    runs.transfer(&from, frame.sram, &to, target);
    Ok(())
}

/// The runs of a block that holds at least one byte.
struct Runs<'a> {
    count: [u64; 3],
    bytes: u64,
    block: &'a Block,
}

/// One end of a block: the addresses of its runs, once they are known to be [`End::within`].
struct End {
    field: &'static str,
    start: u64,
    strides: [u64; 3],
    /// The byte after the last.
    end: u64,
}

impl<'a> Runs<'a> {
    /// The runs of `block`; none where there is nothing to move.
    fn of(registers: Registers<'_>, block: &'a Block) -> Result<Option<Self>, Fault> {
        let mut count = [0; 3];
        for (count, affine) in count.iter_mut().zip(block.count) {
            *count = registers.at("count", affine)?;
        }
        let bytes = registers.at("bytes", block.bytes)?;
        let empty = bytes == 0 || count.contains(&0);
        Ok((!empty).then_some(Self {
            count,
            bytes,
            block,
        }))
    }

    /// The end in DRAM.
    fn dram(
        &self,
        field: &'static str,
        registers: Registers<'_>,
        start: Affine,
    ) -> Result<End, Fault> {
        self.end(field, registers.at(field, start)?, self.block.dram)
    }

    /// The end in SRAM.
    fn sram(
        &self,
        field: &'static str,
        registers: Registers<'_>,
        start: Affine,
    ) -> Result<End, Fault> {
        self.end(
            field,
            registers.at(field, start)?,
            self.block.sram.map(u64::from),
        )
    }

    /// The addresses that runs with the given strides reach.
    fn end(&self, field: &'static str, start: u64, strides: [u64; 3]) -> Result<End, Fault> {
        let mut end = start.checked_add(self.bytes);
        for (count, stride) in self.count.iter().zip(strides) {
            let reach = (count - 1).checked_mul(stride);
            end = end
                .zip(reach)
                .and_then(|(end, reach)| end.checked_add(reach));
        }
        let end = end.ok_or(Fault::AddressOverflow { field })?;
        Ok(End {
            field,
            start,
            strides,
            end,
        })
    }

    /// Copies all runs; both ends lie within their memories.
    fn transfer(&self, from: &End, source: &[u8], to: &End, target: &mut [u8]) {
        let bytes = self.bytes as usize;
        let [na, nb, nc] = self.count;
        for a in 0..na {
            for b in 0..nb {
                for c in 0..nc {
                    let (from, to) = (from.run([a, b, c]), to.run([a, b, c]));
                    target[to..to + bytes].copy_from_slice(&source[from..from + bytes]);
                }
            }
        }
    }
}

impl End {
    /// Whether all runs lie within a memory of `bytes` bytes.
    fn within(&self, bytes: usize, fault: impl FnOnce(u64, u64) -> Fault) -> Result<(), Fault> {
        let bytes = bytes as u64;
        if self.end <= bytes {
            Ok(())
        } else {
            Err(fault(self.end, bytes))
        }
    }

    /// Whether the runs can be written in any order: none lies on another.
    ///
    /// This also bounds the number of runs by the size of the memory.
    fn writable(&self, runs: &Runs<'_>) -> Result<(), Fault> {
        let lattice = [0, 1, 2].map(|d| (saturate(runs.count[d]), saturate(self.strides[d])));
        if distinct(&lattice, saturate(runs.bytes)) {
            Ok(())
        } else {
            Err(Fault::SelfOverlap { field: self.field })
        }
    }

    /// Address of a run.
    fn run(&self, index: [u64; 3]) -> usize {
        let [a, b, c] = [0, 1, 2].map(|d| index[d] * self.strides[d]);
        (self.start + a + b + c) as usize
    }
}

/// The number, or the largest that a host address can have.
fn saturate(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
