//! The login guard (issue item 4, promise P6).

use std::thread;
use std::time::Instant;

use crate::harness::{Answer, Client, Exchange, ONLY_ACCOUNTS, Setup, Sidecar, Upstream, gzip};

const LOGIN: &str = "[[site.login]]\npath = \"/login\"\naccount_field = \"email\"\n";
/// Says how a shop answers a login.
type Say = fn(&mut Exchange, good: bool) -> std::io::Result<()>;

/// A shop whose one good password is `right`.
fn shop(say: Say) -> Upstream {
    Upstream::start(move |exchange| {
        let good = exchange.request()?.text().contains("right");
        say(exchange, good)
    })
}

/// 401 or a redirect with a cookie.
fn plain(exchange: &mut Exchange, good: bool) -> std::io::Result<()> {
    if good {
        return exchange.answer(302, &[("location", "/account"), ("set-cookie", "sid=1")], b"");
    }
    exchange.answer(401, &[("content-type", "text/html")], b"wrong password")
}

fn guess(client: &mut Client, account: &str, password: &str) -> Answer {
    client.form("/login", &format!("email={account}&password={password}"))
}

fn assert_locked_out(answer: &Answer) -> u64 {
    answer.assert_refused(429);
    answer.field("retry-after").expect("429 without Retry-After").parse().unwrap()
}

#[test]
fn p6_two_hundred_parallel_guesses_pass_no_more_than_the_limit() {
    let shop = shop(plain);
    let sidecar = Setup::new(&shop).site(LOGIN).tables(FIVE).start();
    let (address, begun) = (sidecar.address("http"), Instant::now());
    let guesses: Vec<_> = (0..200)
        .map(|n| {
            thread::spawn(move || {
                guess(&mut Client::plain(address), "ada%40example.com", &format!("w{n}")).status
            })
        })
        .collect();
    let statuses: Vec<_> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
    // One more comes back every twelve seconds.
    let allowed = 5 + usize::try_from(begun.elapsed().as_secs() / 12).unwrap() + 1;
    let passed = statuses.iter().filter(|status| **status == 401).count();
    assert!((1..=allowed).contains(&passed), "{passed} of 200 passed");
    assert_eq!(shop.count(), passed, "the shop saw more than were answered");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 200 - passed);
}

#[test]
fn p6_one_network_cannot_try_many_accounts() {
    let shop = shop(plain);
    let tables = "[login]\nrisk = \"off\"\nnetwork_lockout = { enabled = false }";
    let sidecar = Setup::new(&shop).site(LOGIN).tables(tables).start();
    let mut client = sidecar.https();
    let begun = Instant::now();
    let passed =
        (0..60).filter(|n| guess(&mut client, &format!("user{n}"), "w").status == 401).count();
    let allowed = 20 + usize::try_from(begun.elapsed().as_secs() / 3).unwrap() + 1;
    assert!((20..=allowed).contains(&passed), "{passed} passed the default of 20/min");
    assert_eq!(shop.count(), passed);
}

#[test]
fn p6_the_eleventh_guess_after_ten_failures_is_refused_even_if_right() {
    let shop = shop(plain);
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    for _ in 0..10 {
        assert_eq!(guess(&mut client, "ada", "wrong").status, 401);
    }
    let wait = assert_locked_out(&guess(&mut client, "ada", "right"));
    assert!((1_700..=1_801).contains(&wait), "half an hour, not {wait} s");
    assert_eq!(shop.count(), 10);
    assert_eq!(guess(&mut client, "grace", "right").status, 302, "another account is free");
}

#[test]
fn spelling_the_account_differently_does_not_escape_the_lock() {
    let shop = shop(plain);
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    for _ in 0..10 {
        guess(&mut client, "ada%40example.com", "wrong");
    }
    for account in
        ["ADA%40example.com", "+ada%40example.com", "%61da%40example.com", "ada@example.com"]
    {
        assert_locked_out(&guess(&mut client, account, "right"));
    }
    let body = r#"{"email":"Ada@Example.com","password":"right"}"#;
    assert_locked_out(&client.json("/login", body));
}

