//! Generated pages: written by `cargo xtask docs`, compared by `cargo xtask docs --check`.

use std::fs;

use anyhow::Context;

use crate::root;

/// Writes the generated pages, or fails where one is stale.
pub fn run(check: bool) -> anyhow::Result<()> {
    let pages = [
        ("packets.md", packwright_packet::docs::packets_md()),
        ("passes.md", packwright_compile::pass::passes_md()),
        (
            "supported-ops.md",
            packwright_onnx::registry::supported_ops_md(),
        ),
    ];
    let mut stale = Vec::new();
    for (name, text) in pages {
        let path = root().join("docs").join(name);
        if check {
            if fs::read_to_string(&path).unwrap_or_default() != text {
                stale.push(name);
            }
        } else {
            fs::write(&path, text).with_context(|| format!("docs/{name}"))?;
        }
    }
    anyhow::ensure!(
        stale.is_empty(),
        "stale: {} (run `cargo xtask docs`)",
        stale.join(", ")
    );
    Ok(())
}
