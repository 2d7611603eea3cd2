"""Export shrunken models of families whose attention is spelled in other ways than that of families.py.

    python spellings.py OUT_DIR [NAME …]        writes OUT_DIR/NAME.onnx and tests/files/onnx/NAME.onnx.zst, NAME.arrays.zst

Rotation of a part of each head (Phi), of neighbours (GPT-J), from tables in which each angle stands twice (older
exports of Llama); capped scores and windows over a cache (Gemma 2, Mistral); windows and rotation in an encoder
(ModernBERT); windows over two sequences (Longformer); models whose attention is written out (`eager`) at early operator sets.
"""
import math
import os
import sys

import torch
import transformers as tf

import families
from families import INNER, LAYERS, MOST, VOCAB, WIDTH, decoder, export, on_grid, text

EAGER = {"attn_implementation": "eager"}
SIZES = dict(vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS,
             num_attention_heads=4, max_position_embeddings=MOST)


def phi():
    config = tf.PhiConfig(**{**SIZES, "hidden_size": 32}, partial_rotary_factor=0.5)
    decoder("phi", lambda: tf.PhiForCausalLM(config), 4, 8, (("decode", "ts", 17), ("prefill", "dynamo", 20)))


def gptj():
    config = tf.GPTJConfig(vocab_size=VOCAB, n_embd=32, n_layer=LAYERS, n_head=4, n_positions=MOST, rotary_dim=4,
                           n_inner=INNER)
    decoder("gptj", lambda: tf.GPTJForCausalLM(config), 4, 8, (("decode", "ts", 14), ("prefill", "dynamo", 20)), batch=1)


def gemma2():
    config = tf.Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=8, sliding_window=3, query_pre_attn_scalar=8, **EAGER)
    decoder("gemma2", lambda: tf.Gemma2ForCausalLM(config), 2, 8, (("decode", "dynamo", 18), ("prefill", "ts", 14)))


def mistral():
    config = tf.MistralConfig(**SIZES, num_key_value_heads=2, head_dim=8, sliding_window=3)
    decoder("mistral", lambda: tf.MistralForCausalLM(config), 2, 8, (("decode", "ts", 17), ("decode", "dynamo", 18)))


def early():
    llama = tf.LlamaConfig(**SIZES, num_key_value_heads=2, head_dim=6, **EAGER)
    decoder("llama-eager", lambda: tf.LlamaForCausalLM(llama), 2, 6, (("prefill", "ts", 11), ("decode", "dynamo", 21)))
    gpt2 = tf.GPT2Config(vocab_size=VOCAB, n_embd=WIDTH, n_layer=LAYERS, n_head=2, n_positions=MOST, **EAGER)
    decoder("gpt2-eager", lambda: tf.GPT2LMHeadModel(gpt2), 2, 12, (("prefill", "ts", 11), ("prefill", "dynamo", 23)))


def modernbert():
    config = tf.ModernBertConfig(vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2,
                                 intermediate_size=INNER, max_position_embeddings=MOST, local_attention=4,
                                 global_attn_every_n_layers=2, pad_token_id=0, **EAGER)
    ids, mask = text(2, 9)
    inputs = {"input_ids": ids, "attention_mask": mask}
    axes = {n: families.BATCH_SEQ for n in (*inputs, "last_hidden_state")}
    export("modernbert", on_grid(tf.ModernBertModel(config), 1),
           lambda m, ids, mask: m(input_ids=ids, attention_mask=mask).last_hidden_state, inputs, ["last_hidden_state"],
           axes, "ts", 14)


def longformer():
    config = tf.LongformerConfig(attention_window=[16, 16], vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS,
                                 num_attention_heads=2, intermediate_size=INNER, max_position_embeddings=64,
                                 type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, onnx_export=True)
    ids, mask = text(2, 48, padded=5)
    export("longformer-pair", on_grid(tf.LongformerModel(config, add_pooling_layer=False), 1),
           lambda m, ids, mask: m(input_ids=ids + 1, attention_mask=mask).last_hidden_state,
           {"input_ids": ids, "attention_mask": mask}, ["last_hidden_state"], {}, "ts", 14)


