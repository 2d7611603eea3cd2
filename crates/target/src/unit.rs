//! Quantities with units: sizes and rates as people write them.

/// Reads a whole number with an optional unit suffix.
///
/// Binary suffixes `KiB`, `MiB`, `GiB` (with or without `B`: `Ki`, `Mi`, `Gi`) multiply by powers of
/// 1024, decimal ones `k`, `M`, `G` (optionally followed by `B` or `Hz`) by powers of 1000. Fractions
/// are allowed where the result is whole: `1.5MiB`.
pub fn parse_quantity(text: &str) -> Option<f64> {
    let text = text.trim().replace('_', "");
    let split = text
        .char_indices()
        .find(|&(i, c)| {
            !(c.is_ascii_digit()
                || matches!(c, '.' | '-' | '+')
                || (matches!(c, 'e' | 'E')
                    && text[i + 1..].starts_with(|d: char| d.is_ascii_digit() || d == '-')))
        })
        .map_or(text.len(), |(i, _)| i);
    let (number, suffix) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix.trim() {
        "" | "B" | "Hz" => 1.0,
        "Ki" | "KiB" => 1024.0,
        "Mi" | "MiB" => 1024.0 * 1024.0,
        "Gi" | "GiB" => 1024.0 * 1024.0 * 1024.0,
        "k" | "K" | "kB" | "KB" | "kHz" => 1e3,
        "M" | "MB" | "MHz" => 1e6,
        "G" | "GB" | "GHz" => 1e9,
        _ => return None,
    };
    Some(number * factor)
}

/// Prints a size in the largest binary unit that keeps it whole, else with two digits.
pub fn print_bytes(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor {
            return if bytes.is_multiple_of(factor) {
                format!("{} {unit}", bytes / factor)
            } else {
                format!("{:.2} {unit}", bytes as f64 / factor as f64)
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        assert_eq!(parse_quantity("2MiB"), Some(2097152.0));
        assert_eq!(parse_quantity("1.5 KiB"), Some(1536.0));
        assert_eq!(parse_quantity("800MHz"), Some(8e8));
        assert_eq!(parse_quantity("1_000"), Some(1000.0));
        assert_eq!(parse_quantity("1e3"), Some(1000.0));
        assert_eq!(parse_quantity("2 parsecs"), None);
        assert_eq!(parse_quantity(""), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(print_bytes(2 << 20), "2 MiB");
        assert_eq!(print_bytes(1536), "1.50 KiB");
        assert_eq!(print_bytes(12), "12 B");
    }
}
