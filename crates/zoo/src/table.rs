//! The table behind the catalogue: every embedded file with the figures expected of it.
//!
//! Parameters and products are those of the files, counted by other means than this workspace's
//! importer: from the exporters' declarations, and by shape inference over the nodes. For the two
//! Longformers they are the importer's own: their formula leaves out the product that spreads the
//! mask over the windows (786,432 a layer) and, in the larger one, global attention.

use crate::catalogue::Phase::{
    Classifier, Decode, Decoder, DecoderPast, Encoder, MaskedLm, Prefill,
};
use crate::catalogue::{Case, Fixed, Lengths, ModelFile, Slm};

/// A file: name, what it stands for, phase, whether it is part of the main job, parameters, cases,
/// inputs with fixed values.
macro_rules! model {
    ($file:literal, $what:literal, $phase:ident, main, $($rest:tt)*) => {
        model!(@ $file, $what, $phase, true, $($rest)*)
    };
    ($file:literal, $what:literal, $phase:ident, extra, $($rest:tt)*) => {
        model!(@ $file, $what, $phase, false, $($rest)*)
    };
    (@ $file:literal, $what:literal, $phase:ident, $main:literal, $parameters:literal,
     [$($case:expr),* $(,)?] $(, [$($fixed:expr),*])?) => {
        ModelFile {
            file: concat!($file, ".onnx"),
            stands_for: $what,
            phase: $phase,
            main: $main,
            parameters: $parameters,
            fixed: &[$($($fixed),*)?],
            cases: &[$($case),*],
            bytes: include_bytes!(concat!("../models/", $file, ".onnx.zst")),
        }
    };
}

/// Lengths of the sequence, the past and the encoder, 0 where there is no such axis; products.
const fn case(name: &'static str, seq: u64, past: u64, encoder: u64, macs: u64) -> Case {
    Case {
        name,
        lengths: Lengths {
            seq: some(seq),
            past: some(past),
            encoder: some(encoder),
        },
        macs,
    }
}

const fn some(length: u64) -> Option<u64> {
    if length == 0 { None } else { Some(length) }
}

