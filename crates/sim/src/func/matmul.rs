//! `matmul`: int8 products with exact sums, their scales and the epilogue, a tile at a time.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use packwright_numerics::activation::Activation;
use packwright_numerics::matmul::{ColumnScale, Epilogue, MAX_INNER, start_groups_row};
use packwright_numerics::quant::Scale;
use packwright_packet::defs::{FLOAT_ELEMS, Matmul};
use packwright_packet::operand::{Elem, View};
use rayon::prelude::*;

use super::area::Area;
use super::error::Fault;
use super::frame::Frame;
use super::kernel::PANEL;
use super::overlap::{Sharing, refuse_overlap};
use super::port::{encode, encode_row};
use super::quantize::group_count;
use super::rows::room_for;
use super::tile::{Left, Right, Scaled, TILE_COLS, TILE_ROWS, TileSums};
use super::unary::apply_unary;

/// Multiply-adds from which a product is spread over threads.
const PARALLEL_FROM: usize = 1 << 18;

/// Executes a `matmul`.
pub(super) fn matmul(frame: &mut Frame<'_>, command: &Matmul) -> Result<(), Fault> {
    let product = Product::of(frame, command)?;
    product.refuse_overlaps()?;
    let dst = product.dst;
    if dst.is_empty() {
        return Ok(());
    }
    let tiles = product.tiles();
    let mut rest = room_for(frame.result, dst.rows() * dst.row_bytes());
    let mut jobs = Vec::with_capacity(tiles.len());
    for tile in &tiles {
        let bytes = tile.rows.len() * tile.cols.len() * dst.elem_bytes();
        let (out, tail) = rest.split_at_mut(bytes);
        rest = tail;
        jobs.push((tile, out));
    }
    let (sram, rooms) = (&*frame.sram, frame.rooms);
    let compute = |(tile, out): &mut (&Tile, &mut [u8])| {
        let mut room = rooms.take();
        product.compute(sram, &mut room, tile, out);
        rooms.give_back(room);
    };
    let work = dst.rows() * dst.cols() * product.a.cols().max(1);
    if jobs.len() > 1 && work >= PARALLEL_FROM {
        jobs.par_iter_mut().for_each(compute);
    } else {
        jobs.iter_mut().for_each(compute);
    }
    for (tile, result) in jobs {
        let part = dst.part(&tile.rows, &tile.cols);
        for (i, row) in result.chunks_exact(part.row_bytes()).enumerate() {
            part.unpack_row(frame.sram, i, row);
        }
    }
    Ok(())
}

/// A product whose operands are known and checked.
struct Product<'a> {
    command: &'a Matmul,
    a: Area,
    b: Area,
    a_scale: Option<Area>,
    /// Steps of the right operand within the sum, a row for each column of the result.
    b_step: Option<Area>,
    /// Zero points of the right operand, a row.
    b_zero: Option<Area>,
    b_scale: Option<Area>,
    bias: Option<Area>,
    residual: Option<Area>,
    /// Partial sums that the product starts from.
    before: Option<Area>,
    /// Whether partial sums are i32: before scaling.
    integer: bool,
    /// Groups of the left operand.
    groups: usize,
    /// Parts of the contraction that lie in one group and one block.
    parts: usize,
    /// What is written: `out` after the last part of the contraction, else `acc`.
    dst: Area,
}

/// A part of the result.
struct Tile {
    rows: Range<usize>,
    cols: Range<usize>,
}

/// Rooms that no tile is worked on in, kept from one product to the next.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<Vec<Room>>);

impl Rooms {
    fn take(&self) -> Room {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.pop().unwrap_or_default()
    }

    fn give_back(&self, room: Room) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.push(room);
    }
}

