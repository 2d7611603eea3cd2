//! What each operator becomes, one family a file.

pub(crate) mod attention;
pub(crate) mod blocks;
pub(crate) mod constant;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod fused_attention;
pub(crate) mod heads;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod mask;
pub(crate) mod norm;
pub(crate) mod position;
pub(crate) mod product;
pub(crate) mod quantized;
pub(crate) mod random;
pub(crate) mod reduce;
pub(crate) mod rotary;
pub(crate) mod sequence;
