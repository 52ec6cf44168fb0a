//! Who clients are, and for whom a connection was opened (issue item 3).

use crate::harness::{
    Client, HOST, Identity, Setup, Sidecar, Tls, Upstream, certificates, eventually,
};

const FIELDS: [&str; 4] = ["verified", "subject", "serial", "fingerprint"];

fn asking(shop: &Upstream, mode: &str, revoked: &[&Identity]) -> Setup {
    let auth =
        format!("client_auth = {{ ca = \"tls/ca.pem\", mode = \"{mode}\", crl = \"tls/ca.crl\" }}");
    Setup::new(shop).listen(&auth).file("tls/ca.crl", &certificates::revoking(revoked))
}

fn showing(sidecar: &Sidecar, identity: &Identity) -> std::io::Result<Client> {
    Tls::new(HOST).showing(identity).connect(sidecar.address("https"))
}

fn served(sidecar: &Sidecar, client: std::io::Result<Client>) -> bool {
    // TLS 1.3 tells a client that it is refused only after its own handshake has ended.
    let answer = client.and_then(|mut client| client.try_request("GET", "/", &[], b""));
    let _still_there = sidecar.metrics();
    answer.is_ok_and(|answer| answer.status == 200)
}

/// What the shop was told of the client's certificate.
fn told(shop: &Upstream, field: &str) -> Option<String> {
    let name = format!("x-client-cert-{field}");
    shop.last().head.field(&name).map(str::to_owned)
}

#[test]
fn who_must_show_a_certificate_and_does_not_is_refused_and_the_shop_is_told_who_did() {
    let shop = Upstream::ok();
    let (ada, eve) = (Identity::new(&["ada.example"]), Identity::new(&["eve.example"]));
    let sidecar = asking(&shop, "required", &[&eve]).start();
    let nobody = Tls::new(HOST).connect(sidecar.address("https"));
    assert!(!served(&sidecar, nobody));
    assert!(!served(&sidecar, showing(&sidecar, &eve)), "revoked");
    assert_eq!(shop.count(), 0);
    assert!(served(&sidecar, showing(&sidecar, &ada)));
    assert_eq!(told(&shop, "verified").as_deref(), Some("SUCCESS"));
    assert_eq!(told(&shop, "subject").as_deref(), Some("CN=tillgate test leaf"));
    let failed = || {
        let name = "tillgate_tls_handshake_failures_total";
        (sidecar.metric(name, &["client_certificate"]) >= 2.0).then_some(())
    };
    eventually("both refusals are counted", failed);
}

#[test]
fn who_may_show_a_certificate_is_told_apart_and_nobody_says_it_of_himself() {
    let shop = Upstream::ok();
    let ada = Identity::new(&["ada.example"]);
    let sidecar = asking(&shop, "optional", &[]).start();
    let lies: Vec<(String, &str)> = FIELDS
        .iter()
        .flat_map(|field| [format!("X-Client-Cert-{field}"), format!("x_client.cert_{field}")])
        .chain(["Client-Cert".to_owned(), "client_cert_chain".to_owned()])
        .map(|name| (name, "evil"))
        .collect();
    let lies: Vec<_> = lies.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let honest = || !shop.last().head.fields.iter().any(|(_, value)| value == "evil");

    let mut nobody = sidecar.https();
    assert_eq!(nobody.request("GET", "/", &lies, b"").status, 200);
    assert_eq!(told(&shop, "verified").as_deref(), Some("NONE"));
    assert_eq!(told(&shop, "subject"), None);
    assert!(honest());
    let mut known = showing(&sidecar, &ada).unwrap();
    assert_eq!(known.request("GET", "/", &lies, b"").status, 200);
    assert_eq!(told(&shop, "verified").as_deref(), Some("SUCCESS"));
    assert_eq!(told(&shop, "fingerprint").unwrap().len(), 64);
    assert!(told(&shop, "serial").is_some() && honest());
    // Where nobody is asked, nothing is said, whoever says it.
    assert_eq!(sidecar.http().request("GET", "/", &lies, b"").status, 200);
    assert_eq!(told(&shop, "verified"), None);
    assert!(honest());
}

#[test]
fn a_reload_that_asks_for_certificates_or_takes_one_back_counts_for_open_connections() {
    let shop = Upstream::ok();
    let ada = Identity::new(&["ada.example"]);
    let sidecar = asking(&shop, "optional", &[]).start();
    let (mut nobody, mut known) = (sidecar.https(), showing(&sidecar, &ada).unwrap());
    assert_eq!((nobody.get("/").status, known.get("/").status), (200, 200));

    let mark = sidecar.mark();
    sidecar.write_config(&asking(&shop, "required", &[]).text());
    sidecar.wait_for_log(mark, "reloaded");
    nobody.get("/").assert_refused(421);
    assert_eq!(known.get("/").status, 200);

    let mark = sidecar.mark();
    let list = sidecar.folder().join("tls/ca.crl");
    std::fs::write(list, certificates::revoking(&[&ada])).unwrap();
    sidecar.wait_for_log(mark, "reloaded");
    known.get("/").assert_refused(421);
    assert!(!served(&sidecar, showing(&sidecar, &ada)));
}

