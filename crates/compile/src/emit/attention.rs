//! Attention: scores, softmax and the sum of values for some query rows of one head.
//!
//! Scores and probabilities never leave SRAM. The row scales of K are the column scales of the
//! scores, and the row scales of V are multiplied into the probabilities before these are
//! quantised, so that every scale stands outside an integer product.
//!
//! ```text
//!  score columns:  [ global columns, hidden ones │ the columns that these rows see beside them ]
//! ```
//!
//! Where keys come in blocks, a fragment is that for one of them, and what it leaves waits in scratch:
//!
//! ```text
//!  [ results of block 0 │ of block 1 │ … │ their sum │ logarithms of sums │ weights ]
//! ```
//!
//! Only the columns that at least one of the rows sees are computed. They start at a whole number of
//! lanes, so that sums have the same order as over a row of all columns.

use std::ops::Range;

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Attention;
use packwright_ir::{NodeId, Op, Value};
use packwright_numerics::reduce::LANES;
use packwright_packet::defs::{self, Command, Matmul, Softmax};
use packwright_packet::operand::{Affine, BinaryFn, Elem, Hold, UnaryFn, View};

use super::address::{Area, At, Site};
use super::heads::{binary, head_area, is_addend, mask_view, unsupported};
use super::matmul;
use super::whole::Operand;
use crate::plan::Part;
use crate::plan::constants::TileId;
use crate::plan::demand::{self, AttentionShape, KeyBlocks};
use crate::plan::storage::machine_elem;

/// Some query rows of one head at work.
struct Scene<'a> {
    site: &'a Site<'a>,
    at: &'a At,
    node: NodeId,
    attrs: &'a Attention,
    tiles: &'a [TileId],
    shape: AttentionShape,
    batch: usize,
    head: usize,
    made: Made<'a>,
    /// The first query row within its batch element.
    first: usize,
    rows: u64,
    q: Area,
    k: Area,
    v: Area,
    /// Rows of K and V in the order of score columns, each with its first score column.
    runs: Vec<Run>,
    /// f32 scores, int8 probabilities and the scales of their rows.
    scores: View,
    p: View,
    p_scale: View,
    columns: u64,
    /// Where partial sums lie, and behind them the scales of V, where columns come in parts.
    parts: u64,
    /// The block of keys at hand and where what blocks leave lies, where keys come in blocks.
    left: Option<Left>,
}

/// What a block of keys leaves.
#[derive(Clone, Copy)]
struct Left {
    keys: KeyBlocks,
    block: usize,
    base: u64,
}

/// Neighbouring rows of K and V.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    keys: Range<usize>,
    column: usize,
}

/// Carries some query rows of one head through attention.
pub fn attention(
    site: &Site<'_>,
    at: &At,
    (node, quantize): (NodeId, Option<NodeId>),
    part: &Part,
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let Op::Attention(attrs) = site.graph.op(node) else {
        unreachable!("attention stages hold attention nodes")
    };
    let made = |head: usize, copy: u8| Made {
        site,
        at,
        node,
        quantize,
        head,
        copy,
        width: AttentionShape::of(site.graph, node).value_width,
        together: quantize.map_or(1, |own| demand::heads_together(site.graph, node, own)),
    };
    let place = match *part {
        Part::Head {
            head,
            copy,
            results,
        } => (made(head, results), copy, None),
        Part::Keys {
            head,
            block,
            copy,
            results,
        } => (made(head, results), copy, Some((block, results))),
        Part::Bias { head } => return bias(site, at, (node, attrs), head, tiles),
        Part::Join { head, results } => return join(&made(head, results), attrs),
        Part::Quantize { head, results } => return Ok(made(head, results).quantized()),
        Part::All | Part::Columns { .. } | Part::QuantizeColumns { .. } | Part::Chunk(_) => {
            unreachable!("attention fragments are parts of heads")
        }
    };
    let scene = Scene::of(site, at, (node, attrs), place, tiles)?;
    let mask = scene.mask()?;
    let (added, mask) = match mask {
        Some(mask) if is_addend(&mask, attrs) => (Some(mask), None),
        other => (None, other),
    };
    let scores = scene.runs.iter().map(|run| scene.score(run, added));
    let mut commands: Vec<Command> = scores.collect();
    commands.extend(scene.hidden());
    let mask = scene.mask_of_parts(mask, &mut commands)?;
    let scales = scene.value_scales(&mut commands);
    commands.push(scene.softmax(mask, scales)?);
    scene.values(&mut commands);
    if scene.left.is_none() {
        scene.replaced(&mut commands)?;
    }
    Ok(commands)
}

