//! The reference, the table of bad files, and what any text may do.

use std::fs;
use std::num::NonZeroUsize;

use proptest::prelude::{any, prop_assert, proptest};
use proptest::string::string_regex;

use super::*;
use crate::policy::{
    CardTesting, Destination, ForwardPolicy, LimitMode, Limits, LoginLimits, RiskSteps,
    SignalPolicy, Timeouts,
};

const REFERENCE: &str = include_str!("../../config/tillgate.toml");

/// Stands in `${SECRET}`; no report may show it.
const SECRET: &str = "hidden word that is long";

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read_text(text: &str, folder: PathBuf, name: &str) -> Result<Loaded, Problems> {
    let lookup = |name: &str| match name {
        "SECRET" => Some(SECRET.to_owned()),
        "SHORT" => Some("hidden".to_owned()),
        _ => None,
    };
    load_text(&Source { file: Path::new(name), text, folder }, &lookup)
}

/// The reference with its commented settings switched on.
fn everything() -> String {
    let lines = REFERENCE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A folder with the files that the reference names.
fn folder_of_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["shop.example".to_owned()]).unwrap();
    fs::create_dir(folder.path().join("tls")).unwrap();
    for name in ["shop.example.pem", "inside.pem", "provider.pem"] {
        fs::write(folder.path().join("tls").join(name), made.cert.pem()).unwrap();
    }
    let issuer = rcgen::Issuer::new(
        rcgen::CertificateParams::default(),
        rcgen::KeyPair::generate().unwrap(),
    );
    let (from, until) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2040, 1, 1));
    let list = rcgen::CertificateRevocationListParams {
        this_update: from,
        next_update: until,
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).unwrap().pem().unwrap();
    fs::write(folder.path().join("tls/inside.crl"), list).unwrap();
    for name in ["gateway.key", "ticket.key", "webhook.key"] {
        fs::write(folder.path().join(name), "0123456789abcdef0123456789abcdef\n").unwrap();
    }
    fs::create_dir(folder.path().join("pages")).unwrap();
    fs::write(folder.path().join("pages/error.html"), "<h1>{{ title }}</h1>").unwrap();
    let key = folder.path().join("tls/shop.example.key");
    fs::write(key, made.signing_key.serialize_pem()).unwrap();
    folder
}

#[test]
fn each_bad_file_gets_its_whole_report() {
    let cases = folder("tests/data/configs");
    let mut count = 0;
    for entry in fs::read_dir(&cases).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        count += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let report = read_text(&text, cases.clone(), name).unwrap_err().to_string();
        assert!(!report.contains("hidden"), "{name} shows a secret:\n{report}");
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        assert_eq!(report, expected.trim_end(), "{name}:\n{report}");
    }
    assert_eq!(count, 25);
}

#[test]
fn the_reference_loads_and_says_the_defaults() {
    let loaded = load(&folder("config/tillgate.toml")).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.files, [folder("config/tillgate.toml")]);
    assert_eq!(*loaded.snapshot.login, LoginLimits::default());
    assert_eq!(loaded.snapshot.signals, SignalPolicy::default());
    assert_eq!(loaded.snapshot.timeouts, Timeouts::default());
    let route = loaded.snapshot.sites[0].routes.last().unwrap();
    assert_eq!(route.limits, Limits::default());
    let bare = "[[listen]]\naddress = \"127.0.0.1:8080\"\n[[site]]\nupstreams = [\"http://a\"]";
    let bare = read_text(bare, PathBuf::new(), "bare").unwrap();
    assert_eq!(loaded.startup, bare.startup);
    let cards = &bare.snapshot.sites[0].routes[0].cards;
    assert_eq!(cards.requests, route.cards.requests);
    assert_eq!(cards.responses, route.cards.responses);
    assert_eq!(cards.format, route.cards.format);
    assert_eq!(cards.invalid_card, route.cards.invalid_card);
}

