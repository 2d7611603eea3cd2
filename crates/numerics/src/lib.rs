//! Arithmetic of the machine, specified to the bit.
//!
//! This crate is the code twin of `docs/numerics.md`: what a matrix core and a vector unit do to
//! numbers, written short, scalar and in the stated order of operations. The oracle of the graph
//! and the functional simulator both call it, so they agree bit for bit.
//!
//! ```text
//!   SRAM ──▶ input port ──▶ f32 inside ──▶ output port ──▶ SRAM
//!   i8 f16     widen,        exp, norm,     round once,      i8 f16
//!   f32 i32    dequantise    softmax, …     saturate         f32
//!
//!   i8 × i8 ──▶ i32 exact ──▶ f32 × scales ──▶ bias, activation, residual ──▶ output port
//! ```
//!
//! The same input gives the same bits on every host: the code uses only the f32 operations that
//! IEEE 754 rounds correctly (`+ - * / sqrt`), integer operations and bit casts. There is no libm,
//! no fused multiply-add and no order of summation that is left to the compiler. The one thing
//! that hosts disagree about, the payload of a NaN, is made canonical at the output port.
//!
//! Reading order: [`round`] (rounding), [`quant`] (int8 and its scales), [`int4`]
//! (weights of four bits), [`half_float`] and
//! [`port`] (what crosses the memory ports), [`elementary`] (exp, ln, erf, tanh, sin, cos, …),
//! [`activation`], [`reduce`] (the order of a sum), [`norm`], [`softmax`], [`rotary`], and
//! [`matmul`] (integer products and the epilogue).
//!
//! Functions that take several slices panic when the lengths do not fit; callers check shapes
//! before they get here. No function allocates.

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!("x87 arithmetic does not round every operation to f32; build with SSE2");

mod wide;

pub mod round;

pub mod quant;

pub mod int4;

pub mod half_float;

pub mod port;

pub mod elementary;

pub mod activation;

pub mod reduce;

pub mod norm;

pub mod softmax;

pub mod rotary;

pub mod matmul;
