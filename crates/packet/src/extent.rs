//! Which bytes an access covers: nested strided runs, brought to their simplest form.

use std::ops::Range;

/// Runs of contiguous bytes: run `(i, j, …)` starts at `start + i·stride₀ + j·stride₁ + …`.
///
/// The form is simplified: no dimension has a count of one or a stride of zero, strides fall, and
/// runs that touch are one run. Covered bytes are counted once, however often they are read.
/// Numbers that do not fit saturate, so that an absurd extent is out of every range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Address of the first byte.
    pub start: u64,
    /// Contiguous bytes of a run; zero where nothing is covered.
    pub run: u64,
    /// Count and stride of up to four dimensions over the runs; unused ones are `(1, 0)`.
    pub dims: [(u64, u64); 4],
}

/// Above so many runs, [`Extent::intervals`] gives the hull instead.
pub const MAX_INTERVALS: u64 = 1 << 20;

impl Extent {
    /// Simplifies `run` bytes at `start`, repeated by `dims` of (count, stride).
    pub fn new(start: u64, run: u64, dims: &[(u64, u64)]) -> Self {
        let mut extent = Self {
            start,
            run,
            dims: [(1, 0); 4],
        };
        if run == 0 || dims.iter().any(|&(count, _)| count == 0) {
            extent.run = 0;
            return extent;
        }
        let mut sorted = [(1, 0); 4];
        let real = dims
            .iter()
            .filter(|&&(count, stride)| count > 1 && stride > 0);
        for (place, dim) in sorted.iter_mut().zip(real) {
            *place = *dim;
        }
        sorted.sort_by_key(|&(_, stride)| stride);
        let mut place = 4;
        for (count, stride) in sorted.into_iter().filter(|&(count, _)| count > 1) {
            let reach = (count - 1).saturating_mul(stride);
            if place == 4 && stride <= extent.run {
                extent.run = extent.run.saturating_add(reach);
                continue;
            }
            if let Some((inner, inner_stride)) = extent.dims.get_mut(place)
                && inner.saturating_mul(*inner_stride) == stride
            {
                *inner = inner.saturating_mul(count);
                continue;
            }
            place -= 1;
            extent.dims[place] = (count, stride);
        }
        extent
    }

    /// Whether no byte is covered.
    pub fn is_empty(&self) -> bool {
        self.run == 0
    }

    /// How many runs there are.
    pub fn runs(&self) -> u64 {
        if self.is_empty() {
            return 0;
        }
        self.dims
            .iter()
            .fold(1, |runs, &(count, _)| runs.saturating_mul(count))
    }

    /// How many bytes the runs hold together; runs that overlap are counted each.
    pub fn bytes(&self) -> u64 {
        self.runs().saturating_mul(self.run)
    }

    /// The address behind the last byte.
    pub fn end(&self) -> u64 {
        if self.is_empty() {
            return self.start;
        }
        self.dims.iter().fold(
            self.start.saturating_add(self.run),
            |end, &(count, stride)| end.saturating_add((count - 1).saturating_mul(stride)),
        )
    }

    /// Calls `run` with each contiguous range, dimension by dimension; once with the hull where
    /// the extent reaches the end of 64-bit addresses.
    pub fn for_each_run(&self, mut run: impl FnMut(Range<u64>)) {
        if self.is_empty() {
            return;
        }
        if self.end() == u64::MAX {
            run(self.start..u64::MAX);
            return;
        }
        let [(a, sa), (b, sb), (c, sc), (d, sd)] = self.dims;
        for i in 0..a {
            for j in 0..b {
                for k in 0..c {
                    let outer = self.start + i * sa + j * sb + k * sc;
                    for l in 0..d {
                        let start = outer + l * sd;
                        run(start..start + self.run);
                    }
                }
            }
        }
    }

    /// Fills `out` with the covered ranges: ascending, apart from each other.
    ///
    /// More than [`MAX_INTERVALS`] runs are given as one range from the first byte to the last.
    pub fn intervals(&self, out: &mut Vec<Range<u64>>) {
        out.clear();
        if self.is_empty() {
            return;
        }
        if self.runs() > MAX_INTERVALS {
            out.push(self.start..self.end());
            return;
        }
        self.for_each_run(|range| out.push(range));
        let apart = out.windows(2).all(|pair| pair[0].end < pair[1].start);
        if !apart {
            out.sort_by_key(|range| range.start);
            out.dedup_by(|next, range| {
                let touches = next.start <= range.end;
                if touches {
                    range.end = range.end.max(next.end);
                }
                touches
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals(extent: Extent) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        extent.intervals(&mut out);
        out.into_iter()
            .map(|range| (range.start, range.end))
            .collect()
    }

    #[test]
    fn rows_that_touch_are_one_run() {
        let extent = Extent::new(100, 8, &[(4, 8)]);
        assert_eq!((extent.runs(), extent.bytes(), extent.end()), (1, 32, 132));
        assert_eq!(Extent::new(0, 1, &[(16, 1), (4, 16)]).runs(), 1);
        assert_eq!(
            Extent::new(0, 1, &[(4, 16), (16, 1)]),
            Extent::new(0, 64, &[])
        );
    }

    #[test]
    fn rows_apart_stay_apart() {
        let extent = Extent::new(10, 2, &[(3, 5), (2, 100)]);
        assert_eq!(extent.bytes(), 12);
        assert_eq!(
            intervals(extent),
            [
                (10, 12),
                (15, 17),
                (20, 22),
                (110, 112),
                (115, 117),
                (120, 122)
            ]
        );
    }

    #[test]
    fn equal_distances_are_one_dimension() {
        let extent = Extent::new(0, 2, &[(3, 5), (2, 15)]);
        assert_eq!(extent.dims[3], (6, 5));
    }

    #[test]
    fn overlapping_runs_are_joined() {
        assert_eq!(intervals(Extent::new(0, 4, &[(2, 6), (2, 3)])), [(0, 13)]);
        assert_eq!(
            intervals(Extent::new(0, 1, &[(3, 2), (3, 4)])),
            [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13)]
        );
    }

    #[test]
    fn repeated_and_empty_dimensions() {
        assert_eq!(Extent::new(7, 3, &[(9, 0)]).bytes(), 3);
        assert_eq!(Extent::new(7, 3, &[(0, 8)]).bytes(), 0);
        assert_eq!(Extent::new(7, 0, &[(2, 8)]).end(), 7);
    }

    #[test]
    fn absurd_extents_saturate() {
        let extent = Extent::new(u64::MAX, u64::MAX, &[(u64::MAX, u64::MAX); 4]);
        assert_eq!((extent.end(), extent.bytes()), (u64::MAX, u64::MAX));
        assert_eq!(intervals(extent).len(), 1);
    }
}
