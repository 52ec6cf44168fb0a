//! Who may ask for what, and requests that a known hole of the shop is tried with.

use crate::harness::{Answer, Setup, Sidecar, Upstream, eventually, gzip};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";

fn get(sidecar: &Sidecar, from: &str, target: &str) -> u16 {
    sidecar.http().request("GET", target, &[("x-forwarded-for", from)], b"").status
}

fn ask(sidecar: &Sidecar, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    sidecar.http().request(method, target, fields, b"")
}

fn post(sidecar: &Sidecar, target: &str, fields: &[(&str, &str)], body: &[u8]) -> u16 {
    sidecar.http().request("POST", target, fields, body).status
}

fn breaches(sidecar: &Sidecar, labels: &[&str]) -> f64 {
    sidecar.metric("tillgate_access_breaches_total", labels)
}

fn matches(sidecar: &Sidecar, block: &str, outcome: &str) -> f64 {
    let labels = [format!("block=\"{block}\""), format!("outcome=\"{outcome}\"")];
    sidecar.metric("tillgate_block_matches_total", &labels.each_ref().map(String::as_str))
}

#[test]
fn a_route_lets_in_its_networks_alone_in_every_spelling_of_its_path() {
    let shop = Upstream::ok();
    let routes = "[[site.route]]\npath = \"/admin*\"\n\
                  access = { allow = [\"192.0.2.0/24\", \"office.txt\"], deny = [\"192.0.2.66\"] }\n\
                  [[site.route]]\npath = \"/shop/*\"\naccess = { deny = [\"2001:db8::/32\"] }";
    let setup = Setup::new(&shop).top(TRUSTED).site(routes).file("office.txt", "203.0.113.7\n");
    let sidecar = setup.start();
    for from in ["192.0.2.1", "203.0.113.7", "::ffff:192.0.2.1"] {
        assert_eq!(get(&sidecar, from, "/admin/orders"), 200, "{from}");
    }
    for from in ["192.0.2.66", "203.0.113.8", "2001:db8::1"] {
        assert_eq!(get(&sidecar, from, "/admin/orders"), 403, "{from}");
        assert_eq!(get(&sidecar, from, "/"), 200, "{from}");
    }
    assert_eq!(get(&sidecar, "2001:db8::1", "/shop/cart"), 403);
    assert_eq!(get(&sidecar, "203.0.113.8", "/shop/cart"), 200);
    let count = shop.count();
    let spellings = [
        "//admin",
        "/Admin/x",
        "/%61dmin",
        "/%2561dmin/x",
        "/x/../admin",
        "/admin;a=b",
        "/index.php/admin",
        "/x/%2e%2e/ADMIN/",
        "/./admin/x",
        "/shop/../admin",
    ];
    for target in spellings {
        assert_eq!(get(&sidecar, "198.51.100.1", target), 403, "{target}");
    }
    assert_eq!(shop.count(), count, "a spelling came past");
    assert!(breaches(&sidecar, &["rule=\"network\"", "route=\"/admin*\""]) >= 13.0);
    assert!(sidecar.metric("tillgate_requests_rejected_total", &["network_denied"]) >= 13.0);
}

#[test]
fn a_routes_list_is_read_again_when_it_changes_and_an_empty_one_lets_nobody_in() {
    let shop = Upstream::ok();
    let route = "[[site.route]]\npath = \"/admin/*\"\naccess = { allow = [\"office.txt\"] }";
    let setup = Setup::new(&shop).top(TRUSTED).site(route).file("office.txt", "# nobody yet\n");
    let sidecar = setup.start();
    assert_eq!(get(&sidecar, "192.0.2.1", "/admin/"), 403);
    std::fs::write(sidecar.folder().join("office.txt"), "192.0.2.0/24\n").unwrap();
    eventually("the list is in force", || {
        (get(&sidecar, "192.0.2.1", "/admin/") == 200).then_some(())
    });
}

