"""Export shrunken Reformers: local and LSH layers, one and several hashing rounds, decoder and encoder.

    python reformer.py OUT_DIR       writes OUT_DIR/NAME.onnx, and tests/files/onnx/NAME.onnx.zst with NAME.arrays.zst

They are traced with a mask of ones (with padding the tracer takes another branch for buckets) and run with padding.
Weights lie on a coarse grid, so that files compress.
"""
import os
import sys
from unittest import mock

import numpy as np
import onnx
import torch
import transformers as tf
from transformers.models.reformer import modeling_reformer

import reference

DIR = sys.argv[1]
LSH = dict(vocab_size=64, hidden_size=24, num_attention_heads=2, feed_forward_size=40, axial_pos_embds_dim=[8, 16],
           hidden_dropout_prob=0, lsh_attention_probs_dropout_prob=0, local_attention_probs_dropout_prob=0)
MODELS = {
    # causal, factors of the number of buckets, one round, heads of four-byte words
    "reformer-factors": (tf.ReformerModelWithLMHead, 16, dict(
        is_decoder=True, attn_layers=["local", "lsh"], attention_head_size=12, num_buckets=[4, 6], num_hashes=1,
        lsh_attn_chunk_length=4, local_attn_chunk_length=4, axial_pos_shape=[4, 8], max_position_embeddings=32)),
    # looks in both directions, two rounds, heads of an odd width, chunks of two lengths
    "reformer-rounds": (tf.ReformerModel, 24, dict(
        is_decoder=False, attn_layers=["lsh", "local"], attention_head_size=10, num_buckets=8, num_hashes=2,
        lsh_attn_chunk_length=4, local_attn_chunk_length=8, lsh_num_chunks_before=1, lsh_num_chunks_after=1,
        local_num_chunks_before=1, local_num_chunks_after=0, axial_pos_shape=[4, 6], max_position_embeddings=24)),
}


def on_grid(model, seed):
    """Weights in steps of 1/16, gains around 1."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            steps = torch.randint(-3, 4, p.shape, generator=random) / 16
            p.copy_(1 + steps / 2 if p.ndim == 1 and "bias" not in name else steps)
    return model.eval()


class Wrapped(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, return_dict=True)[0]


def main():
    # The tracer follows the layers, not the function that saves memory in training.
    reversible = modeling_reformer._ReversibleFunction
    reversible.apply = staticmethod(lambda *operands: reversible.forward(mock.MagicMock(), *operands))
    for name, (kind, rows, settings) in MODELS.items():
        torch.manual_seed(0)
        model = Wrapped(on_grid(kind(tf.ReformerConfig(**LSH, **settings)), 6))
        ids = (torch.arange(2 * rows).reshape(2, rows) * 7) % 63 + 1
        mask = torch.ones(2, rows, dtype=torch.int64)
        name = f"{name}.ts14"
        path = os.path.join(DIR, f"{name}.onnx")
        # Rotations are numbers of the file, not drawn when it runs.
        random = np.random.default_rng(7)
        with torch.no_grad(), mock.patch("torch.randn", lambda shape, **_: torch.from_numpy(
                np.round(random.standard_normal(shape) * 16).astype("float32") / 16)):
            torch.onnx.export(model, (ids, mask), path, dynamo=False, opset_version=14, do_constant_folding=True,
                              input_names=["input_ids", "attention_mask"], output_names=["y"])
        mask[1, -3:] = 0
        reference.store(name, onnx.load(path), {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})


if __name__ == "__main__":
    main()
