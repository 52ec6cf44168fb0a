//! Against real servers; few tests with many checks, as each test starts a server of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{StoreKeeper, contract};
use super::*;
use crate::vault::{CALL_DEADLINE, Outage};

#[expect(dead_code, reason = "the wire tests use the rest")]
#[path = "../../../../tests/integration/harness/postgres.rs"]
mod server;

use self::server::Postgres;

fn address(url: &str) -> Arc<PostgresAddress> {
    Arc::new(PostgresAddress::parse(url, Path::new("/")).unwrap())
}

async fn try_open(url: &str) -> Result<PostgresStore, PostgresOpenError> {
    PostgresStore::open(&address(url)).await
}

async fn opened(url: &str) -> PostgresStore {
    try_open(url).await.unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

/// A store with keys, in a database of its own.
async fn ready(server: &Postgres, name: &str) -> PostgresStore {
    server.database(name);
    let store = opened(&server.url(name)).await;
    let _keys = store.keys(&contract::offer(1)).await.unwrap();
    store
}

/// How a call fails; and that it does in time.
async fn outage<T>(call: impl Future<Output = Result<T, StoreError>>) -> Outage {
    let begun = Instant::now();
    let failure = call.await.err().expect("the store works");
    assert!(begun.elapsed() < CALL_DEADLINE, "{failure} took {:?}", begun.elapsed());
    match failure {
        StoreError::Down { outage, .. } => outage,
        StoreError::Damaged { column } => panic!("{column} is damaged"),
    }
}

async fn found(store: &PostgresStore, card: u8) -> usize {
    store.find(&contract::either(&[card])).await.unwrap().len()
}

async fn insert(store: &PostgresStore, card: u8, token: u8) -> Inserted {
    store.insert(&[contract::row(card, token)]).await.unwrap()[0]
}

/// Repeats a call until it works.
async fn eventually<T>(mut call: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(done) = call().await {
            return done;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it never works");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_contract_of_a_store_is_kept() {
    let Some(server) = Postgres::start(&[]) else { return };
    for (number, check) in contract::CHECKS.iter().enumerate() {
        let name = format!("contract{number}");
        server.database(&name);
        let url = server.url(&name);
        let open = || -> contract::Opened<'_> {
            Box::pin(async {
                let store: Box<dyn StoreKeeper> = Box::new(opened(&url).await);
                store
            })
        };
        check(&open).await;
    }
    eight_instances_that_start_at_once_agree_on_the_keys(&server).await;
    instances_that_insert_at_once_agree(&server).await;
    large_and_small_groups_at_once_agree(&server).await;
    both_lookups_use_an_index(&server).await;
    a_newer_vault_is_refused_untouched(&server).await;
    what_is_no_vault_of_ours_is_refused_untouched(&server).await;
    a_role_that_may_not_create_tables_can_serve(&server).await;
}

async fn eight_instances_that_start_at_once_agree_on_the_keys(server: &Postgres) {
    server.database("start");
    let url = server.socket_url("start");
    assert_eq!(PostgresStore::peek(&address(&url)).await.unwrap(), []);
    assert_eq!(
        server.sql("start", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0"
    );
    let start = |seed| {
        let url = &url;
        async move { opened(url).await.keys(&contract::offer(seed)).await.unwrap() }
    };
    let keys = futures_util::future::join_all((1..9).map(start)).await;
    assert!(keys.iter().all(|others| *others == keys[0] && others.len() == 2));
    assert_eq!(PostgresStore::peek(&address(&url)).await.unwrap(), keys[0]);
}

async fn instances_that_insert_at_once_agree(server: &Postgres) {
    let one = ready(server, "race").await;
    let other = opened(&server.url("race")).await;
    for group in 0..10 {
        // The same cards under other tokens, in the reverse order.
        let ours: Vec<_> =
            (1..6).map(|n| contract::row(group * 5 + n, group * 5 + n + 50)).collect();
        let theirs: Vec<_> =
            (1..6).rev().map(|n| contract::row(group * 5 + n, group * 5 + n + 100)).collect();
        let (ours, theirs) = tokio::join!(one.insert(&ours), other.insert(&theirs));
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        for (mine, other) in ours.into_iter().zip(theirs.into_iter().rev()) {
            let agreed = match (mine, other) {
                (Inserted::Created(mine), Inserted::Known(other))
                | (Inserted::Known(mine), Inserted::Created(other)) => mine == other,
                _ => false,
            };
            assert!(agreed, "{mine:?} and {other:?}");
        }
    }
    for n in 151..200 {
        // Each draws the other's card.
        let (ours, theirs) = ([contract::row(n, n + 50)], [contract::row(n + 50, n)]);
        let (ours, theirs) = tokio::join!(one.insert(&ours), other.insert(&theirs));
        let both = [ours.unwrap()[0], theirs.unwrap()[0]];
        let created = both.iter().filter(|done| matches!(done, Inserted::Created(_))).count();
        assert!(created == 1 && both.contains(&Inserted::IsToken), "{both:?}");
    }
}

/// Groups of one lock each and groups of one lock for all, that name the same cards.
async fn large_and_small_groups_at_once_agree(server: &Postgres) {
    let one = ready(server, "sizes").await;
    let other = opened(&server.url("sizes")).await;
    for round in 0..10 {
        let ours: Vec<_> = (0..100).map(|n| numbered(round * 100 + n, 0)).collect();
        let theirs: Vec<_> = (50..60).rev().map(|n| numbered(round * 100 + n, 1)).collect();
        let (large, small) = tokio::join!(one.insert(&ours), other.insert(&theirs));
        let (large, small) = (large.unwrap(), small.unwrap());
        for (mine, other) in large[50..60].iter().zip(small.iter().rev()) {
            assert_eq!(kept(*mine), kept(*other));
        }
    }
}

fn kept(done: Inserted) -> Token {
    match done {
        Inserted::Created(token) | Inserted::Known(token) => token,
        Inserted::IsToken | Inserted::KeyGone | Inserted::TokenTaken => panic!("{done:?}"),
    }
}

/// A card under one of two tokens.
fn numbered(card: u32, choice: u8) -> NewRow {
    let mut new = contract::row(0, 0);
    let print = |kind: u8| {
        let mut print = Fingerprint([kind; 32]);
        print.0[..4].copy_from_slice(&card.wrapping_mul(0x9E37_79B1).to_be_bytes());
        print
    };
    new.row.token = Token::parse(format!("40000{choice}{card:010}").as_bytes()).unwrap();
    (new.row.card_print, new.row.token_print) = (print(7), print(choice));
    new
}

async fn both_lookups_use_an_index(server: &Postgres) {
    let store = ready(server, "plans").await;
    let mut held = store.reader.hold().await.unwrap();
    let find = FIND.replace("$1", "'{}'::bytea[]").replace("$2", "'{}'::bytea[]");
    let explain = format!("EXPLAIN {find}");
    let plan = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(&mut held.connection).await;
    let steps: Vec<String> = plan.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(steps.iter().filter(|step| step.contains("Index")).count() >= 2, "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("Seq Scan")), "{steps:?}");
}

async fn a_newer_vault_is_refused_untouched(server: &Postgres) {
    let _store = ready(server, "newer").await;
    let (url, tables) = (server.url("newer"), "SELECT relname FROM pg_class ORDER BY 1");
    let before = server.sql("newer", tables);
    server.sql("newer", "INSERT INTO _sqlx_migrations SELECT 2, 'x', now(), true, '\\x00', 0");
    let refused = PostgresStore::peek(&address(&url)).await.err().unwrap();
    assert!(matches!(refused, PostgresOpenError::Newer { version: 2, .. }), "{refused}");
    let refused = try_open(&url).await.err().unwrap();
    assert!(matches!(refused, PostgresOpenError::Newer { version: 2, .. }), "{refused}");
    assert_eq!(server.sql("newer", tables), before);
}

async fn what_is_no_vault_of_ours_is_refused_untouched(server: &Postgres) {
    let refused = async |name: &str| {
        let (url, facts) = (server.url(name), "SELECT oid, relname FROM pg_class ORDER BY 1");
        let before = server.sql(name, facts);
        let peeked = PostgresStore::peek(&address(&url)).await.err().unwrap();
        let opened = try_open(&url).await.err().unwrap();
        assert_eq!(peeked.to_string(), opened.to_string());
        assert_eq!(server.sql(name, facts), before);
        assert!(opened.to_string().contains("nothing was changed"), "{opened}");
        opened
    };
    server.database("shop");
    server.sql("shop", "CREATE TABLE tokens (id int)");
    let said = refused("shop").await;
    assert!(
        matches!(&said, PostgresOpenError::Foreign { table, .. } if table == "tokens"),
        "{said}"
    );
    let _store = ready(server, "older").await;
    server.sql("older", "UPDATE _sqlx_migrations SET checksum = '\\x00'");
    assert!(matches!(refused("older").await, PostgresOpenError::Unlike { .. }));
    let _store = ready(server, "other").await;
    server.sql("other", "UPDATE _sqlx_migrations SET version = 20260101000000");
    assert!(matches!(refused("other").await, PostgresOpenError::Unlike { .. }));
}

async fn a_role_that_may_not_create_tables_can_serve(server: &Postgres) {
    let _store = ready(server, "roles").await;
    server.sql(
        "roles",
        "CREATE ROLE clerk LOGIN; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO clerk",
    );
    let url = server.url("roles").replace(server::USER, "clerk");
    let store = opened(&url).await;
    assert!(matches!(insert(&store, 1, 2).await, Inserted::Created(_)));
    store.check().await.unwrap();
}

#[tokio::test]
async fn every_outage_is_named_in_time_and_heals_by_itself() {
    let Some(mut server) = Postgres::start(&[]) else { return };
    let store = ready(&server, "vault").await;
    assert!(matches!(insert(&store, 1, 2).await, Inserted::Created(_)));

    server.stop();
    assert_eq!(outage(store.find(&Sought::default())).await, Outage::Unreachable);
    assert_eq!(outage(store.insert(&[contract::row(3, 4)])).await, Outage::Unreachable);
    assert_eq!(outage(store.check()).await, Outage::Unreachable);
    server.start_again();
    assert_eq!(found(&store, 1).await, 1);
    assert!(matches!(insert(&store, 3, 4).await, Inserted::Created(_)));

    server.kill9();
    assert_eq!(outage(store.insert(&[contract::row(5, 6)])).await, Outage::Unreachable);
    server.start_again();
    assert!(matches!(insert(&store, 5, 6).await, Inserted::Created(_)));
    assert!(matches!(insert(&store, 3, 7).await, Inserted::Known(_)));

    // A black hole: what stands neither answers nor ends.
    server.freeze();
    assert_eq!(outage(store.insert(&[contract::row(8, 9)])).await, Outage::Stalled);
    assert_eq!(outage(store.find(&contract::either(&[1]))).await, Outage::Stalled);
    server.thaw();
    // The server may have carried out what nobody waited for; the card has one token all the same.
    let healed = insert(&store, 8, 10).await;
    assert!(matches!(healed, Inserted::Created(_) | Inserted::Known(_)), "{healed:?}");
    assert_eq!(found(&store, 8).await, 1);
    let abandoned = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tillgate' \
                     AND state <> 'idle' AND pid <> pg_backend_pid() AND datname = 'vault'";
    eventually(async || (server.sql("postgres", abandoned) == "0").then_some(())).await;

    let read_only = |on: &str| {
        server.sql("vault", &format!("ALTER SYSTEM SET default_transaction_read_only = {on}"));
        server.sql("vault", "SELECT pg_reload_conf()");
    };
    read_only("on");
    let refused = async |card| store.insert(&[contract::row(card, card + 1)]).await.err();
    eventually(async || match refused(20).await {
        Some(StoreError::Down { outage: Outage::ReadOnly, .. }) => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(outage(store.check()).await, Outage::ReadOnly);
    assert_eq!(found(&store, 1).await, 1, "what can be read is");
    read_only("off");
    eventually(async || store.check().await.ok()).await;

    // Another's lock on a fingerprint, as an instance would hold it that hangs in its commit.
    let other = opened(&server.url("vault")).await;
    let mut held = other.writers.hold().await.unwrap();
    let mut transaction = held.connection.begin().await.unwrap();
    // The first two bytes of the fingerprint.
    let lock = "SELECT pg_advisory_xact_lock(1953066092, 30 * 256 + 30)";
    sqlx::query(lock).execute(&mut *transaction).await.unwrap();
    assert_eq!(outage(store.insert(&[contract::row(30, 31)])).await, Outage::Locked);
    assert!(matches!(insert(&store, 32, 33).await, Inserted::Created(_)), "others go on");
    transaction.rollback().await.unwrap();
    assert!(matches!(insert(&store, 30, 31).await, Inserted::Created(_)));

    server.stop();
    assert_eq!(outage(store.check()).await, Outage::Unreachable);
    server.set(&["fsync=off"]);
    server.start_again();
    assert_eq!(outage(store.check()).await, Outage::Unfit);
    let refused = try_open(&server.url("vault")).await.err().unwrap();
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(source.contains("fsync is off"), "{source}");
}

#[tokio::test]
async fn a_failover_to_the_standby_heals_without_a_restart_and_loses_nothing() {
    let Some(mut primary) = Postgres::start(&[]) else { return };
    primary.database("vault");
    let standby = primary.standby(&[]);
    primary.sql("vault", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.sql("vault", "SELECT pg_reload_conf()");
    // The standby first: it does not count as long as it takes no writes.
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    let url = format!("postgres://{}@{hosts}/vault", server::USER);
    let alone = format!("postgres://{}@127.0.0.1:{}/vault", server::USER, standby.port());
    let store = opened(&url).await;
    let _keys = store.keys(&contract::offer(1)).await.unwrap();
    assert!(matches!(insert(&store, 1, 2).await, Inserted::Created(_)));
    let refused = try_open(&alone).await.err().unwrap();
    let PostgresOpenError::Connect { source: PostgresFailure::ReadOnly, .. } = refused else {
        panic!("{refused:?}");
    };
    primary.kill9();
    assert_eq!(outage(store.insert(&[contract::row(3, 4)])).await, Outage::ReadOnly);
    assert_eq!(outage(store.find(&Sought::default())).await, Outage::ReadOnly, "a standby may lag");
    standby.sql("vault", "SELECT pg_promote()");
    eventually(async || store.insert(&[contract::row(3, 4)]).await.ok()).await;
    assert_eq!(found(&store, 1).await, 1);
    assert!(matches!(insert(&store, 1, 5).await, Inserted::Known(_)));
}

#[tokio::test]
async fn the_server_is_verified_and_the_password_is_told_to_nobody_else() {
    let Some(mut server) = Postgres::start(&[]) else { return };
    server.database("vault");
    server.sql("vault", "ALTER ROLE tillgate PASSWORD 'correct horse'");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    server.file("server.crt", &made.cert.pem());
    server.file("server.key", &made.signing_key.serialize_pem());
    server.file("pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = [("ours", &made), ("theirs", &other)].map(|(name, made)| {
        let path = folder.path().join(name);
        std::fs::write(&path, made.cert.pem()).unwrap();
        path.display().to_string()
    });
    server.stop();
    server.set(&["ssl=on"]);
    server.start_again();
    let port = server.port();
    let url = |login: &str, host: &str, query: &str| {
        format!("postgres://{login}@{host}:{port}/vault?{query}")
    };
    let (right, verified) =
        ("tillgate:correct%20horse", format!("sslmode=verify-full&sslrootcert={ours}"));
    let store = opened(&url(right, "localhost", &verified)).await;
    let mut held = store.writers.hold().await.unwrap();
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let encrypted: bool =
        sqlx::query_scalar(encrypted).fetch_one(&mut held.connection).await.unwrap();
    assert!(encrypted);
    for tolerant in ["sslmode=require", "sslmode=prefer"] {
        opened(&url(right, "127.0.0.1", tolerant)).await;
    }
    let refused = [
        url(right, "127.0.0.1", &verified),
        url(right, "localhost", &format!("sslmode=verify-full&sslrootcert={theirs}")),
        url(right, "localhost", "sslmode=verify-full"),
        url(right, "localhost", "sslmode=disable"),
        url("tillgate:wrong%20horse", "localhost", &verified),
    ];
    for url in refused {
        let refused = try_open(&url).await.err().unwrap();
        let PostgresOpenError::Connect { source, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!(source.outage(), Outage::Denied, "{source}");
        assert!(!format!("{refused} {refused:?} {source}").contains("horse"));
    }
    assert!(!server.log().contains("horse"));
}
