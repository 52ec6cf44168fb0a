//! TLS on the client side, and certificates replaced under it (issue item 2, promises P4 and P5).

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion};

use crate::harness::frames::{Shop, TEXT, WebSocket};
use crate::harness::{
    Client, Dice, H2, HOST, Identity, KeyKind, Setup, Sidecar, Tls, Upstream, Watched,
    certificates, eventually,
};

fn leaf(sidecar: &Sidecar, name: &str) -> CertificateDer<'static> {
    let client = Tls::new(name).connect(sidecar.address("https")).unwrap();
    client.handshake().leaf.clone()
}

#[test]
fn tls_1_2_and_1_3_are_spoken_where_the_profile_says_so() {
    let sidecar = Setup::new(&Upstream::ok()).listen("profile = \"intermediate\"").start();
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let tls = Tls::with(HOST, &[version], &[b"http/1.1"]);
        let mut client = tls.connect(sidecar.address("https")).unwrap();
        assert_eq!(client.handshake().version, Some(expected));
        assert_eq!(client.get("/").text(), "ok");
    }
}

#[test]
fn alpn_chooses_the_protocol() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let agreed = |offer: &[&[u8]]| {
        let tls = Tls::with(HOST, rustls::ALL_VERSIONS, offer);
        tls.connect(sidecar.address("https")).unwrap().handshake().alpn.clone()
    };
    assert_eq!(agreed(&[b"http/1.1"]).as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(agreed(&[b"h2", b"http/1.1"]).as_deref(), Some(&b"h2"[..]));
    assert_eq!(agreed(&[b"http/1.1", b"h2"]).as_deref(), Some(&b"h2"[..]));
    assert_eq!(agreed(&[]), None);
    let tls = Tls::with(HOST, rustls::ALL_VERSIONS, &[]);
    assert_eq!(tls.connect(sidecar.address("https")).unwrap().get("/").text(), "ok");
    // RFC 7301 section 3.2: no overlap is fatal.
    let tls = Tls::with(HOST, rustls::ALL_VERSIONS, &[b"spdy/1"]);
    assert!(tls.connect(sidecar.address("https")).is_err());
}

#[test]
fn sni_chooses_the_exact_name_before_the_wildcard() {
    let exact = Identity::new(&["www.shop.example"]);
    let setup = Setup::new(&Upstream::ok())
        .file("tls/www.pem", &exact.chain)
        .file("tls/www.key", &exact.key)
        .tables("[[certificate]]\nchain = \"tls/www.pem\"\nkey = \"tls/www.key\"");
    let sidecar = setup.start();
    let wild = leaf(&sidecar, HOST);
    assert_eq!(leaf(&sidecar, "www.shop.example"), exact.leaf());
    assert_eq!(leaf(&sidecar, "WWW.Shop.Example"), exact.leaf());
    assert_ne!(wild, exact.leaf());
    assert_eq!(leaf(&sidecar, "api.shop.example"), wild);
}

#[test]
fn every_encoding_of_a_key_is_read() {
    for kind in [KeyKind::EcdsaPkcs8, KeyKind::EcdsaSec1, KeyKind::RsaPkcs1, KeyKind::RsaPkcs8] {
        let identity = Identity::with_key(&[HOST], kind);
        let setup = Setup::new(&Upstream::ok())
            .file("tls/shop.pem", &identity.chain)
            .file("tls/shop.key", &identity.key);
        let sidecar = setup.start();
        assert_eq!(leaf(&sidecar, HOST), identity.leaf(), "{kind:?}");
        assert_eq!(sidecar.https().get("/").text(), "ok", "{kind:?}");
    }
}

#[test]
fn a_second_connection_resumes() {
    let sidecar = Setup::new(&Upstream::ok()).listen("profile = \"intermediate\"").start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tls = Tls::with(HOST, &[version], &[b"http/1.1"]);
        let mut first = tls.connect(sidecar.address("https")).unwrap();
        first.get("/");
        let second = tls.connect(sidecar.address("https")).unwrap();
        assert_eq!(second.handshake().kind, Some(HandshakeKind::Resumed), "{version:?}");
    }
}

