//! Products of matrices.

use packwright_ir::diag::Diagnostic;
use packwright_ir::op::{Binary, Matmul, Reduce, Unary};
use packwright_ir::{Elem, Op};

use crate::builder::{Arg, Builder};
use crate::codes;
use crate::node::Node;

/// `MatMul`.
pub(crate) fn matmul(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    Ok(vec![multiply(b, node.arg(0)?, node.arg(1)?, false, 1.0)?])
}

/// `com.microsoft.FusedMatMul`: factors transposed, the product scaled.
pub(crate) fn fused_matmul(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    if node.attrs.flag("transBatchA", false)? || node.attrs.flag("transBatchB", false)? {
        return Err(codes::form("transposed batches are not supported"));
    }
    let x = match node.attrs.flag("transA", false)? {
        true => swap_last(b, node.arg(0)?)?,
        false => node.arg(0)?.clone(),
    };
    let transpose_b = node.attrs.flag("transB", false)?;
    let alpha = node.attrs.float("alpha", 1.0)?;
    Ok(vec![multiply(b, &x, node.arg(1)?, transpose_b, alpha)?])
}

/// `com.microsoft.FusedGemm`: a function of one element behind it.
pub(crate) fn fused_gemm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let f = match node.attrs.text("activation")?.unwrap_or_default() {
        "Relu" => Unary::Relu,
        "Tanh" => Unary::Tanh,
        "Sigmoid" => Unary::Sigmoid,
        other => {
            return Err(codes::form(format!(
                "the function {other:?} is not supported"
            )));
        }
    };
    let product = gemm(b, node)?;
    Ok(vec![b.emit(Op::Unary(f), &[&product[0]])?])
}

/// `Gemm`: alpha · A · B + beta · C.
pub(crate) fn gemm(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let x = match node.attrs.flag("transA", false)? {
        true => swap_last(b, node.arg(0)?)?,
        false => node.arg(0)?.clone(),
    };
    let y = node.arg(1)?;
    if b.shape(&x)?.len() != 2 || b.shape(y)?.len() != 2 {
        return Err(codes::form("the factors are not matrices"));
    }
    let mut attrs = Matmul {
        transpose_b: node.attrs.flag("transB", false)?,
        alpha: node.attrs.float("alpha", 1.0)?,
        out: product_elem(b, &x, y)?,
        ..Matmul::default()
    };
    count(b, &x, y, attrs.transpose_b)?;
    let beta = node.attrs.float("beta", 1.0)?;
    let Some(c) = node.opt(2).filter(|_| beta != 0.0) else {
        return Ok(vec![b.emit(Op::Matmul(attrs), &[&x, y])?]);
    };
    let c = match beta {
        1.0 => c.clone(),
        _ => {
            let beta = b.scalar(b.ty(c)?.elem, f64::from(beta));
            b.emit(Op::Binary(Binary::Mul), &[c, &beta])?
        }
    };
    let columns = b.shape(y)?[usize::from(!attrs.transpose_b)];
    if matches!(b.shape(&c)?[..], [n] | [1, n] if n == columns) {
        let bias = b.reshape(&c, &[columns])?;
        attrs.bias = true;
        return Ok(vec![b.emit(Op::Matmul(attrs), &[&x, y, &bias])?]);
    }
    let product = b.emit(Op::Matmul(attrs), &[&x, y])?;
    Ok(vec![b.emit(Op::Binary(Binary::Add), &[&product, &c])?])
}

/// A linear layer: the product with a matrix of weights, and a bias where there is one.
pub(crate) fn linear(
    b: &mut Builder,
    x: &Arg,
    weight: &Arg,
    bias: Option<&Arg>,
) -> Result<Arg, Diagnostic> {
    let product = multiply(b, x, weight, false, 1.0)?;
    match bias {
        Some(bias) => with_bias(b, &product, bias),
        None => Ok(product),
    }
}

/// A row added to each row.
pub(crate) fn with_bias(b: &mut Builder, x: &Arg, bias: &Arg) -> Result<Arg, Diagnostic> {
    let (columns, length) = (b.ty(x)?.columns(), b.shape(bias)?);
    if length != [columns] {
        return Err(codes::form(format!(
            "a bias {length:?} does not fit {columns} columns"
        )));
    }
    b.emit(Op::Binary(Binary::Add), &[x, bias])
}

