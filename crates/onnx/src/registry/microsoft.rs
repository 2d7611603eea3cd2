//! ONNX Runtime's own operators, which its optimizer and the builders of models for it write.

use super::Import::{self, By, Refused};
use super::{MS, Row, UNFUSED};
use crate::op::{
    blocks, elementwise, embedding, fused_attention, norm, position, product, quantized, rotary,
};

const fn microsoft(name: &'static str, import: Import, limits: &'static str) -> Row {
    Row {
        name,
        domain: MS,
        since: 1,
        import,
        limits,
        becomes: "",
    }
}

/// Every operator of the domain that this crate knows, in alphabetical order.
pub(super) static ROWS: &[Row] = &[
    microsoft(
        "Attention",
        By(fused_attention::attention),
        "no rotation inside; no cache in a shared buffer",
    )
    .to("matmul, slice, attention"),
    microsoft(
        "BeamSearch",
        Refused("search is not part of a network", UNFUSED),
        "",
    ),
    microsoft("BiasAdd", By(elementwise::bias_add), "").to("add, add"),
    microsoft("BiasGelu", By(elementwise::bias_gelu), "")
        .to("add, gelu_erf; an activation of a product"),
    microsoft(
        "BiasSoftmax",
        By(norm::bias_softmax),
        "of scores and a mask of four axes",
    )
    .to("add, softmax; attention"),
    microsoft(
        "DecoderMaskedMultiHeadAttention",
        Refused("a cache in a shared buffer is not supported", UNFUSED),
        "",
    ),
    microsoft(
        "DecoderMaskedSelfAttention",
        Refused("a cache in a shared buffer is not supported", UNFUSED),
        "",
    ),
    microsoft(
        "DequantizeLinear",
        By(quantized::dequantize_linear),
        "as in ONNX",
    )
    .to("dequantize"),
    microsoft("DynamicQuantizeMatMul", By(quantized::dynamic_matmul), "")
        .to("matmul of stored integers"),
    microsoft(
        "EmbedLayerNormalization",
        By(embedding::embed_layer_norm),
        "",
    )
    .to("embedding, layer_norm"),
    microsoft("FastGelu", By(elementwise::fast_gelu), "")
        .to("gelu_tanh; an activation of a product"),
    microsoft(
        "FusedGemm",
        By(product::fused_gemm),
        "Relu, Tanh or Sigmoid behind it",
    )
    .to("matmul with activation"),
    microsoft(
        "FusedMatMul",
        By(product::fused_matmul),
        "no batch transposes",
    )
    .to("matmul"),
    microsoft(
        "GatherBlockQuantized",
        Refused("tables in blocks of a few bits are not supported", UNFUSED),
        "",
    ),
    microsoft("Gelu", By(elementwise::gelu), "")
        .to("gelu_erf or gelu_tanh; an activation of a product"),
    microsoft(
        "GemmFastGelu",
        Refused("is made for one kind of GPU", UNFUSED),
        "",
    ),
    microsoft(
        "GreedySearch",
        Refused("search is not part of a network", UNFUSED),
        "",
    ),
    microsoft(
        "GroupQueryAttention",
        By(fused_attention::group_query),
        "every position of the cache counts; no quantised cache, no sinks",
    )
    .to("rotary, concat, attention"),
    microsoft("MatMulIntegerToFloat", By(quantized::matmul_to_float), "")
        .to("matmul of stored integers"),
    microsoft(
        "MatMulNBits",
        By(blocks::matmul_nbits),
        "2, 4 or 8 bits; no order of groups",
    )
    .to("matmul of the floats that the weights stand for"),
    microsoft(
        "MoE",
        Refused("mixtures of experts are not supported", UNFUSED),
        "",
    ),
    microsoft(
        "MultiHeadAttention",
        By(fused_attention::multi_head),
        "no cache in a shared buffer, no beams",
    )
    .to("concat, attention"),
    microsoft(
        "PackedAttention",
        Refused("packed batches are not supported", UNFUSED),
        "",
    ),
    microsoft(
        "PackedMultiHeadAttention",
        Refused("packed batches are not supported", UNFUSED),
        "",
    ),
    microsoft(
        "PagedAttention",
        Refused("a cache in pages is not supported", UNFUSED),
        "",
    ),
    microsoft(
        "QAttention",
        By(quantized::qattention),
        "no rotation inside",
    )
    .to("matmul, slice, attention"),
    microsoft(
        "QEmbedLayerNormalization",
        By(quantized::qembed_layer_norm),
        "",
    )
    .to("embedding, layer_norm"),
    microsoft("QGemm", By(quantized::qgemm), "first factor not transposed")
        .to("dequantize, matmul, quantize"),
    microsoft("QLinearAdd", By(quantized::qlinear_add), "").to("dequantize, add, quantize"),
    microsoft("QLinearConcat", By(quantized::qlinear_concat), "")
        .to("dequantize, concat, quantize"),
    microsoft("QLinearMul", By(quantized::qlinear_mul), "").to("dequantize, mul, quantize"),
    microsoft("QLinearReduceMean", By(quantized::qlinear_mean), "")
        .to("dequantize, reduce_mean, quantize"),
    microsoft("QLinearSigmoid", By(quantized::qlinear_sigmoid), "")
        .to("dequantize, sigmoid, quantize"),
    microsoft("QLinearSoftmax", By(quantized::qlinear_softmax), "")
        .to("dequantize, softmax, quantize"),
    microsoft("QLinearWhere", By(quantized::qlinear_where), "").to("dequantize, where, quantize"),
    microsoft(
        "QMoE",
        Refused("mixtures of experts are not supported", UNFUSED),
        "",
    ),
    microsoft(
        "QuantizeLinear",
        By(quantized::quantize_linear),
        "as in ONNX",
    )
    .to("quantize"),
    microsoft("QuickGelu", By(elementwise::quick_gelu), "").to("mul, sigmoid, mul"),
    microsoft(
        "RelativePositionBias",
        By(position::relative_bias),
        "lengths known when the model is imported",
    )
    .to("gather"),
    microsoft(
        "RotaryEmbedding",
        By(rotary::rotary_with_offset),
        "no scale, no packed batches",
    )
    .to("rotary"),
    microsoft(
        "Sampling",
        Refused("search is not part of a network", UNFUSED),
        "",
    ),
    microsoft(
        "SimplifiedLayerNormalization",
        By(norm::rms_norm),
        "first result only",
    )
    .to("rms_norm"),
    microsoft(
        "SkipLayerNormalization",
        By(norm::skip_layer_norm),
        "no mean, no deviation as results",
    )
    .to("add, layer_norm"),
    microsoft(
        "SkipSimplifiedLayerNormalization",
        By(norm::skip_rms_norm),
        "no deviation as result",
    )
    .to("add, rms_norm"),
    microsoft(
        "SparseAttention",
        Refused("attention with a table of blocks is not supported", UNFUSED),
        "",
    ),
    microsoft("TransposeMatMul", By(product::fused_matmul), "").to("matmul"),
];
