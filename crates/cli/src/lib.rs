//! The packwright command and the facade library over all crates.
