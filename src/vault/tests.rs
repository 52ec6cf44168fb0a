#[cfg(test)]
mod faults;
#[cfg(test)]
mod memories;
#[cfg(test)]
mod races;

use std::collections::HashSet;
use std::path::Path;
use std::thread;

use bytes::Bytes;
use tokio::runtime;

use super::*;
use crate::keys::{IfMissing, KEY_BYTES, KeyError, KeySource, MasterKeys, MemoryKey, Obtained};
use crate::scan::{Carrier, FieldRules, FindKind, Rules, find_all};

const TTL: Duration = Duration::from_secs(900);
pub(super) const FORMAT: TokenFormat = TokenFormat::BrandFour;

/// A key of known bytes.
struct Seeded(u8);

impl KeySource for Seeded {
    fn describe(&self) -> String {
        "a test".to_owned()
    }

    fn obtain(&self, _: IfMissing) -> Result<Obtained, KeyError> {
        let key = SecretKey::from_bytes(&[self.0; KEY_BYTES]).unwrap();
        Ok(Obtained::Read(Arc::new(MemoryKey::new(key))))
    }
}

pub(super) fn masters(current: u8, previous: Option<u8>) -> Arc<MasterKeys> {
    let previous = previous.map(|seed| -> Box<dyn KeySource> { Box::new(Seeded(seed)) });
    Arc::new(MasterKeys { current: Box::new(Seeded(current)), previous })
}

pub(super) fn settings(folder: &Path) -> VaultSettings {
    let store = StorePlace::Sqlite(folder.join("vault.db"));
    VaultSettings { store, cvv_store: CodesPlace::Memory, cvv_ttl: TTL }
}

pub(super) async fn opened(folder: &Path) -> Vault {
    Vault::open(settings(folder), masters(1, None)).await.ok().unwrap()
}

pub(super) fn pan(digits: &[u8]) -> Pan {
    Pan::from_digits(digits).unwrap()
}

fn visa() -> Vec<Pan> {
    vec![pan(b"4111111111111111")]
}

pub(super) fn token(answer: Tokenized) -> Token {
    match answer {
        Tokenized::Created(token) | Tokenized::Known(token) => token,
        Tokenized::AlreadyToken | Tokenized::Collided => panic!("the card is a token"),
    }
}

/// Numbers that only differ in digits a test range may use: 411111 and a counter.
pub(super) fn card(number: usize) -> Pan {
    pan(format!("411111{number:010}").as_bytes())
}

async fn revealed(vault: &Vault, token: Token) -> Option<Vec<u8>> {
    let mut cards = vault.reveal(vec![pan(token.as_bytes())]).await.unwrap();
    cards.pop().unwrap().map(|card| card.expose().to_vec())
}

#[tokio::test]
async fn a_card_keeps_its_token_over_a_restart_and_the_token_reveals_it() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let created = vault.tokenize(visa(), FORMAT).await.unwrap();
    assert!(matches!(created.as_slice(), [Tokenized::Created(_)]));
    vault.close().await;
    drop(vault);
    let vault = opened(folder.path()).await;
    let token = token(created[0]);
    assert_eq!(vault.tokenize(visa(), FORMAT).await.unwrap(), [Tokenized::Known(token)]);
    assert_eq!(revealed(&vault, token).await.unwrap(), b"4111111111111111");
}

#[tokio::test]
async fn a_second_process_sees_a_token_the_moment_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (opened(folder.path()).await, opened(folder.path()).await);
    let token = token(ours.tokenize(visa(), FORMAT).await.unwrap()[0]);
    // Neither closed nor checkpointed: what the other reads is what a crash leaves.
    assert_eq!(revealed(&other, token).await.unwrap(), b"4111111111111111");
    assert_eq!(other.tokenize(visa(), FORMAT).await.unwrap(), [Tokenized::Known(token)]);
}

#[tokio::test]
async fn answers_stand_in_order_and_one_card_twice_in_a_call_has_one_token() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let earlier = token(vault.tokenize(vec![card(7)], FORMAT).await.unwrap()[0]);
    let number = pan(earlier.as_bytes());
    let cards = vec![card(1), number, card(2), card(1), card(7)];
    let answers = vault.tokenize(cards, FORMAT).await.unwrap();
    let first = token(answers[0]);
    assert!(matches!(answers[0], Tokenized::Created(_)));
    assert_eq!(answers[1], Tokenized::AlreadyToken);
    assert!(matches!(answers[2], Tokenized::Created(_)));
    assert_eq!(answers[3], Tokenized::Known(first));
    assert_eq!(answers[4], Tokenized::Known(earlier));
}

#[tokio::test]
async fn only_issued_tokens_stand_and_reveal() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let issued = token(vault.tokenize(visa(), FORMAT).await.unwrap()[0]);
    let numbers = || vec![pan(b"4111111111111111"), pan(issued.as_bytes()), card(3)];
    let standing = vault.standing(numbers()).await.unwrap();
    assert_eq!(standing, [Standing::Unknown, Standing::IssuedToken, Standing::Unknown]);
    let revealed = vault.reveal(numbers()).await.unwrap();
    assert!(matches!(revealed.as_slice(), [None, Some(_), None]));
    assert!(vault.tokenize(Vec::new(), FORMAT).await.unwrap().is_empty());
}

#[tokio::test]
async fn more_cards_than_one_group_holds_are_all_tokenized_and_revealed() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let count = GROUP_MAX * 2 + 1;
    let answers = vault.tokenize((0..count).map(card).collect(), FORMAT).await.unwrap();
    let tokens: HashSet<_> = answers.iter().map(|answer| token(*answer)).collect();
    assert_eq!(tokens.len(), count);
    let numbers = answers.iter().map(|answer| pan(token(*answer).as_bytes())).collect();
    let cards = vault.reveal(numbers).await.unwrap();
    assert!(cards.iter().enumerate().all(|(number, found)| {
        found.as_ref().is_some_and(|found| found.expose() == card(number).expose())
    }));
}