#[test]
fn other_methods_and_fields_than_the_route_wants_are_refused() {
    let shop = Upstream::ok();
    let routes = "[[site.route]]\npath = \"/api/*\"\n[site.route.access]\n\
                  methods = [\"GET\", \"POST\"]\n\
                  require = [{ name = \"X-Office\", value = \"^yes$\" }]\n\
                  forbid = [{ name = \"X-Debug\" }, { name = \"*\", value = \"evil\" }]";
    let sidecar = Setup::new(&shop).site(routes).start();
    let office = ("x-office", "yes");
    assert_eq!(ask(&sidecar, "GET", "/api/a", &[office]).status, 200);
    assert_eq!(ask(&sidecar, "HEAD", "/api/a", &[office]).status, 200);
    let refused = ask(&sidecar, "DELETE", "/api/a", &[office]);
    refused.assert_refused(405);
    assert_eq!(refused.field("allow"), Some("GET, POST, HEAD"));
    for name in ["x-http-method-override", "X_HTTP_Method", "x-method-override"] {
        let fields = [office, (name, "DELETE")];
        assert_eq!(ask(&sidecar, "POST", "/api/a", &fields).status, 405, "{name}");
    }
    for fields in [
        &[][..],
        &[("x-office", "no")],
        &[office, ("x-office", "no")],
        &[office, ("x_debug", "1")],
        &[office, ("cookie", "a=evil")],
    ] {
        assert_eq!(ask(&sidecar, "GET", "/api/a", fields).status, 403, "{fields:?}");
    }
    assert_eq!(ask(&sidecar, "DELETE", "/elsewhere", &[]).status, 200);
    assert_eq!(shop.count(), 3);
    assert_eq!(breaches(&sidecar, &["rule=\"method\"", "action=\"refused\""]), 4.0);
    assert_eq!(breaches(&sidecar, &["rule=\"header\"", "action=\"refused\""]), 5.0);
}

#[test]
fn rules_that_observe_count_and_let_pass() {
    let shop = Upstream::ok();
    let tables = "[[site.route]]\npath = \"/admin/*\"\n\
                  access = { mode = \"observe\", methods = [\"GET\"] }\n\
                  [[site.block]]\nname = \"watched\"\nmode = \"observe\"\nbody = \"sleep\"";
    let sidecar = Setup::new(&shop).site(tables).start();
    assert_eq!(post(&sidecar, "/admin/x", &[], b"sleep(9)"), 200);
    assert_eq!(shop.last().body, b"sleep(9)");
    assert_eq!(breaches(&sidecar, &["rule=\"method\"", "action=\"observed\""]), 1.0);
    assert_eq!(matches(&sidecar, "watched", "observed"), 1.0);
    let huge = vec![b'x'; (1 << 20) + 1];
    assert_eq!(post(&sidecar, "/", &[], &huge), 200);
    assert_eq!(shop.last().body, huge);
    let coded = [("content-encoding", "gzip")];
    assert_eq!(post(&sidecar, "/", &[("content-type", "image/png"), coded[0]], b"no gzip"), 415);
    assert_eq!(matches(&sidecar, "watched", "unread"), 2.0);
}

#[test]
fn a_block_is_in_force_as_soon_as_the_file_is_saved() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).start();
    assert_eq!(ask(&sidecar, "GET", "/modules/a/ajax.php?id=1", &[]).status, 200);
    let block = "[[site.block]]\nname = \"ajax\"\nstatus = 404\nmethods = [\"GET\"]\n\
                 path = \"/modules/*/ajax.php\"\nquery = \"(?i)union.+select\"";
    let mark = sidecar.mark();
    sidecar.write_config(&Setup::new(&shop).site(block).text());
    sidecar.wait_for_log(mark, "reloaded");
    assert_eq!(matches(&sidecar, "ajax", "blocked"), 0.0);
    assert!(sidecar.metrics().contains("block=\"ajax\""), "the series begins at zero");
    let tries = [
        "/modules/a/ajax.php?id=1+UNION+SELECT+2",
        "//Modules/a/ajax.php?id=%55nion%20select",
        "/modules/a/b/%61jax.php?id=%2555nion%2520select",
    ];
    for target in tries {
        ask(&sidecar, "GET", target, &[]).assert_refused(404);
    }
    for target in ["/modules/a/ajax.php?id=1", "/modules/a?id=union+select"] {
        assert_eq!(ask(&sidecar, "GET", target, &[]).status, 200, "{target}");
    }
    assert_eq!(ask(&sidecar, "PUT", tries[0], &[]).status, 200);
    assert_eq!(matches(&sidecar, "ajax", "blocked"), 3.0);
    let line = sidecar.wait_for_log(mark, "request rejected");
    assert_eq!((&line["reason"], &line["cause"]), (&"blocked".into(), &"blocked by ajax".into()));
}

