//! Paths that two servers read differently (RFC 3986 section 6.2.2): one view of them for routes, limits
//! and rules, and for the shop the path as it was written.

use crate::harness::{ONLY_ACCOUNTS, Setup, Upstream, cards};

/// Ways to write `/api/pay` that some server takes for it.
const SPELLINGS: [&str; 16] = [
    "//api/pay",
    "/api//pay",
    "/./api/pay",
    "/api/./pay",
    "/x/../api/pay",
    "/api/x/../pay",
    "/%61pi/pay",
    "/api%2fpay",
    "/api%2Fpay",
    "/api%5cpay",
    "/api\\pay",
    "/x/%2e%2e/api/pay",
    "/x/..%2fapi/pay",
    "/api;v=1/pay",
    "/api/pay;jsessionid=1",
    "/api/pay%00.css",
];

fn as_written(target: &str, seen: &str) {
    assert_eq!(seen, target, "not as it was written");
}

#[test]
fn a_route_takes_every_spelling_and_the_shop_gets_the_path_as_it_was_written() {
    let shop = Upstream::ok();
    let route = "[[site.route]]\npath = \"/api/pay\"\n\
                 cards = { requests = \"reject\" }\n\
                 [[site.route]]\npath = \"/*\"\ncards = { requests = \"off\", responses = \"off\" }";
    let sidecar = Setup::new(&shop).site(route).start();
    let mut client = sidecar.https();
    for target in SPELLINGS {
        let before = shop.count();
        let body = format!("number={}", cards::fresh("visa"));
        client.form(target, &body).assert_refused(422);
        assert_eq!(shop.count(), before, "{target}");
        assert_eq!(client.form(target, "number=none").status, 200, "{target}");
        as_written(target, shop.last().target());
    }
}

#[test]
fn a_limit_on_bodies_holds_for_every_spelling() {
    let shop = Upstream::ok();
    let route = "[[site.route]]\npath = \"/api/pay\"\nlimits = { body = \"1KiB\" }";
    let sidecar = Setup::new(&shop).site(route).start();
    for target in SPELLINGS {
        let refused = sidecar.https().form(target, &"x".repeat(2000));
        assert_eq!(refused.status, 413, "{target}");
    }
    assert_eq!(shop.count(), 0);
}

#[test]
fn rules_blocks_and_guards_hold_for_every_spelling() {
    let shop = Upstream::start(|exchange| exchange.answer(401, &[], b"wrong"));
    let tables = "[[site.route]]\npath = \"/api/*\"\naccess = { methods = [\"POST\"] }\n\
                  [[site.block]]\nname = \"hole\"\npath = \"/api/pay\"\nquery = \"evil\"\n\
                  [[site.login]]\npath = \"/api/pay\"\naccount_field = \"email\"";
    let sidecar = Setup::new(&shop).site(tables).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    for target in SPELLINGS {
        client.get(target).assert_refused(405);
        client.form(&format!("{target}?evil"), "a=b").assert_refused(403);
    }
    assert_eq!(shop.count(), 0);
    for _ in 0..10 {
        assert_eq!(client.form("/api/pay", "email=ada&password=w").status, 401);
    }
    for target in SPELLINGS {
        client.form(target, "email=ada&password=w").assert_refused(429);
    }
    assert_eq!(shop.count(), 10);
}

#[test]
fn a_fragment_or_an_unescaped_byte_is_no_path() {
    // RFC 9112 section 3.2: a target has no fragment; RFC 3986 section 2: nor other characters.
    let shop = Upstream::ok();
    let sidecar = crate::harness::Sidecar::start(&shop, "");
    for target in ["/a#b", "/a\u{e9}"] {
        let mut client = sidecar.http();
        client.send(format!("GET {target} HTTP/1.1\r\nhost: shop.example\r\n\r\n"));
        let status = client.answer().status;
        match status {
            400 => {}
            200 => assert!(!shop.last().target().contains('#'), "{target} went on"),
            other => panic!("{target}: {other}"),
        }
    }
}
