//! Operators that pick, write and order elements by index.

use packwright_numerics::quant::dequantize;
use packwright_numerics::reduce::argmax_row;

use super::lanes::{self, Lanes};
use super::movement::{put, row_scales, take};
use super::{EvalError, normalize};
use crate::tensor::Tensor;
use crate::ty::{Elem, Quant, Type};

/// The place on an axis that an index names; negative ones count from the end.
fn place(index: i64, length: usize) -> Result<usize, EvalError> {
    let from_start = if index < 0 {
        index + length as i64
    } else {
        index
    };
    usize::try_from(from_start)
        .ok()
        .filter(|&i| i < length)
        .ok_or(EvalError::IndexOutOfRange { index, length })
}

fn places(indices: &Tensor, length: usize) -> Result<Vec<usize>, EvalError> {
    lanes::integers(indices)
        .into_iter()
        .map(|i| place(i, length))
        .collect()
}

/// Slices of a table along an axis.
pub(super) fn gather(table: &Tensor, indices: &Tensor, axis: usize) -> Result<Tensor, EvalError> {
    let shape = table.shape();
    let rows = places(indices, shape[axis])?;
    if table.quant == Some(Quant::Channel { axis: 0 }) && axis == 0 {
        let width = shape[1..].iter().product();
        let mut result = Vec::with_capacity(rows.len() * width);
        let mut row = vec![0.0; width];
        for &r in &rows {
            read_row(table, r, &mut row);
            result.extend_from_slice(&row);
        }
        let mut to = indices.shape().to_vec();
        to.extend(&shape[1..]);
        return Ok(lanes::store(Elem::F32, &to, Lanes::F32(result)));
    }
    let picked = |shape: &[usize]| {
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis + 1..].iter().product();
        let mut index = Vec::with_capacity(outer * rows.len() * inner);
        for o in 0..outer {
            for &r in &rows {
                let base = (o * shape[axis] + r) * inner;
                index.extend(base..base + inner);
            }
        }
        index
    };
    let mut to = shape[..axis].to_vec();
    to.extend(indices.shape());
    to.extend(&shape[axis + 1..]);
    let mut result = take(table, &to, &picked(shape));
    if let Some(scales) = row_scales(table) {
        let values: Vec<f32> = scales.iter().copied().collect();
        result.scales = picked(scales.shape())
            .into_iter()
            .map(|i| values[i])
            .collect();
    }
    Ok(result)
}

/// Row-major positions that an index box names: each element's own, but for the axis.
fn positions(x: &[usize], indices: &Tensor, axis: usize) -> Result<Vec<usize>, EvalError> {
    let along = places(indices, x[axis])?;
    let shape = indices.shape();
    let mut at = vec![0usize; shape.len()];
    let mut result = Vec::with_capacity(along.len());
    for along in along {
        let position = at.iter().enumerate().fold(0, |position, (i, &own)| {
            position * x[i] + if i == axis { along } else { own }
        });
        result.push(position);
        for i in (0..shape.len()).rev() {
            at[i] += 1;
            if at[i] < shape[i] {
                break;
            }
            at[i] = 0;
        }
    }
    Ok(result)
}

/// One element for each index.
pub(super) fn gather_elements(
    x: &Tensor,
    indices: &Tensor,
    axis: usize,
) -> Result<Tensor, EvalError> {
    let index = positions(x.shape(), indices, axis)?;
    Ok(take(x, indices.shape(), &index))
}

/// Writes one element for each index, in row-major order.
pub(super) fn scatter_elements(
    x: &Tensor,
    indices: &Tensor,
    updates: &Tensor,
    axis: usize,
) -> Result<Tensor, EvalError> {
    let index = positions(x.shape(), indices, axis)?;
    let mut result = x.clone();
    put(&mut result, &index, updates);
    Ok(result)
}

/// Writes one slice for each row of indices, in order.
pub(super) fn scatter_nd(
    x: &Tensor,
    indices: &Tensor,
    updates: &Tensor,
) -> Result<Tensor, EvalError> {
    let shape = x.shape();
    let named = indices.shape().last().copied().unwrap_or(0);
    let inner: usize = shape[named..].iter().product();
    let list = lanes::integers(indices);
    let rows: usize = indices.shape()[..indices.shape().len() - 1]
        .iter()
        .product();
    let mut index = Vec::with_capacity(rows * inner);
    for row in 0..rows {
        let mut base = 0;
        for (axis, &i) in list[row * named..(row + 1) * named].iter().enumerate() {
            base = base * shape[axis] + place(i, shape[axis])?;
        }
        index.extend(base * inner..(base + 1) * inner);
    }
    let mut result = x.clone();
    put(&mut result, &index, updates);
    Ok(result)
}