#[test]
fn a_pattern_is_found_in_any_field_and_in_a_path_that_climbs() {
    let shop = Upstream::ok();
    let blocks = "[[site.block]]\nname = \"log4shell\"\n\
                  headers = [{ name = \"*\", value = \"(?i)\\\\$\\\\{jndi:\" }]\n\
                  [[site.block]]\nname = \"climb\"\nstatus = 400\npath = \"/cgi-bin/../*\"";
    let sidecar = Setup::new(&shop).site(blocks).start();
    for field in ["user-agent", "x-api", "cookie"] {
        assert_eq!(ask(&sidecar, "GET", "/", &[(field, "a=${JNDI:ldap://x}")]).status, 403);
        assert_eq!(ask(&sidecar, "GET", "/", &[(field, "a=%24%7Bjndi:ldap")]).status, 403);
    }
    for target in ["/cgi-bin/.%2e/etc", "/cgi-bin/%2e%2e/etc", "/cgi-bin/../etc"] {
        assert_eq!(ask(&sidecar, "GET", target, &[]).status, 400, "{target}");
    }
    assert_eq!(shop.count(), 0);
    assert_eq!(ask(&sidecar, "GET", "/cgi-bin/a..b/c", &[("cookie", "a=1")]).status, 200);
}

#[test]
fn a_pattern_is_found_in_a_body_however_it_is_written() {
    let shop = Upstream::ok();
    let block = "[[site.block]]\nname = \"body\"\npath = \"/api/*\"\nbody = \"(?i)or '1'='1|union.+select\"";
    let sidecar = Setup::new(&shop).site(block).start();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json = ("content-type", "application/json");
    let refused = |fields: &[(&str, &str)], body: &[u8]| {
        assert_eq!(post(&sidecar, "/api/a", fields, body), 403, "{}", body.escape_ascii());
    };
    refused(&[], b"x OR '1'='1");
    refused(&[form], b"a=x+or+%271%27%3D%271");
    refused(&[form], b"a=x%2bor%2b%25271%2527=%25271");
    refused(&[], b"union \xff\n all select");
    refused(&[json], br#"{"a":"x or \u00271\u0027=\u00271"}"#);
    refused(&[json, ("content-encoding", "gzip")], &gzip(b"{\"a\":\"or '1'='1\"}"));
    let chunked = "POST /api/a HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n\
                   4\r\nx or\r\n7\r\n '1'='1\r\n0\r\n\r\n";
    let mut client = sidecar.http();
    client.send(chunked);
    client.answer().assert_refused(403);
    assert_eq!(shop.count(), 0);
    assert_eq!(post(&sidecar, "/elsewhere", &[], b"x OR '1'='1"), 200);
    assert_eq!(matches(&sidecar, "body", "blocked"), 7.0);
}

#[test]
fn padding_and_codings_lead_past_no_block() {
    let shop = Upstream::ok();
    let block = "[[site.block]]\nname = \"body\"\npath = \"/api/*\"\nbody = \"sleep\"\n\
                 [[site.route]]\npath = \"/api/upload\"\nlimits = { block_body = \"3MiB\" }";
    let sidecar = Setup::new(&shop).site(block).start();
    let padded = [&vec![b' '; 1 << 20][..], b"sleep"].concat();
    assert_eq!(post(&sidecar, "/api/a", &[], &padded), 413);
    assert_eq!(post(&sidecar, "/api/a", &[("content-encoding", "gzip")], &gzip(&padded)), 413);
    assert_eq!(post(&sidecar, "/api/a", &[("content-encoding", "gzip")], b"no gzip"), 415);
    assert_eq!(post(&sidecar, "/api/a", &[("content-encoding", "lzma")], b"sleep"), 415);
    assert_eq!(matches(&sidecar, "body", "unread"), 4.0);
    assert_eq!(post(&sidecar, "/api/upload", &[], &padded), 403);
    assert_eq!(shop.count(), 0);
}

#[test]
fn p8_a_body_that_was_looked_into_arrives_whole_and_in_order() {
    let shop = Upstream::ok();
    let block = "[[site.block]]\nname = \"body\"\nbody = \"sleep\"";
    let sidecar = Setup::new(&shop).site(block).start();
    // The guard of logins reads the beginning of the same body, and it is none.
    let body: Vec<u8> =
        (0..60_000_u32).flat_map(|nth| format!("line {nth:x};\n").into_bytes()).collect();
    for target in ["/", "/api/sessions"] {
        let mut client = sidecar.http();
        client.send(format!(
            "POST {target} HTTP/1.1\r\nhost: shop.example\r\ncontent-type: text/plain\r\n\
             transfer-encoding: chunked\r\n\r\n"
        ));
        for piece in body.chunks(7_001) {
            client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        client.send("0\r\nx-trailer: 1\r\n\r\n");
        assert_eq!(client.answer().status, 200, "{target}");
        assert!(shop.last().body == body, "{target}: another body arrived");
    }
}
