"""Store a model with the results that ONNX Runtime gives for it.

A model becomes NAME.onnx.zst, its inputs and outputs NAME.arrays.zst: a graph of ONNX without nodes, whose
initializers are `in.X` for each input and `out.Y` for each output.  Shapes of inputs are the lengths that the test
binds.
"""
import os

import numpy as np
import onnx
import onnxruntime as ort
import zstandard
from onnx import numpy_helper

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "files", "onnx")


def run(model, inputs):
    """The outputs by name; graph optimisations are off, so that each node computes what it says."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    fed = {i.name for i in session.get_inputs()}
    return dict(zip(names, session.run(names, {k: v for k, v in inputs.items() if k in fed})))


def strip(model):
    """Drop what no test reads: texts, and shapes of inner values."""
    def graph(g):
        del g.value_info[:]
        for n in g.node:
            n.ClearField("doc_string")
            del n.metadata_props[:]
            for a in n.attribute:
                if a.type == onnx.AttributeProto.GRAPH:
                    graph(a.g)
        for x in [*g.input, *g.output, *g.initializer]:
            x.ClearField("doc_string")
            del x.metadata_props[:]
        del g.metadata_props[:]
    graph(model.graph)
    for f in model.functions:
        del f.value_info[:]
        for n in f.node:
            n.ClearField("doc_string")
            del n.metadata_props[:]
    del model.metadata_props[:]
    model.ClearField("doc_string")
    return model


def pack(name, message):
    """Write a message of ONNX, compressed; its size."""
    os.makedirs(OUT, exist_ok=True)
    data = zstandard.ZstdCompressor(level=19, write_content_size=True).compress(message.SerializeToString())
    with open(os.path.join(OUT, f"{name}.zst"), "wb") as f:
        f.write(data)
    return len(data)


def arrays(named):
    """Arrays as initializers of a graph."""
    return onnx.GraphProto(initializer=[numpy_helper.from_array(np.asarray(v), k) for k, v in named.items()])


def store(name, model, inputs, same_as=None):
    """Write a model and what it gives for the inputs, or what another model with the same meaning does."""
    model = strip(model)
    expected = run(same_as or model, inputs)
    for key, value in expected.items():
        assert np.isfinite(value).all(), f"{name}: {key} is not finite"
    size = pack(f"{name}.onnx", model)
    named = {f"in.{k}": v for k, v in inputs.items()} | {f"out.{k}": v for k, v in expected.items()}
    more = pack(f"{name}.arrays", arrays(named))
    print(f"{name}: {size} and {more} bytes, {len(model.graph.node)} nodes", flush=True)
