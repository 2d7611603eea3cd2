//! Division by a number that stays the same, most often a power of two: then a shift.

/// What others are divided by; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Divisor {
    value: u64,
    /// Where the value is two to the power of it.
    shift: Option<u32>,
}

impl Divisor {
    /// A divisor; one in the place of zero.
    pub const fn new(value: u64) -> Self {
        let value = if value == 0 { 1 } else { value };
        let shift = match value.is_power_of_two() {
            true => Some(value.trailing_zeros()),
            false => None,
        };
        Self { value, shift }
    }

    #[inline]
    pub const fn value(self) -> u64 {
        self.value
    }

    /// `number / self`, rounded down.
    #[inline]
    pub const fn quotient(self, number: u64) -> u64 {
        match self.shift {
            Some(shift) => number >> shift,
            None => number / self.value,
        }
    }

    /// `number / self`, rounded up.
    #[inline]
    pub const fn quotient_up(self, number: u64) -> u64 {
        match self.shift {
            Some(_) => self.quotient(number) + (self.remainder(number) > 0) as u64,
            None => number.div_ceil(self.value),
        }
    }

    /// `number % self`.
    #[inline]
    pub const fn remainder(self, number: u64) -> u64 {
        match self.shift {
            Some(_) => number & (self.value - 1),
            None => number % self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Divisor;

    #[test]
    fn powers_of_two_divide_as_other_numbers_do() {
        for value in [1, 2, 3, 5, 8, 12, 1 << 40] {
            let divisor = Divisor::new(value);
            for number in [0, 1, 2, 3, 7, 8, 9, 1 << 50, u64::MAX] {
                assert_eq!(divisor.quotient(number), number / value);
                assert_eq!(divisor.quotient_up(number), number.div_ceil(value));
                assert_eq!(divisor.remainder(number), number % value);
            }
        }
    }
}
