//! What every store of stand-ins promises, in memory or shared.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::{StandInStore, TOKENS_MAX};
use crate::card::{Cvv, Token};

pub(super) fn cvv(digits: &[u8]) -> Cvv {
    Cvv::from_digits(digits).unwrap()
}

pub(super) fn token(number: usize) -> Token {
    Token::parse(format!("{number:016}").as_bytes()).unwrap()
}

pub(super) async fn keep(store: &dyn StandInStore, code: &[u8], tokens: &[Token]) -> Vec<u8> {
    store.keep(cvv(code), tokens).await.unwrap().expose().to_vec()
}

pub(super) async fn take(
    store: &dyn StandInStore,
    stand_in: &[u8],
    tokens: &[Token],
) -> Option<Vec<u8>> {
    let taken = store.take(&cvv(stand_in), tokens).await.unwrap();
    taken.map(|code| code.expose().to_vec())
}

/// Everything, on an empty store.
pub(super) async fn holds(store: Arc<dyn StandInStore>) {
    comes_back_once_and_only_with_its_token(store.as_ref()).await;
    kept_without_a_card_it_comes_back_with_any(store.as_ref()).await;
    posted_twice_it_has_two_stand_ins(store.as_ref()).await;
    very_many_cards_are_no_trouble(store.as_ref()).await;
    of_many_that_take_at_once_one_is_given_it(store.as_ref()).await;
    a_flood_never_makes_a_stand_in_mean_two_codes(store.as_ref()).await;
}

async fn comes_back_once_and_only_with_its_token(store: &dyn StandInStore) {
    let (ours, other, foreign) = (token(1), token(2), token(3));
    let stand_in = keep(store, b"123", &[other, ours]).await;
    assert_eq!(stand_in.len(), 3);
    assert_ne!(stand_in, b"123");
    assert_eq!(take(store, &stand_in, &[foreign]).await, None);
    assert_eq!(take(store, &stand_in, &[]).await, None);
    assert_eq!(take(store, &stand_in, &[foreign, ours]).await, Some(b"123".to_vec()));
    for token in [ours, other] {
        assert_eq!(take(store, &stand_in, &[token]).await, None, "a second use");
    }
}

async fn kept_without_a_card_it_comes_back_with_any(store: &dyn StandInStore) {
    let stand_in = keep(store, b"0123", &[]).await;
    assert_eq!(stand_in.len(), 4);
    assert_eq!(take(store, &stand_in, &[token(1)]).await, Some(b"0123".to_vec()));
    assert_eq!(take(store, &stand_in, &[]).await, None);
}

async fn posted_twice_it_has_two_stand_ins(store: &dyn StandInStore) {
    let card = [token(1)];
    let stand_ins = [keep(store, b"000", &card).await, keep(store, b"000", &card).await];
    assert_ne!(stand_ins[0], stand_ins[1]);
    for stand_in in stand_ins {
        assert_eq!(take(store, &stand_in, &card).await, Some(b"000".to_vec()));
    }
}

async fn very_many_cards_are_no_trouble(store: &dyn StandInStore) {
    let cards: Vec<_> = (0..1000).map(token).collect();
    let stand_in = keep(store, b"999", &cards).await;
    assert_eq!(take(store, &stand_in, &cards[TOKENS_MAX..]).await, None);
    assert_eq!(take(store, &stand_in, &cards[..1]).await, Some(b"999".to_vec()));
    // The same card twice in one message.
    let stand_in = keep(store, b"999", &[token(1), token(1)]).await;
    assert_eq!(take(store, &stand_in, &[token(1)]).await, Some(b"999".to_vec()));
}

async fn of_many_that_take_at_once_one_is_given_it(store: &dyn StandInStore) {
    for _ in 0..20 {
        let cards = [token(4), token(5)];
        let stand_in = keep(store, b"777", &cards).await;
        let takes = (0..16).map(|nth| take(store, &stand_in, &cards[nth % 2..]));
        assert_eq!(join_all(takes).await.into_iter().flatten().count(), 1);
    }
}

async fn a_flood_never_makes_a_stand_in_mean_two_codes(store: &dyn StandInStore) {
    let card = [token(6)];
    let bound = keep(store, b"456", &card).await;
    let mut codes = HashMap::new();
    for number in 0..1500 {
        let code = format!("{:03}", number % 1000).into_bytes();
        let stand_in = keep(store, &code, &[]).await;
        assert_ne!(stand_in, code);
        let replaced = codes.insert(stand_in, code);
        assert!(number > 500 || replaced.is_none(), "a live stand-in was given again");
    }
    assert_eq!(take(store, &bound, &card).await, Some(b"456".to_vec()));
    for (stand_in, code) in codes {
        assert_eq!(take(store, &stand_in, &[]).await, Some(code), "not the newest");
    }
}
