//! Attention over caches: one key/value head with all the heads that read it.
//!
//! The planes of keys and values have come through the ring; the new rows are copied behind them, and
//! every extent along the keys follows the register that counts the rows. Planes of floats are quantised
//! first, a row with one scale. With a single new row the
//! heads that share keys are the rows of one product.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Attention;
use packwright_ir::{Elem as GraphElem, NodeId, Op, Value};
use packwright_packet::defs::{Command, Copy, Matmul, Quantize, Softmax};
use packwright_packet::operand::{Affine, Elem, Hold, UnaryFn, View};

use super::address::{Area, At, Site};
use super::attention::squeeze;
use super::heads::{head_area, is_addend, mask_view, unsupported};
use super::whole::Operand;
use crate::plan::Part;
use crate::plan::cache::Cache;
use crate::plan::constants::{Form, TileId};
use crate::plan::demand::{self, AttentionShape};

/// A key/value head at work.
struct Head<'a> {
    site: &'a Site<'a>,
    at: &'a At,
    node: NodeId,
    attributes: &'a Attention,
    tiles: &'a [TileId],
    shape: AttentionShape,
    batch: usize,
    /// The key/value head.
    head: usize,
    copy: u8,
    /// Rows of keys, with the new ones.
    rows: Affine,
}

/// The part of the scratch that biases by distance go to; scores and probabilities come before.
const BIASES: u8 = 2;
/// The part that the first factor goes to when it is quantised.
const FIRST_FACTOR: u8 = 3;

/// Keys or values of a head in int8.
#[derive(Clone, std::marker::Copy)]
struct Factor {
    /// Where the first row is; rows stand one behind the other.
    elements: u64,
    /// Where its scale is.
    scales: u64,
}

/// Rows of one product: their queries, and where they go.
struct Queries {
    count: usize,
    /// The head of the first row.
    head: usize,
    q: Area,
    mask: Option<View>,
    out: Area,
}

/// Carries the query heads of one key/value head through attention.
pub fn cached(
    site: &Site<'_>,
    at: &At,
    node: NodeId,
    part: &Part,
    tiles: &[TileId],
) -> Result<Vec<Command>, Diagnostic> {
    let Op::Attention(attributes) = site.graph.op(node) else {
        unreachable!("attention stages hold attention nodes")
    };
    let Part::Head { head, copy, .. } = part else {
        unreachable!("attention fragments are parts of heads")
    };
    let shape = AttentionShape::of(site.graph, node);
    let planes = planes(site, tiles);
    let [(k_cache, k), (v_cache, v)] = planes[..] else {
        return Err(unsupported(node, "keys and values are not both cached"));
    };
    let looks = attributes.causal || attributes.window.is_some();
    if looks && k_cache.new != shape.s {
        return Err(unsupported(
            node,
            "rows that see columns near their own add none of their own",
        ));
    }
    let head = Head {
        site,
        at,
        node,
        attributes,
        tiles,
        shape,
        batch: at.block.start / shape.s,
        head: *head,
        copy: *copy,
        rows: k_cache.at_position(k_cache.new as u64, 1),
    };
    let mut commands = head.add_rows(k_cache, k)?;
    commands.extend(head.add_rows(v_cache, v)?);
    let mut parts = FIRST_FACTOR..;
    let mut factor = |cache: &Cache, plane: u64| match cache.elem {
        GraphElem::F16 => {
            let (factor, quantize) = head.quantize(cache, plane, parts.next()?);
            commands.push(quantize);
            Some(factor)
        }
        _ => Some(Factor {
            elements: plane,
            scales: plane + cache.data_bytes(cache.rows()),
        }),
    };
    let factors = (factor(k_cache, k), factor(v_cache, v));
    let (Some(k), Some(v)) = factors else {
        unreachable!("there are more parts of scratch than factors")
    };
    for queries in head.queries()? {
        let bias = head.bias(&queries, k_cache)?;
        let (copied, bias) = bias.map_or((None, None), |(copy, view)| (Some(copy), Some(view)));
        commands.extend(copied);
        commands.extend(head.attend(&queries, bias, k_cache, [k, v]));
    }
    Ok(commands)
}

/// The caches among the tiles, with the addresses of their planes.
fn planes<'a>(site: &'a Site<'_>, tiles: &[TileId]) -> Vec<(&'a Cache, u64)> {
    let of = |&tile: &TileId| {
        let info = &site.plan.tiles[tile.0 as usize];
        match &site.plan.layout.get(info.stored).form {
            Form::Cache(cache) => Some((cache, info.addr)),
            Form::Channels { .. } | Form::Vectors { .. } | Form::Plain { .. } => None,
        }
    };
    tiles.iter().filter_map(of).collect()
}

