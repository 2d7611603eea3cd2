//! Samples: inputs that are seen one after the other, as often as they are needed. Memory holds one at a time
//! where they come from a file.

use std::fmt;
use std::sync::Arc;

use packwright_ir::diag::Diagnostics;
use packwright_ir::tensor::Tensor;

/// One sample: inputs by name.
pub type Sample = Vec<(String, Tensor)>;

/// Sees samples in turn; an error ends them.
pub type Visit<'a> = dyn FnMut(Sample) -> Result<(), Diagnostics> + 'a;

/// Shows samples from the first on.
type Source = dyn Fn(&mut Visit<'_>) -> Result<(), Diagnostics> + Send + Sync;

/// Where samples come from.
#[derive(Clone)]
pub struct Samples {
    count: usize,
    source: Arc<Source>,
}

impl Samples {
    /// `count` samples that `source` shows, from the first on, each time that it is called.
    pub fn new(
        count: usize,
        source: impl Fn(&mut Visit<'_>) -> Result<(), Diagnostics> + Send + Sync + 'static,
    ) -> Self {
        Self {
            count,
            source: Arc::new(source),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Shows all of them, with their numbers.
    ///
    /// # Errors
    /// What stops the reading of samples, and what `visit` complains of.
    pub fn each(
        &self,
        visit: &mut dyn FnMut(usize, &Sample) -> Result<(), Diagnostics>,
    ) -> Result<(), Diagnostics> {
        let mut number = 0;
        (self.source)(&mut |sample| {
            number += 1;
            visit(number - 1, &sample)
        })
    }
}

impl From<Vec<Sample>> for Samples {
    fn from(samples: Vec<Sample>) -> Self {
        Self::new(samples.len(), move |visit| {
            samples.iter().cloned().try_for_each(visit)
        })
    }
}

impl Default for Samples {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.count)
    }
}
