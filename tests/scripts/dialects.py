"""Rewrite the exports of families.py as other tools do, and write what no exporter at hand writes.

    python dialects.py OUT_DIR       OUT_DIR holds the exports; writes tests/files/onnx/NAME.onnx.zst, NAME.arrays.zst

Tools: ONNX Runtime's transformer optimizer, its session optimizer, its quantiser of weights in blocks.
"""
import copy
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import AttentionMaskFormat, FusionOptions

import reference
from reference import OUT

RANDOM = np.random.default_rng(11)


def inputs_of(name):
    """What a stored model was fed with."""
    import zstandard
    with open(os.path.join(OUT, f"{name}.arrays.zst"), "rb") as f:
        graph = onnx.GraphProto.FromString(zstandard.ZstdDecompressor().decompress(f.read()))
    return {t.name[3:]: numpy_helper.to_array(t) for t in graph.initializer if t.name.startswith("in.")}


def path(name):
    return os.path.join(DIR, f"{name}.onnx")


def kinds(model):
    return sorted({n.op_type for n in model.graph.node if n.domain == "com.microsoft"})


def transformer(name, kind, label="optimized", heads=2, width=24, **options):
    """The transformer optimizer."""
    fusion = FusionOptions(kind)
    for key, value in options.items():
        setattr(fusion, key, value)
    made = optimizer.optimize_model(path(name), model_type=kind, num_heads=heads, hidden_size=width,
                                    optimization_options=fusion, opt_level=0, use_gpu=False).model
    print(" ", kinds(made))
    for t in made.graph.initializer:
        if t.name.startswith(("cos_cache", "sin_cache")):     # tables for far more positions than there are
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t)[:32], t.name))
    # ONNX Runtime has this operator for GPUs only.
    elsewhere = "RelativePositionBias" in kinds(made)
    reference.store(f"{name}.{label}", made, inputs_of(name), onnx.load(path(name)) if elsewhere else None)


def session(name, level="EXTENDED"):
    """What a session writes when it saves its optimised model."""
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = os.path.join(folder, "o.onnx")
        options.log_severity_level = 3
        ort.InferenceSession(path(name), options, providers=["CPUExecutionProvider"])
        made = onnx.load(options.optimized_model_filepath)
    print(" ", kinds(made))
    reference.store(f"{name}.session", made, inputs_of(name))


def few_bits(name, bits=4, block=16):
    quantizer = MatMulNBitsQuantizer(onnx.load(path(name)), bits=bits, block_size=block, is_symmetric=False)
    quantizer.process()
    made = quantizer.model.model
    print(" ", kinds(made))
    reference.store(f"{name}.blocks", made, inputs_of(name))


def merged():
    """One file for the prompt and the steps, as Optimum merges them: a flag chooses the branch."""
    first, further = onnx.load(path("gpt2-prefill.ts14")), onnx.load(path("gpt2-decode.ts14"))
    stored = {}

    def branch(model, prefix):
        """Nodes and outputs with names of their own; weights move out, equal ones together."""
        names = {}
        for t in model.graph.initializer:
            key = (t.data_type, tuple(t.dims), numpy_helper.to_array(t).tobytes())
            stored.setdefault(key, t)
            names[t.name] = stored[key].name
        fed = {i.name for i in model.graph.input}

        def new(n):
            return n if n in fed or not n else names.get(n, prefix + n)
        nodes = []
        for n in model.graph.node:
            n = copy.deepcopy(n)
            n.name = prefix + n.name
            n.input[:] = [new(x) for x in n.input]
            n.output[:] = [new(x) for x in n.output]
            nodes.append(n)
        outputs = [helper.make_value_info(new(o.name), o.type) for o in model.graph.output]
        return helper.make_graph(nodes, prefix, [], outputs)

    no, yes = branch(first, "first_"), branch(further, "further_")
    flag = helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])
    outputs = [helper.make_value_info(o.name, o.type) for o in further.graph.output]
    node = helper.make_node("If", ["use_cache_branch"], [o.name for o in outputs], "optimum::if", then_branch=yes,
                            else_branch=no)
    graph = helper.make_graph([node], "merged", [*further.graph.input, flag], outputs, list(stored.values()))
    made = helper.make_model(graph, opset_imports=further.opset_import, ir_version=further.ir_version)
    reference.store("gpt2-merged", made, inputs_of("gpt2-decode.ts14") | {"use_cache_branch": np.array([True])})


