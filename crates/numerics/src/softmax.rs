//! Softmax of a row of scores, and the way of attention probabilities to int8.

use crate::elementary::exp;
use crate::quant::quantize_dynamic_row;
use crate::reduce::{max_row, sum_lanes};
use crate::wide::wide;

wide! {
    /// Softmax in place. Masks have been added already.
    ///
    /// `m = max(s)`, `e = exp(s - m)`, `inv = 1 / sum(e)`, `p = e * inv`.
    ///
    /// A row of -inf alone gives zeros; a row of equal finite scores (all masked by -3.4e38, say) is
    /// uniform. A NaN or +inf in the row makes all of it NaN. Scores 87.4 or more below the largest
    /// give exactly 0, so masked columns at the end of a row leave the others' bits unchanged.
    pub fn softmax_row(scores: &mut [f32]) {
        let m = max_row(scores);
        if m == f32::NEG_INFINITY {
            scores.fill(0.0);
            return;
        }
        for s in scores.iter_mut() {
            *s = exp(*s - m);
        }
        let inverse = 1.0 / sum_lanes(scores);
        for p in scores {
            *p *= inverse;
        }
    }
}

/// Softmax, then `p[j] * column_scale[j]`, then dynamic int8 in groups of `group` columns.
///
/// The left operand of probabilities × values: `column_scale` holds the scales of the rows of
/// the values, which the sum over j could not apply afterwards. `scores` is left holding the
/// scaled probabilities; `q` and `steps` as in [`quantize_dynamic_row`].
pub fn softmax_scale_quantize_row(
    scores: &mut [f32],
    column_scale: Option<&[f32]>,
    group: usize,
    q: &mut [i8],
    steps: &mut [f32],
) {
    softmax_row(scores);
    if let Some(column_scale) = column_scale {
        assert_eq!(scores.len(), column_scale.len(), "one scale for each score");
        for (p, &v) in scores.iter_mut().zip(column_scale) {
            *p *= v;
        }
    }
    quantize_dynamic_row(scores, group, q, steps);
}
