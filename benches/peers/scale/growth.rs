//! What grows, and what is measured while it does.

use std::fmt::Write as _;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::repeat::{Question, ask, cost};
use super::start;
use crate::client::{Connection, config, get, post};
use crate::entrant::{Scene, connections_max};
use crate::failure::Failure;
use crate::handshakes;
use crate::pages::page;

/// Takes in how much there was, what was measured, and its CPU microseconds.
type Enter<'a> = &'a mut dyn FnMut(String, &'static str, f64);
type Measure = fn(&Scene<'_>, bool, Enter<'_>) -> Result<(), Failure>;

pub(super) const ALL: [(&str, Measure); 5] = [
    ("certificates", certificates),
    ("routes", routes),
    ("locked accounts", accounts),
    ("connections", connections),
    ("bodies", bodies),
];

const PAGE: &str = "/1k.html";
/// Of a small page.
const REQUESTS: u32 = 8_000;
const HANDSHAKES: Duration = Duration::from_secs(2);

fn certificates(scene: &Scene<'_>, quick: bool, enter: Enter<'_>) -> Result<(), Failure> {
    let steps: &[u32] = if quick { &[1, 100] } else { &[1, 100, 1_000, 10_000] };
    let mut more = String::new();
    let mut there = 1;
    for count in steps {
        for nth in there..*count {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            let leaf =
                CertificateParams::new([format!("shop{nth}.example")])?.self_signed(&pair)?;
            let chain = scene.folder.write(&format!("shop{nth}.pem"), &leaf.pem())?;
            let key = scene.folder.write(&format!("shop{nth}.key"), &pair.serialize_pem())?;
            let (chain, key) = (chain.display(), key.display());
            let _ = write!(more, "[[certificate]]\nchain = \"{chain}\"\nkey = \"{key}\"\n");
        }
        there = *count;
        let tillgate = start(scene, &format!("certificates-{count}"), &more)?;
        let question = Question { request: &|_| get(PAGE), status: "200" };
        enter(count.to_string(), "page of 1 KiB", cost(scene, &tillgate, &question, REQUESTS)?);
        let (calls, spent) = handshakes::measure(&tillgate, scene.folder, false, HANDSHAKES)?;
        enter(count.to_string(), "full handshake", spent.micros(calls));
    }
    Ok(())
}

/// The page is the last route's.
fn routes(scene: &Scene<'_>, quick: bool, enter: Enter<'_>) -> Result<(), Failure> {
    let steps: &[u32] = if quick { &[1, 100] } else { &[1, 10, 100, 1_000] };
    for count in steps {
        let mut more = String::new();
        for nth in 1..*count {
            let _ = write!(more, "[[site.route]]\npath = \"/section-{nth}/*\"\n");
        }
        let _ = write!(more, "[[site.route]]\npath = \"/*\"\n");
        let tillgate = start(scene, &format!("routes-{count}"), &more)?;
        let question = Question { request: &|_| get(PAGE), status: "200" };
        enter(count.to_string(), "page of 1 KiB", cost(scene, &tillgate, &question, REQUESTS)?);
    }
    Ok(())
}

/// One failure locks, so that a million locks take a minute, and nothing but locks refuses.
const LOCKS_ONLY: &str = "[login]\nper_network = \"off\"\nper_wide_network = \"off\"\nper_account = \"off\"\n\
    lockout = { failures = 1 }\npair_lockout = { enabled = false }\nnetwork_lockout = { enabled = false }\n\
    wide_network_lockout = { enabled = false }\nrisk = \"off\"\n[counters]\nmemory = \"1GiB\"\n";

fn accounts(scene: &Scene<'_>, quick: bool, enter: Enter<'_>) -> Result<(), Failure> {
    let steps: &[u32] = if quick { &[0, 10_000] } else { &[0, 10_000, 100_000, 1_000_000] };
    let tillgate = start(scene, "accounts", LOCKS_ONLY)?;
    let login =
        |nth: u32| post("/login", &format!("email=customer{nth}%40example.com&password=wrong"));
    let page = Question { request: &|_| get(PAGE), status: "200" };
    let wrong = Question { request: &login, status: "401" };
    let mut locked = 0;
    for count in steps {
        ask(scene, &tillgate, &wrong, locked..*count)?;
        locked = *count;
        enter(count.to_string(), "page of 1 KiB", cost(scene, &tillgate, &page, REQUESTS)?);
        if locked == 0 {
            continue;
        }
        // All over the table, as a bot that has a list of them asks.
        let refused = |nth: u32| login(nth.wrapping_mul(2_654_435_761) % locked);
        let refused = Question { request: &refused, status: "429" };
        let micros = cost(scene, &tillgate, &refused, REQUESTS)?;
        enter(count.to_string(), "login, refused", micros);
    }
    Ok(())
}

/// The others are idle, as most are. How many there are at last depends on how many files we may open.
fn connections(scene: &Scene<'_>, quick: bool, enter: Enter<'_>) -> Result<(), Failure> {
    let most = u32::try_from(connections_max()).unwrap_or(u32::MAX).saturating_sub(100).min(10_000);
    let steps = if quick { [100, 1_000].as_slice() } else { &[100, 1_000, 5_000, most] };
    let tillgate = start(scene, "connections", "")?;
    let config = config(scene.folder.certificate(tillgate.key), b"http/1.1", false)?;
    let mut open = Vec::new();
    for count in steps {
        for nth in u32::try_from(open.len()).unwrap_or(u32::MAX)..*count {
            let mut connection = Connection::open(&config, tillgate.address, 100 + nth)?;
            connection.get(PAGE)?;
            open.push(connection);
        }
        let question = Question { request: &|_| get(PAGE), status: "200" };
        enter(count.to_string(), "page of 1 KiB", cost(scene, &tillgate, &question, REQUESTS)?);
    }
    Ok(())
}

/// The same text again and again, of which every byte is searched.
fn bodies(scene: &Scene<'_>, quick: bool, enter: Enter<'_>) -> Result<(), Failure> {
    let steps: &[usize] =
        if quick { &[1, 1 << 10] } else { &[1, 10, 100, 1 << 10, 10 << 10, 100 << 10] };
    let tillgate = start(scene, "bodies", "")?;
    for kib in steps {
        scene.folder.write("shop/body.html", &page(kib << 10))?;
        let question = Question { request: &|_| get("/body.html"), status: "200" };
        // 400 MiB of the large ones, some thousand of the small ones.
        let count = u32::try_from((400 << 10) / kib).unwrap_or(1).clamp(8, REQUESTS);
        let micros = cost(scene, &tillgate, &question, count)?;
        if *kib < 1 << 10 {
            enter(format!("{kib} KiB"), "page of so much", micros);
        } else {
            let mib = kib >> 10;
            let each = micros / f64::from(u32::try_from(mib).unwrap_or(u32::MAX));
            enter(format!("{mib} MiB"), "each MiB of a page", each);
        }
    }
    Ok(())
}
