//! ONNX front end: decode, external data, bindings, constant folding, operator registry.
