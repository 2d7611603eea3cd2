//! Attention: its attributes, and which columns a row sees.

use std::ops::Range;

use packwright_numerics::reduce::LANES;

use crate::ty::Elem;

/// Attributes of attention. q is `[b, s, heads·width]`, k and v are `[b, t, kv_heads·width]` (the
/// width of v may differ), the result is `[b, s, heads·width of v]`: heads lie side by side in a
/// row. Head i reads key/value head `i / (heads / kv_heads)`. The mask is added to the scores and
/// broadcasts to `[b, heads, s, t]`.
///
/// Row i of the queries belongs to column `i + t − s` of the keys. Scores stand in a row of their
/// own: the global columns first, padded with hidden ones to a whole number of lanes, then all
/// columns of the keys, the global ones hidden there.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    pub heads: usize,
    pub kv_heads: usize,
    /// Factor on the scores, before the mask.
    pub scale: f32,
    /// Scores s become `c·tanh(s/c)` before the mask: they stay between −c and c. Above 0.
    pub softcap: Option<f32>,
    /// A row sees columns up to its own only.
    pub causal: bool,
    /// A row sees columns at most this far away from its own.
    pub window: Option<usize>,
    /// Columns that every row sees, whatever `causal` and `window` say; ascending.
    pub global: Vec<usize>,
    /// A mask is the fourth operand.
    pub mask: bool,
    /// A mask of whole rows is an operand behind the mask: added to the scores, broadcasts to
    /// `[b, heads, s, 1]`. A row that is hidden altogether (−inf) gives zeros.
    pub row_mask: bool,
    /// A bias by distance is an operand behind the masks, `[heads, s + t − 1]`: element `j − i + s − 1` of a
    /// head is added to the score of row i and column j, before the masks.
    pub relative: bool,
    /// Rows of the result that the last operand, `[b, rows, heads·width of v]`, gives instead; ascending.
    /// So rows that see everything are computed apart.
    pub replaced: Vec<usize>,
    /// Columns of a block, a multiple of [`LANES`]: softmax and sum of values are those of each block, and
    /// blocks are joined by the logarithms of their sums. In floats the result is the same; in integers each
    /// block's probabilities have a scale of their own. Not together with a window, global columns or replaced rows.
    pub block: Option<usize>,
    /// Element type of the result.
    pub out: Elem,
}

impl Attention {
    /// Full attention of some heads with a factor on the scores.
    pub fn new(heads: usize, kv_heads: usize, scale: f32) -> Self {
        Self {
            heads,
            kv_heads,
            scale,
            softcap: None,
            causal: false,
            window: None,
            global: Vec::new(),
            mask: false,
            row_mask: false,
            relative: false,
            replaced: Vec::new(),
            block: None,
            out: Elem::F32,
        }
    }

    /// What scores are multiplied with on their way from the product to `tanh`, or to the mask where there
    /// is none.
    pub fn product_scale(&self) -> f32 {
        self.softcap.map_or(self.scale, |cap| self.scale / cap)
    }

    /// Number of operands.
    pub fn operands(&self) -> usize {
        let replaced = !self.replaced.is_empty();
        self.masks_end() + usize::from(self.relative) + usize::from(replaced)
    }

    /// Operands up to the masks.
    fn masks_end(&self) -> usize {
        3 + usize::from(self.mask) + usize::from(self.row_mask)
    }

    /// Position of the bias by distance among the operands.
    pub fn relative_operand(&self) -> Option<usize> {
        self.relative.then(|| self.masks_end())
    }

    /// Position of the mask among the operands.
    pub fn mask_operand(&self) -> Option<usize> {
        self.mask.then_some(3)
    }

    /// Position of the mask of rows among the operands.
    pub fn row_mask_operand(&self) -> Option<usize> {
        self.row_mask.then_some(3 + usize::from(self.mask))
    }

    /// Position of the rows that replace others among the operands.
    pub fn replaced_operand(&self) -> Option<usize> {
        (!self.replaced.is_empty()).then(|| self.operands() - 1)
    }

    /// Score columns that stand before the first column of the keys.
    pub fn prefix(&self) -> usize {
        self.global.len().next_multiple_of(LANES)
    }

    /// The columns that row i of s sees among t, without the global ones that lie apart; global
    /// columns in the range are seen among the global ones only.
    pub fn columns(&self, i: usize, [s, t]: [usize; 2]) -> Range<usize> {
        let own = i as isize + t as isize - s as isize;
        let clip = |column: isize| column.clamp(0, t as isize) as usize;
        let start = match self.window {
            Some(window) => clip(own.saturating_sub_unsigned(window)),
            None => 0,
        };
        let end = match (self.causal, self.window) {
            (true, _) => clip(own + 1),
            (false, Some(window)) => clip(own.saturating_add_unsigned(window).saturating_add(1)),
            (false, None) => t,
        };
        start..end.max(start)
    }

    /// The columns that at least one of some rows sees, without the global ones.
    pub fn columns_of_rows(&self, rows: &Range<usize>, size: [usize; 2]) -> Range<usize> {
        if rows.is_empty() {
            return 0..0;
        }
        let (first, last) = (
            self.columns(rows.start, size),
            self.columns(rows.end - 1, size),
        );
        first.start..last.end.max(first.start)
    }

    /// Number of pairs of a row and a column that it sees.
    pub fn pairs(&self, size: [usize; 2]) -> u64 {
        let row = |i: usize| {
            let columns = self.columns(i, size);
            let twice = self.global.iter().filter(|&g| columns.contains(g)).count();
            (columns.len() + self.global.len() - twice) as u64
        };
        match (self.window, self.causal) {
            (None, false) => size[0] as u64 * size[1] as u64,
            _ => (0..size[0]).map(row).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Attention;

    #[test]
    fn a_window_sees_its_neighbours_and_the_global_columns() {
        let mut attention = Attention::new(1, 1, 1.0);
        assert_eq!(attention.pairs([4, 6]), 24);
        attention.window = Some(1);
        assert_eq!(attention.columns(0, [8, 8]), 0..2);
        assert_eq!(attention.columns(7, [8, 8]), 6..8);
        assert_eq!(attention.columns_of_rows(&(2..5), [8, 8]), 1..6);
        assert_eq!(attention.pairs([8, 8]), 8 * 3 - 2);
        attention.global = vec![0];
        assert_eq!(attention.pairs([8, 8]), 8 * 3 - 2 + 6);
        attention.causal = true;
        assert_eq!(attention.columns(3, [8, 8]), 2..4);
        // The last rows of a longer sequence, as with a cache.
        assert_eq!(attention.columns(0, [2, 8]), 5..7);
        // Rows before the first column see nothing.
        assert_eq!(attention.columns(0, [8, 2]), 0..0);
    }
}
