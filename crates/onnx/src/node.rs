//! A node of the model as an operator's function sees it.

use std::cell::Cell;

use packwright_ir::diag::Diagnostic;

use crate::attr::Attrs;
use crate::builder::Arg;
use crate::codes;

/// A node with its operands.
#[derive(Debug)]
pub(crate) struct Node<'m> {
    pub(crate) attrs: Attrs<'m>,
    /// Operands; `None` where the model leaves one out.
    pub(crate) args: Vec<Option<Arg>>,
    /// Version of the operator set.
    pub(crate) opset: i64,
    /// How many results are asked for.
    pub(crate) results: usize,
    /// The operand whose values had to be known and were not.
    pub(crate) undecided: Cell<Option<usize>>,
}

impl<'m> Node<'m> {
    /// The same with other operands.
    pub(crate) fn with(&self, args: Vec<Option<Arg>>) -> Self {
        Self {
            attrs: self.attrs,
            args,
            opset: self.opset,
            results: self.results,
            undecided: Cell::new(None),
        }
    }

    /// An operand that has to be there.
    pub(crate) fn arg(&self, at: usize) -> Result<&Arg, Diagnostic> {
        self.opt(at).ok_or_else(|| codes::operand_missing(at))
    }

    /// An operand that may be left out.
    pub(crate) fn opt(&self, at: usize) -> Option<&Arg> {
        self.args.get(at).and_then(Option::as_ref)
    }

    /// All operands of an operator that takes any number.
    pub(crate) fn all(&self) -> Result<Vec<&Arg>, Diagnostic> {
        (0..self.args.len().max(1)).map(|at| self.arg(at)).collect()
    }

    /// Integers from an attribute or, in later versions, from an operand.
    pub(crate) fn ints(&self, name: &str, at: usize) -> Result<Option<Vec<i64>>, Diagnostic> {
        if let Some(ints) = self.attrs.ints(name)? {
            return Ok(Some(ints.to_vec()));
        }
        self.opt(at)
            .map(|arg| self.constant(arg, at, name))
            .transpose()
    }

    /// The integers of an operand that must be known when the model is imported.
    pub(crate) fn need_ints(&self, at: usize, what: &str) -> Result<Vec<i64>, Diagnostic> {
        self.constant(self.arg(at)?, at, what)
    }

    /// One integer of an operand that must be known.
    pub(crate) fn need_int(&self, at: usize, what: &str) -> Result<i64, Diagnostic> {
        match self.need_ints(at, what)?[..] {
            [n] => Ok(n),
            _ => Err(codes::form(format!("{what} is not one number"))),
        }
    }

    /// The complaint that something depends on the values of an operand, which are not known.
    pub(crate) fn data_dependent(&self, at: usize, what: &str) -> Diagnostic {
        self.undecided.set(Some(at));
        codes::data_dependent(what)
    }

    fn constant(&self, arg: &Arg, at: usize, what: &str) -> Result<Vec<i64>, Diagnostic> {
        match arg.tensor() {
            Some(tensor) => crate::values::integers(tensor)
                .ok_or_else(|| codes::form(format!("{what} is not made of integers"))),
            None => Err(self.data_dependent(at, what)),
        }
    }
}

/// An axis counted from either end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Diagnostic> {
    let from_end = if axis < 0 {
        axis.checked_add(rank as i64)
    } else {
        Some(axis)
    };
    from_end
        .and_then(|a| usize::try_from(a).ok())
        .filter(|&a| a < rank)
        .ok_or_else(|| codes::axis_range(axis, rank))
}

/// Axes counted from either end, all different.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Diagnostic> {
    let mut axes = Vec::with_capacity(list.len());
    for &a in list {
        let a = axis(a, rank)?;
        if axes.contains(&a) {
            return Err(codes::form(format!("axis {a} is named twice")));
        }
        axes.push(a);
    }
    Ok(axes)
}
