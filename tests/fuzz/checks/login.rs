//! Accounts are read from any login, and the spellings of one are counted as one.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{Request, Uri};
use tillgate::counters::{AttemptCounter, CounterFuture, CounterKey, Lock, LockDesk, LockTold};
use tillgate::counters::{Outcome, Reservation, Reserved, Standing, Tried, Trust};
use tillgate::policy::{
    Balance, Carrier, Dimension, FieldPath, GuardRule, LoginLimits, Maintenance, PathPattern, Site,
    SiteName,
};
use tillgate::proxy::login::{Client, Extent, LockWatcher, LoginGuard, Verdict};

const TYPES: [Option<&[u8]>; 7] = [
    None,
    Some(b"application/json"),
    Some(b"application/x-www-form-urlencoded"),
    Some(b"multipart/form-data; boundary=b"),
    Some(b"multipart/form-data; boundary=\"b;\""),
    Some(b"text/plain"),
    Some(b"text/xml"),
];

/// The most accounts that one attempt may name.
const ACCOUNTS_MAX: usize = 8;
/// Longer texts are no names.
const NAME_MAX: usize = 64;

/// Reads a byte for the type and what is configured, the first line as the address, and the others
/// as the body.
pub fn check(data: &[u8]) {
    let Some((&selector, rest)) = data.split_first() else { return };
    let choice = usize::from(selector);
    let line = rest.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let (address, body) = (&rest[..line], rest.get(line + 1..).unwrap_or_default());
    let content_type = TYPES[choice % TYPES.len()];
    let site = site(choice / TYPES.len());
    let uri = Uri::try_from(address).unwrap_or_else(|_| Uri::from_static("/login"));
    let accounts = accounts(&site, uri, content_type, body).unwrap_or_default();
    assert!(accounts.len() <= ACCOUNTS_MAX, "{} accounts are counted", accounts.len());
    for (place, account) in accounts.iter().enumerate() {
        assert!(!accounts[..place].contains(account), "an account is counted twice");
    }
    spelt_alike(&String::from_utf8_lossy(body).chars().take(NAME_MAX).collect::<String>());
}

/// Many databases take these for one name: a guesser must not have more guesses for them.
fn spelt_alike(name: &str) {
    let counted = |name: &str| {
        let value: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = format!("email={value}&password=x");
        accounts(&site(0), Uri::from_static("/login"), None, body.as_bytes())
    };
    let plain = counted(name);
    let invisible: String = name.chars().flat_map(|c| [c, '\u{200b}']).collect();
    for spelling in [format!(" {name}\t"), name.to_ascii_uppercase(), invisible] {
        assert!(counted(&spelling) == plain, "{spelling:?} is another account than {name:?}");
    }
}

/// Under what an attempt is counted; `None` where it is none, cannot be read or does not go on.
fn accounts(
    site: &Site,
    uri: Uri,
    content_type: Option<&[u8]>,
    body: &[u8],
) -> Option<Vec<CounterKey>> {
    let (head, ()) = Request::post(uri).body(()).ok()?.into_parts();
    let expected = LoginGuard::recognise(site, &head)?;
    let ledger = Arc::new(Ledger::default());
    let (counter, watcher) = (Arc::clone(&ledger), Arc::clone(&ledger));
    let guard = LoginGuard::new(counter, &[1; 32], watcher);
    let claims = expected.claims(content_type, body, Extent::Whole).ok()?;
    let claim = claims.first()?;
    let client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST), device: None };
    let limits = Arc::new(LoginLimits::default());
    let waiting = pin!(guard.reserve(&expected, claim, client, &limits));
    match waiting.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Verdict::Admit(attempt)) => attempt.settle(Outcome::Neutral),
        Poll::Ready(Verdict::Proven | Verdict::Refuse(_)) | Poll::Pending => return None,
    }
    Some(std::mem::take(&mut *ledger.0.lock().expect("nothing panics while it writes")))
}

/// Admits everyone and remembers under what.
#[derive(Default)]
struct Ledger(Mutex<Vec<CounterKey>>);

impl AttemptCounter for Ledger {
    fn reserve<'a>(
        &'a self,
        tried: Tried,
        limits: &'a Arc<LoginLimits>,
    ) -> CounterFuture<'a, Reserved> {
        self.0.lock().expect("nothing panics while it writes").clone_from(&tried.accounts);
        let (trust, limits) = (Trust::Stranger, Arc::clone(limits));
        let reserved = Reserved::Admitted(Reservation { tried, trust, limits, lease: None });
        Box::pin(std::future::ready(reserved))
    }

    fn settle(&self, _reservation: Reservation, _outcome: Outcome, _told: LockTold) {}

    fn locked_accounts(&self) -> usize {
        0
    }

    fn is_degraded(&self) -> bool {
        false
    }
}

impl LockDesk for Ledger {
    fn locked(&self, _most: usize) -> CounterFuture<'_, Vec<Lock>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn release(&self, _dimension: Dimension, _key: CounterKey) -> CounterFuture<'_, usize> {
        Box::pin(std::future::ready(0))
    }

    fn explain<'a>(
        &'a self,
        _tried: &'a Tried,
        _limits: &'a LoginLimits,
    ) -> CounterFuture<'a, Vec<Standing>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

impl LockWatcher for Ledger {
    fn locked(&self, _site: &SiteName, _lock: &Lock) {}
}

fn site(kind: usize) -> Site {
    let every = PathPattern::parse("*").expect("a star is a pattern");
    let rule = |field: Option<&str>, carrier: Carrier| {
        let subject_field = field.and_then(FieldPath::parse);
        Arc::new(GuardRule { subject_field, carrier, ..GuardRule::login(every.clone()) })
    };
    let logins = match kind % 5 {
        0 => Vec::new(),
        1 => vec![rule(None, Carrier::Fields)],
        2 => vec![rule(Some("customer.mail"), Carrier::Fields)],
        3 => vec![rule(None, Carrier::Graphql(None))],
        _ => vec![rule(None, Carrier::XmlRpc)],
    };
    Site {
        name: SiteName("shop.example".into()),
        hosts: Vec::new(),
        upstreams: Vec::new(),
        balance: Balance::default(),
        maintenance: Maintenance::default(),
        logins,
        guards: Vec::new(),
        blocks: Vec::new(),
        routes: Vec::new(),
    }
}
