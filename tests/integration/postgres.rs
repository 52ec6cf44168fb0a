//! A vault that instances share (DESIGN.md section 4; promises P2 and P3 on PostgreSQL).

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::commands::{done, run};
use crate::harness::canary::{self, Tape};
use crate::harness::{Client, Identity, Postgres, Setup, Sidecar, Upstream, cards, eventually};
use crate::keys::{assert_all_revealed, rotate};

/// A database and the master key of those who share it.
pub(crate) struct Shared {
    pub(crate) server: Postgres,
    keys: TempDir,
    seen: Tape,
}

impl Shared {
    pub(crate) fn start() -> Option<Self> {
        let server = Postgres::start(&["log_statement=all"])?;
        server.database("vault");
        let keys = tempfile::tempdir().unwrap();
        Some(Self { server, keys, seen: canary::tape("the database or its log") })
    }

    /// The `[vault]` table of an instance.
    pub(crate) fn tables(&self) -> String {
        let (url, keys) = (self.server.url("vault"), self.keys.path().display());
        format!("[vault]\nstore = \"{url}\"\nmaster_key = {{ file = \"{keys}/master.key\" }}")
    }

    /// Has all that the server holds, and has logged, searched for cards.
    pub(crate) fn look(&self) {
        let rows = self.server.sql("vault", "SELECT t::text FROM tokens AS t");
        let mut seen = self.seen.lock().unwrap();
        seen.extend_from_slice(rows.as_bytes());
        seen.extend_from_slice(self.server.log().as_bytes());
    }
}

fn provider() -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[("content-type", "application/json")], b"{\"ok\":true}")
    })
}

fn buy(client: &mut Client, card: &str) -> u16 {
    client.form("/buy", &format!("number={card}")).status
}

#[test]
fn two_instances_agree_on_every_card_that_both_see_at_once() {
    let Some(shared) = Shared::start() else { return };
    let (shops, provider) = ([Upstream::ok(), Upstream::ok()], provider());
    let instance = |shop| Setup::new(shop).gateway("pay", &provider).tables(&shared.tables());
    let sidecars = [instance(&shops[0]).start(), instance(&shops[1]).start()];
    let cards: Vec<_> = (0..100).map(|_| cards::fresh("visa")).collect();
    let together = Barrier::new(2);
    thread::scope(|scope| {
        for sidecar in &sidecars {
            let (address, cards, together) = (sidecar.address("http"), &cards, &together);
            scope.spawn(move || {
                let mut client = Client::plain(address);
                for card in cards {
                    together.wait();
                    assert_eq!(buy(&mut client, card), 200);
                }
            });
        }
    });
    let [ours, theirs] = shops.each_ref().map(|shop| shop.wait(cards.len()));
    // Whichever made it, the other reveals it.
    let mut gateways = sidecars.each_ref().map(|sidecar| sidecar.gateway("pay"));
    for (place, card) in cards.iter().enumerate() {
        let token = ours[place].form("number");
        assert_eq!(token, theirs[place].form("number"), "two tokens for one card");
        cards::assert_brand_four(&token, card);
        let gateway = &mut gateways[place % 2];
        assert_eq!(gateway.json("/charge", &format!("{{\"card\":\"{token}\"}}")).status, 200);
        assert_eq!(provider.last().json()["card"], *card);
    }
    shared.look();
}

#[test]
fn an_erased_card_is_forgotten_by_every_instance_at_once() {
    let Some(mut shared) = Shared::start() else { return };
    let shops = [Upstream::ok(), Upstream::ok()];
    let sidecars = shops.each_ref().map(|shop| Sidecar::start(shop, &shared.tables()));
    let card = cards::fresh("visa");
    // One connection each: what is remembered is remembered by a thread.
    let mut clients = sidecars.each_ref().map(Sidecar::https);
    let mut bought = |place: usize| {
        assert_eq!(buy(&mut clients[place], &card), 200);
        shops[place].last().form("number")
    };
    let mut token = bought(0);
    for lost in [false, true] {
        assert_eq!((bought(0), bought(1)), (token.clone(), token.clone()), "both remember it");
        if lost {
            // Who did not hear of it for a while trusts nothing that it remembers from before.
            shared.server.kill9();
            shared.server.start_again();
            sidecars.iter().for_each(heals);
        }
        done(&run(&sidecars[0], &["erase", "--token", &token, "--yes"]));
        // Far sooner than what is remembered ends by its age.
        let gone = std::mem::take(&mut token);
        token = eventually("the other instance has forgotten the token", || {
            Some(bought(1)).filter(|new| *new != gone)
        });
    }
    shared.look();
}

#[test]
fn a_server_that_starts_anew_between_two_cards_refuses_neither() {
    let Some(mut shared) = Shared::start() else { return };
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, &shared.tables());
    let known = cards::fresh("visa");
    assert_eq!(buy(&mut sidecar.https(), &known), 200);
    for _ in 0..3 {
        // The connections that are kept are dead, and nobody has noticed yet.
        shared.server.kill9();
        shared.server.start_again();
        assert_eq!(buy(&mut sidecar.https(), &cards::fresh("visa")), 200);
        assert_eq!(buy(&mut sidecar.https(), &known), 200);
    }
    shared.look();
}