def with_functions():
    """The exporter's norms and gates as functions of the model, one within another."""
    model = onnx.load(path("llama-decode.dynamo18"))
    domain = "made.here"
    silu = helper.make_function(domain, "Silu", ["x"], ["y"], [
        helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])],
        [helper.make_opsetid("", 18)])
    gate = helper.make_function(domain, "Gate", ["a", "b"], ["y"], [
        helper.make_node("Silu", ["a"], ["s"], domain=domain), helper.make_node("Mul", ["s", "b"], ["y"])],
        [helper.make_opsetid("", 18), helper.make_opsetid(domain, 1)])
    join = helper.make_function(domain, "Join", ["a", "b"], ["y"], [
        helper.make_node("Concat", ["a", "b"], ["y"])], [helper.make_opsetid("", 18)], attributes=["along"])
    ref = join.node[0].attribute.add()
    ref.name, ref.ref_attr_name, ref.type = "axis", "along", onnx.AttributeProto.INT
    made = {o: n for n in model.graph.node for o in n.output}
    gone, nodes = set(), []
    for n in model.graph.node:
        if n.op_type == "Mul":
            inner = next((made[x] for x in n.input if x in made and made[x].op_type == "Mul"
                          and any(y in made and made[y].op_type == "Sigmoid" for y in made[x].input)), None)
            if inner is not None:
                sigmoid = next(y for y in inner.input if y in made and made[y].op_type == "Sigmoid")
                gone |= {inner.output[0], sigmoid}
                other = next(x for x in n.input if x != inner.output[0])
                n.CopyFrom(helper.make_node("Gate", [made[sigmoid].input[0], other], list(n.output), n.name, domain=domain))
        elif n.op_type == "Concat" and len(n.input) == 2:
            axis = n.attribute[0].i
            n.CopyFrom(helper.make_node("Join", list(n.input), list(n.output), n.name, domain=domain, along=axis))
        nodes.append(n)
    assert gone
    kept = [n for n in nodes if not gone & set(n.output)]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.functions.extend([silu, gate, join])
    model.opset_import.append(helper.make_opsetid(domain, 1))
    reference.store("llama-decode.functions", model, inputs_of("llama-decode.dynamo18"))


def grid(*shape, scale=16):
    return (RANDOM.integers(-3, 4, shape) / scale).astype(np.float32)


