//! Catalogue: the forms of segments, listed once for all ways of forming segments.
//!
//! Ways differ in a few of their segments; the attention of a layer, which has the most forms, is the same in many.

use std::sync::Arc;

use indexmap::IndexMap;
use rayon::prelude::*;

use super::Segment;
use super::demand::Scene;
use super::form::{self, Form};
use super::stage::Stage;

/// What can be done with a segment.
#[derive(Debug)]
pub struct Listing {
    /// How many passes over its columns are worth a try.
    pub counts: Vec<usize>,
    pub forms: Vec<Form>,
}

/// Listings of one graph on one machine.
#[derive(Debug, Default)]
pub struct Catalogue {
    listings: IndexMap<Key, Arc<Listing>>,
}

/// What a listing depends on: stages, their rows, and the rows of a row-wise fragment.
type Key = (Vec<Stage>, usize, usize);

fn key(scene: &Scene<'_>, segment: &Segment) -> Key {
    (
        segment.stages.clone(),
        segment.rows,
        scene.options.row_chunk,
    )
}

impl Catalogue {
    /// Lists the forms of segments that are not cut, side by side, of alike ones once.
    pub fn new(segments: &[(Scene<'_>, &Segment)]) -> Self {
        let mut asked: IndexMap<Key, (&Scene<'_>, &Segment)> = IndexMap::new();
        for (scene, segment) in segments {
            asked.entry(key(scene, segment)).or_insert((scene, segment));
        }
        let asked: Vec<_> = asked.into_iter().collect();
        let listings = asked
            .into_par_iter()
            .map(|(key, (scene, segment))| (key, Arc::new(Listing::of(scene, segment))));
        let listings: Vec<_> = listings.collect();
        Self {
            listings: listings.into_iter().collect(),
        }
    }

    /// The listing of a segment that is not cut.
    pub fn of(&self, scene: &Scene<'_>, segment: &Segment) -> Arc<Listing> {
        let known = self.listings.get(&key(scene, segment));
        known.map_or_else(|| Arc::new(Listing::of(scene, segment)), Arc::clone)
    }
}

impl Listing {
    fn of(scene: &Scene<'_>, segment: &Segment) -> Self {
        let counts = form::counts(scene, segment);
        let passes = form::passes(scene, segment, &counts);
        let forms = form::forms(scene, segment, &passes);
        Self { counts, forms }
    }
}
