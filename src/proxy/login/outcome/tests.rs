use std::sync::Arc;

use http::{Request, Response};
use proptest::prelude::*;

use super::*;
use crate::policy::{Balance, LoginLimits, Maintenance, PathPattern, Sign, Site, SiteName};
use crate::proxy::login::Extent;

fn judge(rules: Vec<GuardRule>) -> Judge {
    let site = Site {
        name: SiteName("shop".into()),
        hosts: Vec::new(),
        upstreams: Vec::new(),
        balance: Balance::default(),
        maintenance: Maintenance::default(),
        logins: rules.into_iter().map(Arc::new).collect(),
        guards: Vec::new(),
        blocks: Vec::new(),
        routes: Vec::new(),
    };
    let request = Request::post("/login")
        .header("referer", "https://shop/cart")
        .header("cookie", "theme=dark; sid=0")
        .body(())
        .unwrap();
    let expected = Expected::recognise(&site, &request.into_parts().0).unwrap();
    let claims = expected.claims(None, b"email=a&password=b", Extent::Whole).unwrap();
    Judge::new(&expected, &claims[0])
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
const XML: (&str, &str) = ("content-type", "text/xml; charset=UTF-8");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[test]
fn every_row_of_the_built_in_table_holds() {
    use Outcome::{Failure, Neutral, Success};
    let form = "<p>Wrong</p><INPUT name=p class=x type='Password'>";
    let rows: &[Row] = &[
        (Neutral, 500, &[], ""),
        (Neutral, 503, &[COOKIE], form),
        (Neutral, 500, &[XML], "<?xml version=\"1.0\"?><a/>"),
        (Failure, 500, &[XML], "<s:Envelope><s:Body><s:Fault>no</s:Fault></s:Body></s:Envelope>"),
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
        (Neutral, 302, &[("location", "https://shop/orders")], ""),
        (Success, 302, &[("location", "account"), COOKIE], ""),
        (Neutral, 302, &[("location", "/account"), ("set-cookie", "sid=0; Path=/")], ""),
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
        (Failure, 200, &[XML], "<?xml version=\"1.0\"?><methodResponse><fault><value/></fault>"),
        (Failure, 200, &[XML], "<?xml version=\"1.0\"?><s:Envelope><s:Body><s:Fault>no</s:Fault>"),
        (Success, 200, &[XML], "<?xml version=\"1.0\"?><methodResponse><params/></methodResponse>"),
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
    let login = GuardRule::login(PathPattern::parse("/login").unwrap());
    judge(vec![GuardRule { success, failure, ..login }])
}

fn text(pattern: &str) -> Sign {
    Sign::Body(Regex::new(pattern).unwrap())
}

#[test]
fn configured_signs_decide_failure_first() {
    use Outcome::{Failure, Neutral, Success};
    let status = |code| Sign::Status(StatusCode::from_u16(code).unwrap());
    let cookie = || vec![Sign::Cookie("sid".into())];
    let moved = || vec![Sign::Location(Regex::new("^/home").unwrap())];
    assert_eq!(outcome(rule(cookie(), vec![status(200)]), 200, &[COOKIE], ""), Failure);
    assert_eq!(outcome(rule(cookie(), vec![status(200)]), 302, &[COOKIE], ""), Success);
    let same = ("set-cookie", "sid=0; Path=/");
    assert_eq!(outcome(rule(cookie(), vec![]), 302, &[same], ""), Failure, "it was set before");
    assert_eq!(outcome(rule(vec![], vec![text("no")]), 500, &[], "no"), Failure);
    assert_eq!(outcome(rule(cookie(), vec![]), 302, &[("location", "/x")], ""), Failure);
    assert_eq!(outcome(rule(moved(), vec![]), 302, &[("location", "/home")], ""), Success);
    assert_eq!(outcome(rule(vec![], vec![status(200)]), 200, &[], ""), Failure);
    assert_eq!(outcome(rule(vec![], vec![status(200)]), 302, &[], ""), Success);
    assert_eq!(outcome(rule(vec![], vec![text("(?i)wrong")]), 200, &[], "Wrong!"), Failure);
    assert_eq!(outcome(rule(vec![], vec![text("(?i)wrong")]), 200, &[], "Hello"), Success);
    assert_eq!(outcome(rule(vec![text("Hello")], vec![status(302)]), 200, &[], "Hello"), Success);
    assert_eq!(outcome(rule(vec![text("Hello")], vec![status(200)]), 200, &[], "no"), Failure);
    assert_eq!(outcome(rule(cookie(), vec![text("no")]), 200, &[], "neither"), Failure);
    assert_eq!(outcome(rule(cookie(), vec![]), 502, &[], ""), Neutral);
    assert_eq!(outcome(rule(vec![], vec![status(500)]), 500, &[], ""), Failure);
}

#[test]
fn a_header_and_a_value_in_json_are_signs() {
    use Outcome::{Failure, Success};
    let regex = |text: &str| Some(Regex::new(text).unwrap());
    let header = |value| vec![Sign::Header(http::HeaderName::from_static("x-auth"), value)];
    let judged =
        |success, headers: &[(&str, &str)]| outcome(rule(success, vec![]), 200, headers, "");
    assert_eq!(judged(header(None), &[("x-auth", "a")]), Success);
    assert_eq!(judged(header(None), &[]), Failure);
    assert_eq!(judged(header(regex("^a")), &[("x-auth", "b"), ("x-auth", "ab")]), Success);
    let json = |pointer: &str, value| vec![Sign::Json(pointer.to_owned(), value)];
    let answer = r#"{"data":{"login":{"token":"t","a/b":[1,false]}},"errors":null}"#;
    let judged = |failure| outcome(rule(vec![], failure), 200, &[JSON], answer);
    assert_eq!(judged(json("/data/login/token", None)), Failure);
    assert_eq!(judged(json("/errors", None)), Success, "null is as good as absent");
    assert_eq!(judged(json("/data/login/a~1b/1", regex("^false$"))), Failure);
    assert_eq!(judged(json("/data/login/a~1b/0", regex("^false$"))), Success);
    assert_eq!(outcome(rule(json("/a", None), vec![]), 200, &[JSON], "{\"a\":1"), Failure);
}

#[test]
fn a_payment_form_that_lacks_something_is_neither_paid_nor_declined() {
    let login = GuardRule::login(PathPattern::parse("/login").unwrap());
    let (success, failure) = (vec![text("paid")], vec![text("declined")]);
    let rule = GuardRule { kind: GuardKind::Payment, success, failure, ..login };
    let judged = |body| outcome(judge(vec![rule.clone()]), 200, &[], body);
    assert_eq!(judged("paid"), Outcome::Success);
    assert_eq!(judged("card declined"), Outcome::Failure);
    assert_eq!(judged("street missing"), Outcome::Neutral);
}

#[test]
fn an_end_that_cannot_be_told_is_one_that_counts() {
    let login = GuardRule::login(PathPattern::parse("/login").unwrap());
    let counted = |counted| {
        let limits = LoginLimits { counted, ..LoginLimits::unlimited() };
        GuardRule { kind: GuardKind::Registration, limits: Some(Arc::new(limits)), ..login.clone() }
    };
    let (registration, invitation) = (counted(Counted::Successes), counted(Counted::Failures));
    let judged = |rule: &GuardRule, shared, status| {
        let mut judge = judge(vec![rule.clone()]);
        judge.answered.shared = shared;
        outcome(judge, status, &[], "")
    };
    assert_eq!(judged(&registration, false, 401), Outcome::Failure);
    assert_eq!(judged(&registration, true, 401), Outcome::Success);
    assert_eq!(judged(&registration, true, 503), Outcome::Neutral);
    assert_eq!(judged(&invitation, false, 204), Outcome::Success);
    assert_eq!(judged(&invitation, true, 204), Outcome::Failure);
}

#[test]
fn what_is_not_known_is_not_judged() {
    let login = GuardRule::login(PathPattern::parse("/login").unwrap());
    for (kind, expected) in [
        (GuardKind::Registration, Outcome::Failure),
        (GuardKind::Reset, Outcome::Neutral),
        (GuardKind::Payment, Outcome::Neutral),
    ] {
        let rule = GuardRule { kind, ..login.clone() };
        assert_eq!(outcome(judge(vec![rule]), 422, &[], ""), expected, "{kind:?}");
    }
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
