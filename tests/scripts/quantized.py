"""Quantise stored models as ONNX Runtime does, in each of its forms.

    python quantized.py        reads tests/files/onnx, writes tests/files/quantized/NAME.onnx.zst, NAME.arrays.zst

Forms: pairs of QuantizeLinear and DequantizeLinear around every operator or around products alone, with a scale a
tensor or a channel, signed and unsigned; operators on integers; scales found at run time.
"""
import os
import tempfile

import numpy as np
import onnx
import onnx.helper
import zstandard
from onnx import numpy_helper
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static)

import reference

SOURCE = reference.OUT
TARGET = os.path.join(os.path.dirname(SOURCE), "quantized")
SAMPLES = 8


def stored(file):
    with open(os.path.join(SOURCE, file), "rb") as f:
        return zstandard.ZstdDecompressor().decompress(f.read())


class Samples(CalibrationDataReader):
    """The inputs of a model, and others like them."""

    def __init__(self, model, inputs):
        fed = {i.name for i in model.graph.input}
        random = np.random.default_rng(5)
        self.rest = [{k: v for k, v in inputs.items() if k in fed}]
        most = int(inputs["input_ids"].max())
        for _ in range(SAMPLES - 1):
            other = dict(self.rest[0])
            other["input_ids"] = random.integers(0, most + 1, inputs["input_ids"].shape)
            self.rest.append(other)

    def get_next(self):
        return self.rest.pop(0) if self.rest else None


