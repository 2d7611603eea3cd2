//! Rules about the fields of commands: element types, alignment, and what belongs together.

use super::Scope;
use super::rule::{
    ELEMENT_SAME, ELEMENT_TYPE, MATMUL_ACC, MATMUL_BLOCK, MATMUL_GROUP, NORM_BETA, QUANTIZE_GROUP,
    ROTARY_WIDTH, SOFTMAX_SCALE, SOFTMAX_WINDOW, STATIC_SCALE, TABLE_ROWS, VIEW_ALIGNED,
};
use crate::defs::{Command, FLOAT_ELEMS, Matmul, Norm, Quantize, Softmax};
use crate::field::Visitor;
use crate::operand::Elem::{F16, F32, I8, I32, I64};
use crate::operand::{Affine, DramRef, Elem, NormKind, View};

/// Longest contraction whose int8 products fit 32-bit sums.
const MAX_CONTRACTION: u64 = 1 << 17;

/// Types of a table row: any port, numbers that vector units write, index types.
const ANY: &[Elem] = &[I8, I32, I64, F16, F32];
const WRITTEN: &[Elem] = &[I8, I32, I64, F16, F32];
const FLOAT: &[Elem] = &FLOAT_ELEMS;
const FLOAT_OR_I8: &[Elem] = &[I8, F16, F32];
const INDEX: &[Elem] = &[I32, I64];

/// The element types that each field takes.
pub fn legal_elems(command: &Command, field: &str) -> &'static [Elem] {
    match (command, field) {
        (Command::Load(_) | Command::Store(_), _) => ANY,
        (Command::Gather(_) | Command::Lookup(_) | Command::Scatter(_), "index") => INDEX,
        (Command::Gather(_) | Command::Lookup(_) | Command::Scatter(_) | Command::Copy(_), _) => {
            ANY
        }
        (Command::Sort(_), "dst") => &[I32],
        (Command::Sort(_), _) => ANY,
        (Command::Matmul(_), "a" | "b") => &[I8],
        (Command::Matmul(_), "residual") => FLOAT,
        (Command::Matmul(_), "acc") => &[I32, F32],
        (Command::Matmul(_), "b_step") => &[F16],
        (Command::Matmul(_), "b_zero") => &[I32],
        (Command::Matmul(_), "out") => FLOAT_OR_I8,
        (Command::Matmul(_), _) => &[F32],
        (Command::Unary(_) | Command::Binary(_) | Command::Select(_) | Command::Fill(_), "dst") => {
            WRITTEN
        }
        (Command::Unary(_) | Command::Binary(_) | Command::Select(_) | Command::Fill(_), _) => ANY,
        (Command::Norm(_), _) => FLOAT,
        (Command::Softmax(_), "col_scale" | "dst_scale" | "log_sum") => &[F32],
        (Command::Softmax(_), "dst") => FLOAT_OR_I8,
        (Command::Softmax(_), _) => FLOAT,
        (Command::Quantize(_), "dst") => &[I8],
        (Command::Quantize(_), "dst_scale") => &[F32],
        (Command::Quantize(_), _) => FLOAT,
        (Command::Dequantize(_), "src") => &[I8],
        (Command::Dequantize(_), "scale") => &[F32],
        (Command::Dequantize(_), _) => FLOAT,
        (Command::Rotary(_), "cos" | "sin") => &[F32],
        (Command::Rotary(_), _) => FLOAT,
        (Command::Scan(_), "dst") => WRITTEN,
        (Command::Reduce(_), "src") | (Command::Scan(_), _) => ANY,
        (Command::Reduce(_), _) => FLOAT,
    }
}

