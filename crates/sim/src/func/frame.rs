//! What a command sees of the machine: SRAM, registers and room for its result.

use packwright_packet::operand::{Affine, View};

use super::area::Area;
use super::error::Fault;
use super::matmul::Rooms;
use super::registers::Registers;

/// The surroundings of one command.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// All of SRAM.
    pub(super) sram: &'a mut [u8],
    pub(super) registers: Registers<'a>,
    /// Reused room for a result between its computation and its way to SRAM.
    pub(super) result: &'a mut Vec<u8>,
    /// Reused room for products.
    pub(super) rooms: &'a Rooms,
}

impl Frame<'_> {
    /// A number of rows or columns; none can be larger than SRAM has bytes.
    pub(super) fn extent(&self, field: &'static str, extent: Affine) -> Result<usize, Fault> {
        let extent = self.registers.at(field, extent)?;
        match usize::try_from(extent) {
            Ok(small) if small <= self.sram.len() => Ok(small),
            _ => Err(Fault::ExtentTooLarge { field, extent }),
        }
    }

    /// Rows and columns of a vector command.
    pub(super) fn extents(&self, rows: Affine, cols: Affine) -> Result<[usize; 2], Fault> {
        Ok([self.extent("rows", rows)?, self.extent("cols", cols)?])
    }

    /// The elements of `view`, all within SRAM.
    pub(super) fn area(
        &self,
        field: &'static str,
        view: &View,
        extents: [usize; 2],
    ) -> Result<Area, Fault> {
        let addr = self.registers.at(field, view.addr)?;
        Area::new(field, view, addr, extents, self.sram.len())
    }

    /// The same for a view that may be missing.
    pub(super) fn optional(
        &self,
        field: &'static str,
        view: Option<&View>,
        extents: [usize; 2],
    ) -> Result<Option<Area>, Fault> {
        view.map(|view| self.area(field, view, extents)).transpose()
    }

    /// The elements of a result: all within SRAM, none on another.
    pub(super) fn target(
        &self,
        field: &'static str,
        view: &View,
        extents: [usize; 2],
    ) -> Result<Area, Fault> {
        self.area(field, view, extents)?.writable()
    }
}
