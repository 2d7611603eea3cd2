//! The runs of contiguous DRAM bytes of a transfer, made one after the other.

use packwright_packet::defs::Command;
use packwright_packet::operand::{Block, DramRef, RegionId};
use packwright_packet::program::Entry;

/// Runs that are still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    first: u64,
    /// Where the next one begins, but for gathers.
    next: u64,
    bytes: u64,
    /// Runs in each dimension with their distance, the outermost first.
    dims: [(u64, u64); 3],
    at: [u64; 3],
    /// Rows of the table of a gather.
    table: Option<u64>,
    left: u64,
}

/// A transfer of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub runs: Runs,
    pub bytes: u64,
    pub write: bool,
    pub region: RegionId,
}

impl Transfer {
    /// The transfer of a command; `None` where it is none or its region does not exist.
    pub fn of(command: &Command, entry: &Entry, registers: &[u64]) -> Option<Self> {
        let (reference, write) = match command {
            Command::Load(c) => (&c.src, false),
            Command::Store(c) => (&c.dst, true),
            Command::Gather(c) => (&c.table, false),
            _ => return None,
        };
        let base = base(entry, reference, registers)?;
        let runs = match command {
            Command::Load(c) => Runs::block(base, &c.block, registers),
            Command::Store(c) => Runs::block(base, &c.block, registers),
            Command::Gather(c) => Runs::gather(
                base,
                (c.table_rows, c.row_pitch, u64::from(c.row_bytes)),
                c.count.at(registers),
            ),
            _ => return None,
        };
        Some(Self {
            bytes: runs.total(),
            runs,
            write,
            region: reference.region,
        })
    }
}

/// The DRAM address that a reference names.
fn base(entry: &Entry, reference: &DramRef, registers: &[u64]) -> Option<u64> {
    let region = entry.regions.get(usize::from(reference.region.0))?;
    Some(
        region
            .address
            .saturating_add(reference.offset.at(registers)),
    )
}

impl Runs {
    /// No runs.
    pub fn empty() -> Self {
        Self::one(0, 0)
    }

    /// One run.
    pub fn one(address: u64, bytes: u64) -> Self {
        Self {
            first: address,
            next: address,
            bytes,
            dims: [(1, 0); 3],
            at: [0; 3],
            table: None,
            left: u64::from(bytes > 0),
        }
    }

    /// The runs of a block; those that follow each other are one.
    pub fn block(base: u64, block: &Block, registers: &[u64]) -> Self {
        let mut runs = Self::one(base, block.bytes.at(registers));
        for d in 0..3 {
            runs.dims[d] = (block.count[d].at(registers), block.dram[d]);
        }
        for d in (0..3).rev() {
            let (count, stride) = runs.dims[d];
            if count > 1 && stride == runs.bytes {
                runs.bytes = runs.bytes.saturating_mul(count);
                runs.dims[d] = (1, 0);
            } else if count > 1 {
                break;
            }
        }
        let count = |left: u64, &(count, _): &(u64, u64)| left.saturating_mul(count);
        runs.left = runs.dims.iter().fold(runs.left, count);
        runs
    }

    /// The rows of a gather, spread over the table as by a hash.
    pub fn gather(base: u64, (rows, pitch, bytes): (u64, u64, u64), count: u64) -> Self {
        let mut runs = Self::one(base, bytes);
        runs.dims[2] = (count, pitch);
        runs.table = Some(rows);
        runs.left = runs.left.saturating_mul(count);
        runs
    }

    /// Bytes of a run; all have as many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the runs are rows of a gather.
    pub fn is_gather(&self) -> bool {
        self.table.is_some()
    }

    /// Bytes of all runs that are left.
    pub fn total(&self) -> u64 {
        self.left.saturating_mul(self.bytes)
    }
}

impl Iterator for Runs {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        if let Some(rows) = self.table {
            let row = spread(self.at[2], rows);
            self.at[2] += 1;
            return Some((self.first + row * self.dims[2].1, self.bytes));
        }
        let run = (self.next, self.bytes);
        let (count, stride) = self.dims[2];
        self.at[2] += 1;
        if self.at[2] < count {
            self.next += stride;
            return Some(run);
        }
        self.at[2] = 0;
        for d in (0..2).rev() {
            self.at[d] += 1;
            if self.at[d] < self.dims[d].0 {
                break;
            }
            self.at[d] = 0;
        }
        let offset = |sum: u64, d: usize| sum + self.at[d] * self.dims[d].1;
        self.next = (0..3).fold(self.first, offset);
        Some(run)
    }
}

/// Where the i-th row of a gather is taken to lie: spread over the table as by a hash, so that rows
/// next to each other in the result are not next to each other in the table.
fn spread(i: u64, rows: u64) -> u64 {
    let hashed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    hashed.checked_rem(rows).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use packwright_packet::operand::Affine;

    use super::*;

    #[test]
    fn runs_that_follow_each_other_are_one() {
        let mut block = Block::rows(4u64, 64u64, 64, 64);
        assert_eq!(Runs::block(7, &block, &[]).collect::<Vec<_>>(), [(7, 256)]);
        block.count[1] = Affine::constant(2);
        block.dram[1] = 1000;
        let runs = Runs::block(0, &block, &[]);
        assert_eq!(runs.total(), 512);
        assert_eq!(runs.collect::<Vec<_>>(), [(0, 256), (1000, 256)]);
    }

    #[test]
    fn nothing_moves_without_bytes_or_rows() {
        assert_eq!(
            Runs::block(0, &Block::rows(0u64, 64u64, 64, 64), &[]).next(),
            None
        );
        assert_eq!(
            Runs::block(0, &Block::rows(4u64, 0u64, 64, 64), &[]).next(),
            None
        );
        assert_eq!(Runs::gather(0, (10, 64, 0), u64::MAX).next(), None);
    }

    #[test]
    fn a_gather_takes_as_many_rows_as_it_is_asked_for() {
        let runs: Vec<_> = Runs::gather(64, (1000, 128, 96), 50).collect();
        assert_eq!(runs.len(), 50);
        assert!(
            runs.iter()
                .all(|&(at, n)| (at - 64) % 128 == 0 && n == 96 && at < 128_064)
        );
    }
}
