//! Catalogue: the forms of segments, listed once for all ways of forming segments.
//!
//! Ways differ in a few of their segments; the attention of a layer, which has the most forms, is the same in many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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

/// Listings of one graph within one budget.
#[derive(Debug, Default)]
pub struct Catalogue {
    listings: Mutex<HashMap<Key, Arc<OnceLock<Arc<Listing>>>>>,
}

/// What a listing depends on: stages, their rows, and the rows of a row-wise fragment.
type Key = (Vec<Stage>, usize, usize);

impl Catalogue {
    /// The listing of a segment that is not cut.
    pub fn of(&self, scene: &Scene<'_>, segment: &Segment) -> Arc<Listing> {
        let key = (
            segment.stages.clone(),
            segment.rows,
            scene.options.row_chunk,
        );
        let place = {
            let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(listings.entry(key).or_default())
        };
        let listing = place.get_or_init(|| {
            let counts = form::counts(scene, segment);
            let passes = form::passes(scene, segment, &counts);
            let forms = form::forms(scene, segment, &passes);
            Arc::new(Listing { counts, forms })
        });
        Arc::clone(listing)
    }
}
