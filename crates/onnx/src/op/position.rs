//! The bias of T5 that depends on how far apart two positions are.

use packwright_ir::Op;
use packwright_ir::diag::Diagnostic;
use packwright_ir::op::Unary;
use packwright_ir::tensor::Tensor;

use crate::builder::{Arg, Builder, FOLD_LIMIT};
use crate::node::Node;
use crate::{codes, values};

/// `com.microsoft.RelativePositionBias`: rows of a table by the distance of key and query, `[1, h, s, t]`.
pub(crate) fn relative_bias(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let table = node.arg(0)?;
    let [buckets, heads] = b.shape(table)?[..] else {
        return Err(codes::form("the table is not [buckets, heads]"));
    };
    let length = |at: usize, what: &str| {
        let n = node.need_int(at, what)?;
        usize::try_from(n).map_err(|_| codes::form(format!("{what} is {n}")))
    };
    let rows = length(1, "the number of queries")?;
    let columns = length(2, "the number of keys")?;
    let most = node.attrs.count("max_distance")?;
    let both_ways = node.attrs.flag("is_bidirectional", false)?;
    if rows.checked_mul(columns).is_none_or(|n| n > FOLD_LIMIT) {
        return Err(codes::form(format!(
            "{rows} times {columns} distances are too many"
        )));
    }
    let side = if both_ways { buckets / 2 } else { buckets };
    if side < 2 || most <= side / 2 {
        return Err(codes::form(format!(
            "{buckets} buckets do not reach to {most}"
        )));
    }
    let near = bucket_of_distance(b, side, most, rows.max(columns))?;
    let bucket = |i: usize, j: usize| match (j > i, both_ways) {
        (true, true) => side + near[j - i],
        (true, false) => 0,
        (false, _) => near[i - j],
    };
    let indices = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j)));
    let indices = indices.map(|(i, j)| bucket(i, j) as i64).collect();
    let indices = b.known(Tensor::i64(&[rows, columns], indices));
    // The operator takes the table column by column, whatever its shape says.
    let table = b.reshape(table, &[heads, buckets])?;
    let bias = b.emit(Op::Gather { axis: 1 }, &[&table, &indices])?;
    Ok(vec![b.reshape(&bias, &[1, heads, rows, columns])?])
}

/// The bucket for each distance: its own where it is near, a logarithmic one where it is far.
fn bucket_of_distance(
    b: &mut Builder,
    side: usize,
    most: usize,
    count: usize,
) -> Result<Vec<usize>, Diagnostic> {
    let exact = side / 2;
    let part = |n: usize| n as f32 / exact as f32;
    let mut logarithms = |numbers: Vec<f32>| {
        let x = b.known(Tensor::f32(&[numbers.len()], numbers));
        let y = b.emit(Op::Unary(Unary::Log), &[&x])?;
        Ok(y.tensor().map(values::floats).unwrap_or_default())
    };
    let mut far = logarithms(
        (exact..exact.max(count))
            .map(part)
            .chain([part(most)])
            .collect(),
    )?;
    let whole = far.pop().unwrap_or(1.0) as f32;
    let of_far = |log: f64| {
        let step = log as f32 / whole * (side - exact) as f32;
        (exact + step as usize).min(side - 1)
    };
    let buckets = (0..count.min(exact)).chain(far.into_iter().map(of_far));
    Ok(buckets.collect())
}
