#!/usr/bin/env python3
"""Times ONNX Runtime on a model quantised by its own dynamic int8, by channel.

    python ort_speed.py MODEL.onnx SEQUENCE WORK_FOLDER

prints the median and the least milliseconds of one run at batch 1 on two threads. Needs onnxruntime and onnx.
"""
import os
import sys
import time

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_dynamic


def main():
    model, positions, work = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    small = os.path.join(work, "ort_int8.onnx")
    quantize_dynamic(model, small, weight_type=QuantType.QInt8, per_channel=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    feed = {}
    for i in session.get_inputs():
        rows = np.zeros((1, positions), np.int64)
        if i.name.endswith("attention_mask"):
            rows[:] = 1
        elif i.name.endswith("input_ids"):
            rows[:] = 1000 + np.arange(positions)
        feed[i.name] = rows
    for _ in range(5):
        session.run(None, feed)
    times = []
    for _ in range(31):
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    print(1e3 * sorted(times)[15], 1e3 * min(times))


if __name__ == "__main__":
    main()