def at_run_time(model):
    """The same without rounding of what has its scale found at run time: products of floats."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    floats, nodes = {}, []
    for n in graph.node:
        if n.op_type == "DynamicQuantizeLinear":
            floats[n.output[0]] = n.input[0]
            nodes.append(onnx.helper.make_node("Constant", [], [n.output[1]], value_float=1.0))
        elif n.op_type == "MatMulInteger":
            operands = []
            for at in (0, 1):
                name = n.input[at]
                if name in floats:
                    operands.append(floats[name])
                    continue
                zero = values[n.input[2 + at]].astype(np.float32)
                operands.append(f"{name}.float")
                if operands[-1] not in values:
                    values[operands[-1]] = values[name].astype(np.float32) - zero
                    graph.initializer.append(numpy_helper.from_array(values[operands[-1]], operands[-1]))
            nodes.append(onnx.helper.make_node("MatMul", operands, list(n.output), n.name))
        else:
            nodes.append(n)
    del graph.node[:]
    graph.node.extend(nodes)
    return made


def quantized(name, label, make):
    model = onnx.ModelProto.FromString(stored(f"{name}.onnx.zst"))
    if "com.microsoft" not in {o.domain for o in model.opset_import}:
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    arrays = onnx.GraphProto.FromString(stored(f"{name}.arrays.zst"))
    inputs = {t.name[3:]: numpy_helper.to_array(t) for t in arrays.initializer if t.name.startswith("in.")}
    with tempfile.TemporaryDirectory() as folder:
        before, after = (os.path.join(folder, f) for f in ("float.onnx", "int8.onnx"))
        onnx.save(model, before)
        make(before, after, Samples(model, inputs))
        made = onnx.load(after)
    kinds = sorted({n.op_type for n in made.graph.node if "uant" in n.op_type or "Integer" in n.op_type or n.op_type[0] == "Q"})
    print(" ", kinds)
    reference.OUT = TARGET
    whole = any(n.op_type in ("QAttention", "DynamicQuantizeMatMul") for n in made.graph.node)
    dynamic_alone = any(n.op_type == "MatMulInteger" for n in made.graph.node) and not whole
    reference.store(f"{name}.{label}", made, inputs, at_run_time(reference.strip(made)) if dynamic_alone else None)


def static(form, activations, weights, channels, only=None):
    def make(before, after, samples):
        quantize_static(before, after, samples, quant_format=form, activation_type=activations, weight_type=weights,
                        per_channel=channels, op_types_to_quantize=only)
    return make


def dynamic(weights, channels):
    def make(before, after, _samples):
        quantize_dynamic(before, after, weight_type=weights, per_channel=channels,
                         extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    return make


def zero_points():
    """Weights whose zero points lie anywhere, in every operator that has some.

    Scales are powers of two and results are floats, so each result is exact: it is to be met to the bit.
    """
    random = np.random.default_rng(11)
    initializers, nodes = [], []

    def constant(name, value):
        initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(op, inputs, output, domain="", **attributes):
        nodes.append(onnx.helper.make_node(op, inputs, [output], domain=domain, **attributes))
        return output

    def uniform(shape, kind):
        info = np.iinfo(kind)
        return random.integers(info.min, info.max + 1, shape).astype(kind)

    k, n = 48, 40
    scale, one = constant("scale", np.float32(2.0 ** -5)), constant("one", np.float32(1))
    # Both factors have one sign: what ONNX Runtime does with others saturates where the host lacks VNNI.
    for kind, zero in ((np.uint8, 117), (np.int8, -9)):
        name = np.dtype(kind).name
        x_zero = constant(f"{name}.x_zero", kind(zero))
        x = node("QuantizeLinear", ["x", scale, x_zero], f"{name}.x")
        # A product of integers knows no scale.
        large = node("QuantizeLinear", ["large", one, x_zero], f"{name}.large")
        columns = constant(f"{name}.columns", (2.0 ** random.integers(-9, -5, n)).astype(np.float32))
        steps = {"tensor": constant(f"{name}.step", np.float32(2.0 ** -8)), "channel": columns}
        for form, step in steps.items():
            label = f"{name}.{form}"
            w = constant(f"{label}.w", uniform((k, n), kind))
            w_zero = constant(f"{label}.zero", uniform((n,) if form == "channel" else (), kind))
            node("MatMulIntegerToFloat", [x, w, scale, step, x_zero, w_zero], f"{label}.float", "com.microsoft")
            sums = node("MatMulInteger", [large, w, x_zero, w_zero], f"{label}.sums")
            floats = node("Cast", [sums], f"{label}.sums.float", to=onnx.TensorProto.FLOAT)
            node("Mul", [floats, step], f"{label}.integer")
            pair = node("DequantizeLinear", [w, step, w_zero], f"{label}.w.float", axis=1)
            x_float = node("DequantizeLinear", [x, scale, x_zero], f"{label}.x.float")
            node("MatMul", [x_float, pair], f"{label}.pair")
    results = [f"{kind}.{form}.{op}" for kind in ("uint8", "int8") for form in ("tensor", "channel")
               for op in ("float", "integer", "pair")]
    port = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "zero-points", [port(x, onnx.TensorProto.FLOAT, [1, 6, k]) for x in ("x", "large")],
        [port(r, onnx.TensorProto.FLOAT, [1, 6, n]) for r in results], initializers)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    reference.OUT = TARGET
    inputs = {name: random.normal(0, std, (1, 6, k)).astype(np.float32) for name, std in (("x", 1.2), ("large", 40))}
    reference.store("zero-points", model, inputs)


def main():
    zero_points()
    pairs, integers = QuantFormat.QDQ, QuantFormat.QOperator
    signed, unsigned = QuantType.QInt8, QuantType.QUInt8
    quantized("bert.ts14", "pairs", static(pairs, unsigned, signed, False))
    quantized("bert.ts14", "pairs-channel", static(pairs, signed, signed, True, ["MatMul"]))
    quantized("bert.ts14", "pairs-unsigned", static(pairs, unsigned, unsigned, False))
    # Unsigned integers times signed ones saturate in ONNX Runtime where the host lacks VNNI: signed ones alone.
    quantized("bert.ts14", "integers", static(integers, signed, signed, False))
    quantized("bert.ts14", "integers-channel", static(integers, signed, signed, True))
    quantized("bert.ts14", "dynamic", dynamic(signed, False))
    quantized("bert.ts14", "dynamic-channel", dynamic(signed, True))
    quantized("bert.ts14", "dynamic-unsigned", dynamic(unsigned, False))
    quantized("bert.ts14", "dynamic-unsigned-channel", dynamic(unsigned, True))
    quantized("bert.ts14", "integers-unsigned", static(integers, unsigned, unsigned, True))
    quantized("bert.ts14.optimized", "dynamic", dynamic(signed, True))
    # A mask of the least float has no finite scale: products alone.
    quantized("gpt2-prefill.ts14", "pairs", static(pairs, unsigned, signed, True, ["Gemm", "MatMul"]))
    quantized("gpt2-prefill.ts14", "integers", static(integers, signed, signed, True, ["Gemm", "MatMul"]))
    quantized("llama-prefill.ts14", "dynamic", dynamic(signed, True))
    quantized("llama-prefill.ts14", "pairs", static(pairs, unsigned, signed, True, ["MatMul"]))


if __name__ == "__main__":
    main()
