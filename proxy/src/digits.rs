//! Numbers as texts of a fixed length, for what is written for every answer.

/// The last `N` hexadecimal digits of a number, in lower case, with zeros before it.
pub(crate) fn hexadecimal<const N: usize>(mut number: u128) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
    digits
}