impl Head<'_> {
    /// Copies the new rows behind those that the plane holds.
    fn add_rows(&self, cache: &Cache, plane: u64) -> Result<Vec<Command>, Diagnostic> {
        let Some(added) = cache.added else {
            return Ok(Vec::new());
        };
        let row = self.batch * cache.new;
        let area = match cache.elem {
            GraphElem::F16 => self.floats_of(added, row, self.head * cache.width)?,
            _ => self.rows_of(added, row, self.head, cache.width)?,
        };
        let scales = plane + cache.data_bytes(cache.rows());
        let copy = |cols: usize, src: View, base: u64, bytes: u64| {
            Command::Copy(Copy {
                rows: (cache.new as u64).into(),
                cols: (cols as u64).into(),
                src,
                dst: View::rows(src.elem, cache.at_position(base, bytes), bytes as u32),
            })
        };
        let [elements, scale] = cache.row_parts();
        let mut commands = vec![copy(cache.width, area.view(), plane, elements)];
        if scale > 0 {
            commands.push(copy(1, area.scales(), scales, scale));
        }
        Ok(commands)
    }

    /// Quantises the rows of a plane, with those that were added, into a part of the scratch.
    fn quantize(&self, cache: &Cache, plane: u64, part: u8) -> (Factor, Command) {
        let (width, most) = (cache.width as u64, cache.rows() as u64);
        let elements = self.site.scratch(self.at, part, self.copy);
        let scales = elements + (most * width).next_multiple_of(4);
        let command = Command::Quantize(Quantize {
            rows: self.rows,
            cols: width.into(),
            src: View::rows(Elem::F16, plane, 2 * width as u32),
            dst: View::rows(Elem::I8, elements, width as u32),
            group: width.into(),
            dst_scale: Some(View::rows(Elem::F32, scales, 4)),
            scale: 1.0,
            zero: None,
        });
        (Factor { elements, scales }, command)
    }

    /// The rows of each product.
    fn queries(&self) -> Result<Vec<Queries>, Diagnostic> {
        let AttentionShape {
            s,
            heads,
            kv_heads,
            width,
            value_width,
            ..
        } = self.shape;
        let group = heads / kv_heads;
        let q = self.site.graph.operands(self.node)[0];
        let root = self
            .site
            .plan
            .storage
            .root_of(self.node)
            .expect("attention has a root");
        let first = self.batch * s;
        let of_head = |head: usize| -> Result<Queries, Diagnostic> {
            let out = self.site.root_area(root, self.at.segment, first);
            Ok(Queries {
                count: s,
                head,
                q: self.rows_of(q, first, head, width)?,
                mask: self.mask(head)?,
                out: out.column(head * value_width, None),
            })
        };
        let own = self.head * group..(self.head + 1) * group;
        // Rows of a window see columns of their own.
        if s > 1 || self.attributes.window.is_some() {
            return own.map(of_head).collect();
        }
        // The heads lie side by side in the one row: as rows, they are their width apart.
        let mut queries = of_head(own.start)?;
        queries.count = group;
        (queries.q.pitch, queries.q.scale_pitch) = (width as u64, 4);
        queries.out.pitch = value_width as u64 * u64::from(queries.out.elem.bytes());
        Ok(vec![queries])
    }

    /// Where rows of a head lie, from one of them on.
    fn rows_of(
        &self,
        value: Value,
        row: usize,
        head: usize,
        width: usize,
    ) -> Result<Area, Diagnostic> {
        head_area(self.site, self.at, self.node, value, row, head, width)
    }

    /// Where rows that are in floats lie, from one of them and a column on.
    fn floats_of(&self, value: Value, row: usize, column: usize) -> Result<Area, Diagnostic> {
        let place = self.site.plan.storage.place(value);
        let place = place.ok_or_else(|| unsupported(self.node, "new rows are a constant"))?;
        let area = self.site.place_area(place, self.at.segment, row);
        Ok(area.column(column, None))
    }

    /// The part of the mask that a product sees: rows of one head, or the row of several heads.
    fn mask(&self, head: usize) -> Result<Option<View>, Diagnostic> {
        let Some(position) = self.attributes.mask_operand() else {
            return Ok(None);
        };
        let shape = &self.shape;
        let full = [shape.batch, shape.heads, shape.s, shape.t];
        let scene = (self.site, self.at, self.node, self.tiles);
        let (mut mask, apart) = mask_view(scene, position, full, [self.batch, head, 0])?;
        if shape.s == 1 {
            mask.pitch = apart as u32;
        }
        Ok(Some(mask))
    }

    /// Puts the biases by distance of some rows into scratch, and says where those of the columns are: rows of
    /// one head go one place further on each, rows of several heads stand one below the other.
    fn bias(&self, queries: &Queries, keys: &Cache) -> Result<Option<(Command, View)>, Diagnostic> {
        let position = self.attributes.relative_operand();
        let held = demand::held_biases(self.site.graph, self.node);
        let (Some(position), Some((first, pitch))) = (position, held) else {
            return Ok(None);
        };
        let value = self.site.graph.operands(self.node)[position];
        let biases = Operand::of(self.site, self.at, value, self.tiles)
            .ok_or_else(|| unsupported(self.node, "the bias has no place"))?;
        let columns = self.site.graph.ty(value).columns() as u64;
        let bytes = u64::from(biases.elem.bytes());
        let (of_head, further) = match self.shape.s {
            1 => (columns * bytes, 0),
            _ => (0, bytes),
        };
        let row = biases.addr + queries.head as u64 * columns * bytes;
        let base = self.site.scratch(self.at, BIASES, self.copy);
        let copy = Command::Copy(Copy {
            rows: (queries.count as u64).into(),
            cols: columns.into(),
            src: View::rows(biases.elem, row, of_head as u32),
            dst: View::rows(
                biases.elem,
                keys.at_position(base, bytes),
                (pitch + further) as u32,
            ),
        });
        let view = View::rows(biases.elem, base + first as u64 * bytes, pitch as u32);
        Ok(Some((copy, view)))
    }

    /// The last column that the first row sees, and how many up to its last one a row sees. A single row
    /// sees all that is there, unless a window ends.
    fn sight(&self, keys: &Cache) -> (Option<Affine>, Option<Affine>) {
        let Attention { causal, window, .. } = *self.attributes;
        let ahead = match (causal, window) {
            (false, Some(window)) => window as u64,
            _ => 0,
        };
        let last =
            (window.is_some() || (causal && self.shape.s > 1)).then(|| keys.at_position(ahead, 1));
        let width = window.map(|window| Affine::constant(window as u64 + ahead + 1));
        (last, width)
    }

    /// Scores, softmax and the sum of values.
    fn attend(
        &self,
        queries: &Queries,
        bias: Option<View>,
        keys: &Cache,
        [k, v]: [Factor; 2],
    ) -> [Command; 3] {
        let (most, m) = (self.shape.t as u64, queries.count as u64);
        let scores = View::rows(
            Elem::F32,
            self.site.scratch(self.at, 0, self.copy),
            (most * 4) as u32,
        );
        let p_addr = self.site.scratch(self.at, 1, self.copy);
        let p = View::rows(Elem::I8, p_addr, most as u32);
        let p_scale = View::rows(Elem::F32, p_addr + (m * most).next_multiple_of(4), 4);
        let scales = |factor: Factor| View {
            elem: Elem::F32,
            addr: factor.scales.into(),
            pitch: 0,
            step: 4,
        };
        let (added, mask) = match queries.mask {
            Some(mask) if is_addend(&mask, self.attributes) => (Some(mask), None),
            other => (None, other),
        };
        let product = Matmul {
            m: m.into(),
            n: self.rows,
            k: (self.shape.width as u64).into(),
            a: queries.q.view(),
            b: View::rows(Elem::I8, k.elements, self.shape.width as u32),
            hold: Hold::B,
            group: (self.shape.width as u64).into(),
            a_scale: Some(queries.q.scales()),
            a_zero: 0,
            b_bits: 8,
            b_group: (self.shape.width as u64).into(),
            b_step: None,
            b_zero: None,
            b_scale: Some(scales(k)),
            alpha: self.attributes.product_scale(),
            bias: None,
            activation: squeeze(self.attributes),
            residual: added.or(bias),
            acc: None,
            start: true,
            finish: true,
            out: scores,
            out_scale: 1.0,
        };
        let (causal, window) = self.sight(keys);
        let softmax = Softmax {
            rows: m.into(),
            cols: self.rows,
            src: scores,
            scale: self.attributes.softcap.unwrap_or(1.0),
            mask,
            row_mask: None,
            window,
            always: 0u64.into(),
            causal,
            col_scale: Some(scales(v)),
            dst: p,
            dst_scale: Some(p_scale),
            log_sum: None,
        };
        let values = Matmul {
            n: (self.shape.value_width as u64).into(),
            k: self.rows,
            a: p,
            b: View {
                elem: Elem::I8,
                addr: v.elements.into(),
                pitch: 1,
                step: self.shape.value_width as u32,
            },
            group: self.rows,
            a_scale: Some(p_scale),
            a_zero: 0,
            b_bits: 8,
            b_group: self.rows,
            b_step: None,
            b_zero: None,
            b_scale: None,
            alpha: 1.0,
            activation: UnaryFn::Identity,
            residual: None,
            out: queries.out.view(),
            ..product.clone()
        };
        [
            Command::Matmul(product),
            Command::Softmax(softmax),
            Command::Matmul(values),
        ]
    }
}
