//! A bounded set of texts: the last ones that were added.
//!
//! It is for texts that are compared seldom, such as the addresses of files that we uploaded with the rows of uploads.

use std::collections::VecDeque;

use super::sync::Mutex;

/// Number of texts that are kept. The oldest makes room.
const MAX_TEXTS: usize = 10_000;
/// Longest text that is kept, in bytes.
const MAX_BYTES: usize = 1_024;

/// The last 10,000 texts that were added, each of at most 1,024 bytes. Threads share it.
#[derive(Default)]
pub(crate) struct RecentTexts(Mutex<VecDeque<String>>);

impl RecentTexts {
    /// Adds a text. A longer one is left out.
    pub(crate) fn add(&self, text: &str) {
        if text.len() > MAX_BYTES {
            return;
        }
        let mut texts = self.0.lock();
        if texts.len() >= MAX_TEXTS {
            texts.pop_front();
        }
        texts.push_back(text.to_owned());
    }

    /// Returns whether a text is among them.
    ///
    /// It compares one by one.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.0.lock().iter().any(|known| known == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_text_makes_room() {
        let recent = RecentTexts::default();
        (0..=MAX_TEXTS).for_each(|n| recent.add(&format!("text {n}")));
        assert_eq!(["text 0", "text 1", "text 10000"].map(|text| recent.contains(text)), [false, true, true]);
        assert_eq!(recent.0.lock().len(), MAX_TEXTS);
    }

    #[test]
    fn text_above_the_bound_is_left_out() {
        let recent = RecentTexts::default();
        assert!(!recent.contains(""));
        let (longest, longer) = ("x".repeat(MAX_BYTES), "x".repeat(MAX_BYTES + 1));
        recent.add(&longest);
        recent.add(&longer);
        assert_eq!((recent.contains(&longest), recent.contains(&longer)), (true, false));
    }
}
