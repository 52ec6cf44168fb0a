//! Opaque tokens in a text: a prefix that is searched for, and a check that leaves no doubt.
//!
//! They are written as they are in every carrier: no encoder escapes their characters.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::field;
use super::find::{self, Beside, Coding, Find, FindKind, Medium};
use super::lists::Lists;
use super::view::View;
use crate::card::{TOKEN_BYTES_MAX, Token, is_token_byte};

const PREFIX: &[u8] = b"tok_";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PREFIX));

/// Where a token may begin, from `from` on; the end of a text may cut its prefix.
pub(super) fn next(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    if let Some(place) = FINDER.find(rest) {
        return Some(from + place);
    }
    let cut = (1..PREFIX.len())
        .rev()
        .find(|&length| PREFIX.get(..length).is_some_and(|begun| rest.ends_with(begun)));
    cut.map(|length| text.len() - length)
}

/// The token that begins at `at`.
pub(super) fn find(view: &View<'_>, at: usize, lists: &Lists) -> Option<Find> {
    let mut text = [0; TOKEN_BYTES_MAX];
    for (place, byte) in text.iter_mut().enumerate() {
        *byte = view.byte(at + place).filter(|byte| is_token_byte(*byte))?;
    }
    // As a part of a longer name it is somebody else's.
    if view.byte(at + text.len()).is_some_and(is_token_byte) {
        return None;
    }
    let token = Token::parse(&text).ok()?;
    let field = field::of(view, at, lists).map(|field| field.name).unwrap_or_default();
    Some(Find {
        span: at..at + text.len(),
        kind: FindKind::Token(token),
        field: find::label(&field),
        medium: Medium::Text,
        coding: Coding::Plain,
        beside: Beside::default(),
    })
}
