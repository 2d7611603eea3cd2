//! The table of passes: one name each, on the command line, in tests and in the documentation.

use packwright_ir::Graph;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::verify::Stage;

use crate::graph;

/// A pass from graph to graph.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    pub name: &'static str,
    /// What it does, one sentence.
    pub what: &'static str,
    /// An example of what it matches and what it leaves, in the text form.
    pub before: &'static str,
    pub after: &'static str,
    /// Rewrites, and says how often.
    pub run: fn(&mut Graph) -> Result<usize, Diagnostics>,
    /// The stage whose laws hold behind it.
    pub stage: Stage,
}

/// What a pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    pub name: &'static str,
    /// Times that something was rewritten.
    pub rewrites: usize,
    /// Nodes before and after.
    pub nodes: (usize, usize),
    /// What it noticed.
    pub warnings: Vec<Diagnostic>,
}

/// All passes in the order in which the pipeline first runs them.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "fold-constants",
        what: "Computes what follows from constants alone; large constants are derived, not computed.",
        before: "%1 = mul @0, @1",
        after: "@2 = [6.0]",
        run: graph::fold_constants::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "eliminate-no-ops",
        what: "Drops nodes that change nothing and joins chains that move elements.",
        before: "%1 = transpose %0 perm=[1,0]\n%2 = transpose %1 perm=[1,0]",
        after: "%0",
        run: graph::eliminate_no_ops::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "merge-common",
        what: "Merges nodes that compute the same from the same operands.",
        before: "%1 = exp %0\n%2 = exp %0",
        after: "%1 = exp %0",
        run: graph::merge_common::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "share-constants",
        what: "Merges constants with the same bytes, the same rule or the same derivation.",
        before: "@0 = [1.0]\n@1 = [1.0]",
        after: "@0 = [1.0]",
        run: graph::share_constants::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "narrow-broadcast",
        what: "Does element-wise work before elements are repeated.",
        before: "%1 = expand %0\n%2 = exp %1",
        after: "%1 = exp %0\n%2 = expand %1",
        run: graph::narrow_broadcast::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fold-quantization",
        what: "Keeps a model's own integers in front of products with stored weights, and floats elsewhere.",
        before: "%1 = quantize %0 affine(0.05, 3)\n%2 = dequantize %1 to=f32\n%3 = add %2, %2",
        after: "%3 = add %0, %0",
        run: graph::fold_quantization::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "lift-reshape",
        what: "Moves reshapes of rows from before a product behind it.",
        before: "%1 = reshape %0\n%2 = matmul %1, @0",
        after: "%1 = matmul %0, @0\n%2 = reshape %1",
        run: graph::lift_reshape::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "lift-transpose",
        what: "Moves exchanges of sequences and positions behind what is done to each row alone.",
        before: "%1 = transpose %0 perm=[1,0,2]\n%2 = matmul %1, @0\n%3 = transpose %2 perm=[1,0,2]",
        after: "%1 = matmul %0, @0",
        run: graph::lift_transpose::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-norm",
        what: "Recognises LayerNorm and RMSNorm with their gains and shifts.",
        before: "%1 = reduce_mean %0\n%2 = sub %0, %1\n…\n%8 = add %7, @1",
        after: "%1 = layer_norm %0, @0, @1 eps=1e-5 affine",
        run: graph::fuse_norm::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-gelu",
        what: "Recognises GELU (by erf and by tanh) and SiLU, factors in any order.",
        before: "%1 = div %0, 1.41421\n%2 = erf %1\n%3 = add %2, 1.0\n%4 = mul %0, %3\n%5 = mul %4, 0.5",
        after: "%1 = gelu_erf %0",
        run: graph::fuse_gelu::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-embedding",
        what: "Recognises rows of tables and their sums.",
        before: "%2 = gather @0, %0\n%3 = gather @1, %1\n%4 = add %2, %3",
        after: "%2 = embedding %0, @0, %1, @1 tables=2",
        run: graph::fuse_embedding::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-rotary",
        what: "Recognises rotary position embedding; angles that stand twice in a row are computed once.",
        before: "%4 = concat %neg_upper, %lower\n%5 = mul %4, %sin\n%6 = mul %x, %cos\n%7 = add %6, %5",
        after: "%1 = rotary %x, %cos, %sin heads=9",
        run: graph::fuse_rotary::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-cache",
        what: "Makes caches that last from past inputs and present outputs; only new rows are added.",
        before: "%0 = input \"past.0.key\"\n%2 = concat %0, %1 axis=2\noutput %2 \"present.0.key\"",
        after: "%2 = cache %0, %1\noutput %2 \"present.0.key\"",
        run: graph::fuse_cache::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-attention",
        what: "Recognises softmax attention with scales, masks, grouped heads and any order of axes.",
        before: "%3 = matmul %q, %k\n%4 = add %3, %mask\n%5 = softmax %4\n%6 = matmul %5, %v",
        after: "%3 = attention %q, %k, %v, %mask heads=12 scale=0.125 mask",
        run: graph::fuse_attention::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-window-attention",
        what: "Recognises attention of which each row sees a window of columns and some global ones.",
        before: "%8 = matmul %chunks of q, %chunks of k\n…\n%90 = softmax %89\n…\n%120 = matmul %119, %chunks of v",
        after: "%8 = attention %q, %k, %v, %mask heads=12 scale=0.125 mask window=256 global=[0]",
        run: graph::fuse_window_attention::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-replaced-rows",
        what: "Takes rows that are written over those of an attention into it.",
        before: "%1 = attention %q, %k, %v heads=12 scale=0.125 window=256\n%2 = slice %1 start=[0,1,0]\n%3 = concat %0, %2 axis=1",
        after: "%3 = attention %q, %k, %v, %0 heads=12 scale=0.125 window=256 replaced=[0]",
        run: graph::fuse_replaced_rows::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-hash-sort",
        what: "Recognises rows sorted by locality-sensitive hashes, whatever factors and rounds.",
        before: "%1 = matmul %0, @0\n%2 = neg %1\n%3 = concat %1, %2\n%4 = arg_max %3\n%5, %6 = top_k %4",
        after: "%1 = hash_sort %0, @0 heads=2 rounds=1 factors=[64]\n%2 = cast %1 to=i64",
        run: graph::fuse_hash_sort::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-chunk-attention",
        what: "Recognises attention among neighbouring chunks of rows, in place or sorted.",
        before: "%2 = concat %1.last, %1.others\n%3 = concat %2, %1\n%4 = matmul %0, %3\n%5 = where …\n%6 = matmul …",
        after: "%2 = chunk_attention %0, %1, %v heads=2 chunk=64 before=1 scale=0.125 causal",
        run: graph::fuse_chunk_attention::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fold-scale",
        what: "Takes a number that multiplies a product's operand or result into the product.",
        before: "%1 = mul %0, 0.044\n%2 = matmul %1, @0",
        after: "%1 = matmul %0, @0 alpha=0.044",
        run: graph::fold_scale::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-bias",
        what: "Takes a row that is added to a product into it.",
        before: "%1 = matmul %0, @0\n%2 = add @1, %1",
        after: "%1 = matmul %0, @0, @1 bias",
        run: graph::fuse_bias::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-activation",
        what: "Takes a function of a product's result into the product.",
        before: "%1 = matmul %0, @0\n%2 = gelu_erf %1",
        after: "%1 = matmul %0, @0 activation=gelu_erf",
        run: graph::fuse_activation::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-residual",
        what: "Takes a tensor that is added to a product's result into the product.",
        before: "%2 = matmul %1, @0\n%3 = add %2, %0",
        after: "%2 = matmul %1, @0, %0 residual",
        run: graph::fuse_residual::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "merge-projections",
        what: "Joins products of one value with several weights: q, k and v become one.",
        before: "%1 = matmul %0, @0\n%2 = matmul %0, @1",
        after: "%1 = matmul %0, @2\n%2 = slice %1\n%3 = slice %1",
        run: graph::merge_projections::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "eliminate-dead",
        what: "Drops nodes whose results nobody reads.",
        before: "%1 = exp %0\noutput %0",
        after: "output %0",
        run: graph::eliminate_dead::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "quantize",
        what: "Makes products and attention int8, with scales a channel and a row, over an f16 stream.",
        before: "%1 = matmul %0, @0",
        after: "%1 = quantize %0 row(384)\n%2 = matmul %1, @1 out=f16",
        run: graph::quantize::run,
        stage: Stage::Quantized,
    },
    Pass {
        name: "legalize",
        what: "Rewrites what machines have no command for.",
        before: "%1 = gather %0, [0] axis=1",
        after: "%1 = slice %0\n%2 = reshape %1",
        run: graph::legalize::run,
        stage: Stage::Imported,
    },
];

/// A pass by its name.
pub fn find(name: &str) -> Option<&'static Pass> {
    PASSES.iter().find(|pass| pass.name == name)
}

/// The page of all passes, generated from the table.
pub fn passes_md() -> String {
    let mut page = String::from(
        "# Graph passes\n\nGenerated from the table in `crates/compile/src/pass.rs` by `cargo xtask docs`. \
         `packwright opt --pass NAME` runs one on a text; `tests/files/graph/NAME` holds its cases.\n",
    );
    for pass in PASSES {
        page.push_str(&format!(
            "\n## {}\n\n{}\n\n```text\n{}\n──▶\n{}\n```\n",
            pass.name, pass.what, pass.before, pass.after
        ));
    }
    page
}