/// The product of two factors, the second one transposed or not.
pub(crate) fn multiply(
    b: &mut Builder,
    x: &Arg,
    y: &Arg,
    transpose_b: bool,
    alpha: f32,
) -> Result<Arg, Diagnostic> {
    let (left, right) = (b.shape(x)?, b.shape(y)?);
    if left.is_empty() || right.is_empty() {
        return Err(codes::form("a factor is a single number"));
    }
    // A vector is a row on the left, a column on the right; its axis of length 1 goes again.
    let row = if left.len() == 1 {
        b.reshape(x, &[1, left[0]])?
    } else {
        x.clone()
    };
    let column = match (right.len(), transpose_b) {
        (1, false) => b.reshape(y, &[right[0], 1])?,
        (1, true) => b.reshape(y, &[1, right[0]])?,
        _ => y.clone(),
    };
    count(b, &row, &column, transpose_b)?;
    let attrs = Matmul {
        transpose_b,
        alpha,
        out: product_elem(b, x, y)?,
        ..Matmul::default()
    };
    let product = b.emit(Op::Matmul(attrs), &[&row, &column])?;
    let mut shape = b.shape(&product)?;
    if right.len() == 1 {
        shape.pop();
    }
    if left.len() == 1 {
        shape.remove(shape.len() - 1 - usize::from(right.len() > 1));
    }
    b.reshape(&product, &shape)
}

/// Counts multiply-adds before anything is computed.
fn count(b: &mut Builder, x: &Arg, y: &Arg, transpose_b: bool) -> Result<(), Diagnostic> {
    let attrs = Matmul {
        transpose_b,
        out: product_elem(b, x, y)?,
        ..Matmul::default()
    };
    let types = [b.ty(x)?, b.ty(y)?];
    let result = packwright_ir::infer::infer(&Op::Matmul(attrs), &[&types[0], &types[1]])?;
    let elements = result.first().map_or(0, |ty| ty.elements()) as u64;
    b.count_macs(elements.checked_mul(types[0].columns() as u64));
    Ok(())
}

/// The wider of the factors' elements.
fn product_elem(b: &Builder, x: &Arg, y: &Arg) -> Result<Elem, Diagnostic> {
    let (x, y) = (b.ty(x)?.elem, b.ty(y)?.elem);
    if !x.is_float() || !y.is_float() {
        return Err(codes::form(format!(
            "products of {x} and {y} are not supported"
        )));
    }
    Ok(if x.bytes() >= y.bytes() { x } else { y })
}

