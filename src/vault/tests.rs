#[cfg(test)]
mod races;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use tokio::runtime;
use tokio::sync::oneshot;

use super::opening::Opening;
use super::store::sqlite::SqliteStore;
use super::store::{
    Fingerprint, Inserted, IssuedTokens, KeyRow, NewRow, StoreError, StoreFuture, TokenStore,
};
use super::worker::QUEUE_MAX;
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

/// A real store that fails and waits when the test says so, and counts its transactions.
struct Faulty {
    inner: SqliteStore,
    switches: Arc<Switches>,
}

struct Switches {
    full: AtomicBool,
    finds: AtomicUsize,
    inserts: AtomicUsize,
    /// A transaction takes one permit.
    gate: tokio::sync::Semaphore,
}

impl Faulty {
    async fn outage(&self) -> Result<(), StoreError> {
        self.switches.gate.acquire().await.unwrap().forget();
        if self.switches.full.load(Ordering::SeqCst) {
            let source = Box::new(io::Error::other("no room"));
            return Err(StoreError::Down { outage: Outage::Full, source });
        }
        Ok(())
    }
}

impl TokenStore for Faulty {
    fn keys<'a>(&'a self, offered: &'a [KeyRow]) -> StoreFuture<'a, Vec<KeyRow>> {
        self.inner.keys(offered)
    }

    fn find<'a>(&'a self, prints: &'a [Fingerprint]) -> StoreFuture<'a, Vec<SealedRow>> {
        self.switches.finds.fetch_add(1, Ordering::SeqCst);
        self.inner.find(prints)
    }

    fn insert<'a>(&'a self, rows: &'a [NewRow]) -> StoreFuture<'a, Vec<Inserted>> {
        Box::pin(async move {
            self.switches.inserts.fetch_add(1, Ordering::SeqCst);
            self.outage().await?;
            self.inner.insert(rows).await
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.outage().await?;
            self.inner.check().await
        })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.inner.close()
    }

    fn issued(&self) -> Option<&dyn IssuedTokens> {
        self.inner.issued()
    }
}

async fn faulty(folder: &Path, permits: usize) -> (Vault, Arc<Switches>) {
    let switches = Arc::new(Switches {
        full: AtomicBool::new(false),
        finds: AtomicUsize::new(0),
        inserts: AtomicUsize::new(0),
        gate: tokio::sync::Semaphore::new(permits),
    });
    let (path, shared) = (folder.join("vault.db"), Arc::clone(&switches));
    let open = move || -> Opening {
        Box::pin(async move {
            let inner = SqliteStore::open(&path).await?;
            let store: Box<dyn TokenStore> = Box::new(Faulty { inner, switches: shared });
            Ok(store)
        })
    };
    let ring = masters(1, None).obtain(IfMissing::Refuse).unwrap();
    let vault =
        Vault::start(open, (CodesPlace::Memory, TTL), masters(1, None), ring).await.ok().unwrap();
    (vault, switches)
}

async fn until_ready(vault: &Vault) {
    let mut health = vault.health.subscribe();
    let ready = health.wait_for(|health| *health == Health::Ready);
    // What it gives keeps the value locked: drop it here.
    drop(timeout(Duration::from_secs(30), ready).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_full_disk_refuses_cards_and_room_brings_the_vault_back_without_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, switches) = faulty(folder.path(), 1000).await;
    let known = vault.tokenize(vec![card(1)], FORMAT).await.unwrap();
    switches.full.store(true, Ordering::SeqCst);
    let full = VaultError::Unavailable { cause: Outage::Full };
    assert_eq!(vault.tokenize(visa(), FORMAT).await, Err(full));
    assert_eq!(vault.health(), Health::Failing { cause: Outage::Full });
    // What is stored can still be had.
    let again = vault.tokenize(vec![card(1)], FORMAT).await.unwrap();
    assert_eq!(again, [Tokenized::Known(token(known[0]))]);
    switches.full.store(false, Ordering::SeqCst);
    until_ready(&vault).await;
    assert!(vault.tokenize(visa(), FORMAT).await.is_ok());
}

/// Waits, on the vault's own queue, until so many calls stand in it.
async fn until_queued(vault: &Vault, calls: usize) {
    let wait = async {
        while QUEUE_MAX - vault.insertions.capacity() != calls {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap();
}

#[tokio::test]
async fn calls_that_wait_for_a_commit_share_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut vault, switches) = faulty(folder.path(), 0).await;
    vault.deadline = Duration::from_secs(60);
    let first = vault.tokenize(vec![card(0)], FORMAT);
    let rest = (1..50).map(|number| vault.tokenize(vec![card(number)], FORMAT));
    let started = async {
        let begun = async {
            while switches.inserts.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), begun).await.unwrap();
    };
    let later = async {
        started.await;
        let open = async {
            until_queued(&vault, 49).await;
            switches.gate.add_permits(1000);
        };
        futures_util::future::join(futures_util::future::join_all(rest), open).await.0
    };
    let (first, rest) = futures_util::future::join(first, later).await;
    assert!(first.is_ok() && rest.iter().all(Result::is_ok));
    assert_eq!(switches.inserts.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_store_that_hangs_is_refused_in_time_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut vault, switches) = faulty(folder.path(), 0).await;
    vault.deadline = Duration::from_millis(50);
    let stalled = VaultError::Unavailable { cause: Outage::Stalled };
    assert_eq!(vault.tokenize(visa(), FORMAT).await, Err(stalled));
    assert_eq!(vault.health(), Health::Failing { cause: Outage::Stalled });
    switches.gate.add_permits(1000);
    until_ready(&vault).await;
    vault.deadline = CALL_DEADLINE;
    // The hung transaction was committed after all: the card has its one token.
    let again = vault.tokenize(visa(), FORMAT).await.unwrap();
    assert!(matches!(again.as_slice(), [Tokenized::Known(_)]));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, switches) = faulty(folder.path(), 0).await;
    let mut waiting = Vec::new();
    loop {
        let (reply, answer) = oneshot::channel();
        if vault.insertions.try_send(Insertion { rows: Vec::new(), reply }).is_err() {
            break;
        }
        waiting.push(answer);
    }
    let busy = VaultError::Unavailable { cause: Outage::Busy };
    // The worker may have taken its first group meanwhile; what it left is filled up.
    while switches.inserts.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    while let Ok(room) = vault.insertions.try_reserve() {
        let (reply, answer) = oneshot::channel();
        room.send(Insertion { rows: Vec::new(), reply });
        waiting.push(answer);
    }
    assert_eq!(vault.tokenize(visa(), FORMAT).await, Err(busy));
    switches.gate.add_permits(1000);
}

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
