//! Regenerates the ONNX messages of the front end from the vendored schema.

use std::path::Path;

use anyhow::Context;

/// Writes `crates/onnx/src/proto/onnx.rs` again; needs neither network nor `protoc`.
///
/// # Errors
/// When the schema does not compile or the file cannot be written.
pub fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the workspace")?;
    let crate_root = root.join("crates/onnx");
    let descriptors = protox::compile(
        [crate_root.join("proto/onnx.proto")],
        [crate_root.join("proto")],
    )
    .context("cannot compile the ONNX schema")?;
    prost_build::Config::new()
        // Views of the model file instead of copies: weights can be large.
        .bytes(["."])
        .disable_comments(["."])
        .format(false)
        .out_dir(crate_root.join("src/proto"))
        .compile_fds(descriptors)
        .context("cannot write the messages")
}
