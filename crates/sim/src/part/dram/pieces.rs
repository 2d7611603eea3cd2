//! Short pieces of runs that closed forms have sent to a channel and that are under way.

/// Pieces under way, the first to end first.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    /// A ring of a power of two.
    ring: Vec<Piece>,
    first: usize,
    count: usize,
    /// Bursts of reads, of writes.
    bursts: [u64; 2],
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    /// When its data has passed.
    pub end: u64,
    pub bursts: u32,
    pub port: u16,
    pub write: bool,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            ring: vec![Piece::default(); 8],
            first: 0,
            count: 0,
            bursts: [0; 2],
        }
    }
}

impl Pieces {
    /// Bursts of one direction.
    #[inline]
    pub fn bursts(&self, write: bool) -> u64 {
        self.bursts[usize::from(write)]
    }

    /// When the first of them ends.
    #[inline]
    pub fn first_end(&self) -> Option<u64> {
        (self.count > 0).then(|| self.ring[self.first & (self.ring.len() - 1)].end)
    }

    /// Takes out the first to end.
    #[inline]
    pub fn pop(&mut self) -> Option<Piece> {
        if self.count == 0 {
            return None;
        }
        let piece = self.ring[self.first & (self.ring.len() - 1)];
        self.first += 1;
        self.count -= 1;
        self.bursts[usize::from(piece.write)] -= u64::from(piece.bursts);
        Some(piece)
    }

    /// Adds a piece.
    #[inline]
    pub fn push(&mut self, piece: Piece) {
        if self.count == self.ring.len() {
            self.grow();
        }
        self.bursts[usize::from(piece.write)] += u64::from(piece.bursts);
        let mask = self.ring.len() - 1;
        let mut place = self.first + self.count;
        self.count += 1;
        while place > self.first && self.ring[(place - 1) & mask].end > piece.end {
            self.ring[place & mask] = self.ring[(place - 1) & mask];
            place -= 1;
        }
        self.ring[place & mask] = piece;
    }

    #[cold]
    fn grow(&mut self) {
        let mask = self.ring.len() - 1;
        let pieces = (self.first..self.first + self.count).map(|place| self.ring[place & mask]);
        let mut ring: Vec<Piece> = pieces.collect();
        ring.resize(2 * self.ring.len(), Piece::default());
        (self.ring, self.first) = (ring, 0);
    }
}
