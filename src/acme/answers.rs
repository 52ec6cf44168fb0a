//! What authorities read on our clear listeners while a name is being proven (RFC 8555 §8.3).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// Where they look for it.
const FOLDER: &str = "/.well-known/acme-challenge/";

type Texts = HashMap<String, String>;

/// The answers that we have promised, by token. Read by every request, so without a lock.
#[derive(Default)]
pub struct HttpAnswers {
    current: ArcSwap<Texts>,
    /// Held while one is added or withdrawn.
    writing: Mutex<()>,
}

/// An answer that is given until this is dropped.
pub(super) struct AnswerGuard {
    answers: Arc<HttpAnswers>,
    token: String,
}

impl HttpAnswers {
    /// What is promised to whoever asks for this path.
    #[must_use]
    pub fn to(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(FOLDER)?;
        self.current.load().get(token).cloned()
    }

    pub(super) fn promise(self: &Arc<Self>, token: &str, text: &str) -> AnswerGuard {
        self.change(|texts| drop(texts.insert(token.to_owned(), text.to_owned())));
        AnswerGuard { answers: Arc::clone(self), token: token.to_owned() }
    }

    fn change(&self, change: impl FnOnce(&mut Texts)) {
        let _alone = self.writing.lock();
        let mut texts = Texts::clone(&self.current.load());
        change(&mut texts);
        self.current.store(Arc::new(texts));
    }
}

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        self.answers.change(|texts| drop(texts.remove(&self.token)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_for_its_path_alone_and_until_it_is_withdrawn() {
        let answers = Arc::new(HttpAnswers::default());
        let guard = answers.promise("abc", "abc.thumb");
        let path = "/.well-known/acme-challenge/abc";
        assert_eq!(answers.to(path).as_deref(), Some("abc.thumb"));
        for other in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/ab", "/abc"] {
            assert_eq!(answers.to(other), None, "{other}");
        }
        drop(guard);
        assert_eq!(answers.to(path), None);
    }
}
