use http::{Method, Request, Response};
use proptest::prelude::*;

use super::*;
use crate::policy::{PathPattern, Site, SiteName};

fn judge(rules: Vec<LoginRule>) -> Judge {
    let name = SiteName("shop".into());
    let site = Site {
        name,
        hosts: Vec::new(),
        upstreams: Vec::new(),
        logins: rules,
        blocks: Vec::new(),
        routes: Vec::new(),
    };
    let request = Request::post("/login").header("referer", "https://shop/cart").body(()).unwrap();
    Judge::new(&Expected::recognise(&site, &request.into_parts().0).unwrap())
}

fn outcome(mut judge: Judge, status: u16, headers: &[(&str, &str)], body: &str) -> Outcome {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    match judge.head(&answer.body(()).unwrap().into_parts().0) {
        Judgement::Failure => Outcome::Failure,
        Judgement::Neutral => Outcome::Neutral,
        Judgement::Success => Outcome::Success,
        Judgement::NeedsBody => judge.body(body.as_bytes()),
    }
}

/// What is expected of a status, its headers and its body.
type Row = (Outcome, u16, &'static [(&'static str, &'static str)], &'static str);

const COOKIE: (&str, &str) = ("set-cookie", "sid=1; Path=/");
const HTML: (&str, &str) = ("content-type", "text/html");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[test]
fn every_row_of_the_built_in_table_holds() {
    use Outcome::{Failure, Neutral, Success};
    let form = "<p>Wrong</p><INPUT name=p class=x type='Password'>";
    let rows: &[Row] = &[
        (Neutral, 500, &[], ""),
        (Neutral, 503, &[COOKIE], form),
        (Neutral, 405, &[], ""),
        (Neutral, 413, &[], ""),
        (Neutral, 304, &[], ""),
        (Failure, 206, &[COOKIE], "<"),
        (Failure, 400, &[], ""),
        (Failure, 401, &[COOKIE], ""),
        (Failure, 403, &[], ""),
        (Failure, 404, &[], ""),
        (Failure, 422, &[], ""),
        (Failure, 429, &[], ""),
        (
            Success,
            302,
            &[("location", "/my-account/"), ("set-cookie", "wordpress_logged_in_1=a")],
            "",
        ),
        (Failure, 302, &[("location", "/login"), COOKIE], ""),
        (Failure, 302, &[("location", "/login?error=1"), COOKIE], ""),
        (Failure, 303, &[("location", "?bad"), COOKIE], ""),
        (Failure, 302, &[("location", "https://shop/de/Sign-In/"), COOKIE], ""),
        (Failure, 302, &[("location", "//shop/login"), COOKIE], ""),
        (Failure, 302, &[("location", "/index.php?route=account/login"), COOKIE], ""),
        (Failure, 302, &[("location", "/?message=login_failed"), COOKIE], ""),
        (Failure, 302, &[("location", "/cart")], ""),
        (Failure, 302, &[("location", "/cart"), ("set-cookie", "sid=; Max-Age=0")], ""),
        (
            Failure,
            302,
            &[("location", "/cart"), ("set-cookie", "s=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT")],
            "",
        ),
        (Success, 302, &[("location", "/cart"), COOKIE], ""),
        (Success, 302, &[("location", "/account"), COOKIE], ""),
        (Success, 302, &[("location", "https://shop/orders")], ""),
        (Success, 302, &[("location", "account")], ""),
        (Success, 204, &[], ""),
        (Failure, 200, &[JSON], r#"{"success":false}"#),
        (Failure, 200, &[JSON], r#"{"ok":0}"#),
        (Failure, 200, &[JSON], r#"{"error":"bad password"}"#),
        (Failure, 200, &[JSON], r#"{"data":{"errors":{"email":["wrong"]}}}"#),
        (Failure, 200, &[JSON], r#"{"status":"FAILED"}"#),
        (Failure, 200, &[JSON], r#"{"status":401}"#),
        (Failure, 200, &[JSON], "false"),
        (Failure, 200, &[JSON], ""),
        (Failure, 200, &[HTML], r#"{"success":false}"#),
        (Success, 200, &[JSON], r#"{"success":true,"error":null,"errors":[]}"#),
        (Success, 200, &[JSON], r#"{"token":"x","status":"ok"}"#),
        (Success, 200, &[JSON], "\"token\""),
        (Failure, 200, &[HTML, COOKIE], form),
        (Success, 200, &[HTML, COOKIE], "<h1>Welcome</h1>"),
        (Failure, 200, &[HTML], "<h1>Welcome</h1>"),
    ];
    for (expected, status, headers, body) in rows {
        assert_eq!(
            outcome(judge(Vec::new()), *status, headers, body),
            *expected,
            "{status} {headers:?} {body}"
        );
    }
}

fn rule(success: Vec<Sign>, failure: Vec<Sign>) -> Judge {
    let path = PathPattern::parse("/login").unwrap();
    judge(vec![LoginRule { method: Method::POST, path, account_field: None, success, failure }])
}

fn text(pattern: &str) -> Sign {
    Sign::Body(Regex::new(pattern).unwrap())
}

#[test]
fn configured_signs_decide_success_first() {
    use Outcome::{Failure, Neutral, Success};
    let status = |code| Sign::Status(StatusCode::from_u16(code).unwrap());
    let cookie = || vec![Sign::Cookie("sid".into())];
    let moved = || vec![Sign::Location(Regex::new("^/home").unwrap())];
    assert_eq!(outcome(rule(cookie(), vec![status(200)]), 200, &[COOKIE], ""), Success);
    assert_eq!(outcome(rule(cookie(), vec![]), 302, &[("location", "/x")], ""), Failure);
    assert_eq!(outcome(rule(moved(), vec![]), 302, &[("location", "/home")], ""), Success);
    assert_eq!(outcome(rule(vec![], vec![status(200)]), 200, &[], ""), Failure);
    assert_eq!(outcome(rule(vec![], vec![status(200)]), 302, &[], ""), Success);
    assert_eq!(outcome(rule(vec![], vec![text("(?i)wrong")]), 200, &[], "Wrong!"), Failure);
    assert_eq!(outcome(rule(vec![], vec![text("(?i)wrong")]), 200, &[], "Hello"), Success);
    assert_eq!(outcome(rule(vec![text("Hello")], vec![status(200)]), 200, &[], "Hello"), Success);
    assert_eq!(outcome(rule(vec![text("Hello")], vec![status(200)]), 200, &[], "no"), Failure);
    assert_eq!(outcome(rule(cookie(), vec![text("no")]), 200, &[], "neither"), Failure);
    assert_eq!(outcome(rule(cookie(), vec![]), 502, &[], ""), Neutral);
    assert_eq!(outcome(rule(vec![], vec![status(500)]), 500, &[], ""), Failure);
}

#[test]
fn only_the_beginning_of_a_body_is_looked_at() {
    let late = format!("{}Hello", " ".repeat(BODY_LOOK_BYTES));
    assert_eq!(outcome(rule(vec![text("Hello")], vec![]), 200, &[], &late), Outcome::Failure);
}

proptest! {
    #[test]
    fn no_answer_panics(location in "[ -~]{0,40}", cookie in "[ -~]{0,40}", body: String) {
        let _ = outcome(judge(Vec::new()), 302, &[("location", &location), ("set-cookie", &cookie)], "");
        let _ = outcome(judge(Vec::new()), 200, &[JSON], &body);
    }
}
