"""One-node models at the operator sets where an operator changed, with the results of ONNX Runtime.

    python operators.py        writes tests/files/onnx/operators.zst

The file is a graph of ONNX without nodes.  For a case C its initializers are C.model (the bytes of the model), C.in.X
for each input that is fed, and C.out.Y.
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import reference

RANDOM = np.random.default_rng(7)
CASES = {}


def numbers(*shape, low=-2.0, high=2.0):
    return (np.round(RANDOM.uniform(low, high, shape) * 64) / 64).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def case(op, opset, fed, stored=(), results=1, domain="", label="", **attributes):
    """fed: arrays of the inputs, None where one is left out; stored: operands behind them that are constants."""
    operands, inputs, weights = [], {}, []
    for i, array in enumerate([*fed, *stored]):
        if array is None:
            operands.append("")
            continue
        name = f"x{i}"
        operands.append(name)
        if i < len(fed):
            inputs[name] = array
        else:
            weights.append(numpy_helper.from_array(array, name))
    outputs = [f"y{i}" for i in range(results)]
    node = helper.make_node(op, operands, outputs, domain=domain, **attributes)
    infos = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in inputs.items()]
    graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name=o) for o in outputs], weights)
    sets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=sets, ir_version=8 if opset < 21 else 10)
    name = f"{op}-{opset}{'-' + label if label else ''}"
    assert name not in CASES, name
    try:
        CASES[name] = model, inputs, reference.run(model, inputs)
    except Exception as problem:
        raise SystemExit(f"{name}: {problem}")


def reductions():
    x = numbers(2, 3, 4)
    for op in ("ReduceMean", "ReduceMax", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp", "ReduceL1",
               "ReduceMin"):
        for opset in (11, 13, 17):
            case(op, opset, [x], axes=[-1], keepdims=1)
            case(op, opset, [x], axes=[0, 2], keepdims=0, label="two")
        for opset in (18, 23):
            case(op, opset, [x], [ints(-1)])
            case(op, opset, [x], label="all", keepdims=0)
            case(op, opset, [x], label="none", noop_with_empty_axes=1)
    positive = numbers(2, 3, 4, low=0.5)
    case("ReduceLogSum", 11, [positive], axes=[1])
    case("ReduceLogSum", 18, [positive], [ints(1)])
    case("ReduceSum", 11, [x], axes=[1])
    for opset in (13, 18, 23):
        case("ReduceSum", opset, [x], [ints(1)], keepdims=0)
        case("ReduceSum", opset, [x], label="all")
    for opset in (11, 12, 13):
        case("ArgMax", opset, [x], axis=1, keepdims=0)
        case("ArgMin", opset, [x], axis=-1)


def shapes():
    x = numbers(1, 3, 1, 4)
    for opset in (11, 12):
        case("Squeeze", opset, [x], axes=[0, 2])
        case("Squeeze", opset, [x], label="all")
        case("Unsqueeze", opset, [x], axes=[0, -1])
    for opset in (13, 21, 23):
        case("Squeeze", opset, [x], [ints(0, -2)])
        case("Squeeze", opset, [x], label="all")
        case("Unsqueeze", opset, [x], [ints(0, -1)])
    y = numbers(7, 4)
    for opset in (11, 13):
        case("Slice", opset, [y], [ints(1, 0), ints(6, 3), ints(0, 1), ints(2, 1)])
        case("Slice", opset, [y], [ints(-1), ints(-100), ints(0), ints(-3)], label="back")
        case("Slice", opset, [y], [ints(2), ints(2 ** 62)], label="short")
        case("Pad", opset, [y], [ints(1, 0, 2, 3), np.float32(0.5)])
        case("Pad", opset, [y], [ints(0, -1, 0, -1)], label="cut")
    for opset in (18, 19, 21):
        case("Pad", opset, [y], [ints(1, 2), np.float32(-1), ints(-1)])
    case("Split", 11, [y], results=2, split=[3, 4], axis=0)
    case("Split", 11, [y], results=2, axis=1, label="equal")
    case("Split", 13, [y], [ints(3, 4)], results=2)
    case("Split", 13, [y], results=4, axis=-1, label="equal")
    case("Split", 18, [y], results=3, num_outputs=3, label="uneven")
    case("Split", 18, [y], [ints(1, 6)], results=2)
    for opset in (11, 13, 14, 21):
        case("Reshape", opset, [y], [ints(2, -1)])
        case("Reshape", opset, [y], [ints(0, 2, -1)], label="copy")
    for opset in (11, 13, 21):
        case("Flatten", opset, [numbers(2, 3, 4)], axis=-1)
        case("Transpose", opset, [numbers(2, 3, 4)], perm=[1, 2, 0])
        case("Transpose", opset, [y], label="all")
        case("Concat", opset, [y, numbers(2, 4)], axis=-2)
        case("Identity", opset, [y])
    for opset in (11, 13):
        case("Expand", opset, [numbers(3, 1)], [ints(2, 1, 4)])
        case("Tile", opset, [numbers(2, 3)], [ints(2, 3)])
        case("Gather", opset, [y], [np.array([[0, -1], [2, 3]], np.int64)], axis=0)
        case("GatherElements", opset, [y], [np.array([[0, -1, 2, 3]] * 2, np.int64)], axis=1)
        case("GatherND", opset, [y], [np.array([[0, 1], [-1, 3], [2, -2]], np.int64)])
        case("GatherND", opset, [numbers(2, 3, 4)], [np.array([[1], [0]], np.int64)], label="rows")
        case("ScatterElements", opset, [y], [np.array([[1, 0]], np.int64), numbers(1, 2)], axis=1)
        case("ScatterND", opset, [y], [np.array([[1], [5]], np.int64), numbers(2, 4)])
        case("OneHot", opset, [np.array([1, -1, 3], np.int64)], [np.int64(4), np.array([0.5, 2], np.float32)], axis=0)
    for opset in (13, 15, 19):
        case("Shape", opset, [x], **({"start": 1, "end": -1} if opset >= 15 else {}))
    case("TopK", 11, [y], [ints(3)], results=2, axis=0, largest=0)
    case("Trilu", 14, [numbers(4, 5)], [np.int64(1)], upper=0)
    case("Trilu", 14, [numbers(4, 5)], label="upper")
    case("CumSum", 11, [y], [np.int64(0)], exclusive=1, reverse=1)
    case("CumSum", 14, [y], [np.int64(1)])
    case("EyeLike", 11, [y], k=1)
    case("NonZero", 13, [], [np.array([[1, 0], [0, 2]], np.int64)])
    case("Range", 11, [], [np.int64(9), np.int64(0), np.int64(-2)])
    case("ConstantOfShape", 20, [], [ints(2, 3)], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.5]))


def elements():
    x, y = numbers(3, 5), numbers(5)
    positive = numbers(3, 5, low=0.25)
    for opset in (11, 13, 14, 23):
        for op in ("Add", "Sub", "Mul"):
            case(op, opset, [x, y])
        case("Div", opset, [x, positive])
        case("Relu", opset, [x])
    for opset in (11, 13):
        for op in ("Neg", "Abs", "Exp", "Sigmoid", "Tanh", "Erf", "Floor", "Ceil", "Sign", "Cos", "Sin", "Softplus"):
            case(op, opset, [x])
        for op in ("Sqrt", "Log", "Reciprocal"):
            case(op, opset, [positive])
        for op in ("Greater", "Less", "Equal"):
            case(op, opset, [x, y])
        case("Max", opset, [x, y, numbers(3, 1)])
        case("Min", opset, [x, y])
        case("Sum", opset, [x, y])
        case("Mean", opset, [x, y])
        case("Mod", opset, [np.array([7, -7, 9], np.int64), np.array([3, 3, -4], np.int64)])
        case("IsNaN", opset, [x])
        case("Where", opset, [x > 0, x, numbers(3, 5)]) if opset == 11 else case("Where", 16, [x > 0, x, numbers(3, 5)])
    for opset in (11, 12, 13):
        case("Clip", opset, [x], [np.float32(-1), np.float32(0.5)])
        case("Clip", opset, [x], [None, np.float32(0.5)], label="above")
        case("Pow", opset, [positive], [np.float32(2)])
    case("Pow", 13, [positive], [np.int64(3)], label="mixed")
    for opset in (12, 16):
        case("GreaterOrEqual", opset, [x, y])
        case("LessOrEqual", opset, [x, y])
    case("IsInf", 10 + 1, [np.array([1, np.inf, -np.inf], np.float32)])
    case("IsInf", 20, [np.array([1, np.inf, -np.inf], np.float32)], detect_positive=0)
    case("Gelu", 20, [x])
    case("Gelu", 20, [x], approximate="tanh", label="tanh")
    case("HardSwish", 14, [x])
    case("LeakyRelu", 11, [x], alpha=0.25)
    case("LeakyRelu", 16, [x], alpha=0.25)
    for opset in (11, 13, 19):
        case("Cast", opset, [x], to=TensorProto.INT32)
    case("CastLike", 15, [x, np.array([1], np.int64)])
    case("Dropout", 11, [x], ratio=0.5)
    case("Dropout", 12, [x], [np.float32(0.5)])
    case("Dropout", 13, [x], [np.float32(0.5), np.array(False)])


def layers():
    x = numbers(2, 3, 4)
    for op in ("Softmax", "LogSoftmax"):
        for opset in (11, 12):
            case(op, opset, [x])
            case(op, opset, [x], axis=2, label="last")
            case(op, opset, [x], axis=0, label="all")
        for opset in (13, 23):
            case(op, opset, [x])
            case(op, opset, [x], axis=1, label="middle")
    gain, shift = numbers(4), numbers(4)
    case("LayerNormalization", 17, [x], [gain, shift], epsilon=1e-6)
    case("LayerNormalization", 17, [x], [gain], label="gain")
    case("LayerNormalization", 17, [x], [numbers(3, 4), numbers(3, 4)], axis=1, label="two")
    case("RMSNormalization", 23, [x], [gain], epsilon=1e-6)
    case("RMSNormalization", 23, [x], [numbers(3, 4)], axis=-2, label="two")
    stats = [numbers(3), numbers(3), numbers(3), numbers(3, low=0.5)]
    for opset in (11, 14, 15):
        case("BatchNormalization", opset, [x], stats)
    a, b, c = numbers(3, 5), numbers(5, 4), numbers(4)
    for opset in (11, 13):
        case("MatMul", opset, [numbers(2, 3, 5), b])
        case("MatMul", opset, [numbers(5), b], label="row")
        case("Gemm", opset, [a], [numbers(4, 5), c], transB=1, alpha=0.5, beta=2.0)
        case("Gemm", opset, [a, b], label="two")
    case("Einsum", 12, [numbers(2, 3, 4), numbers(2, 5, 4)], equation="bxd,byd->bxy")
    rows, table = numbers(2, 3, 16), numbers(9, 4)
    case("RotaryEmbedding", 23, [rows], [table, numbers(9, 4), np.array([[1, 2, 3], [0, 4, 8]], np.int64)], num_heads=2)
    case("RotaryEmbedding", 23, [numbers(2, 2, 3, 8)], [numbers(2, 3, 2), numbers(2, 3, 2)], interleaved=1,
         rotary_embedding_dim=4, label="part")
    q, k, v = numbers(2, 3, 32), numbers(2, 5, 16), numbers(2, 5, 24)
    heads = {"q_num_heads": 4, "kv_num_heads": 2}
    case("Attention", 23, [q, k, v], **heads)
    case("Attention", 23, [q, k, v], [RANDOM.uniform(size=(3, 5)) > 0.3], label="flags", **heads)
    case("Attention", 23, [q, k, v, numbers(2, 1, 3, 5)], label="mask", scale=0.25, **heads)
    case("Attention", 23, [numbers(1, 4, 5, 8), numbers(1, 4, 5, 8), numbers(1, 4, 5, 8)], label="causal", is_causal=1)
    case("Attention", 23, [q, k, v], label="softcap", softcap=2.0, **heads)
    case("Attention", 23, [q, numbers(2, 3, 16), numbers(2, 3, 16), None, numbers(2, 2, 4, 8), numbers(2, 2, 4, 8)],
         results=3, label="past", **heads)


def runtime():
    """ONNX Runtime's own operators."""
    ms = {"domain": "com.microsoft"}
    x, wide = numbers(2, 3, 16), numbers(2, 3, 48)
    gain, shift, bias = numbers(16), numbers(16), numbers(16)
    case("BiasGelu", 17, [x], [bias], **ms)
    case("Gelu", 17, [x], label="ms", **ms)
    case("FastGelu", 17, [x], [bias], **ms)
    case("FastGelu", 17, [x], label="plain", **ms)
    case("QuickGelu", 17, [x], alpha=1.5, **ms)
    case("FusedMatMul", 17, [numbers(2, 5, 3), numbers(2, 5, 4)], transA=1, alpha=0.5, **ms)
    case("FusedGemm", 17, [numbers(3, 5)], [numbers(5, 4), numbers(4)], activation="Relu", **ms)
    case("SkipLayerNormalization", 17, [x, numbers(2, 3, 16)], [gain, shift, bias], results=1, epsilon=1e-5, **ms)
    case("SkipSimplifiedLayerNormalization", 17, [x, numbers(2, 3, 16)], [gain], epsilon=1e-5, **ms)
    case("SimplifiedLayerNormalization", 17, [x], [gain], epsilon=1e-5, axis=-1)
    ids = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    mask = np.array([[1, 1, 1], [1, 1, 0]], np.int32)
    case("EmbedLayerNormalization", 17, [ids, ids % 2], [numbers(9, 16), numbers(5, 16), numbers(2, 16), gain, shift, mask],
         results=2, **ms)
    case("EmbedLayerNormalization", 17, [ids, None], [numbers(9, 16), numbers(5, 16), None, gain, shift], results=2,
         label="tokens", **ms)
    weight, all_bias = numbers(16, 48), numbers(48)
    case("Attention", 17, [x], [weight, all_bias], num_heads=2, label="ms", **ms)
    case("Attention", 17, [x], [weight, all_bias], num_heads=2, unidirectional=1, label="ms-causal", **ms)
    case("Attention", 17, [x], [weight, all_bias, mask], num_heads=2, label="ms-flags", **ms)
    case("Attention", 17, [x, ], [weight, all_bias, np.array([3, 2], np.int32)], num_heads=2, label="ms-lengths", **ms)
    case("Attention", 17, [x, weight, all_bias, None, numbers(2, 2, 2, 4, 8)], results=2, num_heads=2, unidirectional=1,
         label="ms-past", **ms)
    case("Attention", 17, [x, weight, all_bias, None, None, numbers(2, 2, 3, 3)], num_heads=2, label="ms-bias", **ms)
    case("Attention", 17, [x], [numbers(16, 56), numbers(56)], num_heads=2, qkv_hidden_sizes=[16, 16, 24],
         label="ms-sizes", **ms)
    q, k, v = numbers(2, 3, 16), numbers(2, 5, 16), numbers(2, 5, 24)
    case("MultiHeadAttention", 17, [q, k, v], num_heads=2, **ms)
    case("MultiHeadAttention", 17, [q, k, v], [numbers(56)], num_heads=2, scale=0.5, label="bias", **ms)
    case("MultiHeadAttention", 17, [q, k, v, None, np.array([[1, 1, 1, 0, 0], [1] * 5], np.int32), numbers(1, 2, 3, 5)],
         num_heads=2, label="masks", **ms)
    case("MultiHeadAttention", 17, [numbers(2, 3, 16)] * 3 + [None, None, None, numbers(2, 2, 4, 8), numbers(2, 2, 4, 8)],
         results=3, num_heads=2, unidirectional=1, label="past", **ms)
    case("MultiHeadAttention", 17, [q, numbers(2, 2, 6, 8), numbers(2, 2, 6, 8)], num_heads=2, label="cross", **ms)
    cos, sin = numbers(12, 4), numbers(12, 4)
    case("RotaryEmbedding", 17, [numbers(2, 3, 16)], [ints(2), cos, sin], label="ms", **ms)
    case("RotaryEmbedding", 17, [numbers(2, 3, 16)], [np.array([[0, 1, 2], [5, 6, 7]], np.int64), cos, sin],
         interleaved=1, label="ms-rows", **ms)
    case("RotaryEmbedding", 17, [numbers(2, 3, 20)], [ints(0), cos, sin], num_heads=2, rotary_embedding_dim=8,
         label="ms-part", **ms)
    cos, sin = numbers(12, 8), numbers(12, 8)
    grouped = {"num_heads": 4, "kv_num_heads": 2, **ms}
    for label, rows, past, more in (("prefill", 5, 0, {}), ("decode", 1, 6, {}), ("further", 3, 4, {}),
                                    ("window", 6, 0, {"local_window_size": 2}), ("window-decode", 1, 7, {"local_window_size": 3}),
                                    ("softcap", 4, 0, {"softcap": 2.0}), ("scale", 2, 0, {"scale": 0.3})):
        total = rows + past
        caches = [numbers(1, 2, past, 16), numbers(1, 2, past, 16)] if past else [None, None]
        case("GroupQueryAttention", 17, [numbers(1, rows, 64), numbers(1, rows, 32), numbers(1, rows, 32), *caches],
             [np.array([total - 1], np.int32), np.array(total, np.int32)], results=3, label=label, **grouped, **more)
        case("GroupQueryAttention", 17, [numbers(1, rows, 128), None, None, *caches],
             [np.array([total - 1], np.int32), np.array(total, np.int32), cos, sin], results=3, label=f"{label}-packed",
             do_rotary=1, **grouped, **more)
    for bits, block, with_zeros in ((4, 32, False), (4, 16, True), (8, 32, False)):
        n, columns = 24, 48
        blocks = -(-columns // block)
        packed = RANDOM.integers(0, 256, (n, blocks, block * bits // 8)).astype(np.uint8)
        scales = numbers(n, blocks, low=0.01, high=0.1)
        stored = [packed, scales]
        if with_zeros:
            stored.append(RANDOM.integers(0, 256, n * -(-blocks * bits // 8)).astype(np.uint8))
        case("MatMulNBits", 17, [numbers(2, 3, columns)], stored, K=columns, N=n, bits=bits, block_size=block,
             label=f"{bits}x{block}{'-zeros' if with_zeros else ''}", **ms)


if __name__ == "__main__":
    for family in (reductions, shapes, elements, layers, runtime):
        family()
    named = {}
    for name, (model, inputs, outputs) in CASES.items():
        named[f"{name}.model"] = np.frombuffer(model.SerializeToString(), np.uint8)
        named |= {f"{name}.in.{k}": v for k, v in inputs.items()}
        named |= {f"{name}.out.{k}": v for k, v in outputs.items()}
    print(len(CASES), "cases,", reference.pack("operators", reference.arrays(named)), "bytes")
