//! Storage types at the memory ports.

use half::f16;
use packwright_numerics::half_float::{narrow_f16, narrow_f16_row, widen_f16, widen_f16_row};
use packwright_numerics::port::{InputRow, OutputRow, load_row, store_row};
use packwright_numerics::round::canonical;

/// Rounds to half precision from the definition: the nearest of all halves, ties to even bits.
fn nearest_half(x: f32) -> f16 {
    let magnitude = f64::from(x.abs());
    // 65536 stands for infinity, the next value after 65504.
    let value = |bits: u16| {
        if bits == 0x7c00 {
            65_536.0
        } else {
            f16::from_bits(bits).to_f64()
        }
    };
    let upper = (0..=0x7c00u16)
        .collect::<Vec<_>>()
        .partition_point(|&bits| value(bits) < magnitude) as u16;
    let lower = upper.saturating_sub(1);
    let upper = upper.min(0x7c00);
    let (down, up) = (magnitude - value(lower), value(upper) - magnitude);
    let bits = if down < up || (down == up && lower.is_multiple_of(2)) {
        lower
    } else {
        upper
    };
    f16::from_bits(bits | if x.is_sign_negative() { 0x8000 } else { 0 })
}

#[test]
fn narrowing_is_to_nearest_even() {
    let edges = [
        0.0,
        -0.0,
        65_504.0,
        65_519.996,
        65_520.0,
        1e9,
        2.980_232_2e-8,
        2.980_232_6e-8,
        5.96e-8,
        6.1e-5,
        1.000_488_3,
        1.001_464_8,
        f32::INFINITY,
    ];
    let spread = (0..400u32).map(|i| f32::from_bits(0x3280_0000 + i * 999_983));
    let inputs: Vec<f32> = edges
        .into_iter()
        .chain(spread)
        .flat_map(|x| [x, -x])
        .collect();
    let mut row = vec![f16::ZERO; inputs.len()];
    narrow_f16_row(&inputs, &mut row);
    for (&x, &y) in inputs.iter().zip(&row) {
        assert_eq!(y.to_bits(), nearest_half(x).to_bits(), "{x:e}");
        assert_eq!(narrow_f16(x).to_bits(), y.to_bits(), "{x:e}");
    }
}

#[test]
fn every_half_survives_the_round_trip() {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let mut wide = vec![0.0; all.len()];
    widen_f16_row(&all, &mut wide);
    let mut back = vec![f16::ZERO; all.len()];
    narrow_f16_row(&wide, &mut back);
    for (&h, (&x, &b)) in all.iter().zip(wide.iter().zip(&back)) {
        if h.is_nan() {
            assert!(x.is_nan());
            assert_eq!((b.to_bits(), narrow_f16(x).to_bits()), (0x7e00, 0x7e00));
        } else {
            assert_eq!((b.to_bits(), widen_f16(h), h.to_f32()), (h.to_bits(), x, x));
        }
    }
}

#[test]
fn a_stored_nan_is_canonical() {
    let odd = f32::from_bits(0xffc1_2345);
    assert_eq!(canonical(odd).to_bits(), 0x7fc0_0000);
    let mut out = [0.0; 3];
    store_row(&[1.0, odd, -0.0], OutputRow::F32(&mut out));
    assert_eq!(
        out.map(f32::to_bits),
        [0x3f80_0000, 0x7fc0_0000, 0x8000_0000]
    );
}

#[test]
fn each_storage_type_is_read_and_written() {
    let mut row = [0.0; 2];
    let mut read = |input| {
        load_row(input, &mut row);
        row
    };
    assert_eq!(read(InputRow::F32(&[1.5, -2.0])), [1.5, -2.0]);
    assert_eq!(read(InputRow::F16(&[f16::ONE, f16::MAX])), [1.0, 65_504.0]);
    assert_eq!(
        read(InputRow::I8 {
            q: &[-127, 3],
            step: 0.5
        }),
        [-63.5, 1.5]
    );
    assert_eq!(read(InputRow::I32(&[16_777_217, -1])), [16_777_216.0, -1.0]);
    assert_eq!(
        read(InputRow::I64(&[1 << 40, -7])),
        [1_099_511_627_776.0, -7.0]
    );
    let mut q = [0i8; 2];
    store_row(
        &[1.26, -900.0],
        OutputRow::I8 {
            q: &mut q,
            inverse: 2.0,
        },
    );
    assert_eq!(q, [3, -127]);
    let mut halves = [f16::ZERO; 2];
    store_row(&[1.0, 1e6], OutputRow::F16(&mut halves));
    assert_eq!(halves, [f16::ONE, f16::INFINITY]);
}
