//! The inner loops of integer products: rows against panels of columns, and rows against bytes.
//!
//! A *panel* holds [`PANEL`] columns of the right operand: for each pair of contraction elements the two
//! of column 0, the two of column 1 and so on, widened to 16 bits. Hosts with the instructions of
//! [`super::simd`] use them; the portable code gives the same bits, because integer sums are exact.

use packwright_numerics::matmul::{add_group_row, start_groups_row};

use super::simd;

/// Columns of a panel.
pub(super) const PANEL: usize = 16;
/// Rows that are multiplied with a panel together: their sums, two vectors each, stay in registers.
pub(super) const ROWS: usize = 6;
/// Bytes that are multiplied at a time.
const BYTES: usize = 16;

/// Rows of widened elements, in pairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a, const M: usize> {
    pub(super) rows: [&'a [i16]; M],
    /// Pairs of a group.
    pub(super) pairs: usize,
    pub(super) groups: usize,
}

/// How products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// With vector instructions of the host.
    Vector,
    /// In portable code.
    Portable,
}

impl Way {
    /// The fastest way of this host.
    pub(super) fn best() -> Self {
        if simd::available() {
            Way::Vector
        } else {
            Way::Portable
        }
    }
}

/// `sums[i][j] = Σ a[i]·b[j]` over all groups of `rows` and `panel`.
#[inline]
pub(super) fn multiply<const M: usize>(
    way: Way,
    rows: &Rows<'_, M>,
    panel: &[i16],
    sums: &mut [[i32; PANEL]; M],
) {
    #[cfg(target_arch = "x86_64")]
    if way == Way::Vector {
        return simd::multiply(rows, panel, sums);
    }
    let _ = way;
    for (row, sums) in rows.rows.iter().zip(sums.iter_mut()) {
        *sums = row_sums(row, panel, rows.pairs * rows.groups);
    }
}

/// Adds the groups of each row, with their scales, to `y` in order; with `start`, the first group takes the
/// place of what `y` holds.
#[inline]
pub(super) fn multiply_scaled<const M: usize>(
    way: Way,
    rows: &Rows<'_, M>,
    panel: &[i16],
    steps: [&[f32]; M],
    start: bool,
    y: &mut [[f32; PANEL]; M],
) {
    #[cfg(target_arch = "x86_64")]
    if way == Way::Vector {
        return simd::multiply_scaled(rows, panel, steps, start, y);
    }
    let _ = way;
    for g in 0..rows.groups {
        let from = g * rows.pairs * 2;
        for ((row, y), steps) in rows.rows.iter().zip(y.iter_mut()).zip(steps) {
            let sums = row_sums(&row[from..], &panel[from * PANEL..], rows.pairs);
            if g == 0 && start {
                start_groups_row(&sums, steps[g], y);
            } else {
                add_group_row(&sums, steps[g], y);
            }
        }
    }
}

/// `Σ a·b` of a row with each column of a panel, in portable code.
fn row_sums(row: &[i16], panel: &[i16], pairs: usize) -> [i32; PANEL] {
    let mut sums = [0i32; PANEL];
    let row = row.as_chunks::<2>().0.iter().take(pairs);
    for (a, b) in row.zip(panel.as_chunks::<{ PANEL * 2 }>().0) {
        let [a0, a1] = a.map(i32::from);
        for (sum, b) in sums.iter_mut().zip(b.as_chunks::<2>().0) {
            let product = a0 * i32::from(b[0]) + a1 * i32::from(b[1]);
            *sum = sum.wrapping_add(product);
        }
    }
    sums
}

/// `Σ a·b` of bytes that hold int8 values, for four right operands of the length of `a`.
#[inline]
pub(super) fn dot_four(way: Way, a: &[u8], b: [&[u8]; 4]) -> [i32; 4] {
    #[cfg(target_arch = "x86_64")]
    if way == Way::Vector {
        let whole = a.len() / BYTES * BYTES;
        let mut sums = simd::dot_four(&a[..whole], b);
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = sum.wrapping_add(dot_bytes(&a[whole..], &b[whole..]));
        }
        return sums;
    }
    let _ = way;
    b.map(|b| dot_bytes(a, b))
}

/// `Σ a·b` of bytes that hold int8 values, over the length of `a`.
#[inline]
pub(super) fn dot_bytes(a: &[u8], b: &[u8]) -> i32 {
    let product = |a: u8, b: u8| i32::from(a as i8) * i32::from(b as i8);
    let mut lanes = [0i32; BYTES];
    let (a_blocks, a_rest) = a.as_chunks::<BYTES>();
    let (b_blocks, _) = b[..a.len()].as_chunks::<BYTES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = lane.wrapping_add(product(a, b));
        }
    }
    // The rest has a sum of its own, so that the lanes can stay in registers.
    let rest = a_rest.iter().zip(&b[a_blocks.len() * BYTES..]);
    let rest = rest
        .map(|(&a, &b)| product(a, b))
        .fold(0, i32::wrapping_add);
    lanes.into_iter().fold(rest, i32::wrapping_add)
}

/// `out[i] = bytes[i] - zero` of bytes that hold int8 values.
pub(super) fn widen_bytes(way: Way, bytes: &[u8], zero: i8, out: &mut [i16]) {
    let zero = i16::from(zero);
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if way == Way::Vector {
        done = bytes.len() / BYTES * BYTES;
        simd::widen(&bytes[..done], zero, &mut out[..done]);
    }
    let _ = way;
    for (y, &byte) in out.iter_mut().zip(bytes).skip(done) {
        *y = i16::from(byte as i8) - zero;
    }
}