#[test]
fn the_commented_settings_of_the_reference_load_too() {
    let folder = folder_of_files();
    let text = everything();
    let loaded = read_text(&text, folder.path().to_owned(), "reference").unwrap();
    let site = &loaded.snapshot.sites[0];
    assert_eq!(site.name.to_string(), "shop.example");
    assert_eq!(site.routes[0].limits.request_body_bytes_max, 2 << 20);
    assert_eq!(site.routes[0].cards.requests.as_str(), "reject");
    assert_eq!(&*site.routes[1].name, "default");
    assert_eq!(site.routes[1].cards.requests.as_str(), "tokenize");
    assert_eq!(site.logins[0].success.len(), 6);
    assert!(site.logins.iter().any(|login| &*login.name == "login" && login.limits.is_none()));
    assert!(site.guards.iter().any(|guard| &*guard.name == "registration"), "of the preset");
    assert_eq!(site.guards.iter().filter(|guard| &*guard.name == "coupon").count(), 1);
    assert_eq!(loaded.snapshot.gateways[0].upstream.to_string(), "https://api.stripe.com:443");
    assert_eq!(loaded.snapshot.intercepted_hosts(), ["api.bank.example"]);
    let forward = &loaded.snapshot.forward;
    assert_eq!(forward.allow, [Destination::parse("api.other.example").unwrap()]);
    let defaults = ForwardPolicy { allow: forward.allow.clone(), ..ForwardPolicy::default() };
    assert_eq!(*forward, defaults);
    assert_eq!(loaded.startup.forward, Some("127.0.0.1:9501".parse().unwrap()));
    assert_eq!(loaded.files.len(), 11);
    let kinds = loaded.snapshot.gateways.iter().map(|gateway| gateway.credentials.is_some());
    assert_eq!(kinds.collect::<Vec<_>>(), [true, true, true]);
    assert_eq!(loaded.snapshot.webhooks[0].secrets.len(), 2);
    let key = MasterKeySource::File(folder.path().join("master.key"));
    assert_eq!(loaded.startup.vault.master_key, key);
    assert_eq!(loaded.startup.workers, NonZeroUsize::new(2));
}

