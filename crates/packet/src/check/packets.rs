//! Rules about packets: origins, frees, tokens, registers.

use std::collections::HashMap;

use super::Scope;
use super::rule::{FREE_BOUNDS, ORIGIN, REGISTER, TOKEN_SIGNALS, TOKEN_WAITS};
use crate::defs::Command;
use crate::field::Visitor;
use crate::operand::{Affine, DramRef, View};
use crate::packet::Token;

/// A packet's origin is a row of the provenance table.
pub fn check_origins(scope: &mut Scope<'_>) {
    for (at, packet) in scope.entry.packets.iter().enumerate() {
        if packet.origin.0 as usize >= scope.program.origins.len() {
            scope.place = (Some(at), None);
            scope.breach(&ORIGIN, format!("there is no o{}", packet.origin.0));
        }
    }
    scope.place = (None, None);
}

/// A freed range lies in SRAM.
pub fn check_frees(scope: &mut Scope<'_>) {
    for (at, packet) in scope.entry.packets.iter().enumerate() {
        for free in &packet.frees {
            let end = u64::from(free.addr) + u64::from(free.bytes);
            if end > scope.target.sram.bytes {
                scope.place = (Some(at), None);
                let message = format!(
                    "the freed range ends at {end:#x}, the SRAM at {:#x}",
                    scope.target.sram.bytes
                );
                scope.breach(&FREE_BOUNDS, message);
            }
        }
    }
    scope.place = (None, None);
}

/// A token is signalled exactly once, and waited for only by packets behind its signaller.
pub fn check_tokens(scope: &mut Scope<'_>) {
    let mut signallers: HashMap<Token, usize> = HashMap::new();
    for (at, packet) in scope.entry.packets.iter().enumerate() {
        for &token in &packet.signals {
            if let Some(first) = signallers.insert(token, at) {
                scope.place = (Some(at), None);
                scope.breach(
                    &TOKEN_SIGNALS,
                    format!("t{} is signalled by p{first} already", token.0),
                );
                signallers.insert(token, first);
            }
        }
    }
    for (at, packet) in scope.entry.packets.iter().enumerate() {
        for token in &packet.waits {
            scope.place = (Some(at), None);
            match signallers.get(token) {
                None => scope.breach(&TOKEN_WAITS, format!("nobody signals t{}", token.0)),
                Some(&signaller) if signaller >= at => {
                    let message = format!(
                        "t{} is signalled by p{signaller}, which is not before",
                        token.0
                    );
                    scope.breach(&TOKEN_WAITS, message);
                }
                Some(_) => {}
            }
        }
    }
    scope.place = (None, None);
}

/// Collects what is wrong with the registers of a command.
struct Registers<'a> {
    maxima: &'a [u64],
    wrong: Vec<String>,
}

impl Visitor for Registers<'_> {
    fn affine(&mut self, field: &'static str, value: &Affine) {
        let Some((reg, scale)) = value.term else {
            return;
        };
        let Some(&max) = self.maxima.get(usize::from(reg.0)) else {
            self.wrong
                .push(format!("{field} uses r{}, which is not declared", reg.0));
            return;
        };
        if scale
            .checked_mul(max)
            .is_none_or(|term| value.base.checked_add(term).is_none())
        {
            self.wrong
                .push(format!("{field} exceeds 64 bits for r{} = {max}", reg.0));
        }
    }

    fn view(&mut self, _field: &'static str, _value: &View) {}

    fn dram(&mut self, _field: &'static str, _value: &DramRef) {}
}

/// A register is declared, and no number exceeds 64 bits. Gives whether all is well.
pub fn check_registers(scope: &mut Scope<'_>, command: &Command) -> bool {
    let mut registers = Registers {
        maxima: scope.maxima,
        wrong: Vec::new(),
    };
    command.visit(&mut registers);
    let wrong = registers.wrong;
    let well = wrong.is_empty();
    for message in wrong {
        scope.breach(&REGISTER, message);
    }
    well
}
