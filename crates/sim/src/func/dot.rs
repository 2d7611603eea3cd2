//! Sums of products of int8 vectors, written so that a compiler maps them to multiply-add pairs.
//!
//! Integer sums are exact, so their order is free: a fixed number of lanes, folded at the end.

/// Elements to which rows of 16-bit operands are padded with zeros.
pub(super) const LANES: usize = 16;

/// Lanes of the sum over bytes.
const BYTE_LANES: usize = 32;

/// `Σ a·b` of operands widened to 16 bits; a rest of less than [`LANES`] elements is left out.
#[inline]
pub(super) fn dot_wide(a: &[i16], b: &[i16]) -> i32 {
    let mut lanes = [0i32; LANES];
    for (a, b) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = lane.wrapping_add(i32::from(a) * i32::from(b));
        }
    }
    lanes.into_iter().fold(0, i32::wrapping_add)
}

/// `Σ a·b` of bytes that hold int8 values.
#[inline]
pub(super) fn dot_bytes(a: &[u8], b: &[u8]) -> i32 {
    let product = |a: u8, b: u8| i32::from(a as i8) * i32::from(b as i8);
    let mut lanes = [0i32; BYTE_LANES];
    let (a_blocks, a_rest) = a.as_chunks::<BYTE_LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<BYTE_LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = lane.wrapping_add(product(a, b));
        }
    }
    // The rest has a sum of its own, so that the lanes can stay in registers.
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| product(a, b));
    let rest = rest.fold(0, i32::wrapping_add);
    lanes.into_iter().fold(rest, i32::wrapping_add)
}

#[cfg(test)]
mod tests {
    use packwright_numerics::matmul::dot_i8;
    use proptest::prelude::*;

    use super::{LANES, dot_bytes, dot_wide};

    proptest! {
        #[test]
        fn sums_are_exact(pairs in prop::collection::vec((-127i8..=127, -127i8..=127), 0..200)) {
            let (a, b): (Vec<i8>, Vec<i8>) = pairs.into_iter().unzip();
            let exact = dot_i8(&a, &b);
            let bytes = |x: &[i8]| x.iter().map(|&x| x as u8).collect::<Vec<_>>();
            prop_assert_eq!(dot_bytes(&bytes(&a), &bytes(&b)), exact);
            let wide = |x: &[i8]| {
                let mut x: Vec<_> = x.iter().map(|&x| i16::from(x)).collect();
                x.resize(x.len().next_multiple_of(LANES), 0);
                x
            };
            prop_assert_eq!(dot_wide(&wide(&a), &wide(&b)), exact);
        }
    }
}