impl<'a> Scene<'a> {
    fn of(
        site: &'a Site<'a>,
        at: &'a At,
        (node, attrs): (NodeId, &'a Attention),
        (made, copy, left): (Made<'a>, u8, Option<(usize, u8)>),
        tiles: &'a [TileId],
    ) -> Result<Self, Diagnostic> {
        let shape = AttentionShape::of(site.graph, node);
        let operands = site.graph.operands(node);
        let rows = at.block.len();
        let (batch, first) = (at.block.start / shape.s, at.block.start % shape.s);
        let head = made.head;
        let kv_head = head / (shape.heads / shape.kv_heads);
        let area = |value: Value, row: usize, head: usize, width: usize| {
            head_area(site, at, node, value, row, head, width)
        };
        let seen = attrs.columns_of_rows(&(first..first + rows), [shape.s, shape.t]);
        let keys = demand::key_blocks(site.graph, node);
        let left = keys.zip(left).map(|(keys, (block, results))| Left {
            keys,
            block,
            base: site.scratch(at, 2, results),
        });
        let seen = match left {
            _ if seen.is_empty() => 0..0,
            None => seen.start / LANES * LANES..seen.end,
            Some(Left { keys, block, .. }) => {
                let start = block * keys.size;
                start..seen.end.clamp(start, start + keys.size)
            }
        };
        let columns = (attrs.prefix() + seen.len()) as u64;
        if columns == 0 {
            return Err(unsupported(node, "some rows see no column"));
        }
        // Each row of probabilities lies where its scores begin.
        let (scores, pitch) = (site.scratch(at, 0, copy), (columns * 4) as u32);
        Ok(Self {
            q: area(operands[0], at.block.start, head, shape.width)?,
            k: area(operands[1], batch * shape.t, kv_head, shape.width)?,
            v: area(operands[2], batch * shape.t, kv_head, shape.value_width)?,
            runs: runs(attrs, seen),
            scores: View::rows(Elem::F32, scores, pitch),
            p: View::rows(Elem::I8, scores, pitch),
            p_scale: View::rows(Elem::F32, site.scratch(at, 1, copy), 4),
            rows: rows as u64,
            site,
            at,
            node,
            attrs,
            tiles,
            shape,
            batch,
            head,
            made,
            first,
            columns,
            parts: match attrs.global.is_empty() {
                true => 0,
                false => site.scratch(at, 2, copy),
            },
            left,
        })
    }

    /// The scores of some keys, with a mask that is added to them.
    fn score(&self, run: &Run, mask: Option<View>) -> Command {
        let k = self.k.row(run.keys.start);
        Command::Matmul(Matmul {
            m: self.rows.into(),
            n: (run.keys.len() as u64).into(),
            k: (self.shape.width as u64).into(),
            a: self.q.view(),
            b: k.view(),
            hold: Hold::B,
            group: (self.shape.width as u64).into(),
            a_scale: Some(self.q.scales()),
            a_zero: 0,
            b_bits: 8,
            b_group: (self.shape.width as u64).into(),
            b_step: None,
            b_zero: None,
            b_scale: Some(across(k.scales())),
            alpha: self.attrs.product_scale(),
            bias: None,
            activation: squeeze(self.attrs),
            residual: mask
                .map(|mask| along(mask, run.keys.start))
                .or_else(|| self.relative(run)),
            acc: None,
            start: true,
            finish: true,
            out: column(self.scores, run.column),
            out_scale: 1.0,
        })
    }

    /// The biases of the fragment's rows for some keys.
    fn relative(&self, run: &Run) -> Option<View> {
        let position = self.attrs.relative_operand()?;
        let ty = self
            .site
            .graph
            .ty(self.site.graph.operands(self.node)[position]);
        let elem = machine_elem(ty.elem)?;
        let row = Skewed::of(self.site, self.at, self.head, ty.columns(), elem);
        let distance = self.shape.s - 1 - self.first + run.keys.start;
        Some(View::rows(
            elem,
            row.base + distance as u64 * u64::from(elem.bytes()),
            row.pitch as u32,
        ))
    }

    /// Hides the columns that pad the global ones, and the global columns among the others.
    fn hidden(&self) -> Vec<Command> {
        let (global, prefix) = (&self.attrs.global, self.attrs.prefix());
        if global.is_empty() {
            return Vec::new();
        }
        let mut hidden: Vec<Range<usize>> = Vec::new();
        hidden.push(global.len()..prefix);
        for run in self.runs.iter().filter(|run| run.column >= prefix) {
            let among = neighbours(global.iter().copied().filter(|g| run.keys.contains(g)));
            let shifted = among.into_iter().map(|g| {
                let start = run.column + (g.start - run.keys.start);
                start..start + g.len()
            });
            hidden.extend(shifted);
        }
        hidden
            .into_iter()
            .filter(|columns| !columns.is_empty())
            .map(|columns| {
                Command::Fill(defs::Fill {
                    rows: self.rows.into(),
                    cols: (columns.len() as u64).into(),
                    value: f32::NEG_INFINITY,
                    step: 0.0,
                    dst: column(self.scores, columns.start),
                })
            })
            .collect()
    }

    /// The mask of the fragment's rows over all keys.
    fn mask(&self) -> Result<Option<View>, Diagnostic> {
        let position = self.attrs.mask_operand();
        position
            .map(|position| self.mask_view(position, self.shape.t))
            .transpose()
    }

    /// The mask of a softmax; where score columns come in parts it is added to each part.
    fn mask_of_parts(
        &self,
        mask: Option<View>,
        commands: &mut Vec<Command>,
    ) -> Result<Option<View>, Diagnostic> {
        let Some(mask) = mask else {
            return Ok(None);
        };
        if let [run] = &self.runs[..]
            && self.attrs.global.is_empty()
        {
            return Ok(Some(along(mask, run.keys.start)));
        }
        if self.attrs.softcap.is_some() {
            return Err(unsupported(
                self.node,
                "scores are capped, masked and in parts",
            ));
        }
        for run in &self.runs {
            let scores = column(self.scores, run.column);
            commands.push(Command::Binary(defs::Binary {
                rows: self.rows.into(),
                cols: (run.keys.len() as u64).into(),
                func: BinaryFn::Add,
                a: scores,
                b: along(mask, run.keys.start),
                dst: scores,
            }));
        }
        Ok(None)
    }

    fn softmax(&self, mask: Option<View>, scales: View) -> Result<Command, Diagnostic> {
        let row_mask = match self.attrs.row_mask_operand() {
            Some(position) => Some(self.mask_view(position, 1)?),
            None => None,
        };
        let (causal, window) = self.sight()?;
        Ok(Command::Softmax(Softmax {
            rows: self.rows.into(),
            cols: self.columns.into(),
            src: self.scores,
            scale: self.attrs.softcap.unwrap_or(1.0),
            mask,
            row_mask,
            causal,
            window,
            always: (self.attrs.prefix() as u64).into(),
            col_scale: Some(scales),
            dst: self.p,
            dst_scale: Some(self.p_scale),
            log_sum: self.left.map(|left| left.sum(&self.shape, self.rows)),
        }))
    }

    /// The last score column that the first row sees, and how many up to its last one a row sees.
    fn sight(&self) -> Result<(Option<Affine>, Option<Affine>), Diagnostic> {
        let window = self.attrs.window;
        if !self.attrs.causal && window.is_none() {
            return Ok((None, None));
        }
        let start = self
            .runs
            .iter()
            .find(|run| run.column >= self.attrs.prefix())
            .map_or(0, |run| run.keys.start);
        let ahead = if self.attrs.causal {
            0
        } else {
            window.unwrap_or(0)
        };
        let last = (self.first + self.shape.t + ahead + self.attrs.prefix())
            .checked_sub(self.shape.s + start)
            .ok_or_else(|| unsupported(self.node, "some rows come before the first column"))?;
        let width = window.map(|window| (window + ahead + 1) as u64);
        Ok((Some((last as u64).into()), width.map(Affine::constant)))
    }

    /// The scales of the rows of V in the order of score columns; parts of them are put side by side.
    fn value_scales(&self, commands: &mut Vec<Command>) -> View {
        let scales = |run: &Run| across(self.v.row(run.keys.start).scales());
        if self.attrs.global.is_empty() {
            return scales(&self.runs[0]);
        }
        let row = View::row(Elem::F32, self.parts + self.sum_bytes());
        let (padding, one) = (
            self.attrs.global.len()..self.attrs.prefix(),
            Affine::constant(1),
        );
        if !padding.is_empty() {
            commands.push(Command::Fill(defs::Fill {
                rows: one,
                cols: (padding.len() as u64).into(),
                value: 0.0,
                step: 0.0,
                dst: column(row, padding.start),
            }));
        }
        for run in &self.runs {
            commands.push(Command::Copy(defs::Copy {
                rows: one,
                cols: (run.keys.len() as u64).into(),
                src: scales(run),
                dst: column(row, run.column),
            }));
        }
        row
    }

    /// Bytes of the partial sums of values.
    fn sum_bytes(&self) -> u64 {
        self.rows * self.shape.value_width as u64 * 4
    }

    /// Rows that were computed apart take the place of those that the fragment made.
    fn replaced(&self, commands: &mut Vec<Command>) -> Result<(), Diagnostic> {
        let Some(position) = self.attrs.replaced_operand() else {
            return Ok(());
        };
        let value = self.site.graph.operands(self.node)[position];
        let own = self.first..self.first + self.at.block.len();
        for (index, row) in self.attrs.replaced.iter().enumerate() {
            if !own.contains(row) {
                continue;
            }
            let source = self.batch * self.attrs.replaced.len() + index;
            let source = self
                .site
                .value_area(value, self.at.segment, source)
                .ok_or_else(|| unsupported(self.node, "the rows that replace others are constant"))?
                .column(self.head * self.shape.value_width, None);
            commands.push(Command::Unary(defs::Unary {
                rows: 1u32.into(),
                cols: (self.shape.value_width as u64).into(),
                func: UnaryFn::Identity,
                src: source.view(),
                dst: self.made.out().row(row - self.first).view(),
            }));
        }
        Ok(())
    }

    /// The sum of values, run by run.
    fn values(&self, commands: &mut Vec<Command>) {
        let out = match self.left {
            Some(left) => left.results(left.block, &self.shape, self.rows),
            None => self.made.out().view(),
        };
        let width = self.shape.value_width as u64;
        let sums =
            (self.runs.len() > 1).then(|| View::rows(Elem::I32, self.parts, (width * 4) as u32));
        for (index, run) in self.runs.iter().enumerate() {
            let v = self.v.row(run.keys.start);
            commands.push(Command::Matmul(Matmul {
                m: self.rows.into(),
                n: width.into(),
                k: (run.keys.len() as u64).into(),
                a: column(self.p, run.column),
                b: View {
                    elem: Elem::I8,
                    addr: v.addr.into(),
                    pitch: 1,
                    step: v.pitch as u32,
                },
                hold: Hold::B,
                group: (run.keys.len() as u64).into(),
                a_scale: Some(self.p_scale),
                a_zero: 0,
                b_bits: 8,
                b_group: (run.keys.len() as u64).into(),
                b_step: None,
                b_zero: None,
                b_scale: None,
                alpha: 1.0,
                bias: None,
                activation: UnaryFn::Identity,
                residual: None,
                acc: sums,
                start: index == 0,
                finish: index + 1 == self.runs.len(),
                out,
                out_scale: 1.0,
            }));
        }
    }

    /// A mask from the present batch element, head and row on, broadcast to some columns.
    fn mask_view(&self, position: usize, columns: usize) -> Result<View, Diagnostic> {
        let full = [self.shape.batch, self.shape.heads, self.shape.s, columns];
        let place = [self.batch, self.head, self.first];
        let scene = (self.site, self.at, self.node, self.tiles);
        let (mask, _) = mask_view(scene, position, full, place)?;
        Ok(mask)
    }
}

impl Left {
    /// The results of a block, or the sum of all behind them.
    fn results(self, block: usize, shape: &AttentionShape, rows: u64) -> View {
        let pitch = shape.value_width as u64 * 4;
        let addr = self.base + block as u64 * rows * pitch;
        View::rows(Elem::F32, addr, pitch as u32)
    }

    /// Logarithms of sums (0) or weights (1): a row of one for each block.
    fn table(self, which: u64, shape: &AttentionShape, rows: u64) -> View {
        let pitch = self.keys.count as u64 * 4;
        let results = (self.keys.count as u64 + 1) * rows * shape.value_width as u64 * 4;
        let addr = self.base + results + which * rows * pitch;
        View::rows(Elem::F32, addr, pitch as u32)
    }

    /// The logarithms of the sums of the block at hand.
    fn sum(self, shape: &AttentionShape, rows: u64) -> View {
        column(self.table(0, shape, rows), self.block)
    }
}

/// The biases by distance of a head in scratch: row r begins r places further on, so that the bias of row r and
/// column c of a fragment lies in column `c + s - 1 - first`, whatever r is.
struct Skewed {
    base: u64,
    pitch: u64,
}

impl Skewed {
    fn of(site: &Site<'_>, at: &At, head: usize, columns: usize, elem: Elem) -> Self {
        Self {
            base: site.scratch(at, demand::BIASES, (head % 2) as u8),
            pitch: columns as u64 * u64::from(elem.bytes()),
        }
    }
}

/// Puts the biases by distance of a head into scratch.
fn bias(
    site: &Site<'_>,
    at: &At,
    (node, attrs): (NodeId, &Attention),
    head: usize,
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let position = attrs
        .relative_operand()
        .ok_or_else(|| unsupported(node, "there is no bias"))?;
    let value = site.graph.operands(node)[position];
    let operand = Operand::of(site, at, value, tiles)
        .ok_or_else(|| unsupported(node, "the bias has no place"))?;
    let columns = site.graph.ty(value).columns();
    let skewed = Skewed::of(site, at, head, columns, operand.elem);
    let columns = columns as u64;
    let bytes = u64::from(operand.elem.bytes());
    let row = operand.addr + head as u64 * columns * bytes;
    Ok(vec![Command::Copy(defs::Copy {
        rows: (at.block.len() as u64).into(),
        cols: columns.into(),
        src: View::rows(operand.elem, row, 0),
        dst: View::rows(operand.elem, skewed.base, (skewed.pitch + bytes) as u32),
    })])
}

/// What the blocks of keys have left becomes the result of some rows of a head.
fn join(made: &Made<'_>, attrs: &Attention) -> Result<Vec<Command>, Diagnostic> {
    let Made { site, at, node, .. } = *made;
    let shape = AttentionShape::of(site.graph, node);
    let keys = demand::key_blocks(site.graph, node)
        .ok_or_else(|| unsupported(node, "keys do not come in blocks"))?;
    let left = Left {
        keys,
        block: 0,
        base: site.scratch(at, 2, made.copy),
    };
    let rows = at.block.len();
    let first = at.block.start % shape.s;
    let blocks = keys.seen(attrs, &(first..first + rows), &shape);
    let (rows, count) = (rows as u64, blocks.len() as u64);
    let size = [rows, shape.value_width as u64];
    let sum = left.results(keys.count, &shape, rows);
    let weights = left.table(1, &shape, rows);
    let mut commands = vec![Command::Softmax(Softmax {
        rows: rows.into(),
        cols: count.into(),
        src: left.table(0, &shape, rows),
        scale: 1.0,
        mask: None,
        row_mask: None,
        causal: None,
        window: None,
        always: 0u64.into(),
        col_scale: None,
        dst: weights,
        dst_scale: None,
        log_sum: None,
    })];
    for block in blocks {
        let term = left.results(block, &shape, rows);
        let weight = View {
            step: 0,
            ..column(weights, block)
        };
        if block == 0 {
            commands.push(binary(BinaryFn::Mul, size, term, weight, sum));
            continue;
        }
        let dst = match block as u64 + 1 == count {
            true => made.out().view(),
            false => sum,
        };
        commands.push(binary(BinaryFn::Mul, size, term, weight, term));
        commands.push(binary(BinaryFn::Add, size, sum, term, dst));
    }
    Ok(commands)
}

/// The results of some rows of a head, or of several that are quantised together.
#[derive(Clone, Copy)]
struct Made<'a> {
    site: &'a Site<'a>,
    at: &'a At,
    node: NodeId,
    /// What quantises them.
    quantize: Option<NodeId>,
    head: usize,
    copy: u8,
    width: usize,
    /// How many heads are quantised together.
    together: usize,
}

impl Made<'_> {
    /// Where they go: into their root, or into scratch where they wait to be quantised.
    fn out(&self) -> Area {
        let Self { site, at, .. } = *self;
        let root = site.plan.storage.root_of(self.node);
        let root = root.expect("attention has a root");
        if self.quantize.is_none() {
            return site
                .root_area(root, at.segment, at.block.start)
                .column(self.head * self.width, None);
        }
        let elem = site.plan.storage.root(root).elem;
        let copies = site.plan.segments[at.segment.segment].portions.copies;
        let place = self.copy / copies % 2;
        let of_all = Area {
            elem,
            addr: site.scratch(at, 4 + place, self.copy),
            pitch: (self.together * self.width) as u64 * u64::from(elem.bytes()),
            scale_addr: 0,
            scale_pitch: 0,
        };
        of_all.column(self.head % self.together * self.width, None)
    }

