//! Products.

use packwright_numerics::activation::gelu_erf;
use packwright_numerics::quant::quantize;
use packwright_packet::defs::{Command, Matmul};
use packwright_packet::operand::{Affine, Elem, Hold, Reg, UnaryFn, View};
use proptest::prelude::*;

use super::scratch::{Scratch, Style, at, bytes, get, put};

/// A product without scales and epilogue.
fn plain([m, n, k]: [usize; 3], a: View, b: View, out: View) -> Matmul {
    let extent = |x: usize| Affine::constant(x as u64);
    Matmul {
        m: extent(m),
        n: extent(n),
        k: extent(k),
        a,
        b,
        hold: Hold::B,
        group: extent(k),
        a_scale: None,
        a_zero: 0,
        b_bits: 8,
        b_group: extent(k),
        b_step: None,
        b_zero: None,
        b_scale: None,
        alpha: 1.0,
        bias: None,
        activation: UnaryFn::Identity,
        residual: None,
        acc: None,
        start: true,
        finish: true,
        out,
        out_scale: 1.0,
    }
}

/// One element of a product in one command, straight from the specification.
fn element(image: &[u8], c: &Matmul, i: usize, j: usize) -> f32 {
    let [k, group, block] = [c.k, c.group, c.b_group].map(|x| x.base as usize);
    let part = group.min(block);
    let mut y = 0.0f32;
    for p in 0..k / part {
        let mut sum = 0i32;
        for x in p * part..(p + 1) * part {
            let a = i8::from_le_bytes(bytes(image, &c.a, i, x));
            let b = match c.b_bits {
                4 => {
                    let byte = u8::from_le_bytes(bytes(image, &c.b, j, x / 2));
                    let half = if x % 2 == 0 { byte << 4 } else { byte & 0xf0 };
                    (half as i8) / 16
                }
                _ => i8::from_le_bytes(bytes(image, &c.b, j, x)),
            };
            sum += (i32::from(a) - i32::from(c.a_zero)) * i32::from(b);
        }
        let at = p * part;
        let a_scale = |scale: View| get(image, &scale, i, at / group);
        let mut term = sum as f32 * c.a_scale.map_or(1.0, a_scale);
        if let Some(step) = c.b_step {
            term *= get(image, &step, j, at / block);
        }
        y = if p == 0 { term } else { y + term };
    }
    y *= c.b_scale.map_or(1.0, |scale| get(image, &scale, 0, j));
    y *= c.alpha;
    if let Some(bias) = c.bias {
        y += get(image, &bias, 0, j);
    }
    if c.activation == UnaryFn::GeluErf {
        y = gelu_erf(y);
    }
    if let Some(residual) = c.residual {
        y += get(image, &residual, i, j);
    }
    y
}

/// The image after a product in one command.
fn expected(image: &[u8], c: &Matmul) -> Vec<u8> {
    let mut after = image.to_vec();
    for i in 0..c.m.base as usize {
        for j in 0..c.n.base as usize {
            let y = element(image, c, i, j);
            if c.out.elem == Elem::I8 {
                after[at(&c.out, i, j)] = quantize(y, 1.0 / c.out_scale) as u8;
            } else {
                put(&mut after, &c.out, i, j, y);
            }
        }
    }
    after
}