/// Every SLM, in the order of the tables.
#[rustfmt::skip]
pub(crate) static SLMS: &[Slm] = &[
    Slm {
        name: "DistilBERT",
        files: &[
            model!("distilbert-base-uncased.encoder.ts14.dyn", "DistilBERT, 66 M", Encoder, main, 66_362_880, [
                case("seq128", 128, 0, 0, 5_586_812_928),
            ]),
            model!("distilbert-base-uncased.encoder.ts17.1x128", "DistilBERT, 66 M", Encoder, extra, 66_362_880, [
                case("seq128", 128, 0, 0, 5_586_812_928),
            ]),
            model!("distilbert-base-uncased.classifier.ts14.dyn", "DistilBERT, 66 M", Classifier, extra, 66_955_010, [
                case("seq128", 128, 0, 0, 5_587_404_288),
            ]),
        ],
    },
    Slm {
        name: "TinyBERT",
        files: &[
            model!("tinybert-4l-312.encoder.ts14.dyn", "TinyBERT, 14.5 M", Encoder, main, 14_252_592, [
                case("seq128", 128, 0, 0, 623_640_576),
            ]),
        ],
    },
    Slm {
        name: "ALBERT",
        files: &[
            model!("albert-base-v2.encoder.ts14.dyn", "ALBERT, 12 M", Encoder, main, 11_092_992, [
                case("seq128", 128, 0, 0, 11_186_208_768),
            ]),
        ],
    },
    Slm {
        name: "MiniLM",
        files: &[
            model!("minilm-l6.encoder.ts14.dyn", "MiniLM, 22 M (all-MiniLM-L6-v2)", Encoder, main, 22_565_376, [
                case("seq128", 128, 0, 0, 1_434_451_968),
            ]),
            model!("minilm-l6.encoder.dynamo18.dyn", "MiniLM, 22 M (all-MiniLM-L6-v2)", Encoder, extra, 22_565_377, [
                case("seq128", 128, 0, 0, 1_434_451_968),
            ]),
            model!("minilm-l6.encoder.ts17.1x128", "MiniLM, 22 M (all-MiniLM-L6-v2)", Encoder, extra, 22_565_376, [
                case("seq128", 128, 0, 0, 1_434_451_968),
            ]),
        ],
    },
    Slm {
        name: "Reformer",
        files: &[
            model!("reformer-crime.prefill.ts14.1x512", "Reformer (crime-and-punishment)", Prefill, main, 2_748_224, [
                case("seq512", 512, 0, 0, 1_361_051_648),
            ]),
            model!("reformer-crime.prefill.ts14-random.1x512", "Reformer (crime-and-punishment)", Prefill, extra, 2_748_224, [
                case("seq512", 512, 0, 0, 1_361_051_648),
            ]),
            model!("reformer-enwik8.prefill.ts14.1x512", "Reformer (enwik8)", Prefill, extra, 152_328_450, [
                case("seq512", 512, 0, 0, 86_438_313_984),
            ]),
        ],
    },
    Slm {
        name: "Longformer",
        files: &[
            model!("longformer-41m.masked-lm.ts14.1x1024", "Longformer, 41 M", MaskedLm, main, 40_323_328, [
                case("seq1024", 1024, 0, 0, 48_730_472_448),
            ]),
            model!("longformer-base-4096.encoder.ts14.1x1024", "Longformer (base-4096)", Encoder, extra, 148_068_864, [
                case("seq1024", 1024, 0, 0, 116_018_380_800),
            ], [("attention_mask", Fixed::Ones), ("global_attention_mask", Fixed::FirstOne)]),
        ],
    },
    Slm {
        name: "Ada",
        files: &[
            model!("ada.prefill.ts14.dyn", "Ada, 350 M", Prefill, main, 355_871_744, [
                case("seq128", 128, 0, 0, 46_047_297_536),
            ]),
            model!("ada.decode.ts14.dyn", "Ada, 350 M", Decode, main, 355_871_744, [
                case("past127", 1, 127, 0, 359_744_512),
                case("past1023", 1, 1023, 0, 403_784_704),
            ]),
        ],
    },
    Slm {
        name: "Babbage",
        files: &[
            model!("babbage.prefill.ts14.dyn", "Babbage, 1.3 B", Prefill, main, 1_315_723_264, [
                case("seq128", 128, 0, 0, 169_404_006_400),
            ]),
            model!("babbage.decode.ts14.dyn", "Babbage, 1.3 B", Decode, main, 1_315_723_264, [
                case("past127", 1, 127, 0, 1_323_468_800),
                case("past1023", 1, 1023, 0, 1_411_549_184),
            ]),
        ],
    },
    Slm {
        name: "T5-Small",
        files: &[
            model!("t5-small.encoder.ts14.dyn", "T5-Small, 60 M", Encoder, main, 35_330_816, [
                case("seq128", 128, 0, 0, 2_516_582_400),
            ]),
            model!("t5-small.decoder.ts14.dyn", "T5-Small, 60 M", Decoder, main, 41_625_344, [
                case("seq1", 1, 0, 128, 441_915_392),
            ]),
            model!("t5-small.decoder-past.ts14.dyn", "T5-Small, 60 M", DecoderPast, main, 38_479_616, [
                case("past127", 1, 127, 128, 40_042_496),
                case("past1023", 1, 1023, 128, 45_547_520),
            ]),
            model!("t5-small.encoder.dynamo18.dyn", "T5-Small, 60 M", Encoder, extra, 35_330_816, [
                case("seq128", 128, 0, 0, 2_516_582_400),
            ]),
            model!("t5-small.decoder.dynamo18.dyn", "T5-Small, 60 M", Decoder, extra, 41_625_344, [
                case("seq1", 1, 0, 128, 441_915_392),
            ]),
            model!("t5-small.decoder-past.dynamo18.dyn", "T5-Small, 60 M", DecoderPast, extra, 38_479_616, [
                case("past127", 1, 127, 128, 40_042_496),
                case("past1023", 1, 1023, 128, 45_547_520),
            ]),
        ],
    },
    Slm {
        name: "T5-Base",
        files: &[
            model!("t5-base.encoder.ts17.dyn", "T5-Base, 220 M", Encoder, main, 109_628_544, [
                case("seq128", 128, 0, 0, 11_173_625_856),
            ]),
            model!("t5-base.decoder.ts17.dyn", "T5-Base, 220 M", Decoder, main, 137_949_312, [
                case("seq1", 1, 0, 128, 1_938_081_792),
            ]),
            model!("t5-base.decoder-past.ts17.dyn", "T5-Base, 220 M", DecoderPast, main, 123_793_536, [
                case("past127", 1, 127, 128, 128_483_328),
                case("past1023", 1, 1023, 128, 144_998_400),
            ]),
        ],
    },
    Slm {
        name: "GPT-2",
        files: &[
            model!("gpt2.prefill.ts14.dyn", "GPT-2 small", Prefill, main, 124_439_808, [
                case("seq128", 128, 0, 0, 16_114_089_984),
            ]),
            model!("gpt2.decode.ts14.dyn", "GPT-2 small", Decode, main, 124_439_808, [
                case("past127", 1, 127, 0, 125_891_328),
                case("past1023", 1, 1023, 0, 142_406_400),
            ]),
        ],
    },
    Slm {
        name: "SmolLM2-135M",
        files: &[
            model!("smollm2-135m.prefill.ts14.dyn", "SmolLM2-135M", Prefill, main, 134_515_008, [
                case("seq128", 128, 0, 0, 17_779_658_752),
            ]),
            model!("smollm2-135m.decode.ts14.dyn", "SmolLM2-135M", Decode, main, 134_515_008, [
                case("past127", 1, 127, 0, 138_903_584),
                case("past1023", 1, 1023, 0, 169_869_344),
            ]),
        ],
    },
    Slm {
        name: "Llama-3.2-1B",
        files: &[
            model!("llama-3.2-1b.prefill.ts17.dyn", "Llama-3.2-1B", Prefill, main, 1_235_814_400, [
                case("seq128", 128, 0, 0, 159_249_338_368),
            ]),
            model!("llama-3.2-1b.decode.ts17.dyn", "Llama-3.2-1B", Decode, main, 1_235_814_400, [
                case("past127", 1, 127, 0, 1_244_135_456),
                case("past1023", 1, 1023, 0, 1_302_855_712),
            ]),
        ],
    },
];
