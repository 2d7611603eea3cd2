//! Small stages that are carried out at once: element-wise work on masks and the like.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Reduce, Unary};
use packwright_ir::{Elem as GraphElem, NodeId, Op, Value};
use packwright_packet::defs::{self, Command};
use packwright_packet::operand::{Affine, BinaryFn, Elem, NormKind, ReduceKind, UnaryFn, View};

use super::address::{At, Site};
use crate::plan::constants::{Form, TileId};

/// An operand of any rank: address, shape and strides in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    pub elem: Elem,
    pub addr: u64,
    pub shape: Vec<usize>,
    pub strides: Vec<u64>,
}

impl Operand {
    /// Where a value or a constant lies.
    pub fn of(site: &Site<'_>, at: &At, value: Value, tiles: &[TileId]) -> Option<Self> {
        let ty = site.graph.ty(value);
        if let Some(konst) = site.graph.as_const(value) {
            let tile = tiles.iter().find(|tile| {
                let stored = site.plan.tiles[tile.0 as usize].stored;
                site.plan.layout.get(stored).form == Form::Plain { konst }
            })?;
            let elem = crate::plan::storage::machine_elem(ty.elem)?;
            let strides = row_major(&ty.shape, u64::from(elem.bytes()), None);
            return Some(Self {
                elem,
                addr: site.tile(*tile),
                shape: ty.shape.clone(),
                strides,
            });
        }
        let area = site.value_area(value, at.segment, 0)?;
        let strides = row_major(&ty.shape, u64::from(area.elem.bytes()), Some(area.pitch));
        Some(Self {
            elem: area.elem,
            addr: area.addr,
            shape: ty.shape.clone(),
            strides,
        })
    }
}

/// Strides of a row-major tensor whose rows are `pitch` bytes apart.
fn row_major(shape: &[usize], elem: u64, pitch: Option<u64>) -> Vec<u64> {
    let mut strides = vec![0; shape.len()];
    let mut next = elem;
    for (axis, &n) in shape.iter().enumerate().rev() {
        strides[axis] = next;
        next = if axis + 1 == shape.len() {
            pitch.unwrap_or(elem * n as u64)
        } else {
            next * n as u64
        };
    }
    strides
}

/// Strides of an operand along the axes of a shape that it broadcasts to.
pub fn broadcast(operand: &Operand, shape: &[usize]) -> Option<Vec<u64>> {
    let missing = shape.len().checked_sub(operand.shape.len())?;
    let mut strides = vec![0; shape.len()];
    for (axis, (&n, &stride)) in operand.shape.iter().zip(&operand.strides).enumerate() {
        match (n, shape[missing + axis]) {
            (n, wide) if n == wide => strides[missing + axis] = stride,
            (1, _) => {}
            _ => return None,
        }
    }
    Some(strides)
}

/// Most commands that one element-wise node may take.
const MOST_COMMANDS: usize = 4096;

