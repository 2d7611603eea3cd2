//! The way of rows through the vector unit: every row is computed before the first is written.

use std::ops::Range;

use rayon::prelude::*;

use super::area::Area;
use super::frame::Frame;

/// Elements from which a command is spread over threads.
const PARALLEL_FROM: usize = 1 << 14;

/// Pieces that a thread's part of the rows is cut into, for those that are done early.
const SHARES: usize = 2;

/// The first `bytes` bytes of `result`, which grows where it is too short; what they hold is left over from
/// earlier commands.
pub(super) fn room_for(result: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if result.len() < bytes {
        result.resize(bytes, 0);
    }
    &mut result[..bytes]
}

/// Computes packed rows of `row_bytes` bytes, then writes them to `targets`.
///
/// `compute` gets SRAM, room of its own made by `room`, the number of the row and the bytes to
/// fill, all of them. Each target takes its columns from the given range of the packed row. Rows do not depend
/// on each other, so the result is the same however they are spread over threads.
pub(super) fn compute_rows<S>(
    frame: &mut Frame<'_>,
    [rows, cols]: [usize; 2],
    targets: &[(&Area, Range<usize>)],
    room: impl Fn() -> S + Sync,
    compute: impl Fn(&[u8], &mut S, usize, &mut [u8]) + Sync,
) {
    let row_bytes = targets
        .iter()
        .map(|(_, range)| range.end)
        .max()
        .unwrap_or(0);
    if rows == 0 || row_bytes == 0 {
        return;
    }
    let result = room_for(frame.result, rows * row_bytes);
    let sram = &*frame.sram;
    if rows > 1 && rows * cols >= PARALLEL_FROM {
        let share = rows.div_ceil(rayon::current_num_threads());
        let rows = result.par_chunks_exact_mut(row_bytes).enumerate();
        let rows = rows.with_min_len(share.div_ceil(SHARES));
        rows.for_each_init(&room, |room, (i, out)| compute(sram, room, i, out));
    } else {
        let mut room = room();
        for (i, out) in result.chunks_exact_mut(row_bytes).enumerate() {
            compute(sram, &mut room, i, out);
        }
    }
    for (i, row) in result.chunks_exact(row_bytes).enumerate() {
        for (target, range) in targets {
            target.unpack_row(frame.sram, i, &row[range.clone()]);
        }
    }
}

/// Computes rows of one result through f32: `compute` fills a row of `dst.cols()` numbers, which is
/// then rounded to the type of `dst`. It also gets room for `rooms` rows of `cols` numbers.
pub(super) fn compute_f32_rows<const ROOMS: usize>(
    frame: &mut Frame<'_>,
    cols: usize,
    dst: &Area,
    inverse: f32,
    compute: impl Fn(&[u8], &mut [Vec<f32>; ROOMS], usize, &mut [f32]) + Sync,
) {
    let room = || {
        (
            vec![0.0f32; dst.cols()],
            [(); ROOMS].map(|()| vec![0.0f32; cols]),
        )
    };
    let targets = [(dst, 0..dst.row_bytes())];
    compute_rows(
        frame,
        [dst.rows(), cols],
        &targets,
        room,
        |sram, (row, rooms), i, out| {
            compute(sram, rooms, i, row);
            super::port::encode_row(dst.elem(), row, inverse, out);
        },
    );
}