/// Room for the work on a tile.
#[derive(Debug, Default)]
struct Room {
    sums: TileSums,
    /// rows × cols.
    y: Vec<f32>,
    /// Scales of the left operand, `[row][part]`.
    steps: Vec<f32>,
    /// Steps of the right operand, `[part][column]`.
    columns: Vec<f32>,
    /// Zero points of the columns.
    zeros: Vec<i32>,
    /// Scales and bias of the columns, a residual row.
    scale: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
}

impl<'a> Product<'a> {
    /// Resolves the operands of `command`.
    fn of(frame: &Frame<'_>, command: &'a Matmul) -> Result<Self, Fault> {
        let m = frame.extent("m", command.m)?;
        let n = frame.extent("n", command.n)?;
        let k = frame.extent("k", command.k)?;
        if k > MAX_INNER {
            return Err(Fault::ExtentTooLarge {
                field: "k",
                extent: k as u64,
            });
        }
        let groups = group_count(frame.registers.at("group", command.group)?, k)?;
        let blocks = match &command.b_step {
            Some(_) => group_count(frame.registers.at("b_group", command.b_group)?, k)?,
            None => 1,
        };
        let parts = groups.max(blocks);
        let packed = match command.b_bits {
            8 => false,
            4 if command.b.step == 1 && k.is_multiple_of(2 * parts) => true,
            _ => {
                let why = "int4 elements lie side by side, whole bytes of them in each part";
                return Err(Fault::UnexpectedField {
                    field: "b_bits",
                    why,
                });
            }
        };
        if !(parts.is_multiple_of(groups) && parts.is_multiple_of(blocks)) {
            let why = "neither of group and block divides the other";
            return Err(Fault::UnexpectedField {
                field: "b_group",
                why,
            });
        }
        let acc = frame.optional("acc", command.acc.as_ref(), [m, n])?;
        let acc = of_type(acc, &[Elem::I32, Elem::F32])?;
        let integer = acc.is_some_and(|acc| acc.elem() == Elem::I32);
        if integer && (groups > 1 || command.b_step.is_some()) {
            let why = "i32 partial sums hold one group";
            return Err(Fault::UnexpectedField {
                field: "group",
                why,
            });
        }
        // What a part of the contraction has no use for is not looked at.
        let a_scale = command
            .a_scale
            .as_ref()
            .filter(|_| command.finish || !integer);
        let last = |view: &'a Option<View>| view.as_ref().filter(|_| command.finish);
        let f32s =
            |field, view, extents| of_type(frame.optional(field, view, extents)?, &[Elem::F32]);
        let residual = frame.optional("residual", last(&command.residual), [m, n])?;
        let missing = |why| Fault::MissingField { field: "acc", why };
        let before = match (command.start, acc) {
            (true, _) => None,
            (false, acc) => Some(acc.ok_or(missing("the product does not start from zero"))?),
        };
        let dst = if command.finish {
            let out = frame.target("out", &command.out, [m, n])?;
            out.of_type(&[Elem::F32, Elem::F16, Elem::I8])?
        } else {
            acc.ok_or(missing("the product does not finish"))?
                .writable()?
        };
        Ok(Self {
            command,
            a: frame.area("a", &command.a, [m, k])?.of_type(&[Elem::I8])?,
            b: frame
                .area("b", &command.b, [n, if packed { k / 2 } else { k }])?
                .of_type(&[Elem::I8])?,
            b_step: of_type(
                frame.optional("b_step", command.b_step.as_ref(), [n, blocks])?,
                &[Elem::F16],
            )?,
            b_zero: of_type(
                frame.optional("b_zero", command.b_zero.as_ref(), [1, n])?,
                &[Elem::I32],
            )?,
            a_scale: f32s("a_scale", a_scale, [m, groups])?,
            b_scale: f32s("b_scale", last(&command.b_scale), [1, n])?,
            bias: f32s("bias", last(&command.bias), [1, n])?,
            residual: of_type(residual, &FLOAT_ELEMS)?,
            before,
            integer,
            groups,
            parts,
            dst,
        })
    }