#[test]
fn p3_cards_are_refused_while_the_server_is_away_and_all_else_goes_on() {
    let Some(mut shared) = Shared::start() else { return };
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, &shared.tables());
    let known = cards::fresh("visa");
    assert_eq!(buy(&mut sidecar.https(), &known), 200);
    let token = shop.last().form("number");

    shared.server.stop();
    refuses_cards_only(&sidecar);
    shared.server.start_again();
    heals(&sidecar);

    shared.server.kill9();
    refuses_cards_only(&sidecar);
    shared.server.start_again();
    heals(&sidecar);

    shared.server.freeze();
    refuses_cards_only(&sidecar);
    shared.server.thaw();
    heals(&sidecar);

    assert_eq!(buy(&mut sidecar.https(), &known), 200);
    assert_eq!(shop.last().form("number"), token);
    shared.look();
}

#[test]
fn p3_a_providers_answer_that_cannot_be_tokenized_is_refused_in_words() {
    let Some(mut shared) = Shared::start() else { return };
    let (shop, card) = (Upstream::ok(), cards::fresh("visa"));
    let told = format!("{{\"id\":\"ch_1\",\"number\":\"{card}\"}}");
    let provider = Upstream::start_tls(&Identity::new(&["localhost"]), move |exchange| {
        let seen = exchange.request()?;
        let body = if seen.target() == "/charge" { &*told } else { "{\"id\":\"ch_2\"}" };
        exchange.answer(200, &[("content-type", "application/json")], body.as_bytes())
    });
    let setup = Setup::new(&shop).gateway("pay", &provider).tables(&shared.tables());
    let sidecar = setup.start();
    shared.server.stop();
    let answer = sidecar.gateway("pay").json("/charge", "{}");
    answer.assert_refused(502);
    assert!(answer.field("retry-after").is_none(), "a charge is not to be repeated unseen");
    assert!(!answer.text().contains(&card));
    assert_eq!(sidecar.metric("tillgate_requests_rejected_total", &["answer_held"]), 1.0);
    assert_eq!(sidecar.gateway("pay").json("/refund", "{}").text(), "{\"id\":\"ch_2\"}");
    shared.server.start_again();
    heals(&sidecar);
    let answer = sidecar.gateway("pay").json("/charge", "{}");
    assert_eq!(answer.status, 200);
    let told: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    cards::assert_brand_four(told["number"].as_str().unwrap(), &card);
    shared.look();
}

#[test]
fn p3_a_long_answer_of_a_provider_is_cut_where_its_card_cannot_be_tokenized() {
    let Some(mut shared) = Shared::start() else { return };
    let card = cards::fresh("visa");
    // Longer than what is looked through before the head leaves.
    let rows = "{\"id\":\"ch_1\"},".repeat(200_000);
    let long = format!("[{rows}{{\"number\":\"{card}\"}}]");
    let length = long.len();
    let provider = Upstream::start_tls(&Identity::new(&["localhost"]), move |exchange| {
        let (seen, json) = (exchange.request()?, ("content-type", "application/json"));
        if seen.target() == "/counted" {
            return exchange.answer(200, &[json], long.as_bytes());
        }
        let chunks = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
        exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")?;
        exchange.raw(b"transfer-encoding: chunked\r\n\r\n")?;
        exchange.raw(chunks.as_bytes())
    });
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).gateway("pay", &provider).tables(&shared.tables()).start();
    shared.server.stop();
    for (times, target) in [(1.0, "/counted"), (2.0, "/chunked")] {
        let mut client = sidecar.gateway("pay");
        client.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        assert_eq!(client.head().status, 200);
        let told = client.rest();
        assert!(!told.is_empty() && told.len() < length, "{} of {length}", told.len());
        assert!(memchr::memmem::find(&told, card.as_bytes()).is_none());
        assert!(!told.ends_with(b"0\r\n\r\n"), "a cut answer looks whole");
        eventually("it is counted", || {
            let held = sidecar.metric("tillgate_requests_rejected_total", &["answer_held"]);
            (held == times).then_some(())
        });
        let line = sidecar.wait_for_access(|line| line.contains(target));
        assert_eq!(line["rejection"], "answer_held", "{line}");
    }
    shared.server.start_again();
    heals(&sidecar);
    let whole = sidecar.gateway("pay").get("/chunked");
    assert!(whole.status == 200 && whole.body.len() == length);
    shared.look();
}

#[test]
fn p3_a_policy_that_refuses_tokens_elsewhere_refuses_what_the_vault_cannot_judge() {
    let Some(mut shared) = Shared::start() else { return };
    let (shop, provider) = (Upstream::ok(), provider());
    let policy = "reveal = { fields = [\"source.number\"], otherwise = \"reject\" }";
    let setup = Setup::new(&shop).gateway_with("pay", &provider, policy);
    let sidecar = setup.tables(&shared.tables()).start();
    let elsewhere = format!("{{\"note\":\"{}\"}}", cards::fresh("visa"));
    assert_eq!(sidecar.gateway("pay").json("/charge", "{\"note\":1}").status, 200);
    shared.server.stop();
    sidecar.gateway("pay").json("/charge", &elsewhere).assert_refused(503);
    assert_eq!(sidecar.gateway("pay").json("/charge", "{\"note\":1}").status, 200);
    assert_eq!(provider.count(), 2, "what nobody could judge went on");
    shared.server.start_again();
    heals(&sidecar);
    shared.look();
}

