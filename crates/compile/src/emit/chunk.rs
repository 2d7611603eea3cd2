//! Attention among chunks of rows, in place or in the order of their hashes.
//!
//! Rows are brought together by run-time index in SRAM. A chunk's scores are replaced where a row's
//! place is behind the query's or is not seen, by comparing places, so that nothing of the machine's
//! time depends on the order.

use packwright_ir::diag::Diagnostic;
use packwright_ir::{NodeId, Value};
use packwright_packet::defs::{self, Command};
use packwright_packet::operand::{Affine, BinaryFn, Elem, Hold, ReduceKind, UnaryFn, View};

use super::address::{Area, At, Site};
use super::heads::{binary, head_area};
use crate::plan::chunk::{
    Cell, ChunkPart, ChunkShape, HeadScratch, JOINED_ROWS, PieceScratch, Step, WindowScratch,
};
use crate::plan::order::chunks;

/// Carries out a step of attention among chunks.
pub fn chunk(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    part: &ChunkPart,
) -> Result<Vec<Command>, Diagnostic> {
    let shape =
        ChunkShape::of(site.graph, node).ok_or_else(|| unsupported(node, "it has no chunks"))?;
    let head = Head::of(site, at, node, part, &shape)?;
    match part.step {
        Step::Prepare => Ok(head.prepare()),
        Step::Gather { chunk, of_chunk } => Ok(head.gather(chunk, of_chunk)),
        Step::Attend {
            chunk,
            of_chunk,
            copy,
        } => Ok(head.attend(chunk, of_chunk, copy)),
        Step::Restore { chunk, copy } => Ok(head.restore(chunk, copy)),
        Step::Join => Ok(head.join()),
        Step::Rotate { .. } | Step::Sort => Err(unsupported(node, "it has no such step")),
    }
}

/// Everything about one head.
struct Head<'a> {
    site: &'a Site<'a>,
    at: &'a At,
    shape: &'a ChunkShape,
    /// Rows of the batch element.
    q: Area,
    k: Area,
    v: Area,
    /// The first of the places in order.
    order: Option<View>,
    /// The first of the numbers that say which rows are seen.
    seen: Option<View>,
    result: Area,
    scratch: HeadScratch,
    base: u64,
}

impl<'a> Head<'a> {
    fn of(
        site: &'a Site<'a>,
        at: &'a At,
        node: NodeId,
        part: &'a ChunkPart,
        shape: &'a ChunkShape,
    ) -> Result<Self, Diagnostic> {
        let operands = site.graph.operands(node);
        let places = shape.attrs.operands();
        let first = part.batch * shape.rows;
        let area =
            |value: Value, width: usize| head_area(site, at, node, value, first, part.head, width);
        let row = |value: Value, row: usize| {
            site.value_area(value, at.segment, row)
                .map(|area| View::row(area.elem, area.addr))
                .ok_or_else(|| unsupported(node, "an operand has no place"))
        };
        let root = site
            .plan
            .storage
            .root_of(node)
            .ok_or_else(|| unsupported(node, "its result has no place"))?;
        let q = area(operands[0], shape.width)?;
        Ok(Self {
            site,
            at,
            shape,
            q,
            k: match shape.attrs.shared {
                Some(_) => q,
                None => area(operands[places.k], shape.width)?,
            },
            v: area(operands[places.v], shape.value_width)?,
            order: places
                .order
                .map(|index| {
                    let line = part.batch * shape.attrs.heads + part.head;
                    row(operands[index], line)
                })
                .transpose()?,
            seen: places
                .seen
                .map(|index| row(operands[index], part.batch))
                .transpose()?,
            result: site
                .root_area(root, at.segment, first)
                .column(part.head * shape.value_width, None),
            scratch: HeadScratch::of(shape),
            base: site.scratch(at, 0, part.of_head),
        })
    }

    /// A number, for every element.
    fn cell(&self, cell: Cell) -> View {
        View {
            pitch: 0,
            step: 0,
            ..View::row(Elem::F32, self.scratch.cell(self.base, cell))
        }
    }

    fn prepare(&self) -> Vec<Command> {
        let attrs = &self.shape.attrs;
        let numbers = [
            (Cell::Hidden, Some(attrs.hidden)),
            (Cell::Own, attrs.own),
            (Cell::Far, Some(self.shape.rows as f32)),
            (Cell::Width, attrs.shared.map(|_| self.shape.width as f32)),
            (Cell::Eps, attrs.shared),
        ];
        let mut commands: Vec<Command> = numbers
            .into_iter()
            .filter_map(|(cell, number)| {
                number.map(|value| {
                    let dst = View::row(Elem::F32, self.scratch.cell(self.base, cell));
                    fill(1, value, 0.0, dst)
                })
            })
            .collect();
        if attrs.shared.is_some() {
            self.shared_scales(&mut commands);
        }
        commands
    }

