//! What instances share through Redis: verification codes and counts of logins.

use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

use crate::harness::{
    Client, Identity, ONLY_ACCOUNTS, Postgres, Redis, Setup, Sidecar, Upstream, cards,
    certificates, eventually,
};

/// A code of four digits, as some brands have: rarer in other bytes than three.
const CODE: &str = "9041";

fn provider() -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[("content-type", "application/json")], b"{\"ok\":true}")
    })
}

/// The `[vault]` table of an instance with these verification codes.
fn vault(codes: &str, more: &str) -> String {
    format!("[vault]\ncvv_store = \"{codes}\"\n{more}")
}

fn buy(sidecar: &Sidecar) -> (u16, String) {
    let card = cards::fresh("amex");
    let answer = sidecar.http().form("/pay", &format!("number={card}&cvv={CODE}"));
    (answer.status, answer.text())
}

/// A database and a master key, which make instances one.
struct SharedVault {
    postgres: Postgres,
    keys: TempDir,
}

impl SharedVault {
    fn start() -> Option<Self> {
        let postgres = Postgres::start(&[])?;
        postgres.database("vault");
        Some(Self { postgres, keys: tempfile::tempdir().unwrap() })
    }

    /// Keys of an instance's `[vault]`.
    fn keys(&self) -> String {
        let url = self.postgres.url("vault");
        let key: PathBuf = self.keys.path().join("master.key");
        format!("store = \"{url}\"\nmaster_key = {{ file = \"{}\" }}", key.display())
    }
}

/// A card and its code as the shop has them.
fn bought(sidecar: &Sidecar, shop: &Upstream) -> String {
    assert_eq!(buy(sidecar).0, 200);
    let seen = shop.last();
    let (token, stand_in) = (seen.form("number"), seen.form("cvv"));
    assert_ne!(stand_in, CODE);
    format!("{{\"number\":\"{token}\",\"cvv\":\"{stand_in}\"}}")
}