#[test]
fn a_success_does_not_count_as_a_failure() {
    let shop = shop(plain);
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    for _ in 0..15 {
        assert_eq!(guess(&mut client, "ada", "right").status, 302);
    }
    assert_eq!(shop.count(), 15);
}

/// A shop without rules that leads everybody back to where he says he came from, with a new session.
fn always_back(exchange: &mut Exchange) -> std::io::Result<()> {
    let request = exchange.request()?;
    let session = format!("sid={}", request.text().len());
    let back = [("location", "/x"), ("set-cookie", session.as_str())];
    exchange.answer(302, &back, b"")
}

#[test]
fn guesses_that_all_look_like_successes_are_not_free() {
    let shop = Upstream::start(always_back);
    let sidecar = Setup::new(&shop).tables("[login]\nrisk = \"off\"").start();
    let mut client = sidecar.https();
    let statuses: Vec<u16> =
        (0..20).map(|n| guess(&mut client, "ada", &format!("guess{n}")).status).collect();
    let passed = statuses.iter().filter(|status| **status == 302).count();
    // The first of them made the network known: from there five failures lock, with delays between.
    assert!((3..=3 + 5).contains(&passed), "three are believed, five lock: {statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    for _ in 0..20 {
        assert_eq!(guess(&mut client, "grace", "the same").status, 302);
    }
    let doubted = u32::try_from(passed - 3).unwrap();
    assert_eq!(sidecar.metric("tillgate_login_doubted_total", &[]), f64::from(doubted));
}

#[test]
fn json_logins_are_guarded_also_by_a_nested_account() {
    let shop = shop(plain);
    let login = "[[site.login]]\npath = \"/api/login\"\naccount_field = \"user.email\"";
    let sidecar = Setup::new(&shop).site(login).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    let body =
        |pass: &str| format!("{{\"user\":{{\"email\":\"ada@x.y\"}},\"password\":\"{pass}\"}}");
    for _ in 0..10 {
        assert_eq!(client.json("/api/login", &body("wrong")).status, 401);
    }
    assert_locked_out(&client.json("/api/login", &body("right")));
    assert_eq!(shop.seen()[0].text(), body("wrong"), "the login arrives as it was sent");
}

#[test]
fn every_sign_of_success_and_failure_is_understood() {
    let cases: [(&str, Say); 6] = [
        ("failure = { status = [403] }", |exchange, good| {
            exchange.answer(if good { 200 } else { 403 }, &[], b"")
        }),
        ("success = { location = \"^/account\" }", |exchange, good| {
            let place = if good { "/account" } else { "/login?error=1" };
            exchange.answer(302, &[("location", place)], b"")
        }),
        ("success = { cookie = \"session\" }", |exchange, good| {
            let cookie = if good { "session=abc; HttpOnly" } else { "theme=dark" };
            exchange.answer(200, &[("set-cookie", cookie)], b"hello")
        }),
        ("failure = { body = \"(?i)wrong password\" }", |exchange, good| {
            let text: &[u8] = if good { b"welcome" } else { b"<p>Wrong password</p>" };
            exchange.answer(200, &[("content-type", "text/html")], text)
        }),
        ("failure = { body = '\"ok\":\\s*false' }", |exchange, good| {
            let text: &[u8] = if good { b"{\"ok\":true}" } else { b"{\"ok\": false}" };
            exchange.chunked(&[("content-type", "application/json")], &[&text[..5], &text[5..]])
        }),
        ("", plain),
    ];
    for (signs, say) in cases {
        let shop = shop(say);
        let sidecar = Setup::new(&shop).site(LOGIN).site(signs).tables(ONLY_ACCOUNTS).start();
        let mut client = sidecar.https();
        for _ in 0..12 {
            assert_ne!(guess(&mut client, "grace", "right").status, 429, "{signs}: a success");
        }
        for _ in 0..10 {
            assert_ne!(guess(&mut client, "ada", "wrong").status, 429, "{signs}: too early");
        }
        assert_eq!(guess(&mut client, "ada", "right").status, 429, "{signs}: not locked");
    }
}

