"""Export shrunken models of each family: the structure of the real ones, two layers, small widths.

    python families.py OUT_DIR [encoders] [decoders] [t5]       writes OUT_DIR/NAME.onnx, and tests/files/onnx/NAME.onnx.zst with NAME.npz

Weights lie on a coarse grid, so that files compress.
"""
import contextlib
import os
import sys

import numpy as np
import onnx
import torch
import transformers as tf
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

import reference

VOCAB, WIDTH, HEADS, INNER, LAYERS, MOST = 64, 24, 2, 40, 2, 32


@contextlib.contextmanager
def traceable():
    """The tracer cannot follow masks that are made with vmap: make them by broadcasting."""
    import transformers.masking_utils as masks

    def broadcast(f, bh_indices=True):
        return lambda b, h, q, k: f(b[:, None, None, None], h[None, :, None, None], q[None, None, :, None],
                                    k[None, None, None, :])
    old = masks._vmap_for_bhqkv, masks.TransformGetItemToIndex
    masks._vmap_for_bhqkv, masks.TransformGetItemToIndex = broadcast, contextlib.nullcontext
    try:
        yield
    finally:
        masks._vmap_for_bhqkv, masks.TransformGetItemToIndex = old


def on_grid(model, seed):
    """Weights in steps of 1/16, gains around 1."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            steps = torch.randint(-3, 4, p.shape, generator=random) / 16
            p.copy_(1 + steps / 2 if p.ndim == 1 and "bias" not in name else steps)
    return model.eval()


def wrapped(model, call, count):
    """A model whose operands come in order, each with a name of its own; `call` says what they are."""
    names = ", ".join(f"x{i}" for i in range(count))
    scope = {}
    exec(f"def forward(self, {names}):\n    return self.call(self.m, {names})", scope)
    module = type("Wrapped", (torch.nn.Module,), {"forward": scope["forward"]})()
    module.m, module.call = model, call
    return module


def export(name, model, call, inputs, outputs, axes, kind, opset):
    """inputs: name -> tensor in order; axes: name -> {axis: length's name}."""
    path = os.path.join(DIR, f"{name}.{kind}{opset}.onnx")
    module, args = wrapped(model, call, len(inputs)), tuple(inputs.values())
    with torch.no_grad(), traceable() if kind == "ts" else contextlib.nullcontext():
        if kind == "ts":
            torch.onnx.export(module, args, path, dynamo=False, opset_version=opset, input_names=list(inputs),
                              output_names=outputs, dynamic_axes=axes or None, do_constant_folding=True)
        else:
            names = {n for x in inputs for n in axes.get(x, {}).values()}
            dims = {n: torch.export.Dim.DYNAMIC if "+" in n else torch.export.Dim(n, min=2) for n in names}
            shapes = tuple({i: dims[n] for i, n in axes.get(x, {}).items()} for x in inputs)
            torch.onnx.export(module, args, path, dynamo=True, opset_version=opset, input_names=list(inputs),
                              output_names=outputs, dynamic_shapes=shapes if axes else None, external_data=False,
                              optimize=True, verbose=False)
    loaded = onnx.load(path)
    reference.store(f"{name}.{kind}{opset}", loaded, {k: v.numpy() for k, v in inputs.items()})


def text(batch, rows, padded=2):
    """Token ids and a mask that hides the end of the last sequence."""
    ids = (torch.arange(batch * rows).reshape(batch, rows) * 7) % (VOCAB - 1) + 1
    mask = torch.ones(batch, rows, dtype=torch.int64)
    if padded:
        mask[-1, -padded:] = 0
    return ids, mask


BATCH_SEQ = {0: "batch_size", 1: "sequence_length"}


def encoders():
    def call(names, output):
        return lambda m, *a: getattr(m(**dict(zip(names, a)), return_dict=True), output)

    bert = tf.BertConfig(vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                         intermediate_size=INNER, max_position_embeddings=MOST)
    distil = tf.DistilBertConfig(vocab_size=VOCAB, dim=WIDTH, n_layers=LAYERS, n_heads=HEADS, hidden_dim=INNER,
                                 max_position_embeddings=MOST)
    albert = tf.AlbertConfig(vocab_size=VOCAB, embedding_size=8, hidden_size=WIDTH, num_hidden_layers=3,
                             num_attention_heads=HEADS, intermediate_size=INNER, hidden_act="gelu_new",
                             max_position_embeddings=MOST)
    ids, mask = text(2, 9)
    kinds = torch.zeros_like(ids)
    kinds[:, 5:] = 1
    three = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
    two = {"input_ids": ids, "attention_mask": mask}
    for name, model, inputs, output, specs in (
        ("bert", lambda: tf.BertModel(bert, add_pooling_layer=False), three, "last_hidden_state",
         (("ts", 11), ("ts", 14), ("ts", 17), ("dynamo", 18), ("dynamo", 23))),
        ("distilbert", lambda: tf.DistilBertModel(distil), two, "last_hidden_state", (("ts", 14), ("dynamo", 20))),
        ("distilbert-classes", lambda: tf.DistilBertForSequenceClassification(distil), two, "logits", (("ts", 14),)),
        ("albert", lambda: tf.AlbertModel(albert, add_pooling_layer=False), three, "last_hidden_state",
         (("ts", 14), ("dynamo", 18))),
    ):
        for kind, opset in specs:
            axes = {n: BATCH_SEQ for n in inputs}
            if output == "last_hidden_state" and kind == "ts":
                axes[output] = BATCH_SEQ
            # The tracer writes the operator for erf from opset 9 on and for scaled attention from 14 on.
            for config in (bert, distil, albert):
                config._attn_implementation = "eager" if opset < 14 else "sdpa"
            export(name, on_grid(model(), 1), call(list(inputs), output), inputs, [output], axes, kind, opset)


def decoder(name, make, kv_heads, width, specs, batch=2):
    """The prompt's part, and the step with a cache."""
    for phase, kind, opset in specs:
        past = 5 if phase == "decode" else 0
        rows = 1 if past and kind == "ts" else 4
        ids, mask = text(batch, rows, padded=0)
        mask = torch.ones(batch, rows + past, dtype=torch.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": torch.arange(past, past + rows).repeat(batch, 1)}
        total = "past_sequence_length + sequence_length" if past else "sequence_length"
        axes = {"input_ids": BATCH_SEQ, "attention_mask": {0: "batch_size", 1: total}, "position_ids": BATCH_SEQ}
        outputs = ["logits"]
        random = torch.Generator().manual_seed(3)
        for i in range(LAYERS):
            for what in ("key", "value"):
                if past:
                    one = f"past_key_values.{i}.{what}"
                    inputs[one] = torch.randint(-31, 32, (batch, kv_heads, past, width), generator=random) / 32
                    axes[one] = {0: "batch_size", 2: "past_sequence_length"}
                outputs.append(f"present.{i}.{what}")
        if kind == "dynamo":
            axes = {}       # this exporter cannot follow the cache of a length that it does not know
        else:
            axes |= {"logits": BATCH_SEQ} | {n: {0: "batch_size", 2: total} for n in outputs[1:]}

        def call(m, ids, mask, positions, *past):
            cache = DynamicCache.from_legacy_cache(tuple(zip(past[::2], past[1::2]))) if past else DynamicCache()
            o = m(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
                  return_dict=True)
            return (o.logits, *[t for layer in o.past_key_values.to_legacy_cache() for t in layer[:2]])

        export(f"{name}-{phase}", on_grid(make(), 2), call, inputs, outputs, axes, kind, opset)


def decoders():
    gpt2 = tf.GPT2Config(vocab_size=VOCAB, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=MOST)
    decoder("gpt2", lambda: tf.GPT2LMHeadModel(gpt2), HEADS, WIDTH // HEADS,
            (("prefill", "ts", 14), ("decode", "ts", 14), ("decode", "dynamo", 18)))
    llama = tf.LlamaConfig(vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS,
                           num_attention_heads=4, num_key_value_heads=2, head_dim=6, max_position_embeddings=MOST,
                           tie_word_embeddings=True, rms_norm_eps=1e-5)
    decoder("llama", lambda: tf.LlamaForCausalLM(llama), 2, 6,
            (("prefill", "ts", 14), ("decode", "ts", 14), ("prefill", "ts", 17), ("decode", "dynamo", 18),
             ("prefill", "dynamo", 23), ("decode", "dynamo", 23)))


def t5():
    config = tf.T5Config(vocab_size=VOCAB, d_model=WIDTH, d_kv=12, d_ff=INNER, num_layers=LAYERS, num_heads=HEADS,
                         decoder_start_token_id=0)
    ids, mask = text(2, 7)
    random = torch.Generator().manual_seed(4)

    def numbers(*shape):
        return torch.randint(-31, 32, shape, generator=random) / 32

    hidden = numbers(2, 7, WIDTH)
    enc, dec = {0: "batch_size", 1: "encoder_sequence_length"}, {0: "batch_size", 1: "decoder_sequence_length"}

    def encoder(m, ids, mask):
        return m.encoder(input_ids=ids, attention_mask=mask).last_hidden_state

    def first(m, mask, ids, hidden):
        o = m(decoder_input_ids=ids, encoder_outputs=BaseModelOutput(hidden), attention_mask=mask,
              past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()), use_cache=True)
        return (o.logits, *[t for layer in o.past_key_values.to_legacy_cache() for t in layer])

    def further(m, mask, ids, *past):
        cache = EncoderDecoderCache.from_legacy_cache(tuple(past[i:i + 4] for i in range(0, len(past), 4)))
        hidden = torch.zeros(past[2].shape[0], past[2].shape[2], WIDTH)      # only its shape is read
        o = m(decoder_input_ids=ids, encoder_outputs=BaseModelOutput(hidden), attention_mask=mask, past_key_values=cache,
              use_cache=True)
        return (o.logits, *[t for layer in o.past_key_values.to_legacy_cache() for t in layer[:2]])

    for kind, opset in (("ts", 14), ("ts", 17), ("dynamo", 18)):
        def make():
            return on_grid(tf.T5ForConditionalGeneration(config), 5)
        traced = kind == "ts"
        axes = {"input_ids": enc, "attention_mask": enc} | ({"last_hidden_state": enc} if traced else {})
        export("t5-encoder", make(), encoder, {"input_ids": ids, "attention_mask": mask}, ["last_hidden_state"], axes,
               kind, opset)
        layers = range(LAYERS)
        present = [f"present.{i}.{w}.{k}" for i in layers for w in ("decoder", "encoder") for k in ("key", "value")]
        axes = {"encoder_attention_mask": enc, "input_ids": dec, "encoder_hidden_states": enc}
        if traced:
            axes |= {"logits": dec} | {n: {0: "batch_size", 2: (dec if ".decoder." in n else enc)[1]} for n in present}
        export("t5-decoder", make(), first,
               {"encoder_attention_mask": mask, "input_ids": ids[:, :3], "encoder_hidden_states": hidden},
               ["logits", *present], axes, kind, opset)
        inputs = {"encoder_attention_mask": mask, "input_ids": ids[:, :1]}
        axes = {"encoder_attention_mask": enc, "input_ids": {0: "batch_size"}}
        for i in layers:
            for what, rows, axis in (("decoder", 5, "past_decoder_sequence_length"), ("encoder", 7, enc[1])):
                for k in ("key", "value"):
                    one = f"past_key_values.{i}.{what}.{k}"
                    inputs[one], axes[one] = numbers(2, HEADS, rows, 12), {0: "batch_size", 2: axis}
        outputs = ["logits", *[n for n in present if ".decoder." in n]]
        if traced:
            axes |= {n: {0: "batch_size", 2: "past_decoder_sequence_length + 1"} for n in outputs[1:]}
        export("t5-decoder-past", make(), further, inputs, outputs, axes, kind, opset)


if __name__ == "__main__":
    DIR = sys.argv[1]
    os.makedirs(DIR, exist_ok=True)
    torch.manual_seed(0)
    for family in sys.argv[2:] or ("encoders", "decoders", "t5"):
        globals()[family]()
