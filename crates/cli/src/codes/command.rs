//! Codes of this crate: files, arrays, names.

use packwright_ir::diag::CodeDoc;

use super::doc;

/// Codes of this crate: files, arrays, names.
pub const CODES: &[CodeDoc] = &[
    doc(
        "sweep-axis",
        "A sweep cannot vary that.",
        "Name a number of the target, dram.bandwidth, bind.NAME or plan.NAME, with values: a,b,c or a..b (doubling) or a..b+step.",
    ),
    doc(
        "code-unknown",
        "There is no such code.",
        "`packwright explain` without an argument lists all codes.",
    ),
    doc(
        "const-unknown",
        "The model has no input of that name.",
        "`--const NAME=VALUE` makes an input a constant; `packwright inspect` lists the inputs.",
    ),
    doc(
        "const-value",
        "An input cannot be fixed to that value.",
        "`--const NAME=VALUE` takes ones, zeros, first (1 at the first position of each row, 0 elsewhere), or an .npz file with an array of the input's name, type and shape.",
    ),
    doc(
        "entry-length",
        "The name of an entry has no number of positions behind its @.",
        "`--entry prefill@16=model.onnx` makes an entry for 16 positions; without @ it has those of `--seq`.",
    ),
    doc(
        "entry-unknown",
        "The program has no entry of that name.",
        "`packwright inspect` lists the entries of a program.",
    ),
    doc(
        "file-empty",
        "The file is empty.",
        "An interrupted copy or a failed export leaves an empty file: fetch or export it again.",
    ),
    doc(
        "file-is-folder",
        "The path names a folder.",
        "Name the file in it.",
    ),
    doc(
        "file-kind",
        "The file is of no kind that this subcommand takes.",
        "`inspect` takes .onnx and .npu files, `compare` takes reports that `simulate --json` or `estimate --json` printed.",
    ),
    doc(
        "file-missing",
        "There is no such file.",
        "Check the spelling and the folder that the command runs in.",
    ),
    doc(
        "file-not-text",
        "The file holds bytes that are no text.",
        "Texts are UTF-8. A binary program goes to `packwright dis`, a model to `packwright compile`.",
    ),
    doc(
        "file-unreadable",
        "The file cannot be read.",
        "The operating system refused; the message says why.",
    ),
    doc(
        "file-unwritable",
        "The file cannot be written.",
        "Files are written beside their final place and moved there when complete, so the folder must exist, be writable and have room. Nothing is left behind where that fails.",
    ),
    doc(
        "generate-input",
        "An entry has an input that generation does not know.",
        "Generation gives token ids, masks and positions. Run such an entry with `packwright run`.",
    ),
    doc(
        "generate-logits",
        "An entry has no logits.",
        "Generation reads the output called `logits`, in float32.",
    ),
    doc(
        "generate-no-decode",
        "The program cannot generate.",
        "Generation needs an entry whose caches grow at run time: compile an export that takes pasts as inputs, best with `--entry prefill=… --entry decode=…`. Exports whose masks depend on the length of the past in a way that the compiler cannot follow are bound to one length.",
    ),
    doc(
        "generate-no-encoder",
        "The program has no encoder.",
        "Only programs with an entry called `encoder` take a text for one.",
    ),
    doc(
        "generate-too-long",
        "A text is longer than the caches.",
        "Prompt and answer together take more positions than the program was compiled for. Compile with a larger --capacity, or ask for fewer tokens.",
    ),
    doc(
        "input-missing",
        "An input of the model has no array.",
        "The .npz file must hold an array for each input, under its name. With --default-inputs, masks that are left out are all ones, token types are zeros and positions count from zero.",
    ),
    doc(
        "input-shape",
        "An array does not have the shape of its input.",
        "A program is compiled for fixed lengths: pad the array, or compile for its length. An array with a leading axis of samples needs --each.",
    ),
    doc(
        "input-type",
        "An array does not have the type of its input.",
        "Whole numbers may change their width where every value survives it; fractions never become whole numbers.",
    ),
    doc(
        "input-unknown",
        "The program has no input of that name.",
        "Rename or remove the array; the message lists the inputs.",
    ),
    doc(
        "internal-error",
        "The tool broke one of its own rules.",
        "This is a defect of packwright, not of the model. Please report it with the model and the command.",
    ),
    doc(
        "no-threads",
        "Threads cannot be started.",
        "Ask for fewer with -j.",
    ),
    doc(
        "npz-type",
        "An array has an element type that no input takes.",
        "Arrays may hold bool, int8, int32, int64, float32 or float64.",
    ),
    doc(
        "npz-unreadable",
        "The file is no .npz archive of arrays.",
        "Write it with numpy.savez or numpy.savez_compressed.",
    ),
    doc(
        "npz-unwritable",
        "An output cannot be stored.",
        "The message names the output.",
    ),
    doc(
        "pass-unknown",
        "There is no pass of that name.",
        "`packwright opt --list` lists the passes.",
    ),
    doc(
        "prompt-empty",
        "There is no prompt.",
        "Generation begins with at least one token.",
    ),
    doc(
        "register-unknown",
        "An entry has no register of that name.",
        "`packwright inspect` lists the registers of each entry.",
    ),
    doc(
        "report-unreadable",
        "The file is no report.",
        "`simulate --json` and `estimate --json` print reports; redirect them to a file.",
    ),
    doc(
        "samples-differ",
        "Arrays have different numbers of samples.",
        "With --each, the first axis of every array counts the samples.",
    ),
    doc(
        "score-ids",
        "A file to score holds no tokens.",
        "The file holds an array `ids` of integers, and may hold `offsets`, where each text begins.",
    ),
    doc(
        "simulation-unsupported",
        "A simulation is not available.",
        "This version cannot simulate what was asked for.",
    ),
    doc(
        "size-unreadable",
        "A size cannot be read.",
        "Write a whole number of bytes, or one with a unit: 64KiB, 1.5MiB.",
    ),
    doc(
        "weights-absent",
        "The model has no weights.",
        "Costs can be estimated without them, outputs cannot. Compile a model that has its weights beside it.",
    ),
    doc(
        "weights-not-finite",
        "Weights hold infinities or NaN.",
        "No scale of int8 covers such a number, and nothing is made of it silently. The message names the tensor: look at the export, or at the training that it comes from.",
    ),
    doc(
        "zoo-damaged",
        "An embedded model cannot be read.",
        "The program file is damaged: install packwright again.",
    ),
    doc(
        "zoo-unknown",
        "There is no embedded model of that name.",
        "`packwright slms` lists the models. zoo:NAME is the first part of a model, zoo:NAME:PHASE another.",
    ),
    doc(
        "recipe-unreadable",
        "The recipe is no TOML of the right form.",
        "`packwright quantize` writes a recipe to start from.",
    ),
    doc(
        "tokenizer-failed",
        "The tokenizer cannot turn the text into tokens, or tokens into text.",
        "The message is that of the tokenizer. Tokens can be given as numbers with --prompt-ids.",
    ),
    doc(
        "tokenizer-unreadable",
        "The file is no tokenizer.",
        "Give the tokenizer.json that comes with the model.",
    ),
    doc(
        "recipe-wrong",
        "The recipe says what makes no sense.",
        "Groups have at least 16 elements, scales are normal numbers above 0, and static layers have no group, blocks are of 32, 64 or 128.",
    ),
    doc(
        "score-impossible",
        "The score does not fit the model or the inputs.",
        "Similarity compares pairs of samples, so it needs three or more. Perplexity needs token ids in an input called input_ids, and logits as the first result.",
    ),
    doc(
        "target-missed",
        "The wanted accuracy is not reached.",
        "Every layer has its shortest groups already. Calibrate with more samples, or ask for less.",
    ),
];
