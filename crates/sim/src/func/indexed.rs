//! Rows of a table in SRAM by index: the operands that `lookup` and `scatter` share.

use packwright_packet::operand::{Affine, Elem, View};

use super::area::Area;
use super::error::Fault;
use super::frame::Frame;
use super::gather::row_of;
use super::overlap::{Sharing, refuse_overlap};

/// Extents and indices of a command that names rows of a table.
pub(super) struct Indexed {
    /// Rows that are copied, and elements of a row.
    pub(super) extents: [usize; 2],
    /// Rows of the table, and elements of a row.
    pub(super) table: [usize; 2],
    index: Area,
}

impl Indexed {
    /// Reads the extents; `None` where nothing is copied.
    pub(super) fn new(
        frame: &Frame<'_>,
        [rows, cols]: [Affine; 2],
        index: &View,
        table_rows: u32,
    ) -> Result<Option<Self>, Fault> {
        let [rows, cols] = frame.extents(rows, cols)?;
        if rows == 0 || cols == 0 {
            return Ok(None);
        }
        let table_rows = frame.extent("table_rows", Affine::from(table_rows))?;
        if table_rows == 0 {
            return Err(Fault::EmptyTable);
        }
        let index = frame.area("index", index, [1, rows])?;
        Ok(Some(Self {
            extents: [rows, cols],
            table: [table_rows, cols],
            index: index.of_type(&[Elem::I32, Elem::I64])?,
        }))
    }

    /// The row of the table that each index names. What is written has elements as wide as those of what is read, and
    /// lies apart from it and from the indices.
    pub(super) fn rows(
        &self,
        frame: &Frame<'_>,
        read: &Area,
        written: &Area,
    ) -> Result<Vec<usize>, Fault> {
        if written.elem_bytes() != read.elem_bytes() {
            return Err(Fault::ElementType {
                field: written.field(),
                elem: written.elem(),
            });
        }
        refuse_overlap(written, &self.index, Sharing::Never)?;
        refuse_overlap(written, read, Sharing::Never)?;
        let mut indices = vec![0i64; self.extents[0]];
        self.index.read_integers(frame.sram, 0, &mut indices);
        let rows = indices
            .into_iter()
            .map(|index| row_of(index, self.table[0] as u64) as usize);
        Ok(rows.collect())
    }
}