/// Packs elements of up to [`PANEL`] columns, whose bytes lie in `columns` one column after another,
/// `pitch` bytes apart, into a panel of `k` elements; the rest of the panel stays as it is.
pub(super) fn pack_columns(
    way: Way,
    columns: &[u8],
    pitch: usize,
    count: usize,
    k: usize,
    panel: &mut [i16],
) {
    let mut done = [0; 2];
    #[cfg(target_arch = "x86_64")]
    if way == Way::Vector {
        for (half, done) in done.iter_mut().enumerate() {
            if count < (half + 1) * 8 {
                continue;
            }
            while *done + BYTES <= k {
                let start = *done;
                let row = |j: usize| &columns[(half * 8 + j) * pitch + start..];
                let rows = [0, 1, 2, 3, 4, 5, 6, 7].map(row);
                simd::pack_eight(rows, &mut panel[start * PANEL + half * 16..]);
                *done += BYTES;
            }
        }
    }
    let _ = way;
    for j in 0..count {
        let column = &columns[j * pitch..][..k];
        for (i, &byte) in column.iter().enumerate().skip(done[j / 8]) {
            panel[(i / 2) * PANEL * 2 + 2 * j + i % 2] = i16::from(byte as i8);
        }
    }
}

#[cfg(test)]
mod tests {
    use packwright_numerics::matmul::dot_i8;
    use proptest::prelude::*;

    use super::{
        PANEL, ROWS, Rows, Way, dot_four, multiply, multiply_scaled, pack_columns, widen_bytes,
    };

    /// Deterministic int8 values.
    fn values(seed: u64, count: usize) -> Vec<i8> {
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        (0..count)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                ((state >> 33) % 255) as u8 as i16 - 127
            })
            .map(|x| x as i8)
            .collect()
    }

    fn bytes(x: &[i8]) -> Vec<u8> {
        x.iter().map(|&x| x as u8).collect()
    }

    proptest! {
        #[test]
        fn every_way_gives_exact_sums(seed in any::<u64>(), k in 1usize..90, count in 1usize..=PANEL) {
            let pitch = k + 3;
            let columns = values(seed, count * pitch);
            let a = values(seed ^ 1, ROWS * k);
            let pairs = k.div_ceil(2);
            for way in [Way::best(), Way::Portable] {
                let mut panel = vec![0i16; pairs * PANEL * 2];
                pack_columns(way, &bytes(&columns), pitch, count, k, &mut panel);
                let wide: Vec<Vec<i16>> = a.chunks(k).map(|row| {
                    let mut row: Vec<i16> = row.iter().map(|&x| i16::from(x)).collect();
                    row.resize(pairs * 2, 0);
                    row
                }).collect();
                let rows = std::array::from_fn(|i| &wide[i][..]);
                let rows: Rows<'_, ROWS> = Rows { rows, pairs, groups: 1 };
                let mut sums = [[7; PANEL]; ROWS];
                multiply(way, &rows, &panel, &mut sums);
                for (i, sums) in sums.iter().enumerate() {
                    for (j, &sum) in sums.iter().take(count).enumerate() {
                        let exact = dot_i8(&a[i * k..(i + 1) * k], &columns[j * pitch..][..k]);
                        prop_assert_eq!(sum, exact, "{:?} {} {}", way, i, j);
                    }
                }
            }
        }

        #[test]
        fn scaled_groups_have_the_same_bits_every_way(seed in any::<u64>(), pairs in 1usize..20, groups in 1usize..5) {
            let k = pairs * groups * 2;
            let wide = |x: Vec<i8>| x.into_iter().map(i16::from).collect::<Vec<_>>();
            let (a, panel) = (wide(values(seed, ROWS * k)), wide(values(seed ^ 3, PANEL * k)));
            let steps: Vec<f32> = values(seed ^ 9, ROWS * groups).iter().map(|&x| f32::from(x) * 1e-3).collect();
            let mut a = a.chunks(k);
            let rows = [(); ROWS].map(|()| a.next().unwrap_or(&[]));
            let rows = Rows { rows, pairs, groups };
            for start in [true, false] {
                let [left, right] = [Way::best(), Way::Portable].map(|way| {
                    let mut y = [[0.75f32; PANEL]; ROWS];
                    let mut steps = steps.chunks(groups);
                    let steps = [(); ROWS].map(|()| steps.next().unwrap_or(&[]));
                    multiply_scaled(way, &rows, &panel, steps, start, &mut y);
                    y.map(|row| row.map(f32::to_bits))
                });
                prop_assert_eq!(left, right);
            }
        }

        #[test]
        fn widening_is_the_same_every_way(seed in any::<u64>(), k in 0usize..90, zero in any::<i8>()) {
            let x = values(seed, k);
            let exact: Vec<i16> = x.iter().map(|&x| i16::from(x) - i16::from(zero)).collect();
            for way in [Way::best(), Way::Portable] {
                let mut wide = vec![7; k];
                widen_bytes(way, &bytes(&x), zero, &mut wide);
                prop_assert_eq!(&wide, &exact);
            }
        }

        #[test]
        fn four_at_once_are_four(seed in any::<u64>(), k in 0usize..200) {
            let b = values(seed, 4 * k.max(1));
            let a = values(seed ^ 5, k);
            let (a8, b8) = (bytes(&a), bytes(&b));
            let part = |j: usize| &b8[j * k..(j + 1) * k];
            let exact = [0, 1, 2, 3].map(|j| dot_i8(&a, &b[j * k..(j + 1) * k]));
            for way in [Way::best(), Way::Portable] {
                prop_assert_eq!(dot_four(way, &a8, [0, 1, 2, 3].map(part)), exact);
            }
        }
    }
}
