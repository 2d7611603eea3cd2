//! Codes of the plan and of the packets that follow from it.

use packwright_ir::diag::CodeDoc;

use super::doc;

/// Codes of the plan and of the packets that follow from it.
pub const CODES: &[CodeDoc] = &[
    doc(
        "cache-unwritten",
        "A cache is read that no entry writes.",
        "An entry takes keys or values as a past that it does not add to. Another entry has to make them: give the export whose outputs are called `present…` like it as an entry too.",
    ),
    doc(
        "cache-without-present",
        "A past grows, but is not given back.",
        "An input called `past…` is joined with new rows, and no output `present…` returns the whole. Export the model with `use_cache`, so that each past has its present.",
    ),
    doc(
        "calibration-constant",
        "The input of a product is zero in all samples.",
        "No scale follows from zeros, so one is made up that covers values up to 1. Calibrate with samples that reach this layer, or give its scale in the recipe.",
    ),
    doc(
        "calibration-failed",
        "A sample to calibrate with cannot be evaluated.",
        "Each sample needs an array for each input, in the shape that the axes are bound to; indices must lie inside their tables.",
    ),
    doc(
        "calibration-missing",
        "A static layer has no scale.",
        "Static scales come from samples (--calibrate) or from the recipe. Layers are called as their weights are.",
    ),
    doc(
        "calibration-not-finite",
        "The input of a product holds infinities or NaN.",
        "A scale needs finite numbers. Look for infinities or NaN in the samples and in the weights of earlier layers.",
    ),
    doc(
        "equalize-unmeasured",
        "Norms are not equalised, because nobody has measured them.",
        "Factors of norms follow from the largest values of their channels over samples (--calibrate). Without samples they are 1, which keeps the form of the program and changes nothing that it computes.",
    ),
    doc(
        "emit-packets",
        "A plan takes too many packets.",
        "With little SRAM for its rows, a model is cut into so many row blocks that its packets would take gigabytes. Raise sram.bytes, or shorten the sequence.",
    ),
    doc(
        "entry-caches-differ",
        "Entries disagree about a cache.",
        "Caches of one name are the same memory in all entries, so batch, heads and width have to agree. Export all entries from the same model.",
    ),
    doc(
        "entry-calibration",
        "Samples calibrate one model, and a program of several was asked for.",
        "The entries of a program have different inputs, so samples of one mean nothing to another. Measure the model that reads them with `packwright quantize`, and give its recipe to all entries; `--clip mse` needs no samples.",
    ),
    doc(
        "entry-repeated",
        "Two entries have the same name.",
        "Entries are called by name; give each its own.",
    ),
    doc(
        "entry-weights-differ",
        "Entries hold different weights of one name.",
        "Entries share one copy of the weights. Parameters of the same name and type have other values in another entry: export all entries from the same model.",
    ),
    doc(
        "plan-cache",
        "Keys and values are not both cached.",
        "Attention over a cache reads int8 keys and values that are both cached, head by head. Export keys and values alike.",
    ),
    doc(
        "plan-element",
        "The machine has no such element type.",
        "Values on the machine are i8, i32, i64, f16 or f32. Cast the value in the model.",
    ),
    doc(
        "logits-all",
        "Logits of one position cannot be taken out.",
        "With `--logits one` the row of one position goes through the head alone. That needs an output called `logits` that is a product of rows and constant weights. Compile with `--logits all`.",
    ),
    doc(
        "plan-float-weights",
        "A product has weights that are not quantised.",
        "Matrix arrays take int8 or int4 weights. The pipeline quantises them; a graph in text form must say it itself.",
    ),
    doc(
        "plan-ring",
        "Weights do not fit beside the work.",
        "A tile of weights is larger than the SRAM left for weights. Raise sram.bytes or choose smaller tiles with --tile-bytes.",
    ),
    doc(
        "plan-sram",
        "No plan fits into SRAM.",
        "Even the smallest fragments need more SRAM than the target has. Raise sram.bytes, or shorten the sequence.",
    ),
    doc(
        "plan-view",
        "A change of layout has no form on the machine.",
        "Reshapes and transposes that no fusion took up would need a copy that this version does not make.",
    ),
    doc(
        "plan-cache",
        "A cache is read by something other than attention.",
        "Keys and values of earlier positions are kept in the form in which attention reads them. What else reads them, an attention that was not recognised say, would need them in another form.",
    ),
    doc(
        "accounting-broken",
        "The sums of a simulation do not add up.",
        "Cycles of every unit, bytes by category and work by layer are added up in every run. This is a mistake of the simulator: please report it.",
    ),
    doc(
        "bound-violated",
        "A run beats its bound.",
        "The simulator shows less traffic or less time than the least that the compiler derived: one of the two is wrong. Please report it with the model and the target.",
    ),
    doc(
        "address-map",
        "The address map of the DRAM is not understood.",
        "dram.address_map lists fields from the lowest bit above the burst: column, bankgroup, bank, channel and rank with a width each, then row.",
    ),
    doc(
        "packet-deadlock",
        "Packets wait for tokens that nobody signals.",
        "The check of a program finds this before it runs.",
    ),
    doc(
        "origin-unknown",
        "A packet has an origin that the program does not list.",
        "The check of a program finds this before it runs.",
    ),
    doc(
        "emit-attention",
        "An attention has a form that has no packets yet.",
        "The message says which. Report the model.",
    ),
    doc(
        "emit-chunk",
        "An attention among chunks has a form that has no packets.",
        "The message says which. Queries, keys and values are quantised head by head.",
    ),
    doc(
        "emit-hash",
        "A sort by hash has a form that has no packets.",
        "The message says which. The quantize pass brings rotations into two parts of eight bits.",
    ),
    doc(
        "emit-constant",
        "A constant cannot be stored in the form that the machine reads.",
        "Its values are absent or of a type that this use does not take.",
    ),
    doc(
        "emit-constant-output",
        "An output of the model is a constant.",
        "It needs no machine. Remove it from the outputs before the export.",
    ),
    doc(
        "emit-matmul",
        "A product has a form that has no packets yet.",
        "The message says which. Report the model.",
    ),
    doc(
        "emit-operator",
        "An operator has no packets yet.",
        "`docs/supported-ops.md` lists the operators that are lowered. Report the model.",
    ),
    doc(
        "emit-port",
        "An input or output has a type that ports do not have.",
        "Inputs and outputs are i8, i32, i64, f16 or f32.",
    ),
    doc(
        "emit-rows",
        "A row-wise operator has a form that has no packets yet.",
        "The message says which. Report the model.",
    ),
];