#[test]
fn every_key_of_the_schema_stands_in_the_reference_with_its_default() {
    let schema = schema_json();
    let file: Value = toml::from_str(&everything()).unwrap();
    let as_it_stands: Value = toml::from_str(REFERENCE).unwrap();
    let mut missing = Vec::new();
    compare(&schema, &schema, (&[&file], &[&as_it_stands]), "", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

/// Notes each key of `part` that no table of `tables` has, or whose default is not the one set.
fn compare(
    schema: &Value,
    part: &Value,
    (tables, standing): (&[&Value], &[&Value]),
    path: &str,
    missing: &mut Vec<String>,
) {
    let part = part
        .get("$ref")
        .and_then(Value::as_str)
        .map_or(part, |target| schema.pointer(target.trim_start_matches('#')).unwrap());
    // What can be switched off is a table otherwise.
    if let Some(table) = part.pointer("/anyOf/0").filter(|table| table.get("$ref").is_some()) {
        return compare(schema, table, (tables, standing), path, missing);
    }
    // What a route or a guard overrides is the same tables again, and so are the signs of guards.
    let again = [
        ".site.route.",
        ".site.login.limits",
        ".site.guard.limits",
        ".site.guard.success",
        ".site.guard.failure",
        ".site.guard.declined",
    ];
    if again.iter().any(|table| path.starts_with(table)) {
        return;
    }
    for (key, below) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{key}");
        let pick = |tables: &[&'_ Value]| -> Vec<Value> {
            let found = tables.iter().filter_map(|table| table.get(key)).cloned();
            found
                .flat_map(|value| match value {
                    Value::Array(tables) if tables.first().is_some_and(Value::is_object) => tables,
                    value => vec![value],
                })
                .collect()
        };
        let (found, stands) = (pick(tables), pick(standing));
        // Such tables have several forms, of which each has one.
        let one_of = part.get("maxProperties").and_then(Value::as_u64) == Some(1);
        if found.is_empty() && one_of {
            continue;
        }
        if found.is_empty() {
            missing.push(path.clone());
        }
        if let Some(default) = below.get("default")
            && stands.first().is_some_and(|value| value != default)
        {
            missing.push(format!("{path} is not {default}"));
        }
        let below = below.get("items").unwrap_or(below);
        let (found, stands): (Vec<_>, Vec<_>) = (found.iter().collect(), stands.iter().collect());
        compare(schema, below, (&found, &stands), &path, missing);
    }
}

#[test]
fn what_is_risky_is_warned_of() {
    let text = "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nupstreams = [\"http://a\"]\n\
                [cards]\nrequests = \"observe\"\ntoken_format = \"six-four\"\n\
                [[site.route]]\npath = \"/static/*\"\ncards = { responses = \"off\" }\n\
                [[gateway]]\nname = \"bank\"\nlisten = \"0.0.0.0:9500\"\nupstream = \"https://bank\"\n\
                access = { bearer = { env = \"SECRET\" } }";
    let loaded = read_text(text, PathBuf::new(), "f").unwrap();
    let warned: Vec<_> =
        loaded.warnings.iter().map(|warning| (warning.line, warning.key.as_str())).collect();
    let expected = [
        (2, "listen.address"),
        (6, "cards.requests"),
        (7, "cards.token_format"),
        (10, "site.route.cards.responses"),
        (15, "gateway.access.bearer"),
    ];
    assert_eq!(warned, expected);
    let summary = summary(&loaded);
    assert!(summary.contains("  route /static/* requests observe (six-four), responses off\n"));
    assert!(summary.contains("  route * requests observe (six-four), responses mask\n"));
    assert!(summary.contains("gateway bank on 0.0.0.0:9500 to https://bank:443\n"));
    assert!(summary.contains("  callers show a secret\n"));
    assert!(
        summary.contains("  reveals every field in POST, PUT, PATCH of *; elsewhere tokens are")
    );
    assert!(summary.contains("100,000"));
}

#[test]
fn rules_of_access_and_blocks_are_told() {
    let text = "[[listen]]\naddress = \"127.0.0.1:80\"\n[[site]]\nupstreams = [\"http://a\"]\n\
                [[site.block]]\nname = \"hole\"\nmode = \"observe\"\nquery = \"x\"\n\
                [[site.route]]\npath = \"/admin/*\"\naccess = { allow = [\"10.0.0.0/8\"] }\n\
                [[site.route]]\npath = \"/api/*\"\naccess = { methods = [\"GET\"] }\n\
                [headers]\nhsts = \"1m\"";
    let loaded = read_text(text, PathBuf::new(), "f").unwrap();
    let warned: Vec<_> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(warned, ["headers.hsts"]);
    let summary = summary(&loaded);
    assert!(summary.contains("  block hole 403 (observed only)\n"), "{summary}");
    assert!(summary.contains("    for 1 networks alone\n"), "{summary}");
    assert!(summary.contains("    for everybody, GET, HEAD\n"), "{summary}");
}

#[test]
fn a_shared_vault_is_shown_without_its_login_and_warned_of_where_anybody_can_listen() {
    let text = |store: &str| {
        format!(
            "[[listen]]\naddress = \"127.0.0.1:80\"\n[[site]]\nupstreams = [\"http://a\"]\n\
             [vault]\nstore = \"postgres://till:${{SECRET}}@{store}\""
        )
    };
    let read = |store: &str| read_text(&text(store), PathBuf::new(), "f");
    let loaded = read("db1,db2:5433/vault").unwrap();
    assert_eq!(loaded.warnings, []);
    let summary = summary(&loaded);
    assert!(summary.contains("vault in db1:5432,db2:5433/vault, sslmode verify-full\n"));
    assert!(!format!("{summary}{loaded:?}").contains(SECRET));
    let exposed = read("db/vault?sslmode=require").unwrap();
    assert_eq!(exposed.warnings[0].key, "vault.store");
    assert_eq!(loaded.startup.differences(&exposed.startup), ["vault.store"]);
    let refused = read("db/vault?sslrootcert=absent.pem").unwrap_err().to_string();
    assert!(refused.starts_with("f:6: vault.store: names a certificate or key"), "{refused}");
}

#[test]
fn a_gateway_may_be_called_by_name_through_the_forward_proxy() {
    let text = "[[gateway]]\nname = \"bank\"\nhosts = [\"API.bank.example\"]\n\
                upstream = \"https://api.bank.example\"\n\
                [[gateway]]\nname = \"other\"\nlisten = \"127.0.0.1:9500\"\n\
                upstream = \"https://other.example\"\n\
                [forward_proxy]\nlisten = \"[::1]:9501\"\nothers = \"tunnel\"\n\
                allow = [\"10.0.0.7:8443\"]";
    let loaded = read_text(text, PathBuf::new(), "f").unwrap();
    assert_eq!(loaded.warnings, []);
    let bank = Destination::parse("api.bank.example").unwrap();
    assert_eq!(&*loaded.snapshot.gateway_called(&bank).unwrap().name, "bank");
    let (name, address) = ("other".into(), "127.0.0.1:9500".parse().unwrap());
    assert_eq!(loaded.startup.gateways, [GatewayAddress { name, address, tls: false }]);
    let summary = summary(&loaded);
    assert!(
        summary.contains("gateway bank as api.bank.example:443 to https://api.bank.example:443\n")
    );
    assert!(summary.contains("gateway other on 127.0.0.1:9500 to https://other.example:443\n"));
    let expected = "forward proxy on [::1]:9501, other hosts: tunnel; tunnels to 10.0.0.7:8443\n";
    assert!(summary.contains(expected), "{summary}");
    let unused = text.split("[forward_proxy]").next().unwrap().replace("hosts", "#");
    let unused = unused.replace("listen =", "hosts = [\"a.example\"]\nlisten =");
    let unused = unused.replace("name = \"bank\"", "name = \"bank\"\nlisten = \"127.0.0.1:1\"");
    let warnings = read_text(&unused, PathBuf::new(), "f").unwrap().warnings;
    let keys: Vec<_> = warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert!(keys.contains(&"gateway.hosts"), "{keys:?}");
}

#[test]
fn an_upstream_alone_is_served_over_tls_with_a_certificate_of_our_own() {
    let loaded = for_upstream("http://127.0.0.1:3000", None, PathBuf::from("data")).unwrap();
    let listen = loaded.startup.listens[0];
    assert_eq!((listen.address.to_string().as_str(), listen.tls), ("127.0.0.1:8443", true));
    assert!(loaded.startup.self_signed);
    assert!(loaded.snapshot.site("any.example").is_some());
    assert_eq!(loaded.files, Vec::<PathBuf>::new());
    let key = MasterKeySource::File(PathBuf::from("data/master.key"));
    assert_eq!(loaded.startup.vault.master_key, key);
    let problems = for_upstream("127.0.0.1", None, PathBuf::from("data")).unwrap_err();
    let expected = "command line: --upstream: has no http:// or https://; \
                    write it as in \"http://127.0.0.1:8080\" or \"https://shop.example\"";
    assert_eq!(problems.to_string(), expected);
}

#[test]
fn what_needs_a_restart_is_named() {
    let one = for_upstream("http://a", None, PathBuf::from("data")).unwrap().startup;
    let mut other = one.clone();
    assert_eq!(one.differences(&other), Vec::<&str>::new());
    other.workers = NonZeroUsize::new(3);
    // Addresses come and go with a reload.
    other.listens.clear();
    other.log.level = LogLevel::Debug;
    assert_eq!(one.differences(&other), ["workers", "log.level"]);
}

#[test]
fn limits_that_are_off_are_none_and_those_that_are_weak_are_warned_of() {
    let text = |login: &str| {
        format!(
            "[[listen]]\naddress = \"127.0.0.1:80\"\n[[site]]\nupstreams = [\"http://a\"]\n\
             [login]\n{login}"
        )
    };
    let read = |login: &str| read_text(&text(login), PathBuf::new(), "f").unwrap();
    let off = "per_network = \"off\"\nper_wide_network = \"off\"\nper_account = \"off\"\n\
               lockout = { enabled = false }\npair_lockout = { enabled = false }\n\
               network_lockout = { enabled = false }\nwide_network_lockout = { enabled = false }\n\
               trusted_networks_bypass = false";
    let (none, usual) = (LoginLimits::unlimited(), LoginLimits::default());
    assert_eq!(*read(off).snapshot.login, LoginLimits { device: usual.device, ..none });
    let some = read("mode = \"observe\"\nper_site = \"3000/min\"\nknown_networks = \"7d\"");
    assert_eq!(some.snapshot.login.mode, LimitMode::Observe);
    assert_eq!(some.snapshot.login.site.quota.unwrap().count.get(), 3000);
    assert_eq!(some.snapshot.login.known_for.unwrap().as_secs(), 7 * 24 * 3600);
    let weak = "lockout = { failures = 11, lock = \"1m\" }\nconsecutive_failures = 101";
    let warned: Vec<_> = read(weak).warnings.into_iter().map(|warning| warning.key).collect();
    let expected = ["login.lockout.failures", "login.lockout.lock", "login.consecutive_failures"];
    assert_eq!(warned, expected);
}

#[test]
fn a_file_that_is_absent_or_no_text_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let problem = |path: &Path| load(path).unwrap_err().iter().next().cloned().unwrap();
    assert_eq!(problem(&path).message, "cannot be read (entity not found)");
    fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
    assert_eq!((problem(&path).line, problem(&path).message.as_str()), (2, "is not UTF-8"));
    fs::write(&path, vec![b'#'; 9 << 20]).unwrap();
    assert_eq!(problem(&path).message, "is larger than 8388608 bytes");
}