/// Carries out a node on all of its data.
pub fn whole(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let graph = site.graph;
    let dst = Operand::of(site, at, node.into(), tiles)
        .ok_or_else(|| unsupported(site, node, "its result has no place"))?;
    let operands: Vec<Operand> = graph
        .operands(node)
        .into_iter()
        .map(|value| Operand::of(site, at, value, tiles))
        .collect::<Option<_>>()
        .ok_or_else(|| unsupported(site, node, "an operand has no place"))?;
    match graph.op(node) {
        Op::Unary(unary) => {
            let func = unary_fn(*unary)
                .ok_or_else(|| unsupported(site, node, "the vector unit has no such function"))?;
            elementwise(site, node, &operands, &dst, |rows, cols, v, dst| {
                Command::Unary(defs::Unary {
                    rows,
                    cols,
                    func,
                    src: v[0],
                    dst,
                })
            })
        }
        Op::Cast { to } => cast(site, node, *to, &operands, &dst),
        Op::Expand { .. } | Op::Dequantize { .. } if operands.len() == 1 => {
            elementwise(site, node, &operands, &dst, |rows, cols, v, dst| {
                Command::Unary(defs::Unary {
                    rows,
                    cols,
                    func: UnaryFn::Identity,
                    src: v[0],
                    dst,
                })
            })
        }
        Op::Transpose { perm } => {
            let source = &operands[0];
            let turned = Operand {
                elem: source.elem,
                addr: source.addr,
                shape: perm.iter().map(|&p| source.shape[p]).collect(),
                strides: perm.iter().map(|&p| source.strides[p]).collect(),
            };
            elementwise(site, node, &[turned], &dst, |rows, cols, v, dst| {
                moved(rows, cols, v[0], dst)
            })
        }
        Op::Reshape { .. } => Ok(vec![flatten(&operands[0], &dst)]),
        Op::Gather { axis: 0 } => rows_by_index(site, node, &operands, &dst),
        Op::Slice { start, step, .. } => {
            let source = &operands[0];
            let positive: Option<Vec<u64>> = step
                .iter()
                .map(|&step| u64::try_from(step).ok().filter(|&step| step > 0))
                .collect();
            let Some(step) = positive else {
                return Err(unsupported(site, node, "it walks backwards"));
            };
            let first = start.iter().zip(&source.strides);
            let cut = Operand {
                elem: source.elem,
                addr: source.addr + first.map(|(&i, stride)| i as u64 * stride).sum::<u64>(),
                shape: dst.shape.clone(),
                strides: source
                    .strides
                    .iter()
                    .zip(step)
                    .map(|(s, step)| s * step)
                    .collect(),
            };
            elementwise(site, node, &[cut], &dst, |rows, cols, v, dst| {
                moved(rows, cols, v[0], dst)
            })
        }
        Op::Binary(binary) => {
            let func = binary_fn(*binary)
                .ok_or_else(|| unsupported(site, node, "the vector unit has no such function"))?;
            elementwise(site, node, &operands, &dst, |rows, cols, v, dst| {
                Command::Binary(defs::Binary {
                    rows,
                    cols,
                    func,
                    a: v[0],
                    b: v[1],
                    dst,
                })
            })
        }
        Op::Where => elementwise(site, node, &operands, &dst, |rows, cols, v, dst| {
            Command::Select(defs::Select {
                rows,
                cols,
                cond: v[0],
                a: v[1],
                b: v[2],
                dst,
            })
        }),
        Op::Reduce { kind, axes, .. } if axes == &[operands[0].shape.len() - 1] => {
            reduce(site, node, *kind, &operands[0], &dst)
        }
        Op::CumSum { axis } if axis + 1 == dst.shape.len() => {
            elementwise(site, node, &operands, &dst, |rows, cols, v, dst| {
                Command::Scan(defs::Scan {
                    rows,
                    cols,
                    src: v[0],
                    dst,
                })
            })
        }
        Op::Concat { axis } => Ok(concat(*axis, &operands, &dst)),
        _ => Err(unsupported(site, node, "there is no lowering for it")),
    }
}

/// Takes rows of a computed matrix by indices that are known at run time.
fn rows_by_index(
    site: &Site<'_>,
    node: NodeId,
    operands: &[Operand],
    dst: &Operand,
) -> Result<Vec<Command>, Diagnostic> {
    let [table, index] = operands else {
        return Err(unsupported(site, node, "it has other operands"));
    };
    let (&[rows, cols], &[pitch, _]) = (&table.shape[..], &table.strides[..]) else {
        return Err(unsupported(site, node, "its operand is no matrix"));
    };
    let count = index.shape.iter().product::<usize>() as u64;
    let to = dst
        .strides
        .len()
        .checked_sub(2)
        .map_or(0, |at| dst.strides[at]);
    Ok(vec![Command::Lookup(defs::Lookup {
        rows: count.into(),
        cols: (cols as u64).into(),
        index: View::row(index.elem, index.addr),
        table: View::rows(table.elem, table.addr, pitch as u32),
        table_rows: rows as u32,
        dst: View::rows(dst.elem, dst.addr, to as u32),
    })])
}

/// Copies the rows of an operand one behind the other: the result has no gaps between its rows.
fn flatten(source: &Operand, dst: &Operand) -> Command {
    let (cols, outer) = source.shape.split_last().map_or((1, 1), |(cols, outer)| {
        (*cols as u64, outer.iter().product::<usize>() as u64)
    });
    let pitch = source
        .strides
        .len()
        .checked_sub(2)
        .map_or(0, |axis| source.strides[axis]);
    let packed = cols * u64::from(dst.elem.bytes());
    let src = View::rows(source.elem, source.addr, pitch as u32);
    let dst = View::rows(dst.elem, dst.addr, packed as u32);
    moved(outer.into(), cols.into(), src, dst)
}

