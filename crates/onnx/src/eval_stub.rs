//! Temporary.
use crate::values;
use packwright_ir::op::*;
use packwright_ir::tensor::*;
use packwright_ir::{Elem, Op, Type, infer};
fn mk(e: Elem, s: &[usize], v: Vec<f64>) -> Tensor {
    Tensor::plain(match e {
        Elem::I64 => Data::I64(array(s, v.iter().map(|x| *x as i64).collect())),
        Elem::I32 => Data::I32(array(s, v.iter().map(|x| *x as i32).collect())),
        Elem::F32 => Data::F32(array(s, v.iter().map(|x| *x as f32).collect())),
        Elem::Bool => Data::Bool(array(s, v.iter().map(|x| *x != 0.0).collect())),
        Elem::F64 => Data::F64(array(s, v)),
        Elem::F16 => Data::F16(array(s, v.iter().map(|x| *x as f32).collect())),
        Elem::U8 => Data::U8(array(s, v.iter().map(|x| *x as u8).collect())),
        Elem::I8 => Data::I8(array(s, v.iter().map(|x| *x as i8).collect())),
    })
}
fn idx(mut f: usize, s: &[usize]) -> Vec<usize> {
    let mut r = vec![0; s.len()];
    for i in (0..s.len()).rev() {
        r[i] = f % s[i];
        f /= s[i];
    }
    r
}
fn flat(i: &[usize], s: &[usize]) -> usize {
    i.iter().zip(s).fold(0, |a, (x, n)| a * n + x)
}
fn bc(i: &[usize], s: &[usize]) -> usize {
    let off = i.len() - s.len();
    let j: Vec<usize> = s
        .iter()
        .enumerate()
        .map(|(k, n)| if *n == 1 { 0 } else { i[off + k] })
        .collect();
    flat(&j, s)
}
pub(crate) fn eval_op(op: &Op, t: &[&Tensor]) -> Result<Vec<Tensor>, String> {
    let tys: Vec<Type> = t.iter().map(|x| x.ty()).collect();
    let r = infer::infer(op, &tys.iter().collect::<Vec<_>>()).map_err(|e| e.to_string())?;
    let ty = r[0].clone();
    let s = ty.shape.clone();
    let n = ty.elements();
    let v: Vec<Vec<f64>> = t.iter().map(|x| values::floats(x)).collect();
    let gen_ =
        |f: &dyn Fn(&[usize]) -> f64| -> Vec<f64> { (0..n).map(|k| f(&idx(k, &s))).collect() };
    let int = !ty.elem.is_float();
    let out: Vec<f64> = match op {
        Op::Unary(u) => v[0]
            .iter()
            .map(|&x| match u {
                Unary::Neg => -x,
                Unary::Abs => x.abs(),
                Unary::Sqrt => x.sqrt(),
                Unary::Not => (x == 0.0) as u8 as f64,
                Unary::Exp => x.exp(),
                Unary::Log => x.ln(),
                Unary::Floor => x.floor(),
                Unary::Ceil => x.ceil(),
                Unary::IsNan => x.is_nan() as u8 as f64,
                Unary::Cos => x.cos(),
                Unary::Sin => x.sin(),
                Unary::Reciprocal => 1.0 / x,
                _ => f64::NAN,
            })
            .collect(),
        Op::Binary(b) => gen_(&|i| {
            let (x, y) = (v[0][bc(i, &tys[0].shape)], v[1][bc(i, &tys[1].shape)]);
            let q = |b: bool| b as u8 as f64;
            match b {
                Binary::Add => x + y,
                Binary::Sub => x - y,
                Binary::Mul => x * y,
                Binary::Div => {
                    if int {
                        (x / y).trunc()
                    } else {
                        x / y
                    }
                }
                Binary::Mod => x - (x / y).floor() * y,
                Binary::Pow => x.powf(y),
                Binary::Min => x.min(y),
                Binary::Max => x.max(y),
                Binary::Equal => q(x == y),
                Binary::Less => q(x < y),
                Binary::LessOrEqual => q(x <= y),
                Binary::Greater => q(x > y),
                Binary::GreaterOrEqual => q(x >= y),
                Binary::And => q(x != 0.0 && y != 0.0),
                Binary::Or => q(x != 0.0 || y != 0.0),
                Binary::Xor => q((x != 0.0) != (y != 0.0)),
            }
        }),
        Op::Where => gen_(&|i| {
            if v[0][bc(i, &tys[0].shape)] != 0.0 {
                v[1][bc(i, &tys[1].shape)]
            } else {
                v[2][bc(i, &tys[2].shape)]
            }
        }),
        Op::Cast { to } => v[0]
            .iter()
            .map(|x| {
                if to.is_float() || *to == Elem::Bool {
                    *x
                } else {
                    x.trunc()
                }
            })
            .collect(),
        Op::Reshape { .. } => v[0].clone(),
        Op::Transpose { perm } => gen_(&|i| {
            let mut j = vec![0; i.len()];
            for (k, p) in perm.iter().enumerate() {
                j[*p] = i[k];
            }
            v[0][flat(&j, &tys[0].shape)]
        }),
        Op::Expand { .. } => gen_(&|i| v[0][bc(i, &tys[0].shape)]),
        Op::Concat { axis } => gen_(&|i| {
            let mut i = i.to_vec();
            for (k, ty) in tys.iter().enumerate() {
                if i[*axis] < ty.shape[*axis] {
                    return v[k][flat(&i, &ty.shape)];
                }
                i[*axis] -= ty.shape[*axis];
            }
            0.0
        }),
        Op::Slice { start, step, .. } => gen_(&|i| {
            let j: Vec<usize> = i
                .iter()
                .enumerate()
                .map(|(k, x)| (start[k] as isize + *x as isize * step[k]) as usize)
                .collect();
            v[0][flat(&j, &tys[0].shape)]
        }),
        Op::Pad { before, value, .. } => gen_(&|i| {
            let mut j = vec![];
            for (k, x) in i.iter().enumerate() {
                if *x < before[k] || x - before[k] >= tys[0].shape[k] {
                    return *value as f64;
                }
                j.push(x - before[k]);
            }
            v[0][flat(&j, &tys[0].shape)]
        }),
        Op::Gather { axis } => {
            let q = tys[1].rank();
            gen_(&|i| {
                let k = v[1][flat(&i[*axis..*axis + q], &tys[1].shape)];
                let mut j = i[..*axis].to_vec();
                j.push(k as usize);
                j.extend(&i[*axis + q..]);
                v[0].get(flat(&j, &tys[0].shape)).copied().unwrap_or(0.0)
            })
        }
        Op::GatherElements { axis } => gen_(&|i| {
            let mut j = i.to_vec();
            j[*axis] = v[1][flat(i, &tys[1].shape)] as usize;
            v[0][flat(&j, &tys[0].shape)]
        }),
        Op::ScatterNd => {
            let mut o = v[0].clone();
            let q = tys[1].columns();
            let rows = tys[1].rows();
            let inner: usize = tys[0].shape[q..].iter().product();
            for r in 0..rows {
                let j: Vec<usize> = (0..q).map(|k| v[1][r * q + k] as usize).collect();
                let b = flat(&j, &tys[0].shape[..q]) * inner;
                for k in 0..inner {
                    o[b + k] = v[2][r * inner + k];
                }
            }
            o
        }
        Op::CumSum { axis } => gen_(&|i| {
            let mut j = i.to_vec();
            (0..=i[*axis])
                .map(|k| {
                    j[*axis] = k;
                    v[0][flat(&j, &tys[0].shape)]
                })
                .sum()
        }),
        Op::Trilu { upper, k } => gen_(&|i| {
            let (a, b) = (i[i.len() - 2] as isize, i[i.len() - 1] as isize);
            if (*upper && b - a >= *k) || (!*upper && b - a <= *k) {
                v[0][flat(i, &tys[0].shape)]
            } else {
                0.0
            }
        }),
        Op::Reduce { kind, axes, keep } => {
            let mut o = vec![
                match kind {
                    Reduce::Prod => 1.0,
                    Reduce::Max => f64::NEG_INFINITY,
                    Reduce::Min => f64::INFINITY,
                    _ => 0.0,
                };
                n
            ];
            for f in 0..v[0].len() {
                let i = idx(f, &tys[0].shape);
                let j: Vec<usize> = (0..i.len())
                    .filter_map(|k| {
                        if axes.contains(&k) {
                            keep.then_some(0)
                        } else {
                            Some(i[k])
                        }
                    })
                    .collect();
                let p = flat(&j, &s);
                let x = v[0][f];
                o[p] = match kind {
                    Reduce::Prod => o[p] * x,
                    Reduce::Max => o[p].max(x),
                    Reduce::Min => o[p].min(x),
                    Reduce::SumSquare => o[p] + x * x,
                    _ => o[p] + x,
                };
            }
            o
        }
        Op::RandomNormal { .. } => vec![0.5; n],
        Op::Matmul(m) => {
            let (a, b) = (&tys[0].shape, &tys[1].shape);
            let k = a[a.len() - 1];
            let r = s.len();
            gen_(&|i| {
                (0..k)
                    .map(|q| {
                        let mut ia = i[..r - 2].to_vec();
                        ia.push(i[r - 2]);
                        ia.push(q);
                        let mut ib = i[..r - 2].to_vec();
                        if m.transpose_b {
                            ib.push(i[r - 1]);
                            ib.push(q)
                        } else {
                            ib.push(q);
                            ib.push(i[r - 1])
                        };
                        v[0][bc(&ia, a)] * v[1][bc(&ib, b)]
                    })
                    .sum::<f64>()
            })
        }
        Op::TopK {
            axis,
            count,
            largest,
        } => {
            let mut vals = vec![0.0; n];
            let mut ids = vec![0.0; n];
            let d = tys[0].shape[*axis];
            for f in 0..n {
                let i = idx(f, &s);
                if i[*axis] != 0 {
                    continue;
                }
                let mut j = i.clone();
                let mut l: Vec<(f64, usize)> = (0..d)
                    .map(|k| {
                        j[*axis] = k;
                        (v[0][flat(&j, &tys[0].shape)], k)
                    })
                    .collect();
                l.sort_by(|a, b| {
                    if *largest {
                        b.0.total_cmp(&a.0)
                    } else {
                        a.0.total_cmp(&b.0)
                    }
                    .then(a.1.cmp(&b.1))
                });
                for k in 0..*count {
                    j[*axis] = k;
                    vals[flat(&j, &s)] = l[k].0;
                    ids[flat(&j, &s)] = l[k].1 as f64;
                }
            }
            return Ok(vec![mk(ty.elem, &s, vals), mk(Elem::I64, &s, ids)]);
        }
        Op::ScatterElements { axis } => {
            let mut o = v[0].clone();
            for f in 0..v[1].len() {
                let mut i = idx(f, &tys[1].shape);
                i[*axis] = v[1][f] as usize;
                o[flat(&i, &tys[0].shape)] = v[2][f];
            }
            o
        }
        _ => return Err(format!("stub {op:?}")),
    };
    Ok(vec![mk(ty.elem, &s, out)])
}