#[test]
fn each_defence_can_be_switched_off() {
    // Each line takes the place of the one with its key.
    let read = |login: &str| {
        let place = |text: String, new: &str| {
            let key = new.split('=').next().unwrap();
            let lines = text.lines().map(|old| if old.starts_with(key) { new } else { old });
            lines.collect::<Vec<_>>().join("\n")
        };
        let text = login.lines().fold(REFERENCE.to_owned(), place);
        read_text(&text, folder("."), "f").map(|loaded| loaded.snapshot.signals)
    };
    let none = RiskSteps { tighten: None, delay: None, proof: None };
    let off = read("trusted_device = \"off\"\nrisk = \"off\"\ncard_testing = \"off\"").unwrap();
    assert_eq!(off, SignalPolicy { risk: none, card_testing: None, trusted_device: None });
    let some =
        read("risk = { delay = \"off\", proof = 90 }\ncard_testing = { cards = 9 }").unwrap();
    let (base, cards) = (SignalPolicy::default(), CardTesting::default());
    assert_eq!((some.risk.delay, some.risk.proof.unwrap().get()), (None, 90));
    assert_eq!(some.risk.tighten, base.risk.tighten);
    let nine = std::num::NonZeroU32::new(9).unwrap();
    assert_eq!(some.card_testing, Some(CardTesting { cards: nine, ..cards }.into()));
    for (login, expected) in [
        ("risk = \"of\"", "did you mean \"off\"?"),
        ("risk = 3", "is an integer, not a table"),
        ("risk = { proof = \"no\" }", "is not one of the choices"),
        ("risk = { tighten = 60 }", "has a later step before an earlier one"),
        ("card_testing = { declines = 33 }", "at most 32"),
        ("card_testing = { session_cookies = [\"a b\"] }", "is no cookie's name"),
    ] {
        let report = read(login).unwrap_err().to_string();
        assert!(report.contains(expected), "{login}: {report}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = read_text(&text, PathBuf::new(), "f");
    }

    #[test]
    fn no_slip_in_the_reference_panics_or_goes_without_a_line(
        place in 0..REFERENCE.len(),
        slip in string_regex("[ -~\n]{0,8}").unwrap(),
        length in 0..12_usize,
    ) {
        let mut text = everything().into_bytes();
        let place = place.min(text.len());
        let end = (place + length).min(text.len());
        text.splice(place..end, slip.into_bytes());
        let text = String::from_utf8_lossy(&text);
        if let Err(problems) = read_text(&text, PathBuf::new(), "f") {
            prop_assert!(problems.iter().all(|problem| problem.line > 0));
        }
    }
}

#[test]
fn a_shared_store_that_is_exposed_or_shared_with_nobody_is_warned_of() {
    let warned = |vault: &str, codes: &str, counters: &str| -> Vec<String> {
        let text = REFERENCE
            .replace("store = \"sqlite\"", &format!("store = \"{vault}\""))
            .replace("cvv_store = \"memory\"", &format!("cvv_store = \"{codes}\""))
            .replace("store = \"local\"", &format!("store = \"{counters}\""));
        let loaded = read_text(&text, folder("."), "a.toml").unwrap();
        loaded
            .warnings
            .iter()
            .map(|warning| format!("{}: {}", warning.key, warning.message))
            .collect()
    };
    let shared = "postgres://a@localhost/b";
    assert!(warned(shared, "redis://localhost", "rediss://cache.example").is_empty());
    let exposed = warned(shared, "redis://:hidden@cache.example", "redis+sentinel://s/shop");
    assert_eq!(exposed.len(), 2, "{exposed:?}");
    assert!(exposed.iter().all(|it| it.contains("not encrypted") && !it.contains("hidden")));
    let alone = warned("sqlite", "redis://localhost", "redis://localhost");
    assert_eq!(alone.len(), 2, "{alone:?}");
    assert!(alone.iter().all(|it| it.contains("no other instance")));
    assert!(warned("sqlite", "memory", "local").is_empty());
}