    /// `scale · rsqrt(scale² · mean of squares + eps)` for each row.
    fn shared_scales(&self, commands: &mut Vec<Command>) {
        let rows = self.shape.rows as u64;
        let keys = View::row(Elem::F32, self.base + self.scratch.keys);
        let scales = across(self.q.scales());
        commands.push(Command::Reduce(defs::Reduce {
            rows: rows.into(),
            cols: (self.shape.width as u64).into(),
            kind: ReduceKind::SumSquares,
            src: self.q.view(),
            dst: View { pitch: 4, ..keys },
        }));
        for (func, b) in [
            (BinaryFn::Mul, scales),
            (BinaryFn::Mul, scales),
            (BinaryFn::Div, self.cell(Cell::Width)),
            (BinaryFn::Add, self.cell(Cell::Eps)),
        ] {
            commands.push(binary(func, [1, rows], keys, b, keys));
        }
        commands.push(Command::Unary(defs::Unary {
            rows: 1u64.into(),
            cols: rows.into(),
            func: UnaryFn::Rsqrt,
            src: keys,
            dst: keys,
        }));
        commands.push(binary(BinaryFn::Mul, [1, rows], keys, scales, keys));
    }

    /// The scales of keys by row.
    fn key_scales(&self) -> View {
        match self.shape.attrs.shared {
            Some(_) => View::rows(Elem::F32, self.base + self.scratch.keys, 4),
            None => self.k.scales(),
        }
    }

    /// The place of a chunk's rows, where nothing has to be brought together.
    fn in_place(&self, chunk: usize) -> Option<usize> {
        let runs = self.shape.attrs.seen_by(chunk, self.shape.rows);
        match (&runs[..], self.order) {
            ([run], None) => Some(run.start),
            _ => None,
        }
    }

    fn gather(&self, chunk: usize, of_chunk: u8) -> Vec<Command> {
        let place = WindowScratch::of(self.shape);
        let base = self.site.scratch(self.at, 1, of_chunk);
        let mut commands = Vec::new();
        let mut to = 0;
        for run in self.shape.attrs.seen_by(chunk, self.shape.rows) {
            let count = run.len() as u64;
            let first = run.start as u64;
            if self.in_place(chunk).is_none() {
                for (from, width, offset) in [
                    (self.k.view(), self.shape.width, place.k),
                    (self.v.view(), self.shape.value_width, place.v),
                ] {
                    let at = base + offset + to * width as u64;
                    self.rows(&mut commands, [first, count], from, width, at);
                }
                for (from, offset) in [
                    (self.key_scales(), place.k_scale),
                    (self.v.scales(), place.v_scale),
                ] {
                    let at = base + offset + 4 * to;
                    self.rows(&mut commands, [first, count], from, 1, at);
                }
            }
            self.places(&mut commands, [first, count], base, &place, to);
            to += count;
        }
        if self.shape.attrs.shared.is_none() && self.order.is_some() {
            let own = self.at.block.clone();
            let rows = [own.start as u64, own.len() as u64];
            let scales = self.q.scales();
            self.rows(
                &mut commands,
                rows,
                self.q.view(),
                self.shape.width,
                base + place.q,
            );
            self.rows(&mut commands, rows, scales, 1, base + place.q_scale);
        } else if self.shape.attrs.shared.is_some() {
            let own = self.at.block.clone();
            let rows = [own.start as u64, own.len() as u64];
            self.rows(
                &mut commands,
                rows,
                self.q.scales(),
                1,
                base + place.q_scale,
            );
        }
        commands
    }

    /// Copies ordered rows to `dst`, one behind the other.
    fn rows(
        &self,
        commands: &mut Vec<Command>,
        [first, count]: [u64; 2],
        from: View,
        width: usize,
        dst: u64,
    ) {
        let (from, cols) = words(from, width);
        let to = View::rows(from.elem, dst, (cols * u64::from(from.elem.bytes())) as u32);
        let aligned = dst.is_multiple_of(u64::from(from.elem.bytes()));
        debug_assert!(aligned, "windows are aligned");
        commands.push(match self.order {
            Some(order) => Command::Lookup(defs::Lookup {
                rows: count.into(),
                cols: cols.into(),
                index: later(order, first),
                table: from,
                table_rows: self.shape.rows as u32,
                dst: to,
            }),
            None => Command::Copy(defs::Copy {
                rows: count.into(),
                cols: cols.into(),
                src: View {
                    addr: moved(from.addr, first * u64::from(from.pitch)),
                    ..from
                },
                dst: to,
            }),
        });
    }