#[test]
fn a_refusal_speaks_the_clients_language() {
    let shop = shop(plain);
    let tables = "[login]\nper_network = \"1/min\"\nper_account = \"1/min\"";
    let sidecar = Setup::new(&shop).site(LOGIN).tables(tables).start();
    let mut client = sidecar.https();
    guess(&mut client, "ada", "wrong");
    for (accept, expected) in [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain"),
    ] {
        let fields = [("accept", accept), ("content-type", "application/x-www-form-urlencoded")];
        let answer = client.request("POST", "/login", &fields, b"email=ada&password=w");
        assert_locked_out(&answer);
        assert!(answer.field("content-type").unwrap().starts_with(expected), "{accept}");
        let id = answer.field("x-request-id").unwrap();
        assert!(answer.text().contains(id), "the page does not show the request id");
        if expected == "application/json" {
            serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap();
        }
    }
}

#[test]
fn a_get_of_the_login_page_is_no_attempt() {
    let shop = Upstream::ok();
    let tables = "[login]\nper_network = \"2/min\"\nper_account = \"2/min\"";
    let sidecar = Setup::new(&shop).site(LOGIN).tables(tables).start();
    let mut client = sidecar.https();
    for _ in 0..10 {
        assert_eq!(client.get("/login").status, 200);
    }
}

#[test]
fn http2_and_http1_share_the_limits() {
    let shop = shop(plain);
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    for _ in 0..5 {
        guess(&mut sidecar.https(), "ada", "wrong");
    }
    let mut browser = sidecar.h2();
    let fields = [("content-type", "application/x-www-form-urlencoded")];
    for _ in 0..5 {
        browser.request("POST", "/login", &fields, b"email=ada&password=wrong");
    }
    let answer = browser.request("POST", "/login", &fields, b"email=ada&password=right");
    assert_locked_out(&answer);
}

#[test]
fn account_names_are_not_written_anywhere() {
    let shop = shop(plain);
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    for _ in 0..12 {
        guess(&mut sidecar.https(), "very-private-name", "wrong-secret-word");
    }
    let audit = std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    let written = sidecar.written() + &sidecar.metrics() + &audit;
    assert!(!written.contains("very-private-name") && !written.contains("wrong-secret-word"));
}

#[test]
fn each_site_guards_its_own_login_by_default_signs() {
    let shop = shop(plain);
    // No [[site.login]] at all: the usual paths and fields are found by themselves.
    let sidecar = Sidecar::start(&shop, ONLY_ACCOUNTS);
    let mut client = sidecar.https();
    for _ in 0..10 {
        guess(&mut client, "ada", "wrong");
    }
    assert_locked_out(&guess(&mut client, "ada", "right"));
}

/// Limits that only the quota of one account can reach.
const FIVE: &str = "[login]\nper_network = \"off\"\nper_wide_network = \"off\"\nper_account = \"5/min\"\n\
    pair_lockout = { enabled = false }\nnetwork_lockout = { enabled = false }\n";

