//! Sorting by hash: coordinates in two parts of eight bits, arg-max, sort.
//!
//! `x ≈ main + rest` and `rotation ≈ main + rest`, each part with its own scales, so a coordinate is
//! the sum of three products with exact sums.

use packwright_ir::diag::Diagnostic;
use packwright_ir::{Elem as GraphElem, NodeId};
use packwright_packet::defs::{self, Command};
use packwright_packet::operand::{BinaryFn, Elem, Hold, ReduceKind, UnaryFn, View};

use super::address::{At, Site};
use crate::plan::chunk::{ChunkPart, HashScratch, HashShape, Step};
use crate::plan::constants::TileId;

/// Carries out a step of a sort by hash.
pub fn hash(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    part: &ChunkPart,
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let shape = HashShape::of(site.graph, node)
        .ok_or_else(|| unsupported(node, "it sorts nothing by hash"))?;
    match part.step {
        Step::Rotate { round, copy } => rotate(site, at, node, &shape, part, (round, copy), tiles),
        Step::Sort => sort(site, at, node, &shape, part),
        Step::Prepare
        | Step::Gather { .. }
        | Step::Attend { .. }
        | Step::Restore { .. }
        | Step::Join => Err(unsupported(node, "it has no such step")),
    }
}

/// Buckets of some rows in one round.
fn rotate(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    shape: &HashShape,
    part: &ChunkPart,
    (round, copy): (usize, u8),
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let x = site.graph.operands(node)[0];
    let row = part.batch * shape.rows + at.block.start;
    let source = site
        .value_area(x, at.segment, row)
        .ok_or_else(|| unsupported(node, "its rows have no place"))?
        .column(part.head * shape.width, None)
        .view();
    let [main_lines, rest_lines] = tiles else {
        return Err(unsupported(node, "its rotations are not in two parts"));
    };
    let base = site.scratch(at, 1, copy);
    let rows = at.block.len();
    let place = HashScratch::of(shape, rows);
    let width = shape.width as u32;
    let main = Quantized::at(base + place.main, base + place.main_scale, width);
    let rest = Quantized::at(base + place.rest, base + place.rest_scale, width);
    let lost = View::rows(Elem::F32, base + place.lost, width * 4);
    let size = |n: usize| (n as u64).into();
    let (m, k) = (size(rows), size(shape.width));
    let mut commands = vec![
        main.quantize(rows, shape.width, source),
        Command::Dequantize(defs::Dequantize {
            rows: m,
            cols: k,
            src: main.q,
            scale: View::column(Elem::F32, base + place.main_scale, 4),
            addend: None,
            dst: lost,
        }),
        Command::Binary(defs::Binary {
            rows: m,
            cols: k,
            func: BinaryFn::Sub,
            a: source,
            b: lost,
            dst: lost,
        }),
        rest.quantize(rows, shape.width, lost),
    ];
    let buckets =
        site.scratch(at, 0, part.of_head) + 4 * (round * shape.rows + at.block.start) as u64;
    let bucket = View::rows(Elem::F32, buckets, 4);
    let pitch = 2 * shape.attrs.coordinates() as u32 * 4;
    let (mut first, mut worth) = (0, 1.0f32);
    for &factor in &shape.attrs.factors {
        let half = factor / 2;
        let both = base + place.both + 8 * first as u64;
        let plus = View::rows(Elem::F32, both, pitch);
        let minus = View::rows(Elem::F32, both + 4 * half as u64, pitch);
        let parts = [
            (&main, *main_lines, 0),
            (&main, *rest_lines, 1),
            (&rest, *main_lines, 0),
        ];
        for (index, (rows_of, tile, which)) in parts.into_iter().enumerate() {
            let stored = site.plan.layout.get(site.plan.layout.of(node)[which]);
            let record = stored.record();
            let lines = site.tile(tile) + first as u64 * record;
            commands.push(Command::Matmul(defs::Matmul {
                m,
                n: size(half),
                k,
                a: rows_of.q,
                b: View::rows(Elem::I8, lines, record as u32),
                hold: Hold::B,
                group: k,
                a_scale: Some(rows_of.scale),
                a_zero: 0,
                b_bits: 8,
                b_group: k,
                b_step: None,
                b_zero: None,
                b_scale: Some(View {
                    elem: Elem::F32,
                    addr: (lines + stored.scale_offset()).into(),
                    pitch: 0,
                    step: record as u32,
                }),
                alpha: 1.0,
                bias: None,
                activation: UnaryFn::Identity,
                residual: (index > 0).then_some(plus),
                acc: None,
                start: true,
                finish: true,
                out: plus,
                out_scale: 1.0,
            }));
        }
        commands.push(Command::Unary(defs::Unary {
            rows: m,
            cols: size(half),
            func: UnaryFn::Neg,
            src: plus,
            dst: minus,
        }));
        let digit = View::rows(Elem::F32, base + place.digit, 4);
        let to = if first == 0 { bucket } else { digit };
        commands.push(Command::Reduce(defs::Reduce {
            rows: m,
            cols: size(factor),
            kind: ReduceKind::ArgMax,
            src: plus,
            dst: to,
        }));
        if first > 0 {
            add_digit(
                &mut commands,
                rows,
                worth,
                digit,
                bucket,
                base + place.worth,
            );
        }
        first += half;
        worth *= factor as f32;
    }
    Ok(commands)
}

