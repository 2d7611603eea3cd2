//! Where a result may lie.

use packwright_packet::defs::{Binary, Command, Copy, Unary};
use packwright_packet::operand::{Affine, BinaryFn, Elem, UnaryFn, View};
use proptest::prelude::*;

use super::scratch::{SRAM, Scratch, Style, at, get};
use crate::func::area::Area;
use crate::func::overlap::disjoint;

fn slug(result: Result<Vec<u8>, crate::func::FuncError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) => error.slug(),
    }
}

fn copy(src: View, dst: View, rows: u64, cols: u64) -> Command {
    let (rows, cols) = (Affine::constant(rows), Affine::constant(cols));
    Command::Copy(Copy {
        rows,
        cols,
        src,
        dst,
    })
}

fn rows_at(addr: u64, pitch: u32) -> View {
    View::rows(Elem::F32, addr, pitch)
}

#[test]
fn an_operand_may_be_replaced() {
    let mut s = Scratch::new(0);
    let a = s.data(Elem::F32, [4, 8], Style::Rows(2));
    let b = s.data(Elem::F16, [4, 8], Style::Rows(0));
    let (rows, cols) = (Affine::constant(4), Affine::constant(8));
    let c = Binary {
        rows,
        cols,
        func: BinaryFn::Sub,
        a,
        b,
        dst: a,
    };
    let after = s.run(&[Command::Binary(c)]).expect("in place");
    for (i, j) in (0..4).flat_map(|i| (0..8).map(move |j| (i, j))) {
        let (x, y) = (get(&s.image, &a, i, j), get(&s.image, &b, i, j));
        assert_eq!(get(&after, &a, i, j), x - y);
    }
}

#[test]
fn narrower_rows_may_start_where_the_operand_starts() {
    let s = Scratch::new(0);
    let unary = |src: View, dst: View| {
        let (rows, cols) = (Affine::constant(4), Affine::constant(8));
        s.run(&[Command::Unary(Unary {
            rows,
            cols,
            func: UnaryFn::Neg,
            src,
            dst,
        })])
    };
    let wide = rows_at(0, 64);
    let narrow = View::rows(Elem::F16, 0u64, 64);
    assert_eq!(slug(unary(wide, narrow)), "ok");
    assert_eq!(slug(unary(narrow, wide)), "overlap");
    assert_eq!(
        slug(unary(wide, View::rows(Elem::F16, 0u64, 16))),
        "overlap"
    );
}

#[test]
fn partial_overlaps_are_refused() {
    let s = Scratch::new(0);
    assert_eq!(
        slug(s.run(&[copy(rows_at(0, 32), rows_at(4, 32), 4, 8)])),
        "overlap"
    );
    assert_eq!(
        slug(s.run(&[copy(rows_at(0, 32), rows_at(96, 32), 4, 8)])),
        "overlap"
    );
    assert_eq!(
        slug(s.run(&[copy(rows_at(0, 32), rows_at(128, 32), 4, 8)])),
        "ok"
    );
    let transposed = View {
        pitch: 4,
        step: 32,
        ..rows_at(0, 0)
    };
    assert_eq!(
        slug(s.run(&[copy(rows_at(0, 32), transposed, 8, 8)])),
        "overlap"
    );
}

#[test]
fn other_columns_of_the_same_rows_do_not_overlap() {
    let s = Scratch::new(0);
    assert_eq!(
        slug(s.run(&[copy(rows_at(0, 64), rows_at(32, 64), 4, 8)])),
        "ok"
    );
    assert_eq!(
        slug(s.run(&[copy(rows_at(32, 64), rows_at(64, 64), 4, 8)])),
        "ok"
    );
    assert_eq!(
        slug(s.run(&[copy(rows_at(0, 64), rows_at(28, 64), 4, 8)])),
        "overlap"
    );
}

#[test]
fn elements_of_a_result_may_not_lie_on_each_other() {
    let s = Scratch::new(0);
    let src = rows_at(4096, 64);
    assert_eq!(
        slug(s.run(&[copy(src, rows_at(0, 0), 4, 8)])),
        "self-overlap"
    );
    assert_eq!(
        slug(s.run(&[copy(src, rows_at(0, 28), 4, 8)])),
        "self-overlap"
    );
    assert_eq!(slug(s.run(&[copy(src, rows_at(0, 0), 1, 8)])), "ok");
}

proptest! {
    #[test]
    fn disjoint_areas_share_no_byte(
        addrs in [0u64..60, 0u64..60], pitches in [0u32..40, 0u32..40],
        steps in [0u32..12, 0u32..12], extents in [[1usize..5, 1usize..5], [1usize..5, 1usize..5]],
    ) {
        let views = [0, 1].map(|v| View {
            elem: Elem::F32, addr: addrs[v].into(), pitch: pitches[v], step: steps[v],
        });
        let bytes = |v: usize| {
            let mut bytes = [false; 1024];
            for (i, j) in (0..extents[v][0]).flat_map(|i| (0..extents[v][1]).map(move |j| (i, j))) {
                bytes[at(&views[v], i, j)..][..4].fill(true);
            }
            bytes
        };
        let shared = bytes(0).iter().zip(&bytes(1)).any(|(&a, &b)| a && b);
        let area = |v: usize| Area::new("v", &views[v], addrs[v], extents[v], SRAM).expect("within");
        let found = disjoint(&area(0), &area(1));
        // Layouts whose pieces lie on each other count as all of their span.
        let exact = [0, 1].iter().all(|&v| area(v).writable().is_ok());
        prop_assert!(!(found && shared));
        prop_assert!(found || shared || !exact);
    }
}
