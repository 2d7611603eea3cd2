//! Chains of row-wise nodes on a chunk of rows: embeddings, norms, rotations, quantisation.

use packwright_ir::diag::Diagnostic;
use packwright_ir::{NodeId, Op, Value};
use packwright_numerics::quant::PART_STEPS;
use packwright_packet::defs::{self, Command};
use packwright_packet::operand::{BinaryFn, Block, Elem, RotaryLayout, UnaryFn, View};

use super::address::{Area, At, Site};
use super::regions::Regions;
use super::{matmul, transfer, whole};
use crate::plan::constants::{Form, StoredId, TileId, progression};
use crate::plan::demand;
use crate::plan::storage::RootId;
use crate::plan::window::Window;

/// Consecutive indices: the first, how many, and where their rows go.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    count: u64,
    addr: u64,
}

/// A chain at work: scratch parts are handed out in the order in which `demand` lists them.
struct Chain<'a> {
    site: &'a Site<'a>,
    regions: &'a Regions,
    at: &'a At,
    tiles: &'a [TileId],
    next_part: u8,
    copy: u8,
    /// The chained value and where it lies; where a pass makes some columns, each is where it would be if all
    /// were there.
    carried: Option<(Value, Area)>,
    commands: Vec<Command>,
}

/// Carries a chunk of rows through a chain of row-wise nodes.
pub fn rows(
    site: &Site<'_>,
    regions: &Regions,
    at: &At,
    nodes: &[NodeId],
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let segment = &site.plan.segments[at.segment.segment];
    let chunk = at.block.start / segment.chunk_rows(site.plan.row_chunk).max(1);
    let copy = (chunk % 2) as u8;
    let mut chain = Chain {
        site,
        regions,
        at,
        tiles,
        next_part: 0,
        copy,
        carried: None,
        commands: Vec::new(),
    };
    for (position, &node) in nodes.iter().enumerate() {
        chain.node(node, position + 1 == nodes.len())?;
    }
    Ok(chain.commands)
}