/// The first `count` elements of each line in order, with their indices; equal ones keep their order.
pub(super) fn top_k(x: &Tensor, axis: usize, count: usize, largest: bool) -> Vec<Tensor> {
    let shape = x.shape();
    let (outer, length, inner) = normalize::around(shape, axis);
    let keys: Vec<f64> = match lanes::of(x) {
        Lanes::Int(v) => v.into_iter().map(|x| x as f64).collect(),
        Lanes::F64(v) => v,
        other => lanes::to_f32(other).into_iter().map(f64::from).collect(),
    };
    let mut to = shape.to_vec();
    to[axis] = count;
    let elements: usize = to.iter().product();
    let (mut picked, mut along) = (vec![0usize; elements], vec![0i64; elements]);
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| (o * length + j) * inner + i;
            let mut line: Vec<usize> = (0..length).collect();
            line.sort_by(|&a, &b| {
                let order = keys[at(a)].total_cmp(&keys[at(b)]);
                if largest { order.reverse() } else { order }
            });
            for (rank, &j) in line.iter().take(count).enumerate() {
                picked[(o * count + rank) * inner + i] = at(j);
                along[(o * count + rank) * inner + i] = j as i64;
            }
        }
    }
    vec![take(x, &to, &picked), Tensor::i64(&to, along)]
}

/// The index of the first largest element of each line.
pub(super) fn arg_max(x: &Tensor, axis: usize, ty: &Type) -> Tensor {
    let (outer, length, inner) = normalize::around(x.shape(), axis);
    let values = lanes::floats(x);
    let mut result = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let line: Vec<f32> = (0..length)
                .map(|j| values[(o * length + j) * inner + i])
                .collect();
            result.push(argmax_row(&line).unwrap_or(0) as i64);
        }
    }
    Tensor::i64(&ty.shape, result)
}

/// Keeps one triangle of each matrix.
pub(super) fn trilu(x: &Tensor, upper: bool, k: isize) -> Tensor {
    let shape = x.shape();
    let [.., rows, cols] = *shape else {
        unreachable!("the rule asks for two axes")
    };
    let kept = |position: usize| {
        let (row, col) = ((position / cols) % rows, position % cols);
        let above = col as isize - row as isize;
        if upper { above >= k } else { above <= k }
    };
    let elem = x.elem();
    let elements: usize = shape.iter().product();
    let gone: Vec<usize> = (0..elements).filter(|&p| !kept(p)).collect();
    let mut result = x.clone();
    let zeros = lanes::store(elem, &[gone.len()], Lanes::Int(vec![0; gone.len()]));
    put(&mut result, &gone, &zeros);
    result
}

/// Rows of tables, added in the order of the tables.
pub(super) fn embedding(operands: &[&Tensor], ty: &Type) -> Result<Tensor, EvalError> {
    let width = ty.columns();
    let count: usize = ty.rows();
    let ids_shape = &ty.shape[..ty.rank() - 1];
    let mut sum = vec![0.0f32; count * width];
    let mut row = vec![0.0f32; width];
    for (pair, operands) in operands.chunks_exact(2).enumerate() {
        let (ids, table) = (operands[0], operands[1]);
        let rows = places(ids, table.shape()[0])?;
        let index = lanes::broadcast_index(ids.shape(), ids_shape);
        let rows = lanes::pick(rows, index.as_deref());
        for (&r, sum) in rows.iter().zip(sum.chunks_exact_mut(width.max(1))) {
            read_row(table, r, &mut row);
            for (sum, &x) in sum.iter_mut().zip(&row) {
                *sum = if pair == 0 { x } else { *sum + x };
            }
        }
    }
    Ok(lanes::store(ty.elem, &ty.shape, Lanes::F32(sum)))
}

/// A row of a table of floats, or of i8 with a scale a row.
fn read_row(table: &Tensor, r: usize, row: &mut [f32]) {
    let width = row.len();
    match &table.data {
        crate::tensor::Data::I8(a) => {
            let values = a.as_slice().expect("tensors are row-major");
            for (x, &q) in row.iter_mut().zip(&values[r * width..(r + 1) * width]) {
                *x = dequantize(q, table.scales[r]);
            }
        }
        crate::tensor::Data::F16(a) | crate::tensor::Data::F32(a) => {
            let values = a.as_slice().expect("tensors are row-major");
            row.copy_from_slice(&values[r * width..(r + 1) * width]);
        }
        _ => {
            let values = lanes::floats(table);
            row.copy_from_slice(&values[r * width..(r + 1) * width]);
        }
    }
}
