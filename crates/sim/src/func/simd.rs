//! Vector instructions for integer products, chosen at run time; everything else is portable code.
//!
//! This is the one file of the crate with `unsafe` code: intrinsics and the loads that feed them. Every
//! function checks the lengths of its slices before it touches memory, and has a portable twin in
//! [`super::kernel`] that gives the same bits, because integer sums are exact in any order and floats are
//! computed one operation at a time in both.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub(super) use x86::*;

/// Whether the host has the instructions of this file.
pub(super) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx2")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::kernel::{PANEL, Rows};

    /// Elements of a panel that a vector of sums holds.
    const HALF: usize = PANEL / 2;

    /// As [`super::super::kernel::multiply`], with AVX2.
    pub(in super::super) fn multiply<const M: usize>(
        rows: &Rows<'_, M>,
        panel: &[i16],
        sums: &mut [[i32; PANEL]; M],
    ) {
        check(rows, panel);
        // SAFETY: lengths and instruction set are checked.
        unsafe { multiply_avx2(rows, panel, sums) }
    }

    /// As [`super::super::kernel::multiply_scaled`], with AVX2.
    pub(in super::super) fn multiply_scaled<const M: usize>(
        rows: &Rows<'_, M>,
        panel: &[i16],
        steps: [&[f32]; M],
        start: bool,
        y: &mut [[f32; PANEL]; M],
    ) {
        check(rows, panel);
        for steps in steps {
            assert!(steps.len() >= rows.groups, "a scale for each group");
        }
        // SAFETY: lengths and instruction set are checked.
        unsafe { multiply_scaled_avx2(rows, panel, steps, start, y) }
    }

    /// Checks what the functions below rely on: all rows and the panel hold all pairs of all groups, and the
    /// host has the instructions.
    fn check<const M: usize>(rows: &Rows<'_, M>, panel: &[i16]) {
        let pairs = rows.pairs * rows.groups;
        assert!(panel.len() >= pairs * PANEL * 2, "a panel for each pair");
        for row in rows.rows {
            assert!(row.len() >= pairs * 2, "a row of pairs");
        }
        assert!(super::available(), "checked by the caller");
    }

    /// Sums over the pairs of a range.
    ///
    /// # Safety
    /// Rows hold `2 * to` elements, the panel `2 * to * PANEL`; the host has AVX2.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn sums_avx2<const M: usize>(
        rows: &[&[i16]; M],
        panel: &[i16],
        from: usize,
        to: usize,
    ) -> [[__m256i; 2]; M] {
        let mut acc = [[_mm256_setzero_si256(); 2]; M];
        let panel = panel.as_ptr();
        for p in from..to {
            // SAFETY: `p` is below `to`, for which the caller vouches.
            let (b0, b1) = unsafe {
                let at = panel.add(p * PANEL * 2);
                (
                    _mm256_loadu_si256(at.cast()),
                    _mm256_loadu_si256(at.add(PANEL).cast()),
                )
            };
            for (acc, row) in acc.iter_mut().zip(rows) {
                // SAFETY: as above; a pair of i16 is read as one i32.
                let pair = unsafe { row.as_ptr().add(2 * p).cast::<i32>().read_unaligned() };
                let a = _mm256_set1_epi32(pair);
                acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(a, b0));
                acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(a, b1));
            }
        }
        acc
    }

    /// # Safety
    /// As [`check`] checks.
    #[target_feature(enable = "avx2")]
    unsafe fn multiply_avx2<const M: usize>(
        rows: &Rows<'_, M>,
        panel: &[i16],
        sums: &mut [[i32; PANEL]; M],
    ) {
        // SAFETY: rows and panel hold all pairs.
        let acc = unsafe { sums_avx2(&rows.rows, panel, 0, rows.pairs * rows.groups) };
        for (sums, acc) in sums.iter_mut().zip(acc) {
            // SAFETY: a row of sums holds PANEL elements, two vectors.
            unsafe {
                _mm256_storeu_si256(sums.as_mut_ptr().cast(), acc[0]);
                _mm256_storeu_si256(sums.as_mut_ptr().add(HALF).cast(), acc[1]);
            }
        }
    }

    /// # Safety
    /// As [`check`] checks; there is a scale for each row and group.
    #[target_feature(enable = "avx2")]
    unsafe fn multiply_scaled_avx2<const M: usize>(
        rows: &Rows<'_, M>,
        panel: &[i16],
        steps: [&[f32]; M],
        start: bool,
        y: &mut [[f32; PANEL]; M],
    ) {
        for g in 0..rows.groups {
            let from = g * rows.pairs;
            // SAFETY: rows and panel hold all pairs of all groups.
            let acc = unsafe { sums_avx2(&rows.rows, panel, from, from + rows.pairs) };
            for ((y, acc), steps) in y.iter_mut().zip(acc).zip(steps) {
                let step = _mm256_set1_ps(steps[g]);
                for (half, acc) in acc.into_iter().enumerate() {
                    let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), step);
                    // SAFETY: a row of results holds PANEL elements, two vectors.
                    unsafe {
                        let at = y.as_mut_ptr().add(half * HALF);
                        let sum = if g == 0 && start {
                            scaled
                        } else {
                            _mm256_add_ps(_mm256_loadu_ps(at), scaled)
                        };
                        _mm256_storeu_ps(at, sum);
                    }
                }
            }
        }
    }

    /// `Σ a·b` of one row of bytes with each of four; all five have the length of `a`, a multiple of 16.
    /// The caller has checked [`super::available`].
    pub(in super::super) fn dot_four(a: &[u8], b: [&[u8]; 4]) -> [i32; 4] {
        assert!(a.len().is_multiple_of(16), "whole vectors");
        for b in b {
            assert!(b.len() >= a.len(), "operands of one length");
        }
        assert!(super::available(), "checked by the caller");
        // SAFETY: the lengths are checked above, and so is the instruction set.
        unsafe { dot_four_avx2(a, b) }
    }

    /// # Safety
    /// Each of `b` is as long as `a`, a multiple of 16; the host has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn dot_four_avx2(a: &[u8], b: [&[u8]; 4]) -> [i32; 4] {
        let mut acc = [_mm256_setzero_si256(); 4];
        let wide = |bytes: &[u8], at: usize| {
            // SAFETY: `at + 16` is at most the length of `a`, for which the caller vouches.
            unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes.as_ptr().add(at).cast())) }
        };
        for at in (0..a.len()).step_by(16) {
            let x = wide(a, at);
            for (acc, b) in acc.iter_mut().zip(b) {
                *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(x, wide(b, at)));
            }
        }
        // Sums of neighbours twice, then of the two halves.
        let left = _mm256_hadd_epi32(acc[0], acc[1]);
        let right = _mm256_hadd_epi32(acc[2], acc[3]);
        let all = _mm256_hadd_epi32(left, right);
        let four = _mm_add_epi32(
            _mm256_castsi256_si128(all),
            _mm256_extracti128_si256(all, 1),
        );
        let mut sums = [0; 4];
        // SAFETY: four sums are one vector.
        unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), four) };
        sums
    }

    /// `out[i] = bytes[i] - zero` of int8 values; both have one length, a multiple of 16. The caller has
    /// checked [`super::available`].
    pub(in super::super) fn widen(bytes: &[u8], zero: i16, out: &mut [i16]) {
        assert!(bytes.len().is_multiple_of(16), "whole vectors");
        assert_eq!(bytes.len(), out.len(), "one element for each byte");
        assert!(super::available(), "checked by the caller");
        // SAFETY: the lengths are checked above, and so is the instruction set.
        unsafe { widen_avx2(bytes, zero, out) }
    }

    /// # Safety
    /// Both slices have one length, a multiple of 16; the host has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn widen_avx2(bytes: &[u8], zero: i16, out: &mut [i16]) {
        let zero = _mm256_set1_epi16(zero);
        for at in (0..bytes.len()).step_by(16) {
            // SAFETY: `at + 16` is at most the length of both slices, for which the caller vouches.
            unsafe {
                let x = _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes.as_ptr().add(at).cast()));
                let y = _mm256_sub_epi16(x, zero);
                _mm256_storeu_si256(out.as_mut_ptr().add(at).cast(), y);
            }
        }
    }

    /// Brings 16 elements of eight rows of bytes into pairs: pair `p` of row `j` lies at
    /// `[p * PANEL * 2 + 2 * j]`, widened. The caller has checked [`super::available`].
    pub(in super::super) fn pack_eight(rows: [&[u8]; 8], out: &mut [i16]) {
        assert!(out.len() >= 7 * PANEL * 2 + 16, "eight pairs of eight rows");
        for row in rows {
            assert!(row.len() >= 16, "sixteen elements");
        }
        assert!(super::available(), "checked by the caller");
        // SAFETY: the lengths are checked above, and so is the instruction set.
        unsafe { pack_eight_avx2(rows, out) }
    }

    /// # Safety
    /// Rows hold 16 bytes, `out` eight pairs of a panel; the host has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn pack_eight_avx2(rows: [&[u8]; 8], out: &mut [i16]) {
        // SAFETY: the caller vouches for 16 bytes.
        let r = rows.map(|row| unsafe { _mm_loadu_si128(row.as_ptr().cast()) });
        // An 8 × 8 transposition of 16-bit pairs in three rounds.
        let a = [0, 2, 4, 6].map(|j| {
            (
                _mm_unpacklo_epi16(r[j], r[j + 1]),
                _mm_unpackhi_epi16(r[j], r[j + 1]),
            )
        });
        let four = |x: __m128i, y: __m128i| (_mm_unpacklo_epi32(x, y), _mm_unpackhi_epi32(x, y));
        let (b0, b1) = four(a[0].0, a[1].0);
        let (b2, b3) = four(a[0].1, a[1].1);
        let (c0, c1) = four(a[2].0, a[3].0);
        let (c2, c3) = four(a[2].1, a[3].1);
        let columns = [(b0, c0), (b1, c1), (b2, c2), (b3, c3)];
        for (i, (x, y)) in columns.into_iter().enumerate() {
            for (half, pair) in [_mm_unpacklo_epi64(x, y), _mm_unpackhi_epi64(x, y)]
                .into_iter()
                .enumerate()
            {
                let at = (2 * i + half) * PANEL * 2;
                // SAFETY: the caller vouches for eight pairs of a panel.
                unsafe {
                    let to = out.as_mut_ptr().add(at).cast();
                    _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(pair));
                }
            }
        }
    }
}
