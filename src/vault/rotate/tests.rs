use std::fs;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::super::intake::{Incoming, Wish};
use super::super::tests::{FORMAT, card, masters, opened, pan, settings, tamper, token};
use super::super::{StorePlace, Tokenized, Vault, VaultError};
use super::master::MasterRotation;
use super::*;
use crate::keys::{FileKey, IfMissing, MasterKeys};

async fn keeper(folder: &Path) -> Keeper {
    Keeper::open(&settings(folder).store, masters(1, None), IfMissing::Refuse).await.ok().unwrap()
}

async fn filled(vault: &Vault, cards: usize) -> Vec<Token> {
    let answers = vault.tokenize((0..cards).map(card).collect(), FORMAT).await.unwrap();
    answers.into_iter().map(token).collect()
}

async fn assert_revealed(vault: &Vault, tokens: &[Token]) {
    let numbers = tokens.iter().map(|token| pan(token.as_bytes())).collect();
    let cards = vault.reveal(numbers).await.unwrap();
    for (number, found) in cards.iter().enumerate() {
        assert_eq!(found.as_ref().unwrap().expose(), card(number).expose());
    }
}

async fn rotate(folder: &Path) -> Rotated {
    keeper(folder).await.rotate(None, &mut |_| ()).await.ok().unwrap()
}

#[tokio::test]
async fn every_row_lies_under_the_new_key_and_a_running_instance_reveals_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let tokens = filled(&vault, GROUP_MAX + 10).await;
    let before = keeper(folder.path()).await.store.census().await.unwrap();
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    vault.listen_to_keys(Box::new(move |event| listener.lock().push(event)));
    let mut seen = Vec::new();
    let mut command = keeper(folder.path()).await;
    let rotated = command.rotate(None, &mut |progress| seen.push(progress)).await.ok().unwrap();
    let rows = count(tokens.len());
    assert_eq!(rotated, Rotated { resumed: false, rows, dropped: 1 });
    assert_eq!(seen.last(), Some(&RotateProgress { seen: rows, total: rows }));
    // At once: the instance has not read the keys since.
    assert_revealed(&vault, &tokens).await;
    let known = vault.tokenize(vec![card(3)], FORMAT).await.unwrap();
    assert_eq!(known, [Tokenized::Known(tokens[3])]);
    let created = vault.tokenize(vec![card(9_999)], FORMAT).await.unwrap();
    assert!(matches!(created.as_slice(), [Tokenized::Created(_)]));
    let after = command.store.census().await.unwrap();
    let (old, new) = (seal_facts(&before), seal_facts(&after));
    assert_eq!((old.len(), new.len()), (1, 1));
    assert!(old[0].0 != new[0].0 && new[0].1 == rows + 1);
    let told: Vec<_> =
        told.lock().iter().map(|event| (event.change.as_str(), event.key.clone())).collect();
    assert_eq!(told, [("added", new[0].0.to_string()), ("dropped", old[0].0.to_string())]);
    drop(vault);
    assert_revealed(&opened(folder.path()).await, &tokens).await;
}

fn seal_facts(census: &super::super::store::Census) -> Vec<(KeyId, u64)> {
    let seals = census.keys.iter().filter(|key| key.purpose == KeyPurpose::Seal);
    seals.map(|key| (key.id, key.rows)).collect()
}

#[tokio::test]
async fn an_instance_that_has_not_heard_of_the_new_key_seals_under_it_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let _rotated = rotate(folder.path()).await;
    // No lookup told it: its first row is refused by the store, and sealed again.
    let tokens = filled(&vault, 1).await;
    assert_revealed(&opened(folder.path()).await, &tokens).await;
}

/// A future that is dropped after so many polls, as a process is killed.
struct Killed<F> {
    work: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.work.as_mut().poll(context).map(Some)
    }
}

#[tokio::test]
async fn a_rotation_killed_anywhere_loses_nothing_and_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let tokens = filled(&vault, 40).await;
    let (mut done, mut polls, mut kills) = (None, 1, 0);
    while done.is_none() {
        let mut command = keeper(folder.path()).await;
        let rate = NonZeroU32::new(8);
        let mut tell = |_| ();
        let work = Box::pin(async {
            // Pages of eight rows, without waiting for the clock.
            tokio::time::timeout(Duration::from_secs(30), command.rotate(rate, &mut tell)).await
        });
        done = pin!(Killed { work, polls }).await;
        kills += 1;
        polls += 1;
        assert_revealed(&vault, &tokens).await;
        assert_revealed(&opened(folder.path()).await, &tokens).await;
    }
    let rotated = done.unwrap().unwrap().ok().unwrap();
    assert!(kills > 5, "killed {kills} times only");
    let census = keeper(folder.path()).await.store.census().await.unwrap();
    assert_eq!(seal_facts(&census).len(), 1);
    assert!(rotated.dropped <= 1);
}