/// All rules about the fields of a command.
pub fn check_command(scope: &mut Scope<'_>, command: &Command) {
    check_views(scope, command);
    match command {
        Command::Matmul(c) => check_matmul(scope, c),
        Command::Quantize(c) => check_quantize(scope, c),
        Command::Softmax(c) => check_softmax(scope, c),
        Command::Rotary(c) => {
            if !c.cols.at(scope.maxima).is_multiple_of(2) {
                scope.breach(&ROTARY_WIDTH, "cols is odd".to_owned());
            }
        }
        Command::Copy(c) => check_same(scope, &c.src, &c.dst),
        Command::Lookup(c) => {
            check_same(scope, &c.table, &c.dst);
            check_table(scope, u64::from(c.table_rows), c.rows);
        }
        Command::Scatter(c) => {
            check_same(scope, &c.src, &c.table);
            check_table(scope, u64::from(c.table_rows), c.rows);
        }
        Command::Gather(c) => check_table(scope, c.table_rows, c.count),
        Command::Norm(c) => check_norm(scope, c),
        Command::Load(_)
        | Command::Store(_)
        | Command::Unary(_)
        | Command::Binary(_)
        | Command::Select(_)
        | Command::Fill(_)
        | Command::Dequantize(_)
        | Command::Sort(_)
        | Command::Reduce(_)
        | Command::Scan(_) => {}
    }
}

/// Collects what is wrong with single views.
struct ViewRules<'a> {
    command: &'a Command,
    types: Vec<String>,
    alignment: Vec<String>,
}