    /// Refuses a result over operands that are read more than once.
    fn refuse_overlaps(&self) -> Result<(), Fault> {
        let whole = [
            Some(self.a),
            Some(self.b),
            self.a_scale,
            self.b_step,
            self.b_zero,
            self.b_scale,
            self.bias,
        ];
        for operand in whole.iter().flatten() {
            refuse_overlap(&self.dst, operand, Sharing::Never)?;
        }
        for operand in [self.residual, self.before].iter().flatten() {
            refuse_overlap(&self.dst, operand, Sharing::Elements)?;
        }
        Ok(())
    }

    /// The tiles of the result.
    fn tiles(&self) -> Vec<Tile> {
        let cut = |extent: usize, size: usize| {
            (0..extent)
                .step_by(size)
                .map(move |start| start..extent.min(start + size))
        };
        let (m, n) = (self.dst.rows(), self.dst.cols());
        // As much work for each thread, in tiles of whole panels.
        let bands = m.div_ceil(TILE_ROWS).max(1);
        let share = rayon::current_num_threads().div_ceil(bands);
        let parts = n.div_ceil(TILE_COLS).next_multiple_of(share).max(1);
        let width = n.div_ceil(parts).next_multiple_of(PANEL);
        let rows = cut(m, TILE_ROWS);
        rows.flat_map(|rows| {
            cut(n, width).map(move |cols| Tile {
                rows: rows.clone(),
                cols,
            })
        })
        .collect()
    }

    /// Fills `out` with the bytes of a tile of the result, packed row after row.
    fn compute(&self, sram: &[u8], room: &mut Room, tile: &Tile, out: &mut [u8]) {
        if self.integer {
            self.integer_sums(sram, room, tile);
        } else {
            self.scaled_sums(sram, room, tile);
        }
        if self.command.finish {
            self.finish(sram, room, tile, out);
        } else if self.integer {
            encode(room.sums.all(), out, i32::to_le_bytes);
        } else {
            encode_row(Elem::F32, &room.y, 1.0, out);
        }
    }

    /// Leaves i32 sums in `room.sums` and, at the end of the contraction, scaled ones in `room.y`.
    fn integer_sums(&self, sram: &[u8], room: &mut Room, tile: &Tile) {
        let (rows, cols) = (tile.rows.len(), tile.cols.len());
        room.sums.clear(rows, cols);
        if let Some(before) = &self.before {
            let before = before.part(&tile.rows, &tile.cols);
            for i in 0..rows {
                before.read_sums(sram, i, room.sums.row_mut(i));
            }
        }
        let (a, b) = self.operands(sram, tile, &mut room.zeros);
        room.sums.accumulate(sram, &a, &b);
        if self.command.finish {
            room.y.resize(rows * cols, 0.0);
            self.steps(sram, tile, &mut room.steps);
            let steps = room.steps.iter().step_by(self.parts);
            for ((i, y), &step) in room.y.chunks_exact_mut(cols).enumerate().zip(steps) {
                start_groups_row(room.sums.row(i), step, y);
            }
        }
    }

    /// Leaves f32 sums of scaled groups in `room.y`.
    fn scaled_sums(&self, sram: &[u8], room: &mut Room, tile: &Tile) {
        let (rows, cols) = (tile.rows.len(), tile.cols.len());
        room.y.resize(rows * cols, 0.0);
        if let Some(before) = &self.before {
            let before = before.part(&tile.rows, &tile.cols);
            for (i, y) in room.y.chunks_exact_mut(cols).enumerate() {
                before.read_row(sram, i, y);
            }
        }
        let Room {
            sums,
            y,
            steps,
            columns,
            zeros,
            ..
        } = room;
        let (a, b) = self.operands(sram, tile, zeros);
        self.steps(sram, tile, steps);
        self.columns(sram, tile, columns);
        let scaled = Scaled {
            parts: self.parts,
            steps,
            columns: self.b_step.is_some().then_some(columns.as_slice()),
            start: self.command.start,
            y,
        };
        sums.add_scaled(sram, &a, &b, scaled);
    }

