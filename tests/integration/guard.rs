//! Guards of other names than the login, and logins that come in no form.

use crate::harness::{ONLY_ACCOUNTS, Setup, Sidecar, Upstream};

#[test]
fn a_guard_refuses_under_its_own_name_and_leaves_logins_alone() {
    let shop = Upstream::start(|exchange| {
        let good = exchange.request()?.text().contains("right");
        exchange.answer(if good { 200 } else { 404 }, &[], b"")
    });
    let guard = "[[site.login]]\npath = \"/login\"\nfailure = { status = [404] }\n\
                 [[site.guard]]\nname = \"coupon\"\nkind = \"coupon\"\npath = \"/coupon\"\n\
                 failure = { status = [404] }\nlimits = { per_network = \"3/hour\" }";
    let sidecar = Setup::new(&shop).site(guard).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    for _ in 0..3 {
        assert_eq!(client.form("/coupon", "code=guess").status, 404);
    }
    let answer = client.form("/coupon", "code=guess");
    answer.assert_refused(429);
    assert!(answer.field("retry-after").is_some());
    assert!(answer.text().contains("Too many attempts"), "{}", answer.text());
    assert_eq!(client.form("/login", "email=a&password=right").status, 200);
    let metrics = sidecar.metrics();
    for line in [
        "tillgate_guard_attempts_total{guard=\"coupon\",outcome=\"failure\",site=\"default\"} 3",
        "tillgate_guard_refusals_total{guard=\"coupon\",",
        "tillgate_login_attempts_total{outcome=\"success\",site=\"default\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(sidecar.written().contains("\"guard\":\"coupon\""), "{}", sidecar.written());
}

#[test]
fn a_hundred_passwords_in_one_request_do_not_reach_the_shop() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, ONLY_ACCOUNTS);
    let mut client = sidecar.https();
    let aliases: String = (0..100)
        .map(|n| format!("a{n}:login(email:\\\"ann\\\",password:\\\"w{n}\\\"){{token}} "))
        .collect();
    client
        .json("/graphql", &format!("{{\"query\":\"mutation{{{aliases}}}\"}}"))
        .assert_refused(429);
    let calls: String = (0..100)
        .map(|n| {
            format!(
                "<value><struct><member><name>methodName</name><value><string>wp.getUsersBlogs</string>\
                 </value></member><member><name>params</name><value><array><data><value><string>ann\
                 </string></value><value><string>w{n}</string></value></data></array></value></member>\
                 </struct></value>"
            )
        })
        .collect();
    let body = format!(
        "<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>\
         {calls}</data></array></value></param></params></methodCall>"
    );
    let answer =
        client.request("POST", "/xmlrpc.php", &[("content-type", "text/xml")], body.as_bytes());
    answer.assert_refused(429);
    assert_eq!(shop.count(), 0);
}

#[test]
fn graphql_guesses_lock_an_account_and_what_else_is_asked_goes_on() {
    let shop = Upstream::start(|exchange| {
        let good = exchange.request()?.text().contains("right");
        let text = if good {
            r#"{"data":{"tokenCreate":{"token":"eyJ0","errors":[]}}}"#
        } else {
            r#"{"data":{"tokenCreate":{"token":null,"errors":[{"code":"INVALID_CREDENTIALS"}]}}}"#
        };
        exchange.answer(200, &[("content-type", "application/json")], text.as_bytes())
    });
    let tables = format!("{ONLY_ACCOUNTS}trusted_networks_bypass = false\n");
    let sidecar = Sidecar::start(&shop, &tables);
    let mut client = sidecar.https();
    let login = |name: &str, password: &str| {
        format!(
            "{{\"query\":\"mutation M($p:String!){{tokenCreate(email:\\\"{name}@x\\\",password:$p){{token \
             errors{{code}}}}}}\",\"variables\":{{\"p\":\"{password}\"}}}}"
        )
    };
    for _ in 0..12 {
        assert_eq!(client.json("/graphql", &login("bob", "right")).status, 200);
    }
    for _ in 0..10 {
        assert_eq!(client.json("/graphql", &login("ann", "wrong")).status, 200);
    }
    client.json("/graphql", &login("ann", "right")).assert_refused(429);
    let products = "{\"query\":\"{ products { name } }\"}";
    assert_eq!(client.json("/graphql", products).status, 200);
    let upload =
        format!("{{\"query\":\"mutation{{describe(text:\\\"{}\\\")}}\"}}", "x".repeat(200_000));
    assert_eq!(client.json("/graphql", &upload).status, 200);
    assert!(shop.last().text() == upload, "the body changed");
}

#[test]
fn basic_guesses_are_counted_and_a_page_of_pictures_is_not() {
    let shop = Upstream::start(|exchange| {
        let good = exchange.head.field("authorization") == Some("Basic YW5uOnJpZ2h0");
        if good {
            return exchange.answer(200, &[], b"");
        }
        exchange.answer(401, &[("www-authenticate", "Basic realm=\"shop\"")], b"")
    });
    let login = "[[site.login]]\npath = \"/private/*\"\ncarrier = \"basic\"";
    let tables = "[login]\nper_network = \"8/min\"\nper_account = \"8/min\"\n\
                  pair_lockout = { enabled = false }";
    let sidecar = Setup::new(&shop).site(login).tables(tables).start();
    let mut client = sidecar.https();
    for _ in 0..30 {
        let right = [("authorization", "Basic YW5uOnJpZ2h0")];
        assert_eq!(client.request("GET", "/private/a.png", &right, b"").status, 200);
    }
    for password in ["Basic YW5uOjE=", "Basic YW5uOjI=", "Basic YW5uOjM="] {
        let wrong = [("authorization", password)];
        assert_eq!(client.request("GET", "/private/a.png", &wrong, b"").status, 401);
    }
    let wrong = [("authorization", "Basic YW5uOjQ=")];
    let statuses: Vec<_> =
        (0..8).map(|_| client.request("PUT", "/private/x", &wrong, b"").status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(client.request("GET", "/private/a.png", &[], b"").status, 401, "nobody is asked");
}

#[test]
fn a_login_in_the_query_is_counted() {
    let shop = Upstream::start(|exchange| exchange.answer(401, &[], b""));
    let sidecar = Sidecar::start(&shop, ONLY_ACCOUNTS);
    let mut client = sidecar.https();
    for _ in 0..10 {
        assert_eq!(client.get("/login?email=ann&password=w").status, 401);
    }
    client.get("/login?email=ann&password=w").assert_refused(429);
    assert_eq!(client.get("/login?next=/cart").status, 401);
}

#[test]
fn what_is_refused_before_the_shop_saw_it_counts_for_nobody() {
    let shop = Upstream::start(|exchange| {
        let good = exchange.request()?.text().contains("right");
        exchange.answer(if good { 200 } else { 401 }, &[("set-cookie", "sid=7")], b"in")
    });
    let route = "[[site.route]]\npath = \"*\"\ncards = { requests = \"reject\" }";
    let sidecar = Setup::new(&shop).site(route).start();
    let mut client = sidecar.https();
    for _ in 0..25 {
        let body = "email=ann&password=right&note=4111111111111111";
        assert_eq!(client.form("/login", body).status, 422);
    }
    assert_eq!(client.form("/login", "email=ann&password=right").status, 200);
}
