//! Element-wise commands and conversions.

use packwright_numerics::activation::{gelu_erf, gelu_tanh, relu, silu};
use packwright_numerics::elementary::{cos, erf, exp, ln, pow, rsqrt, sigmoid, sin, tanh};
use packwright_packet::defs::{
    Binary, Command, Copy, Dequantize, Fill, Lookup, Scatter, Select, Sort, Unary,
};
use packwright_packet::operand::{Affine, BinaryFn, Elem, UnaryFn, View};
use proptest::prelude::*;

use super::scratch::{Scratch, Style, at, bytes, get, put};

const UNARY: [UnaryFn; 18] = [
    UnaryFn::Identity,
    UnaryFn::Relu,
    UnaryFn::GeluErf,
    UnaryFn::GeluTanh,
    UnaryFn::Silu,
    UnaryFn::Sigmoid,
    UnaryFn::Tanh,
    UnaryFn::Erf,
    UnaryFn::Exp,
    UnaryFn::Ln,
    UnaryFn::Sqrt,
    UnaryFn::Rsqrt,
    UnaryFn::Reciprocal,
    UnaryFn::Neg,
    UnaryFn::Abs,
    UnaryFn::Sin,
    UnaryFn::Cos,
    UnaryFn::Not,
];

fn unary_of(func: UnaryFn, x: f32) -> f32 {
    match func {
        UnaryFn::Identity => x,
        UnaryFn::Relu => relu(x),
        UnaryFn::GeluErf => gelu_erf(x),
        UnaryFn::GeluTanh => gelu_tanh(x),
        UnaryFn::Silu => silu(x),
        UnaryFn::Sigmoid => sigmoid(x),
        UnaryFn::Tanh => tanh(x),
        UnaryFn::Erf => erf(x),
        UnaryFn::Exp => exp(x),
        UnaryFn::Ln => ln(x),
        UnaryFn::Sqrt => x.sqrt(),
        UnaryFn::Rsqrt => rsqrt(x),
        UnaryFn::Reciprocal => 1.0 / x,
        UnaryFn::Neg => -x,
        UnaryFn::Abs => x.abs(),
        UnaryFn::Sin => sin(x),
        UnaryFn::Cos => cos(x),
        UnaryFn::Not => f32::from(u8::from(x == 0.0)),
    }
}

const BINARY: [BinaryFn; 14] = [
    BinaryFn::Add,
    BinaryFn::Sub,
    BinaryFn::Mul,
    BinaryFn::Div,
    BinaryFn::Min,
    BinaryFn::Max,
    BinaryFn::Pow,
    BinaryFn::Equal,
    BinaryFn::Less,
    BinaryFn::LessOrEqual,
    BinaryFn::Greater,
    BinaryFn::GreaterOrEqual,
    BinaryFn::And,
    BinaryFn::Or,
];

fn binary_of(func: BinaryFn, a: f32, b: f32) -> f32 {
    let truth = |holds: bool| f32::from(u8::from(holds));
    match func {
        BinaryFn::Add => a + b,
        BinaryFn::Sub => a - b,
        BinaryFn::Mul => a * b,
        BinaryFn::Div => a / b,
        BinaryFn::Min => packwright_numerics::reduce::min_row(&[a, b]),
        BinaryFn::Max => packwright_numerics::reduce::max_row(&[a, b]),
        BinaryFn::Pow => pow(a, b),
        BinaryFn::Equal => truth(a == b),
        BinaryFn::Less => truth(a < b),
        BinaryFn::LessOrEqual => truth(a <= b),
        BinaryFn::Greater => truth(a > b),
        BinaryFn::GreaterOrEqual => truth(a >= b),
        BinaryFn::And => truth(a != 0.0 && b != 0.0),
        BinaryFn::Or => truth(a != 0.0 || b != 0.0),
    }
}

fn elem() -> impl Strategy<Value = Elem> {
    prop::sample::select(vec![Elem::I8, Elem::I32, Elem::I64, Elem::F16, Elem::F32])
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![
        Just(Style::Rows(0)),
        Just(Style::Rows(3)),
        Just(Style::Transposed(1)),
        Just(Style::Repeated),
        Just(Style::Column),
    ]
}

fn target_style() -> impl Strategy<Value = Style> {
    prop_oneof![
        Just(Style::Rows(0)),
        Just(Style::Rows(2)),
        Just(Style::Transposed(1))
    ]
}

/// Runs a command that writes `f(i, j)` to each element of `dst` and compares the whole of SRAM.
fn agrees(
    s: &Scratch,
    command: Command,
    dst: &View,
    [rows, cols]: [usize; 2],
    f: impl Fn(usize, usize) -> f32,
) {
    let mut expected = s.image.clone();
    for i in 0..rows {
        for j in 0..cols {
            put(&mut expected, dst, i, j, f(i, j));
        }
    }
    let after = s
        .run(std::slice::from_ref(&command))
        .expect("a good program");
    assert!(after == expected, "{command:?}");
}