impl Chain<'_> {
    fn node(&mut self, node: NodeId, last: bool) -> Result<(), Diagnostic> {
        let root = self.site.plan.storage.root_of(node);
        let passes = &self.site.plan.segments[self.at.segment.segment].passes;
        if let Some((root, window)) = root.and_then(|root| Some((root, passes.window(root)?))) {
            return self.columns(node, root, window, last);
        }
        match self.site.graph.op(node) {
            Op::Embedding { tables } => self.embedding(node, *tables, last),
            Op::LayerNorm { .. } | Op::RmsNorm { .. } => self.norm(node, last),
            Op::Quantize { .. } => self.quantize(node, last),
            Op::QuantizeParts { group, scale } => self.quantize_parts(node, *group, *scale, last),
            Op::Unary(_) | Op::Binary(_) | Op::Cast { .. } => self.elementwise(node, last),
            Op::Rotary { heads, .. } => self.rotary(node, *heads, last),
            Op::Concat { .. } => self.concat(node, last),
            op => Err(
                Diagnostic::unsupported("emit-rows", format!("{op:?} is not row-wise"))
                    .at(node.to_string()),
            ),
        }
    }

    fn part(&mut self) -> u64 {
        self.next_part += 1;
        self.site.scratch(self.at, self.next_part - 1, self.copy)
    }

    /// Where the operand of a node lies.
    fn source(&self, node: NodeId) -> Result<Area, Diagnostic> {
        self.operand(node, 0)
    }

    fn operand(&self, node: NodeId, slot: usize) -> Result<Area, Diagnostic> {
        let value = self.site.graph.operands(node)[slot];
        if let Some((carried, area)) = self.carried
            && carried == value
        {
            return Ok(area);
        }
        self.site
            .value_area(value, self.at.segment, self.at.block.start)
            .ok_or_else(|| {
                Diagnostic::unsupported("emit-rows", "the operand is a constant")
                    .at(node.to_string())
            })
    }

    /// Where the result of a node goes: its root where it is kept, else scratch.
    fn result(&mut self, node: NodeId, last: bool) -> Area {
        let root = self
            .site
            .plan
            .storage
            .root_of(node)
            .expect("row-wise nodes have roots");
        let info = self.site.plan.storage.root(root);
        // A part is set aside for every chained value, used or not, so that parts stay in step.
        let scratch = if last { None } else { Some(self.part()) };
        let area = if self.site.has_home(root, self.at.segment) {
            self.site
                .root_area(root, self.at.segment, self.at.block.start)
        } else {
            let addr = scratch.expect("the last value of a chain has a home");
            Area {
                elem: info.elem,
                addr,
                pitch: info.pitch(),
                scale_addr: addr + info.data_bytes(self.at.block.len()),
                scale_pitch: info.scale_pitch(),
            }
        };
        self.carried = Some((node.into(), area));
        area
    }

    fn norm(&mut self, node: NodeId, last: bool) -> Result<(), Diagnostic> {
        let graph = self.site.graph;
        let source = self.source(node)?;
        let (kind, eps) = whole::norm_kind(graph.op(node)).expect("norms have a kind");
        let vectors = self.vectors(node);
        let target = self.result(node, last);
        self.commands.push(Command::Norm(defs::Norm {
            rows: (self.at.block.len() as u64).into(),
            cols: (graph.types(node)[0].columns() as u64).into(),
            kind,
            eps,
            src: source.view(),
            gamma: vectors.first().copied(),
            beta: vectors.get(1).copied(),
            dst: target.view(),
        }));
        Ok(())
    }

    /// A function of one or two values of the same shape.
    fn elementwise(&mut self, node: NodeId, last: bool) -> Result<(), Diagnostic> {
        let graph = self.site.graph;
        let cols = graph.types(node)[0].columns();
        let sources: Vec<View> = (0..graph.operands(node).len())
            .map(|slot| self.operand(node, slot).map(|area| area.view()))
            .collect::<Result<_, _>>()?;
        let dst = self.result(node, last).view();
        let command = self.elementwise_command(node, cols, &sources, dst)?;
        self.commands.push(command);
        Ok(())
    }

    fn elementwise_command(
        &self,
        node: NodeId,
        cols: usize,
        sources: &[View],
        dst: View,
    ) -> Result<Command, Diagnostic> {
        let (rows, cols) = (self.at.block.len() as u64, cols as u64);
        let command = match self.site.graph.op(node) {
            Op::Binary(binary) => whole::binary_fn(*binary).map(|func| {
                Command::Binary(defs::Binary {
                    rows: rows.into(),
                    cols: cols.into(),
                    func,
                    a: sources[0],
                    b: sources[1],
                    dst,
                })
            }),
            op => whole::elementwise_fn(op).map(|func| {
                Command::Unary(defs::Unary {
                    rows: rows.into(),
                    cols: cols.into(),
                    func,
                    src: sources[0],
                    dst,
                })
            }),
        };
        command.ok_or_else(|| {
            Diagnostic::unsupported("emit-rows", "the vector unit has no such function")
                .at(node.to_string())
        })
    }

    /// Rows side by side.
    fn concat(&mut self, node: NodeId, last: bool) -> Result<(), Diagnostic> {
        let graph = self.site.graph;
        let parts: Vec<(Area, usize)> = graph
            .operands(node)
            .iter()
            .enumerate()
            .map(|(slot, &v)| Ok((self.operand(node, slot)?, graph.ty(v).columns())))
            .collect::<Result<_, Diagnostic>>()?;
        let target = self.result(node, last);
        let mut column = 0;
        for (part, cols) in parts {
            self.commands.push(Command::Unary(defs::Unary {
                rows: (self.at.block.len() as u64).into(),
                cols: (cols as u64).into(),
                func: UnaryFn::Identity,
                src: part.view(),
                dst: target.column(column, None).view(),
            }));
            column += cols;
        }
        Ok(())
    }

    /// The vectors of a norm, as rows.
    fn vectors(&self, node: NodeId) -> Vec<View> {
        let layout = &self.site.plan.layout;
        let Some(&id) = layout.of(node).first() else {
            return Vec::new();
        };
        let Form::Vectors { parts, length } = &layout.get(id).form else {
            return Vec::new();
        };
        let Some(addr) = self.tile_of(id) else {
            return Vec::new();
        };
        (0..parts.len())
            .map(|i| View::row(Elem::F32, addr + (i * length * 4) as u64))
            .collect()
    }

    fn tile_of(&self, id: StoredId) -> Option<u64> {
        self.tiles
            .iter()
            .find(|tile| self.site.plan.tiles[tile.0 as usize].stored == id)
            .map(|&tile| self.site.tile(tile))
    }

    fn quantize(&mut self, node: NodeId, last: bool) -> Result<(), Diagnostic> {
        let rows = self.at.block.len();
        let source = self.source(node)?;
        let target = self.result(node, last);
        let cols = self.site.graph.types(node)[0].columns();
        self.commands.push(matmul::quantize_command(
            self.site,
            node,
            rows,
            cols,
            source.view(),
            target,
        ));
        Ok(())
    }

    /// Quantises in two parts side by side: the rows, and what that has lost.
    fn quantize_parts(
        &mut self,
        node: NodeId,
        group: usize,
        scale: Option<f32>,
        last: bool,
    ) -> Result<(), Diagnostic> {
        let (rows, k) = (
            self.at.block.len(),
            self.site.graph.types(node)[0].columns() / 2,
        );
        let extent = |n: usize| (n as u64).into();
        let source = self.source(node)?.view();
        let lost = Area {
            elem: Elem::F32,
            addr: self.part(),
            pitch: k as u64 * 4,
            scale_addr: 0,
            scale_pitch: 0,
        };
        let main = self.result(node, last);
        let rest = main.column(k, Some(group));
        self.quantize_part(k, group, source, main, scale);
        for first in (0..k).step_by(group) {
            let from = main.column(first, Some(group));
            self.commands.push(Command::Dequantize(defs::Dequantize {
                rows: extent(rows),
                cols: extent(group),
                src: from.view(),
                scale: View {
                    step: 0,
                    ..from.scales()
                },
                addend: None,
                dst: lost.column(first, None).view(),
            }));
        }
        self.commands.push(Command::Binary(defs::Binary {
            rows: extent(rows),
            cols: extent(k),
            func: BinaryFn::Sub,
            a: source,
            b: lost.view(),
            dst: lost.view(),
        }));
        let scale = scale.map(|step| step / PART_STEPS);
        self.quantize_part(k, group, lost.view(), rest, scale);
        Ok(())
    }

    /// One part: scales are found, or written beside the integers.
    fn quantize_part(&mut self, k: usize, group: usize, src: View, to: Area, scale: Option<f32>) {
        let rows = (self.at.block.len() as u64).into();
        if let Some(value) = scale {
            self.commands.push(Command::Fill(defs::Fill {
                rows,
                cols: 1u64.into(),
                value,
                dst: to.scales(),
                step: 0.0,
            }));
        }
        self.commands.push(Command::Quantize(defs::Quantize {
            rows,
            cols: (k as u64).into(),
            src,
            dst: to.view(),
            group: (group as u64).into(),
            dst_scale: scale.is_none().then(|| to.scales()),
            scale: scale.unwrap_or(1.0),
            zero: None,
        }));
    }

    /// Carries the columns that a pass makes through an element-wise function or a quantisation.
    fn columns(
        &mut self,
        node: NodeId,
        root: RootId,
        window: &Window,
        last: bool,
    ) -> Result<(), Diagnostic> {
        let site = self.site;
        let (turn, row) = (self.at.segment, self.at.block.start);
        let info = site.plan.storage.root(root).narrowed(window.columns());
        let scratch = if last { None } else { Some(self.part()) };
        let mut made = None;
        for columns in window.ranges(turn.pass) {
            let result = if site.has_home(root, turn) {
                site.root_columns(root, turn, row, columns.start)
            } else {
                let addr = scratch.expect("the last value of a chain has a home");
                let area = Area {
                    elem: info.elem,
                    addr,
                    pitch: info.pitch(),
                    scale_addr: addr + info.data_bytes(self.at.block.len()),
                    scale_pitch: info.scale_pitch(),
                };
                area.shifted(window.shift(turn.pass, columns.start), info.group)
            };
            let target = result.column(columns.start, info.group);
            let operands = site.graph.operands(node);
            let seen = |value: Value| self.seen(node, value, columns.start);
            match site.graph.op(node) {
                Op::Quantize { .. } => {
                    let source = seen(operands[0])?.view();
                    let rows = self.at.block.len();
                    let command =
                        matmul::quantize_command(site, node, rows, columns.len(), source, target);
                    self.commands.push(command);
                }
                Op::Rotary { heads, .. } => {
                    let width = site.graph.types(node)[0].columns() / heads;
                    let source = seen(operands[0])?;
                    self.rotate(node, columns.len() / width, source, target)?;
                }
                _ => {
                    let sources = operands
                        .into_iter()
                        .map(|v| seen(v).map(|area| area.view()));
                    let sources: Vec<View> = sources.collect::<Result<_, _>>()?;
                    let target = target.view();
                    let command =
                        self.elementwise_command(node, columns.len(), &sources, target)?;
                    self.commands.push(command);
                }
            }
            made = Some((node.into(), result));
        }
        // Windows see to it that a chained value has one section.
        self.carried = made;
        Ok(())
    }

    /// An operand of a node from one of its columns on.
    fn seen(&self, node: NodeId, value: Value, column: usize) -> Result<Area, Diagnostic> {
        if let Some((carried, area)) = self.carried
            && carried == value
        {
            return Ok(area.column(column, None));
        }
        let place = self.site.plan.storage.place(value).ok_or_else(|| {
            Diagnostic::unsupported("emit-rows", "the operand is a constant").at(node.to_string())
        })?;
        let row = place.row + self.at.block.start * place.row_step;
        let column = place.col + column;
        let mut area = self
            .site
            .root_columns(place.root, self.at.segment, row, column)
            .column(column, None);
        area.pitch *= place.row_step as u64;
        Ok(area)
    }

    fn rotary(&mut self, node: NodeId, heads: usize, last: bool) -> Result<(), Diagnostic> {
        let source = self.source(node)?;
        let target = self.result(node, last);
        self.rotate(node, heads, source, target)
    }

    /// Rotates head by head, and takes along what does not turn; a chunk that reaches into the next batch element starts
    /// at position 0 there.
    fn rotate(
        &mut self,
        node: NodeId,
        heads: usize,
        source: Area,
        target: Area,
    ) -> Result<(), Diagnostic> {
        let graph = self.site.graph;
        let operands = graph.operands(node);
        let Op::Rotary {
            heads: all,
            interleaved,
        } = *graph.op(node)
        else {
            return Err(
                Diagnostic::unsupported("emit-rows", "nothing is rotated").at(node.to_string())
            );
        };
        let width = graph.types(node)[0].columns() / all;
        let positions = graph.ty(operands[1]).rows();
        let turned = 2 * graph.ty(operands[1]).columns();
        let layout = match interleaved {
            true => RotaryLayout::Interleaved,
            false => RotaryLayout::Half,
        };
        let mut row = self.at.block.start;
        while row < self.at.block.end {
            let position = row % positions;
            let rows = (positions - position).min(self.at.block.end - row);
            let done = row - self.at.block.start;
            let [cos, sin] = [1, 2].map(|slot| self.angles(operands[slot], position));
            let (cos, sin) = (cos?, sin?);
            for head in 0..heads {
                let of = |area: Area| area.row(done).column(head * width, None).view();
                self.commands.push(Command::Rotary(defs::Rotary {
                    rows: (rows as u64).into(),
                    cols: (turned as u64).into(),
                    layout,
                    src: of(source),
                    cos,
                    sin,
                    dst: of(target),
                }));
            }
            if turned < width {
                for head in 0..heads {
                    let first = head * width + turned;
                    let of = |area: Area| area.row(done).column(first, None).view();
                    self.commands.push(Command::Unary(defs::Unary {
                        rows: (rows as u64).into(),
                        cols: ((width - turned) as u64).into(),
                        func: UnaryFn::Identity,
                        src: of(source),
                        dst: of(target),
                    }));
                }
            }
            row += rows;
        }
        Ok(())
    }

    /// Cosines or sines from a position on.
    fn angles(&self, value: Value, position: usize) -> Result<View, Diagnostic> {
        let area = match self.site.graph.as_const(value) {
            Some(_) => whole::Operand::of(self.site, self.at, value, self.tiles).map(|operand| {
                let pitch = operand.strides[0];
                Area {
                    elem: operand.elem,
                    addr: operand.addr + position as u64 * pitch,
                    pitch,
                    scale_addr: 0,
                    scale_pitch: 0,
                }
            }),
            None => self.site.value_area(value, self.at.segment, position),
        };
        area.map(|area| area.view()).ok_or_else(|| {
            Diagnostic::unsupported("emit-rows", "the angles have no place").at(value.to_string())
        })
    }

    fn embedding(&mut self, node: NodeId, tables: usize, last: bool) -> Result<(), Diagnostic> {
        let graph = self.site.graph;
        let operands = graph.operands(node);
        let rows = self.at.block.len() as u64;
        let cols = graph.types(node)[0].columns() as u64;
        let mut stored = self.site.plan.layout.of(node).to_vec().into_iter();
        let mut gathered = Vec::new();
        for pair in 0..tables {
            let ids = operands[2 * pair];
            let steps = graph
                .as_const(ids)
                .and_then(|konst| progression(graph, konst));
            let list = if graph.as_const(ids).is_some() && steps.is_none() {
                stored.next()
            } else {
                None
            };
            let table = stored.next().ok_or_else(|| {
                Diagnostic::unsupported("emit-rows", "an embedding table is not a constant")
                    .at(node.to_string())
            })?;
            let addr = self.part();
            self.gather(node, ids, steps, list, table, addr)?;
            gathered.push((addr, table));
        }
        let sum = if tables > 1 {
            let addr = self.part();
            Some(View::rows(Elem::F32, addr, (cols * 4) as u32))
        } else {
            None
        };
        let target = self.result(node, last);
        for (index, (addr, table)) in gathered.iter().enumerate() {
            let info = self.site.plan.layout.get(*table);
            let record = info.record() as u32;
            let is_last = index + 1 == gathered.len();
            self.commands.push(Command::Dequantize(defs::Dequantize {
                rows: rows.into(),
                cols: cols.into(),
                src: View::rows(Elem::I8, *addr, record),
                scale: View::column(Elem::F32, addr + info.scale_offset(), record),
                addend: if index > 0 { sum } else { None },
                dst: if is_last {
                    target.view()
                } else {
                    sum.unwrap_or(target.view())
                },
            }));
        }
        Ok(())
    }

    /// Brings the rows of a table that the chunk needs to `addr`. Indices that batch elements share
    /// start again with each of them.
    fn gather(
        &mut self,
        node: NodeId,
        ids: Value,
        steps: Option<crate::plan::constants::Progression>,
        list: Option<StoredId>,
        table: StoredId,
        addr: u64,
    ) -> Result<(), Diagnostic> {
        let record = self.site.plan.layout.get(table).record();
        let period = self.site.graph.ty(ids).elements().max(1);
        let rows = self.at.block.len();
        let mut done = 0;
        while done < rows {
            let start = (self.at.block.start + done) % period;
            let run = Run {
                start,
                count: (period - start).min(rows - done) as u64,
                addr: addr + done as u64 * record,
            };
            done += run.count as usize;
            self.gather_run(node, ids, steps, list, table, run)?;
        }
        Ok(())
    }

    /// Brings the rows that consecutive indices name.
    fn gather_run(
        &mut self,
        node: NodeId,
        ids: Value,
        steps: Option<crate::plan::constants::Progression>,
        list: Option<StoredId>,
        table: StoredId,
        run: Run,
    ) -> Result<(), Diagnostic> {
        let Run { start, count, addr } = run;
        let info = self.site.plan.layout.get(table);
        let record = info.record();
        let Form::Channels { channels, .. } = info.form else {
            return Err(Diagnostic::unsupported(
                "emit-rows",
                "an embedding table is not quantised",
            )
            .at(node.to_string()));
        };
        let in_sram = if demand::is_small_table(info) {
            self.tile_of(table)
        } else {
            None
        };
        if let Some(steps) = steps {
            let first =
                (steps.first + steps.step * start as i64).rem_euclid(channels as i64) as u64;
            let pitch = record * steps.step as u64;
            self.commands.push(match in_sram {
                Some(base) => Command::Copy(defs::Copy {
                    rows: count.into(),
                    cols: record.into(),
                    src: View::rows(Elem::I8, base + first * record, pitch as u32),
                    dst: View::rows(Elem::I8, addr, record as u32),
                }),
                None => Command::Load(defs::Load {
                    dst: addr.into(),
                    src: transfer::constant_ref(self.site, self.regions, table, first * record),
                    block: Block::rows(count, record, pitch, record as u32),
                }),
            });
            return Ok(());
        }
        let index = match list {
            Some(id) => {
                let base = self.tile_of(id).expect("index lists are loaded whole");
                let elem = if self.site.plan.layout.get(id).elem == packwright_ir::Elem::I64 {
                    Elem::I64
                } else {
                    Elem::I32
                };
                View::row(elem, base + start as u64 * u64::from(elem.bytes()))
            }
            None => {
                let area = self
                    .site
                    .value_area(ids, self.at.segment, 0)
                    .ok_or_else(|| {
                        Diagnostic::unsupported("emit-rows", "indices have no place")
                            .at(node.to_string())
                    })?;
                View::row(
                    area.elem,
                    area.addr + start as u64 * u64::from(area.elem.bytes()),
                )
            }
        };
        self.commands.push(match in_sram {
            Some(base) => Command::Lookup(defs::Lookup {
                rows: count.into(),
                cols: record.into(),
                index,
                table: View::rows(Elem::I8, base, record as u32),
                table_rows: channels as u32,
                dst: View::rows(Elem::I8, addr, record as u32),
            }),
            None => Command::Gather(defs::Gather {
                dst: addr.into(),
                dst_pitch: record as u32,
                table: transfer::constant_ref(self.site, self.regions, table, 0),
                row_bytes: record as u32,
                row_pitch: record,
                table_rows: channels as u64,
                index,
                count: count.into(),
            }),
        });
        Ok(())
    }
}