/// Every runtime on its own thread, as the server has them.
#[test]
fn many_runtimes_at_once_agree_on_one_token_per_card() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = || runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let vault = runtime().block_on(opened(folder.path()));
    let ask_all = || async {
        let calls = (0..40).map(|number| vault.tokenize(vec![card(number % 10)], FORMAT));
        futures_util::future::join_all(calls).await
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| runtime().block_on(ask_all()))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap()[0]).collect();
    let created = answers.iter().filter(|answer| matches!(answer, Tokenized::Created(_)));
    assert_eq!(created.count(), 10);
    let tokens: HashSet<_> = answers.iter().map(|answer| token(*answer)).collect();
    assert_eq!(tokens.len(), 10);
}

#[tokio::test]
async fn another_master_key_is_refused_and_the_right_one_still_opens() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let token = token(vault.tokenize(visa(), FORMAT).await.unwrap()[0]);
    let refused = Vault::open(settings(folder.path()), masters(2, None)).await.err().unwrap();
    assert!(matches!(refused, OpenError::WrongMasterKey), "{refused}");
    let again = opened(folder.path()).await;
    assert_eq!(revealed(&again, token).await.unwrap(), b"4111111111111111");
}

pub(super) async fn tamper(folder: &Path, statement: &'static str) {
    use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
    let options = SqliteConnectOptions::new().filename(folder.join("vault.db"));
    let mut connection = options.foreign_keys(false).connect().await.unwrap();
    let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
    assert!(done.rows_affected() > 0);
}

#[tokio::test]
async fn a_row_changed_on_disk_reveals_nothing() {
    let changes = [
        ("UPDATE tokens SET sealed = randomblob(length(sealed))", VaultError::Damaged),
        ("UPDATE tokens SET format = 'six-four'", VaultError::Damaged),
        ("UPDATE tokens SET card_print = randomblob(32)", VaultError::Damaged),
        ("UPDATE tokens SET token = '4000000000001111'", VaultError::Damaged),
        ("UPDATE tokens SET version = 0", VaultError::Damaged),
        ("UPDATE tokens SET version = 2", VaultError::Newer { version: 2 }),
        ("UPDATE tokens SET data_key = randomblob(16)", VaultError::UnknownKey),
        ("UPDATE tokens SET token = 'not a token'", VaultError::Damaged),
    ];
    for (change, expected) in changes {
        let folder = tempfile::tempdir().unwrap();
        let vault = opened(folder.path()).await;
        let token = token(vault.tokenize(visa(), FORMAT).await.unwrap()[0]);
        tamper(folder.path(), change).await;
        // The one that made it remembers how it was.
        let vault = opened(folder.path()).await;
        let refused = vault.reveal(vec![pan(token.as_bytes())]).await.err();
        assert_eq!(refused, Some(expected), "{change}");
    }
}

#[tokio::test]
async fn lost_keys_are_not_replaced_while_tokens_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let _token = vault.tokenize(visa(), FORMAT).await.unwrap();
    vault.close().await;
    tamper(folder.path(), "DELETE FROM data_keys").await;
    let refused = Vault::open(settings(folder.path()), masters(1, None)).await.err().unwrap();
    assert!(matches!(refused, OpenError::KeysMissing), "{refused}");
}

#[tokio::test]
async fn no_card_number_stands_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let _token = vault.tokenize(visa(), FORMAT).await.unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(16).any(|part| part == b"4111111111111111"));
    }
}

#[tokio::test]
async fn a_closed_vault_says_so_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    assert_eq!(vault.health(), Health::Ready);
    vault.close().await;
    let stopped = VaultError::Unavailable { cause: Outage::Stopped };
    assert_eq!(vault.tokenize(visa(), FORMAT).await, Err(stopped));
    assert_eq!(vault.health(), Health::Failing { cause: Outage::Stopped });
}

#[tokio::test]
async fn a_token_of_any_format_survives_a_second_pass() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let rules = Arc::new(Rules::requests(FieldRules::default()));
    for format in TokenFormat::ALL {
        for number in [&b"4111111111111111"[..], b"378282246310005", b"6304000000000000000"] {
            let token = token(vault.tokenize(vec![pan(number)], format).await.unwrap()[0]);
            for body in [format!("card_number={token}&x=1"), format!("{{\"pan\":\"{token}\"}}")] {
                let found = find_all(&rules, Carrier::Text, &Bytes::from(body.clone()));
                let cards = found.into_iter().filter_map(|find| match find.kind {
                    FindKind::Card { pan, .. } => Some(pan),
                    _ => None,
                });
                let again = vault.tokenize(cards.collect(), TokenFormat::BrandFour).await.unwrap();
                let kept = |answer: &Tokenized| *answer == Tokenized::AlreadyToken;
                assert!(again.iter().all(kept), "{body} changes when it comes again");
            }
        }
    }
}

#[tokio::test]
async fn a_card_has_a_token_of_each_format_and_all_of_them_reveal_it() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let mut tokens = HashSet::new();
    for format in TokenFormat::ALL {
        let first = token(vault.tokenize(visa(), format).await.unwrap()[0]);
        assert_eq!(vault.tokenize(visa(), format).await.unwrap(), [Tokenized::Known(first)]);
        tokens.insert(first);
    }
    assert_eq!(tokens.len(), TokenFormat::ALL.len());
    for token in tokens {
        let card = vault.reveal(vec![token]).await.unwrap().pop().unwrap();
        assert_eq!(card.unwrap().expose(), b"4111111111111111");
    }
}