    /// The places of ordered rows, and those of them that are seen.
    fn places(
        &self,
        commands: &mut Vec<Command>,
        [first, count]: [u64; 2],
        base: u64,
        place: &WindowScratch,
        to: u64,
    ) {
        let places = View::row(Elem::F32, base + place.places + 4 * to);
        let seen = View::row(Elem::F32, base + place.seen + 4 * to);
        commands.push(match self.order {
            Some(order) => Command::Unary(defs::Unary {
                rows: 1u64.into(),
                cols: count.into(),
                func: UnaryFn::Identity,
                src: later(order, first),
                dst: places,
            }),
            None => fill(count, first as f32, 1.0, places),
        });
        let Some(rows) = self.seen else { return };
        let cond = match self.order {
            Some(order) => {
                commands.push(Command::Lookup(defs::Lookup {
                    rows: count.into(),
                    cols: 1u64.into(),
                    index: later(order, first),
                    table: View {
                        pitch: rows.elem.bytes(),
                        ..rows
                    },
                    table_rows: self.shape.rows as u32,
                    dst: View { pitch: 4, ..seen },
                }));
                seen
            }
            None => later(rows, first),
        };
        commands.push(Command::Select(defs::Select {
            rows: 1u64.into(),
            cols: count.into(),
            cond,
            a: places,
            b: self.cell(Cell::Far),
            dst: seen,
        }));
    }

    /// Queries, keys and values of a chunk, with their scales: rows of q, then of the window.
    fn window(&self, chunk: usize, of_chunk: u8) -> [Area; 3] {
        let place = WindowScratch::of(self.shape);
        let base = self.site.scratch(self.at, 1, of_chunk);
        let gathered = |elements: u64, scales: u64, width: usize| Area {
            elem: Elem::I8,
            addr: base + elements,
            pitch: width as u64,
            scale_addr: base + scales,
            scale_pitch: 4,
        };
        let row = |area: Area, row: usize| Area {
            addr: area.addr + row as u64 * area.pitch,
            scale_addr: area.scale_addr + row as u64 * area.scale_pitch,
            ..area
        };
        let inner = self.at.block.start - chunk * self.shape.attrs.chunk;
        let own = self.shape.attrs.before * self.shape.attrs.chunk + inner;
        let (k, v) = match self.in_place(chunk) {
            Some(first) => {
                let mut k = row(self.k, first);
                if self.shape.attrs.shared.is_some() {
                    k.scale_addr = self.base + self.scratch.keys + 4 * first as u64;
                    k.scale_pitch = 4;
                }
                (k, row(self.v, first))
            }
            None => (
                gathered(place.k, place.k_scale, self.shape.width),
                gathered(place.v, place.v_scale, self.shape.value_width),
            ),
        };
        let q = if self.shape.attrs.shared.is_some() {
            // Queries are the keys of the chunk's own rows, with scales of their own.
            Area {
                scale_addr: base + place.q_scale + 4 * inner as u64,
                scale_pitch: 4,
                ..row(k, own)
            }
        } else if self.order.is_some() {
            row(gathered(place.q, place.q_scale, self.shape.width), inner)
        } else {
            row(self.q, self.at.block.start)
        };
        [q, k, v]
    }

