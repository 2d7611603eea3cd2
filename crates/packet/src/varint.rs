//! Little-endian base-128 numbers, and a reader that trusts no byte of them.
//!
//! A number is cut into groups of seven bits, lowest first; the top bit of a byte says that
//! another group follows. At most ten bytes, so up to 70 bits.

use crate::decode::DecodeError;

/// Appends `value`; it is below 2⁷⁰.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u128) {
    while value > u128::from(u64::MAX) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    let mut value = value as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a difference: small in magnitude is short.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, u128::from(((value << 1) ^ (value >> 63)) as u64));
}

/// Appends an address or a length: a multiple of 64 loses its six zero bits.
pub fn put_scaled(out: &mut Vec<u8>, value: u64) {
    let value = u128::from(value);
    if value.is_multiple_of(64) {
        put(out, value / 64 * 2);
    } else {
        put(out, value * 2 + 1);
    }
}

/// Bytes with a position; every read is checked.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = self.bytes.get(self.at).copied();
        let byte = byte.ok_or(DecodeError::Truncated { at: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    /// The next four bytes.
    pub fn four(&mut self) -> Result<[u8; 4], DecodeError> {
        Ok([self.byte()?, self.byte()?, self.byte()?, self.byte()?])
    }

    /// A number of up to 70 bits.
    pub fn wide(&mut self) -> Result<u128, DecodeError> {
        let at = self.at;
        let mut value = 0;
        for group in 0..10 {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Number { at })
    }

    /// A number that fits into `T`.
    pub fn number<T: TryFrom<u128>>(&mut self) -> Result<T, DecodeError> {
        let at = self.at;
        T::try_from(self.wide()?).map_err(|_| DecodeError::Number { at })
    }

    /// A difference, see [`put_signed`].
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        let value: u64 = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// An address or a length, see [`put_scaled`].
    pub fn scaled<T: TryFrom<u128>>(&mut self) -> Result<T, DecodeError> {
        let at = self.at;
        let coded = self.wide()?;
        let value = if coded & 1 == 0 {
            coded / 2 * 64
        } else {
            coded / 2
        };
        T::try_from(value).map_err(|_| DecodeError::Number { at })
    }

    /// A reader of the next `length` bytes; this one goes on after them.
    pub fn part(&mut self, length: usize) -> Result<Reader<'a>, DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::Truncated {
                at: self.bytes.len(),
            });
        }
        let end = self.at + length;
        let part = Reader {
            bytes: &self.bytes[..end],
            at: self.at,
        };
        self.at = end;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 63, 64, 127, 128, 4096, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, u128::from(value));
            put_scaled(&mut out, value);
            put_signed(&mut out, value as i64);
            let mut input = Reader::new(&out);
            assert_eq!(input.number::<u64>(), Ok(value));
            assert_eq!(input.scaled::<u64>(), Ok(value));
            assert_eq!(input.signed(), Ok(value as i64));
            assert_eq!(input.remaining(), 0);
        }
    }

    #[test]
    fn a_number_without_end_is_refused() {
        let mut input = Reader::new(&[0xff; 16]);
        assert_eq!(input.wide(), Err(DecodeError::Number { at: 0 }));
        let mut input = Reader::new(&[0xff; 3]);
        assert_eq!(input.wide(), Err(DecodeError::Truncated { at: 3 }));
        let mut input = Reader::new(&[0x80, 0x80, 0x04]);
        assert_eq!(input.number::<u16>(), Err(DecodeError::Number { at: 0 }));
    }
}
