//! Initializers: which are weights, where their values come from, which are the same weights twice.

use std::collections::HashMap;

use bytes::Bytes;
use packwright_ir::diag::{Diagnostic, Diagnostics};
use packwright_ir::konst::{Derivation, Fill, FillKind, Source};
use packwright_ir::tensor::{Data, Tensor, array};
use packwright_ir::{ConstId, Elem, Type};

use crate::builder::{Arg, Builder, FOLD_LIMIT};
use crate::codes;
use crate::external::{DataFiles, is_external};
use crate::load::Model;
use crate::map::let_go_of_pages;
use crate::proto::TensorProto;
use crate::values;

/// Numbers with at most so many elements are constants of formulas (epsilon, a scale), not weights.
const FORMULA_ELEMENTS: usize = 16;
/// Tables with fewer elements are not searched for copies.
const TIE_ELEMENTS: usize = 1024;
/// Rows and columns of the pieces in which transposes are compared.
const TILE: usize = 64;
/// Rows of pieces that are compared before their pages are let go of.
const TILES_HELD: usize = 64;
/// Standard deviation of synthetic weights without a rule.
const DEFAULT_STD: f64 = 0.02;

/// The stored values of a model.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) args: Vec<(String, Arg)>,
    /// Elements of all weights, ties counted once.
    pub(crate) parameters: u64,
}

/// One initializer on its way into the graph.
struct Item<'m> {
    proto: &'m TensorProto,
    ty: Type,
    /// Values, where they exist.
    bytes: Option<Bytes>,
    rule: Option<Rule>,
    tie: Option<Tie>,
}

/// How values are made that the file leaves out.
enum Rule {
    Fill { kind: FillKind, start: i64 },
    SameAs(String),
    TransposeOf(String),
}

/// The same weights as another initializer.
struct Tie {
    of: usize,
    transposed: bool,
}

/// Puts all initializers into the graph.
pub(crate) fn store(
    model: &Model,
    builder: &mut Builder,
    synthetic: Option<u64>,
) -> Result<Stored, Diagnostics> {
    let mut items = read(model)?;
    find_ties(&mut items);
    let mut args: Vec<Option<Arg>> = Vec::with_capacity(items.len());
    let mut parameters = 0u64;
    for item in &items {
        if item.tie.is_none() && counts(&item.ty) {
            parameters += item.ty.elements() as u64;
        }
        // Ties point at initializers that are none, wherever they stand: stored after them.
        args.push(item.tie.is_none().then(|| place(item, builder, synthetic)));
    }
    for (at, item) in items.iter().enumerate() {
        let Some(tie) = &item.tie else { continue };
        let arg = match args[tie.of].as_ref().and_then(|arg| builder.as_const(arg)) {
            Some(of) => tied(builder, of, &item.ty, tie.transposed),
            None => place(item, builder, synthetic),
        };
        args[at] = Some(arg);
    }
    let args = items
        .iter()
        .zip(args)
        .filter_map(|(i, a)| Some((i.proto.name().to_owned(), a?)));
    Ok(Stored {
        args: args.collect(),
        parameters,
    })
}

/// Whether the elements are parameters: numbers of a network, not indices, flags or scalars.
fn counts(ty: &Type) -> bool {
    ty.rank() > 0 && matches!(ty.elem, Elem::F32 | Elem::F16 | Elem::I8 | Elem::U8)
}

fn read(model: &Model) -> Result<Vec<Item<'_>>, Diagnostics> {
    let mut errors = Vec::new();
    let rules = read_rules(model)?;
    let mut files = DataFiles::new(model.folder());
    let mut items = Vec::with_capacity(model.graph().initializer.len());
    for proto in &model.graph().initializer {
        let what = proto.name();
        let item = values::stored_type(proto, what).and_then(|ty| {
            let bytes = if is_external(proto) {
                files.bytes(proto, &ty)?
            } else {
                Some(values::inline_bytes(proto, &ty, what)?)
            };
            let rule = match rules.get(what) {
                Some(rule) if bytes.is_none() => Some(parse_rule(what, rule)?),
                _ => None,
            };
            Ok(Item {
                proto,
                ty,
                bytes,
                rule,
                tie: None,
            })
        });
        match item {
            Ok(item) => items.push(item),
            Err(e) => errors.push(e),
        }
    }
    if errors.is_empty() {
        Ok(items)
    } else {
        Err(Diagnostics(errors))
    }
}

type Json = serde_json::Map<String, serde_json::Value>;

fn read_rules(model: &Model) -> Result<Json, Diagnostic> {
    match model.metadata("weights.fill") {
        None => Ok(Json::new()),
        Some(text) => serde_json::from_str(text).map_err(|_| codes::fill_rule("weights.fill")),
    }
}

