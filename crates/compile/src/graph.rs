//! Passes from graph to graph, one file each; `pass::PASSES` holds their order.

pub mod block_attention;
pub mod calibrate;
pub mod compensate;
pub mod equalize;
pub mod legalize;
pub mod observe;
pub mod quantize;
pub mod recipe;
pub mod samples;
pub mod sensitivity;

mod feedback;
pub(crate) mod integers;
pub(crate) mod matching;
mod trace;

pub mod eliminate_dead;
pub mod eliminate_no_ops;
pub mod fold_constants;
pub mod fold_quantization;
pub mod fold_scale;
pub mod fuse_activation;
pub mod fuse_attention;
pub mod fuse_bias;
pub mod fuse_cache;
pub mod fuse_chunk_attention;
pub mod fuse_embedding;
pub mod fuse_gelu;
pub mod fuse_hash_sort;
pub mod fuse_norm;
pub mod fuse_relative_bias;
pub mod fuse_replaced_rows;
pub mod fuse_residual;
pub mod fuse_rotary;
pub mod fuse_window_attention;
pub mod lift_reshape;
pub mod lift_transpose;
pub mod merge_common;
pub mod merge_projections;
pub mod narrow_broadcast;
pub mod narrow_logits;
pub mod share_constants;
