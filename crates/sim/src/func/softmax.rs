//! `softmax` of rows of scores.

use std::ops::Range;

use packwright_numerics::quant::quantize_dynamic_row;
use packwright_numerics::reduce::logsumexp_row;
use packwright_numerics::softmax::exponentials_row;
use packwright_packet::defs::Softmax;
use packwright_packet::operand::{Affine, Elem};

use super::area::Area;
use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::port::{encode, encode_row};
use super::rows::compute_rows;

/// The operands of a softmax, with the columns that its last row sees.
struct Scores {
    src: Area,
    scale: f32,
    mask: Option<Area>,
    row_mask: Option<Area>,
    sight: Sight,
    col_scale: Option<Area>,
}

/// Which columns a row sees.
#[derive(Clone, Copy)]
struct Sight {
    /// The last column that row 0 sees.
    causal: Option<u64>,
    /// How many columns up to its last one a row sees.
    window: Option<u64>,
    /// Leading columns that every row sees.
    always: usize,
}

/// Room for a row.
struct Room {
    scores: Vec<f32>,
    other: Vec<f32>,
    quantized: Vec<i8>,
}

/// Executes a `softmax`.
pub(super) fn softmax(frame: &mut Frame<'_>, command: &Softmax) -> Result<(), Fault> {
    let [rows, cols] = frame.extents(command.rows, command.cols)?;
    let sight = Sight::of(frame, command, cols)?;
    let seen = sight.end(rows.saturating_sub(1), cols);
    let operands = Scores {
        src: frame.area("src", &command.src, [rows, seen])?,
        scale: command.scale,
        mask: frame.optional("mask", command.mask.as_ref(), [rows, seen])?,
        row_mask: frame.optional("row_mask", command.row_mask.as_ref(), [rows, 1])?,
        sight,
        col_scale: frame.optional("col_scale", command.col_scale.as_ref(), [1, seen])?,
    };
    let dst = frame.target("dst", &command.dst, [rows, cols])?;
    let dst = dst.of_type(&[Elem::I8, Elem::F16, Elem::F32])?;
    let dst_scale = dst_scale(frame, command, &dst)?;
    let log_sum = log_sum(frame, command, &dst)?;
    operands.refuse_overlaps(&dst, &[dst_scale, log_sum])?;
    let packed = 0..dst.row_bytes();
    let steps = packed.end..packed.end + 4;
    let sums = steps.end..steps.end + 4;
    let room = || Room {
        scores: vec![0.0; cols],
        other: vec![0.0; cols],
        quantized: vec![0; cols],
    };
    let mut targets: Vec<(&Area, Range<usize>)> = vec![(&dst, packed.clone())];
    targets.extend(dst_scale.as_ref().map(|area| (area, steps)));
    targets.extend(log_sum.as_ref().map(|area| (area, sums)));
    compute_rows(frame, [rows, cols], &targets, room, |sram, room, i, out| {
        let [sum, inverse] = operands.exponentials(sram, i, room, log_sum.is_some());
        let (out, rest) = out.split_at_mut(packed.end);
        if let Some(sum_out) = rest.get_mut(4..8) {
            encode(&[sum], sum_out, f32::to_le_bytes);
        }
        if dst.elem() == Elem::I8 {
            operands.scale_columns(sram, i, room);
            let mut step = [0.0];
            quantize_dynamic_row(&room.scores, cols, &mut room.quantized, &mut step);
            encode(&room.quantized, out, i8::to_le_bytes);
            encode(&[step[0] * inverse], &mut rest[..4], f32::to_le_bytes);
        } else {
            room.scores.iter_mut().for_each(|e| *e *= inverse);
            operands.scale_columns(sram, i, room);
            encode_row(dst.elem(), &room.scores, 1.0, out);
        }
    });
    Ok(())
}

/// Where the scales of an i8 result go; other results have none.
fn dst_scale(frame: &Frame<'_>, command: &Softmax, dst: &Area) -> Result<Option<Area>, Fault> {
    let field = "dst_scale";
    match (&command.dst_scale, dst.elem() == Elem::I8) {
        (Some(view), true) => {
            let area = frame.target(field, view, [dst.rows(), dst.cols().min(1)])?;
            Ok(Some(area.of_type(&[Elem::F32])?))
        }
        (None, false) => Ok(None),
        (None, true) => Err(Fault::MissingField {
            field,
            why: "an i8 result has row scales",
        }),
        (Some(_), false) => Err(Fault::UnexpectedField {
            field,
            why: "the result is not i8",
        }),
    }
}

/// Where the logarithms of sums go.
fn log_sum(frame: &Frame<'_>, command: &Softmax, dst: &Area) -> Result<Option<Area>, Fault> {
    let Some(view) = &command.log_sum else {
        return Ok(None);
    };
    let area = frame.target("log_sum", view, [dst.rows(), dst.cols().min(1)])?;
    Ok(Some(area.of_type(&[Elem::F32])?))
}

