//! Rotary position embedding: pairs of a head's elements turn by an angle.

/// `(x1 * cos - x2 * sin, x2 * cos + x1 * sin)`, each product rounded before the sum.
#[inline]
pub fn rotate(x1: f32, x2: f32, cos: f32, sin: f32) -> (f32, f32) {
    (x1 * cos - x2 * sin, x2 * cos + x1 * sin)
}

/// Rotates element i with element i + h, where h = `cos.len()` (the NeoX and Llama order).
///
/// `head` is one head of one position; elements from 2h on are left alone (partial rotary).
pub fn rotate_half_row(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let h = cos.len();
    assert_eq!(h, sin.len(), "one sine for each cosine");
    let (first, second) = head[..2 * h].split_at_mut(h);
    for (((x1, x2), &c), &s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*x1, *x2) = rotate(*x1, *x2, c, s);
    }
}

/// Rotates element 2i with element 2i + 1 (the GPT-J order).
///
/// `head` is one head of one position; elements from `2 * cos.len()` on are left alone.
pub fn rotate_interleaved_row(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    assert_eq!(cos.len(), sin.len(), "one sine for each cosine");
    let (pairs, _) = head[..2 * cos.len()].as_chunks_mut::<2>();
    for (([x1, x2], &c), &s) in pairs.iter_mut().zip(cos).zip(sin) {
        (*x1, *x2) = rotate(*x1, *x2, c, s);
    }
}