fn refuses_cards_only(sidecar: &Sidecar) {
    let card = cards::fresh("mastercard");
    let answer = sidecar.http().form("/buy", &format!("number={card}"));
    answer.assert_refused(503);
    assert!(answer.field("retry-after").is_some());
    assert_eq!(sidecar.http().get("/").status, 200);
    assert_eq!(sidecar.http().form("/buy", "colour=red").status, 200);
    assert_eq!(sidecar.admin("/readyz").status, 503);
}

/// By itself: nobody has to send a card first.
fn heals(sidecar: &Sidecar) {
    eventually("the vault is ready", || (sidecar.admin("/readyz").status == 200).then_some(()));
    assert_eq!(buy(&mut sidecar.http(), &cards::fresh("visa")), 200);
}

#[test]
fn a_missing_or_wrong_master_key_is_refused_and_none_is_made() {
    let Some(shared) = Shared::start() else { return };
    let sidecar = Sidecar::start(&Upstream::ok(), &shared.tables());
    sidecar.sigterm();
    sidecar.exit_status();
    let key = shared.keys.path().join("master.key");
    let refused = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
        let output = command.args(["run", "--config"]).arg(sidecar.config()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let before = shared.server.sql("vault", "SELECT k::text FROM data_keys AS k");
    std::fs::remove_file(&key).unwrap();
    assert!(refused().contains("put the key file back"));
    assert!(!key.exists(), "a new key hides that the old one is lost");
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(refused().contains("not the one this vault was made with"));
    assert_eq!(shared.server.sql("vault", "SELECT k::text FROM data_keys AS k"), before);
}

#[test]
fn a_command_replaces_every_key_under_two_instances() {
    let Some(shared) = Shared::start() else { return };
    let (shop, provider) = (Upstream::ok(), provider());
    let instance = || Setup::new(&shop).gateway("pay", &provider).tables(&shared.tables()).start();
    let sidecars = [instance(), instance()];
    let stop = AtomicBool::new(false);
    let bought: usize = thread::scope(|scope| {
        let buyers = sidecars.each_ref().map(|sidecar| {
            let (address, stop) = (sidecar.address("http"), &stop);
            scope.spawn(move || {
                let (mut client, mut bought) = (Client::plain(address), 0);
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(buy(&mut client, &cards::fresh("visa")), 200);
                    bought += 1;
                }
                bought
            })
        });
        shop.wait(50);
        let rotated = rotate(&sidecars[0], &[]);
        assert!(rotated["dropped"] == 1 && rotated["rows"].as_u64().unwrap() >= 50, "{rotated}");
        // The file of the master key is shared too: both read it again.
        assert_eq!(rotate(&sidecars[1], &["--master"])["steps"].as_array().unwrap().len(), 6);
        assert_eq!(rotate(&sidecars[0], &[])["dropped"], 1);
        stop.store(true, Ordering::Relaxed);
        buyers.into_iter().map(|buyer| buyer.join().unwrap()).sum()
    });
    for sidecar in &sidecars {
        assert_eq!(assert_all_revealed(sidecar, &shop, &provider), bought);
    }
    let keys = "SELECT count(*) FROM data_keys WHERE purpose = 'seal'";
    assert_eq!(shared.server.sql("vault", keys), "1");
    shared.look();
}

#[test]
fn a_password_comes_from_the_password_file_and_can_be_changed_without_a_restart() {
    let Some(shared) = Shared::start() else { return };
    let (server, folder) = (&shared.server, shared.keys.path());
    let file = folder.join("pgpass");
    let change = |password: &str| {
        server.sql("vault", &format!("ALTER ROLE tillgate PASSWORD '{password}'"));
        // Others may not read it for a moment either.
        let text = format!("127.0.0.1:{}:vault:*:{password}\n", server.port());
        let draft = folder.join("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::set_permissions(&draft, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::rename(draft, &file).unwrap();
    };
    change("first-horse");
    server.file("pg_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    server.sql("vault", "SELECT pg_reload_conf()");
    let shop = Upstream::ok();
    let setup = Setup::new(&shop).tables(&shared.tables());
    let sidecar = setup.variable("PGPASSFILE", &file.display().to_string()).start();
    assert_eq!(buy(&mut sidecar.http(), &cards::fresh("visa")), 200);
    change("second-horse");
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE application_name = 'tillgate'";
    server.sql("vault", cut);
    let card = cards::fresh("visa");
    eventually("new connections log in", || (buy(&mut sidecar.http(), &card) == 200).then_some(()));
    assert!(!sidecar.written().contains("horse"));
    shared.look();
}
