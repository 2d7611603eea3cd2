//! Run-time integers of an entry, and the numbers that depend on them.

use packwright_packet::operand::Affine;
use packwright_packet::program::Entry;

use super::error::{Fault, FuncError};

/// The contents of an entry's registers, each within its declared maximum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers<'a> {
    values: &'a [u64],
}

impl<'a> Registers<'a> {
    /// Checks `values` against the declarations of `entry`.
    pub(super) fn of(entry: &Entry, values: &'a [u64]) -> Result<Self, FuncError> {
        let expected = entry.registers.len();
        if values.len() != expected {
            return Err(FuncError::RegisterCount {
                expected,
                actual: values.len(),
            });
        }
        for (register, &value) in entry.registers.iter().zip(values) {
            if value > register.max {
                let name = register.name.clone();
                return Err(FuncError::RegisterTooLarge {
                    name,
                    value,
                    max: register.max,
                });
            }
        }
        Ok(Self { values })
    }

    /// The value of `affine`, which stands in `field`.
    pub(super) fn at(self, field: &'static str, affine: Affine) -> Result<u64, Fault> {
        let Some((reg, scale)) = affine.term else {
            return Ok(affine.base);
        };
        let unknown = Fault::UnknownRegister {
            field,
            register: reg.0,
        };
        let value = self.values.get(usize::from(reg.0)).ok_or(unknown)?;
        let product = scale.checked_mul(*value);
        let sum = product.and_then(|product| affine.base.checked_add(product));
        sum.ok_or(Fault::AddressOverflow { field })
    }
}