    fn attend(&self, chunk: usize, of_chunk: u8, copy: u8) -> Vec<Command> {
        let attrs = &self.shape.attrs;
        let (rows, window) = (self.at.block.len(), attrs.window());
        let place = PieceScratch::of(self.shape, rows);
        let base = self.site.scratch(self.at, 2, copy);
        let [q, k, v] = self.window(chunk, of_chunk);
        let scores = View::rows(Elem::F32, base + place.scores, (window * 4) as u32);
        let p = View::rows(Elem::I8, base + place.p, window as u32);
        let p_scale = View::rows(Elem::F32, base + place.p_scale, 4);
        let product = |[m, n, k]: [usize; 3], a, b, out| defs::Matmul {
            m: (m as u64).into(),
            n: (n as u64).into(),
            k: (k as u64).into(),
            a,
            b,
            hold: Hold::B,
            group: (k as u64).into(),
            a_scale: None,
            a_zero: 0,
            b_bits: 8,
            b_group: (k as u64).into(),
            b_step: None,
            b_zero: None,
            b_scale: None,
            alpha: 1.0,
            bias: None,
            activation: UnaryFn::Identity,
            residual: None,
            acc: None,
            start: true,
            finish: true,
            out,
            out_scale: 1.0,
        };
        let mut commands = vec![Command::Matmul(defs::Matmul {
            a_scale: Some(q.scales()),
            a_zero: 0,
            b_scale: Some(across(k.scales())),
            alpha: attrs.scale,
            ..product([rows, window, self.shape.width], q.view(), k.view(), scores)
        })];
        let condition = View::rows(Elem::F32, base + place.condition, (window * 4) as u32);
        self.hide(&mut commands, chunk, of_chunk, scores, condition);
        commands.push(Command::Softmax(defs::Softmax {
            rows: (rows as u64).into(),
            cols: (window as u64).into(),
            src: scores,
            scale: 1.0,
            mask: None,
            row_mask: None,
            window: None,
            always: 0u64.into(),
            causal: None,
            col_scale: Some(across(v.scales())),
            dst: p,
            dst_scale: Some(p_scale),
            log_sum: (self.shape.rounds() > 1).then(|| View::rows(Elem::F32, base + place.sum, 4)),
        }));
        let out = match self.order {
            Some(_) => self.piece(base + place.out),
            None => {
                let mut view = self.result.view();
                let offset = self.at.block.start as u64 * self.result.pitch;
                view.addr = moved(view.addr, offset);
                view
            }
        };
        let columns = View {
            pitch: 1,
            step: v.pitch as u32,
            ..v.view()
        };
        commands.push(Command::Matmul(defs::Matmul {
            a_scale: Some(p_scale),
            ..product([rows, self.shape.value_width, window], p, columns, out)
        }));
        commands
    }

    /// Results of some rows, one behind the other.
    fn piece(&self, addr: u64) -> View {
        let pitch = self.shape.value_width * self.shape.out_bytes;
        View::rows(self.result.elem, addr, pitch as u32)
    }

    /// Replaces scores of rows that are not seen, and a row's own.
    fn hide(
        &self,
        commands: &mut Vec<Command>,
        chunk: usize,
        of_chunk: u8,
        scores: View,
        condition: View,
    ) {
        let attrs = &self.shape.attrs;
        let place = WindowScratch::of(self.shape);
        let base = self.site.scratch(self.at, 1, of_chunk);
        let size = [self.at.block.len() as u64, attrs.window() as u64];
        let inner = self.at.block.start - chunk * attrs.chunk;
        let own = (attrs.before * attrs.chunk + inner) as u64;
        let queries = View::column(Elem::F32, base + place.places + 4 * own, 4);
        let places = View::row(Elem::F32, base + place.places);
        let keys = match self.seen {
            Some(_) => View::row(Elem::F32, base + place.seen),
            None => places,
        };
        let select = |a, b| {
            Command::Select(defs::Select {
                rows: size[0].into(),
                cols: size[1].into(),
                cond: condition,
                a,
                b,
                dst: scores,
            })
        };
        if attrs.causal {
            commands.push(binary(
                BinaryFn::GreaterOrEqual,
                size,
                queries,
                keys,
                condition,
            ));
            commands.push(select(scores, self.cell(Cell::Hidden)));
        } else if self.seen.is_some() {
            let far = self.cell(Cell::Far);
            commands.push(binary(BinaryFn::Less, size, keys, far, condition));
            commands.push(select(scores, self.cell(Cell::Hidden)));
        }
        if attrs.own.is_some() {
            commands.push(binary(BinaryFn::Equal, size, queries, places, condition));
            commands.push(select(self.cell(Cell::Own), scores));
        }
    }

    fn restore(&self, chunk: usize, copy: u8) -> Vec<Command> {
        let Some(order) = self.order else {
            return Vec::new();
        };
        let rows = self.at.block.len();
        let place = PieceScratch::of(self.shape, rows);
        let base = self.site.scratch(self.at, 2, copy);
        let index = later(order, self.at.block.start as u64);
        let round = (chunk * self.shape.attrs.chunk / self.shape.rows) as u64;
        let scatter = |src: View, table: View, width: usize| {
            let wide = words(src, width).0.elem.bytes() == words(table, width).0.elem.bytes();
            let ((src, cols), (table, _)) = match wide {
                true => (words(src, width), words(table, width)),
                false => ((src, width as u64), (table, width as u64)),
            };
            Command::Scatter(defs::Scatter {
                rows: (rows as u64).into(),
                cols: cols.into(),
                index,
                src,
                table,
                table_rows: self.shape.rows as u32,
            })
        };
        let results = self.piece(base + place.out);
        if self.shape.rounds() == 1 {
            return vec![scatter(results, self.result.view(), self.shape.value_width)];
        }
        let sums = self.base + self.scratch.sums + round * self.shape.rows as u64 * 4;
        vec![
            scatter(results, self.round(round, 0), self.shape.value_width),
            scatter(
                View::rows(Elem::F32, base + place.sum, 4),
                View::rows(Elem::F32, sums, 4),
                1,
            ),
        ]
    }

