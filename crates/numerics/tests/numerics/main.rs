//! Tests of the machine's arithmetic: errors against f64, bits that must not change, orders of
//! operation against naive second implementations, and properties.

mod accuracy;
mod epilogue;
mod golden;
mod int4;
mod order;
mod ports;
mod quantization;
mod rows;
