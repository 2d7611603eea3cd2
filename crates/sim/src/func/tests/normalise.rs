//! Row-wise commands: norms, quantisation, rotation, reduction.

use packwright_numerics::norm::{layer_norm_row, rms_norm_row};
use packwright_numerics::quant::{Scale, quantize, quantize_affine};
use packwright_numerics::reduce::{
    amax, argmax_row, max_row, mean_row, min_row, sum_lanes, sum_squares,
};
use packwright_packet::defs::{Command, Norm, Quantize, Reduce, Rotary};
use packwright_packet::operand::{Affine, Elem, NormKind, ReduceKind, RotaryLayout};
use proptest::prelude::*;

use super::scratch::{Scratch, Style, at, get, put, row};

fn affine(x: usize) -> Affine {
    Affine::constant(x as u64)
}

fn float() -> impl Strategy<Value = Elem> {
    prop::sample::select(vec![Elem::F16, Elem::F32])
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![
        Just(Style::Rows(0)),
        Just(Style::Rows(2)),
        Just(Style::Transposed(1))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn norms(
        seed in any::<u64>(), layer in any::<bool>(), scaled in any::<bool>(),
        elems in [float(), float(), float()], styles in [style(), style()],
        rows in 1usize..7, cols in 1usize..90,
    ) {
        let mut s = Scratch::new(seed);
        let src = s.data(elems[0], [rows, cols], styles[0]);
        let gamma = scaled.then(|| s.data(elems[1], [1, cols], Style::Rows(0)));
        let beta = (layer && scaled).then(|| s.data(elems[1], [1, cols], Style::Rows(0)));
        let dst = s.room(elems[2], [rows, cols], styles[1]);
        let kind = if layer { NormKind::Layer } else { NormKind::Rms };
        let c = Norm { rows: affine(rows), cols: affine(cols), kind, eps: 1e-5, src, gamma, beta, dst };
        let mut expected = s.image.clone();
        let line = |view| row(&s.image, &view, 0, cols);
        let (gamma, beta) = (gamma.map(line), beta.map(line));
        for i in 0..rows {
            let (x, mut y) = (row(&s.image, &src, i, cols), vec![0.0; cols]);
            match kind {
                NormKind::Layer => layer_norm_row(&x, gamma.as_deref(), beta.as_deref(), 1e-5, &mut y),
                NormKind::Rms => rms_norm_row(&x, gamma.as_deref(), 1e-5, &mut y),
            }
            y.iter().enumerate().for_each(|(j, &y)| put(&mut expected, &dst, i, j, y));
        }
        prop_assert!(s.run(&[Command::Norm(c)]).expect("a good program") == expected);
    }

    #[test]
    fn quantisation(
        seed in any::<u64>(), elem in float(), dynamic in any::<bool>(), styles in [style(), style()],
        zero in proptest::option::of(any::<i8>()), rows in 1usize..7, groups in 1usize..4, group in 1usize..40,
    ) {
        let mut s = Scratch::new(seed);
        let cols = groups * group;
        let src = s.data(elem, [rows, cols], styles[0]);
        let dst = s.room(Elem::I8, [rows, cols], styles[1]);
        let steps = s.room(Elem::F32, [rows, groups], Style::Transposed(0));
        let c = Quantize {
            rows: affine(rows), cols: affine(cols), src, dst, group: affine(group),
            dst_scale: dynamic.then_some(steps), scale: 0.03,
            zero: zero.filter(|_| !dynamic),
        };
        let mut expected = s.image.clone();
        for i in 0..rows {
            for (g, x) in row(&s.image, &src, i, cols).chunks(group).enumerate() {
                let scale = if dynamic { Scale::from_amax(amax(x)) } else { Scale::fixed(0.03) };
                if dynamic {
                    put(&mut expected, &steps, i, g, scale.step);
                }
                for (j, &x) in x.iter().enumerate() {
                    let q = match c.zero {
                        Some(zero) => quantize_affine(x, scale.step, zero),
                        None => quantize(x, scale.inverse),
                    };
                    expected[at(&dst, i, g * group + j)] = q as u8;
                }
            }
        }
        prop_assert!(s.run(&[Command::Quantize(c)]).expect("a good program") == expected);
    }

    #[test]
    fn rotation(
        seed in any::<u64>(), halves in any::<bool>(), repeated in any::<bool>(),
        elems in [float(), float()], rows in 1usize..5, half in 1usize..20,
    ) {
        let mut s = Scratch::new(seed);
        let src = s.data(elems[0], [rows, 2 * half], Style::Rows(3));
        let style = if repeated { Style::Repeated } else { Style::Rows(0) };
        let cos = s.data(Elem::F32, [rows, half], style);
        let sin = s.data(Elem::F32, [rows, half], style);
        let dst = s.room(elems[1], [rows, 2 * half], Style::Rows(0));
        let layout = if halves { RotaryLayout::Half } else { RotaryLayout::Interleaved };
        let c = Rotary { rows: affine(rows), cols: affine(2 * half), layout, src, cos, sin, dst };
        let mut expected = s.image.clone();
        for (i, p) in (0..rows).flat_map(|i| (0..half).map(move |p| (i, p))) {
            let (j, l) = if halves { (p, p + half) } else { (2 * p, 2 * p + 1) };
            let (x, y) = (get(&s.image, &src, i, j), get(&s.image, &src, i, l));
            let (c, s) = (get(&s.image, &cos, i, p), get(&s.image, &sin, i, p));
            put(&mut expected, &dst, i, j, x * c - y * s);
            put(&mut expected, &dst, i, l, y * c + x * s);
        }
        prop_assert!(s.run(&[Command::Rotary(c)]).expect("a good program") == expected);
    }

    #[test]
    fn reductions(seed in any::<u64>(), styles in [style(), style()], rows in 1usize..7, cols in 1usize..70) {
        let mut s = Scratch::new(seed);
        let src = s.data(Elem::F32, [rows, cols], styles[0]);
        let dst = s.room(Elem::F32, [rows, 1], styles[1]);
        for kind in [ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max, ReduceKind::Min, ReduceKind::SumSquares, ReduceKind::ArgMax] {
            let c = Reduce { rows: affine(rows), cols: affine(cols), kind, src, dst };
            let mut expected = s.image.clone();
            for i in 0..rows {
                let x = row(&s.image, &src, i, cols);
                put(&mut expected, &dst, i, 0, match kind {
                    ReduceKind::Sum => sum_lanes(&x),
                    ReduceKind::Mean => mean_row(&x),
                    ReduceKind::Max => max_row(&x),
                    ReduceKind::Min => min_row(&x),
                    ReduceKind::SumSquares => sum_squares(&x),
                    ReduceKind::ArgMax => argmax_row(&x).unwrap_or(0) as f32,
                });
            }
            prop_assert!(s.run(&[Command::Reduce(c)]).expect("a good program") == expected);
        }
    }
}