fn parse_rule(name: &str, rule: &serde_json::Value) -> Result<Rule, Diagnostic> {
    let number = |key: &str| rule.get(key).and_then(serde_json::Value::as_f64);
    let integer = |key: &str| rule.get(key).and_then(serde_json::Value::as_i64);
    let text = |key: &str| rule.get(key).and_then(serde_json::Value::as_str);
    let parsed = match text("kind") {
        Some("normal") => {
            let std = number("std").unwrap_or(DEFAULT_STD);
            Some(Rule::Fill {
                kind: FillKind::Normal { std },
                start: 0,
            })
        }
        Some("const") => number("value").map(|value| Rule::Fill {
            kind: FillKind::Constant { value },
            start: 0,
        }),
        Some("uniform") => number("low")
            .zip(number("high"))
            .map(|(low, high)| Rule::Fill {
                kind: FillKind::Uniform { low, high },
                start: 0,
            }),
        Some("uniform_int") => integer("low")
            .zip(integer("high"))
            .map(|(low, high)| Rule::Fill {
                kind: FillKind::UniformInt { low, high },
                start: 0,
            }),
        Some("arange") => Some(Rule::Fill {
            kind: FillKind::Arange,
            start: integer("start").unwrap_or(0),
        }),
        Some("tril") => Some(Rule::Fill {
            kind: FillKind::Tril,
            start: 0,
        }),
        Some("same_as") => text("of").map(|of| Rule::SameAs(of.to_owned())),
        Some("transpose_of") => text("of").map(|of| Rule::TransposeOf(of.to_owned())),
        _ => None,
    };
    parsed.ok_or_else(|| codes::fill_rule(name))
}

/// An initializer of its own: values known now, or a constant of the graph.
fn place(item: &Item<'_>, builder: &mut Builder, synthetic: Option<u64>) -> Arg {
    builder.label = item.proto.name().to_owned();
    if let Some(tensor) = known_now(item) {
        return builder.known(tensor);
    }
    let source = match (&item.bytes, synthetic) {
        (Some(bytes), _) => Source::Bytes(bytes.clone()),
        (None, None) => Source::Absent,
        (None, Some(seed)) => {
            let kind = match &item.rule {
                Some(Rule::Fill { kind, .. }) => *kind,
                _ if item.ty.elem.is_float() => FillKind::Normal { std: DEFAULT_STD },
                _ => FillKind::Constant { value: 0.0 },
            };
            Source::Synthetic(Fill {
                name: item.proto.name().to_owned(),
                seed,
                kind,
            })
        }
    };
    let id = builder.add_const(item.proto.name(), item.ty.clone(), source);
    Arg::Graph(builder.graph.const_value(id))
}

/// The values, where they decide what is computed rather than being computed with. Whether a weight
/// has values at hand must not change the graph, so weights are never among them.
fn known_now(item: &Item<'_>) -> Option<Tensor> {
    let ty = &item.ty;
    let limit = match ty.elem {
        Elem::F16 | Elem::F32 | Elem::F64 | Elem::I4 | Elem::I8 | Elem::U8 => FORMULA_ELEMENTS,
        Elem::Bool | Elem::I32 | Elem::I64 => FOLD_LIMIT,
    };
    if ty.elements() > limit {
        return None;
    }
    match (&item.bytes, &item.rule) {
        (Some(bytes), _) => Tensor::from_le_bytes(ty, bytes),
        (None, Some(Rule::Fill { kind, start })) => table(ty, *kind, *start),
        (None, _) => None,
    }
}

/// The values of an index table or a mask that the file leaves out.
fn table(ty: &Type, kind: FillKind, start: i64) -> Option<Tensor> {
    let n = ty.elements();
    match (kind, ty.elem) {
        (FillKind::Constant { value }, _) => Some(values::filled(ty.elem, &ty.shape, value)),
        (FillKind::Arange, Elem::I64) => {
            let numbers = (0..n as i64).map(|i| start.wrapping_add(i)).collect();
            Some(Tensor::plain(Data::I64(array(&ty.shape, numbers))))
        }
        (FillKind::Arange, Elem::I32) => {
            let numbers = (0..n as i64)
                .map(|i| start.wrapping_add(i) as i32)
                .collect();
            Some(Tensor::plain(Data::I32(array(&ty.shape, numbers))))
        }
        (FillKind::Tril, Elem::Bool) if ty.rank() >= 2 => {
            let (rows, columns) = (ty.shape[ty.rank() - 2], ty.columns());
            let lower = |i: usize| i % columns <= (i / columns) % rows;
            Some(Tensor::plain(Data::Bool(array(
                &ty.shape,
                (0..n).map(lower).collect(),
            ))))
        }
        _ => None,
    }
}

/// Another initializer's constant, read this way.
fn tied(builder: &mut Builder, of: ConstId, ty: &Type, transposed: bool) -> Arg {
    if transposed {
        return builder.derive(
            of,
            ty.clone(),
            Derivation::Transpose {
                of,
                perm: vec![1, 0],
            },
        );
    }
    if builder.graph.konst(of).ty == *ty {
        return Arg::Graph(builder.graph.const_value(of));
    }
    builder.derive(of, ty.clone(), Derivation::Reshape { of })
}

