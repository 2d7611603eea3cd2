//! Targets from TOML: presets, files, overrides, validation.

use thiserror::Error;

use crate::Target;
use crate::unit::parse_quantity;

/// The presets, in order of size.
const PRESETS: &[(&str, &str)] = &[
    ("tiny", include_str!("../presets/tiny.toml")),
    ("e1", include_str!("../presets/e1.toml")),
    ("e2", include_str!("../presets/e2.toml")),
    ("e6", include_str!("../presets/e6.toml")),
    ("e8", include_str!("../presets/e8.toml")),
    ("evo", include_str!("../presets/evo.toml")),
];

/// What can be wrong with a target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// No preset of that name.
    #[error("there is no target {name:?}; presets are {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// The text is no target.
    #[error("the target file is not valid: {message}")]
    Syntax {
        /// What the TOML reader says.
        message: String,
    },
    /// An override that names no field, or has no value for it.
    #[error("cannot set {setting:?}: {message}")]
    Setting {
        /// The override as given.
        setting: String,
        /// Why not.
        message: String,
    },
    /// Numbers that no machine can have.
    #[error("{path} = {value}: {rule}")]
    Invalid {
        /// Path of the field.
        path: String,
        /// Its value.
        value: String,
        /// What has to hold.
        rule: String,
    },
}

impl TargetError {
    /// Stable code for `explain`.
    pub fn code(&self) -> &'static str {
        match self {
            TargetError::Unknown { .. } => "target-unknown",
            TargetError::Syntax { .. } => "target-syntax",
            TargetError::Setting { .. } => "target-setting",
            TargetError::Invalid { .. } => "target-invalid",
        }
    }
}

/// Codes of this crate with what they mean, for `explain`.
pub const CODES: &[(&str, &str)] = &[
    (
        "target-unknown",
        "The name given to --target is neither a preset nor a readable TOML file. `packwright targets` lists the presets.",
    ),
    (
        "target-syntax",
        "The target file is not TOML, lacks a field or has one that is not known. Start from `packwright targets e2`, which prints a complete file.",
    ),
    (
        "target-setting",
        "An override of the form --set path=value names no numeric field of a target, or its value cannot be read. Values take units: 2MiB, 800MHz, 1.5k.",
    ),
    (
        "target-invalid",
        "A number of the target breaks a rule that the machine model needs, such as a size of zero. The message says which rule.",
    ),
];

