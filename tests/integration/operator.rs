//! What an operator does about locked logins, by command and by the API (issue item 2).

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::commands::{done, told};
use crate::harness::{Answer, Client, ONLY_ACCOUNTS, Setup, Sidecar, Upstream};

const LOGIN: &str = "[[site.login]]\npath = \"/login\"\naccount_field = \"email\"\n";
/// The network's lockout alone, of both sizes.
const NETWORK: &str = "[login]\nper_network = \"off\"\nper_wide_network = \"off\"\n\
    per_account = \"off\"\npair_lockout = { enabled = false }\nlockout = { enabled = false }\n\
    network_lockout = { failures = 3, within = \"10m\", lock = \"1h\", accounts_min = 1 }\n\
    wide_network_lockout = { failures = 3, within = \"10m\", lock = \"1h\", accounts_min = 1 }\n";

const NAME: &str = "ada.private@example.com";

fn shop() -> Upstream {
    Upstream::start(|exchange| {
        if exchange.request()?.text().contains("right") {
            return exchange.answer(302, &[("location", "/in"), ("set-cookie", "sid=1")], b"");
        }
        exchange.answer(401, &[], b"wrong password")
    })
}

fn guess(sidecar: &Sidecar, account: &str, password: &str) -> u16 {
    let body = format!("email={account}&password={password}");
    sidecar.http().form("/login", &body).status
}

fn login(sidecar: &Sidecar, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    command.arg("login").args(arguments).arg("--config").arg(sidecar.config());
    command.args(["--admin", &sidecar.address("admin").to_string()]).stdin(Stdio::null());
    command
}

fn run(sidecar: &Sidecar, arguments: &[&str]) -> Output {
    login(sidecar, arguments).output().unwrap()
}

