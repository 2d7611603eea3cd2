//! Packets to bytes.
//!
//! ```text
//! packet  = length · counts · origin · priority · [long counts] · signals · waits · frees · commands
//! command = opcode · [mask of the fields that differ from their defaults] · fields
//! ```
//!
//! `length` counts the bytes behind it. `counts` has two bits each for waits, signals, frees and
//! commands, where 3 says that the number follows as a long count. Tokens are stored as
//! differences: the first signal as it is, the first wait against the first signal, every other
//! against its neighbour. Nothing depends on other packets, so a packet has the same bytes
//! wherever it stands.

use crate::packet::{Packet, Token};
use crate::varint::{put, put_scaled, put_signed};

/// The value of a two-bit count that says that the number follows.
pub(crate) const LONG_COUNT: usize = 3;

/// Appends the bytes of a packet.
pub fn encode_packet(packet: &Packet, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(64);
    encode_body(packet, &mut body);
    put(out, body.len() as u128);
    out.extend_from_slice(&body);
}

/// The bytes of packets one after the other.
pub fn encode_stream(packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        encode_packet(packet, &mut out);
    }
    out
}

/// How many bytes each packet takes in the stream.
pub fn packet_sizes(packets: &[Packet]) -> Vec<u32> {
    let (mut body, mut length) = (Vec::new(), Vec::new());
    let size = |packet| {
        body.clear();
        length.clear();
        encode_body(packet, &mut body);
        put(&mut length, body.len() as u128);
        u32::try_from(length.len() + body.len()).expect("a packet is shorter than 4 GiB")
    };
    packets.iter().map(size).collect()
}

/// Appends all that follows the length.
fn encode_body(packet: &Packet, out: &mut Vec<u8>) {
    let Packet {
        origin,
        priority,
        waits,
        signals,
        frees,
        commands,
    } = packet;
    let counts = [waits.len(), signals.len(), frees.len(), commands.len()];
    let short = counts.iter().enumerate();
    out.push(
        short
            .map(|(at, &count)| (count.min(LONG_COUNT) as u8) << (2 * at))
            .sum(),
    );
    put(out, u128::from(origin.0));
    out.push(*priority);
    for &count in counts.iter().filter(|&&count| count >= LONG_COUNT) {
        put(out, count as u128);
    }
    encode_tokens(Token(0), signals, out);
    encode_tokens(signals.first().copied().unwrap_or(Token(0)), waits, out);
    for free in frees {
        put_scaled(out, u64::from(free.addr));
        put_scaled(out, u64::from(free.bytes));
    }
    for command in commands {
        out.push(command.opcode());
        command.encode_fields(out);
    }
}

/// Appends tokens as differences from the one before, the first from `before`.
fn encode_tokens(mut before: Token, tokens: &[Token], out: &mut Vec<u8>) {
    for &token in tokens {
        put_signed(out, i64::from(token.0) - i64::from(before.0));
        before = token;
    }
}
