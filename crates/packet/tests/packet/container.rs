//! Programs and `.npu` files.

use std::io::{Cursor, ErrorKind, Write};

use bytes::Bytes;
use packwright_packet::container::{
    ContainerError, ReadOptions, read, read_with, write, write_with,
};
use packwright_packet::program::{Constants, Program};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::strategy;

fn file(program: &Program) -> Vec<u8> {
    let mut file = Vec::new();
    write(program, &mut file).expect("a vector takes every byte");
    file
}

proptest! {
    #[test]
    fn programs_come_back(program in strategy::program()) {
        let bytes = file(&program);
        prop_assert_eq!(&bytes, &file(&program));
        let program_read = read(Bytes::from(bytes));
        prop_assert_eq!(program_read.as_ref(), Ok(&program));
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(Bytes::from(bytes.clone())).is_err());
        let mut magic = packwright_packet::container::MAGIC.to_vec();
        magic.extend(bytes);
        prop_assert!(read(Bytes::from(magic)).is_err());
    }
}

/// A program with some of everything, the same on every run.
fn some_program(constants: Constants) -> Program {
    let mut runner = TestRunner::deterministic();
    let program = std::iter::repeat_with(|| strategy::program().new_tree(&mut runner));
    let programs = program.map(|tree| tree.expect("a program").current());
    let mut programs = programs.filter(|p| p.entries.iter().any(|e| e.packets.len() > 1));
    Program {
        constants,
        ..programs.next().expect("there is always another")
    }
}

#[test]
fn constants_written_piece_by_piece_make_the_same_file() {
    let whole = file(&some_program(Constants::Present(Bytes::from_static(
        b"weights",
    ))));
    let bare = some_program(Constants::Absent { bytes: 7 });
    // Behind something, as in a longer output.
    let mut out = Cursor::new(b"before".to_vec());
    out.set_position(6);
    let mut pieces = |out: &mut dyn Write| {
        out.write_all(b"wei")?;
        out.write_all(b"ghts")
    };
    write_with(&bare, &mut pieces, &mut out).expect("writes");
    assert_eq!(out.into_inner(), [&b"before"[..], &whole].concat());
    let mut short = |out: &mut dyn Write| out.write_all(b"weight");
    let error = write_with(&bare, &mut short, &mut Cursor::new(Vec::new()));
    assert_eq!(
        error.expect_err("a byte is missing").kind(),
        ErrorKind::InvalidData
    );
}

#[test]
fn every_flipped_byte_is_found() {
    let program = some_program(Constants::Present(Bytes::from_static(b"weights")));
    let good = file(&program);
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            assert!(
                read(Bytes::from(bad)).is_err(),
                "byte {at} of {}",
                good.len()
            );
        }
    }
}

#[test]
fn every_cut_is_found() {
    for constants in [
        Constants::Absent { bytes: 99 },
        Constants::Present(Bytes::from_static(b"w")),
    ] {
        let good = file(&some_program(constants));
        for length in 0..good.len() {
            let error = read(Bytes::copy_from_slice(&good[..length])).expect_err("a cut file");
            assert_eq!(error.slug(), "npu-truncated", "{length} of {}", good.len());
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert_eq!(
            read(Bytes::from(longer)).expect_err("a longer file").slug(),
            "npu-layout"
        );
    }
}

#[test]
fn errors_are_told_apart() {
    let good = file(&some_program(Constants::Present(Bytes::from_static(
        b"weights",
    ))));
    let slug = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let error = read(Bytes::from(bad)).expect_err("a damaged file");
        assert!(!error.help().is_empty());
        error.slug()
    };
    assert_eq!(slug(0), "npu-bad-magic");
    assert_eq!(slug(8), "npu-version");
    assert_eq!(slug(40), "npu-checksum");
    assert_eq!(slug(good.len() - 1), "npu-checksum");
    assert_eq!(
        read(Bytes::from_static(b"PK\x03\x04 a zip file")),
        Err(ContainerError::BadMagic)
    );
}