/// Moves elements; results of the model may be wider than what they come from.
fn moved(rows: Affine, cols: Affine, src: View, dst: View) -> Command {
    match src.elem == dst.elem {
        true => Command::Copy(defs::Copy {
            rows,
            cols,
            src,
            dst,
        }),
        false => Command::Unary(defs::Unary {
            rows,
            cols,
            func: UnaryFn::Identity,
            src,
            dst,
        }),
    }
}

/// Applies a command to two-dimensional slices of broadcast operands.
fn elementwise(
    site: &Site<'_>,
    node: NodeId,
    operands: &[Operand],
    dst: &Operand,
    make: impl Fn(Affine, Affine, &[View], View) -> Command,
) -> Result<Vec<Command>, Diagnostic> {
    let mut shape = dst.shape.clone();
    let mut strides: Vec<Vec<u64>> = operands
        .iter()
        .map(|operand| broadcast(operand, &dst.shape))
        .collect::<Option<_>>()
        .ok_or_else(|| unsupported(site, node, "its operands do not broadcast"))?;
    strides.push(dst.strides.clone());
    while shape.len() < 2 {
        shape.insert(0, 1);
        strides.iter_mut().for_each(|s| s.insert(0, 0));
    }
    let outer = &shape[..shape.len() - 2];
    let count: usize = outer.iter().product();
    if count > MOST_COMMANDS {
        return Err(unsupported(site, node, "it would take too many commands"));
    }
    let (rows, cols) = (shape[shape.len() - 2] as u64, shape[shape.len() - 1] as u64);
    let mut commands = Vec::with_capacity(count);
    for index in 0..count {
        let view = |position: usize, elem: Elem, addr: u64| {
            let strides = &strides[position];
            let mut rest = index;
            let mut offset = 0;
            for axis in (0..outer.len()).rev() {
                offset += (rest % outer[axis]) as u64 * strides[axis];
                rest /= outer[axis];
            }
            View {
                elem,
                addr: (addr + offset).into(),
                pitch: strides[outer.len()] as u32,
                step: strides[outer.len() + 1] as u32,
            }
        };
        let views: Vec<View> = operands
            .iter()
            .enumerate()
            .map(|(i, o)| view(i, o.elem, o.addr))
            .collect();
        let dst = view(operands.len(), dst.elem, dst.addr);
        commands.push(make(rows.into(), cols.into(), &views, dst));
    }
    Ok(commands)
}

fn cast(
    site: &Site<'_>,
    node: NodeId,
    to: GraphElem,
    operands: &[Operand],
    dst: &Operand,
) -> Result<Vec<Command>, Diagnostic> {
    let from = site.graph.ty(site.graph.operands(node)[0]).elem;
    let unary = |func: UnaryFn, source: &[Operand]| {
        elementwise(site, node, source, dst, move |rows, cols, v, dst| {
            Command::Unary(defs::Unary {
                rows,
                cols,
                func,
                src: v[0],
                dst,
            })
        })
    };
    if to == GraphElem::Bool && from != GraphElem::Bool {
        // x ≠ 0 is not (not x).
        let mut commands = unary(UnaryFn::Not, operands)?;
        commands.extend(unary(UnaryFn::Not, std::slice::from_ref(dst))?);
        return Ok(commands);
    }
    unary(UnaryFn::Identity, operands)
}

fn reduce(
    site: &Site<'_>,
    node: NodeId,
    kind: Reduce,
    source: &Operand,
    dst: &Operand,
) -> Result<Vec<Command>, Diagnostic> {
    let kind = match kind {
        Reduce::Sum => ReduceKind::Sum,
        Reduce::Mean => ReduceKind::Mean,
        Reduce::Max => ReduceKind::Max,
        Reduce::Min => ReduceKind::Min,
        Reduce::Prod | Reduce::LogSumExp | Reduce::SumSquare => {
            return Err(unsupported(
                site,
                node,
                "the vector unit has no such reduction",
            ));
        }
    };
    let (cols, outer) = source
        .shape
        .split_last()
        .map_or((1, 1), |(c, o)| (*c, o.iter().product()));
    let pitch = source
        .strides
        .len()
        .checked_sub(2)
        .map_or(0, |axis| source.strides[axis]);
    Ok(vec![Command::Reduce(defs::Reduce {
        rows: (outer as u64).into(),
        cols: (cols as u64).into(),
        kind,
        src: View::rows(source.elem, source.addr, pitch as u32),
        dst: View::rows(dst.elem, dst.addr, dst.elem.bytes()),
    })])
}

