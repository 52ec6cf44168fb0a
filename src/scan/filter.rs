//! Finds the places worth a decision.

/// The first place from `from` on where a digit, or a character that may write one, begins.
pub(super) fn next(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.iter().position(|&byte| begins(byte)).map(|place| from + place)
}

fn begins(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'%' | b'&' | b'\\' | 0xD9 | 0xDB | 0xE0 | 0xEF)
}