#[test]
fn a_body_in_another_form_does_not_pass_the_limit() {
    let shop = shop(plain);
    let sidecar = Sidecar::start(&shop, FIVE);
    let mut client = sidecar.https();
    let form = "application/x-www-form-urlencoded; a=json";
    let json = "application/json";
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let multipart = "--B\r\nContent-Disposition: form-data; x=\"; name=foo\"; name=\"email\"\r\n\r\nh\r\n\
         --B\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nw\r\n--B--\r\n";
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let cases: [(&str, &str, Vec<u8>); 9] = [
        ("/login", form, b"email=a&password=w".to_vec()),
        ("/login", json, format!(r#"{{"x":{deep},"email":"b","password":"w"}}"#).into()),
        ("/login", json, br#"{"x":1e999,"email":"c","password":"w"}"#.to_vec()),
        ("/login", json, br#"{"x":"\ud800","email":"d","password":"w"}"#.to_vec()),
        ("/login", json, utf16(r#"{"email":"e","password":"w"}"#)),
        ("/login", form, b"email%00x=f&password=w".to_vec()),
        ("/login.", form, b"email=g&password=w".to_vec()),
        ("/login", "multipart/form-data,boundary =B", multipart.into()),
        ("/index.php?ro%75te=account/login", form, b"email=i&password=w".to_vec()),
    ];
    for (target, kind, body) in cases {
        let mut passed = 0;
        for _ in 0..8 {
            let answer = client.request("POST", target, &[("content-type", kind)], &body);
            passed += usize::from(answer.status == 401);
        }
        assert!((5..=6).contains(&passed), "{passed} of 8 passed: {target} {kind} {body:?}");
    }
}

#[test]
fn a_login_that_cannot_be_read_is_refused() {
    let shop = shop(plain);
    let sidecar = Setup::new(&shop).site(LOGIN).tables(FIVE).start();
    let mut client = sidecar.https();
    client.json("/login", r#"{"password":"w","x":"y"#).assert_refused(400);
    let fields = [("content-type", "multipart/form-data")];
    client.request("POST", "/login", &fields, b"--B\r\n\r\n").assert_refused(400);
}

#[test]
fn neither_a_range_nor_another_method_reaches_the_shop_with_a_login() {
    let shop = shop(plain);
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let fields = [form, ("range", "bytes=0-0"), ("if-none-match", "*")];
    client.request("POST", "/login", &fields, b"email=ada&password=w");
    let fields = [form, ("x-http-method-override", "POST")];
    client.request("PUT", "/login", &fields, b"email=ada&password=w");
    for seen in shop.seen() {
        for name in ["range", "if-none-match", "x-http-method-override"] {
            assert!(seen.field(name).is_none(), "{name} reached the shop");
        }
    }
}

#[test]
fn a_large_body_that_is_no_login_passes_where_no_login_is_configured() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, ONLY_ACCOUNTS);
    let padding = "a".repeat(200_000);
    assert_eq!(sidecar.https().form("/api/sessions", &format!("note={padding}")).status, 200);
    sidecar
        .https()
        .form("/api/sessions", &format!("password=w&note={padding}"))
        .assert_refused(413);
    sidecar.https().form("/login", &format!("note={padding}")).assert_refused(413);
}

#[test]
fn a_short_compressed_answer_is_judged_by_what_it_says() {
    let shop = shop(|exchange, good| {
        let page =
            gzip(if good { b"welcome".as_slice() } else { b"<form><input type=password></form>" });
        let kind = ("content-type", "text/html");
        exchange.answer(200, &[kind, ("content-encoding", "gzip"), ("set-cookie", "a=b")], &page)
    });
    let sidecar = Setup::new(&shop).site(LOGIN).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    for _ in 0..10 {
        assert_eq!(guess(&mut client, "ada", "wrong").status, 200);
    }
    assert_locked_out(&guess(&mut client, "ada", "right"));
}

#[test]
fn a_short_compressed_login_is_read() {
    let shop = shop(plain);
    let sidecar = Sidecar::start(&shop, FIVE);
    let mut client = sidecar.https();
    let fields =
        [("content-type", "application/x-www-form-urlencoded"), ("content-encoding", "gzip")];
    let body = gzip(b"email=ada&password=wrong");
    let answers = (0..8).map(|_| client.request("POST", "/login", &fields, &body).status);
    let passed = answers.filter(|status| *status != 429).count();
    assert!((5..=6).contains(&passed), "{passed} of 8 passed");
}