/// Copies each operand to its place along the axis.
fn concat(axis: usize, operands: &[Operand], dst: &Operand) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut start = 0;
    for operand in operands {
        let outer: usize = operand.shape[..axis].iter().product();
        let inner: usize = operand.shape[axis..].iter().product();
        let from = if axis == 0 {
            0
        } else {
            operand.strides[axis - 1]
        };
        let to = if axis == 0 { 0 } else { dst.strides[axis - 1] };
        let (rows, cols) = ((outer as u64).into(), (inner as u64).into());
        let src = View::rows(operand.elem, operand.addr, from as u32);
        let to_addr = dst.addr + start as u64 * dst.strides[axis];
        let part = View::rows(dst.elem, to_addr, to as u32);
        commands.push(moved(rows, cols, src, part));
        start += operand.shape[axis];
    }
    commands
}

/// The machine's norm for a graph norm.
pub fn norm_kind(op: &Op) -> Option<(NormKind, f32)> {
    match op {
        Op::LayerNorm { eps, .. } => Some((NormKind::Layer, *eps)),
        Op::RmsNorm { eps, .. } => Some((NormKind::Rms, *eps)),
        _ => None,
    }
}

/// Whether the machine has a function for an element-wise node.
pub fn has_function(op: &Op) -> bool {
    match op {
        Op::Binary(binary) => binary_fn(*binary).is_some(),
        op => elementwise_fn(op).is_some(),
    }
}

/// The machine's function for a node that changes each element of one value.
pub fn elementwise_fn(op: &Op) -> Option<UnaryFn> {
    match op {
        Op::Unary(unary) => unary_fn(*unary),
        Op::Cast { .. } => Some(UnaryFn::Identity),
        _ => None,
    }
}

fn unary_fn(unary: Unary) -> Option<UnaryFn> {
    Some(match unary {
        Unary::Neg => UnaryFn::Neg,
        Unary::Abs => UnaryFn::Abs,
        Unary::Sqrt => UnaryFn::Sqrt,
        Unary::Rsqrt => UnaryFn::Rsqrt,
        Unary::Reciprocal => UnaryFn::Reciprocal,
        Unary::Exp => UnaryFn::Exp,
        Unary::Log => UnaryFn::Ln,
        Unary::Erf => UnaryFn::Erf,
        Unary::Tanh => UnaryFn::Tanh,
        Unary::Sigmoid => UnaryFn::Sigmoid,
        Unary::Relu => UnaryFn::Relu,
        Unary::GeluErf => UnaryFn::GeluErf,
        Unary::GeluTanh => UnaryFn::GeluTanh,
        Unary::Silu => UnaryFn::Silu,
        Unary::Sin => UnaryFn::Sin,
        Unary::Cos => UnaryFn::Cos,
        Unary::Not => UnaryFn::Not,
        Unary::IsNan | Unary::Floor | Unary::Ceil | Unary::Round => return None,
    })
}

/// The machine's function for a graph's function of two values.
pub fn binary_fn(binary: Binary) -> Option<BinaryFn> {
    Some(match binary {
        Binary::Add => BinaryFn::Add,
        Binary::Sub => BinaryFn::Sub,
        Binary::Mul => BinaryFn::Mul,
        Binary::Div => BinaryFn::Div,
        Binary::Pow => BinaryFn::Pow,
        Binary::Min => BinaryFn::Min,
        Binary::Max => BinaryFn::Max,
        Binary::Equal => BinaryFn::Equal,
        Binary::Less => BinaryFn::Less,
        Binary::LessOrEqual => BinaryFn::LessOrEqual,
        Binary::Greater => BinaryFn::Greater,
        Binary::GreaterOrEqual => BinaryFn::GreaterOrEqual,
        Binary::And => BinaryFn::And,
        Binary::Or => BinaryFn::Or,
        Binary::Mod | Binary::Xor => return None,
    })
}

fn unsupported(site: &Site<'_>, node: NodeId, reason: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "emit-operator",
        format!("{:?} has no packet form: {reason}", site.graph.op(node)),
    )
    .at(node.to_string())
    .help("report the model; the operators that are lowered stand in docs/supported-ops.md")
}
