//! Constants, and what is constant because shapes are.

use packwright_ir::diag::Diagnostic;
use packwright_ir::konst::Source;
use packwright_ir::tensor::{Data, Tensor, array};
use packwright_ir::{Elem, Type};

use crate::builder::{Arg, Builder, FOLD_LIMIT};
use crate::node::Node;
use crate::{codes, external, values};

/// `Constant`.
pub(crate) fn constant(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let attrs = &node.attrs;
    if let Some(proto) = attrs.tensor("value")? {
        let ty = values::stored_type(proto, &b.label)?;
        if external::is_external(proto) {
            return Err(codes::form("the value lies in another file"));
        }
        let bytes = values::inline_bytes(proto, &ty, &b.label)?;
        if ty.elements() > FOLD_LIMIT {
            let label = b.label.clone();
            let id = b.add_const(&label, ty, Source::Bytes(bytes));
            return Ok(vec![Arg::Graph(b.graph.const_value(id))]);
        }
        let tensor = Tensor::from_le_bytes(&ty, &bytes)
            .ok_or_else(|| codes::tensor_size(&b.label, &ty, bytes.len()))?;
        return Ok(vec![b.known(tensor)]);
    }
    let tensor = if attrs.opt_int("value_int")?.is_some() {
        Tensor::i64(&[], vec![attrs.int("value_int", 0)?])
    } else if let Some(ints) = attrs.ints("value_ints")? {
        Tensor::i64(&[ints.len()], ints.to_vec())
    } else if let Some(floats) = attrs.floats("value_floats")? {
        Tensor::f32(&[floats.len()], floats.to_vec())
    } else if attrs.0.attribute.iter().any(|a| a.name() == "value_float") {
        Tensor::f32(&[], vec![attrs.float("value_float", 0.0)?])
    } else {
        return Err(codes::form("the value is text, sparse or missing"));
    };
    Ok(vec![b.known(tensor)])
}

/// `ConstantOfShape`: one value everywhere.
pub(crate) fn constant_of_shape(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let shape = values::need_shape(&node.need_ints(0, "the shape")?, &b.label)?;
    let value = match node.attrs.tensor("value")? {
        None => Tensor::f32(&[], vec![0.0]),
        Some(proto) => {
            let ty = values::stored_type(proto, &b.label)?;
            let bytes = values::inline_bytes(proto, &ty, &b.label)?;
            if ty.elements() != 1 {
                return Err(codes::form("the value is not one element"));
            }
            Tensor::from_le_bytes(&Type::new(ty.elem, []), &bytes)
                .ok_or_else(|| codes::tensor_size(&b.label, &ty, bytes.len()))?
        }
    };
    let value = b.known(value);
    Ok(vec![b.expand(&value, &shape)?])
}

/// `Shape`.
pub(crate) fn shape(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let shape = b.shape(node.arg(0)?)?;
    let rank = shape.len() as i64;
    let at = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let start = at(node.attrs.int("start", 0)?);
    let end = at(node.attrs.int("end", rank)?).max(start);
    let part: Vec<i64> = shape[start..end].iter().map(|&n| n as i64).collect();
    Ok(vec![b.known(Tensor::i64(&[part.len()], part))])
}

/// `Size`.
pub(crate) fn size(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let n = b.ty(node.arg(0)?)?.elements();
    Ok(vec![b.known(Tensor::i64(&[], vec![n as i64]))])
}