fn affine(x: usize) -> Affine {
    Affine::constant(x as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn unary_functions(
        seed in any::<u64>(), func in prop::sample::select(&UNARY[..]),
        from in elem(), to in elem(), style in style(), target in target_style(),
        rows in 1usize..6, cols in 1usize..150,
    ) {
        let mut s = Scratch::new(seed);
        let src = s.data(from, [rows, cols], style);
        let dst = s.room(to, [rows, cols], target);
        let c = Unary { rows: affine(rows), cols: affine(cols), func, src, dst };
        agrees(&s, Command::Unary(c), &dst, [rows, cols], |i, j| {
            unary_of(func, get(&s.image, &src, i, j))
        });
    }

    #[test]
    fn binary_functions(
        seed in any::<u64>(), func in prop::sample::select(&BINARY[..]),
        elems in [elem(), elem(), elem()], styles in [style(), style()], target in target_style(),
        rows in 1usize..6, cols in 1usize..70,
    ) {
        let mut s = Scratch::new(seed);
        let a = s.data(elems[0], [rows, cols], styles[0]);
        let b = s.data(elems[1], [rows, cols], styles[1]);
        let dst = s.room(elems[2], [rows, cols], target);
        let c = Binary { rows: affine(rows), cols: affine(cols), func, a, b, dst };
        agrees(&s, Command::Binary(c), &dst, [rows, cols], |i, j| {
            binary_of(func, get(&s.image, &a, i, j), get(&s.image, &b, i, j))
        });
    }

    #[test]
    fn select_and_fill(
        seed in any::<u64>(), elems in [elem(), elem(), elem()],
        styles in [style(), style(), style()], target in target_style(),
    ) {
        let mut s = Scratch::new(seed);
        let extents = [5, 33];
        let cond = s.data(elems[0], extents, styles[0]);
        for (i, j) in [(0, 0), (1, 7), (4, 32)] {
            put(&mut s.image, &cond, i, j, 0.0);
        }
        let a = s.data(elems[1], extents, styles[1]);
        let b = s.data(elems[2], extents, styles[2]);
        let dst = s.room(elems[1], extents, target);
        let (rows, cols) = (affine(extents[0]), affine(extents[1]));
        let c = Command::Select(Select { rows, cols, cond, a, b, dst });
        agrees(&s, c, &dst, extents, |i, j| {
            let chosen = if get(&s.image, &cond, i, j) != 0.0 { a } else { b };
            get(&s.image, &chosen, i, j)
        });
        let c = Command::Fill(Fill { rows, cols, value: -2.5, dst, step: 0.0 });
        agrees(&s, c, &dst, extents, |_, _| -2.5);
    }

    #[test]
    fn dequantize(
        seed in any::<u64>(), by_row in any::<bool>(), wide in any::<bool>(), plus in any::<bool>(),
        to in prop::sample::select(vec![Elem::F16, Elem::F32]),
    ) {
        let mut s = Scratch::new(seed);
        let extents = [6, 19];
        let src = s.data(if wide { Elem::I32 } else { Elem::I8 }, extents, Style::Transposed(0));
        let style = if by_row { Style::Column } else { Style::Repeated };
        let scale = s.data(Elem::F32, extents, style);
        let addend = plus.then(|| s.data(Elem::F16, extents, Style::Rows(0)));
        let dst = s.room(to, extents, Style::Rows(1));
        let (rows, cols) = (affine(extents[0]), affine(extents[1]));
        let c = Command::Dequantize(Dequantize { rows, cols, src, scale, addend, dst });
        agrees(&s, c, &dst, extents, |i, j| {
            let y = get(&s.image, &src, i, j) * get(&s.image, &scale, i, j);
            addend.map_or(y, |addend| y + get(&s.image, &addend, i, j))
        });
    }

    #[test]
    fn copies_keep_bits(seed in any::<u64>(), elem in elem(), style in style(), target in target_style()) {
        let mut s = Scratch::new(seed);
        let extents = [7, 12];
        let src = s.room(elem, extents, style);
        let end = at(&src, 6, 11) + 8;
        for byte in 0..end {
            s.image[byte] = s.noise.bits() as u8;
        }
        let dst = s.room(elem, extents, target);
        let (rows, cols) = (affine(extents[0]), affine(extents[1]));
        let after = s.run(&[Command::Copy(Copy { rows, cols, src, dst })]).expect("a good program");
        let size = elem.bytes() as usize;
        for (i, j) in (0..7).flat_map(|i| (0..12).map(move |j| (i, j))) {
            let (from, to) = (at(&src, i, j), at(&dst, i, j));
            prop_assert_eq!(&after[to..to + size], &s.image[from..from + size]);
        }
    }
}

#[test]
fn integers_convert_without_rounding_and_saturate() {
    let mut s = Scratch::new(0);
    let src = s.room(Elem::I64, [1, 4], Style::Rows(0));
    let narrow = s.room(Elem::I32, [1, 4], Style::Rows(0));
    let wide = s.room(Elem::I64, [1, 4], Style::Rows(0));
    let values = [(1i64 << 24) + 1, i64::MAX, i64::MIN, -7];
    for (j, value) in values.iter().enumerate() {
        let at = at(&src, 0, j);
        s.image[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let convert = |src, dst| {
        let (rows, cols) = (affine(1), affine(4));
        Command::Unary(Unary {
            rows,
            cols,
            func: UnaryFn::Identity,
            src,
            dst,
        })
    };
    let after = s
        .run(&[convert(src, narrow), convert(narrow, wide)])
        .expect("a good program");
    let narrowed = [(1 << 24) + 1, i32::MAX, i32::MIN, -7];
    for (j, &value) in narrowed.iter().enumerate() {
        assert_eq!(i32::from_le_bytes(bytes(&after, &narrow, 0, j)), value);
        assert_eq!(
            i64::from_le_bytes(bytes(&after, &wide, 0, j)),
            i64::from(value)
        );
    }
}

#[test]
fn lookup_wraps_and_clamps() {
    let mut s = Scratch::new(4);
    let table = s.data(Elem::F16, [5, 9], Style::Transposed(1));
    let index = s.room(Elem::I32, [1, 6], Style::Rows(0));
    for (j, x) in [0.0, 4.0, -1.0, -5.0, 5.0, -6.0].into_iter().enumerate() {
        put(&mut s.image, &index, 0, j, x);
    }
    let dst = s.room(Elem::F16, [6, 9], Style::Rows(2));
    let (rows, cols) = (affine(6), affine(9));
    let c = Command::Lookup(Lookup {
        rows,
        cols,
        index,
        table,
        table_rows: 5,
        dst,
    });
    agrees(&s, c, &dst, [6, 9], |i, j| {
        get(&s.image, &table, [0, 4, 4, 0, 4, 4][i], j)
    });
}

#[test]
fn scatter_leaves_other_rows_and_the_last_one_stays() {
    let mut s = Scratch::new(6);
    let src = s.data(Elem::F16, [4, 3], Style::Rows(1));
    let index = s.room(Elem::I32, [1, 4], Style::Rows(0));
    for (j, x) in [2.0, -1.0, 2.0, 9.0].into_iter().enumerate() {
        put(&mut s.image, &index, 0, j, x);
    }
    let table = s.data(Elem::F16, [6, 3], Style::Rows(2));
    let c = Command::Scatter(Scatter {
        rows: affine(4),
        cols: affine(3),
        index,
        src,
        table,
        table_rows: 6,
    });
    agrees(&s, c, &table, [6, 3], |i, j| match i {
        2 => get(&s.image, &src, 2, j),
        5 => get(&s.image, &src, 3, j),
        _ => get(&s.image, &table, i, j),
    });
}

#[test]
fn sort_is_stable_and_knows_an_order_of_all_numbers() {
    let mut s = Scratch::new(7);
    let src = s.room(Elem::F32, [2, 5], Style::Rows(1));
    let rows = [
        [3.0, -1.0, 3.0, f32::NEG_INFINITY, -1.0],
        [f32::NAN, 0.0, -0.0, f32::INFINITY, -2.0],
    ];
    for (i, row) in rows.iter().enumerate() {
        for (j, &x) in row.iter().enumerate() {
            put(&mut s.image, &src, i, j, x);
        }
    }
    let dst = s.room(Elem::I32, [2, 5], Style::Rows(0));
    let c = Command::Sort(Sort {
        rows: affine(2),
        cols: affine(5),
        src,
        dst,
    });
    let order = [[3.0, 1.0, 4.0, 0.0, 2.0], [4.0, 2.0, 1.0, 3.0, 0.0]];
    agrees(&s, c, &dst, [2, 5], |i, j| order[i][j]);
}

#[test]
fn fill_counts_up_by_its_step() {
    let mut s = Scratch::new(8);
    let dst = s.room(Elem::F32, [2, 4], Style::Rows(1));
    let c = Command::Fill(Fill {
        rows: affine(2),
        cols: affine(4),
        value: -1.0,
        dst,
        step: 0.5,
    });
    agrees(&s, c, &dst, [2, 4], |_, j| -1.0 + j as f32 * 0.5);
}