/// Whether the code stands somewhere by itself, not within a longer number or hash.
fn shows_code(bytes: &[u8]) -> bool {
    let inside = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    (0..bytes.len()).any(|at| {
        bytes[at..].starts_with(CODE.as_bytes())
            && !inside(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !inside(bytes.get(at + CODE.len()))
    })
}

/// Undoes the `\xHH` of the monitor, behind which a code would not stand by itself.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (hex, rest) = piece.split_at(piece.len().min(2));
        bytes.extend(u8::from_str_radix(hex, 16));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

#[test]
fn p1_a_code_that_one_instance_kept_another_reveals_once_and_redis_never_sees_it() {
    let persistent = "appendonly yes\nappendfsync always\nrdbcompression no\n";
    let Some(redis) = Redis::start(persistent) else { return };
    let Some(shared) = SharedVault::start() else { return };
    let (shop, provider) = (Upstream::ok(), provider());
    let instance = || Setup::new(&shop).gateway("pay", &provider);
    let tables = vault(&redis.url(), &shared.keys());
    let monitor = redis.monitor();
    let (keeps, reveals) = (instance().tables(&tables).start(), instance().tables(&tables).start());

    let first = bought(&keeps, &shop);
    let waiting = bought(&keeps, &shop);
    assert_eq!(reveals.gateway("pay").json("/charges", &first).status, 200);
    assert_eq!(provider.last().json()["cvv"], CODE);
    // PCI DSS 3.3.1: not kept after authorization, by any instance.
    for sidecar in [&reveals, &keeps] {
        sidecar.gateway("pay").json("/charges", &first).assert_refused(422);
    }
    assert_eq!(redis.cli(&["SAVE"]), "OK");
    let disk = redis.disk();
    // The monitor tells what was said before this, and in order.
    redis.cli(&["ECHO", "enough"]);
    let seen = eventually("the monitor catches up", || {
        let seen = unescaped(&monitor.lock().unwrap());
        seen.windows(6).any(|part| part == b"enough").then_some(seen)
    });
    assert!(disk.windows(13).any(|part| part == b"tillgate:code"), "nothing was written");
    assert!(!shows_code(&disk), "the code is on the disk of Redis");
    // As a dump writes a short number: a mark and 16 bits.
    let short = [&[0xC1_u8][..], &9041_u16.to_le_bytes()].concat();
    assert!(!disk.windows(3).any(|part| part == short), "the code is in the dump");
    assert!(seen.windows(7).any(|part| part == b"EVALSHA"), "nothing was seen");
    assert!(!shows_code(&seen), "the code was said to Redis");
    // What waits is of use to the end.
    assert_eq!(keeps.gateway("pay").json("/charges", &waiting).status, 200);
    assert_eq!(provider.last().json()["cvv"], CODE);
}

#[test]
fn a_code_is_gone_after_its_time() {
    let Some(redis) = Redis::start("") else { return };
    let (shop, provider) = (Upstream::ok(), provider());
    let tables = vault(&redis.url(), "cvv_ttl = \"500ms\"");
    let sidecar = Setup::new(&shop).gateway("pay", &provider).tables(&tables).start();
    let body = bought(&sidecar, &shop);
    eventually("the code expires", || (redis.cli(&["DBSIZE"]) == "0").then_some(()));
    sidecar.gateway("pay").json("/charges", &body).assert_refused(422);
    assert_eq!(provider.count(), 0);
}

#[test]
fn p3_without_redis_a_card_with_its_code_is_refused_and_all_else_goes_on() {
    let Some(mut redis) = Redis::start("") else { return };
    let (shop, provider) = (Upstream::ok(), provider());
    let setup = Setup::new(&shop).gateway("pay", &provider);
    let sidecar = setup.tables(&vault(&redis.url(), "")).start();
    let body = bought(&sidecar, &shop);

    redis.kill9();
    refuses_codes_only(&sidecar);
    sidecar.gateway("pay").json("/charges", &body).assert_refused(503);
    redis.start_again();
    heals(&sidecar);

    redis.freeze();
    refuses_codes_only(&sidecar);
    redis.thaw();
    heals(&sidecar);

    let body = bought(&sidecar, &shop);
    assert_eq!(sidecar.gateway("pay").json("/charges", &body).status, 200);
    assert_eq!(provider.last().json()["cvv"], CODE);
}

fn refuses_codes_only(sidecar: &Sidecar) {
    let card = cards::fresh("amex");
    let answer = sidecar.http().form("/pay", &format!("number={card}&cvv={CODE}"));
    answer.assert_refused(503);
    assert!(answer.field("retry-after").is_some());
    assert_eq!(sidecar.http().form("/pay", &format!("number={card}")).status, 200);
    assert_eq!(sidecar.http().get("/").status, 200);
    // Elsewhere it is the same, so customers stay; the metric rings.
    eventually("the outage shows", || {
        let page = sidecar.admin("/readyz");
        assert_eq!(page.status, 200);
        let told = page.text().contains("verification codes failing");
        (told && sidecar.metric("tillgate_cvv_store_failing", &[]) > 0.5).then_some(())
    });
}

/// By itself, without a restart.
fn heals(sidecar: &Sidecar) {
    eventually("codes are kept again", || (buy(sidecar).0 == 200).then_some(()));
    assert!(sidecar.metric("tillgate_cvv_store_failing", &[]) < 0.5);
    assert_eq!(sidecar.admin("/readyz").text(), "ready\n");
}

#[test]
fn an_encrypted_redis_is_used_only_with_a_certificate_of_the_named_authority() {
    let certificate = tempfile::tempdir().unwrap();
    let (chain, key) = Identity::new(&["localhost"]).write(certificate.path(), "redis");
    let folder = certificate.path().display();
    std::fs::write(certificate.path().join("ca.pem"), certificates::authority_pem()).unwrap();
    std::fs::write(certificate.path().join("other.pem"), certificates::stranger_pem()).unwrap();
    let settings = format!(
        "port 0\ntls-port {{port}}\ntls-auth-clients no\ntls-cert-file {}\ntls-key-file {}\n",
        chain.display(),
        key.display()
    );
    let Some(redis) = Redis::start(&settings) else { return };
    let shop = Upstream::ok();
    let with = |authority: &str| {
        let url = format!("rediss://localhost:{}?ca={folder}/{authority}.pem", redis.port());
        Setup::new(&shop).tables(&vault(&url, "")).start()
    };
    assert_eq!(buy(&with("ca")).0, 200);
    let refused = with("other");
    assert_eq!(buy(&refused).0, 503);
    assert!(refused.admin("/readyz").text().contains("denied"));
}

#[test]
fn an_instance_starts_without_redis_and_finds_it_later() {
    let Some(mut redis) = Redis::start("") else { return };
    let shop = Upstream::ok();
    redis.kill9();
    let sidecar = Setup::new(&shop).tables(&vault(&redis.url(), "")).start();
    refuses_codes_only(&sidecar);
    redis.start_again();
    heals(&sidecar);
}

#[test]
fn after_a_failover_the_sentinels_lead_to_the_new_primary_and_its_codes() {
    let Some(mut primary) = Redis::start("") else { return };
    let replica = primary.replica();
    let follows = || replica.cli(&["INFO"]).contains("master_link_status:up");
    eventually("the replica follows", || follows().then_some(()));
    let sentinel = primary.sentinel();
    let known = || sentinel.cli(&["SENTINEL", "REPLICAS", "shop"]).contains("127.0.0.1");
    eventually("the sentinel knows the replica", || known().then_some(()));
    let (shop, provider) = (Upstream::ok(), provider());
    let url = format!("redis+sentinel://127.0.0.1:{}/shop", sentinel.port());
    let setup = Setup::new(&shop).gateway("pay", &provider);
    let sidecar = setup.tables(&vault(&url, "")).start();
    let body = bought(&sidecar, &shop);
    let copied = primary.cli(&["DBSIZE"]);
    eventually("the code is copied", || (replica.cli(&["DBSIZE"]) == copied).then_some(()));
    primary.kill9();
    heals(&sidecar);
    assert_eq!(sidecar.gateway("pay").json("/charges", &body).status, 200);
    assert_eq!(provider.last().json()["cvv"], CODE);
}

/// A shop that knows one password.
fn login_shop() -> Upstream {
    Upstream::start(|exchange| match exchange.request()?.text().contains("right") {
        true => exchange.answer(302, &[("location", "/"), ("set-cookie", "sid=1")], b""),
        false => exchange.answer(401, &[], b"wrong password"),
    })
}

/// An instance that counts in this server, with limits that only the lockout can reach.
fn counting(shop: &Upstream, redis: &Redis, vault_keys: &str) -> Sidecar {
    let store = redis.url();
    let tables = format!("[vault]\n{vault_keys}\n[counters]\nstore = \"{store}\"\n{ONLY_ACCOUNTS}");
    let login = "[[site.login]]\npath = \"/login\"\naccount_field = \"email\"";
    Setup::new(shop).site(login).tables(&tables).start()
}

fn log_in(client: &mut Client, account: &str, password: &str) -> u16 {
    client.form("/login", &format!("email={account}&password={password}")).status
}

#[test]
fn p6_parallel_guesses_through_three_instances_pass_no_more_than_the_limit() {
    let Some(redis) = Redis::start("") else { return };
    let Some(shared) = SharedVault::start() else { return };
    let shop = login_shop();
    let sidecars: Vec<_> = (0..3).map(|_| counting(&shop, &redis, &shared.keys())).collect();
    let addresses: Vec<_> = sidecars.iter().map(|sidecar| sidecar.address("http")).collect();
    let passed: usize = thread::scope(|scope| {
        let guessers: Vec<_> = (0..40)
            .map(|nth: usize| {
                let mut client = Client::plain(addresses[nth % 3]);
                let guess = move |_| log_in(&mut client, "ada%40example.com", "wrong");
                scope.spawn(move || (0..5).map(guess).filter(|status| *status == 401).count())
            })
            .collect();
        let customers: Vec<_> = (0..30)
            .map(|nth: usize| {
                let mut client = Client::plain(addresses[nth % 3]);
                scope.spawn(move || {
                    let name = format!("customer{nth}%40example.com");
                    (0..5).for_each(|_| assert_eq!(log_in(&mut client, &name, "right"), 302));
                })
            })
            .collect();
        customers.into_iter().for_each(|customer| customer.join().unwrap());
        guessers.into_iter().map(|guesser| guesser.join().unwrap()).sum()
    });
    assert_eq!(passed, 10, "of 200 guesses");
    for sidecar in &sidecars {
        assert_eq!(log_in(&mut sidecar.http(), "ada%40example.com", "right"), 429);
        assert!(sidecar.metric("tillgate_counters_degraded", &[]) < 0.5);
    }
    let locks: f64 = sidecars.iter().map(|it| it.metric("tillgate_account_locks_total", &[])).sum();
    assert!((locks - 1.0).abs() < 0.5, "one lock was told {locks} times");
    let kept = redis.cli(&["--scan"]);
    assert!(!kept.is_empty() && !kept.contains("example"), "{kept}");
}

#[test]
fn failures_outlive_the_instance_that_saw_them() {
    let Some(redis) = Redis::start("") else { return };
    let Some(shared) = SharedVault::start() else { return };
    let shop = login_shop();
    let [dies, lives] = [(); 2].map(|()| counting(&shop, &redis, &shared.keys()));
    for _ in 0..9 {
        assert_eq!(log_in(&mut dies.http(), "ada", "wrong"), 401);
    }
    dies.kill9();
    assert_eq!(log_in(&mut lives.http(), "ada", "wrong"), 401);
    assert_eq!(log_in(&mut lives.http(), "ada", "right"), 429);
}

#[test]
fn p6_without_redis_local_limits_go_on_and_nothing_is_forgiven_when_it_is_back() {
    let Some(mut redis) = Redis::start("") else { return };
    let shop = login_shop();
    let sidecar = counting(&shop, &redis, "");
    for _ in 0..5 {
        assert_eq!(log_in(&mut sidecar.http(), "ada", "wrong"), 401);
    }
    redis.kill9();
    for _ in 0..5 {
        assert_eq!(log_in(&mut sidecar.http(), "ada", "wrong"), 401);
    }
    assert_eq!(log_in(&mut sidecar.http(), "ada", "wrong"), 429);
    assert_eq!(log_in(&mut sidecar.http(), "bob", "right"), 302);
    eventually("the alarm rings", || {
        let rings = sidecar.metric("tillgate_counters_degraded", &[]) > 0.5;
        (rings && sidecar.admin("/readyz").text().contains("counters degraded")).then_some(())
    });
    redis.start_again();
    eventually("the alarm ends", || {
        (sidecar.metric("tillgate_counters_degraded", &[]) < 0.5).then_some(())
    });
    assert_eq!(log_in(&mut sidecar.http(), "ada", "right"), 429);
    assert_eq!(log_in(&mut sidecar.http(), "bob", "right"), 302);
    assert_eq!(log_in(&mut sidecar.http(), "bob", "wrong"), 401);
    assert!(!redis.cli(&["--scan"]).is_empty(), "it counts alone");
}