/// Replaces the shop's certificate as `replace` does, while a connection is open.
fn assert_replaced(layout: fn(&Path, &Identity), replace: fn(&Path, &Identity)) {
    let (old, new) = (Identity::new(&[HOST]), Identity::new(&[HOST]));
    let folder = tempfile::tempdir().unwrap();
    layout(folder.path(), &old);
    let files = folder.path().display();
    let setup = Setup::new(&Upstream::ok());
    let text = setup.text().replace("tls/shop", &format!("{files}/shop"));
    let sidecar = setup.start();
    let mark = sidecar.mark();
    sidecar.write_config(&text);
    sidecar.sighup();
    sidecar.wait_for_log(mark, "reloaded");
    assert_eq!(leaf(&sidecar, HOST), old.leaf());

    let tls = Tls::new(HOST);
    let mut open = tls.connect(sidecar.address("https")).unwrap();
    assert_eq!(open.get("/").text(), "ok");
    let mut browser = H2::connect(sidecar.address("https"), HOST);
    assert_eq!(browser.get("/").text(), "ok");
    replace(folder.path(), &new);
    eventually("the new certificate is served", || {
        (leaf(&sidecar, HOST) == new.leaf()).then_some(())
    });
    assert_eq!(open.get("/").text(), "ok", "the open connection was disturbed");
    assert_eq!(browser.get("/").text(), "ok", "the open HTTP/2 connection was disturbed");
    let resumed = tls.connect(sidecar.address("https")).unwrap();
    assert_eq!(resumed.handshake().kind, Some(HandshakeKind::Resumed));
}

fn in_place(folder: &Path, identity: &Identity) {
    identity.write(folder, "shop");
}

#[test]
fn p5_a_certificate_rewritten_in_place_is_served() {
    assert_replaced(in_place, in_place);
}

#[test]
fn p5_a_certificate_renamed_over_the_old_one_is_served() {
    assert_replaced(in_place, |folder, identity| {
        let (chain, key) = identity.write(folder, "next");
        fs::rename(key, folder.join("shop.key")).unwrap();
        fs::rename(chain, folder.join("shop.pem")).unwrap();
    });
}

/// As a Kubernetes secret volume: `shop.pem -> ..data/shop.pem`, `..data -> ..<time>`.
fn secret_volume(folder: &Path, generation: &str, identity: &Identity) {
    identity.write(&folder.join(generation), "shop");
    symlink(generation, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[test]
fn p5_a_kubernetes_symlink_swap_is_noticed() {
    assert_replaced(
        |folder, identity| {
            secret_volume(folder, "..2026_01", identity);
            symlink("..data/shop.pem", folder.join("shop.pem")).unwrap();
            symlink("..data/shop.key", folder.join("shop.key")).unwrap();
        },
        |folder, identity| {
            secret_volume(folder, "..2026_02", identity);
            fs::remove_dir_all(folder.join("..2026_01")).unwrap();
        },
    );
}

/// As certbot: `live/shop.pem -> archive/shop1.pem`.
#[test]
fn p5_a_certbot_symlink_that_is_pointed_elsewhere_is_noticed() {
    fn point(folder: &Path, archive: &str) {
        for kind in ["key", "pem"] {
            let link = folder.join(format!("shop.{kind}"));
            let _ = fs::remove_file(&link);
            symlink(format!("archive/{archive}.{kind}"), link).unwrap();
        }
    }
    assert_replaced(
        |folder, identity| {
            identity.write(&folder.join("archive"), "shop1");
            point(folder, "shop1");
        },
        |folder, identity| {
            identity.write(&folder.join("archive"), "shop2");
            point(folder, "shop2");
        },
    );
}

#[test]
fn p4_a_key_of_another_certificate_is_refused_and_the_old_pair_stays() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let before = leaf(&sidecar, HOST);
    let (mark, tls) = (sidecar.mark(), sidecar.folder().join("tls"));
    fs::write(tls.join("shop.key"), &Identity::new(&[HOST]).key).unwrap();
    let refused = sidecar.wait_for_log(mark, "certificates refused");
    assert!(refused["problem"].as_str().unwrap().contains("shop.key"), "{refused}");
    assert_eq!(leaf(&sidecar, HOST), before);
    assert_eq!(sidecar.https().get("/").text(), "ok");
    let differs = || sidecar.metric("tillgate_certificate_file_differs", &[HOST]);
    eventually("the refusal shows", || (differs() == 1.0).then_some(()));
    assert!(sidecar.metric("tillgate_certificate_loaded_timestamp_seconds", &[HOST]) > 1e9);
    let next = Identity::new(&[HOST]);
    next.write(&tls, "shop");
    eventually("a good pair is served again", || {
        (leaf(&sidecar, HOST) == next.leaf()).then_some(())
    });
    eventually("and shows no more", || (differs() == 0.0).then_some(()));
}

#[test]
fn p4_garbage_in_a_certificate_file_changes_nothing() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let before = leaf(&sidecar, HOST);
    for garbage in ["", "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n"] {
        let mark = sidecar.mark();
        fs::write(sidecar.folder().join("tls/shop.pem"), garbage).unwrap();
        sidecar.wait_for_log(mark, "certificates refused");
        assert_eq!(leaf(&sidecar, HOST), before);
    }
}