#[test]
fn constants_are_shared_and_need_not_be_verified() {
    let program = some_program(Constants::Present(Bytes::from_static(b"weights")));
    let mut bytes = file(&program);
    *bytes.last_mut().expect("not empty") ^= 1;
    let bytes = Bytes::from(bytes);
    let options = ReadOptions {
        verify_constants: false,
    };
    let program = read_with(bytes.clone(), &options).expect("only the constants are damaged");
    let Constants::Present(constants) = program.constants else {
        panic!("constants are there")
    };
    let offset = constants.as_ptr() as usize - bytes.as_ptr() as usize;
    assert_eq!((offset % 64, offset + constants.len()), (0, bytes.len()));
}

/// The number at `at`, or nothing where the file is shorter.
fn number<const N: usize>(file: &[u8], at: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(file.get(at..)?.get(..N)?);
    Some(u64::from_le_bytes(bytes))
}

/// Makes the checksums of a forged file fit again, as far as its sections lie in it.
fn seal(file: &mut [u8]) {
    let Some(count) = number::<4>(file, 12) else {
        return;
    };
    for row in (0..count).map(|row| 32 + 32 * row as usize) {
        let place = number::<8>(file, row + 8).zip(number::<8>(file, row + 16));
        let Some((offset, length)) = place else {
            return;
        };
        let end = offset.checked_add(length);
        let section = end.and_then(|end| file.get(offset as usize..end as usize));
        let crc = section.map(crc32fast::hash);
        if let (Some(crc), Some(slot)) = (crc, file.get_mut(row + 24..row + 28)) {
            slot.copy_from_slice(&crc.to_le_bytes());
        }
    }
    let head = 32 + 32 * count as usize;
    if file.len() >= head {
        file[24..28].fill(0);
        let crc = crc32fast::hash(&file[..head]);
        file[24..28].copy_from_slice(&crc.to_le_bytes());
    }
}

proptest! {
    #[test]
    fn forged_files_are_survived(
        program in strategy::program(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = file(&program);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        seal(&mut bytes);
        if let Ok(program) = read(Bytes::from(bytes.clone())) {
            prop_assert_eq!(file(&program), bytes, "what can be read is in the one form");
        }
    }
}

#[test]
fn lies_are_found_behind_good_checksums() {
    let program = some_program(Constants::Present(Bytes::from_static(b"weights")));
    let good = file(&program);
    let forged = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        edit(&mut bad);
        seal(&mut bad);
        read(Bytes::from(bad)).map_or_else(|error| error.slug(), |_| "read")
    };
    let set = |at: usize, value: u64| {
        move |bad: &mut Vec<u8>| bad[at..at + 8].copy_from_slice(&value.to_le_bytes())
    };
    let (first, second) = (32, 64);
    let (offset, length) = (8, 16);
    let manifest_at = number::<8>(&good, first + offset).expect("an offset");
    assert_eq!(forged(&|_| ()), "read");
    assert_eq!(forged(&|bad| bad[12..16].fill(0xff)), "npu-truncated");
    assert_eq!(forged(&|bad| bad[12..16].fill(0)), "npu-layout");
    assert_eq!(forged(&set(16, u64::MAX)), "npu-truncated");
    assert_eq!(forged(&set(16, 1)), "npu-layout");
    assert_eq!(forged(&set(second + offset, 1 << 40)), "npu-layout");
    assert_eq!(forged(&set(second + offset, u64::MAX)), "npu-layout");
    assert_eq!(forged(&set(second + offset, manifest_at)), "npu-layout");
    assert_eq!(forged(&set(first + length, u64::MAX)), "npu-layout");
    assert_eq!(forged(&set(first + length, 0)), "npu-layout");
    let padding = |bad: &mut Vec<u8>| {
        let end = manifest_at + number::<8>(bad, first + length).expect("a length");
        bad[end as usize] = 1;
    };
    assert_eq!(forged(&padding), "npu-layout");
    assert_eq!(forged(&|bad| bad[28] = 1), "npu-layout");
    assert_eq!(forged(&|bad| bad[first + 28] = 1), "npu-layout");
    assert_eq!(forged(&|bad| bad[first] = 3), "npu-layout");
    assert_eq!(forged(&|bad| bad[second + 4] = 9), "npu-layout");
    let field = |bad: &mut Vec<u8>| bad[manifest_at as usize] = 0xff;
    assert_eq!(forged(&field), "npu-manifest");
}
