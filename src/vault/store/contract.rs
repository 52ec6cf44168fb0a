//! What every store must do, whatever it is made of.

use std::pin::Pin;

use super::{
    ErasedRow, Fingerprint, Inserted, KeptErased, KeyChange, KeyId, KeyPurpose, KeyRow,
    KeysChanged, NewRow, Obstacle, Resealed, SealedRow, Sought, StoreKeeper,
};
use crate::card::{Brand, Token, TokenFormat};
use crate::keys::MasterId;

pub(super) type Opened<'a> = Pin<Box<dyn Future<Output = Box<dyn StoreKeeper>> + 'a>>;
type Open<'a> = &'a dyn Fn() -> Opened<'a>;
type Check = for<'a> fn(Open<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Every check is given a way to open one store, empty at first, as often as it likes.
pub(super) const CHECKS: &[Check] = &[
    |open| Box::pin(the_first_keys_stay(open)),
    |open| Box::pin(rows_survive_a_reopening(open)),
    |open| Box::pin(one_card_has_one_token_per_format(open)),
    |open| Box::pin(a_token_is_never_given_twice_and_is_never_a_card(open)),
    |open| Box::pin(of_a_group_each_row_is_kept_or_refused_for_itself(open)),
    |open| Box::pin(every_row_of_a_large_group_is_kept_as_it_is(open)),
    |open| Box::pin(nothing_is_found_for_nothing(open)),
    |open| Box::pin(a_row_whose_key_is_gone_is_not_kept_and_the_others_are(open)),
    |open| Box::pin(pages_give_every_row_once_in_the_order_of_fingerprints(open)),
    |open| Box::pin(a_row_is_resealed_only_from_the_key_it_was_read_with(open)),
    |open| Box::pin(a_sealing_key_comes_and_goes_only_when_no_row_needs_it(open)),
    |open| Box::pin(two_rotations_at_once_add_one_key(open)),
    |open| Box::pin(a_master_key_is_dropped_only_when_another_opens_everything(open)),
    |open| Box::pin(an_erased_card_leaves_its_token_never_to_be_given_again(open)),
    |open| Box::pin(a_token_erased_elsewhere_is_kept_and_never_given(open)),
    |open| Box::pin(a_census_counts_rows_keys_and_times(open)),
];

pub(super) fn offer(seed: u8) -> Vec<KeyRow> {
    vec![key(KeyPurpose::Fingerprint, seed, 1), key(KeyPurpose::Seal, seed + 1, 1)]
}