#[test]
fn a_key_that_is_open_to_everybody_is_told_with_its_mode_and_the_remedy() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let key = sidecar.folder().join("tls/shop.key");
    let give = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    let checked = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
        let output = command.args(["check", "--config"]).arg(sidecar.config()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let (mark, remedy) = (sidecar.mark(), format!("chmod o-rwx {}", key.display()));
    give(0o604);
    let told = sidecar.wait_for_log(mark, "certificate warning")["problem"].clone();
    let told = told.as_str().unwrap();
    assert!(told.contains("mode 0604") && told.ends_with(&remedy), "{told}");
    assert!(checked().contains(told));
    give(0o640);
    assert!(!checked().contains("chmod"), "a group is the operator's choice");
    assert_eq!(sidecar.https().get("/").text(), "ok");
}

#[test]
fn clear_text_on_the_tls_port_harms_nobody() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let mut lost = Client::plain(sidecar.address("https"));
    lost.send("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    lost.rest();
    assert_eq!(sidecar.https().get("/").text(), "ok");
}

#[test]
fn the_redirect_listener_sends_clients_to_https() {
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\nredirect_to_https = true";
    let sidecar = Sidecar::start(&Upstream::ok(), listen);
    let answer = Client::plain(sidecar.address("redirect")).get("/a/b?c=d");
    assert!(matches!(answer.status, 301 | 308), "{}", answer.status);
    let location = answer.field("location").unwrap();
    assert!(location.starts_with("https://shop.example"), "{location}");
    assert!(location.ends_with("/a/b?c=d"), "{location}");
}

#[test]
fn the_redirect_listener_leads_nowhere_without_a_host_and_a_path() {
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\nredirect_to_https = true";
    let sidecar = Sidecar::start(&Upstream::ok(), listen);
    // To a browser `https:///evil.example` is `https://evil.example`.
    let nameless = "GET /evil.example HTTP/1.0\r\n\r\n";
    let pathless = "OPTIONS * HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    for request in [nameless, pathless] {
        let mut client = Client::plain(sidecar.address("redirect"));
        client.send(request);
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("location")), (400, None), "{request:?}");
    }
}

