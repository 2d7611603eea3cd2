//! The types of the JSON reports; field names are the schema.
//!
//! Fields may be added under the same version; none is renamed or removed. Every field has a default
//! when read, so that reports of older tools can be compared.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::survey_generation::GenerationRow;

/// Schema of [`Report`].
pub const REPORT_SCHEMA: &str = "packwright.report/1";
/// Schema of [`Slms`].
pub const SLMS_SCHEMA: &str = "packwright.slms/1";

/// What `simulate` and `estimate` print.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    pub schema: String,
    pub model: String,
    pub target: String,
    pub precision: String,
    /// Version of the tool that compiled the program.
    pub tool: String,
    pub entries: Vec<EntryReport>,
}

/// One entry of a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryReport {
    pub name: String,
    pub binding: IndexMap<String, u64>,
    /// Positions of one pass; 0 where no input tells.
    pub sequence_length: u64,
    pub parameters: u64,
    /// Multiply-adds of the model as exported.
    pub macs: u64,
    /// Multiply-adds that the packets carry out.
    pub macs_executed: u64,
    pub padding: PaddingReport,
    /// Bytes of the constants as stored.
    pub weight_bytes: u64,
    pub packets: u64,
    pub commands: u64,
    pub cycles: u64,
    pub seconds: f64,
    pub energy_joules: f64,
    /// The unit or memory that the time hangs on: `dram`, `matrix`, `vector`, `sequencer`, ….
    pub limited_by: String,
    pub sram_peak_bytes: u64,
    pub dram_bytes: DramBytes,
    /// Bytes per second that the DRAM really moved.
    pub dram_bytes_per_second: f64,
    /// Bytes per second that its pins could move.
    pub dram_peak_bytes_per_second: f64,
    pub bound: BoundReport,
    pub units: Units,
    pub energy: IndexMap<String, f64>,
    pub layers: Vec<LayerReport>,
    /// What the numbers assume.
    pub notes: Vec<String>,
    /// What the time hangs on, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<WhyReport>,
    /// What each packet cost, in the order of the stream, if it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packet_costs: Vec<PacketReport>,
    /// SRAM bytes in use from a cycle on, each as `[cycle, bytes]`, if packets were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sram_over_time: Vec<(u64, u64)>,
}

/// What one packet cost; sums over packets are the totals of the entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PacketReport {
    /// Its place in the stream.
    pub packet: u64,
    /// The node of the model that it is charged to.
    pub layer: String,
    /// What it does there.
    pub what: String,
    pub commands: u64,
    /// Cycles by kind of unit.
    pub busy: IndexMap<String, u64>,
    pub macs: u64,
    /// DRAM traffic of its transfers.
    pub dram_bytes: DramBytes,
}

/// What was paid for and not asked for: parts of bursts, of rows and columns of the array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PaddingReport {
    /// Bytes of DRAM bursts that no transfer asked for.
    pub dram_bytes: u64,
    /// Multiply-adds of array folds whose rows or columns were not full.
    pub macs: u64,
}

/// What the time hangs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhyReport {
    /// Where the cycles of the critical path went, the most first; they add up to the cycles of the run.
    pub path: Vec<StepReport>,
    /// What more of each resource would save, by simulation of the changed machine.
    pub more: Vec<MoreReport>,
}

/// Cycles of the critical path that went into one thing in one layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepReport {
    pub what: String,
    pub layer: String,
    pub cycles: u64,
}

/// The same job on a machine with more of something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MoreReport {
    /// What is changed, e.g. `twice the DRAM channels`.
    pub resource: String,
    /// The override that does it.
    pub set: String,
    /// Whether the model was compiled anew for the changed machine.
    pub recompiled: bool,
    /// Cycles then; null where the job cannot be done.
    pub cycles: Option<u64>,
    /// Cycles that are saved; negative where it is slower.
    pub saves: i64,
}

/// DRAM traffic by category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DramBytes {
    pub weights: u64,
    pub embeddings: u64,
    pub inputs: u64,
    pub outputs: u64,
    pub spill_write: u64,
    pub spill_read: u64,
    pub kv_read: u64,
    pub kv_write: u64,
    pub packets: u64,
    pub total: u64,
}