fn swap_last(b: &mut Builder, x: &Arg) -> Result<Arg, Diagnostic> {
    let rank = b.shape(x)?.len();
    if rank < 2 {
        return Err(codes::form("a vector cannot be transposed"));
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    b.transpose(x, &perm)
}

/// `Einsum` of one or two operands, as transposes around one product.
pub(crate) fn einsum(b: &mut Builder, node: &Node<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let equation = node.attrs.text("equation")?.unwrap_or_default();
    let terms = Terms::parse(equation)?;
    let args = node.all()?;
    if terms.inputs.len() != args.len() {
        return Err(codes::form(format!(
            "{equation:?} does not fit {} operands",
            args.len()
        )));
    }
    let mut sizes: Vec<(char, usize)> = Vec::new();
    for (letters, arg) in terms.inputs.iter().zip(&args) {
        let shape = b.shape(arg)?;
        if letters.len() != shape.len() {
            return Err(codes::form(format!("{equation:?} does not fit {shape:?}")));
        }
        for (&letter, &n) in letters.iter().zip(&shape) {
            match sizes.iter().find(|(l, _)| *l == letter) {
                None => sizes.push((letter, n)),
                Some((_, m)) if *m == n => {}
                Some((_, m)) => return Err(codes::form(format!("{letter} is {m} and {n}"))),
            }
        }
    }
    let known = |l: &char| sizes.iter().any(|(s, _)| s == l);
    if !terms.output.iter().all(known) {
        return Err(codes::form(format!(
            "{equation:?} has letters in the result only"
        )));
    }
    let macs = sizes
        .iter()
        .try_fold(1u64, |p, (_, n)| p.checked_mul(*n as u64));
    let size = |l: char| sizes.iter().find(|(s, _)| *s == l).map_or(1, |(_, n)| *n);
    let result = match &args[..] {
        [x] => {
            let (x, letters) = sum_lonely(b, x, &terms.inputs[0], |l| terms.output.contains(&l))?;
            reorder(b, &x, &letters, &terms.output)?
        }
        [x, y] => contract(b, &terms, x, y, size)?,
        _ => return Err(codes::form("more than two operands are not supported")),
    };
    b.count_macs(macs);
    Ok(vec![result])
}

struct Terms {
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Terms {
    fn parse(equation: &str) -> Result<Self, Diagnostic> {
        let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let inputs: Vec<Vec<char>> = left.split(',').map(|t| t.chars().collect()).collect();
        let output: Vec<char> = match right {
            Some(right) => right.chars().collect(),
            None => {
                // Left out: the letters that stand once, in alphabetical order.
                let all: Vec<char> = inputs.iter().flatten().copied().collect();
                let once = |l: &char| all.iter().filter(|o| *o == l).count() == 1;
                let mut letters: Vec<char> = all.iter().copied().filter(once).collect();
                letters.sort_unstable();
                letters
            }
        };
        for term in inputs.iter().chain([&output]) {
            let plain = term.iter().all(char::is_ascii_alphabetic);
            let repeated = term.iter().enumerate().any(|(i, l)| term[..i].contains(l));
            if !plain || repeated {
                return Err(codes::form(format!("{equation:?} is not supported")));
            }
        }
        Ok(Self { inputs, output })
    }
}

fn contract(
    b: &mut Builder,
    terms: &Terms,
    x: &Arg,
    y: &Arg,
    size: impl Fn(char) -> usize,
) -> Result<Arg, Diagnostic> {
    let output = &terms.output;
    let (a, c) = (&terms.inputs[0], &terms.inputs[1]);
    let (x, a) = sum_lonely(b, x, a, |l| output.contains(&l) || c.contains(&l))?;
    let (y, c) = sum_lonely(b, y, c, |l| output.contains(&l) || a.contains(&l))?;
    let both = |l: &&char| c.contains(l);
    let batch: Vec<char> = a
        .iter()
        .filter(both)
        .filter(|l| output.contains(l))
        .copied()
        .collect();
    let inner: Vec<char> = a
        .iter()
        .filter(both)
        .filter(|l| !output.contains(l))
        .copied()
        .collect();
    let rows: Vec<char> = a.iter().filter(|l| !c.contains(l)).copied().collect();
    let columns: Vec<char> = c.iter().filter(|l| !a.contains(l)).copied().collect();
    let length = |letters: &[char]| letters.iter().map(|&l| size(l)).product::<usize>();
    let lengths = |letters: &[char]| letters.iter().map(|&l| size(l)).collect::<Vec<_>>();

    let x = reorder(b, &x, &a, &[&batch[..], &rows, &inner].concat())?;
    let x = b.reshape(
        &x,
        &[lengths(&batch), vec![length(&rows), length(&inner)]].concat(),
    )?;
    // The order that needs no transpose, if there is one.
    let transpose_b = c == [&batch[..], &columns, &inner].concat();
    let order = if transpose_b {
        [&columns, &inner]
    } else {
        [&inner, &columns]
    };
    let y = reorder(b, &y, &c, &[&batch[..], order[0], order[1]].concat())?;
    let y = b.reshape(
        &y,
        &[lengths(&batch), vec![length(order[0]), length(order[1])]].concat(),
    )?;

    let attrs = Matmul {
        transpose_b,
        out: product_elem(b, &x, &y)?,
        ..Matmul::default()
    };
    let product = b.emit(Op::Matmul(attrs), &[&x, &y])?;
    let letters = [&batch[..], &rows, &columns].concat();
    let product = b.reshape(&product, &lengths(&letters))?;
    reorder(b, &product, &letters, output)
}

/// Sums over the letters that nothing else has.
fn sum_lonely(
    b: &mut Builder,
    x: &Arg,
    letters: &[char],
    wanted: impl Fn(char) -> bool,
) -> Result<(Arg, Vec<char>), Diagnostic> {
    let axes: Vec<usize> = (0..letters.len())
        .filter(|&i| !wanted(letters[i]))
        .collect();
    if axes.is_empty() {
        return Ok((x.clone(), letters.to_vec()));
    }
    let kept = letters.iter().copied().filter(|&l| wanted(l)).collect();
    Ok((
        b.emit(
            Op::Reduce {
                kind: Reduce::Sum,
                axes,
                keep: false,
            },
            &[x],
        )?,
        kept,
    ))
}

/// Axes in another order of letters.
fn reorder(b: &mut Builder, x: &Arg, from: &[char], to: &[char]) -> Result<Arg, Diagnostic> {
    let perm: Option<Vec<usize>> = to
        .iter()
        .map(|l| from.iter().position(|f| f == l))
        .collect();
    let perm = perm.ok_or_else(|| codes::form("a letter of the result has no origin"))?;
    b.transpose(x, &perm)
}