/// Finds initializers that are others again: by rule, and by content where there are values.
fn find_ties(items: &mut [Item<'_>]) {
    let by_name: HashMap<&str, usize> = items
        .iter()
        .enumerate()
        .map(|(i, item)| (item.proto.name(), i))
        .collect();
    let mut ties: Vec<(usize, Tie)> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let (of, transposed) = match &item.rule {
            Some(Rule::SameAs(of)) => (of, false),
            Some(Rule::TransposeOf(of)) => (of, true),
            Some(Rule::Fill { .. }) | None => continue,
        };
        if let Some(&of) = by_name.get(of.as_str())
            && fits(&items[of], item, transposed)
        {
            ties.push((at, Tie { of, transposed }));
        }
    }
    let mut seen: HashMap<(usize, usize, u64), Vec<usize>> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        // A few elements of each matrix are spread over many pages.
        let_go_of_pages();
        let Some(key) = fingerprint(item) else {
            continue;
        };
        let others = seen.entry(key).or_default();
        match others
            .iter()
            .find_map(|&of| same_content(&items[of], item).map(|t| (of, t)))
        {
            Some((of, transposed)) => ties.push((at, Tie { of, transposed })),
            None => others.push(at),
        }
    }
    for (at, tie) in ties {
        items[at].tie = Some(tie);
    }
}

/// Whether a rule's tie is possible; an initializer that is tied itself is no end of a tie.
fn fits(of: &Item<'_>, item: &Item<'_>, transposed: bool) -> bool {
    let (a, b) = (&of.ty, &item.ty);
    let own = !matches!(of.rule, Some(Rule::SameAs(_) | Rule::TransposeOf(_)));
    let shapes = if transposed {
        a.rank() == 2 && b.rank() == 2 && a.shape[0] == b.shape[1] && a.shape[1] == b.shape[0]
    } else {
        a.elements() == b.elements()
    };
    own && a.elem == b.elem && shapes
}

/// Size and a few elements of a weight matrix, the same for its transpose. `None` for what is not
/// searched: small tables, and tables of one value, whose equality means nothing.
fn fingerprint(item: &Item<'_>) -> Option<(usize, usize, u64)> {
    let bytes = item.bytes.as_ref()?;
    let [rows, columns] = item.ty.shape[..] else {
        return None;
    };
    if !counts(&item.ty) || rows.checked_mul(columns)? < TIE_ELEMENTS {
        return None;
    }
    let size = item.ty.elem.bytes();
    let (short, long) = (rows.min(columns), rows.max(columns));
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ size as u64;
    let mut first: Option<&[u8]> = None;
    let mut varied = false;
    for i in 0..64usize {
        let (p, q) = ((i * 7919) % short, (i * 104_729) % long);
        let (row, column) = if rows <= columns { (p, q) } else { (q, p) };
        let at = (row * columns + column) * size;
        let element = bytes.get(at..at + size)?;
        varied |= *first.get_or_insert(element) != element;
        for &byte in element {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    varied.then_some((short, long, hash))
}

/// Whether two matrices hold the same elements, and whether one is the other's transpose.
fn same_content(a: &Item<'_>, b: &Item<'_>) -> Option<bool> {
    let (x, y) = (a.bytes.as_ref()?, b.bytes.as_ref()?);
    if a.ty == b.ty {
        return (x == y).then_some(false);
    }
    let [rows, columns] = a.ty.shape[..] else {
        return None;
    };
    if a.ty.elem != b.ty.elem || b.ty.shape != [columns, rows] {
        return None;
    }
    let equal = match a.ty.elem.bytes() {
        1 => are_turned::<1>(x, y, [rows, columns]),
        2 => are_turned::<2>(x, y, [rows, columns]),
        4 => are_turned::<4>(x, y, [rows, columns]),
        _ => are_turned::<8>(x, y, [rows, columns]),
    };
    equal.then_some(true)
}

/// Whether two matrices of elements of `N` bytes are each other's transpose.
fn are_turned<const N: usize>(x: &[u8], y: &[u8], [rows, columns]: [usize; 2]) -> bool {
    let (x, y) = (x.as_chunks::<N>().0, y.as_chunks::<N>().0);
    if x.len() != rows * columns || x.len() != y.len() {
        return false;
    }
    // Tile by tile, so that both stay in the cache.
    (0..rows).step_by(TILE).all(|top| {
        if (top / TILE).is_multiple_of(TILES_HELD) {
            let_go_of_pages();
        }
        (0..columns).step_by(TILE).all(|left| {
            (top..rows.min(top + TILE)).all(|row| {
                (left..columns.min(left + TILE))
                    .all(|column| x[row * columns + column] == y[column * rows + row])
            })
        })
    })
}