impl DramBytes {
    /// The categories with their names, in the order of the schema, without the total.
    pub fn categories(&self) -> [(&'static str, u64); 9] {
        [
            ("weights", self.weights),
            ("embeddings", self.embeddings),
            ("inputs", self.inputs),
            ("outputs", self.outputs),
            ("spill_write", self.spill_write),
            ("spill_read", self.spill_read),
            ("kv_read", self.kv_read),
            ("kv_write", self.kv_write),
            ("packets", self.packets),
        ]
    }

    /// Traffic without the packet stream: what a bound speaks of.
    pub fn without_packets(&self) -> u64 {
        self.total.saturating_sub(self.packets)
    }
}

/// The least that any schedule could take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoundReport {
    pub dram_bytes: u64,
    pub attainable_dram_bytes: u64,
    pub seconds: f64,
    /// What schedules that work on one part of the model after the other take; at least `seconds`.
    pub attainable_seconds: f64,
    pub binding_term: String,
    /// The terms that add up to `dram_bytes`.
    pub terms: IndexMap<String, u64>,
    /// Measured bytes, without the packet stream, over `dram_bytes`.
    pub dram_ratio: f64,
    /// Measured seconds over `seconds`.
    pub time_ratio: f64,
}

impl BoundReport {
    /// Measured bytes, without the packet stream, and seconds over those of known schedules.
    pub fn attainable_ratios(&self) -> (f64, f64) {
        let ratio = |ratio: f64, least: f64, attainable: f64| match attainable {
            0.0 => ratio,
            attainable => ratio * least / attainable,
        };
        let bytes = (self.dram_bytes as f64, self.attainable_dram_bytes as f64);
        let seconds = (self.seconds, self.attainable_seconds);
        (
            ratio(self.dram_ratio, bytes.0, bytes.1),
            ratio(self.time_ratio, seconds.0, seconds.1),
        )
    }
}

/// How the units spent their cycles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Units {
    pub dma: UnitReport,
    pub matrix: UnitReport,
    pub vector: UnitReport,
    pub sequencer: UnitReport,
}

impl Units {
    /// The kinds of unit with their names.
    pub fn all(&self) -> [(&'static str, &UnitReport); 4] {
        [
            ("dma", &self.dma),
            ("matrix", &self.matrix),
            ("vector", &self.vector),
            ("sequencer", &self.sequencer),
        ]
    }
}

/// Cycles of all units of one kind; busy, idle and stalls add up to `count` × the cycles of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitReport {
    /// Units of this kind.
    pub count: u64,
    pub busy: u64,
    pub idle: u64,
    /// Cycles by cause.
    pub stall: IndexMap<String, u64>,
    /// The units one by one, where there are several; busy, idle and stalls of each are the cycles of the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<UnitReport>,
}

/// One row of the provenance table: work of one kind in one layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerReport {
    pub layer: String,
    pub what: String,
    pub packets: u64,
    /// Cycles that units were busy for it, by unit.
    pub busy: IndexMap<String, u64>,
    pub macs: u64,
    pub dram_bytes: DramBytes,
}

/// What `slms` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slms {
    pub schema: String,
    pub target: String,
    pub precision: String,
    /// Sequence length that models with a free sequence were bound to.
    pub sequence_length: u64,
    pub rows: Vec<SlmRow>,
    /// Costs of a text on the decoders, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub generation: Vec<GenerationRow>,
}

/// One model of `slms`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlmRow {
    pub name: String,
    /// `ok` or `not yet`.
    pub status: String,
    /// Why it does not compile; null where it does.
    pub reason: Option<String>,
    /// Code of the first reason.
    pub code: Option<String>,
    /// How many problems stand in the way.
    pub problems: u64,
    /// File of the catalogue.
    pub file: String,
    /// The part of the model: `encoder`, `prefill`, ….
    pub phase: String,
    pub report: Option<Report>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_report_are_those_of_the_schema() {
        let report = Report {
            schema: REPORT_SCHEMA.into(),
            entries: vec![EntryReport {
                layers: vec![LayerReport::default()],
                ..Default::default()
            }],
            ..Default::default()
        };
        let json = serde_json::to_string_pretty(&report).expect("serialises");
        insta::assert_snapshot!(json);
        let back: Report = serde_json::from_str(&json).expect("parses");
        assert_eq!(back, report);
    }

    #[test]
    fn reports_with_fewer_fields_can_be_read() {
        let old = r#"{"schema": "packwright.report/1", "entries": [{"cycles": 7}]}"#;
        let report: Report = serde_json::from_str(old).expect("parses");
        assert_eq!(report.entries[0].cycles, 7);
    }

    #[test]
    fn names_of_slms_are_those_of_the_schema() {
        let slms = Slms {
            schema: SLMS_SCHEMA.into(),
            rows: vec![SlmRow::default()],
            ..Default::default()
        };
        let json = serde_json::to_string(&slms).expect("serialises");
        insta::assert_snapshot!(json, @r#"{"schema":"packwright.slms/1","target":"","precision":"","sequence_length":0,"rows":[{"name":"","status":"","reason":null,"code":null,"problems":0,"file":"","phase":"","report":null}]}"#);
    }
}