fn asked(sidecar: &Sidecar, arguments: &[&str]) -> Value {
    let text = done(&run(sidecar, &[arguments, &["--json"]].concat()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The audit log's records of one event.
fn audited(sidecar: &Sidecar, event: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["event"] == event).collect()
}

fn assert_unnamed(sidecar: &Sidecar) {
    let audit = std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    let written = sidecar.written() + &sidecar.metrics() + &audit;
    assert!(!written.contains("ada.private"), "a name was written");
}

#[test]
fn a_locked_account_is_listed_explained_and_let_in_again() {
    let shop = shop();
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    assert_eq!(done(&run(&sidecar, &["locked"])), "nothing is locked\n");
    for _ in 0..10 {
        assert_eq!(guess(&sidecar, NAME, "wrong"), 401);
    }
    assert_eq!(guess(&sidecar, NAME, "right"), 429);

    let locked = asked(&sidecar, &["locked"]);
    let [lock] = locked["locked"].as_array().unwrap().as_slice() else { panic!("{locked}") };
    assert_eq!((&lock["dimension"], &lock["site"]), (&"account".into(), &"default".into()));
    assert_eq!((&lock["failures"], &lock["network"]), (&10.into(), &Value::Null));
    assert!((1_790..=1_800).contains(&lock["remaining_s"].as_u64().unwrap()), "{lock}");
    let key = format!("account:{}", lock["key"].as_str().unwrap());
    let said = done(&run(&sidecar, &["locked"]));
    assert!(said.contains(&key) && said.starts_with("SITE"), "{said}");

    // The name is hashed as a customer's: however it is spelt.
    let explain = ["explain", "--account", "ADA.private@example.com", "--network", "127.0.0.1"];
    let said = done(&run(&sidecar, &explain));
    assert!(
        said.contains("the next attempt would be refused by locked for 30m")
            || said.contains("would be refused by locked for 29m"),
        "{said}"
    );
    let explained = asked(&sidecar, &explain);
    assert_eq!(explained["next"]["reason"], "locked");
    let other = asked(&sidecar, &["explain", "--account", "grace", "--site", "default"]);
    assert_eq!((&other["next"], &other["subjects"][0]["failures"]), (&Value::Null, &0.into()));

    let said = done(&run(&sidecar, &["unlock", "--account", NAME]));
    assert!(said.starts_with("forgotten"), "{said}");
    assert_eq!(guess(&sidecar, NAME, "right"), 302);
    let [record] = &audited(&sidecar, "login_unlocked")[..] else { panic!("one record") };
    assert_eq!(record["key"], lock["key"]);
    assert_eq!(record["operator"]["uid"], rustix::process::getuid().as_raw());
    assert_eq!(done(&run(&sidecar, &["unlock", "--key", &key])), "there was nothing to forget\n");
    assert_unnamed(&sidecar);
}

#[test]
fn a_name_is_read_from_standard_input_and_a_key_unlocks_without_one() {
    let shop = shop();
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    for _ in 0..10 {
        guess(&sidecar, NAME, "wrong");
    }
    let mut command = login(&sidecar, &["explain", "--account", "-"]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(format!("{NAME}\n").as_bytes()).unwrap();
    let said = done(&process.wait_with_output().unwrap());
    assert!(said.contains("refused by locked"), "{said}");
    let locked = asked(&sidecar, &["locked"]);
    let key = format!("account:{}", locked["locked"][0]["key"].as_str().unwrap());
    done(&run(&sidecar, &["unlock", "--key", &key]));
    assert_eq!(guess(&sidecar, NAME, "right"), 302);
}

#[test]
fn a_network_is_listed_by_its_address_and_allowed_for_a_time() {
    let shop = shop();
    let sidecar = Setup::new(&shop).site(LOGIN).tables(NETWORK).start();
    for account in ["a", "b", "c"] {
        assert_eq!(guess(&sidecar, account, "wrong"), 401);
    }
    assert_eq!(guess(&sidecar, NAME, "right"), 429);
    let locked = asked(&sidecar, &["locked"]);
    let rows = locked["locked"].as_array().unwrap();
    let mut networks: Vec<_> = rows.iter().map(|row| row["network"].as_str().unwrap()).collect();
    networks.sort_unstable();
    assert_eq!(networks, ["127.0.0.0/24", "127.0.0.1"]);

    done(&run(&sidecar, &["allow", "--network", "127.0.0.1", "--for", "2h"]));
    assert_eq!(guess(&sidecar, NAME, "right"), 302);
    let said = done(&run(&sidecar, &["locked"]));
    assert!(
        ["2h", "1h 59m"].iter().any(|left| said.contains(&format!("allowed for {left}: network:"))),
        "{said}"
    );
    let said = done(&run(&sidecar, &["explain", "--network", "127.0.0.1"]));
    let hour = ["network_lockout for 1h", "network_lockout for 59m"];
    assert!(hour.iter().any(|left| said.contains(left)), "{said}");
    assert!(said.contains("but is allowed"), "{said}");
    done(&run(&sidecar, &["allow", "--network", "127.0.0.1", "--end"]));
    assert_eq!(guess(&sidecar, NAME, "right"), 429);
    let [first, last] = &audited(&sidecar, "login_allowed")[..] else { panic!("two records") };
    assert_eq!((&first["for_s"], &last["for_s"]), (&7_200.into(), &0.into()));

    done(&run(&sidecar, &["unlock", "--network", "127.0.0.1"]));
    assert_eq!(guess(&sidecar, NAME, "right"), 302);
    assert_eq!(done(&run(&sidecar, &["locked"])), "nothing is locked\n");
    assert_unnamed(&sidecar);
}

fn call(sidecar: &Sidecar, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let mut client = Client::plain(sidecar.address("admin"));
    client.host = sidecar.address("admin").to_string();
    let bearer = format!("Bearer {token}");
    let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    client.request(method, path, &fields, body.as_bytes())
}

#[test]
fn the_api_is_opened_by_the_token_alone_and_only_under_an_address() {
    let shop = shop();
    let sidecar = Setup::new(&shop).site(LOGIN).start();
    let path = sidecar.data().join("admin.token");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(path).unwrap();
    let locked = "/api/logins/locked";
    assert_eq!(call(&sidecar, "GET", locked, &token, "").status, 200);
    for wrong in ["", "x", &token[1..], &token.replace(&token[..1], "z")] {
        let answer = call(&sidecar, "GET", locked, wrong, "");
        assert_eq!(answer.status, 401);
        assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(sidecar.admin(locked).status, 421, "a name may be anybody's");
    for open in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(sidecar.admin(open).status, 200);
    }
    let unlock = "/api/logins/unlock";
    assert_eq!(call(&sidecar, "GET", unlock, &token, "").status, 405);
    assert_eq!(call(&sidecar, "DELETE", locked, &token, "").status, 405);
    assert_eq!(call(&sidecar, "GET", "/api/logins", &token, "").status, 404);
    let long = json!({ "account": "a".repeat(20_000) }).to_string();
    let odd = [
        "",
        "[]",
        "{}",
        r#"{"account":" "}"#,
        r#"{"acount":"ada"}"#,
        r#"{"account":"ada","site":"elsewhere.example"}"#,
        r#"{"network":"10.0.0.0/8"}"#,
        r#"{"key":"account:12"}"#,
        long.as_str(),
    ];
    for body in odd {
        let answer = call(&sidecar, "POST", unlock, &token, body);
        assert_eq!(answer.status, 400, "{body}");
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(!said["error"].as_str().unwrap().is_empty(), "{body}");
    }
    let answer = call(&sidecar, "POST", unlock, &token, r#"{"account":"ada"}"#);
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"changed":0}"#));
    let forever = r#"{"network":"192.0.2.1","for_s":99999999}"#;
    assert_eq!(call(&sidecar, "POST", "/api/logins/allow", &token, forever).status, 400);
}

#[test]
fn a_command_says_what_is_missing() {
    let shop = shop();
    let sidecar = Setup::new(&shop).site(LOGIN).start();
    assert!(told(&run(&sidecar, &["unlock"]), 2).contains("--account, --network or --key"));
    assert!(told(&run(&sidecar, &["allow", "--network", "::1"]), 2).contains("--for 2h"));
    let port = ["locked", "--config"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    let output = command.arg("login").args(port).arg(sidecar.config()).output().unwrap();
    assert!(told(&output, 1).contains("--admin"));
    let arguments = ["explain", "--account", "ada", "--site", "elsewhere.example"];
    assert!(told(&run(&sidecar, &arguments), 1).contains("there are default"));
    sidecar.sigterm();
    sidecar.exit_status();
    let said = told(&run(&sidecar, &["locked"]), 1);
    assert!(said.contains("tillgate does not run"), "{said}");
}

#[test]
fn explain_knows_the_limits_of_a_rule_and_of_a_guard_the_lists_and_what_is_suspicious() {
    let shop = shop();
    let site = "[[site.login]]\npath = \"/login\"\naccount_field = \"email\"\n\
        limits = { per_network = \"2/hour\" }\n\
        [[site.guard]]\nname = \"reset\"\nkind = \"reset\"\npath = \"/forgot\"\n\
        limits = { per_network = \"1/hour\" }\n";
    let tables = format!("{ONLY_ACCOUNTS}[networks]\ndeny = [\"192.0.2.0/24\"]\n");
    let sidecar = Setup::new(&shop).site(site).tables(&tables).start();
    let explain = ["explain", "--account", NAME, "--network", "127.0.0.1"];
    assert!(done(&run(&sidecar, &explain)).contains("would be admitted"));
    for nth in 0..2 {
        assert_eq!(guess(&sidecar, &format!("other{nth}"), "wrong"), 401);
    }
    let said = done(&run(&sidecar, &explain));
    assert!(said.contains("refused by network_limit"), "{said}");

    let guarded = [&explain[..], &["--guard", "reset"]].concat();
    assert!(done(&run(&sidecar, &guarded)).contains("would be admitted"));
    assert_eq!(sidecar.http().form("/forgot", "email=a").status, 401);
    assert_eq!(asked(&sidecar, &guarded)["next"]["reason"], "network_limit");
    let mistyped = [&explain[..], &["--guard", "rest"]].concat();
    assert!(told(&run(&sidecar, &mistyped), 1).contains("it has reset"));

    let said = done(&run(&sidecar, &["explain", "--network", "192.0.2.1"]));
    assert!(said.contains("is denied by [networks]") && said.contains("network_denied"), "{said}");
}

#[test]
fn explain_tells_what_is_suspicious_and_the_limits_that_are_tightened_for_it() {
    let shop = shop();
    let tables = format!("{ONLY_ACCOUNTS}risk = {{ tighten = 30, delay = \"off\", proof = 80 }}\n");
    let sidecar = Setup::new(&shop).site(LOGIN).tables(&tables).start();
    for nth in 0..5 {
        assert_eq!(guess(&sidecar, &format!("other{nth}"), "wrong"), 401);
    }
    let explain = ["explain", "--network", "127.0.0.1"];
    let explained = asked(&sidecar, &explain);
    let suspicion = json!({ "points": 30, "signals": ["many_accounts"], "step": "tightened" });
    assert_eq!(explained["suspicion"], suspicion);
    for nth in 5..20 {
        assert_eq!(guess(&sidecar, &format!("other{nth}"), "wrong"), 401);
    }
    let said = done(&run(&sidecar, &explain));
    assert!(said.contains("suspicious by 80 points (many_accounts): proof"), "{said}");
    assert!(said.contains("the next attempt would be asked for a proof of work"), "{said}");
}
