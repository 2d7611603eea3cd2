//! Values of constants in the text form: lists of numbers for a person, hexadecimal for the rest.

use bytes::Bytes;
use half::f16;

use crate::ty::{Elem, Type};

/// Elements up to which values are written as numbers.
const SHORT: usize = 64;

/// Whether values are so few that every dump shows them.
pub(super) fn is_short(ty: &Type) -> bool {
    let elements = ty
        .shape
        .iter()
        .try_fold(1usize, |product, &n| product.checked_mul(n));
    elements.is_some_and(|elements| elements <= SHORT)
}

/// The values as text that reads back to the same bits.
pub(super) fn print(ty: &Type, bytes: &[u8]) -> String {
    match numbers(ty, bytes) {
        Some(numbers) => format!("[{}]", numbers.join(", ")),
        None => format!("bytes \"{}\"", hexadecimal(bytes)),
    }
}

/// Bytes of a list of numbers; `Err` holds the first that is no such element.
pub(super) fn from_numbers(elem: Elem, numbers: &[String]) -> Result<Bytes, &str> {
    let mut bytes = Vec::with_capacity(numbers.len().saturating_mul(elem.bytes()));
    for number in numbers {
        append(elem, number, &mut bytes).ok_or(number.as_str())?;
    }
    Ok(Bytes::from(bytes))
}

/// Bytes of hexadecimal digits.
pub(super) fn from_hexadecimal(digits: &str) -> Option<Bytes> {
    let digits = digits.as_bytes();
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect();
    bytes.map(Bytes::from)
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// The values as numbers, where they are few, whole and read back to the same bits.
fn numbers(ty: &Type, bytes: &[u8]) -> Option<Vec<String>> {
    let whole_bytes = ty.elem.bits().is_multiple_of(8);
    if !is_short(ty) || !whole_bytes || bytes.len() != ty.bytes() {
        return None;
    }
    let numbers: Vec<String> = bytes
        .chunks_exact(ty.elem.bytes())
        .map(|chunk| number(ty.elem, chunk))
        .collect();
    let same = from_numbers(ty.elem, &numbers).is_ok_and(|back| back == bytes);
    same.then_some(numbers)
}

/// One element as a number.
fn number(elem: Elem, bytes: &[u8]) -> String {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let [low, high, third, fourth, ..] = wide;
    let word = [low, high, third, fourth];
    match elem {
        Elem::Bool => (low != 0).to_string(),
        Elem::I4 | Elem::I8 => i8::from_le_bytes([low]).to_string(),
        Elem::U8 => low.to_string(),
        Elem::I32 => i32::from_le_bytes(word).to_string(),
        Elem::I64 => i64::from_le_bytes(wide).to_string(),
        Elem::F16 => format!("{:?}", f16::from_le_bytes([low, high]).to_f32()),
        Elem::F32 => format!("{:?}", f32::from_le_bytes(word)),
        Elem::F64 => format!("{:?}", f64::from_le_bytes(wide)),
    }
}

fn append(elem: Elem, number: &str, bytes: &mut Vec<u8>) -> Option<()> {
    match elem {
        Elem::Bool => bytes.push(u8::from(number.parse::<bool>().ok()?)),
        // Elements of half a byte are written as bytes.
        Elem::I4 => return None,
        Elem::I8 => bytes.extend(number.parse::<i8>().ok()?.to_le_bytes()),
        Elem::U8 => bytes.push(number.parse().ok()?),
        Elem::I32 => bytes.extend(number.parse::<i32>().ok()?.to_le_bytes()),
        Elem::I64 => bytes.extend(number.parse::<i64>().ok()?.to_le_bytes()),
        Elem::F16 => bytes.extend(f16::from_f32(number.parse().ok()?).to_le_bytes()),
        Elem::F32 => bytes.extend(number.parse::<f32>().ok()?.to_le_bytes()),
        Elem::F64 => bytes.extend(number.parse::<f64>().ok()?.to_le_bytes()),
    }
    Some(())
}