def grouped(packed):
    """A decoder as the builder of models for ONNX Runtime writes it: grouped attention with rotation inside."""
    vocab, width, heads, kv, each, inner, most = 48, 32, 4, 2, 16, 40, 16
    nodes, stored = [], {}

    def weight(name, array):
        stored[name] = numpy_helper.from_array(array, name)
        return name

    def node(op, inputs, *outputs, domain="com.microsoft", **attributes):
        nodes.append(helper.make_node(op, inputs, list(outputs), "/" + outputs[0], domain=domain, **attributes))
        return outputs[0]

    angles = np.outer(np.arange(most), 10000.0 ** (-np.arange(each // 2) / (each // 2)))
    cos = weight("cos_cache", np.cos(angles).astype(np.float32))
    sin = weight("sin_cache", np.sin(angles).astype(np.float32))
    one, sum_axis = weight("one", np.array(1, np.int64)), weight("axis", np.array([1], np.int64))
    # Lengths of the sequences less one, and the length of all, from the mask.
    node("ReduceSum", ["attention_mask", sum_axis], "lengths", domain="", keepdims=0)
    node("Sub", ["lengths", one], "last", domain="")
    node("Cast", ["last"], "seqlens_k", domain="", to=TensorProto.INT32)
    node("Shape", ["attention_mask"], "shape", domain="")
    node("Gather", ["shape", one], "total", domain="", axis=0)
    node("Cast", ["total"], "total_sequence_length", domain="", to=TensorProto.INT32)
    x = node("Gather", [weight("embed", grid(vocab, width)), "input_ids"], "x", domain="")
    outputs, skip = [], None
    for i in range(2):
        p = f"layers.{i}."
        gain = weight(p + "gain1", 1 + grid(width))
        if skip is None:
            normed = node("SimplifiedLayerNormalization", [x, gain], p + "normed1", domain="", axis=-1, epsilon=1e-5,
                          stash_type=1)
            skip = x
        else:
            normed = node("SkipSimplifiedLayerNormalization", [skip, x, gain], p + "normed1", "", "", p + "sum1",
                          epsilon=1e-5)
            skip = p + "sum1"
        sizes = {"q": heads * each, "k": kv * each, "v": kv * each}
        if packed:
            array = np.concatenate([grid(width, n) for n in sizes.values()], 1)
            operands = [node("MatMul", [normed, weight(p + "qkv", array)], p + "qkv_out", domain=""), "", ""]
        else:
            operands = [node("MatMul", [normed, weight(p + k, grid(width, n))], p + k + "_out", domain="")
                        for k, n in sizes.items()]
        past = [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
        present = [f"present.{i}.key", f"present.{i}.value"]
        node("GroupQueryAttention", [*operands, *past, "seqlens_k", "total_sequence_length", cos, sin], p + "attended", *present,
             num_heads=heads, kv_num_heads=kv, do_rotary=1, rotary_interleaved=0, scale=0.25,
             local_window_size=4 if i and not packed else -1)
        outputs += present
        y = node("MatMul", [p + "attended", weight(p + "o", grid(heads * each, width))], p + "o_out", domain="")
        normed = node("SkipSimplifiedLayerNormalization", [skip, y, weight(p + "gain2", 1 + grid(width))], p + "normed2", "", "",
                      p + "sum2", epsilon=1e-5)
        skip = p + "sum2"
        gate = node("MatMul", [normed, weight(p + "gate", grid(width, inner))], p + "gate_out", domain="")
        up = node("MatMul", [normed, weight(p + "up", grid(width, inner))], p + "up_out", domain="")
        sigmoid = node("Sigmoid", [gate], p + "sigmoid", domain="")
        silu = node("Mul", [gate, sigmoid], p + "silu", domain="")
        both = node("Mul", [silu, up], p + "both", domain="")
        x = node("MatMul", [both, weight(p + "down", grid(inner, width))], p + "down_out", domain="")
    normed = node("SkipSimplifiedLayerNormalization", [skip, x, weight("gain", 1 + grid(width))], "normed", epsilon=1e-5)
    node("MatMul", [normed, weight("head", grid(width, vocab))], "logits", domain="")

    def info(name, kind, *shape):
        return helper.make_tensor_value_info(name, kind, shape)
    inputs = [info("input_ids", TensorProto.INT64, "batch_size", "sequence_length"),
              info("attention_mask", TensorProto.INT64, "batch_size", "total_sequence_length")]
    for i in range(2):
        for k in ("key", "value"):
            inputs.append(info(f"past_key_values.{i}.{k}", TensorProto.FLOAT, "batch_size", kv, "past_sequence_length", each))
    outs = [info("logits", TensorProto.FLOAT, "batch_size", "sequence_length", vocab)]
    outs += [info(n, TensorProto.FLOAT, "batch_size", kv, "total_sequence_length", each) for n in outputs]
    graph = helper.make_graph(nodes, "grouped", inputs, outs, list(stored.values()))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)],
                             ir_version=10)
    rows, past = 1, 7
    fed = {"input_ids": np.array([[9]], np.int64), "attention_mask": np.ones((1, rows + past), np.int64)}
    for i in range(2):
        for k in ("key", "value"):
            fed[f"past_key_values.{i}.{k}"] = grid(1, kv, past, each)
    reference.store(f"grouped-{'packed' if packed else 'window'}", made, fed)


def modern():
    """A decoder in the operators of ONNX 23: Attention, RotaryEmbedding, RMSNormalization."""
    vocab, width, heads, kv, each, inner, rows, past = 48, 32, 4, 2, 8, 40, 3, 5
    nodes, stored = [], {}

    def weight(name, array):
        stored[name] = numpy_helper.from_array(array, name)
        return name

    def node(op, inputs, *outputs, **attributes):
        nodes.append(helper.make_node(op, inputs, list(outputs), "/" + outputs[0], **attributes))
        return outputs[0]

    angles = np.outer(np.arange(16), 10000.0 ** (-np.arange(each // 2) / (each // 2)))
    cos, sin = weight("cos", np.cos(angles).astype(np.float32)), weight("sin", np.sin(angles).astype(np.float32))
    x = node("Gather", [weight("embed", grid(vocab, width)), "input_ids"], "x", axis=0)
    outputs = []
    for i in range(2):
        p = f"layers.{i}."
        normed = node("RMSNormalization", [x, weight(p + "gain1", 1 + grid(width))], p + "normed1", epsilon=1e-5)
        q, k, v = (node("MatMul", [normed, weight(p + n, grid(width, size))], p + n + "_out")
                   for n, size in (("q", heads * each), ("k", kv * each), ("v", kv * each)))
        q = node("RotaryEmbedding", [q, cos, sin, "position_ids"], p + "q_turned", num_heads=heads)
        k = node("RotaryEmbedding", [k, cos, sin, "position_ids"], p + "k_turned", num_heads=kv)
        present = [f"present.{i}.key", f"present.{i}.value"]
        node("Attention", [q, k, v, "", f"past_key_values.{i}.key", f"past_key_values.{i}.value"], p + "attended", *present,
             q_num_heads=heads, kv_num_heads=kv, is_causal=1)
        outputs += present
        y = node("MatMul", [p + "attended", weight(p + "o", grid(heads * each, width))], p + "o_out")
        x = node("Add", [x, y], p + "sum1")
        normed = node("RMSNormalization", [x, weight(p + "gain2", 1 + grid(width))], p + "normed2", epsilon=1e-5)
        up = node("MatMul", [normed, weight(p + "up", grid(width, inner))], p + "up_out")
        act = node("Gelu", [up], p + "gelu", approximate="tanh")
        down = node("MatMul", [act, weight(p + "down", grid(inner, width))], p + "down_out")
        x = node("Add", [x, down], p + "sum2")
    normed = node("RMSNormalization", [x, weight("gain", 1 + grid(width))], "normed", epsilon=1e-5)
    node("MatMul", [normed, weight("head", grid(width, vocab))], "logits")

    def info(name, kind, *shape):
        return helper.make_tensor_value_info(name, kind, shape)
    inputs = [info("input_ids", TensorProto.INT64, "batch_size", "sequence_length"),
              info("position_ids", TensorProto.INT64, "batch_size", "sequence_length")]
    fed = {"input_ids": np.array([[9, 4, 30]], np.int64), "position_ids": np.array([[5, 6, 7]], np.int64)}
    for i in range(2):
        for k in ("key", "value"):
            name = f"past_key_values.{i}.{k}"
            inputs.append(info(name, TensorProto.FLOAT, "batch_size", kv, "past_sequence_length", each))
            fed[name] = grid(1, kv, past, each)
    outs = [info("logits", TensorProto.FLOAT, "batch_size", "sequence_length", vocab)]
    outs += [info(n, TensorProto.FLOAT, "batch_size", kv, "past_sequence_length + sequence_length", each) for n in outputs]
    graph = helper.make_graph(nodes, "modern", inputs, outs, list(stored.values()))
    reference.store("modern-23", helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11), fed)


def main():
    transformer("bert.ts14", "bert")
    transformer("bert.ts14", "bert", "multihead", use_multi_head_attention=True)
    transformer("bert.ts17", "bert", attention_mask_format=AttentionMaskFormat.AttentionMask)
    transformer("bert.ts11", "bert")
    transformer("bert.dynamo18", "bert")
    transformer("distilbert.ts14", "bert")
    transformer("gpt2-prefill.ts14", "gpt2")
    transformer("gpt2-decode.ts14", "gpt2")
    transformer("llama-prefill.ts17", "gpt2", heads=4)
    transformer("llama-decode.ts14", "gpt2", heads=4)
    for part in ("encoder", "decoder", "decoder-past"):
        transformer(f"t5-{part}.ts14", "t5")
    for name in ("bert.ts14", "albert.ts14", "gpt2-decode.ts14", "llama-decode.ts14", "t5-decoder-past.ts14"):
        session(name)
    few_bits("llama-decode.ts14")
    merged()
    with_functions()
    grouped(packed=True)
    grouped(packed=False)
    modern()


if __name__ == "__main__":
    DIR = sys.argv[1]
    main()
