//! Observers: what a stream of values says about a good static scale, in memory that does not grow.

/// Bins of a histogram.
const BINS: usize = 2048;
/// Steps of int8 on one side of zero.
const STEPS: usize = 127;
/// Share of values that a percentile keeps.
const PERCENTILE: f64 = 0.9999;

/// How a scale is chosen from what was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Observer {
    /// The largest magnitude.
    #[default]
    MinMax,
    /// The magnitude that all but one in ten thousand stay below.
    Percentile,
    /// The magnitude whose quantised distribution tells the least of itself apart from the observed one.
    Entropy,
    /// The magnitude with the least mean square error.
    Mse,
}

impl Observer {
    /// Every observer.
    pub const ALL: [Observer; 4] = [
        Observer::MinMax,
        Observer::Percentile,
        Observer::Entropy,
        Observer::Mse,
    ];

    /// Name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Observer::MinMax => "min-max",
            Observer::Percentile => "percentile",
            Observer::Entropy => "entropy",
            Observer::Mse => "mse",
        }
    }
}

/// A histogram of magnitudes whose range doubles when a value lies beyond it.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    counts: Vec<u64>,
    /// What the last bin ends at; a power of two times the first range, or 0 before the first value.
    range: f32,
    largest: f32,
    /// Values that are no numbers, or infinite.
    pub broken: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BINS],
            range: 0.0,
            largest: 0.0,
            broken: 0,
        }
    }
}

impl Histogram {
    /// Counts values.
    pub fn add(&mut self, values: &[f32]) {
        let finite = |x: &&f32| x.is_finite();
        let most = values
            .iter()
            .filter(finite)
            .fold(0.0f32, |m, x| m.max(x.abs()));
        self.broken += (values.len() - values.iter().filter(finite).count()) as u64;
        self.largest = self.largest.max(most);
        if self.range == 0.0 {
            self.range = most;
        }
        while most > self.range {
            self.double();
        }
        if self.range == 0.0 {
            self.counts[0] += values.iter().filter(finite).count() as u64;
            return;
        }
        let factor = BINS as f32 / self.range;
        for x in values.iter().filter(finite) {
            let bin = (x.abs() * factor) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// The same values in bins twice as wide.
    fn double(&mut self) {
        for bin in 0..BINS / 2 {
            self.counts[bin] = self.counts[2 * bin] + self.counts[2 * bin + 1];
        }
        self.counts[BINS / 2..].fill(0);
        self.range *= 2.0;
    }

    /// Whether there was no value but zero.
    pub fn is_constant_zero(&self) -> bool {
        self.largest == 0.0
    }

    /// The largest magnitude that a scale should cover.
    pub fn limit(&self, observer: Observer) -> f32 {
        match observer {
            Observer::MinMax => self.largest,
            Observer::Percentile => self.percentile().min(self.largest),
            Observer::Entropy => self.best(|bins| self.divergence(bins)).min(self.largest),
            Observer::Mse => self.best(|bins| self.square_error(bins)).min(self.largest),
        }
    }

    /// The end of a range of bins.
    fn end(&self, bins: usize) -> f32 {
        self.range * bins as f32 / BINS as f32
    }

    fn percentile(&self) -> f32 {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total as f64 * PERCENTILE).ceil() as u64;
        let mut seen = 0;
        for (bin, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return self.end(bin + 1);
            }
        }
        self.largest
    }

    /// The range with the least cost; the widest of equals.
    fn best(&self, cost: impl Fn(usize) -> f64) -> f32 {
        let mut best = (f64::INFINITY, BINS);
        for bins in (STEPS + 1..=BINS).rev().step_by(16) {
            let cost = cost(bins);
            if cost < best.0 {
                best = (cost, bins);
            }
        }
        self.end(best.1)
    }

    /// Sum of square errors where the range ends at so many bins.
    fn square_error(&self, bins: usize) -> f64 {
        let width = f64::from(self.range) / BINS as f64;
        let step = width * bins as f64 / STEPS as f64;
        let limit = step * STEPS as f64;
        let error = |(bin, &count): (usize, &u64)| {
            let x = (bin as f64 + 0.5) * width;
            // Within a wide bin values are spread evenly, hence the error of rounding as a variance.
            let error = if x > limit {
                (x - limit) * (x - limit)
            } else {
                step * step / 12.0
            };
            error * count as f64
        };
        self.counts.iter().enumerate().map(error).sum()
    }

    /// Kullback-Leibler divergence from the observed distribution to the quantised one.
    fn divergence(&self, bins: usize) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let outside: u64 = self.counts[bins..].iter().sum();
        let mut observed: Vec<f64> = self.counts[..bins].iter().map(|&c| c as f64).collect();
        observed[bins - 1] += outside as f64;
        let mut sum = 0.0;
        for step in 0..=STEPS {
            let from = step * bins / (STEPS + 1);
            let to = (step + 1) * bins / (STEPS + 1);
            let inside: f64 = self.counts[from..to].iter().map(|&c| c as f64).sum();
            let filled = self.counts[from..to].iter().filter(|&&c| c > 0).count();
            if filled == 0 {
                continue;
            }
            let even = inside / filled as f64;
            for (bin, &p) in observed[from..to].iter().enumerate() {
                if p > 0.0 {
                    let q = if self.counts[from + bin] > 0 {
                        even
                    } else {
                        1e-9
                    };
                    sum += p * (p / q).ln();
                }
            }
        }
        sum / total.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of a bell curve, near enough.
    fn bell(count: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        (0..count).map(|_| (0..12).map(|_| draw()).sum()).collect()
    }

    #[test]
    fn an_outlier_moves_the_largest_magnitude_alone() {
        let mut histogram = Histogram::default();
        histogram.add(&bell(100_000));
        histogram.add(&[60.0]);
        let limits = Observer::ALL.map(|o| histogram.limit(o));
        assert_eq!(limits[0], 60.0);
        for limit in &limits[1..3] {
            assert!((2.0..8.0).contains(limit), "{limits:?}");
        }
        assert!(limits[3] < 60.0, "{limits:?}");
    }

    #[test]
    fn the_order_of_samples_moves_no_limit_by_more_than_a_bin() {
        let values = bell(10_000);
        let (mut forth, mut back) = (Histogram::default(), Histogram::default());
        for part in values.chunks(100) {
            forth.add(part);
        }
        for part in values.chunks(100).rev() {
            back.add(part);
        }
        for observer in Observer::ALL {
            let (a, b) = (forth.limit(observer), back.limit(observer));
            assert!((a - b).abs() <= 0.1 * a, "{} {a} {b}", observer.name());
        }
    }

    #[test]
    fn what_is_no_number_is_counted() {
        let mut histogram = Histogram::default();
        histogram.add(&[0.0, f32::NAN, f32::INFINITY]);
        assert_eq!(histogram.broken, 2);
        assert!(histogram.is_constant_zero());
        assert_eq!(histogram.limit(Observer::MinMax), 0.0);
    }
}