impl Scores {
    /// Refuses results that would be written over operands still to be read.
    fn refuse_overlaps(&self, dst: &Area, beside: &[Option<Area>; 2]) -> Result<(), Fault> {
        for operand in [Some(self.src), self.mask].iter().flatten() {
            refuse_overlap(dst, operand, Sharing::Rows)?;
        }
        for operand in [&self.col_scale, &self.row_mask].into_iter().flatten() {
            refuse_overlap(dst, operand, Sharing::Never)?;
        }
        for area in beside.iter().flatten() {
            let masks = [self.mask, self.row_mask];
            let operands = [Some(self.src), self.col_scale, Some(*dst)];
            let operands = operands.into_iter().chain(masks).collect::<Vec<_>>();
            for operand in operands.iter().flatten() {
                refuse_overlap(area, operand, Sharing::Never)?;
            }
        }
        if let [Some(scale), Some(sum)] = beside {
            refuse_overlap(scale, sum, Sharing::Never)?;
        }
        Ok(())
    }

    /// Leaves the exponentials of row `i` in `room.scores`; returns the logarithm of their sum where it is asked
    /// for, and its inverse.
    fn exponentials(&self, sram: &[u8], i: usize, room: &mut Room, summed: bool) -> [f32; 2] {
        let Room { scores, other, .. } = room;
        let (known, hidden) = scores.split_at_mut(self.src.cols());
        let other = &mut other[..known.len()];
        hidden.fill(f32::NEG_INFINITY);
        self.src.read_row(sram, i, known);
        for s in known.iter_mut() {
            *s *= self.scale;
        }
        if let Some(mask) = &self.mask {
            mask.read_row(sram, i, other);
            for (s, &mask) in known.iter_mut().zip(&*other) {
                *s += mask;
            }
        }
        if let Some(mask) = &self.row_mask {
            mask.read_row(sram, i, &mut other[..1]);
            let mask = other[0];
            for s in known.iter_mut() {
                *s += mask;
            }
        }
        let [always, window] = self.sight.seen(i, known.len());
        known[always.end..window.start].fill(f32::NEG_INFINITY);
        known[window.end..].fill(f32::NEG_INFINITY);
        let sum = if summed { logsumexp_row(scores) } else { 0.0 };
        [sum, exponentials_row(scores)]
    }

    /// Multiplies what row `i` sees with the column scales.
    fn scale_columns(&self, sram: &[u8], i: usize, room: &mut Room) {
        let Room { scores, other, .. } = room;
        let scores = &mut scores[..self.src.cols()];
        let other = &mut other[..scores.len()];
        if let Some(col_scale) = &self.col_scale {
            col_scale.read_row(sram, 0, other);
            for seen in self.sight.seen(i, scores.len()) {
                for (p, &scale) in scores[seen.clone()].iter_mut().zip(&other[seen]) {
                    *p *= scale;
                }
            }
        }
    }
}

impl Sight {
    fn of(frame: &Frame<'_>, command: &Softmax, cols: usize) -> Result<Self, Fault> {
        let number = |field, value: Option<Affine>| {
            value
                .map(|value| frame.registers.at(field, value))
                .transpose()
        };
        let always = frame.registers.at("always", command.always)?;
        let sight = Self {
            causal: number("causal", command.causal)?,
            window: number("window", command.window)?,
            always: usize::try_from(always).unwrap_or(usize::MAX).min(cols),
        };
        if sight.window.is_some() && sight.causal.is_none() {
            return Err(Fault::MissingField {
                field: "causal",
                why: "a window ends at the last column that a row sees",
            });
        }
        Ok(sight)
    }

    /// The column behind the last one that row `i` sees.
    fn end(&self, i: usize, cols: usize) -> usize {
        self.causal
            .map_or(cols, |first| seen_columns(first, i, cols).max(self.always))
    }

    /// The columns that row `i` sees: those that every row sees, and behind them those of its window.
    fn seen(&self, i: usize, cols: usize) -> [Range<usize>; 2] {
        let Some(first) = self.causal else {
            return [0..0, 0..cols];
        };
        let always = self.always.min(cols);
        let end = first.saturating_add(i as u64).saturating_add(1);
        let start = self.window.map_or(0, |window| end.saturating_sub(window));
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(cols);
        let start = start.max(always);
        [0..always, start..seen_columns(first, i, cols).max(start)]
    }
}

/// How many of `cols` columns row `i` sees, where row 0 sees those up to `first`.
fn seen_columns(first: u64, i: usize, cols: usize) -> usize {
    let seen = first.saturating_add(i as u64).saturating_add(1);
    usize::try_from(seen).unwrap_or(usize::MAX).min(cols)
}