    fn quantized(&self) -> Vec<Command> {
        let Some(node) = self.quantize else {
            return Vec::new();
        };
        let column = self.head * self.width;
        let root = self.site.plan.storage.root_of(node);
        let root = root.expect("quantised values have roots");
        let group = self.site.plan.storage.root(root).group;
        let target = self
            .site
            .root_columns(root, self.at.segment, self.at.block.start, column)
            .column(column, group);
        vec![matmul::quantize_command(
            self.site,
            node,
            self.at.block.len(),
            self.together * self.width,
            self.out().view(),
            target,
        )]
    }
}

/// What a product does to the scores that it makes: the softmax multiplies them with the cap.
pub fn squeeze(attrs: &Attention) -> UnaryFn {
    match attrs.softcap {
        Some(_) => UnaryFn::Tanh,
        None => UnaryFn::Identity,
    }
}

/// The runs of the global columns, one after the other, and that of the other columns behind them.
fn runs(attrs: &Attention, seen: Range<usize>) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut column = 0;
    for keys in neighbours(attrs.global.iter().copied()) {
        let next = column + keys.len();
        runs.push(Run { keys, column });
        column = next;
    }
    if !seen.is_empty() {
        runs.push(Run {
            keys: seen,
            column: attrs.prefix(),
        });
    }
    runs
}

/// Ascending numbers as ranges.
fn neighbours(numbers: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}

/// A column of rows as one row.
fn across(view: View) -> View {
    View {
        pitch: 0,
        step: view.pitch,
        ..view
    }
}

/// A view from one of its columns on, where elements lie side by side.
fn column(view: View, column: usize) -> View {
    let bytes = column as u64 * u64::from(view.elem.bytes());
    View {
        addr: (view.addr.base + bytes).into(),
        ..view
    }
}

/// A view from one of its columns on, whatever its step.
fn along(view: View, column: usize) -> View {
    View {
        addr: (view.addr.base + column as u64 * u64::from(view.step)).into(),
        ..view
    }
}