fn key(purpose: KeyPurpose, id: u8, master: u8) -> KeyRow {
    let wrapped = vec![id, master];
    KeyRow { id: KeyId([id; 16]), purpose, master: MasterId([master; 16]), version: 1, wrapped }
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

/// Rows whose card or whose token has one of these numbers.
pub(super) fn either(numbers: &[u8]) -> Sought {
    let prints: Vec<_> = numbers.iter().map(|number| Fingerprint([*number; 32])).collect();
    Sought { cards: prints.clone(), tokens: prints }
}

async fn ready(open: Open<'_>) -> Box<dyn StoreKeeper> {
    let store = open().await;
    assert_eq!(store.keys(&offer(1)).await.unwrap(), offer(1));
    store
}

async fn insert(store: &dyn StoreKeeper, row: NewRow) -> Inserted {
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
    let found = open().await.find(&either(&[2, 9])).await.unwrap();
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
    assert_eq!(store.find(&either(&[1])).await.unwrap().len(), 2);
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

async fn of_a_group_each_row_is_kept_or_refused_for_itself(open: Open<'_>) {
    let store = ready(open).await;
    let _created = insert(store.as_ref(), row(1, 2)).await;
    // More than any statement takes at once; one card is known, one token is taken, one card is a
    // token of the same group, and one token is a card of it.
    let mut rows: Vec<_> = (10..100).map(|card| row(card, card + 100)).collect();
    rows.extend([row(1, 3), row(4, 2), row(110, 5), row(6, 11)]);
    let outcomes = store.insert(&rows).await.unwrap();
    let made: Vec<_> = rows.iter().map(|new| Inserted::Created(new.row.token)).collect();
    assert_eq!(outcomes[..90], made[..90]);
    let known = Inserted::Known(row(1, 2).row.token);
    let refused = [known, Inserted::TokenTaken, Inserted::IsToken, Inserted::TokenTaken];
    assert_eq!(outcomes[90..], refused);
    assert_eq!(store.census().await.unwrap().rows, 91);
}

async fn every_row_of_a_large_group_is_kept_as_it_is(open: Open<'_>) {
    let store = ready(open).await;
    let rows: Vec<_> = (1..=100).map(|card| row(card, card + 100)).collect();
    let outcomes = store.insert(&rows).await.unwrap();
    for (new, outcome) in rows.iter().zip(outcomes) {
        assert_eq!(outcome, Inserted::Created(new.row.token));
        let found = store.find(&Sought::tokens(vec![new.row.token_print])).await.unwrap();
        let [kept] = found.as_slice() else { panic!("{} rows", found.len()) };
        assert!(kept.token == new.row.token && kept.token_print == new.row.token_print);
        assert!(kept.card_print == new.row.card_print && kept.format == new.row.format);
        assert!(kept.version == new.row.version && kept.data_key == new.row.data_key);
        assert!(kept.sealed == new.row.sealed);
    }
}

async fn nothing_is_found_for_nothing(open: Open<'_>) {
    let store = ready(open).await;
    let _created = insert(store.as_ref(), row(1, 2)).await;
    assert!(store.find(&Sought::default()).await.unwrap().is_empty());
    assert!(store.insert(&[]).await.unwrap().is_empty());
    store.check().await.unwrap();
    store.check().await.unwrap();
}

async fn a_row_whose_key_is_gone_is_not_kept_and_the_others_are(open: Open<'_>) {
    let store = ready(open).await;
    let mut orphan = row(3, 4);
    orphan.row.data_key = KeyId([9; 16]);
    let outcomes = store.insert(&[row(1, 2), orphan]).await.unwrap();
    assert_eq!(outcomes, [Inserted::Created(row(1, 2).row.token), Inserted::KeyGone]);
    assert!(store.find(&either(&[3])).await.unwrap().is_empty());
    assert_eq!(store.find(&either(&[1])).await.unwrap().len(), 1);
}

async fn pages_give_every_row_once_in_the_order_of_fingerprints(open: Open<'_>) {
    let store = ready(open).await;
    let rows = [row(101, 7), row(102, 3), row(103, 9), row(104, 1), row(105, 5)];
    assert_eq!(store.insert(&rows).await.unwrap().len(), 5);
    assert_eq!(store.erase(&[Fingerprint([3; 32])]).await.unwrap(), 1);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.page(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.row.token_print);
        seen.extend(page.iter().map(|stored| (stored.row.token_print.0[0], stored.row.sealed[0])));
        assert!(page.iter().all(|stored| stored.brand.as_str() == "visa"));
        assert!(page.iter().all(|stored| stored.last_four == "0000"));
    }
    assert_eq!(seen, [(1, 104), (5, 105), (7, 101), (9, 103)]);
}

fn resealed(token: u8, before: u8, after: u8) -> Resealed {
    Resealed {
        token_print: Fingerprint([token; 32]),
        before: KeyId([before; 16]),
        data_key: KeyId([after; 16]),
        version: 2,
        sealed: vec![after],
    }
}

async fn a_row_is_resealed_only_from_the_key_it_was_read_with(open: Open<'_>) {
    let store = ready(open).await;
    let _rows = store.insert(&[row(1, 2), row(3, 4)]).await.unwrap();
    let _changed = store.change_keys(&add(2, 7)).await.unwrap();
    assert_eq!(store.reseal(&[resealed(2, 9, 7), resealed(4, 2, 7)]).await.unwrap(), 1);
    assert_eq!(store.reseal(&[resealed(2, 2, 7), resealed(4, 2, 7)]).await.unwrap(), 1);
    let found = store.find(&either(&[2, 4])).await.unwrap();
    assert!(found.iter().all(|row| row.data_key == KeyId([7; 16]) && row.sealed == [7]));
    assert!(found.iter().all(|row| row.version == 2) && found.len() == 2);
    // A key that is not there is refused, and with it the other rows of the call.
    assert!(store.reseal(&[resealed(2, 7, 2), resealed(4, 7, 9)]).await.is_err());
    let found = store.find(&either(&[2])).await.unwrap();
    assert!(found[0].data_key == KeyId([7; 16]));
}

fn add(newest: u8, id: u8) -> KeyChange {
    KeyChange::Add { newest: KeyId([newest; 16]), wraps: vec![key(KeyPurpose::Seal, id, 1)] }
}

fn drop_key(id: u8) -> KeyChange {
    KeyChange::DropKey { key: KeyId([id; 16]) }
}

async fn refused(store: &dyn StoreKeeper, change: KeyChange) -> Obstacle {
    match store.change_keys(&change).await.unwrap() {
        KeysChanged::Refused(obstacle) => obstacle,
        KeysChanged::Done(_) => panic!("the change was made"),
    }
}

async fn done(store: &dyn StoreKeeper, change: KeyChange) -> Vec<KeyRow> {
    match store.change_keys(&change).await.unwrap() {
        KeysChanged::Refused(obstacle) => panic!("{obstacle:?}"),
        KeysChanged::Done(keys) => keys,
    }
}

async fn a_sealing_key_comes_and_goes_only_when_no_row_needs_it(open: Open<'_>) {
    let store = ready(open).await;
    let _rows = store.insert(&[row(1, 2)]).await.unwrap();
    let store = store.as_ref();
    assert_eq!(refused(store, drop_key(2)).await, Obstacle::InUse, "the newest");
    // A name that sorts before the old one's: the order is that of their making.
    let both = [offer(1), vec![key(KeyPurpose::Seal, 0, 1)]].concat();
    assert_eq!(done(store, add(2, 0)).await, both);
    assert_eq!(open().await.keys(&[]).await.unwrap(), both);
    assert_eq!(refused(store, drop_key(2)).await, Obstacle::InUse, "a row lies under it");
    assert_eq!(store.keys(&[]).await.unwrap(), both);
    assert_eq!(store.reseal(&[resealed(2, 2, 0)]).await.unwrap(), 1);
    let left = [key(KeyPurpose::Fingerprint, 1, 1), key(KeyPurpose::Seal, 0, 1)];
    assert_eq!(done(store, drop_key(2)).await, left);
    // Once more, as after a crash that hid the answer.
    assert_eq!(done(store, drop_key(2)).await, left);
    assert_eq!(refused(store, drop_key(1)).await, Obstacle::InUse, "no sealing key");
    assert_eq!(insert(store, row(3, 4)).await, Inserted::KeyGone);
}

async fn two_rotations_at_once_add_one_key(open: Open<'_>) {
    let store = ready(open).await;
    let other = open().await;
    let _first = done(store.as_ref(), add(2, 7)).await;
    assert_eq!(refused(other.as_ref(), add(2, 8)).await, Obstacle::Overtaken);
    let twice = KeyChange::Add {
        newest: KeyId([7; 16]),
        wraps: vec![key(KeyPurpose::Seal, 8, 1), key(KeyPurpose::Seal, 8, 5)],
    };
    assert_eq!(refused(other.as_ref(), twice).await, Obstacle::Incomplete);
    let purpose = KeyPurpose::Fingerprint;
    let wraps = vec![key(purpose, 8, 1)];
    let fingerprint = KeyChange::Add { newest: KeyId([7; 16]), wraps };
    assert_eq!(refused(other.as_ref(), fingerprint).await, Obstacle::Incomplete);
    assert_eq!(other.keys(&[]).await.unwrap().len(), 3);
}

async fn a_master_key_is_dropped_only_when_another_opens_everything(open: Open<'_>) {
    let store = ready(open).await;
    let store = store.as_ref();
    let drop_master = |master| KeyChange::DropMaster { master: MasterId([master; 16]) };
    assert_eq!(refused(store, drop_master(1)).await, Obstacle::Incomplete);
    let second = vec![key(KeyPurpose::Fingerprint, 1, 2), key(KeyPurpose::Seal, 2, 2)];
    let half = KeyChange::Wrap { wraps: second[..1].to_vec() };
    assert_eq!(refused(store, half).await, Obstacle::Overtaken);
    assert_eq!(store.keys(&[]).await.unwrap(), offer(1));
    let wrap = || KeyChange::Wrap { wraps: second.clone() };
    assert_eq!(done(store, wrap()).await.len(), 4);
    assert_eq!(done(store, wrap()).await.len(), 4);
    // A key that only one of the two opens would be lost with it.
    assert_eq!(refused(store, add(2, 7)).await, Obstacle::Incomplete);
    assert_eq!(done(store, drop_master(1)).await, second);
    assert_eq!(done(store, drop_master(1)).await, second);
    assert_eq!(refused(store, drop_master(2)).await, Obstacle::Incomplete);
    assert_eq!(open().await.keys(&[]).await.unwrap(), second);
}

async fn an_erased_card_leaves_its_token_never_to_be_given_again(open: Open<'_>) {
    let store = ready(open).await;
    let token = row(1, 2).row.token;
    assert_eq!(store.insert(&[row(1, 2), row(3, 4)]).await.unwrap().len(), 2);
    let prints = [Fingerprint([2; 32]), Fingerprint([1; 32]), Fingerprint([9; 32])];
    // By token only: the fingerprint of a card is none.
    assert_eq!(store.erase(&prints).await.unwrap(), 1);
    assert_eq!(store.erase(&prints).await.unwrap(), 0);
    assert!(store.find(&either(&[2, 1, 9])).await.unwrap().is_empty());
    assert_eq!(insert(store.as_ref(), row(5, 2)).await, Inserted::TokenTaken);
    assert_eq!(insert(store.as_ref(), row(2, 6)).await, Inserted::IsToken);
    assert_eq!(store.reseal(&[resealed(2, 2, 2)]).await.unwrap(), 0);
    // The card itself may come back, under another token.
    let again = insert(store.as_ref(), row(1, 7)).await;
    assert_eq!(again, Inserted::Created(row(1, 7).row.token));
    assert_ne!(again, Inserted::Created(token));
    let census = open().await.census().await.unwrap();
    assert_eq!((census.rows, census.erased), (2, 1));
}

async fn a_token_erased_elsewhere_is_kept_and_never_given(open: Open<'_>) {
    let store = ready(open).await;
    assert_eq!(store.insert(&[row(1, 2), row(3, 4)]).await.unwrap().len(), 2);
    assert_eq!(store.erase(&[Fingerprint([4; 32])]).await.unwrap(), 1);
    let erased = |token: u8| {
        let SealedRow { token, token_print, format, .. } = row(0, token).row;
        ErasedRow { token, token_print, format }
    };
    // One that is free, one that was erased here, one with a card here, and one that is a card here.
    let kept = store.keep_erased(&[erased(9), erased(4), erased(2), erased(1)]).await.unwrap();
    assert_eq!(kept, [KeptErased::New, KeptErased::Known, KeptErased::InUse, KeptErased::InUse]);
    assert_eq!(store.keep_erased(&[erased(9)]).await.unwrap(), [KeptErased::Known]);
    assert_eq!(insert(store.as_ref(), row(5, 9)).await, Inserted::TokenTaken);
    assert_eq!(insert(store.as_ref(), row(9, 6)).await, Inserted::IsToken);
    assert_eq!(store.find(&either(&[2])).await.unwrap().len(), 1, "its card is still there");
    assert_eq!(store.erased_page(None, 1).await.unwrap(), [erased(4)]);
    let rest = store.erased_page(Some(Fingerprint([4; 32])), 5).await.unwrap();
    assert_eq!(rest, [erased(9)]);
    let census = store.census().await.unwrap();
    assert_eq!((census.rows, census.erased), (1, 2));
}

async fn a_census_counts_rows_keys_and_times(open: Open<'_>) {
    let store = ready(open).await;
    let empty = store.census().await.unwrap();
    assert_eq!((empty.rows, empty.erased, empty.oldest, empty.newest), (0, 0, None, None));
    assert_eq!(empty.keys.len(), 2);
    let _rows = store.insert(&[row(1, 2), row(3, 4), row(5, 6)]).await.unwrap();
    let _keys = done(store.as_ref(), add(2, 7)).await;
    let _moved = store.reseal(&[resealed(4, 2, 7)]).await.unwrap();
    let census = store.census().await.unwrap();
    assert!(census.rows == 3 && census.oldest.is_some() && census.oldest <= census.newest);
    assert!(census.bytes > 0);
    let [kind] = census.kinds.as_slice() else { panic!("{:?}", census.kinds) };
    assert!(kind.rows == 3 && kind.format == row(1, 2).row.format && kind.brand == row(1, 2).brand);
    let keys: Vec<_> = census.keys.iter().map(|key| (key.id.0[0], key.purpose, key.rows)).collect();
    let (fingerprint, seal) = (KeyPurpose::Fingerprint, KeyPurpose::Seal);
    assert_eq!(keys, [(1, fingerprint, 0), (2, seal, 2), (7, seal, 1)]);
    assert!(census.keys.iter().all(|key| key.masters == [MasterId([1; 16])]));
    assert!(census.keys.iter().all(|key| key.created_at > std::time::SystemTime::UNIX_EPOCH));
}