/// `Range`.
pub(crate) fn range(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let mut parts = Vec::with_capacity(3);
    for at in 0..3 {
        let tensor = node
            .arg(at)?
            .tensor()
            .ok_or_else(|| node.data_dependent(at, "the number of elements"))?;
        if tensor.ty().elements() != 1 {
            return Err(codes::form("start, limit and step are single numbers"));
        }
        parts.push(tensor);
    }
    let elem = parts[0].elem();
    if parts.iter().any(|p| p.elem() != elem) {
        return Err(codes::form(
            "start, limit and step have different element types",
        ));
    }
    let tensor = match elem {
        Elem::I64 | Elem::I32 => {
            let n: Vec<i64> = parts
                .iter()
                .filter_map(|p| values::integers(p))
                .flatten()
                .collect();
            let numbers = integer_range(n[0], n[1], n[2])?;
            let shape = [numbers.len()];
            if elem == Elem::I64 {
                Tensor::i64(&shape, numbers)
            } else {
                let numbers = numbers.into_iter().map(|n| n as i32).collect();
                Tensor::plain(Data::I32(array(&shape, numbers)))
            }
        }
        Elem::F32 => {
            let n: Vec<f64> = parts.iter().flat_map(|p| values::floats(p)).collect();
            let count = ((n[1] - n[0]) / n[2]).ceil();
            // Not a number is no count either.
            if n[2] == 0.0 || count.is_nan() || count > FOLD_LIMIT as f64 {
                return Err(codes::form("the range has too many elements"));
            }
            let numbers = (0..count.max(0.0) as usize).map(|i| (n[0] + i as f64 * n[2]) as f32);
            let numbers: Vec<f32> = numbers.collect();
            Tensor::f32(&[numbers.len()], numbers)
        }
        Elem::Bool | Elem::I4 | Elem::I8 | Elem::U8 | Elem::F16 | Elem::F64 => {
            return Err(codes::form(format!("a range of {elem} is not supported")));
        }
    };
    Ok(vec![b.known(tensor)])
}

fn integer_range(start: i64, limit: i64, step: i64) -> Result<Vec<i64>, Diagnostic> {
    let (first, span, step) = (
        i128::from(start),
        i128::from(limit) - i128::from(start),
        i128::from(step),
    );
    if step == 0 {
        return Err(codes::form("the step is 0"));
    }
    let whole = span / step + i128::from(span % step != 0 && (span < 0) == (step < 0));
    let count = whole.max(0);
    if count > FOLD_LIMIT as i128 {
        return Err(codes::form("the range has too many elements"));
    }
    Ok((0..count).map(|i| (first + i * step) as i64).collect())
}

/// `NonZero`: the positions of what is not zero; their number is a shape.
pub(crate) fn non_zero(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let tensor = node
        .arg(0)?
        .tensor()
        .ok_or_else(|| node.data_dependent(0, "the number of elements"))?;
    let shape = tensor.shape();
    let mut places: Vec<Vec<i64>> = vec![Vec::new(); shape.len()];
    let found = values::floats(tensor);
    for (flat, _) in found.iter().enumerate().filter(|(_, v)| **v != 0.0) {
        let mut rest = flat;
        for (axis, &n) in shape.iter().enumerate().rev() {
            places[axis].push((rest % n) as i64);
            rest /= n;
        }
    }
    let count = places.first().map_or(0, Vec::len);
    let rank = places.len();
    Ok(vec![b.known(Tensor::i64(&[rank, count], places.concat()))])
}

/// `EyeLike`: ones on a diagonal.
pub(crate) fn eye_like(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let ty = b.ty(node.arg(0)?)?;
    let [rows, columns] = ty.shape[..] else {
        return Err(codes::form(format!("{ty} is no matrix")));
    };
    if ty.elements() > FOLD_LIMIT {
        return Err(codes::form("the matrix is too large"));
    }
    let elem = match node.attrs.opt_int("dtype")? {
        None => ty.elem,
        Some(to) => values::need_elem(i32::try_from(to).unwrap_or(0), &b.label)?,
    };
    let k = i128::from(node.attrs.int("k", 0)?);
    let one = |r: usize, c: usize| c as i128 - r as i128 == k;
    let ones = (0..rows).flat_map(|r| (0..columns).map(move |c| i64::from(one(r, c))));
    let eye = b.known(Tensor::i64(&[rows, columns], ones.collect()));
    Ok(vec![b.cast(&eye, elem)?])
}
