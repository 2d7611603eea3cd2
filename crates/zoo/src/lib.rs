//! The small language models, embedded: real exports without their weights.