#[tokio::test]
async fn rows_that_do_not_open_are_named_and_keep_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let tokens = filled(&vault, 3).await;
    drop(vault);
    tamper(
        folder.path(),
        "UPDATE tokens SET sealed = zeroblob(40) WHERE id = (SELECT min(id) FROM tokens)",
    )
    .await;
    let refused = keeper(folder.path()).await.rotate(None, &mut |_| ()).await.err().unwrap();
    let RotateError::Damaged { count: 1, tokens: named } = &refused else { panic!("{refused}") };
    assert_eq!(named.as_slice(), &tokens[..1]);
    let census = keeper(folder.path()).await.store.census().await.unwrap();
    let rows: Vec<_> = seal_facts(&census).into_iter().map(|(_, rows)| rows).collect();
    assert_eq!(rows, [1, 2]);
    let vault = opened(folder.path()).await;
    let damaged = vault.reveal(vec![pan(tokens[0].as_bytes())]).await;
    assert_eq!(damaged.err(), Some(VaultError::Damaged));
    assert!(vault.reveal(vec![pan(tokens[1].as_bytes())]).await.is_ok());
}

fn in_file(folder: &Path) -> Arc<MasterKeys> {
    let path = folder.join("master.key");
    Arc::new(MasterKeys { current: Box::new(FileKey { path }), previous: None })
}

async fn file_vault(folder: &Path) -> Vault {
    Vault::open(settings(folder), in_file(folder)).await.ok().unwrap()
}

async fn file_keeper(folder: &Path) -> Keeper {
    Keeper::open(&settings(folder).store, in_file(folder), IfMissing::Refuse).await.ok().unwrap()
}

#[tokio::test]
async fn a_key_file_killed_after_any_step_opens_the_vault_and_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let running = file_vault(folder.path()).await;
    let audit = *running.audit_key().expose();
    let tokens = filled(&running, 3).await;
    let old = fs::read(folder.path().join("master.key")).unwrap();
    let mut steps = Vec::new();
    loop {
        // Everything is read anew, as by a command that knows nothing of the last one.
        let mut command = file_keeper(folder.path()).await;
        let mut rotation = MasterRotation::begin(&command).ok().unwrap();
        if matches!(rotation, MasterRotation::File { fresh: true, .. }) && !steps.is_empty() {
            break;
        }
        steps.extend(rotation.step(&mut command).await.ok().unwrap());
        assert_revealed(&running, &tokens).await;
        let restarted = file_vault(folder.path()).await;
        assert_revealed(&restarted, &tokens).await;
        assert_eq!(restarted.audit_key().expose(), &audit);
    }
    let all = [
        MasterStep::Made,
        MasterStep::Wrapped,
        MasterStep::Kept,
        MasterStep::Swapped,
        MasterStep::Dropped,
        MasterStep::Forgotten,
    ];
    assert_eq!(steps, all);
    assert_ne!(fs::read(folder.path().join("master.key")).unwrap(), old);
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("master"))
        .collect();
    assert_eq!(names, ["master.key"]);
    // The old key opens nothing any more.
    fs::write(folder.path().join("master.key"), old).unwrap();
    let refused = Vault::open(settings(folder.path()), in_file(folder.path())).await.err().unwrap();
    assert!(matches!(refused, super::super::OpenError::WrongMasterKey), "{refused}");
}

#[tokio::test]
async fn a_running_instance_takes_up_the_new_key_file_with_the_next_data_key() {
    let folder = tempfile::tempdir().unwrap();
    let running = file_vault(folder.path()).await;
    let tokens = filled(&running, 3).await;
    let steps = file_keeper(folder.path()).await.rotate_master(&mut |_| ()).await.ok().unwrap();
    assert_eq!(steps, 6);
    let rotated = file_keeper(folder.path()).await.rotate(None, &mut |_| ()).await.ok().unwrap();
    assert_eq!(rotated.rows, 3);
    assert_revealed(&running, &tokens).await;
}

