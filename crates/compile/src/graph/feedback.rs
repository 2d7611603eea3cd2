//! Compensated rounding: the error of each weight is made good by those that are rounded after it.
//!
//! The weights of a channel are rounded one after the other; what earlier ones have lost is added to later
//! ones, in the proportion in which inputs go together: with `H = Σ xᵀx = U D Uᵀ` over the samples (U unit
//! upper triangular), weight k becomes `round(w[k] + Σ_{i<k} (w[i] - q[i]) · U[i][k])`. Weights of strong
//! inputs come first.

use packwright_numerics::quant::{Scale, quantize};

/// Added to the diagonal, as a share of its mean, so that inputs that hardly occur do no harm.
const DAMPING: f64 = 0.01;

/// What the errors of earlier weights add to later ones.
pub(super) struct Feedback {
    /// The order in which weights are rounded.
    order: Vec<usize>,
    /// Row k holds `U[0..k][k]`, by place in the order; rows lie one after the other.
    factors: Vec<f32>,
}

impl Feedback {
    /// From the upper triangle of `Σ xᵀx`.
    pub(super) fn of(moments: &[f32], k: usize) -> Self {
        let at = |i: usize, j: usize| f64::from(moments[i.min(j) * k + i.max(j)]);
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|&i, &j| at(j, j).total_cmp(&at(i, i)).then(i.cmp(&j)));
        let mean = (0..k).map(|i| at(i, i)).sum::<f64>() / k.max(1) as f64;
        // In reverse, because U is upper triangular: the last weight is factored first.
        let mut lower: Vec<Vec<f64>> = Vec::with_capacity(k);
        for a in 0..k {
            let mut row: Vec<f64> = Vec::with_capacity(a + 1);
            let i = order[k - 1 - a];
            for b in 0..a {
                let before = &lower[b];
                let rest = at(i, order[k - 1 - b]) - dot(&row, &before[..b]);
                row.push(rest / before[b]);
            }
            let rest = at(i, i) + DAMPING * mean - dot(&row, &row);
            row.push(rest.max(f64::MIN_POSITIVE + 1e-9 * mean).sqrt());
            lower.push(row);
        }
        let mut factors = Vec::with_capacity(k * k.saturating_sub(1) / 2);
        for place in 0..k {
            let column = k - 1 - place;
            let own = lower[column][column];
            factors.extend((0..place).map(|i| (lower[k - 1 - i][column] / own) as f32));
        }
        Self { order, factors }
    }

    /// Rounds the weights of a channel.
    pub(super) fn round(&self, weights: &[f32], scale: Scale, q: &mut [i8]) {
        let mut errors: Vec<f32> = Vec::with_capacity(weights.len());
        let mut rest = &self.factors[..];
        for &i in &self.order {
            let (factors, behind) = rest.split_at(errors.len());
            rest = behind;
            let wanted = weights[i] + dot_f32(&errors, factors);
            q[i] = quantize(wanted, scale.inverse);
            errors.push(weights[i] - f32::from(q[i]) * scale.step);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
