//! Scores: cosines of embeddings, rank correlation, perplexity.

/// The mean of the attended rows of a `[rows, width]` result.
pub fn mean_row(rows: &[f32], width: usize, attended: &[bool]) -> Vec<f64> {
    let mut mean = vec![0.0; width];
    let count = attended.iter().filter(|&&seen| seen).count().max(1);
    for (row, _) in rows
        .chunks_exact(width)
        .zip(attended)
        .filter(|(_, seen)| **seen)
    {
        for (mean, &x) in mean.iter_mut().zip(row) {
            *mean += f64::from(x) / count as f64;
        }
    }
    mean
}

/// Cosine of the angle between two vectors.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Correlation of ranks; equal values share the mean of their ranks.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let centred = |x: &[f64]| -> Vec<f64> {
        let ranks = ranks(x);
        let mean = ranks.iter().sum::<f64>() / ranks.len().max(1) as f64;
        ranks.into_iter().map(|rank| rank - mean).collect()
    };
    cosine(&centred(a), &centred(b))
}

fn ranks(x: &[f64]) -> Vec<f64> {
    let below = |value: f64| x.iter().filter(|&&other| other < value).count() as f64;
    let equal = |value: f64| x.iter().filter(|&&other| other == value).count() as f64;
    x.iter()
        .map(|&value| below(value) + (equal(value) - 1.0) / 2.0)
        .collect()
}

/// The negative log-likelihood of each token but the first, from the logits of the positions before.
pub fn losses(logits: &[f32], vocabulary: usize, ids: &[i64]) -> Vec<f64> {
    let next = ids.iter().skip(1);
    logits
        .chunks_exact(vocabulary)
        .zip(next)
        .map(|(logits, &id)| {
            let most = logits.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x));
            let sum: f64 = logits.iter().map(|&x| f64::from(x - most).exp()).sum();
            sum.ln() - f64::from(logits[id as usize] - most)
        })
        .collect()
}

/// The perplexity of losses.
pub fn perplexity(losses: &[f64]) -> f64 {
    (losses.iter().sum::<f64>() / losses.len().max(1) as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_cases_done_by_hand() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 15.0]), 0.5);
        assert_eq!(ranks(&[5.0, 1.0, 5.0]), [1.5, 0.0, 1.5]);
        let even = losses(&[0.0, 0.0, 1.0, 1.0], 2, &[0, 1, 0]);
        assert!((perplexity(&even) - 2.0).abs() < 1e-12);
        let mean = mean_row(&[1.0, 2.0, 9.0, 9.0, 3.0, 4.0], 2, &[true, false, true]);
        assert_eq!(mean, [2.0, 3.0]);
    }
}
