//! Bytes to packets; no byte is trusted.

use crate::defs::Command;
use crate::encode::LONG_COUNT;
use crate::packet::{OriginId, Packet, SramRange, Token};
use crate::varint::Reader;

/// Why bytes are no packet stream; `at` is the offset of the guilty byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a packet.
    #[error("the stream ends at byte {at}, inside a packet")]
    Truncated {
        /// Where the bytes end.
        at: usize,
    },
    /// A number is longer than its field.
    #[error("the number at byte {at} does not fit its field")]
    Number {
        /// Where the number starts.
        at: usize,
    },
    /// There is no such command.
    #[error("there is no command with opcode {opcode:#04x}, found at byte {at}")]
    Opcode {
        /// Where the command starts.
        at: usize,
        /// What stands there.
        opcode: u8,
    },
    /// A code is not a member of its set.
    #[error("there is no {what} with code {code}, found at byte {at}")]
    Code {
        /// Where the code stands.
        at: usize,
        /// What the set is called.
        what: &'static str,
        /// What stands there.
        code: u64,
    },
    /// A packet is longer than its contents.
    #[error("the packet that ends at byte {at} has bytes behind its last command")]
    Trailing {
        /// Where the packet's contents end.
        at: usize,
    },
}

impl DecodeError {
    /// Stable name of the kind of error.
    pub const fn slug(&self) -> &'static str {
        match self {
            DecodeError::Truncated { .. } => "packet-truncated",
            DecodeError::Number { .. } => "packet-number",
            DecodeError::Opcode { .. } => "packet-opcode",
            DecodeError::Code { .. } => "packet-code",
            DecodeError::Trailing { .. } => "packet-trailing",
        }
    }
}

/// All packets of a stream.
pub fn decode_stream(bytes: &[u8]) -> Result<Vec<Packet>, DecodeError> {
    let mut input = Reader::new(bytes);
    let mut packets = Vec::new();
    while input.remaining() > 0 {
        packets.push(decode_packet(&mut input)?);
    }
    Ok(packets)
}

/// The next packet of a stream.
pub fn decode_packet(input: &mut Reader<'_>) -> Result<Packet, DecodeError> {
    let length = input.number()?;
    let mut body = input.part(length)?;
    let packet = decode_body(&mut body)?;
    if body.remaining() > 0 {
        return Err(DecodeError::Trailing {
            at: body.position(),
        });
    }
    Ok(packet)
}

/// All that follows the length.
fn decode_body(input: &mut Reader<'_>) -> Result<Packet, DecodeError> {
    let short = input.byte()?;
    let origin = OriginId(input.number()?);
    let priority = input.byte()?;
    let mut counts = [0; 4];
    for (at, count) in counts.iter_mut().enumerate() {
        *count = usize::from(short >> (2 * at)) & LONG_COUNT;
        if *count == LONG_COUNT {
            *count = input.number()?;
        }
    }
    let [waits, signals, frees, commands] = counts;
    let signals = decode_tokens(input, Token(0), signals)?;
    let waits = decode_tokens(input, signals.first().copied().unwrap_or(Token(0)), waits)?;
    let frees = decode_list(input, frees, |input| {
        Ok(SramRange {
            addr: input.scaled()?,
            bytes: input.scaled()?,
        })
    })?;
    let commands = decode_list(input, commands, |input| {
        let at = input.position();
        let opcode = input.byte()?;
        Command::decode_fields(opcode, at, input)
    })?;
    Ok(Packet {
        origin,
        priority,
        waits,
        signals,
        frees,
        commands,
    })
}

/// A list of `count` items, each of at least one byte: a lying count allocates nothing.
fn decode_list<T>(
    input: &mut Reader<'_>,
    count: usize,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut list = Vec::with_capacity(count.min(input.remaining()).min(64));
    for _ in 0..count {
        list.push(item(input)?);
    }
    Ok(list)
}

/// Tokens as differences from the one before, the first from `before`.
fn decode_tokens(
    input: &mut Reader<'_>,
    mut before: Token,
    count: usize,
) -> Result<Vec<Token>, DecodeError> {
    decode_list(input, count, |input| {
        let at = input.position();
        let token = input.signed()?.checked_add(i64::from(before.0));
        let token = token.and_then(|token| u32::try_from(token).ok());
        before = Token(token.ok_or(DecodeError::Number { at })?);
        Ok(before)
    })
}