    /// Results of a round from a row on.
    fn round(&self, round: u64, row: u64) -> View {
        let pitch = (self.shape.value_width * self.shape.out_bytes) as u64;
        let rows = round * self.shape.rows as u64 + row;
        self.piece(self.base + self.scratch.results + rows * pitch)
    }

    fn join(&self) -> Vec<Command> {
        let rounds = self.shape.rounds();
        let weights = self.base + self.scratch.weights;
        let mut commands = vec![Command::Softmax(defs::Softmax {
            rows: (self.shape.rows as u64).into(),
            cols: (rounds as u64).into(),
            src: View {
                elem: Elem::F32,
                addr: (self.base + self.scratch.sums).into(),
                pitch: 4,
                step: self.shape.rows as u32 * 4,
            },
            scale: 1.0,
            mask: None,
            row_mask: None,
            window: None,
            always: 0u64.into(),
            causal: None,
            col_scale: None,
            dst: View::rows(Elem::F32, weights, rounds as u32 * 4),
            dst_scale: None,
            log_sum: None,
        })];
        let pitch = self.shape.value_width as u32 * 4;
        let [sum, term] = self
            .scratch
            .join
            .map(|offset| View::rows(Elem::F32, self.base + offset, pitch));
        for rows in chunks(0..self.shape.rows, JOINED_ROWS) {
            let size = [rows.len() as u64, self.shape.value_width as u64];
            let first = rows.start as u64;
            let weight = |round: u64| {
                let at = weights + 4 * (first * rounds as u64 + round);
                View::column(Elem::F32, at, rounds as u32 * 4)
            };
            let times = |round: u64, dst| {
                binary(
                    BinaryFn::Mul,
                    size,
                    self.round(round, first),
                    weight(round),
                    dst,
                )
            };
            commands.push(times(0, sum));
            for round in 1..rounds as u64 {
                let dst = if round + 1 == rounds as u64 {
                    let view = self.result.view();
                    View {
                        addr: moved(view.addr, first * self.result.pitch),
                        ..view
                    }
                } else {
                    sum
                };
                commands.push(times(round, term));
                commands.push(binary(BinaryFn::Add, size, sum, term, dst));
            }
        }
        commands
    }
}

/// A column as a row.
fn across(view: View) -> View {
    View {
        pitch: 0,
        step: view.pitch,
        ..view
    }
}

/// A row of elements from a later one on.
fn later(row: View, first: u64) -> View {
    View {
        addr: moved(row.addr, first * u64::from(row.elem.bytes())),
        ..row
    }
}

fn moved(addr: Affine, bytes: u64) -> Affine {
    Affine {
        base: addr.base + bytes,
        ..addr
    }
}

/// Rows as words of four bytes where they are made of such, and the words of a row: a lane moves one
/// in a cycle.
fn words(view: View, width: usize) -> (View, u64) {
    let bytes = width as u64 * u64::from(view.elem.bytes());
    let whole = [bytes, view.addr.base, u64::from(view.pitch)]
        .iter()
        .all(|n| n.is_multiple_of(4));
    if !whole || view.step != view.elem.bytes() || view.elem.bytes() >= 4 {
        return (view, width as u64);
    }
    let words = View {
        elem: Elem::I32,
        step: 4,
        ..view
    };
    (words, bytes / 4)
}

fn fill(cols: u64, value: f32, step: f32, dst: View) -> Command {
    Command::Fill(defs::Fill {
        rows: 1u64.into(),
        cols: cols.into(),
        value,
        dst,
        step,
    })
}

fn unsupported(node: NodeId, reason: &str) -> Diagnostic {
    Diagnostic::unsupported(
        "emit-chunk",
        format!("this attention among chunks has no packet form: {reason}"),
    )
    .at(node.to_string())
    .help("run the whole graph pipeline, or report the model")
}