/// A product with everything in it, on random data.
fn full(s: &mut Scratch, [m, n, groups, group]: [usize; 4], styles: [Style; 3]) -> Matmul {
    let k = groups * group;
    let a = s.data(Elem::I8, [m, k], styles[0]);
    let b = s.data(Elem::I8, [n, k], styles[1]);
    let elem = [Elem::I8, Elem::F16, Elem::F32][s.noise.below(3)];
    let out = s.room(elem, [m, n], styles[2]);
    let scale_style = [Style::Rows(1), Style::Transposed(0), Style::Repeated][s.noise.below(3)];
    let addend = [Elem::F16, Elem::F32][s.noise.below(2)];
    Matmul {
        group: Affine::constant(group as u64),
        a_scale: Some(s.data(Elem::F32, [m, groups], scale_style)),
        a_zero: [0, 5, -128][s.noise.below(3)],
        b_scale: Some(s.data(Elem::F32, [1, n], Style::Rows(0))),
        alpha: 0.001,
        bias: Some(s.data(Elem::F32, [1, n], Style::Repeated)),
        activation: UnaryFn::GeluErf,
        residual: Some(s.data(addend, [m, n], Style::Rows(2))),
        out_scale: 0.25,
        ..plain([m, n, k], a, b, out)
    }
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![
        Just(Style::Rows(0)),
        Just(Style::Rows(3)),
        Just(Style::Transposed(0)),
        Just(Style::Transposed(5)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn products_follow_the_specification(
        seed in any::<u64>(),
        m in 1usize..9, n in 1usize..12, groups in 1usize..4, group in 1usize..50,
        styles in [style(), style(), style()],
    ) {
        let mut s = Scratch::new(seed);
        let c = full(&mut s, [m, n, groups, group], styles);
        let after = s.run(&[Command::Matmul(c.clone())]).expect("a good program");
        prop_assert_eq!(after, expected(&s.image, &c));
    }

    #[test]
    fn int4_products_follow_the_specification(
        seed in any::<u64>(),
        m in 1usize..9, n in 1usize..20, parts in 1usize..4, half in 1usize..20,
        groups in prop_oneof![Just([1usize, 1]), Just([2, 1]), Just([1, 2]), Just([3, 1])],
    ) {
        let mut s = Scratch::new(seed);
        let group = 2 * half * groups[0];
        let k = parts * 2 * half * groups[0] * groups[1];
        let block = 2 * half * groups[1];
        let mut c = full(&mut s, [m, n, k / group, group], [Style::Rows(0), Style::Rows(3), Style::Rows(1)]);
        c.b_bits = 4;
        c.b_group = Affine::constant(block as u64);
        let step = s.data(Elem::F16, [n, k / block], Style::Rows(2));
        c.b_step = Some(step);
        let after = s.run(&[Command::Matmul(c.clone())]).expect("a good program");
        prop_assert_eq!(after, expected(&s.image, &c));
    }

    #[test]
    fn parts_of_the_contraction_equal_the_whole(
        seed in any::<u64>(), cut in 1usize..40, integer in any::<bool>(), in_place in any::<bool>(),
    ) {
        let mut s = Scratch::new(seed);
        let [m, n, k] = [5, 7, 48];
        let group = if integer { k } else { 8 };
        let cut = if integer { cut } else { cut.next_multiple_of(8) };
        let mut whole = full(&mut s, [m, n, k / group, group], [Style::Rows(0); 3]);
        let elem = if integer { Elem::I32 } else { Elem::F32 };
        let acc = s.room(elem, [m, n], Style::Rows(1));
        if in_place {
            whole.out = View { elem: Elem::F32, ..acc };
        }
        let shifted = |view: View, bytes: usize| View {
            addr: Affine::constant(view.addr.base + bytes as u64), ..view
        };
        let part_group = |part: usize| Affine::constant(if integer { part } else { group } as u64);
        let first = Matmul {
            k: Affine::constant(cut as u64), group: part_group(cut),
            acc: Some(acc), finish: false, ..whole.clone()
        };
        let scale = whole.a_scale.expect("there are scales");
        let scale = shifted(scale, if integer { 0 } else { cut / group * scale.step as usize });
        let last = Matmul {
            k: Affine::constant((k - cut) as u64), group: part_group(k - cut),
            a: shifted(whole.a, cut), b: shifted(whole.b, cut), a_scale: Some(scale),
            acc: Some(acc), start: false, ..whole.clone()
        };
        let parts = [first, last].map(Command::Matmul);
        let (parts, whole_run) = (s.run(&parts), s.run(&[Command::Matmul(whole.clone())]));
        let (parts, whole_run) = (parts.expect("good parts"), whole_run.expect("a good whole"));
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let part = get(&parts, &whole.out, i, j).to_bits();
            prop_assert_eq!(part, get(&whole_run, &whole.out, i, j).to_bits());
        }
    }

    #[test]
    fn parts_of_the_result_equal_the_whole(seed in any::<u64>(), r in 1usize..8, c in 1usize..10) {
        let mut s = Scratch::new(seed);
        let [m, n] = [9, 11];
        let whole = full(&mut s, [m, n, 2, 20], [Style::Rows(0), Style::Rows(4), Style::Rows(1)]);
        let part = |rows: std::ops::Range<usize>, cols: std::ops::Range<usize>| {
            let at = |view: View, i: usize, j: usize| View {
                addr: Affine::constant(at(&view, i, j) as u64), ..view
            };
            Command::Matmul(Matmul {
                m: Affine::constant(rows.len() as u64),
                n: Affine::constant(cols.len() as u64),
                a: at(whole.a, rows.start, 0),
                b: at(whole.b, cols.start, 0),
                a_scale: whole.a_scale.map(|v| at(v, rows.start, 0)),
                b_scale: whole.b_scale.map(|v| at(v, 0, cols.start)),
                bias: whole.bias.map(|v| at(v, 0, cols.start)),
                residual: whole.residual.map(|v| at(v, rows.start, cols.start)),
                out: at(whole.out, rows.start, cols.start),
                ..whole.clone()
            })
        };
        let parts = [part(0..r, 0..c), part(r..m, 0..c), part(0..r, c..n), part(r..m, c..n)];
        let whole = s.run(&[Command::Matmul(whole.clone())]).expect("a good whole");
        prop_assert_eq!(s.run(&parts).expect("good parts"), whole);
    }
}

#[test]
fn products_of_many_tiles_follow_the_specification() {
    for (seed, style) in [Style::Rows(0), Style::Transposed(0)]
        .into_iter()
        .enumerate()
    {
        let mut s = Scratch::new(seed as u64);
        let c = full(
            &mut s,
            [150, 70, 3, 600],
            [Style::Rows(0), style, Style::Rows(0)],
        );
        let after = s
            .run(&[Command::Matmul(c.clone())])
            .expect("a good program");
        assert!(after == expected(&s.image, &c), "{style:?}");
    }
}

#[test]
fn extents_may_depend_on_registers() {
    let mut s = Scratch::new(1);
    let whole = full(&mut s, [6, 5, 1, 32], [Style::Rows(0); 3]);
    let of_r0 = |scale| Affine {
        base: 0,
        term: Some((Reg(0), scale)),
    };
    let c = Matmul {
        m: of_r0(1),
        k: of_r0(8),
        group: of_r0(8),
        bias: None,
        ..whole.clone()
    };
    let known = Matmul {
        m: Affine::constant(4),
        bias: None,
        ..whole
    };
    let after = s
        .run_with(&[Command::Matmul(c.clone())], &[4])
        .expect("a good program");
    assert!(after == expected(&s.image, &known));
    let after = s
        .run_with(&[Command::Matmul(c)], &[0])
        .expect("nothing to do");
    assert!(after == s.image);
}

#[test]
fn a_residual_may_be_updated_in_place() {
    let mut s = Scratch::new(2);
    let mut c = full(&mut s, [9, 17, 2, 24], [Style::Rows(0); 3]);
    c.out = s.data(Elem::F32, [9, 17], Style::Rows(3));
    c.residual = Some(c.out);
    let after = s
        .run(&[Command::Matmul(c.clone())])
        .expect("a good program");
    assert!(after == expected(&s.image, &c));
}