#[tokio::test]
async fn a_configured_new_key_wraps_everything_and_the_old_one_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let tokens = filled(&vault, 3).await;
    drop(vault);
    let place = settings(folder.path()).store;
    let open = |current, previous| {
        let place = place.clone();
        async move { Keeper::open(&place, masters(current, previous), IfMissing::Refuse).await }
    };
    // What cannot be replaced in its place says what to do.
    let refused = open(1, None).await.ok().unwrap().rotate_master(&mut |_| ()).await.err().unwrap();
    assert!(refused.to_string().contains("previous_master_key"), "{refused}");
    let refused = open(1, Some(1)).await.ok().unwrap().rotate_master(&mut |_| ()).await.err();
    assert!(matches!(refused, Some(RotateError::SameKey)));

    let mut command = open(2, Some(1)).await.ok().unwrap();
    let mut rotation = MasterRotation::begin(&command).ok().unwrap();
    assert_eq!(rotation.step(&mut command).await.ok().unwrap(), Some(MasterStep::Wrapped));
    // Killed here: each of the two opens it, and a new data key waits for the end.
    for seed in [1, 2] {
        let vault = Vault::open(settings(folder.path()), masters(seed, None)).await.ok().unwrap();
        assert_revealed(&vault, &tokens).await;
        let refused = open(seed, None).await.ok().unwrap().rotate(None, &mut |_| ()).await.err();
        assert!(matches!(refused, Some(RotateError::MasterReplacing)));
    }
    let mut steps = Vec::new();
    let mut command = open(2, Some(1)).await.ok().unwrap();
    assert_eq!(command.rotate_master(&mut |step| steps.push(step)).await.ok(), Some(1));
    assert_eq!(steps, [MasterStep::Dropped]);
    assert_eq!(command.rotate_master(&mut |_| ()).await.ok(), Some(0));
    assert!(open(1, None).await.is_err());
    let vault = Vault::open(settings(folder.path()), masters(2, None)).await.ok().unwrap();
    assert_revealed(&vault, &tokens).await;
}

#[tokio::test]
async fn a_wrong_or_missing_key_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let vault = file_vault(folder.path()).await;
    let _tokens = filled(&vault, 3).await;
    vault.close().await;
    drop(vault);
    // The database's own files go when its last connection does, on a thread of its own.
    let log = folder.path().join("vault.db-wal");
    let closed = async {
        while log.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();
    let content = || -> Vec<_> {
        let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let key = folder.path().join("master.key");
    let bytes = fs::read(&key).unwrap();
    for changed in [Some(vec![7; bytes.len()]), None] {
        match &changed {
            Some(wrong) => fs::write(&key, wrong).unwrap(),
            None => fs::remove_file(&key).unwrap(),
        }
        let before = content();
        let refused = Vault::open(settings(folder.path()), in_file(folder.path())).await.err();
        assert!(refused.unwrap().to_string().contains("key"));
        let place = settings(folder.path()).store;
        assert!(Keeper::open(&place, in_file(folder.path()), IfMissing::Refuse).await.is_err());
        assert!(content() == before, "a refused start changed a file");
    }
    let absent = folder.path().join("absent.db");
    let place = StorePlace::Sqlite(absent.clone());
    assert!(Keeper::open(&place, in_file(folder.path()), IfMissing::Create).await.is_err());
    assert!(!absent.exists() && !key.exists());
}

#[tokio::test]
async fn where_the_new_sealing_key_does_not_open_new_cards_are_refused_and_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let vault = opened(folder.path()).await;
    let tokens = filled(&vault, 1).await;
    let mut left_behind = keeper(folder.path()).await;
    // In this order, so that no reading of the keys in between can help.
    let place = settings(folder.path()).store;
    let mut both = Keeper::open(&place, masters(2, Some(1)), IfMissing::Refuse).await.ok().unwrap();
    both.rotate_master(&mut |_| ()).await.ok().unwrap();
    let mut new = Keeper::open(&place, masters(2, None), IfMissing::Refuse).await.ok().unwrap();
    let _rotated = new.rotate(None, &mut |_| ()).await.ok().unwrap();
    let (cards, prints) = (vec![card(7)], vault.prints([card(7).expose()].into_iter()));
    let refused = vault.tokenize_group((&cards, &prints), FORMAT, None).await;
    assert_eq!(refused, Err(VaultError::KeyReplaced));
    let incoming = Incoming { card: card(7), format: FORMAT, wish: Wish::Any };
    let refused = left_behind.take_in(&[incoming]).await.err();
    assert_eq!(refused, Some(VaultError::KeyReplaced));
    let known = vault.tokenize(vec![card(0)], FORMAT).await.unwrap();
    assert_eq!(known, [Tokenized::Known(tokens[0])]);
}
