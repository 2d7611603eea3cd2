//! Softmax.

use packwright_numerics::quant::{Scale, quantize};
use packwright_numerics::reduce::amax;
use packwright_numerics::softmax::{exponentials_row, softmax_row};
use packwright_packet::defs::{Command, Softmax};
use packwright_packet::operand::{Affine, Elem, Reg, View};
use proptest::prelude::*;

use super::scratch::{Scratch, Style, at, get, put, row};

/// A softmax without options from f32 to f32.
fn plain(s: &mut Scratch, [rows, cols]: [usize; 2]) -> Softmax {
    Softmax {
        rows: Affine::constant(rows as u64),
        cols: Affine::constant(cols as u64),
        src: s.data(Elem::F32, [rows, cols], Style::Rows(1)),
        scale: 1.0,
        mask: None,
        row_mask: None,
        causal: None,
        window: None,
        always: Affine::constant(0),
        col_scale: None,
        dst: s.room(Elem::F32, [rows, cols], Style::Rows(0)),
        dst_scale: None,
        log_sum: None,
    }
}

/// The image after a softmax whose row 0 sees `seen` columns.
fn expected(image: &[u8], c: &Softmax, seen: Option<usize>) -> Vec<u8> {
    let mut after = image.to_vec();
    let cols = c.cols.base as usize;
    for i in 0..c.rows.base as usize {
        let mut p = row(image, &c.src, i, cols);
        for (j, p) in p.iter_mut().enumerate() {
            *p *= c.scale;
            if let Some(mask) = c.mask {
                *p += get(image, &mask, i, j);
            }
            if seen.is_some_and(|seen| j >= seen + i) {
                *p = f32::NEG_INFINITY;
            }
        }
        let inverse = exponentials_row(&mut p);
        let integers = c.dst.elem == Elem::I8;
        if !integers {
            p.iter_mut().for_each(|p| *p *= inverse);
        }
        if let Some(scale) = c.col_scale {
            // A hidden column stays +0, whatever its scale is.
            let shown = seen.map_or(cols, |seen| seen + i);
            p.iter_mut()
                .enumerate()
                .take(shown)
                .for_each(|(j, p)| *p *= get(image, &scale, 0, j));
        }
        let scale = Scale::from_amax(amax(&p));
        for (j, &p) in p.iter().enumerate() {
            if integers {
                after[at(&c.dst, i, j)] = quantize(p, scale.inverse) as u8;
            } else {
                put(&mut after, &c.dst, i, j, p);
            }
        }
        if let Some(dst_scale) = c.dst_scale {
            put(&mut after, &dst_scale, i, 0, scale.step * inverse);
        }
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn softmax_follows_the_specification(
        seed in any::<u64>(), rows in 1usize..9, cols in 1usize..70,
        elem in prop::sample::select(vec![Elem::I8, Elem::F16, Elem::F32]),
        mask in prop::option::of(prop::sample::select(vec![Style::Rows(0), Style::Repeated])),
        causal in prop::option::of(0usize..70), col_scale in any::<bool>(),
    ) {
        let mut s = Scratch::new(seed);
        let mut c = plain(&mut s, [rows, cols]);
        c.scale = 0.125;
        c.mask = mask.map(|style| s.data(Elem::F16, [rows, cols], style));
        c.causal = causal.map(|last| Affine::constant(last as u64));
        c.col_scale = col_scale.then(|| s.data(Elem::F32, [1, cols], Style::Rows(0)));
        c.dst = s.room(elem, [rows, cols], Style::Rows(2));
        c.dst_scale = (elem == Elem::I8).then(|| s.room(Elem::F32, [rows, 1], Style::Rows(0)));
        let after = s.run(&[Command::Softmax(c.clone())]).expect("a good program");
        prop_assert!(after == expected(&s.image, &c, causal.map(|last| last + 1)));
    }
}

#[test]
fn hidden_columns_are_zero_whatever_lies_there() {
    let mut s = Scratch::new(3);
    let mut c = plain(&mut s, [4, 8]);
    c.col_scale = Some(s.data(Elem::F32, [1, 8], Style::Rows(0)));
    c.causal = Some(Affine::constant(2));
    let clean = s
        .run(&[Command::Softmax(c.clone())])
        .expect("a good program");
    let scales = c.col_scale.expect("there are scales");
    put(&mut s.image, &scales, 0, 7, f32::NAN);
    put(&mut s.image, &c.src, 0, 3, f32::NAN);
    put(&mut s.image, &c.src, 3, 7, f32::NAN);
    let dirty = s
        .run(&[Command::Softmax(c.clone())])
        .expect("a good program");
    for (i, j) in (0..4).flat_map(|i| (0..8).map(move |j| (i, j))) {
        assert_eq!(
            get(&dirty, &c.dst, i, j).to_bits(),
            get(&clean, &c.dst, i, j).to_bits()
        );
        if j > i + 2 {
            assert_eq!(get(&dirty, &c.dst, i, j).to_bits(), 0);
        }
    }
}

#[test]
fn the_causal_limit_may_be_a_register() {
    let mut s = Scratch::new(5);
    let mut c = plain(&mut s, [2, 12]);
    c.causal = Some(Affine {
        base: 1,
        term: Some((Reg(0), 2)),
    });
    let after = s
        .run_with(&[Command::Softmax(c.clone())], &[3])
        .expect("a good program");
    assert!(after == expected(&s.image, &c, Some(8)));
}

#[test]
fn int8_rows_may_take_the_place_of_their_scores() {
    let mut s = Scratch::new(6);
    let mut c = plain(&mut s, [5, 20]);
    c.dst = View {
        elem: Elem::I8,
        step: 1,
        ..c.src
    };
    c.dst_scale = Some(s.room(Elem::F32, [5, 1], Style::Rows(0)));
    let after = s
        .run(&[Command::Softmax(c.clone())])
        .expect("a good program");
    assert!(after == expected(&s.image, &c, None));
}

#[test]
fn a_window_and_leading_columns_are_what_rows_see() {
    let mut s = Scratch::new(7);
    let (rows, cols) = (5, 24);
    let mut c = plain(&mut s, [rows, cols]);
    c.causal = Some(Affine::constant(10));
    c.window = Some(Affine::constant(4));
    c.always = Affine::constant(2);
    c.row_mask = Some(s.data(Elem::F32, [rows, 1], Style::Rows(0)));
    let masks = c.row_mask.expect("there is a mask");
    put(&mut s.image, &masks, 3, 0, f32::NEG_INFINITY);
    let after = s
        .run(&[Command::Softmax(c.clone())])
        .expect("a good program");
    for i in 0..rows {
        let mut p = row(&s.image, &c.src, i, cols);
        for (j, p) in p.iter_mut().enumerate() {
            *p += get(&s.image, &masks, i, 0);
            if j >= 2 && !(7 + i..=10 + i).contains(&j) {
                *p = f32::NEG_INFINITY;
            }
        }
        softmax_row(&mut p);
        for (j, p) in p.iter().enumerate() {
            assert_eq!(get(&after, &c.dst, i, j).to_bits(), p.to_bits(), "{i} {j}");
        }
        assert_eq!(p.iter().sum::<f32>() == 0.0, i == 3);
    }
    c.causal = None;
    assert!(s.run(&[Command::Softmax(c)]).is_err());
}
