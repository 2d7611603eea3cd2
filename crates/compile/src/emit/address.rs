//! Where the data of a fragment lie in SRAM.

use std::ops::Range;

use indexmap::IndexMap;
use packwright_ir::{Graph, Value};
use packwright_packet::operand::{Elem, View};

use crate::plan::constants::TileId;
use crate::plan::storage::{Place, RootId};
use crate::plan::{Home, Plan};

/// A plan with its addresses at hand.
#[derive(Debug)]
pub struct Site<'a> {
    pub graph: &'a Graph,
    pub plan: &'a Plan,
    homes: IndexMap<Home, u64>,
}

/// The fragment at work: its stage and its rows.
#[derive(Clone, Debug)]
pub struct At {
    pub segment: usize,
    pub stage: usize,
    /// Rows of the fragment, in rows of the values that flow through the segment.
    pub block: Range<usize>,
}

/// A rectangle in SRAM with its run-time scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    pub elem: Elem,
    pub addr: u64,
    /// Bytes from one row to the next.
    pub pitch: u64,
    /// Address of the first scale; zero where there are none.
    pub scale_addr: u64,
    pub scale_pitch: u64,
}

impl Area {
    /// The elements as rows.
    pub fn view(&self) -> View {
        View::rows(self.elem, self.addr, self.pitch as u32)
    }

    /// The scales as rows.
    pub fn scales(&self) -> View {
        View::rows(Elem::F32, self.scale_addr, self.scale_pitch as u32)
    }

    /// The same area from a later row on.
    #[must_use]
    pub fn down(mut self, rows: usize) -> Self {
        self.addr += rows as u64 * self.pitch;
        self.scale_addr += rows as u64 * self.scale_pitch;
        self
    }

    /// The same area from a later column on; `group` is that of the scales.
    #[must_use]
    pub fn column(mut self, column: usize, group: Option<usize>) -> Self {
        self.addr += column as u64 * u64::from(self.elem.bytes());
        if let Some(group) = group {
            self.scale_addr += (column / group) as u64 * 4;
        }
        self
    }
}

impl<'a> Site<'a> {
    /// Indexes the buffers of a plan.
    pub fn new(graph: &'a Graph, plan: &'a Plan) -> Self {
        let homes = plan.buffers.iter().map(|b| (b.home, b.addr)).collect();
        Self { graph, plan, homes }
    }

    /// Address of a scratch part; copies alternate.
    pub fn scratch(&self, at: &At, part: u8, copy: u8) -> u64 {
        let home = Home::Scratch {
            segment: at.segment,
            stage: at.stage,
            part,
            copy,
        };
        *self
            .homes
            .get(&home)
            .expect("demand lists every scratch part")
    }

    /// Whether a root has a buffer that the segment sees.
    pub fn has_home(&self, root: RootId, segment: usize) -> bool {
        self.homes.contains_key(&Home::Block { root, segment })
            || self.homes.contains_key(&Home::Refilled { root, segment })
            || self.homes.contains_key(&Home::Whole(root))
    }

    /// Rows of a root from `row` on, as the segment sees them.
    pub fn root_area(&self, root: RootId, segment: usize, row: usize) -> Area {
        let info = self.plan.storage.root(root);
        let plan_segment = &self.plan.segments[segment];
        let all_rows = [Home::Refilled { root, segment }, Home::Whole(root)];
        let (base, first, rows) = match self.homes.get(&Home::Block { root, segment }) {
            Some(&base) => {
                let block = plan_segment.block_rows.max(1);
                (base, row / block * block, block.min(info.rows))
            }
            None => {
                let base = all_rows.iter().find_map(|home| self.homes.get(home));
                (*base.expect("every root has a home"), 0, info.rows)
            }
        };
        let offset = (row - first) as u64;
        Area {
            elem: info.elem,
            addr: base + offset * info.pitch(),
            pitch: info.pitch(),
            scale_addr: base + info.data_bytes(rows) + offset * info.scale_pitch(),
            scale_pitch: info.scale_pitch(),
        }
    }

    /// A value from its row `row` on.
    pub fn value_area(&self, value: Value, segment: usize, row: usize) -> Option<Area> {
        let place = self.plan.storage.place(value)?;
        Some(self.place_area(place, segment, row))
    }

    /// A place from its row `row` on.
    pub fn place_area(&self, place: Place, segment: usize, row: usize) -> Area {
        let group = self.plan.storage.root(place.root).group;
        let mut area = self
            .root_area(place.root, segment, place.row + row * place.row_step)
            .column(place.col, group);
        area.pitch *= place.row_step as u64;
        area.scale_pitch *= place.row_step as u64;
        area
    }

    /// SRAM address of a tile.
    pub fn tile(&self, tile: TileId) -> u64 {
        self.plan.tiles[tile.0 as usize].addr
    }
}
