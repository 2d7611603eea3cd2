//! Numbered programs stand in `examples/`; run one with
//! `cargo run --release -p packwright-examples --example 01_estimate`.