class Tables(torch.nn.Module):
    """A decoder layer as older code of Llama writes it: rows of tables by position, repeated heads, a fused mask."""

    def __init__(self, heads=4, groups=2, width=6):
        super().__init__()
        self.heads, self.groups, self.width = heads, groups, width
        for name, columns in (("q", heads), ("k", groups), ("v", groups)):
            setattr(self, name, torch.nn.Linear(WIDTH, columns * width, bias=False))
        self.o = torch.nn.Linear(heads * width, WIDTH, bias=False)
        frequencies = 1.0 / (10000 ** (torch.arange(0, width, 2).float() / width))
        angles = torch.outer(torch.arange(MOST).float(), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos_cached", angles.cos()[None, None])
        self.register_buffer("sin_cached", angles.sin()[None, None])

    def rotated(self, x, total, positions):
        cos = self.cos_cached[:, :, :total, ...].squeeze(1).squeeze(0)[positions].unsqueeze(1)
        sin = self.sin_cached[:, :, :total, ...].squeeze(1).squeeze(0)[positions].unsqueeze(1)
        half = x.shape[-1] // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sin

    def forward(self, x, mask, positions, past_k, past_v):
        batch, rows, _ = x.shape

        def heads(linear, count):
            return linear(x).view(batch, rows, count, self.width).transpose(1, 2)
        total = rows + past_k.shape[-2]
        q = self.rotated(heads(self.q, self.heads), total, positions)
        k = torch.cat([past_k, self.rotated(heads(self.k, self.groups), total, positions)], dim=2)
        v = torch.cat([past_v, heads(self.v, self.groups)], dim=2)

        def repeated(t):
            t = t[:, :, None, :, :].expand(batch, self.groups, self.heads // self.groups, total, self.width)
            return t.reshape(batch, self.heads, total, self.width)
        scores = torch.matmul(q, repeated(k).transpose(2, 3)) / math.sqrt(self.width) + mask
        p = torch.nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        y = torch.matmul(p, repeated(v)).transpose(1, 2).contiguous().reshape(batch, rows, -1)
        return x + self.o(y), k, v


class Decoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(VOCAB, WIDTH)
        self.layers = torch.nn.ModuleList(Tables() for _ in range(LAYERS))

    def forward(self, ids, attention_mask, positions, *past):
        x = self.words(ids)
        rows, total = ids.shape[1], attention_mask.shape[1]
        ahead = torch.full((rows, rows), torch.finfo(x.dtype).min).triu(1)
        ahead = torch.cat([torch.zeros(rows, total - rows), ahead], dim=-1)[None, None]
        padding = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        present = []
        for layer, k, v in zip(self.layers, past[::2], past[1::2]):
            x, k, v = layer(x, ahead + padding, positions, k, v)
            present += [k, v]
        return (x @ self.words.weight.T, *present)


def tables():
    past, rows = 5, 1
    random = torch.Generator().manual_seed(3)
    ids, _ = text(2, rows, padded=0)
    inputs = {"input_ids": ids, "attention_mask": torch.ones(2, past + rows, dtype=torch.int64),
              "position_ids": torch.arange(past, past + rows).repeat(2, 1)}
    total = "past_sequence_length + sequence_length"
    axes = {"input_ids": families.BATCH_SEQ, "attention_mask": {0: "batch_size", 1: total},
            "position_ids": families.BATCH_SEQ, "logits": families.BATCH_SEQ}
    outputs = ["logits"]
    for i in range(LAYERS):
        for what in ("key", "value"):
            one = f"past_key_values.{i}.{what}"
            inputs[one] = torch.randint(-31, 32, (2, 2, past, 6), generator=random) / 32
            axes[one] = {0: "batch_size", 2: "past_sequence_length"}
            outputs.append(f"present.{i}.{what}")
            axes[outputs[-1]] = {0: "batch_size", 2: total}
    export("llama-tables-decode", on_grid(Decoder(), 6), lambda m, *a: m(*a), inputs, outputs, axes, "ts", 14)


if __name__ == "__main__":
    families.DIR = sys.argv[1]
    os.makedirs(families.DIR, exist_ok=True)
    torch.manual_seed(0)
    for family in sys.argv[2:] or ("phi", "gptj", "gemma2", "mistral", "early", "modernbert", "longformer", "tables"):
        globals()[family]()
