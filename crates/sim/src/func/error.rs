//! What can go wrong in a functional run, as data.

use packwright_packet::operand::Elem;
use thiserror::Error;

/// Why a run did not start or did not end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum FuncError {
    #[error("inputs without a value: {}", names.join(", "))]
    MissingInputs { names: Vec<String> },
    #[error("values for inputs that the entry does not have: {}", names.join(", "))]
    UnknownInputs {
        names: Vec<String>,
        known: Vec<String>,
    },
    #[error("input `{name}` is given twice")]
    RepeatedInput { name: String },
    #[error("input `{name}` takes {expected} bytes, not {actual}")]
    InputSize {
        name: String,
        expected: u64,
        actual: u64,
    },
    #[error("the entry has {expected} registers, not {actual}")]
    RegisterCount { expected: usize, actual: usize },
    #[error("register `{name}` is {value}, above its maximum {max}")]
    RegisterTooLarge { name: String, value: u64, max: u64 },
    #[error("the program's constants ({bytes} bytes) are absent")]
    AbsentConstants { bytes: u64 },
    #[error("region `{name}`: {why}")]
    BadRegion { name: String, why: &'static str },
    #[error("port `{name}`: {why}")]
    BadPort { name: String, why: &'static str },
    #[error("state `{name}` has another address or size than in the run before")]
    MovedState { name: String },
    #[error("no memory for {what} of {bytes} bytes")]
    NoMemory { what: String, bytes: u64 },
    #[error("packet p{packet}, command {command} ({mnemonic}): {fault}")]
    Command {
        packet: usize,
        command: usize,
        mnemonic: &'static str,
        fault: Fault,
    },
}

impl FuncError {
    /// A stable short name.
    pub fn slug(&self) -> &'static str {
        match self {
            FuncError::MissingInputs { .. } => "missing-inputs",
            FuncError::UnknownInputs { .. } => "unknown-inputs",
            FuncError::RepeatedInput { .. } => "repeated-input",
            FuncError::InputSize { .. } => "input-size",
            FuncError::RegisterCount { .. } => "register-count",
            FuncError::RegisterTooLarge { .. } => "register-too-large",
            FuncError::AbsentConstants { .. } => "absent-constants",
            FuncError::BadRegion { .. } => "bad-region",
            FuncError::BadPort { .. } => "bad-port",
            FuncError::MovedState { .. } => "moved-state",
            FuncError::NoMemory { .. } => "no-memory",
            FuncError::Command { fault, .. } => fault.slug(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            FuncError::MissingInputs { .. } => "give a value to each input of the entry".into(),
            FuncError::UnknownInputs { known, .. } => {
                format!("the entry's inputs are: {}", known.join(", "))
            }
            FuncError::RepeatedInput { .. } => "give each input once".into(),
            FuncError::InputSize { .. } => {
                "the entry is compiled for one shape and type of each input; pad or convert".into()
            }
            FuncError::RegisterCount { .. } => "give a value to each register".into(),
            FuncError::RegisterTooLarge { .. } => {
                "stay below the maximum or compile with a larger capacity".into()
            }
            FuncError::AbsentConstants { .. } => {
                "compile a model that has its weights, or only simulate the time".into()
            }
            FuncError::NoMemory { .. } => "run on a host with more memory".into(),
            FuncError::BadRegion { .. }
            | FuncError::BadPort { .. }
            | FuncError::MovedState { .. }
            | FuncError::Command { .. } => {
                "the program is malformed; check it and compile it again".into()
            }
        }
    }
}

/// What is wrong with one command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum Fault {
    #[error("`{field}` overflows an address")]
    AddressOverflow { field: &'static str },
    #[error("`{field}` depends on register r{register}, which the entry does not have")]
    UnknownRegister { field: &'static str, register: u8 },
    #[error("`{field}` reaches byte {end} of an SRAM of {bytes} bytes")]
    OutsideSram {
        field: &'static str,
        end: u64,
        bytes: u64,
    },
    #[error("`{field}` is {extent}, more than this machine can hold")]
    ExtentTooLarge { field: &'static str, extent: u64 },
    #[error("`{field}` names region {region}, which the entry does not have")]
    UnknownRegion { field: &'static str, region: u16 },
    #[error("`{field}` reaches byte {end} of region `{region}` of {bytes} bytes")]
    OutsideRegion {
        field: &'static str,
        region: String,
        end: u64,
        bytes: u64,
    },
    #[error("region `{region}` cannot be written")]
    ReadOnlyRegion { region: String },
    #[error("region `{region}` has no contents")]
    EmptyRegion { region: String },
    #[error("`{field}` cannot have elements of type {elem:?}")]
    ElementType { field: &'static str, elem: Elem },
    #[error("elements of `{field}` lie on each other")]
    SelfOverlap { field: &'static str },
    #[error("`{field}` overlaps `{other}`")]
    Overlap {
        field: &'static str,
        other: &'static str,
    },
    #[error("groups of {group} do not divide {extent}")]
    UnevenGroups { group: u64, extent: u64 },
    #[error("`{field}` is missing: {why}")]
    MissingField {
        field: &'static str,
        why: &'static str,
    },
    #[error("`{field}` is out of place: {why}")]
    UnexpectedField {
        field: &'static str,
        why: &'static str,
    },
    #[error("`cols` is odd, so elements do not pair up")]
    OddWidth,
    #[error("the table has no rows")]
    EmptyTable,
}

impl Fault {
    /// A stable short name.
    pub fn slug(&self) -> &'static str {
        match self {
            Fault::AddressOverflow { .. } => "address-overflow",
            Fault::UnknownRegister { .. } => "unknown-register",
            Fault::OutsideSram { .. } => "outside-sram",
            Fault::ExtentTooLarge { .. } => "extent-too-large",
            Fault::UnknownRegion { .. } => "unknown-region",
            Fault::OutsideRegion { .. } => "outside-region",
            Fault::ReadOnlyRegion { .. } => "read-only-region",
            Fault::EmptyRegion { .. } => "empty-region",
            Fault::ElementType { .. } => "element-type",
            Fault::SelfOverlap { .. } => "self-overlap",
            Fault::Overlap { .. } => "overlap",
            Fault::UnevenGroups { .. } => "uneven-groups",
            Fault::MissingField { .. } => "missing-field",
            Fault::UnexpectedField { .. } => "unexpected-field",
            Fault::OddWidth => "odd-width",
            Fault::EmptyTable => "empty-table",
        }
    }
}
