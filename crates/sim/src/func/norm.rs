//! `norm`: LayerNorm and RMSNorm of rows.

use packwright_numerics::norm::{layer_norm_row, rms_norm_row};
use packwright_packet::defs::Norm;
use packwright_packet::operand::NormKind;

use super::error::Fault;
use super::frame::Frame;
use super::overlap::{Sharing, refuse_overlap};
use super::rows::compute_f32_rows;

/// Executes a `norm`.
pub(super) fn norm(frame: &mut Frame<'_>, command: &Norm) -> Result<(), Fault> {
    let extents = frame.extents(command.rows, command.cols)?;
    let src = frame.area("src", &command.src, extents)?;
    let gamma = frame.optional("gamma", command.gamma.as_ref(), [1, extents[1]])?;
    let beta = frame.optional("beta", command.beta.as_ref(), [1, extents[1]])?;
    let dst = frame.target("dst", &command.dst, extents)?;
    refuse_overlap(&dst, &src, Sharing::Rows)?;
    for operand in [gamma, beta].iter().flatten() {
        refuse_overlap(&dst, operand, Sharing::Never)?;
    }
    if command.kind == NormKind::Rms && beta.is_some() {
        return Err(Fault::UnexpectedField {
            field: "beta",
            why: "RMSNorm has none",
        });
    }
    compute_f32_rows(frame, src.cols(), &dst, 1.0, |sram, [x, g, b], i, row| {
        src.read_row(sram, i, x);
        let gamma = gamma
            .map(|gamma| gamma.read_row(sram, 0, g))
            .map(|()| g.as_slice());
        let beta = beta
            .map(|beta| beta.read_row(sram, 0, b))
            .map(|()| b.as_slice());
        match command.kind {
            NormKind::Layer => layer_norm_row(x, gamma, beta, command.eps, row),
            NormKind::Rms => rms_norm_row(x, gamma, command.eps, row),
        }
    });
    Ok(())
}
