//! What can go wrong in a simulation.

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimError {
    #[error("{what} shows {found}, less than the bound of {bound}")]
    BoundViolated {
        what: &'static str,
        found: String,
        bound: String,
    },
    #[error("{what} add up to {found}, not to {expected}")]
    Accounting {
        what: &'static str,
        found: u64,
        expected: u64,
    },
    #[error("the address map `{map}` is not understood: {why}")]
    AddressMap { map: String, why: String },
    #[error("{waiting} packets wait for tokens that nobody signals; the first is p{first}")]
    Deadlock { waiting: usize, first: usize },
    #[error("a command of packet p{packet} names a region that the entry does not have")]
    NoRegion { packet: usize },
    #[error("packet p{packet} has origin o{origin}, which the program does not have")]
    NoOrigin { packet: usize, origin: u32 },
}

impl SimError {
    /// Stable slug.
    pub fn code(&self) -> &'static str {
        match self {
            SimError::BoundViolated { .. } => "bound-violated",
            SimError::Accounting { .. } => "accounting-broken",
            SimError::AddressMap { .. } => "address-map",
            SimError::Deadlock { .. } => "packet-deadlock",
            SimError::NoRegion { .. } => "region-unknown",
            SimError::NoOrigin { .. } => "origin-unknown",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            SimError::BoundViolated { .. } | SimError::Accounting { .. } => {
                "a mistake of this tool, in the bound or in the simulator: please report it"
            }
            SimError::AddressMap { .. } => {
                "fields are column, bankgroup, bank, channel and rank with a width, and row last"
            }
            SimError::Deadlock { .. } | SimError::NoRegion { .. } | SimError::NoOrigin { .. } => {
                "run the check on the program: it names the packet"
            }
        }
    }
}
