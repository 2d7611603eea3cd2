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
    /// What is gained by it.
    pub why: &'static str,
    /// An example of what it matches and what it leaves, in the text form.
    pub before: &'static str,
    pub after: &'static str,
    /// What a graph has to have for it to do anything.
    pub requires: &'static str,
    /// What holds behind it.
    pub leaves: &'static str,
    /// What it keeps its hands off: "does not …".
    pub does_not: &'static str,
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
        why: "Exporters compute shapes, masks and tables of positions in the graph; nothing of that depends on a request.",
        before: "%1 = mul @0, @1",
        after: "@2 = [6.0]",
        requires: "Values of small constants; of large ones nothing but their shapes.",
        leaves: "Constants where all operands were constant. Large ones are derived: made when the binary is written.",
        does_not: "Look at weights, or make a constant that is much larger than what it follows from.",
        run: graph::fold_constants::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "eliminate-no-ops",
        what: "Drops nodes that change nothing and joins chains that move elements.",
        why: "Casts to the same type, reshapes to the same shape and additions of zero stand between the nodes of every pattern.",
        before: "%1 = transpose %0 perm=[1,0]\n%2 = transpose %1 perm=[1,0]",
        after: "%0",
        requires: "Nothing.",
        leaves: "At most one node of a kind in a chain that moves elements.",
        does_not: "Change how a result is rounded.",
        run: graph::eliminate_no_ops::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "merge-common",
        what: "Merges nodes that compute the same from the same operands.",
        why: "Masks and angles are spelled out once a layer and are the same in all of them.",
        before: "%1 = exp %0\n%2 = exp %0",
        after: "%1 = exp %0",
        requires: "Nothing.",
        leaves: "One node for each operator, operands and attributes.",
        does_not: "See that two spellings compute the same.",
        run: graph::merge_common::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "share-constants",
        what: "Merges constants with the same bytes, the same rule or the same derivation.",
        why: "A tied head or a layer that is used twelve times has to be stored and read once.",
        before: "@0 = [1.0]\n@1 = [1.0]",
        after: "@0 = [1.0]",
        requires: "An identity of constants: content, or name, shape and rule where values are absent.",
        leaves: "Each constant once.",
        does_not: "Compare values that are absent or made by different rules.",
        run: graph::share_constants::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "narrow-broadcast",
        what: "Does element-wise work before elements are repeated.",
        why: "Masks are repeated for every head and row long before they are read.",
        before: "%1 = expand %0\n%2 = exp %1",
        after: "%1 = exp %0\n%2 = expand %1",
        requires: "Nothing.",
        leaves: "Repetitions behind element-wise work, none in front of a mask, and one index for each row of a table that is gathered.",
        does_not: "Repeat a result less often than somebody reads it.",
        run: graph::narrow_broadcast::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fold-quantization",
        what: "Keeps a model's own integers in front of products with stored weights, and floats elsewhere.",
        why: "Exporters that quantise put integers between all nodes; rounding there only loses what the machine can keep.",
        before: "%1 = quantize %0 affine(0.05, 3)\n%2 = dequantize %1 to=f32\n%3 = add %2, %2",
        after: "%3 = add %0, %0",
        requires: "A model that was quantised before.",
        leaves: "Integers in front of products with stored weights, floats everywhere else.",
        does_not: "Change the scales or zero points that the model gives.",
        run: graph::fold_quantization::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "lift-reshape",
        what: "Moves reshapes of rows from before a product behind it.",
        why: "Rows of a batch are joined for a product and cut apart behind it: a join is a view, and views in between hide patterns.",
        before: "%1 = reshape %0\n%2 = matmul %1, @0",
        after: "%1 = matmul %0, @0\n%2 = reshape %1",
        requires: "Weights as the second factor.",
        leaves: "Products of values in their own shape; reshapes behind them.",
        does_not: "Move a reshape that changes columns.",
        run: graph::lift_reshape::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "lift-transpose",
        what: "Moves exchanges of sequences and positions behind what is done to each row alone.",
        why: "Some models go position by position, all sequences each. Caches and windows belong to a sequence, and an exchange is a copy.",
        before: "%1 = transpose %0 perm=[1,0,2]\n%2 = matmul %1, @0\n%3 = transpose %2 perm=[1,0,2]",
        after: "%1 = matmul %0, @0",
        requires: "An exchange of the first two axes; weights, vectors or numbers as the other operand.",
        leaves: "The exchange behind what is done to rows one by one, where it meets the one back.",
        does_not: "Move an exchange past anything that joins, cuts or adds rows.",
        run: graph::lift_transpose::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-norm",
        what: "Recognises LayerNorm and RMSNorm with their gains and shifts.",
        why: "Up to nine nodes, each of which would pass over the rows, are one command of the machine.",
        before: "%1 = reduce_mean %0\n%2 = sub %0, %1\n…\n%8 = add %7, @1",
        after: "%1 = layer_norm %0, @0, @1 eps=1e-5 affine",
        requires: "Means over the last axis; a gain and a shift that are constants, where there are any.",
        leaves: "One norm for each chain.",
        does_not: "Recognise a norm over other axes, or one whose inner results somebody else reads.",
        run: graph::fuse_norm::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-gelu",
        what: "Recognises GELU (by erf and by tanh) and SiLU, factors in any order.",
        why: "The machine has these functions; their pieces would pass over the widest rows of a layer several times.",
        before: "%1 = div %0, 1.41421\n%2 = erf %1\n%3 = add %2, 1.0\n%4 = mul %0, %3\n%5 = mul %4, 0.5",
        after: "%1 = gelu_erf %0",
        requires: "Factors within one part in ten thousand of those of the definition.",
        leaves: "One function for each chain.",
        does_not: "Turn one form of GELU into another.",
        run: graph::fuse_gelu::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-embedding",
        what: "Recognises rows of tables and their sums.",
        why: "Rows of tables come from DRAM one by one; a table that is an operand would come as a whole.",
        before: "%2 = gather @0, %0\n%3 = gather @1, %1\n%4 = add %2, %3",
        after: "%2 = embedding %0, @0, %1, @1 tables=2",
        requires: "Tables that are constants, indices along their first axis.",
        leaves: "One node for each sum of rows, in the order of its additions.",
        does_not: "Take in additions of other things, or a sum that somebody else reads in part.",
        run: graph::fuse_embedding::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-rotary",
        what: "Recognises rotary position embedding; angles that stand twice in a row are computed once.",
        why: "A rotation is one command; its pieces cut, turn and join every head of queries and keys.",
        before: "%4 = concat %neg_upper, %lower\n%5 = mul %4, %sin\n%6 = mul %x, %cos\n%7 = add %6, %5",
        after: "%1 = rotary %x, %cos, %sin heads=9",
        requires: "Four axes, angles that are the same for all heads, and that can be shown to stand twice where they do.",
        leaves: "One rotation for each operand, over heads side by side; angles once.",
        does_not: "Touch what reads tables whose halves differ.",
        run: graph::fuse_rotary::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-cache",
        what: "Makes caches that last from past inputs and present outputs; only new rows are added.",
        why: "What one pass leaves to the next is state: it must not be copied, nor pass through inputs and outputs.",
        before: "%0 = input \"past.0.key\"\n%2 = concat %0, %1 axis=2\noutput %2 \"present.0.key\"",
        after: "%2 = cache %0, %1\noutput %2 \"present.0.key\"",
        requires: "Pasts and presents that go by the names of exporters, `[b, heads, rows, width]`, joined along the rows.",
        leaves: "Caches `[b, rows, heads·width]`; pasts that nothing is added to are read.",
        does_not: "Accept a past that grows and is not given back.",
        run: graph::fuse_cache::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-attention",
        what: "Recognises softmax attention with scales, masks, grouped heads and any order of axes.",
        why: "Scores and probabilities are larger than everything else of a layer and have to stay in SRAM.",
        before: "%3 = matmul %q, %k\n%4 = add %3, %mask\n%5 = softmax %4\n%6 = matmul %5, %v",
        after: "%3 = attention %q, %k, %v, %mask heads=12 scale=0.125 mask",
        requires: "Products of two computed values around a softmax of the last axis; masks that add or fill with numbers below -10000.",
        leaves: "One attention: scale, cap, causal order and windows as attributes, what is left of the masks an operand, repeated heads as groups.",
        does_not: "Recognise masks under the tangent that caps scores.",
        run: graph::fuse_attention::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-window-attention",
        what: "Recognises attention of which each row sees a window of columns and some global ones.",
        why: "Hundreds of nodes cut chunks, turn diagonals into columns and write slices: a window costs what it sees only if it is known to be one.",
        before: "%8 = matmul %chunks of q, %chunks of k\n…\n%90 = softmax %89\n…\n%120 = matmul %119, %chunks of v",
        after: "%8 = attention %q, %k, %v, %mask heads=12 scale=0.125 mask window=256 global=[0]",
        requires: "Masks by key, guards by query, and sequences of a batch that all see the same.",
        leaves: "One attention with a window and global columns for each softmax.",
        does_not: "Guess: each score is traced to its row and key, and each sum to the same keys.",
        run: graph::fuse_window_attention::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-replaced-rows",
        what: "Takes rows that are written over those of an attention into it.",
        why: "Rows that see every column are computed apart and written over those of the window.",
        before: "%1 = attention %q, %k, %v heads=12 scale=0.125 window=256\n%2 = slice %1 start=[0,1,0]\n%3 = concat %0, %2 axis=1",
        after: "%3 = attention %q, %k, %v, %0 heads=12 scale=0.125 window=256 replaced=[0]",
        requires: "An attention whose result is cut and joined again, with rows at known places.",
        leaves: "The rows as an operand of the attention.",
        does_not: "Take in joins in which rows move, or an attention that somebody else reads.",
        run: graph::fuse_replaced_rows::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-hash-sort",
        what: "Recognises rows sorted by locality-sensitive hashes, whatever factors and rounds.",
        why: "Sorting by hash is what decides the cost of a Reformer; the machine sorts, and keeps hashes to more than eight bits.",
        before: "%1 = matmul %0, @0\n%2 = neg %1\n%3 = concat %1, %2\n%4 = arg_max %3\n%5, %6 = top_k %4",
        after: "%1 = hash_sort %0, @0 heads=2 rounds=1 factors=[64]\n%2 = cast %1 to=i64",
        requires: "Rotations that are constants or are drawn from a seed.",
        leaves: "One node that gives the order of rows, for each round.",
        does_not: "Change which of two equal buckets comes first.",
        run: graph::fuse_hash_sort::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-chunk-attention",
        what: "Recognises attention among neighbouring chunks of rows, in place or sorted.",
        why: "Chunks are joined with their neighbours in copies of keys and values; as one operator they are read in place.",
        before: "%2 = concat %1.last, %1.others\n%3 = concat %2, %1\n%4 = matmul %0, %3\n%5 = where …\n%6 = matmul …",
        after: "%2 = chunk_attention %0, %1, %v heads=2 chunk=64 before=1 scale=0.125 causal",
        requires: "Chunks of one length, neighbours in a ring, masks by position.",
        leaves: "One attention among chunks for each softmax, rounds joined by their weights.",
        does_not: "Recognise chunks that see others than their neighbours.",
        run: graph::fuse_chunk_attention::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fold-scale",
        what: "Takes a number that multiplies a product's operand or result into the product.",
        why: "A product takes a factor for nothing, a pass over rows does not.",
        before: "%1 = mul %0, 0.044\n%2 = matmul %1, @0",
        after: "%1 = matmul %0, @0 alpha=0.044",
        requires: "One number that multiplies or divides.",
        leaves: "Products with a factor.",
        does_not: "Multiply weights, whose values may be absent.",
        run: graph::fold_scale::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-bias",
        what: "Takes a row that is added to a product into it.",
        why: "A product adds a row on its way out.",
        before: "%1 = matmul %0, @0\n%2 = add @1, %1",
        after: "%1 = matmul %0, @0, @1 bias",
        requires: "A constant row as long as the result is wide, nobody else reading the product.",
        leaves: "Products with a bias.",
        does_not: "Take in a bias behind a function.",
        run: graph::fuse_bias::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-activation",
        what: "Takes a function of a product's result into the product.",
        why: "A product applies a function on its way out.",
        before: "%1 = matmul %0, @0\n%2 = gelu_erf %1",
        after: "%1 = matmul %0, @0 activation=gelu_erf",
        requires: "A function that the machine's products have, nobody else reading the product.",
        leaves: "Products with a function.",
        does_not: "Take in a function in front of a bias.",
        run: graph::fuse_activation::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "fuse-residual",
        what: "Takes a tensor that is added to a product's result into the product.",
        why: "A product adds the stream on its way out, so that its result is never written alone.",
        before: "%2 = matmul %1, @0\n%3 = add %2, %0",
        after: "%2 = matmul %1, @0, %0 residual",
        requires: "A value of the result's shape that does not depend on the product, nobody else reading the product.",
        leaves: "Products with a residual.",
        does_not: "Take in a residual in front of a function.",
        run: graph::fuse_residual::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "merge-projections",
        what: "Joins products of one value with several weights: q, k and v become one.",
        why: "The rows are quantised and brought to the array once instead of three times.",
        before: "%1 = matmul %0, @0\n%2 = matmul %0, @1",
        after: "%1 = matmul %0, @2\n%2 = slice %1\n%3 = slice %1",
        requires: "Products of one value whose epilogues are alike.",
        leaves: "One product, and slices of its columns.",
        does_not: "Join weights that something else shares.",
        run: graph::merge_projections::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "eliminate-dead",
        what: "Drops nodes whose results nobody reads.",
        why: "What other passes leave behind costs packets.",
        before: "%1 = exp %0\noutput %0",
        after: "output %0",
        requires: "Nothing.",
        leaves: "Nodes that lead to a result, and inputs.",
        does_not: "Drop inputs of the model.",
        run: graph::eliminate_dead::run,
        stage: Stage::Imported,
    },
    Pass {
        name: "quantize",
        what: "Makes products and attention int8, with scales a channel and a row, over an f16 stream.",
        why: "Weights are the traffic: int8 is a quarter of it, and what the arrays multiply.",
        before: "%1 = matmul %0, @0",
        after: "%1 = quantize %0 row(384)\n%2 = matmul %1, @1 out=f16",
        requires: "The fused graph, and a recipe: which layers have scales by group of a row or calibrated ones.",
        leaves: "Weights with a scale a channel, activations with scales a row, group or tensor, an f16 stream between; tables of angles in two parts.",
        does_not: "Touch what is computed from inputs alone, such as masks, or look at values of weights.",
        run: graph::quantize::run,
        stage: Stage::Quantized,
    },
    Pass {
        name: "legalize",
        what: "Rewrites what machines have no command for.",
        why: "The planner knows stages for what machines have commands for.",
        before: "%1 = gather %0, [0] axis=1",
        after: "%1 = slice %0\n%2 = reshape %1",
        requires: "A quantised graph.",
        leaves: "Products over one element as multiplications, evenly spaced gathers as slices.",
        does_not: "Report what has no command: the planner does, all of it at once.",
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
            "\n## {}\n\n**What it does.** {}\n\n**Why.** {}\n\n**Before and after.**\n\n```text\n{}\n──▶\n{}\n```\n\n\
             **Requires.** {}\n\n**Leaves.** {}\n\n**Does not.** {}\n",
            pass.name,
            pass.what,
            pass.why,
            pass.before,
            pass.after,
            pass.requires,
            pass.leaves,
            pass.does_not
        ));
    }
    page
}
