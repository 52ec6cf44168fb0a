//! The words of a name, however it is written.

/// The most words of a name that count.
pub(super) const WORDS_MAX: usize = 12;
/// The most letters of a name that count.
pub(super) const WORDS_LENGTH_MAX: usize = 64;

/// The lower-case words of a name: `payment[ccNumber]` has `payment`, `cc` and `number`.
pub(super) struct Words {
    /// The letters of all words.
    letters: [u8; WORDS_LENGTH_MAX],
    /// Where each word ends.
    ends: [usize; WORDS_MAX],
    count: usize,
}

impl Words {
    /// Reads the beginning of a name; longer ones say nothing.
    pub(super) fn of(name: &[u8]) -> Self {
        let mut words = Self { letters: [0; WORDS_LENGTH_MAX], ends: [0; WORDS_MAX], count: 0 };
        let mut length = 0;
        let mut previous = b' ';
        for &letter in name {
            let hump = previous.is_ascii_lowercase() && letter.is_ascii_uppercase();
            let begins = hump || !previous.is_ascii_alphanumeric();
            previous = letter;
            if !letter.is_ascii_alphanumeric() {
                continue;
            }
            if begins {
                words.drop_number();
                length = words.start(words.count);
            }
            words.count += usize::from(begins);
            let place = words.letters.get_mut(length);
            let end = words.ends.get_mut(words.count.saturating_sub(1));
            let (Some(place), Some(end)) = (place, end) else { break };
            *place = letter.to_ascii_lowercase();
            length += 1;
            *end = length;
        }
        words.count = words.count.min(WORDS_MAX);
        words.drop_number();
        words
    }

    /// Forgets the last word if it is a number of two digits or more: where that was one to hide, a
    /// mask is there on the way back, and a name must not say something else then.
    fn drop_number(&mut self) {
        let word = self.last(1);
        if word.len() > 1 && word.iter().all(u8::is_ascii_digit) {
            self.count -= 1;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).filter_map(|word| self.letters.get(self.start(word)..self.end(word)))
    }

    /// The last `count` words, written together.
    pub(super) fn last(&self, count: usize) -> &[u8] {
        let first = self.start(self.count.saturating_sub(count));
        self.letters.get(first..self.end(self.count.saturating_sub(1))).unwrap_or_default()
    }

    fn start(&self, word: usize) -> usize {
        word.checked_sub(1).map_or(0, |before| self.end(before))
    }

    fn end(&self, word: usize) -> usize {
        self.ends.get(word).copied().unwrap_or_default()
    }
}
