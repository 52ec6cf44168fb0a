//! SQLite alone: what the contract of all stores does not say.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::super::{StoreKeeper, contract};
use super::*;

async fn in_folder(folder: &Path) -> SqliteStore {
    SqliteStore::open_waiting(&folder.join("vault.db"), Duration::ZERO).await.unwrap()
}

async fn down(store: &SqliteStore, row: NewRow) -> Outage {
    match store.insert(&[row]).await.err().unwrap() {
        StoreError::Down { outage, .. } => outage,
        StoreError::Damaged { column } => panic!("{column} is damaged"),
    }
}

#[tokio::test]
async fn the_contract_of_a_store_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    for (number, check) in contract::CHECKS.iter().enumerate() {
        let path = folder.path().join(number.to_string()).join("vault.db");
        let open = || -> contract::Opened<'_> {
            Box::pin(async {
                let store: Box<dyn StoreKeeper> = Box::new(SqliteStore::open(&path).await.unwrap());
                store
            })
        };
        check(&open).await;
    }
}

#[tokio::test]
async fn files_are_private_even_where_they_were_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let store = in_folder(&data).await;
    assert_eq!(mode(&data), 0o700);
    for name in ["vault.db", "vault.db-wal", "vault.db-shm"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
        fs::set_permissions(data.join(name), Permissions::from_mode(0o644)).unwrap();
    }
    let _again = in_folder(&data).await;
    for name in ["vault.db", "vault.db-wal", "vault.db-shm"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    drop(store);
}

#[tokio::test]
async fn a_full_disk_is_named_and_room_brings_the_store_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = in_folder(folder.path()).await;
    let _keys = store.keys(&contract::offer(1)).await.unwrap();
    let mut writer = store.writer.acquire().await.unwrap();
    // A limit of this one connection, far below what the row needs.
    sqlx::query("PRAGMA max_page_count = 1").execute(&mut *writer).await.unwrap();
    drop(writer);
    let mut row = contract::row(1, 1);
    row.row.sealed = vec![0; 1 << 16];
    assert_eq!(down(&store, row).await, Outage::Full);
    assert!(matches!(
        store.insert(&[contract::row(1, 1)]).await.unwrap().as_slice(),
        [Inserted::Created(_)]
    ));
}

#[tokio::test]
async fn a_lock_held_by_another_is_named_and_its_end_brings_the_store_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = in_folder(folder.path()).await;
    let _keys = store.keys(&contract::offer(1)).await.unwrap();
    let other = in_folder(folder.path()).await;
    let mut holder = other.writer.acquire().await.unwrap();
    let held = holder.begin_with(BEGIN).await.unwrap();
    assert_eq!(down(&store, contract::row(1, 1)).await, Outage::Locked);
    held.rollback().await.unwrap();
    assert!(matches!(
        store.insert(&[contract::row(1, 1)]).await.unwrap().as_slice(),
        [Inserted::Created(_)]
    ));
}

#[tokio::test]
async fn both_lookups_use_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = in_folder(folder.path()).await;
    let mut reader = store.readers.acquire().await.unwrap();
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {FIND}"));
    let plan = sqlx::query(explain).bind("[]").fetch_all(&mut *reader).await.unwrap();
    let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
    assert!(!steps.iter().any(|step| step.contains("SCAN tokens")), "{steps:?}");
}
