"""Export shrunken Longformers with random weights and what they give for some inputs.

    python longformer.py tests/files/longformer       writes NAME.onnx.zst, and NAME.f32 with the result

`window`: two layers whose rows see 8 positions to each side; `global`: with a global token. Weights lie on a coarse
grid, so that files compress. Results are those of
onnxruntime. Needs torch 2.9.1, transformers 4.57.1, onnx, onnxruntime and zstandard.
"""
import sys
import os
import warnings

import onnx
import onnxruntime
import torch
import transformers as tf
import zstandard

warnings.filterwarnings("ignore")
OUT = sys.argv[1]
ROWS = 48


def config(**more):
    return tf.LongformerConfig(attention_window=[16, 16], vocab_size=64, hidden_size=24, num_hidden_layers=2,
                               num_attention_heads=2, intermediate_size=40, max_position_embeddings=64, type_vocab_size=1,
                               pad_token_id=1, bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5, onnx_export=True, **more)


def on_grid(model, seed):
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            steps = torch.randint(-3, 4, p.shape, generator=random) / 16
            p.copy_(1 + steps / 2 if p.ndim == 1 and "bias" not in name else steps)
    return model.eval()


class Wrapped(torch.nn.Module):
    def __init__(self, m, names, output):
        super().__init__()
        self.m, self.names, self.output = m, names, output

    def forward(self, *a):
        return getattr(self.m(**dict(zip(self.names, a)), return_dict=True), self.output)


def export(name, model, inputs, output):
    path = os.path.join(OUT, name + ".onnx")
    with torch.no_grad():
        wrapped = Wrapped(model, list(inputs), output)
        torch.onnx.export(wrapped, tuple(inputs.values()), path, dynamo=False, opset_version=14, input_names=list(inputs),
                          output_names=[output], do_constant_folding=True)
    m = onnx.load(path)
    for node in m.graph.node:
        node.doc_string = ""
    data = m.SerializeToString()
    os.remove(path)
    with open(path + ".zst", "wb") as f:
        f.write(zstandard.ZstdCompressor(level=19).compress(data))
    session = onnxruntime.InferenceSession(data)
    expected = session.run(None, {k: v.numpy() for k, v in inputs.items()})[0]
    expected.astype("<f4").tofile(os.path.join(OUT, name + ".f32"))
    print(name, len(m.graph.node), os.path.getsize(path + ".zst"))


def main():
    ids = (torch.arange(ROWS).reshape(1, ROWS) * 7) % 61 + 3
    ids[0, -3:] = 1
    mask = torch.ones(1, ROWS, dtype=torch.int64)
    mask[0, -3:] = 0
    export("window", on_grid(tf.LongformerForMaskedLM(config()), 1), {"input_ids": ids, "attention_mask": mask}, "logits")
    ids = (torch.arange(ROWS).reshape(1, ROWS) * 7) % 61 + 3
    mask = torch.ones(1, ROWS, dtype=torch.int64)
    glob = torch.zeros(1, ROWS, dtype=torch.int64)
    glob[0, 0] = 1
    export("global", on_grid(tf.LongformerModel(config(), add_pooling_layer=False), 2),
           {"input_ids": ids, "attention_mask": mask, "global_attention_mask": glob}, "last_hidden_state")


main()
