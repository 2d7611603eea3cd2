//! Where the axes of a factor went: batch, heads, rows and width under transpositions and reshapes.

use packwright_ir::{Graph, Op, Value};

use super::unscaled;
use crate::graph::matching::only_user;

/// Rows that hold heads side by side: `[b, rows, groups·width]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub value: Value,
    pub groups: usize,
    /// Factor that the way to the value multiplied with.
    pub scale: f64,
    /// Order of the four axes that makes the value `[b, rows, groups, width]`, where it is not yet in rows.
    pub perm: Option<[usize; 4]>,
}

/// What an axis means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Batch,
    Head,
    Row,
    Width,
}

/// A part of an axis: `size` steps of `stride` within its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Atom {
    role: Role,
    size: usize,
    stride: usize,
}

/// The atoms of each axis of a value, outermost first; axes of length 1 have none.
#[derive(Clone, Debug)]
struct Layout(Vec<Vec<Atom>>);

impl Layout {
    /// `[b, h, rows, width]`, or the last two exchanged; three axes are one batch.
    fn of_heads(shape: &[usize], transposed: bool) -> Option<Self> {
        let tail = if transposed {
            [Role::Width, Role::Row]
        } else {
            [Role::Row, Role::Width]
        };
        let roles = match shape.len() {
            4 => vec![Role::Batch, Role::Head, tail[0], tail[1]],
            3 => vec![Role::Head, tail[0], tail[1]],
            _ => return None,
        };
        let axis = |(role, &size): (Role, &usize)| match size {
            1 => Vec::new(),
            _ => vec![Atom {
                role,
                size,
                stride: 1,
            }],
        };
        Some(Self(roles.into_iter().zip(shape).map(axis).collect()))
    }

    /// `[b, rows, heads·width]`.
    fn of_rows(&[batch, rows, columns]: &[usize; 3], heads: usize) -> Self {
        let axis = |parts: &[(Role, usize)]| {
            let atom = |&(role, size): &(Role, usize)| Atom {
                role,
                size,
                stride: 1,
            };
            let long = parts.iter().filter(|(_, size)| *size != 1);
            long.map(atom).collect()
        };
        Self(vec![
            axis(&[(Role::Batch, batch)]),
            axis(&[(Role::Row, rows)]),
            axis(&[(Role::Head, heads), (Role::Width, columns / heads.max(1))]),
        ])
    }

    /// The atoms in order, grouped to another shape; atoms are split where they must.
    fn regroup(&self, shape: &[usize]) -> Option<Self> {
        let mut atoms: Vec<Atom> = self.0.iter().flatten().rev().copied().collect();
        let mut axes = Vec::with_capacity(shape.len());
        for &length in shape {
            let (mut axis, mut left) = (Vec::new(), length);
            while left > 1 {
                let atom = atoms.pop()?;
                if left.is_multiple_of(atom.size) {
                    left /= atom.size;
                    axis.push(atom);
                } else if atom.size.is_multiple_of(left) {
                    let inner = atom.size / left;
                    axis.push(Atom {
                        size: left,
                        stride: atom.stride * inner,
                        ..atom
                    });
                    atoms.push(Atom {
                        size: inner,
                        ..atom
                    });
                    left = 1;
                } else {
                    return None;
                }
            }
            axes.push(axis);
        }
        atoms.is_empty().then_some(Self(axes))
    }

    /// Number of heads side by side, where the layout is `[b, rows, heads·width]` and each head stands
    /// for `repeated` of the others.
    fn groups(&self, repeated: usize) -> Option<usize> {
        let [batch, rows, columns] = &self.0[..] else {
            return None;
        };
        let only = |atoms: &[Atom], role: Role, least: usize| {
            let ordered = atoms
                .windows(2)
                .all(|w| w[0].stride == w[1].stride * w[1].size);
            let ends = atoms.last().is_none_or(|atom| atom.stride == least);
            atoms.iter().all(|atom| atom.role == role) && ordered && ends
        };
        let split = columns.iter().position(|atom| atom.role != Role::Head);
        let (heads, width) = columns.split_at(split.unwrap_or(columns.len()));
        let fits = only(batch, Role::Batch, 1)
            && only(rows, Role::Row, 1)
            && only(heads, Role::Head, repeated)
            && only(width, Role::Width, 1);
        fits.then(|| heads.iter().map(|atom| atom.size).product())
    }