    /// Carries `room.y` through the epilogue to bytes.
    fn finish(&self, sram: &[u8], room: &mut Room, tile: &Tile, out: &mut [u8]) {
        let cols = tile.cols.len();
        let Room {
            y,
            scale,
            bias,
            residual,
            ..
        } = room;
        let columns = |area: &Option<Area>, row: &mut Vec<f32>| {
            row.resize(cols, 0.0);
            area.map(|area| area.part(&(0..1), &tile.cols).read_row(sram, 0, row))
                .is_some()
        };
        let epilogue = Epilogue {
            scale: if columns(&self.b_scale, scale) {
                ColumnScale::Each(scale)
            } else {
                ColumnScale::All(1.0)
            },
            alpha: self.command.alpha,
            bias: columns(&self.bias, bias).then_some(bias.as_slice()),
            activation: Activation::None,
        };
        epilogue.finish_rows(y, cols);
        apply_unary(self.command.activation, y);
        if let Some(area) = self.residual {
            let area = area.part(&tile.rows, &tile.cols);
            residual.resize(cols, 0.0);
            for (i, y) in y.chunks_exact_mut(cols).enumerate() {
                area.read_row(sram, i, residual);
                for (y, &addend) in y.iter_mut().zip(&*residual) {
                    *y += addend;
                }
            }
        }
        let inverse = Scale::fixed(self.command.out_scale).inverse;
        encode_row(self.dst.elem(), y, inverse, out);
    }

    /// The operands of a tile.
    fn operands<'z>(&self, sram: &[u8], tile: &Tile, zeros: &'z mut Vec<i32>) -> (Left, Right<'z>) {
        let zeros = self.b_zero.map(|area| {
            zeros.resize(tile.cols.len(), 0);
            area.part(&(0..1), &tile.cols).read_sums(sram, 0, zeros);
            zeros.as_slice()
        });
        let left = Left {
            area: self.a.part(&tile.rows, &(0..self.a.cols())),
            zero: self.command.a_zero,
        };
        let right = Right {
            area: self.b.part(&tile.cols, &(0..self.b.cols())),
            packed: self.command.b_bits == 4,
            zeros,
        };
        (left, right)
    }

    /// The scales of the tile's rows of the left operand, part by part.
    fn steps(&self, sram: &[u8], tile: &Tile, steps: &mut Vec<f32>) {
        steps.clear();
        steps.resize(tile.rows.len() * self.parts, 1.0);
        if let Some(scale) = &self.a_scale {
            let rows = scale.part(&tile.rows, &(0..self.groups));
            for (i, steps) in steps.chunks_exact_mut(self.parts).enumerate() {
                rows.read_row(sram, i, &mut steps[..self.groups]);
                // A group of several parts has its scale in each.
                let each = self.parts / self.groups;
                for part in (0..self.parts).rev() {
                    steps[part] = steps[part / each];
                }
            }
        }
    }

    /// The steps of the tile's columns of the right operand, part by part.
    fn columns(&self, sram: &[u8], tile: &Tile, columns: &mut Vec<f32>) {
        let Some(step) = &self.b_step else {
            return;
        };
        let (count, blocks) = (tile.cols.len(), step.cols());
        columns.clear();
        columns.resize(self.parts * count, 0.0);
        let rows = step.part(&tile.cols, &(0..blocks));
        let mut row = vec![0.0; blocks];
        for column in 0..count {
            rows.read_row(sram, column, &mut row);
            for part in 0..self.parts {
                columns[part * count + column] = row[part * blocks / self.parts];
            }
        }
    }
}

/// The area, if there is one, of one of the given types.
fn of_type(area: Option<Area>, allowed: &[Elem]) -> Result<Option<Area>, Fault> {
    area.map(|area| area.of_type(allowed)).transpose()
}
