//! Numbers with units, as people write them: durations (`500ms`, `1s`, `1h`) and sizes (`256MiB`).

use std::time::Duration;

/// Units of time, in milliseconds.
const TIME: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of size, in bytes. Powers of ten have their own names, so both can be meant.
const SIZE: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// A whole number of one unit of time; `None` if it is not that.
pub(super) fn duration(text: &str) -> Option<Duration> {
    scaled(text, &TIME).map(Duration::from_millis)
}

/// A whole number of one unit of size, in bytes; `None` if it is not that.
pub(super) fn bytes(text: &str) -> Option<u64> {
    scaled(text, &SIZE)
}

/// Writes a duration in the largest unit that needs no fraction.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    show(millis, &TIME)
}

/// Writes a size in the largest binary unit that needs no fraction.
pub(super) fn show_bytes(bytes: u64) -> String {
    show(bytes, &SIZE[..4])
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(digits_end);
    let unit = unit.trim_start();
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, scale): &&(&str, u64)| amount >= *scale && amount.is_multiple_of(*scale);
    let (name, scale) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{}{name}", amount / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write_back() {
        for (text, millis) in [("500ms", 500), ("1s", 1_000), ("5m", 300_000), ("1h", 3_600_000), ("2d", 172_800_000)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        assert_eq!(duration(" 10 s "), Some(Duration::from_secs(10)));
        assert_eq!(show_duration(Duration::ZERO), "0s");
        assert_eq!(show_duration(Duration::from_millis(1_500)), "1500ms");
    }

    #[test]
    fn sizes_read_and_write_back() {
        for (text, size) in [("1KiB", 1 << 10), ("256MiB", 256 << 20), ("3GiB", 3 << 30), ("17B", 17)] {
            assert_eq!(bytes(text), Some(size), "{text}");
            assert_eq!(show_bytes(size), text);
        }
        assert_eq!(bytes("8MB"), Some(8_000_000));
    }

    #[test]
    fn a_number_without_a_unit_is_refused_because_it_could_mean_anything() {
        for text in
            ["", "1", "s", "fast", "1.5s", "-1s", "1 fortnight", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(duration(text), None, "{text}");
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
