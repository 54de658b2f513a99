//! Numbers for people: sizes, rates and times.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// Reads a number of octets: `64`, `4K`, `256M`, `256MiB`, `4G`, `1T`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write a number such as 64, 4K, 256M or 4G");
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        suffix => UNITS
            .iter()
            .find(|(name, _)| {
                let name = name.to_ascii_uppercase();
                suffix == name || suffix == &name[..1]
            })
            .map(|&(_, unit)| unit)
            .ok_or_else(wrong)?,
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// A number of octets, such as `256.0 MiB`.
pub(crate) fn size(octets: u64) -> String {
    match UNITS.iter().find(|&&(_, unit)| octets >= unit) {
        Some((name, unit)) => format!("{:.1} {name}", octets as f64 / *unit as f64),
        None => format!("{octets} octets"),
    }
}

/// How many in a second, also where no time has passed that a clock could see.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// A rate of octets, such as `1.2 GiB/s`.
pub(crate) fn rate(octets: u64, time: Duration) -> String {
    format!("{}/s", size(per_second(octets, time) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, octets) in [
            ("0", 0),
            ("64", 64),
            ("64B", 64),
            ("4k", 4096),
            ("256M", 256 << 20),
            ("256MiB", 256 << 20),
            ("4G", 4 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(octets), "{text}");
        }
        for wrong in ["", "M", "4X", "4MB", "-1", "1.5G", "99999999T", "4\u{e9}"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_rates_are_written() {
        assert_eq!(size(1023), "1023 octets");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(4 << 30), "4.0 GiB");
        assert_eq!(rate(10 << 20, Duration::from_secs(2)), "5.0 MiB/s");
        assert!(per_second(0, Duration::ZERO) == 0.0);
    }
}