impl Target {
    /// Names of the presets.
    pub fn preset_names() -> Vec<&'static str> {
        PRESETS.iter().map(|(name, _)| *name).collect()
    }

    /// A preset by name.
    ///
    /// # Errors
    /// [`TargetError::Unknown`] where there is none.
    pub fn preset(name: &str) -> Result<Self, TargetError> {
        let (_, text) =
            PRESETS
                .iter()
                .find(|(n, _)| *n == name)
                .ok_or_else(|| TargetError::Unknown {
                    name: name.into(),
                    known: Self::preset_names().join(", "),
                })?;
        Self::from_toml(text)
    }

    /// A target from TOML text.
    ///
    /// # Errors
    /// [`TargetError::Syntax`] where a field is missing, unknown or of the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, TargetError> {
        toml::from_str(text).map_err(|error| TargetError::Syntax {
            message: error.to_string(),
        })
    }

    /// The target as TOML; reading it gives the same target.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a target is made of tables, numbers and strings")
    }

    /// Hash of all numbers of the machine (FNV-1a over the canonical TOML).
    pub fn fingerprint(&self) -> u64 {
        self.to_toml()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }

    /// Changes one numeric field: `sram.bytes=2MiB`, `dram.channels=4`.
    ///
    /// # Errors
    /// [`TargetError::Setting`] where the path names no number, or the value is none.
    pub fn set(&mut self, setting: &str) -> Result<(), TargetError> {
        let problem = |message: String| TargetError::Setting {
            setting: setting.into(),
            message,
        };
        let (path, value) = setting
            .split_once('=')
            .ok_or_else(|| problem("write path=value".into()))?;
        let mut table: toml::Table =
            toml::from_str(&self.to_toml()).map_err(|error| TargetError::Syntax {
                message: error.to_string(),
            })?;
        let known = numeric_paths(&table, "").join(", ");
        let unknown = || problem(format!("no such field; fields are {known}"));
        let (outer, last) = match path.trim().rsplit_once('.') {
            Some((outer, last)) => (outer.split('.').collect(), last),
            None => (Vec::new(), path.trim()),
        };
        let mut current = &mut table;
        for name in outer {
            current = match current.get_mut(name) {
                Some(toml::Value::Table(inner)) => inner,
                _ => return Err(unknown()),
            };
        }
        let field = current.get_mut(last).ok_or_else(unknown)?;
        *field = match field {
            toml::Value::Integer(_) => {
                let number = parse_quantity(value)
                    .filter(|n| n.fract() == 0.0 && *n >= 0.0 && *n < 9.0e18)
                    .ok_or_else(|| problem("the value is not a whole number".into()))?;
                toml::Value::Integer(number as i64)
            }
            toml::Value::Float(_) => toml::Value::Float(
                parse_quantity(value).ok_or_else(|| problem("the value is not a number".into()))?,
            ),
            toml::Value::Boolean(_) => toml::Value::Boolean(
                value
                    .trim()
                    .parse()
                    .map_err(|_| problem("the value is not true or false".into()))?,
            ),
            _ => return Err(problem(format!("not a number; numeric fields are {known}"))),
        };
        let text = toml::to_string(&table).map_err(|e| problem(e.to_string()))?;
        *self = Self::from_toml(&text).map_err(|error| problem(error.to_string()))?;
        Ok(())
    }

    /// Everything about the numbers that the machine model cannot work with.
    pub fn problems(&self) -> Vec<TargetError> {
        let mut problems = Vec::new();
        let mut positive = |path: &str, value: u64| {
            if value == 0 {
                problems.push(TargetError::Invalid {
                    path: path.into(),
                    value: value.to_string(),
                    rule: "must be at least 1".into(),
                });
            }
        };
        positive("clock_hz", self.clock_hz);
        positive("cores", self.cores.into());
        positive("matrix.rows", self.matrix.rows.into());
        positive("matrix.columns", self.matrix.columns.into());
        positive(
            "matrix.weight_rows_per_cycle",
            self.matrix.weight_rows_per_cycle.into(),
        );
        positive("matrix.taps", self.matrix.taps.into());
        positive("vector.lanes", self.vector.lanes.into());
        positive("sram.bytes", self.sram.bytes);
        positive("sram.banks", self.sram.banks.into());
        positive(
            "sram.bank_bytes_per_cycle",
            self.sram.bank_bytes_per_cycle.into(),
        );
        positive("dma.engines", self.dma.engines.into());
        positive("dma.outstanding_bursts", self.dma.outstanding_bursts.into());
        positive("sequencer.window", self.sequencer.window.into());
        positive("sequencer.fetch_bytes", self.sequencer.fetch_bytes.into());
        positive("dram.channels", self.dram.channels.into());
        positive("dram.channel_bits", self.dram.channel_bits.into());
        positive("dram.transfers_per_second", self.dram.transfers_per_second);
        positive("dram.clock_hz", self.dram.clock_hz);
        positive("dram.ranks", self.dram.ranks.into());
        positive("dram.bank_groups", self.dram.bank_groups.into());
        positive("dram.banks_per_group", self.dram.banks_per_group.into());
        positive("dram.rows", self.dram.rows.into());
        positive("dram.queue_bursts", self.dram.queue_bursts.into());
        positive("dma.turn_bytes", self.dma.turn_bytes.into());
        let mut rule = |holds: bool, path: &str, value: String, rule: &str| {
            if !holds {
                problems.push(TargetError::Invalid {
                    path: path.into(),
                    value,
                    rule: rule.into(),
                });
            }
        };
        let alignment = self.sram.alignment;
        rule(
            alignment.is_power_of_two() && alignment >= 4,
            "sram.alignment",
            alignment.to_string(),
            "must be a power of two of at least 4",
        );
        let dram = &self.dram;
        rule(
            dram.burst_bytes > 0 && dram.row_bytes.is_multiple_of(dram.burst_bytes.max(1)),
            "dram.row_bytes",
            dram.row_bytes.to_string(),
            "must be a multiple of dram.burst_bytes",
        );
        rule(
            dram.channels.is_power_of_two(),
            "dram.channels",
            dram.channels.to_string(),
            "must be a power of two: bits of the address choose the channel",
        );
        // The rate of the pins and that of the bursts are one figure in two places.
        let pins = dram.transfers_per_second as f64 * f64::from(dram.channel_bits) / 8.0;
        let clocks = f64::from(dram.timing.burst.max(1));
        let bursts = f64::from(dram.burst_bytes) * dram.clock_hz as f64 / clocks;
        rule(
            (pins / bursts - 1.0).abs() < 0.01,
            "dram.transfers_per_second",
            dram.transfers_per_second.to_string(),
            "times dram.channel_bits must agree with dram.burst_bytes, dram.timing.burst and dram.clock_hz",
        );
        rule(
            dram.write_low < dram.write_high && dram.write_high <= dram.queue_bursts,
            "dram.write_high",
            dram.write_high.to_string(),
            "must be above dram.write_low and at most dram.queue_bursts",
        );
        rule(
            self.dma.engines <= 56,
            "dma.engines",
            self.dma.engines.to_string(),
            "must be at most 56",
        );
        rule(
            dram.timing.refi_pb > 0,
            "dram.timing.refi_pb",
            dram.timing.refi_pb.to_string(),
            "must be at least 1",
        );
        rule(
            dram.timing.refi > dram.timing.rfc,
            "dram.timing.refi",
            dram.timing.refi.to_string(),
            "must be larger than dram.timing.rfc",
        );
        rule(
            self.sram.bytes <= u64::from(u32::MAX),
            "sram.bytes",
            self.sram.bytes.to_string(),
            "must be below 4 GiB: packets hold 32-bit addresses",
        );
        problems
    }
}

