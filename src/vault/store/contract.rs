//! What every store must do, whatever it is made of.

use std::pin::Pin;

use super::{
    Fingerprint, Inserted, KeyId, KeyPurpose, KeyRow, NewRow, SealedRow, StoreError, TokenStore,
};
use crate::card::{Brand, Token, TokenFormat};

pub(super) type Opened<'a> = Pin<Box<dyn Future<Output = Box<dyn TokenStore>> + 'a>>;
type Open<'a> = &'a dyn Fn() -> Opened<'a>;
type Check = for<'a> fn(Open<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Every check is given a way to open one store, empty at first, as often as it likes.
pub(super) const CHECKS: &[Check] = &[
    |open| Box::pin(the_first_keys_stay(open)),
    |open| Box::pin(rows_survive_a_reopening(open)),
    |open| Box::pin(one_card_has_one_token_per_format(open)),
    |open| Box::pin(a_token_is_never_given_twice_and_is_never_a_card(open)),
    |open| Box::pin(nothing_is_found_for_nothing(open)),
    |open| Box::pin(a_row_without_its_key_is_refused_with_all_others(open)),
];

pub(super) fn offer(seed: u8) -> Vec<KeyRow> {
    let key = |purpose, id| KeyRow { id: KeyId([id; 16]), purpose, version: 1, wrapped: vec![id] };
    vec![key(KeyPurpose::Fingerprint, seed), key(KeyPurpose::Seal, seed + 1)]
}

/// Card `card` under token `token`: equal numbers are equal texts, so token 3 *is* card 3.
pub(super) fn row(card: u8, token: u8) -> NewRow {
    let row = SealedRow {
        token: Token::parse(format!("4000000000000{token:03}").as_bytes()).unwrap(),
        token_print: Fingerprint([token; 32]),
        card_print: Fingerprint([card; 32]),
        format: TokenFormat::BrandFour,
        version: 1,
        data_key: KeyId([2; 16]),
        sealed: vec![card, token],
    };
    NewRow { row, brand: Brand::named("visa").unwrap(), last_four: "0000".to_owned() }
}

async fn ready(open: Open<'_>) -> Box<dyn TokenStore> {
    let store = open().await;
    assert_eq!(store.keys(&offer(1)).await.unwrap(), offer(1));
    store
}

async fn insert(store: &dyn TokenStore, row: NewRow) -> Inserted {
    let outcomes = store.insert(&[row]).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

async fn the_first_keys_stay(open: Open<'_>) {
    let store = ready(open).await;
    let second = open().await;
    assert_eq!(second.keys(&offer(7)).await.unwrap(), offer(1));
    assert_eq!(store.keys(&[]).await.unwrap(), offer(1));
}

async fn rows_survive_a_reopening(open: Open<'_>) {
    let store = ready(open).await;
    let kept = row(1, 2);
    assert_eq!(insert(store.as_ref(), row(1, 2)).await, Inserted::Created(kept.row.token));
    drop(store);
    let found = open().await.find(&[Fingerprint([2; 32]), Fingerprint([9; 32])]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].token == kept.row.token && found[0].sealed == kept.row.sealed);
    assert!(found[0].card_print == kept.row.card_print && found[0].format == kept.row.format);
    assert!(found[0].data_key == kept.row.data_key && found[0].version == kept.row.version);
}

async fn one_card_has_one_token_per_format(open: Open<'_>) {
    let store = ready(open).await;
    let first = row(1, 2).row.token;
    let twice = store.insert(&[row(1, 2), row(1, 3)]).await.unwrap();
    assert_eq!(twice, [Inserted::Created(first), Inserted::Known(first)]);
    let other = open().await;
    assert_eq!(insert(other.as_ref(), row(1, 4)).await, Inserted::Known(first));
    let mut six = row(1, 5);
    six.row.format = TokenFormat::SixFour;
    let token = six.row.token;
    assert_eq!(insert(store.as_ref(), six).await, Inserted::Created(token));
    assert_eq!(store.find(&[Fingerprint([1; 32])]).await.unwrap().len(), 2);
}

async fn a_token_is_never_given_twice_and_is_never_a_card(open: Open<'_>) {
    let store = ready(open).await;
    let _created = insert(store.as_ref(), row(1, 2)).await;
    assert_eq!(insert(store.as_ref(), row(3, 2)).await, Inserted::TokenTaken);
    assert_eq!(insert(store.as_ref(), row(3, 1)).await, Inserted::TokenTaken);
    assert_eq!(insert(store.as_ref(), row(2, 3)).await, Inserted::IsToken);
    let token = row(3, 4).row.token;
    assert_eq!(insert(store.as_ref(), row(3, 4)).await, Inserted::Created(token));
}

async fn nothing_is_found_for_nothing(open: Open<'_>) {
    let store = ready(open).await;
    let _created = insert(store.as_ref(), row(1, 2)).await;
    assert!(store.find(&[]).await.unwrap().is_empty());
    assert!(store.insert(&[]).await.unwrap().is_empty());
    store.check().await.unwrap();
    store.check().await.unwrap();
}

async fn a_row_without_its_key_is_refused_with_all_others(open: Open<'_>) {
    let store = ready(open).await;
    let mut orphan = row(3, 4);
    orphan.row.data_key = KeyId([9; 16]);
    let refused = store.insert(&[row(1, 2), orphan]).await;
    assert!(matches!(refused, Err(StoreError::Down { .. })));
    assert!(store.find(&[Fingerprint([1; 32])]).await.unwrap().is_empty());
}