/// What a client that asks for the authority's word is told.
fn stapled(sidecar: &Sidecar) -> String {
    let ca = sidecar.folder().join("tls/ca.pem");
    let address = sidecar.address("https").to_string();
    let arguments = ["s_client", "-status", "-connect", &address, "-servername", HOST, "-CAfile"];
    let mut command = Command::new("openssl");
    let output = command.args(arguments).arg(ca).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_authority_s_word_is_stapled_when_its_file_comes_and_no_more_when_it_is_gone() {
    let setup = Setup::new(&Upstream::ok());
    let pair = "key = \"tls/shop.key\"\n";
    let text = setup.text().replace(pair, &format!("{pair}ocsp = \"tls/shop.ocsp\"\n"));
    assert!(text.contains("shop.ocsp"), "{text}");
    let shop = Identity::new(&[HOST]);
    let sidecar = setup.file("tls/shop.pem", &shop.chain).file("tls/shop.key", &shop.key).start();
    let mark = sidecar.mark();
    sidecar.write_config(&text);
    sidecar.wait_for_log(mark, "reloaded");
    assert!(stapled(&sidecar).contains("OCSP response: no response sent"));

    let file = sidecar.folder().join("tls/shop.ocsp");
    fs::write(&file, certificates::staple(&shop)).unwrap();
    eventually("the word is stapled", || {
        let told = stapled(&sidecar);
        (told.contains("OCSP Response Status: successful") && told.contains("Cert Status: good"))
            .then_some(())
    });
    assert!(sidecar.metric("tillgate_certificate_staple_expiry_timestamp_seconds", &[]) > 1.7e9);
    fs::write(&file, certificates::staple(&Identity::new(&[HOST]))).unwrap();
    eventually("a word about another certificate is not", || {
        stapled(&sidecar).contains("no response sent").then_some(())
    });
}

/// A shop that answers with this body, the second half of it when it is told to.
fn halting_shop(body: &Arc<Vec<u8>>) -> (Upstream, Arc<Watched<Halt>>) {
    let (body, halt) = (Arc::clone(body), Arc::<Watched<Halt>>::default());
    let told = Arc::clone(&halt);
    let shop = Upstream::start(move |exchange| {
        exchange.arrived();
        let (first, second) = body.split_at(body.len() / 2);
        exchange.begin(200, &[("content-length", &body.len().to_string())])?;
        exchange.raw(first)?;
        told.update(|halt| halt.halfway += 1);
        let on = told.wait_for(|halt| halt.on.then_some(()));
        on.ok_or(std::io::ErrorKind::TimedOut)?;
        exchange.raw(second)
    });
    (shop, halt)
}

#[derive(Default)]
struct Halt {
    halfway: usize,
    on: bool,
}

#[test]
fn p5_downloads_and_a_websocket_outlast_new_certificates_and_a_stricter_policy() {
    const FILES: &str = "files.shop.example";
    let mut dice = Dice::new();
    let body: Vec<_> = (0..512 * 1024).flat_map(|_| dice.below(usize::MAX).to_ne_bytes()).collect();
    let body = Arc::new(body);
    let (echo, (files, halt)) = (Shop::echo(), halting_shop(&body));
    let site = format!("[[site]]\nhosts = [\"{FILES}\"]\nupstreams = [\"{}\"]", files.url());
    let build = |profile: &str| {
        let setup = Setup::new(&echo.upstream).site(&format!("hosts = [\"{HOST}\"]"));
        setup.tables(&site).listen(&format!("profile = \"{profile}\""))
    };
    let sidecar = build("intermediate").start();
    let old = |name| Tls::with(name, &[&rustls::version::TLS12], &[b"http/1.1"]);
    let address = sidecar.address("https");
    let mut download = old(FILES).connect(address).unwrap();
    download.send(format!("GET / HTTP/1.1\r\nhost: {FILES}\r\n\r\n"));
    let streamed = thread::spawn(move || H2::connect(address, FILES).get("/"));
    let mut socket = WebSocket::over(old(HOST).connect(address).unwrap());
    let mut say = |text: &str| {
        socket.send(true, TEXT, text);
        assert_eq!(socket.message(), text);
    };
    assert_eq!(download.head().status, 200);
    // Not the whole half: its end may be kept back, where it could be the beginning of a card number.
    let mut loaded = download.bytes(body.len() / 4);
    halt.wait_for(|halt| (halt.halfway == 2).then_some(())).expect("both are halfway");

    for round in 0..3 {
        let next = Identity::new(&[HOST]);
        next.write(&sidecar.folder().join("tls"), "shop");
        eventually("the new certificate is served", || {
            (leaf(&sidecar, HOST) == next.leaf()).then_some(())
        });
        say(&format!("certificate {round}"));
    }
    let mark = sidecar.mark();
    sidecar.write_config(&build("modern").text());
    sidecar.wait_for_log(mark, "reloaded");
    assert!(old(HOST).connect(address).is_err(), "the new policy is in force");
    say("policy");
    halt.update(|halt| halt.on = true);
    loaded.extend(download.bytes(body.len() - loaded.len()));
    assert!(loaded == *body, "not byte for byte over HTTP/1.1");
    let streamed = streamed.join().unwrap();
    assert!(streamed.status == 200 && streamed.body == *body, "not byte for byte over HTTP/2");
    say("end");
}