/// `bucket += digit · worth`, rows side by side.
fn add_digit(
    commands: &mut Vec<Command>,
    rows: usize,
    worth: f32,
    digit: View,
    bucket: View,
    cell: u64,
) {
    let (one, cols) = (1u64.into(), (rows as u64).into());
    let flat = |view: View| View::rows(Elem::F32, view.addr, 0);
    let number = View {
        elem: Elem::F32,
        addr: cell.into(),
        pitch: 0,
        step: 0,
    };
    commands.push(Command::Fill(defs::Fill {
        rows: one,
        cols: 1u64.into(),
        value: worth,
        dst: View::rows(Elem::F32, cell, 4),
        step: 0.0,
    }));
    for (func, a, b, dst) in [
        (BinaryFn::Mul, digit, number, digit),
        (BinaryFn::Add, bucket, flat(digit), bucket),
    ] {
        commands.push(Command::Binary(defs::Binary {
            rows: one,
            cols,
            func,
            a: flat(a),
            b,
            dst: flat(dst),
        }));
    }
}

/// The order of a head's rows, round by round.
fn sort(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    shape: &HashShape,
    part: &ChunkPart,
) -> Result<Vec<Command>, Diagnostic> {
    let root = site
        .plan
        .storage
        .root_of(node)
        .filter(|_| site.graph.types(node)[0].elem == GraphElem::I32)
        .ok_or_else(|| unsupported(node, "its result has no place"))?;
    let row = part.batch * shape.attrs.heads + part.head;
    let order = site.root_area(root, at.segment, row);
    let pitch = shape.rows as u32 * 4;
    Ok(vec![Command::Sort(defs::Sort {
        rows: (shape.attrs.rounds as u64).into(),
        cols: (shape.rows as u64).into(),
        src: View::rows(Elem::F32, site.scratch(at, 0, part.of_head), pitch),
        dst: View::rows(Elem::I32, order.addr, pitch),
    })])
}

/// Rows in i8 with a scale each.
struct Quantized {
    q: View,
    scale: View,
}

impl Quantized {
    fn at(q: u64, scale: u64, width: u32) -> Self {
        Self {
            q: View::rows(Elem::I8, q, width),
            scale: View::rows(Elem::F32, scale, 4),
        }
    }

    fn quantize(&self, rows: usize, width: usize, src: View) -> Command {
        Command::Quantize(defs::Quantize {
            rows: (rows as u64).into(),
            cols: (width as u64).into(),
            src,
            dst: self.q,
            group: (width as u64).into(),
            dst_scale: Some(self.scale),
            scale: 1.0,
            zero: None,
        })
    }
}

fn unsupported(node: NodeId, reason: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "emit-hash",
        format!("this sort by hash has no packet form: {reason}"),
    )
    .at(node.to_string())
    .help("run the whole graph pipeline, or report the model")
}
