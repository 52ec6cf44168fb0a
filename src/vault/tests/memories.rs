//! What is answered without the store, and when it no longer is.

use std::sync::atomic::Ordering;

use super::faults::faulty;
use super::*;
use crate::keys::IfMissing;

/// Waits until the filter has followed the store: this number is then no token without a question.
async fn until_followed(vault: &Vault) {
    let unknown = vault.prints(std::iter::once(&b"4000000000000002"[..]));
    let followed = async {
        while unknown.iter().any(|print| vault.memory.standing(print, None).is_none()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), followed).await.unwrap();
}

#[tokio::test]
async fn a_returning_card_and_a_number_that_is_no_token_are_answered_without_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, switches) = faulty(folder.path(), 1000).await;
    until_followed(&vault).await;
    let token = token(vault.tokenize(visa(), FORMAT).await.unwrap()[0]);
    let asked = switches.finds.load(Ordering::SeqCst);
    assert_eq!(vault.tokenize(visa(), FORMAT).await.unwrap(), [Tokenized::Known(token)]);
    let number = || pan(token.as_bytes());
    let numbers = vec![pan(b"4000000000000002"), number(), pan(b"4000000000000010")];
    let standing = vault.standing(numbers).await.unwrap();
    assert_eq!(standing, [Standing::Unknown, Standing::IssuedToken, Standing::Unknown]);
    assert_eq!(vault.tokenize(vec![number()], FORMAT).await.unwrap(), [Tokenized::AlreadyToken]);
    assert_eq!(switches.finds.load(Ordering::SeqCst), asked);
    // Of another format nothing is known.
    let other = vault.tokenize(visa(), TokenFormat::Opaque).await.unwrap();
    assert!(matches!(other.as_slice(), [Tokenized::Created(_)]));
}

#[tokio::test]
async fn a_new_card_is_kept_without_being_looked_for_and_one_of_an_earlier_start_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, switches) = faulty(folder.path(), 1000).await;
    until_followed(&vault).await;
    let mut tokens = Vec::new();
    for number in 0..100 {
        tokens.push(token(vault.tokenize(vec![card(number)], FORMAT).await.unwrap()[0]));
    }
    // The filter lets through one in 800.
    assert!(switches.finds.load(Ordering::SeqCst) < 5);
    vault.close().await;
    let again = opened(folder.path()).await;
    until_followed(&again).await;
    for (number, token) in (0..).zip(tokens) {
        let print = again.prints(std::iter::once(card(number).expose()));
        assert_eq!(again.memory.sought(&print).cards.len(), 1, "card {number} is looked for");
        let known = again.tokenize(vec![card(number)], FORMAT).await.unwrap();
        assert_eq!(known, [Tokenized::Known(token)]);
    }
}

#[tokio::test]
async fn a_token_given_lately_is_revealed_without_the_store_until_something_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, switches) = faulty(folder.path(), 1000).await;
    until_followed(&vault).await;
    let tokens = vault.tokenize(vec![card(1), card(2)], FORMAT).await.unwrap();
    let [made, other] = [token(tokens[0]), token(tokens[1])];
    let asked = || switches.finds.load(Ordering::SeqCst);
    let before = asked();
    assert_eq!(revealed(&vault, made).await.unwrap(), card(1).expose());
    let mixed = vec![pan(b"4000000000000002"), pan(other.as_bytes())];
    let cards = vault.reveal(mixed).await.unwrap();
    assert!(cards[0].is_none() && cards[1].as_ref().unwrap().expose() == card(2).expose());
    assert_eq!(asked(), before);
    let place = settings(folder.path()).store;
    let keeper = Keeper::open(&place, masters(1, None), IfMissing::Refuse);
    assert_eq!(keeper.await.ok().unwrap().erase(&[made]).await, Ok(1));
    assert_eq!(revealed(&vault, made).await, None);
    assert_eq!(revealed(&vault, other).await.unwrap(), card(2).expose());
    // Found once more, it is remembered again.
    let before = asked();
    assert_eq!(revealed(&vault, other).await.unwrap(), card(2).expose());
    assert_eq!(asked(), before);
}

#[tokio::test]
async fn a_token_that_another_process_issues_is_never_taken_for_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (opened(folder.path()).await, opened(folder.path()).await);
    until_followed(&ours).await;
    for number in 0..200 {
        let token = token(other.tokenize(vec![card(number)], FORMAT).await.unwrap()[0]);
        let standing = ours.standing(vec![pan(token.as_bytes())]).await.unwrap();
        assert_eq!(standing, [Standing::IssuedToken], "token {number}");
        let own = ours.tokenize(vec![card(1000 + number)], FORMAT).await.unwrap();
        assert!(matches!(own.as_slice(), [Tokenized::Created(_)]));
    }
    until_followed(&ours).await;
}

#[tokio::test]
async fn tokens_of_an_earlier_start_are_known_to_the_filter() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let cards = (0..300).map(card).collect();
    let tokens = vault.tokenize(cards, FORMAT).await.unwrap();
    vault.close().await;
    let again = opened(folder.path()).await;
    until_followed(&again).await;
    for answer in tokens {
        let standing = again.standing(vec![pan(token(answer).as_bytes())]).await.unwrap();
        assert_eq!(standing, [Standing::IssuedToken]);
    }
}

#[tokio::test]
async fn an_erased_card_is_forgotten_at_once_also_by_who_remembered_it() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let before = token(vault.tokenize(visa(), FORMAT).await.unwrap()[0]);
    assert_eq!(vault.tokenize(visa(), FORMAT).await.unwrap(), [Tokenized::Known(before)]);
    let place = StorePlace::Sqlite(folder.path().join("vault.db"));
    let keeper = Keeper::open(&place, masters(1, None), IfMissing::Refuse).await;
    let print = vault.prints(std::iter::once(before.as_bytes()));
    assert_eq!(keeper.ok().unwrap().store.erase(&print).await.ok(), Some(1));
    let after = token(vault.tokenize(visa(), FORMAT).await.unwrap()[0]);
    assert_ne!(after, before);
    let standing = vault.standing(vec![pan(before.as_bytes())]).await.unwrap();
    assert_eq!(standing, [Standing::Unknown]);
}
