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
        let inverse = exponentials_row(scores);
        for p in scores {
            *p *= inverse;
        }
    }
}

wide! {
    /// The exponentials of a softmax in place; returns the inverse of their sum, by which each of them is
    /// to be multiplied. A row of -inf alone gives zeros and 0.
    pub fn exponentials_row(scores: &mut [f32]) -> f32 {
        let m = max_row(scores);
        if m == f32::NEG_INFINITY {
            scores.fill(0.0);
            return 0.0;
        }
        for s in scores.iter_mut() {
            *s = exp(*s - m);
        }
        1.0 / sum_lanes(scores)
    }
}

/// Probabilities times `column_scale` as dynamic int8 in groups of `group` columns: `t[j] = e[j] * column_scale[j]`
/// with the exponentials `e` of the softmax, quantised; then each step times the inverse of the exponentials' sum.
///
/// The left operand of probabilities × values: `column_scale` holds the scales of the rows of
/// the values, which the sum over j could not apply afterwards. `scores` is left holding `t`; `q` and
/// `steps` as in [`quantize_dynamic_row`].
pub fn softmax_scale_quantize_row(
    scores: &mut [f32],
    column_scale: Option<&[f32]>,
    group: usize,
    q: &mut [i8],
    steps: &mut [f32],
) {
    let inverse = exponentials_row(scores);
    if let Some(column_scale) = column_scale {
        assert_eq!(scores.len(), column_scale.len(), "one scale for each score");
        for (e, &v) in scores.iter_mut().zip(column_scale) {
            *e *= v;
        }
    }
    quantize_dynamic_row(scores, group, q, steps);
    for step in steps {
        *step *= inverse;
    }
}