    /// Order of four axes, one for each role, that gives `[b, rows, heads, width]`, and the number of
    /// heads; each stands for `repeated` of the others.
    fn apart(&self, repeated: usize) -> Option<([usize; 4], usize)> {
        if self.0.len() != 4 {
            return None;
        }
        let mut places = [None; 4];
        let order = [Role::Batch, Role::Row, Role::Head, Role::Width];
        for (axis, atoms) in self.0.iter().enumerate() {
            let [atom] = atoms[..] else {
                if atoms.is_empty() {
                    continue;
                }
                return None;
            };
            let least = if atom.role == Role::Head { repeated } else { 1 };
            let place = order.iter().position(|&role| role == atom.role)?;
            if atom.stride != least || places[place].replace(axis).is_some() {
                return None;
            }
        }
        // Axes of length 1 fill the places that are left, in order.
        let mut single = (0..4).filter(|&axis| self.0[axis].is_empty());
        let mut perm = [0; 4];
        for (place, axis) in perm.iter_mut().zip(places) {
            *place = axis.or_else(|| single.next())?;
        }
        let heads = self.0[perm[2]].iter().map(|atom| atom.size).product();
        Some((perm, heads))
    }
}

/// Goes up from a factor to the rows that it was made from. Where it was not made from rows, the last
/// value on the way whose axes only have to be exchanged will do: a cache of heads, say.
pub(super) fn heads(graph: &Graph, value: Value, transposed: bool, scales: bool) -> Option<Heads> {
    let mut value = value;
    let mut layout = Layout::of_heads(&graph.ty(value).shape, transposed)?;
    let (mut repeated, mut scale) = (1, 1.0);
    let mut last = None;
    loop {
        if scales {
            let factor;
            (value, factor) = unscaled(graph, value);
            scale *= factor;
        }
        if let Some(groups) = layout.groups(repeated) {
            return Some(Heads {
                value,
                groups,
                scale,
                perm: None,
            });
        }
        if let Some((perm, groups)) = layout.apart(repeated) {
            last = Some(Heads {
                value,
                groups,
                scale,
                perm: Some(perm),
            });
        }
        let Some(above) = up(graph, value, &layout, &mut repeated) else {
            return last;
        };
        (value, layout) = above;
    }
}

/// Goes up from rows with all heads side by side to those that were repeated to make them: fewer heads,
/// each read by several.
pub(super) fn repeated(graph: &Graph, value: Value, heads: usize) -> Option<Heads> {
    let shape = <[usize; 3]>::try_from(graph.ty(value).shape.as_slice()).ok()?;
    let (mut value, mut layout) = (value, Layout::of_rows(&shape, heads));
    let (mut times, mut found) = (1, None);
    while let Some(above) = up(graph, value, &layout, &mut times) {
        (value, layout) = above;
        let rows = layout.groups(times).map(|groups| (groups, None));
        let axes = || {
            layout
                .apart(times)
                .map(|(perm, groups)| (groups, Some(perm)))
        };
        if let Some((groups, perm)) = rows.or_else(axes)
            && groups < heads
        {
            found = Some(Heads {
                value,
                groups,
                scale: 1.0,
                perm,
            });
        }
        if found.is_some_and(|heads| heads.perm.is_none()) {
            break;
        }
    }
    found
}

/// What a value was made from by moving or repeating elements, and where the axes lie there.
fn up(
    graph: &Graph,
    value: Value,
    layout: &Layout,
    repeated: &mut usize,
) -> Option<(Value, Layout)> {
    let x = graph.operand(value.node, 0)?;
    let from = &graph.ty(x).shape;
    let layout = match graph.op(value.node) {
        Op::Transpose { perm } => {
            let mut axes = vec![Vec::new(); perm.len()];
            for (axis, &p) in layout.0.iter().zip(perm) {
                axes[p].clone_from(axis);
            }
            Layout(axes)
        }
        Op::Reshape { .. } => layout.regroup(from)?,
        Op::Expand { shape } => {
            let added = shape.len() - from.len();
            let mut axes = Vec::new();
            let mut times = 1;
            for (i, axis) in layout.0.iter().enumerate() {
                let kept = i >= added && from[i - added] == shape[i];
                if !kept && axis.iter().any(|atom| atom.role != Role::Head) {
                    return None;
                }
                if !kept {
                    times *= axis.iter().map(|atom| atom.size).product::<usize>();
                }
                if i >= added {
                    axes.push(if kept { axis.clone() } else { Vec::new() });
                }
            }
            *repeated *= times;
            Layout(axes)
        }
        _ => return None,
    };
    Some((x, layout))
}

/// Goes down from a result `[b, h, rows, width]` to the value that puts its heads side by side, if
/// nobody reads anything on the way.
pub(super) fn below(graph: &Graph, result: Value) -> Option<Value> {
    let mut value = result;
    let mut layout = Layout::of_heads(&graph.ty(value).shape, false)?;
    loop {
        if layout.groups(1).is_some() {
            return Some(value);
        }
        let (user, _) = only_user(graph, value)?;
        layout = match graph.op(user) {
            Op::Transpose { perm } => Layout(perm.iter().map(|&p| layout.0[p].clone()).collect()),
            Op::Reshape { shape } => layout.regroup(shape)?,
            _ => return None,
        };
        value = user.into();
    }
}
