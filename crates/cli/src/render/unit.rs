//! Numbers with units as people write them: three significant digits.

/// Decimal megabytes, e.g. `22.7`.
pub fn megabytes(bytes: u64) -> String {
    digits(bytes as f64 / 1e6)
}

/// Bytes with the decimal unit that suits them, e.g. `22.7 MB`.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1000 {
        format!("{bytes} B")
    } else {
        scaled(bytes as f64, "B")
    }
}

/// Bytes with the binary unit that suits them, e.g. `2.00 MiB`.
pub fn binary_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{} {unit}", digits(value))
            };
        }
        value /= 1024.0;
    }
    format!("{} TiB", digits(value))
}

/// A count with the decimal prefix that suits it, e.g. `66.4 M`.
pub fn count(n: u64) -> String {
    if n < 10_000 {
        n.to_string()
    } else {
        scaled(n as f64, "").trim_end().to_owned()
    }
}

/// Seconds with the unit that suits them, e.g. `3.42 ms`.
pub fn seconds(seconds: f64) -> String {
    small(seconds, "s")
}

/// Joules with the unit that suits them, e.g. `1.20 mJ`.
pub fn joules(joules: f64) -> String {
    small(joules, "J")
}

/// Bytes per second, e.g. `17.1 GB/s`.
pub fn rate(bytes_per_second: f64) -> String {
    scaled(bytes_per_second, "B/s")
}

/// A ratio, e.g. `1.04×`.
pub fn ratio(ratio: f64) -> String {
    if ratio.is_finite() && ratio > 0.0 {
        format!("{}×", digits(ratio))
    } else {
        "–".to_owned()
    }
}

/// A share of a whole, e.g. `12.3 %`.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        "–".to_owned()
    } else {
        format!("{:.1} %", part as f64 / whole as f64 * 100.0)
    }
}

/// Three significant digits, never fewer than all in front of the point.
pub fn digits(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if size < 0.0005 {
        format!("{value:.0e}")
    } else if size < 0.0995 {
        format!("{value:.3}")
    } else if size < 9.995 {
        format!("{value:.2}")
    } else if size < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn scaled(value: f64, unit: &str) -> String {
    let mut value = value;
    for prefix in ["", "k", "M", "G"] {
        if value.abs() < 999.5 {
            return format!("{} {prefix}{unit}", digits(value));
        }
        value /= 1000.0;
    }
    format!("{} T{unit}", digits(value))
}

fn small(value: f64, unit: &str) -> String {
    if value == 0.0 {
        return format!("0 {unit}");
    }
    let mut value = value;
    for prefix in ["", "m", "µ", "n"] {
        if value.abs() >= 0.9995 {
            return format!("{} {prefix}{unit}", digits(value));
        }
        value *= 1000.0;
    }
    format!("{} p{unit}", digits(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_whatever_the_size() {
        let values = [
            0.0, 0.00001, 0.0123, 0.123, 1.0, 9.994, 9.996, 12.34, 99.96, 1234.5,
        ];
        let texts = values.map(digits).join(" ");
        insta::assert_snapshot!(texts, @"0 1e-5 0.012 0.12 1.00 9.99 10.0 12.3 100 1234");
    }

    #[test]
    fn units_suit_their_values() {
        insta::assert_snapshot!(bytes(999), @"999 B");
        insta::assert_snapshot!(bytes(22_700_000), @"22.7 MB");
        insta::assert_snapshot!(binary_bytes(2 << 20), @"2.00 MiB");
        insta::assert_snapshot!(count(66_400_000), @"66.4 M");
        insta::assert_snapshot!(count(1280), @"1280");
        insta::assert_snapshot!(seconds(0.003_42), @"3.42 ms");
        insta::assert_snapshot!(seconds(2.0), @"2.00 s");
        insta::assert_snapshot!(joules(1.5e-6), @"1.50 µJ");
        insta::assert_snapshot!(rate(17.06e9), @"17.1 GB/s");
        insta::assert_snapshot!(ratio(1.0372), @"1.04×");
        insta::assert_snapshot!(ratio(f64::NAN), @"–");
        insta::assert_snapshot!(share(1, 8), @"12.5 %");
    }
}
