//! Closed forms: what no run on a machine can beat.

use crate::Target;
use crate::engine::{Dataflow, Matrix};
use crate::memory::{Dram, Refresh};

impl Dram {
    /// Bytes that all channels move in a second when the data pins never rest.
    pub fn peak_bytes_per_second(&self) -> f64 {
        let pins = f64::from(self.channels) * f64::from(self.channel_bits);
        self.transfers_per_second as f64 * pins / 8.0
    }

    /// Share of the time that refreshing all banks leaves: 1 − tRFC / tREFI. Refreshing one bank after
    /// the other leaves the bus to the others.
    pub fn refresh_factor(&self) -> f64 {
        match self.refresh {
            Refresh::AllBank => 1.0 - f64::from(self.timing.rfc) / f64::from(self.timing.refi),
            Refresh::PerBank | Refresh::None => 1.0,
        }
    }

    /// Banks of one rank.
    pub fn banks(&self) -> u32 {
        self.bank_groups * self.banks_per_group
    }
}

impl Target {
    /// Gives the memory another peak bandwidth, in bytes per second: its clock changes, and with it the
    /// clocks of everything that takes a time in nanoseconds.
    pub fn set_bandwidth(&mut self, bytes_per_second: f64) {
        let factor = bytes_per_second / self.peak_bytes_per_second();
        let scaled = |hertz: u64| (hertz as f64 * factor).round().max(1.0) as u64;
        self.dram.clock_hz = scaled(self.dram.clock_hz);
        self.dram.transfers_per_second = scaled(self.dram.transfers_per_second);
        let t = &mut self.dram.timing;
        let clocks = |clocks: u32| (f64::from(clocks) * factor - 1e-6).ceil().max(1.0) as u32;
        for value in [
            &mut t.cl,
            &mut t.cwl,
            &mut t.rcd,
            &mut t.rp,
            &mut t.ras,
            &mut t.rrd,
            &mut t.faw,
            &mut t.wr,
            &mut t.wtr_l,
            &mut t.wtr_s,
            &mut t.rtp,
            &mut t.refi,
            &mut t.rfc,
            &mut t.refi_pb,
            &mut t.rfc_pb,
        ] {
            *value = clocks(*value);
        }
    }

    /// Peak DRAM bandwidth in bytes per second.
    pub fn peak_bytes_per_second(&self) -> f64 {
        self.dram.peak_bytes_per_second()
    }

    /// Peak DRAM bandwidth less refresh, in bytes per second: the most that any stream can reach.
    pub fn sustained_bytes_per_second(&self) -> f64 {
        self.peak_bytes_per_second() * self.dram.refresh_factor()
    }

    /// Peak DRAM bandwidth in bytes per core cycle.
    pub fn peak_bytes_per_cycle(&self) -> f64 {
        self.peak_bytes_per_second() / self.clock_hz as f64
    }

    /// Multiply-adds of all cores in one cycle.
    pub fn peak_macs_per_cycle(&self) -> u64 {
        u64::from(self.cores) * u64::from(self.matrix.rows) * u64::from(self.matrix.columns)
    }

    /// Multiply-adds of all cores in one second.
    pub fn peak_macs_per_second(&self) -> f64 {
        self.peak_macs_per_cycle() as f64 * self.clock_hz as f64
    }

    /// Bytes that SRAM moves in a cycle when no banks conflict.
    pub fn sram_bytes_per_cycle(&self) -> u64 {
        u64::from(self.sram.banks) * u64::from(self.sram.bank_bytes_per_cycle)
    }

    /// Least time in seconds for some multiply-adds and DRAM bytes.
    pub fn least_seconds(&self, macs: u64, dram_bytes: u64) -> f64 {
        let matrix = macs as f64 / self.peak_macs_per_second();
        let memory = dram_bytes as f64 / self.sustained_bytes_per_second();
        matrix.max(memory)
    }

    /// Converts core cycles to seconds.
    pub fn seconds(&self, cycles: u64) -> f64 {
        cycles as f64 / self.clock_hz as f64
    }
}

/// Cycles of a product m × k by k × n on one array.
///
/// Weights held: the array takes ⌈k / rows⌉ · ⌈n / columns⌉ folds; in each, m rows stream through.
/// Outputs held: ⌈m / rows⌉ · ⌈n / columns⌉ folds of k steps. Without double buffering a fold loads
/// its weights (rows / `weight_rows_per_cycle` cycles), streams, and drains before the next one; these
/// are SCALE-Sim's closed forms. With double buffering the next weights load while the present ones
/// work, and fills and drains of consecutive folds overlap.
pub fn matmul_cycles(matrix: &Matrix, m: u64, n: u64, k: u64) -> u64 {
    if m == 0 || n == 0 || k == 0 {
        return 0;
    }
    let (rows, columns) = (u64::from(matrix.rows), u64::from(matrix.columns));
    let startup = u64::from(matrix.startup_cycles);
    match matrix.dataflow {
        Dataflow::WeightStationary => {
            let folds = k.div_ceil(rows) * n.div_ceil(columns);
            let load = rows.div_ceil(u64::from(matrix.weight_rows_per_cycle.max(1)));
            if matrix.double_buffered_weights {
                startup + load + (folds - 1) * m.max(load) + m + rows + columns - 2 - 1
            } else {
                startup + folds * (m + load + rows + columns - 2) - 1
            }
        }
        Dataflow::OutputStationary => {
            let folds = m.div_ceil(rows) * n.div_ceil(columns);
            if matrix.double_buffered_weights {
                startup + folds * k + (rows + columns).saturating_sub(3)
            } else {
                startup + folds * (k + rows + columns - 2).max(k + 1) - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(d: u32, dataflow: Dataflow, double: bool) -> Matrix {
        Matrix {
            rows: d,
            columns: d,
            dataflow,
            double_buffered_weights: double,
            weight_rows_per_cycle: 1,
            taps: 1,
            startup_cycles: 0,
        }
    }

    /// Rows of SCALE-Sim 3.0.0 (CALC mode): m, k, n, array, cycles.
    #[test]
    fn scale_sim_weight_stationary() {
        let matrix = array(32, Dataflow::WeightStationary, false);
        assert_eq!(matmul_cycles(&matrix, 77, 200, 96), 3590);
        assert_eq!(matmul_cycles(&matrix, 200, 90, 300), 8819);
        assert_eq!(matmul_cycles(&matrix, 1, 257, 31), 854);
    }

    #[test]
    fn double_buffering_never_costs() {
        for d in [8, 32, 64] {
            for (m, n, k) in [(1, 64, 64), (7, 200, 96), (128, 384, 1536)] {
                for dataflow in [Dataflow::WeightStationary, Dataflow::OutputStationary] {
                    let single = matmul_cycles(&array(d, dataflow, false), m, n, k);
                    let double = matmul_cycles(&array(d, dataflow, true), m, n, k);
                    assert!(
                        double <= single,
                        "{d} {m} {n} {k} {dataflow:?}: {double} > {single}"
                    );
                }
            }
        }
    }
}
