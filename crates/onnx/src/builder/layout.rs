//! Moves of elements, as other operators use them too. What would move nothing leaves no node.

use packwright_ir::diag::Diagnostic;
use packwright_ir::konst::Derivation;
use packwright_ir::{Elem, Op, Type, infer};

use super::{Arg, Builder, too_large};
use crate::{codes, lazy};

impl Builder {
    /// Same elements in another shape; of a weight, another view of it.
    pub(crate) fn reshape(&mut self, x: &Arg, shape: &[usize]) -> Result<Arg, Diagnostic> {
        let ty = self.ty(x)?;
        if ty.shape == shape {
            return Ok(x.clone());
        }
        let op = Op::Reshape {
            shape: shape.to_vec(),
        };
        let [result] = &infer::infer(&op, &[&ty])?[..] else {
            return Err(codes::form("there is no result"));
        };
        match self.as_const(x) {
            Some(of) => Ok(self.derive(of, result.clone(), Derivation::Reshape { of })),
            None => self.emit(op, &[x]),
        }
    }

    /// Axes exchanged; of a weight, another view of it.
    pub(crate) fn transpose(&mut self, x: &Arg, perm: &[usize]) -> Result<Arg, Diagnostic> {
        let ty = self.ty(x)?;
        if perm.len() == ty.rank() && perm.iter().enumerate().all(|(i, &axis)| i == axis) {
            return Ok(x.clone());
        }
        let op = Op::Transpose {
            perm: perm.to_vec(),
        };
        let [result] = &infer::infer(&op, &[&ty])?[..] else {
            return Err(codes::form("there is no result"));
        };
        match self.as_const(x) {
            Some(of) => {
                let how = Derivation::Transpose {
                    of,
                    perm: perm.to_vec(),
                };
                Ok(self.derive(of, result.clone(), how))
            }
            None => self.emit(op, &[x]),
        }
    }

    /// Repeats along axes of length 1 and new leading axes.
    pub(crate) fn expand(&mut self, x: &Arg, shape: &[usize]) -> Result<Arg, Diagnostic> {
        if self.shape(x)? == shape {
            return Ok(x.clone());
        }
        let op = Op::Expand {
            shape: shape.to_vec(),
        };
        for ty in infer::infer(&op, &[&self.ty(x)?])? {
            if too_large(&ty) {
                return Err(codes::too_large(&ty));
            }
        }
        match lazy::spread(self, x, shape) {
            Some(arg) => Ok(arg),
            None => self.emit(op, &[x]),
        }
    }

    /// Converts the elements.
    pub(crate) fn cast(&mut self, x: &Arg, to: Elem) -> Result<Arg, Diagnostic> {
        if self.ty(x)?.elem == to {
            return Ok(x.clone());
        }
        self.emit(Op::Cast { to }, &[x])
    }

    /// Joins along an axis; parts without elements are left out.
    pub(crate) fn concat(&mut self, parts: &[&Arg], axis: usize) -> Result<Arg, Diagnostic> {
        let types = parts
            .iter()
            .map(|p| self.ty(p))
            .collect::<Result<Vec<Type>, _>>()?;
        // The rule sees all parts, so that a wrong empty one is found as well.
        let result = infer::infer(&Op::Concat { axis }, &types.iter().collect::<Vec<_>>())?;
        let full = |ty: &Type| ty.elements() > 0;
        let mut kept: Vec<&Arg> = parts
            .iter()
            .zip(&types)
            .filter(|(_, ty)| full(ty))
            .map(|(p, _)| *p)
            .collect();
        if kept.is_empty() {
            kept = parts.to_vec();
        }
        if let [only] = kept[..] {
            return Ok(only.clone());
        }
        if let [ty] = &result[..]
            && axis + 1 == ty.rank()
            && let Some(arg) = lazy::columns(self, &kept, ty)
        {
            return Ok(arg);
        }
        self.emit(Op::Concat { axis }, &kept)
    }

    /// Elements of each axis.
    pub(crate) fn slice(
        &mut self,
        x: &Arg,
        start: Vec<usize>,
        count: Vec<usize>,
        step: Vec<isize>,
    ) -> Result<Arg, Diagnostic> {
        if self.shape(x)? == count && start.iter().all(|&s| s == 0) && step.iter().all(|&s| s == 1)
        {
            return Ok(x.clone());
        }
        self.emit(Op::Slice { start, count, step }, &[x])
    }

    /// A piece of one axis.
    pub(crate) fn cut(
        &mut self,
        x: &Arg,
        axis: usize,
        start: usize,
        count: usize,
    ) -> Result<Arg, Diagnostic> {
        let mut counts = self.shape(x)?;
        let mut starts = vec![0; counts.len()];
        let steps = vec![1; counts.len()];
        counts[axis] = count;
        starts[axis] = if count == 0 { 0 } else { start };
        self.slice(x, starts, counts, steps)
    }

    /// The tensor with a box of it replaced, from the first index on each axis.
    pub(crate) fn insert(
        &mut self,
        x: &Arg,
        part: &Arg,
        start: &[usize],
    ) -> Result<Arg, Diagnostic> {
        let (whole, inner) = (self.shape(x)?, self.shape(part)?);
        let Some(axis) = (0..whole.len()).find(|&i| whole[i] != inner[i]) else {
            return Ok(part.clone());
        };
        let (from, count) = (start.get(axis).copied().unwrap_or(0), inner[axis]);
        let end = from + count;
        let before = self.cut(x, axis, 0, from)?;
        let between = self.cut(x, axis, from, count)?;
        let between = self.insert(&between, part, start)?;
        let after = self.cut(x, axis, end, whole[axis].saturating_sub(end))?;
        self.concat(&[&before, &between, &after], axis)
    }

    /// The elements of one axis in the other direction.
    pub(crate) fn reverse(&mut self, x: &Arg, axis: usize) -> Result<Arg, Diagnostic> {
        let counts = self.shape(x)?;
        let mut starts = vec![0; counts.len()];
        let mut steps = vec![1; counts.len()];
        starts[axis] = counts[axis].saturating_sub(1);
        steps[axis] = -1;
        self.emit(
            Op::Slice {
                start: starts,
                count: counts,
                step: steps,
            },
            &[x],
        )
    }
}