fn numeric_paths(table: &toml::Table, prefix: &str) -> Vec<String> {
    table
        .iter()
        .flat_map(|(name, value)| match value {
            toml::Value::Table(inner) => numeric_paths(inner, &format!("{prefix}{name}.")),
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => {
                vec![format!("{prefix}{name}")]
            }
            _ => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_sound_and_round_trip() {
        for name in Target::preset_names() {
            let target = Target::preset(name).expect("presets parse");
            assert_eq!(target.name, name);
            assert_eq!(target.problems(), [], "{name}");
            assert_eq!(
                Target::from_toml(&target.to_toml()).expect("round trip"),
                target
            );
        }
    }

    #[test]
    fn overrides() {
        let mut target = Target::preset("e2").expect("preset");
        target.set("sram.bytes=4MiB").expect("a known field");
        assert_eq!(target.sram.bytes, 4 << 20);
        target.set("energy.mac_pj=0.5").expect("a known field");
        assert_eq!(target.energy.mac_pj, 0.5);
        assert_eq!(
            target.set("sram.size=1").expect_err("unknown").code(),
            "target-setting"
        );
        assert_eq!(
            target.set("sram=1").expect_err("a table").code(),
            "target-setting"
        );
        assert_eq!(
            target.set("cores=many").expect_err("no number").code(),
            "target-setting"
        );
        assert_eq!(
            target.set("cores").expect_err("no value").code(),
            "target-setting"
        );
    }

    #[test]
    fn limits_of_the_presets() {
        let lines: Vec<String> = Target::preset_names()
            .into_iter()
            .map(|name| {
                let t = Target::preset(name).expect("preset");
                format!(
                    "{name}: {} MAC/cycle, {:.2} GB/s peak, {:.2} GB/s less refresh, sram {}",
                    t.peak_macs_per_cycle(),
                    t.peak_bytes_per_second() / 1e9,
                    t.sustained_bytes_per_second() / 1e9,
                    crate::unit::print_bytes(t.sram.bytes)
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        tiny: 64 MAC/cycle, 8.53 GB/s peak, 7.92 GB/s less refresh, sram 64 KiB
        e1: 512 MAC/cycle, 8.53 GB/s peak, 7.92 GB/s less refresh, sram 512 KiB
        e2: 4096 MAC/cycle, 17.06 GB/s peak, 15.84 GB/s less refresh, sram 2 MiB
        e6: 16384 MAC/cycle, 25.60 GB/s peak, 23.76 GB/s less refresh, sram 8 MiB
        e8: 32768 MAC/cycle, 51.20 GB/s peak, 47.53 GB/s less refresh, sram 16 MiB
        evo: 65536 MAC/cycle, 68.26 GB/s peak, 63.37 GB/s less refresh, sram 32 MiB
        ");
    }
}
