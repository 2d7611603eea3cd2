//! Extras: what SRAM that a choice leaves is given to.

use super::demand::Scene;
use super::{Alternates, Segment, form, wave, window};

/// What SRAM that is left is good for.
#[derive(Clone, Copy, Debug)]
pub enum Extra {
    /// Tiles that are wider than most.
    Wide,
    /// Tiles that are so many eighths of what they were.
    Tiles(u64),
    /// So many copies of scratch, or as many as keep all cores at work.
    Copies(u8),
    /// A second place for values that come from DRAM or go there.
    Spilled,
    /// A second place for all values of a pass or a row block.
    All,
    /// Passes of an attention that is not cut, so that its scores stand beside the products of the next pass.
    Passes,
    /// Pieces of a row block one behind the other.
    Wave,
}

/// In the order in which it is given.
pub const EXTRAS: [Extra; 11] = [
    Extra::Wide,
    Extra::Tiles(14),
    Extra::Tiles(12),
    Extra::Tiles(10),
    Extra::Copies(2),
    Extra::Copies(4),
    Extra::Copies(form::MOST_COPIES),
    Extra::Spilled,
    Extra::All,
    Extra::Passes,
    Extra::Wave,
];

impl Extra {
    /// Gives it to a segment, and says whether that changes anything.
    pub fn give(self, scene: &Scene<'_>, segment: &mut Segment) -> bool {
        let before = segment.clone();
        match self {
            Extra::Wide => segment.wide = true,
            Extra::Tiles(eighths) => {
                segment.tile_bytes = (segment.tile_bytes / 8).saturating_mul(eighths);
            }
            Extra::Copies(copies) => {
                let most = form::most_copies(scene).min(copies);
                segment.portions.copies = segment.portions.copies.max(most);
            }
            Extra::Spilled => segment.alternate(Alternates::Spilled),
            Extra::All => segment.alternate(Alternates::All),
            Extra::Passes => {
                if let Some(ahead) = window::ahead(scene, segment) {
                    *segment = ahead;
                }
            }
            Extra::Wave => segment.wave = wave::worth(scene, segment),
        }
        *segment != before
    }
}