#[test]
fn p4_a_broken_list_of_revoked_certificates_changes_nothing() {
    let shop = Upstream::ok();
    let ada = Identity::new(&["ada.example"]);
    let sidecar = asking(&shop, "required", &[&ada]).start();
    let mark = sidecar.mark();
    std::fs::write(sidecar.folder().join("tls/ca.crl"), "nothing").unwrap();
    let refused = sidecar.wait_for_log(mark, "reload refused");
    assert!(refused["problem"].as_str().unwrap().contains("listen.client_auth.crl"), "{refused}");
    assert!(!served(&sidecar, showing(&sidecar, &ada)));
}

#[test]
fn a_client_without_tls_1_3_is_refused_and_the_operator_is_told_what_to_do() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let mark = sidecar.mark();
    let old = Tls::with(HOST, &[&rustls::version::TLS12], &[b"http/1.1"]);
    assert!(old.connect(sidecar.address("https")).is_err());
    let line = sidecar.wait_for_log(mark, "client without TLS 1.3 refused");
    assert!(line["remedy"].as_str().unwrap().contains("intermediate"), "{line}");
    let failed = sidecar.metric("tillgate_tls_handshake_failures_total", &["old_version"]);
    assert_eq!(failed, 1.0);
}

#[test]
fn where_names_are_strict_a_strange_one_is_refused_and_a_reload_ends_that() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).listen("strict_sni = true").start();
    let strange = || Tls::new("strange.example").connect(sidecar.address("https")).err().unwrap();
    assert!(strange().to_string().contains("UnrecognisedName"), "{}", strange());
    assert_eq!(sidecar.https().get("/").status, 200);
    let mark = sidecar.mark();
    sidecar.write_config(&Setup::new(&shop).text());
    sidecar.wait_for_log(mark, "reloaded");
    // Now the first certificate is shown, which is not for that name.
    assert!(strange().to_string().contains("certificate"), "{}", strange());
}

#[test]
fn a_host_is_bound_to_the_name_of_the_handshake() {
    // RFC 9110 section 15.5.20, RFC 6066 section 3.
    let setup =
        Setup::new(&Upstream::ok()).site("hosts = [\"shop.example\", \"www.shop.example\"]");
    let sidecar = setup.start();
    let asked = |name: &str, host: &str| {
        let mut client = Tls::new(name).connect(sidecar.address("https")).unwrap();
        client.host = host.to_owned();
        client.get("/").status
    };
    assert_eq!(asked("shop.example", "www.shop.example"), 200, "of the same site");
    assert_eq!(asked("localhost", "shop.example"), 421, "a name of no site");
}

#[test]
fn clients_resume_at_every_instance_that_has_the_secret() {
    let shop = Upstream::ok();
    let instance = |secret: &str| {
        let setup = Setup::new(&shop).file("ticket.key", secret);
        setup.tables("[tls]\nticket_secret = { file = \"ticket.key\" }").start()
    };
    let secret = "0123456789abcdef0123456789abcdef";
    let (one, other) = (instance(secret), instance(secret));
    let stranger = instance("another one, of at least as many bytes");
    for (second, resumes) in [(&other, true), (&stranger, false)] {
        let tls = Tls::new(HOST);
        let mut first = tls.connect(one.address("https")).unwrap();
        assert_eq!(first.get("/").status, 200);
        let again = tls.connect(second.address("https")).unwrap();
        let kind = again.handshake().kind;
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), resumes, "{kind:?}");
    }
}

#[test]
fn a_list_of_revoked_certificates_that_is_out_of_date_is_told_and_still_counts() {
    let shop = Upstream::ok();
    let (ada, eve) = (Identity::new(&["ada.example"]), Identity::new(&["eve.example"]));
    let old = certificates::revoking_until(&[&eve], 2026);
    let sidecar = asking(&shop, "required", &[]).file("tls/ca.crl", &old).start();
    let line = sidecar.wait_for_log(0, "list of revoked certificates is old");
    assert!(line["remedy"].as_str().unwrap().contains("next list"), "{line}");
    let name = "tillgate_client_revocations_expiry_timestamp_seconds";
    assert_eq!(sidecar.metric(name, &[]), 1_767_225_600.0);
    assert!(served(&sidecar, showing(&sidecar, &ada)));
    assert!(!served(&sidecar, showing(&sidecar, &eve)));
}
