use super::*;

const WORK: ProofOfWork = ProofOfWork { always: true, bits: 8, lifetime: Duration::from_secs(300) };

fn proofs() -> Proofs {
    Proofs::new(&[7; 32])
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Calls with the asker that two texts name.
fn by<R>(site: &str, client: &str, ask: impl FnOnce(Asker<'_>) -> R) -> R {
    ask(Asker { site: &SiteName(site.into()), client: client.parse().unwrap() })
}

fn solve(challenge: &Challenge, bits: u8) -> String {
    let solutions = (0_u64..).map(|n| format!("{}.{n}", challenge.text()));
    let holds = |shown: &String| {
        let hash = digest::digest(&digest::SHA256, shown.as_bytes());
        zero_bits(hash.as_ref()) >= u32::from(bits)
    };
    solutions.into_iter().find(holds).unwrap()
}

fn with_cookie(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_str(value).unwrap());
    headers
}

fn solved(proofs: &Proofs) -> HeaderMap {
    let challenge = by("shop", "192.0.2.1", |asker| proofs.challenge(asker, WORK, at(1000)));
    with_cookie(&format!("a=1; __Host-tillgate-proof={}; b=2", solve(&challenge, WORK.bits)))
}

fn redeem(proofs: &Proofs, headers: &HeaderMap, now: u64) -> ProofOutcome {
    by("shop", "192.0.2.1", |asker| proofs.redeem(headers, asker, WORK, at(now)))
}

#[test]
fn a_proof_is_accepted_once() {
    let proofs = proofs();
    let headers = solved(&proofs);
    assert_eq!(redeem(&proofs, &headers, 1001), ProofOutcome::Accepted);
    assert_eq!(redeem(&proofs, &headers, 1001), ProofOutcome::Spent);
}

#[test]
fn a_proof_in_the_field_and_one_over_http_count_too() {
    let proofs = proofs();
    for name in ["cookie", "x-tillgate-proof"] {
        let challenge = by("shop", "192.0.2.1", |asker| proofs.challenge(asker, WORK, at(1000)));
        let prefix = if name == "cookie" { "tillgate-proof=" } else { "" };
        let value = format!("{prefix}{}", solve(&challenge, WORK.bits));
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(&value).unwrap());
        assert_eq!(redeem(&proofs, &headers, 1001), ProofOutcome::Accepted);
    }
}

#[test]
fn a_proof_is_good_for_one_site_and_network_only() {
    let proofs = proofs();
    let headers = solved(&proofs);
    for (site, client) in [("other", "192.0.2.1"), ("shop", "192.0.2.2"), ("shop", "2001:db8::1")] {
        let outcome = by(site, client, |asker| proofs.redeem(&headers, asker, WORK, at(1001)));
        assert_eq!(outcome, ProofOutcome::Forged, "{site} {client}");
    }
    assert_eq!(redeem(&Proofs::new(&[8; 32]), &headers, 1001), ProofOutcome::Forged);
    assert_eq!(redeem(&proofs, &headers, 1001), ProofOutcome::Accepted);
    let challenge = by("shop", "2001:db8::1", |asker| proofs.challenge(asker, WORK, at(1000)));
    let headers = with_cookie(&format!("tillgate-proof={}", solve(&challenge, WORK.bits)));
    let moved =
        by("shop", "2001:db8::ffff:2", |asker| proofs.redeem(&headers, asker, WORK, at(1001)));
    assert_eq!(moved, ProofOutcome::Accepted, "a phone that moved within its network");
}

#[test]
fn a_proof_ends_with_its_challenge() {
    let proofs = proofs();
    let headers = solved(&proofs);
    assert_eq!(redeem(&proofs, &headers, 1301), ProofOutcome::Late);
    assert_eq!(redeem(&proofs, &headers, 999), ProofOutcome::Late, "from a clock that is ahead");
    assert_eq!(redeem(&proofs, &headers, 1300), ProofOutcome::Accepted);
}

#[test]
fn too_little_work_is_no_proof() {
    let proofs = proofs();
    let challenge = by("shop", "192.0.2.1", |asker| proofs.challenge(asker, WORK, at(1000)));
    let shown = (0..)
        .map(|n| format!("{}.{n}", challenge.text()))
        .find(|shown| zero_bits(digest::digest(&digest::SHA256, shown.as_bytes()).as_ref()) < 8);
    let headers = with_cookie(&format!("tillgate-proof={}", shown.unwrap()));
    assert_eq!(redeem(&proofs, &headers, 1001), ProofOutcome::TooLittle);
    // An easy one from before the operator asked for more.
    let headers = solved(&proofs);
    let harder = ProofOfWork { bits: 9, ..WORK };
    let outcome = by("shop", "192.0.2.1", |asker| proofs.redeem(&headers, asker, harder, at(1001)));
    assert_eq!(outcome, ProofOutcome::TooLittle);
}

#[test]
fn what_was_tampered_with_is_forged() {
    let proofs = proofs();
    let challenge = by("shop", "192.0.2.1", |asker| proofs.challenge(asker, WORK, at(1000)));
    let mut bytes = base64::decode(challenge.text()).unwrap();
    for place in 0..bytes.len() {
        bytes[place] ^= 1;
        let headers = with_cookie(&format!("tillgate-proof={}.1", base64::encode(&bytes)));
        assert_eq!(redeem(&proofs, &headers, 1001), ProofOutcome::Forged, "byte {place}");
        bytes[place] ^= 1;
    }
    let sound = solve(&challenge, WORK.bits);
    for junk in ["", ".", "a.1", "x", &format!("{sound}x"), &format!("{sound}.1"), &"9".repeat(99)]
    {
        let headers = with_cookie(&format!("tillgate-proof={junk}"));
        assert_eq!(redeem(&proofs, &headers, 1001), ProofOutcome::Forged, "{junk}");
    }
    assert_eq!(redeem(&proofs, &with_cookie("session=1"), 1001), ProofOutcome::Missing);
}

#[test]
fn a_stale_cookie_does_not_hide_a_fresh_one_and_many_are_not_looked_at() {
    let proofs = proofs();
    let fresh = solved(&proofs)[COOKIE].to_str().unwrap().to_owned();
    let headers = with_cookie(&format!("tillgate-proof=junk; {fresh}"));
    assert_eq!(redeem(&proofs, &headers, 1001), ProofOutcome::Accepted);
    let many = "tillgate-proof=junk; ".repeat(SHOWN_MAX);
    let fresh = solved(&proofs)[COOKIE].to_str().unwrap().to_owned();
    assert_eq!(redeem(&proofs, &with_cookie(&(many + &fresh)), 1001), ProofOutcome::Forged);
}

#[test]
fn the_shop_sees_no_proof() {
    let stripped = |value: &str| {
        let mut headers = with_cookie(value);
        headers.insert(FIELD, HeaderValue::from_static("x.1"));
        strip(&mut headers);
        assert!(!headers.contains_key(FIELD));
        headers.get(COOKIE).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(stripped("a=1; tillgate-proof=x.1; b=2").as_deref(), Some("a=1; b=2"));
    assert_eq!(stripped("__Host-tillgate-proof=x.1").as_deref(), None);
    assert_eq!(
        stripped("a=1;b=2; tillgate-proofs=1").as_deref(),
        Some("a=1;b=2; tillgate-proofs=1")
    );
}
