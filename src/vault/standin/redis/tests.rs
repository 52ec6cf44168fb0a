//! Against a real server.

use std::path::Path;
use std::time::Instant;

use super::super::contract::{self, cvv, keep, take, token};
use super::*;
use crate::keys::KEY_BYTES;
use crate::link::CALL_WAIT;
use crate::link::server::Redis;
use crate::policy::RedisAddress;

const TTL: Duration = Duration::from_secs(900);
const DEADLINE: Duration = Duration::from_secs(20);

/// For what is kept: no wait of ours is the point.
async fn stand_ins(server: &Redis, key: u8, ttl: Duration) -> RedisStandIns {
    stand_ins_with(server, (key, ttl), DEADLINE).await
}

async fn stand_ins_with(
    server: &Redis,
    (key, ttl): (u8, Duration),
    patience: Duration,
) -> RedisStandIns {
    let address = Arc::new(RedisAddress::parse(&server.url(), Path::new("/")).unwrap());
    let link = Arc::new(Link::with_patience(address, CODE_KEYS, patience).await.unwrap());
    RedisStandIns::new(link, ttl, &SecretKey::from_bytes(&[key; KEY_BYTES]).unwrap())
}

/// Repeats a call until it gives something.
async fn eventually<T>(mut call: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(done) = call().await {
            return done;
        }
        assert!(begun.elapsed() < DEADLINE, "never happened");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_contract_of_stand_ins_holds_in_redis() {
    let Some(server) = Redis::start("") else { return };
    contract::holds(Arc::new(stand_ins(&server, 1, TTL).await)).await;
    assert_eq!(server.cli(&["DBSIZE"]), "0", "all were taken");
}

#[tokio::test]
async fn instances_with_one_key_share_and_others_see_nothing() {
    let Some(server) = Redis::start("") else { return };
    let (ours, theirs) = (stand_ins(&server, 1, TTL).await, stand_ins(&server, 1, TTL).await);
    let foreign = stand_ins(&server, 2, TTL).await;
    let stand_in = keep(&ours, b"123", &[token(1)]).await;
    assert_eq!(take(&foreign, &stand_in, &[token(1)]).await, None);
    assert_eq!(take(&theirs, &stand_in, &[token(1)]).await, Some(b"123".to_vec()));
    assert_eq!(take(&ours, &stand_in, &[token(1)]).await, None);
}

#[tokio::test]
async fn a_code_lives_as_long_as_the_server_says() {
    let Some(server) = Redis::start("") else { return };
    let codes = stand_ins(&server, 1, Duration::from_millis(300)).await;
    let stand_in = keep(&codes, b"123", &[token(1)]).await;
    eventually(async || (server.cli(&["DBSIZE"]) == "0").then_some(())).await;
    assert_eq!(take(&codes, &stand_in, &[token(1)]).await, None);
}

#[tokio::test]
async fn a_value_that_was_moved_or_changed_gives_no_code() {
    let Some(server) = Redis::start("") else { return };
    let codes = stand_ins(&server, 1, TTL).await;
    let first = keep(&codes, b"123", &[token(1)]).await;
    let second = keep(&codes, b"456", &[token(2)]).await;
    let name = |digits: &[u8], card| codes.name(Some(token(card)), &cvv(digits));
    server.cli(&["COPY", &name(&first, 1), &name(&second, 2), "REPLACE"]);
    assert_eq!(take(&codes, &second, &[token(2)]).await, None);
    let third = keep(&codes, b"789", &[token(3)]).await;
    let length = server.cli(&["STRLEN", &name(&third, 3)]).parse::<usize>().unwrap();
    server.cli(&["SETRANGE", &name(&third, 3), &(length - 1).to_string(), "?"]);
    let changed = take(&codes, &third, &[token(3)]).await;
    // One in 256: the byte was that already.
    assert!(changed.is_none() || changed == Some(b"789".to_vec()));
}

#[tokio::test]
async fn the_oldest_give_way_when_there_are_too_many() {
    let Some(server) = Redis::start("") else { return };
    let codes = stand_ins(&server, 1, TTL).await;
    let oldest = keep(&codes, b"123", &[token(0)]).await;
    let unbound = keep(&codes, b"123", &[]).await;
    let fill =
        format!("for n = 1, {} do redis.call('ZADD', KEYS[1], '+inf', n) end", NAMES_MAX - 2);
    server.cli(&["EVAL", &fill, "1", &codes.lists[1]]);
    let newest = keep(&codes, b"456", &[token(1)]).await;
    assert_eq!(take(&codes, &unbound, &[]).await, None, "the first to go");
    assert_eq!(take(&codes, &oldest, &[token(0)]).await, Some(b"123".to_vec()));
    assert_eq!(take(&codes, &newest, &[token(1)]).await, Some(b"456".to_vec()));
}

#[tokio::test]
async fn a_server_that_is_gone_or_mute_is_noticed_in_time_and_found_again() {
    let Some(mut server) = Redis::start("") else { return };
    let codes = stand_ins_with(&server, (1, TTL), CALL_WAIT).await;
    let fails = async || {
        let begun = Instant::now();
        let failed = codes.keep(cvv(b"123"), &[]).await.err()?;
        assert!(begun.elapsed() < CALL_WAIT + Duration::from_secs(1), "it hangs");
        Some(failed)
    };
    let works = async || codes.keep(cvv(b"123"), &[]).await.ok();
    server.freeze();
    assert_eq!(fails().await, Some(StandInError::Unavailable { cause: LinkOutage::Stalled }));
    assert!(codes.outage().is_some());
    server.thaw();
    eventually(works).await;
    server.kill9();
    let gone = StandInError::Unavailable { cause: LinkOutage::Unreachable };
    eventually(async || (fails().await == Some(gone)).then_some(())).await;
    server.start_again();
    eventually(works).await;
    assert_eq!(codes.outage(), None);
    let full = StandInError::Unavailable { cause: LinkOutage::Full };
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(fails().await, Some(full));
}

#[tokio::test]
async fn a_login_is_needed_where_the_server_asks_for_one() {
    let Some(server) = Redis::start("requirepass word\n") else { return };
    let opened = async |login: &str| {
        let url = format!("redis://{login}127.0.0.1:{}", server.port());
        let address = RedisAddress::parse(&url, Path::new("/")).unwrap();
        Link::start(Arc::new(address), CODE_KEYS).await.unwrap().outage()
    };
    assert_eq!(opened("").await, Some(LinkOutage::Denied));
    assert_eq!(opened(":wrong@").await, Some(LinkOutage::Denied));
    assert_eq!(opened(":word@").await, None);
    server.cli(&[
        "--pass",
        "word",
        "ACL",
        "SETUSER",
        "shop",
        "on",
        ">other",
        "~tillgate:*",
        "+@all",
        "-info",
    ]);
    assert_eq!(opened("shop:other@").await, None);
    assert_eq!(opened("default:word@").await, None);
}
