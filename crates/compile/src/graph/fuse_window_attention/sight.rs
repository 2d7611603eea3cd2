//! What rows see, as a window and global columns.

use packwright_ir::op::Attention;

/// Finds the attributes of an attention whose rows see exactly the given columns, `[s, t]`.
pub fn sight(visible: &[bool], size: [usize; 2]) -> Option<Attention> {
    let [s, t] = size;
    let mut attention = Attention::new(1, 1, 1.0);
    let (back, ahead) = (reach(visible, size, false)?, reach(visible, size, true)?);
    (attention.causal, attention.window) = match (back, ahead) {
        (None, None) => (false, None),
        (None, Some(0)) => (true, None),
        (Some(back), Some(0)) => (true, Some(back)),
        (Some(window), None) | (None, Some(window)) => (false, Some(window)),
        (Some(back), Some(ahead)) => (false, Some(back.min(ahead))),
    };
    let mut global = vec![false; t];
    for (i, row) in visible.chunks_exact(t).enumerate() {
        let columns = attention.columns(i, size);
        for (j, global) in global.iter_mut().enumerate() {
            *global |= row[j] && !columns.contains(&j);
        }
    }
    attention.global = (0..t).filter(|&j| global[j]).collect();
    let exact = (0..s).all(|i| {
        let columns = attention.columns(i, size);
        (0..t).all(|j| visible[i * t + j] == (columns.contains(&j) || global[j]))
    });
    exact.then_some(attention)
}

/// How far every row sees behind or ahead of its own column; nothing inside where nothing ends it, and
/// nothing at all where a row does not see its own column.
fn reach(visible: &[bool], [s, t]: [usize; 2], ahead: bool) -> Option<Option<usize>> {
    let mut nearest: Option<usize> = None;
    for (i, row) in visible.chunks_exact(t).enumerate() {
        let own = (i + t).checked_sub(s)?;
        let hidden = if ahead {
            (own..t).find(|&j| !row[j]).map(|j| j - own)
        } else {
            (0..=own).rev().find(|&j| !row[j]).map(|j| own - j)
        };
        nearest = match (nearest, hidden) {
            (Some(nearest), Some(hidden)) => Some(nearest.min(hidden)),
            (nearest, hidden) => nearest.or(hidden),
        };
    }
    match nearest {
        None => Some(None),
        Some(distance) => distance.checked_sub(1).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::sight;

    fn seen(size: [usize; 2], sees: impl Fn(usize, usize) -> bool) -> Vec<bool> {
        let pairs = (0..size[0]).flat_map(|i| (0..size[1]).map(move |j| (i, j)));
        pairs.map(|(i, j)| sees(i, j)).collect()
    }

    #[test]
    fn windows_and_global_columns_are_told_apart() {
        let window = seen([9, 9], |i, j| i.abs_diff(j) <= 2 || j == 0 || j == 7);
        let found = sight(&window, [9, 9]).unwrap();
        assert_eq!((found.window, found.causal), (Some(2), false));
        assert_eq!(found.global, [0, 7]);
        let causal = sight(&seen([5, 8], |i, j| j <= i + 3), [5, 8]).unwrap();
        assert_eq!((causal.window, causal.causal), (None, true));
        let sliding = seen([8, 8], |i, j| j <= i && i - j <= 3);
        let sliding = sight(&sliding, [8, 8]).unwrap();
        assert_eq!((sliding.window, sliding.causal), (Some(3), true));
        assert_eq!(
            sight(&seen([4, 4], |_, _| true), [4, 4]).unwrap().window,
            None
        );
        // Every other column, and a row that does not see its own.
        let dilated = seen([9, 9], |i, j| i.abs_diff(j) % 2 == 0 && i.abs_diff(j) <= 4);
        assert_eq!(sight(&dilated, [9, 9]), None);
        assert_eq!(sight(&seen([4, 4], |i, j| i != j), [4, 4]), None);
    }
}
