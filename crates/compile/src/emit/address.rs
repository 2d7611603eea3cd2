//! Where the data of a fragment lie in SRAM.

use std::ops::Range;

use indexmap::IndexMap;
use packwright_ir::{Graph, Value};
use packwright_packet::operand::{Elem, View};

use crate::plan::constants::TileId;
use crate::plan::demand;
use crate::plan::storage::{Place, RootId};
use crate::plan::window::Window;
use crate::plan::{Buffer, Home, Plan};

/// A plan with its addresses at hand.
#[derive(Debug)]
pub struct Site<'a> {
    pub graph: &'a Graph,
    pub plan: &'a Plan,
    /// Address, copies and their distance.
    homes: IndexMap<Home, Spot>,
}

/// A segment and a pass over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub segment: usize,
    pub pass: usize,
}

/// The fragment at work: its stage and its rows.
#[derive(Clone, Debug)]
pub struct At {
    pub segment: Turn,
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
    pub fn row(mut self, row: usize) -> Self {
        self.addr += row as u64 * self.pitch;
        self.scale_addr += row as u64 * self.scale_pitch;
        self
    }

    /// The same area from a later column on; `group` is that of the scales. The area of a window begins
    /// where its columns would, so addresses wrap on the way.
    #[must_use]
    pub fn column(self, column: usize, group: Option<usize>) -> Self {
        self.shifted(column as i64, group)
    }

    /// The same area some columns further on or back.
    #[must_use]
    pub fn shifted(mut self, columns: i64, group: Option<usize>) -> Self {
        let offset = columns * i64::from(self.elem.bytes());
        self.addr = self.addr.wrapping_add_signed(offset);
        if let Some(group) = group {
            let scales = columns.div_euclid(group as i64) * 4;
            self.scale_addr = self.scale_addr.wrapping_add_signed(scales);
        }
        self
    }
}

/// Where a buffer lies.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    addr: u64,
    copies: u64,
    /// Bytes from one copy to the next.
    apart: u64,
}

impl<'a> Site<'a> {
    /// Indexes the buffers of a plan.
    pub fn new(graph: &'a Graph, plan: &'a Plan) -> Self {
        let spot = |b: &Buffer| Spot {
            addr: b.addr,
            copies: b.copies,
            apart: b.bytes / b.copies,
        };
        let homes = plan.buffers.iter().map(|b| (b.home, spot(b)));
        Self {
            graph,
            plan,
            homes: homes.collect(),
        }
    }

    /// Address of a scratch part; copies alternate where there are two.
    pub fn scratch(&self, at: &At, part: u8, copy: u8) -> u64 {
        let segment = &self.plan.segments[at.segment.segment];
        let copy = copy % demand::places(segment, &segment.stages[at.stage], part);
        let home = Home::Scratch {
            segment: at.segment.segment,
            stage: at.stage,
            part,
            copy,
        };
        let spot = self.homes.get(&home);
        spot.expect("demand lists every scratch part").addr
    }

    /// Whether a root has a buffer that the segment sees.
    pub fn has_home(&self, root: RootId, turn: Turn) -> bool {
        self.home(root, turn.segment).is_some()
    }

    fn home(&self, root: RootId, segment: usize) -> Option<(Home, Spot)> {
        [
            Home::Block { root, segment },
            Home::Window { root, segment },
            Home::Refilled { root, segment },
            Home::Heads { root, segment },
            Home::Whole(root),
        ]
        .into_iter()
        .find_map(|home| self.homes.get(&home).map(|&spot| (home, spot)))
    }

    /// Whether all columns of a spilled root come back at once.
    pub fn comes_whole(&self, root: RootId, segment: usize) -> bool {
        matches!(self.home(root, segment), Some((Home::Refilled { .. }, _)))
    }

    /// The window that a root is seen through in a segment, where it is not there as a whole.
    pub fn window(&self, root: RootId, segment: usize) -> Option<&Window> {
        let (home, _) = self.home(root, segment)?;
        match home {
            Home::Block { .. } | Home::Window { .. } | Home::Heads { .. } => {
                self.plan.segments[segment].passes.window(root)
            }
            Home::Whole(_) | Home::Refilled { .. } | Home::Scratch { .. } => None,
        }
    }

    /// The column ranges of a root that a pass makes; all columns where it is not cut.
    pub fn pass_columns(&self, root: RootId, turn: Turn) -> Vec<Range<usize>> {
        match self.plan.segments[turn.segment].passes.window(root) {
            Some(window) => window.ranges(turn.pass).collect(),
            None => std::iter::once(0..self.plan.storage.root(root).cols).collect(),
        }
    }

    /// Rows of a root from `row` on, as the segment sees them; columns count from the first section of
    /// its window.
    pub fn root_area(&self, root: RootId, turn: Turn, row: usize) -> Area {
        self.root_columns(root, turn, row, 0)
    }

    /// The same for columns that lie in the section of `column`: that column is not yet added.
    pub fn root_columns(&self, root: RootId, turn: Turn, row: usize, column: usize) -> Area {
        let whole = self.plan.storage.root(root);
        let segment = &self.plan.segments[turn.segment];
        let (home, spot) = self
            .home(root, turn.segment)
            .expect("every root has a home");
        let window = self.window(root, turn.segment);
        let info = match window {
            Some(window) => whole.narrowed(window.columns()),
            None => whole.clone(),
        };
        let (first, rows, turn_of_all) = match home {
            Home::Block { .. } => {
                let block = segment.block_rows.max(1);
                let index = match (segment.blocks_first(), window) {
                    (false, _) => turn.pass * segment.block_count() + row / block,
                    (true, Some(_)) => row / block * segment.passes.count + turn.pass,
                    (true, None) => row / block,
                };
                (row / block * block, block.min(info.rows), index)
            }
            Home::Whole(_)
            | Home::Window { .. }
            | Home::Heads { .. }
            | Home::Refilled { .. }
            | Home::Scratch { .. } => (0, info.rows, turn.pass),
        };
        let base = spot.addr + turn_of_all as u64 % spot.copies * spot.apart;
        let offset = (row - first) as u64;
        let area = Area {
            elem: info.elem,
            addr: base + offset * info.pitch(),
            pitch: info.pitch(),
            scale_addr: base + info.data_bytes(rows) + offset * info.scale_pitch(),
            scale_pitch: info.scale_pitch(),
        };
        match window {
            Some(window) => area.shifted(window.shift(turn.pass, column), info.group),
            None => area,
        }
    }

    /// A value from its row `row` on.
    pub fn value_area(&self, value: Value, turn: Turn, row: usize) -> Option<Area> {
        let place = self.plan.storage.place(value)?;
        Some(self.place_area(place, turn, row))
    }

    /// A place from its row `row` on.
    pub fn place_area(&self, place: Place, turn: Turn, row: usize) -> Area {
        self.place_columns(place, turn, row, 0)
    }

    /// The same from a column of the place on.
    pub fn place_columns(&self, place: Place, turn: Turn, row: usize, column: usize) -> Area {
        let group = self.plan.storage.root(place.root).group;
        let row = place.row + row * place.row_step;
        let column = place.col + column;
        let mut area = self
            .root_columns(place.root, turn, row, column)
            .column(column, group);
        area.pitch *= place.row_step as u64;
        area.scale_pitch *= place.row_step as u64;
        area
    }

    /// SRAM address of a tile.
    pub fn tile(&self, tile: TileId) -> u64 {
        self.plan.tiles[tile.0 as usize].addr
    }
}
