//! `quantize` and `dequantize`: rows to int8 and back.

use std::ops::Range;

use packwright_numerics::quant::{Scale, quantize_affine_row, quantize_dynamic_row};
use packwright_packet::defs::{Dequantize, Quantize};
use packwright_packet::operand::{Elem, View};

use super::area::Area;
use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::port::encode;
use super::rows::{compute_f32_rows, compute_rows};

/// Executes a `quantize`.
pub(super) fn quantize(frame: &mut Frame<'_>, command: &Quantize) -> Result<(), Fault> {
    let extents = frame.extents(command.rows, command.cols)?;
    let src = frame.area("src", &command.src, extents)?;
    let dst = frame
        .target("dst", &command.dst, extents)?
        .of_type(&[Elem::I8])?;
    refuse_overlap(&dst, &src, Sharing::Rows)?;
    match (&command.dst_scale, command.zero) {
        (Some(_), Some(_)) => Err(Fault::UnexpectedField {
            field: "zero",
            why: "scales that are found at run time have no zero point",
        }),
        (Some(view), None) => dynamic(frame, command, view, &src, &dst),
        (None, Some(zero)) => {
            let step = command.scale;
            let [rows, cols] = [src.rows(), src.cols()];
            let targets = [(&dst, 0..dst.row_bytes())];
            let room = || (vec![0.0f32; cols], vec![0i8; cols]);
            compute_rows(
                frame,
                [rows, cols],
                &targets,
                room,
                |sram, (row, quantized), i, out| {
                    src.read_row(sram, i, row);
                    quantize_affine_row(row, step, zero, quantized);
                    encode(quantized, out, i8::to_le_bytes);
                },
            );
            Ok(())
        }
        (None, None) => {
            let inverse = Scale::fixed(command.scale).inverse;
            compute_f32_rows::<0>(frame, src.cols(), &dst, inverse, |sram, [], i, row| {
                src.read_row(sram, i, row);
            });
            Ok(())
        }
    }
}

/// Quantises with a scale found for each group.
fn dynamic(
    frame: &mut Frame<'_>,
    command: &Quantize,
    view: &View,
    src: &Area,
    dst: &Area,
) -> Result<(), Fault> {
    let [rows, cols] = [src.rows(), src.cols()];
    if cols == 0 {
        return Ok(());
    }
    let group = frame.registers.at("group", command.group)?;
    let groups = group_count(group, cols)?;
    let group = cols / groups;
    let dst_scale = frame
        .target("dst_scale", view, [rows, groups])?
        .of_type(&[Elem::F32])?;
    refuse_overlap(&dst_scale, src, Sharing::Never)?;
    refuse_overlap(&dst_scale, dst, Sharing::Never)?;
    let packed = 0..dst.row_bytes();
    let steps = packed.end..packed.end + dst_scale.row_bytes();
    let targets: [(&Area, Range<usize>); 2] = [(dst, packed.clone()), (&dst_scale, steps)];
    let room = || (vec![0.0f32; cols], vec![0i8; cols], vec![0.0f32; groups]);
    compute_rows(
        frame,
        [rows, cols],
        &targets,
        room,
        |sram, (row, quantized, steps), i, out| {
            src.read_row(sram, i, row);
            quantize_dynamic_row(row, group, quantized, steps);
            let (out, steps_out) = out.split_at_mut(packed.end);
            encode(quantized, out, i8::to_le_bytes);
            encode(steps, steps_out, f32::to_le_bytes);
        },
    );
    Ok(())
}

/// How many groups of `group` elements a row of `extent` elements has; a group that is longer than
/// the row is the whole row.
pub(super) fn group_count(group: u64, extent: usize) -> Result<usize, Fault> {
    let extent = extent as u64;
    if group >= extent {
        Ok(1)
    } else if group != 0 && extent.is_multiple_of(group) {
        Ok((extent / group) as usize)
    } else {
        Err(Fault::UnevenGroups { group, extent })
    }
}

/// Executes a `dequantize`.
pub(super) fn dequantize(frame: &mut Frame<'_>, command: &Dequantize) -> Result<(), Fault> {
    let extents = frame.extents(command.rows, command.cols)?;
    let src = frame
        .area("src", &command.src, extents)?
        .of_type(&[Elem::I8, Elem::I32])?;
    let scale = frame
        .area("scale", &command.scale, extents)?
        .of_type(&[Elem::F32])?;
    let addend = frame.optional("addend", command.addend.as_ref(), extents)?;
    let dst = frame.target("dst", &command.dst, extents)?;
    let dst = dst.of_type(&[Elem::F16, Elem::F32])?;
    for operand in [Some(src), Some(scale), addend].iter().flatten() {
        refuse_overlap(&dst, operand, Sharing::Rows)?;
    }
    compute_f32_rows(frame, dst.cols(), &dst, 1.0, |sram, [other], i, row| {
        src.read_row(sram, i, row);
        scale.read_row(sram, i, other);
        for (y, &scale) in row.iter_mut().zip(&*other) {
            *y *= scale;
        }
        if let Some(addend) = &addend {
            addend.read_row(sram, i, other);
            for (y, &addend) in row.iter_mut().zip(&*other) {
                *y += addend;
            }
        }
    });
    Ok(())
}