impl Visitor for ViewRules<'_> {
    fn affine(&mut self, _field: &'static str, _value: &Affine) {}

    fn view(&mut self, field: &'static str, view: &View) {
        let legal = legal_elems(self.command, field);
        if !legal.contains(&view.elem) {
            let names: Vec<_> = legal.iter().map(Elem::to_string).collect();
            self.types.push(format!(
                "{field} is {}, not {}",
                view.elem,
                names.join(" or ")
            ));
        }
        let size = u64::from(view.elem.bytes());
        let scale = view.addr.term.map_or(0, |(_, scale)| scale);
        let numbers = [
            view.addr.base,
            scale,
            u64::from(view.pitch),
            u64::from(view.step),
        ];
        if numbers.iter().any(|number| !number.is_multiple_of(size)) {
            self.alignment.push(format!(
                "{field} is not aligned to its elements of {size} bytes"
            ));
        }
    }

    fn dram(&mut self, _field: &'static str, _value: &DramRef) {}
}

/// A view has a legal element type and is aligned to it.
fn check_views(scope: &mut Scope<'_>, command: &Command) {
    let mut rules = ViewRules {
        command,
        types: Vec::new(),
        alignment: Vec::new(),
    };
    command.visit(&mut rules);
    for message in rules.types {
        scope.breach(&ELEMENT_TYPE, message);
    }
    for message in rules.alignment {
        scope.breach(&VIEW_ALIGNED, message);
    }
}

/// A command that moves elements without changing them has one element type.
fn check_same(scope: &mut Scope<'_>, from: &View, to: &View) {
    if from.elem != to.elem {
        scope.breach(&ELEMENT_SAME, format!("{} becomes {}", from.elem, to.elem));
    }
}

/// Whether `group` cuts `whole` into equal parts for all values of the registers.
fn divides(group: Affine, whole: Affine, maxima: &[u64]) -> bool {
    if group == whole {
        return true;
    }
    let size = group.at(maxima);
    let term = whole.term.map_or(0, |(_, scale)| scale);
    group.term.is_none() && size > 0 && whole.base.is_multiple_of(size) && term.is_multiple_of(size)
}

/// A table that rows are taken from has one.
fn check_table(scope: &mut Scope<'_>, rows: u64, taken: Affine) {
    if rows == 0 && taken.at(scope.maxima) > 0 {
        scope.breach(&TABLE_ROWS, "table_rows is 0".to_owned());
    }
}

/// Only a LayerNorm has a beta.
fn check_norm(scope: &mut Scope<'_>, c: &Norm) {
    if c.kind == NormKind::Rms && c.beta.is_some() {
        scope.breach(&NORM_BETA, "beta stands in an RMSNorm".to_owned());
    }
}

/// The rules of products.
fn check_matmul(scope: &mut Scope<'_>, c: &Matmul) {
    let group = c.group.at(scope.maxima);
    if !divides(c.group, c.k, scope.maxima) {
        let k = c.k.at(scope.maxima);
        scope.breach(
            &MATMUL_GROUP,
            format!("group {group} does not divide k {k}"),
        );
    }
    let k = c.k.at(scope.maxima);
    if k > MAX_CONTRACTION {
        scope.breach(&MATMUL_GROUP, format!("k {k} is above {MAX_CONTRACTION}"));
    }
    check_blocks(scope, c);
    match c.acc {
        None if !(c.start && c.finish) => {
            scope.breach(
                &MATMUL_ACC,
                "acc is missing for a part of a contraction".to_owned(),
            );
        }
        Some(_) if c.start && c.finish => {
            scope.breach(&MATMUL_ACC, "acc is not used".to_owned());
        }
        Some(acc) if acc.elem == I32 && (c.group != c.k || c.b_step.is_some()) => {
            scope.breach(&MATMUL_ACC, "acc is i32 with several groups".to_owned());
        }
        _ => {}
    }
    check_static_scale(
        scope,
        "out_scale",
        c.out_scale,
        c.finish && c.out.elem == I8,
    );
}

/// The rules of a right operand of four bits, and of steps within a sum.
fn check_blocks(scope: &mut Scope<'_>, c: &Matmul) {
    let mut wrong = |message: String| scope.breach(&MATMUL_BLOCK, message);
    if !matches!(c.b_bits, 4 | 8) {
        wrong(format!("b_bits is {}", c.b_bits));
    }
    let fixed = |value: Affine| value.term.is_none().then_some(value.base);
    let (group, block, k) = (fixed(c.group), fixed(c.b_group), fixed(c.k));
    if c.b_bits == 4 {
        let even = |length: Option<u64>| length.is_some_and(|n| n.is_multiple_of(2));
        if !(even(group) && even(block) && even(k)) {
            wrong("an extent of an int4 product is odd or depends on a register".to_owned());
        }
        if c.b.step != 1 {
            wrong(format!("the elements of b are {} bytes apart", c.b.step));
        }
    }
    if c.b_step.is_none() {
        if c.b_group != c.k {
            wrong("b_group is set without b_step".to_owned());
        }
        return;
    }
    let fits = match (group, block, k) {
        (Some(group), Some(block), Some(k)) if group > 0 && block > 0 => {
            let nested = group.is_multiple_of(block) || block.is_multiple_of(group);
            nested && k.is_multiple_of(block)
        }
        _ => false,
    };
    if !fits {
        wrong("b_group does not fit group and k".to_owned());
    }
}

/// A static scale is a normal number above zero, and 1 where it is not used.
fn check_static_scale(scope: &mut Scope<'_>, field: &str, scale: f32, used: bool) {
    if used && !(scale.is_normal() && scale > 0.0) {
        scope.breach(&STATIC_SCALE, format!("{field} is {scale:?}"));
    } else if !used && scale != 1.0 {
        scope.breach(
            &STATIC_SCALE,
            format!("{field} is {scale:?}, but is not used"),
        );
    }
}

/// The rules of quantisation.
fn check_quantize(scope: &mut Scope<'_>, c: &Quantize) {
    let (group, cols) = (c.group.at(scope.maxima), c.cols.at(scope.maxima));
    if !divides(c.group, c.cols, scope.maxima) {
        scope.breach(
            &QUANTIZE_GROUP,
            format!("group {group} does not divide cols {cols}"),
        );
    }
    if c.dst_scale.is_none() && c.group != c.cols {
        scope.breach(&QUANTIZE_GROUP, format!("group {group} has a static scale"));
    }
    check_static_scale(scope, "scale", c.scale, c.dst_scale.is_none());
}

/// A softmax finds scales exactly for an i8 result, and a window has an end.
fn check_softmax(scope: &mut Scope<'_>, c: &Softmax) {
    let wanted = c.dst.elem == I8;
    if wanted != c.dst_scale.is_some() {
        let what = if wanted { "without" } else { "with" };
        scope.breach(
            &SOFTMAX_SCALE,
            format!("dst is {} {what} dst_scale", c.dst.elem),
        );
    }
    if c.window.is_some() && c.causal.is_none() {
        scope.breach(&SOFTMAX_WINDOW, "causal is missing".to_owned());
    }
}
