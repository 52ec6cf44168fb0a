//! Logins that come in no form, several attempts in one request, and guards beside the login.

use super::*;
use crate::policy::{Carrier, Condition, Counted, Place, ValuePattern};

/// What a site makes of a request.
fn tries(
    site: &Site,
    request: request::Builder,
    body: &str,
) -> Option<Result<Vec<Vec<String>>, ClaimError>> {
    let head = request.body(()).unwrap().into_parts().0;
    let expected = LoginGuard::recognise(site, &head)?;
    let types: Vec<&[u8]> =
        head.headers.get_all("content-type").iter().map(|value| value.as_bytes()).collect();
    let claims = expected.claims(types, body.as_bytes(), Extent::Whole);
    Some(claims.map(|claims| claims.iter().map(|claim| claim.account.names().to_vec()).collect()))
}

fn json(uri: &str) -> request::Builder {
    Request::post(uri).header("content-type", "application/json")
}

fn graphql(query: &str, variables: &str) -> String {
    format!("{{\"query\":{},\"variables\":{variables}}}", serde_json::Value::from(query))
}

#[test]
fn graphql_logins_are_known_among_other_requests() {
    let site = site(Vec::new());
    let names = |body: &str| tries(&site, json("/graphql"), body).unwrap().unwrap().concat();
    let literal = "mutation { login(email: \"Ann@x\", password: \"p\") { token } }";
    assert_eq!(names(&graphql(literal, "{}")), ["ann@x"]);
    let variables = "mutation($i: LoginInput!) { customerAccessTokenCreate(input: $i) { token } }";
    assert_eq!(names(&graphql(variables, r#"{"i":{"email":"ann","password":"p"}}"#)), ["ann"]);
    let defaults =
        "mutation($i: In = {email: \"ann\", password: \"p\"}) { login(input: $i) { id } }";
    assert_eq!(names(&graphql(defaults, "null")), ["ann"]);
    for other in [
        "{ products(search: \"pass\") { id } }",
        "mutation { createCustomer(email: \"a\", password: \"p\") { id } }",
        "mutation { login(provider: \"x\") { url } }",
    ] {
        assert!(names(&graphql(other, "{}")).is_empty(), "{other}");
    }
    let persisted = r#"{"id":"abc","variables":{"email":"ann","password":"p"}}"#;
    assert_eq!(names(persisted), ["ann"]);
    let escaped = r#"{"query":"mutation{login(email:\"ann\",p\u0061ssword:\"p\"){id}}"}"#;
    assert_eq!(names(escaped), ["ann"]);
    let raw = Request::post("/graphql").header("content-type", "application/graphql");
    assert_eq!(tries(&site, raw, literal).unwrap().unwrap().concat(), ["ann@x"]);
    let form =
        Request::post("/graphql").header("content-type", "application/x-www-form-urlencoded");
    let body = "query=mutation(%24p:String){login(email:%22ann%22,password:%24p){id}}\
                &variables=%7B%22p%22:%22q%22%7D";
    assert_eq!(tries(&site, form, body).unwrap().unwrap().concat(), ["ann"]);
}

#[test]
fn every_guess_of_a_graphql_request_counts() {
    let site = site(Vec::new());
    let count = |body: &str| tries(&site, json("/graphql"), body).unwrap().map(|them| them.len());
    let aliases = |many: usize| {
        let fields =
            (0..many).map(|n| format!("a{n}: login(email: \"a\", password: \"{n}\") {{id}} "));
        graphql(&format!("mutation {{ {} }}", fields.collect::<String>()), "{}")
    };
    assert_eq!(count(&aliases(3)), Ok(3));
    assert_eq!(count(&aliases(100)), Err(ClaimError::TooMany));
    let one = graphql("mutation { login(email: \"a\", password: \"1\") { id } }", "{}");
    let other = one.replace("1", "2");
    assert_eq!(count(&format!("[{one},{other}]")), Ok(2));
    assert_eq!(count(&format!("[{one},{one}]")), Ok(1));
    let query = "mutation($p: String!) { login(email: \"a\", password: $p) { id } }";
    let batch: Vec<_> = (0..5).map(|n| graphql(query, &format!("{{\"p\":\"{n}\"}}"))).collect();
    assert_eq!(count(&format!("[{}]", batch.join(","))), Ok(5));
}

#[test]
fn a_configured_operation_is_the_login_and_nothing_else_on_its_path() {
    let carrier = Carrier::Graphql(Some("enter".to_owned()));
    let site = site(vec![GuardRule { carrier, ..rule("/api", Some("*.who")) }]);
    let names = |query: &str| {
        let body = graphql(query, "{}");
        tries(&site, json("/api"), &body).unwrap().unwrap().concat()
    };
    assert_eq!(names("mutation { enter(in: {who: \"ann\", code: 7}) { ok } }"), ["ann"]);
    assert!(names("mutation { login(who: \"ann\", password: \"p\") { ok } }").is_empty());
}

#[test]
fn a_graphql_success_is_not_believed_where_the_client_shapes_the_answer() {
    let site = site(Vec::new());
    let judged = |query: &str, answer: &str| {
        let head = json("/graphql").body(()).unwrap().into_parts().0;
        let expected = LoginGuard::recognise(&site, &head).unwrap();
        let claims = expected.claims(None, graphql(query, "{}").as_bytes(), Extent::Whole).unwrap();
        Judge::new(&expected, &claims[0]).body(answer.as_bytes())
    };
    let plain = "mutation { tokenCreate(email: \"a\", password: \"b\") { token } }";
    let answer = r#"{"data":{"tokenCreate":{"token":"t"}}}"#;
    assert_eq!(judged(plain, answer), Outcome::Success);
    let shaped = "mutation { tokenCreate(email: \"a\", password: \"b\") { token: __typename } }";
    assert_eq!(judged(shaped, answer), Outcome::Failure);
    let two = "mutation { tokenCreate(email: \"a\", password: \"b\") { token } \
               x: tokenCreate(email: \"a\", password: \"c\") { token } }";
    assert_eq!(judged(two, answer), Outcome::Failure);
}

#[test]
fn xml_and_queries_and_other_methods_carry_logins_too() {
    let site = site(Vec::new());
    let tries = |request, body| tries(&site, request, body);
    let soap = "<s:Envelope><s:Body><login><userName>Ann</userName><password>p</password></login>";
    let whole = format!("{soap}</s:Body></s:Envelope>");
    assert_eq!(tries(Request::post("/soap/login"), &whole).unwrap().unwrap().concat(), ["ann"]);
    assert_eq!(tries(Request::post("/login"), soap).unwrap(), Err(ClaimError::Unreadable));
    let get = || Request::get("/login?email=ann&password=p");
    assert_eq!(tries(get(), "").unwrap().unwrap().concat(), ["ann"]);
    let put = Request::put("/login");
    assert_eq!(tries(put, "email=ann&password=p").unwrap().unwrap().concat(), ["ann"]);
    assert!(tries(Request::get("/login?next=/cart"), "").unwrap().unwrap().is_empty());
    assert!(tries(Request::get("/login"), "").is_none());
    let call = "<methodCall><methodName>wp.getUsersBlogs</methodName><params><param><value>ann\
                </value></param><param><value>p</value></param></params></methodCall>";
    assert_eq!(tries(Request::post("/xmlrpc.php"), call).unwrap().unwrap().concat(), ["ann"]);
    let ping = call.replace("wp.getUsersBlogs", "pingback.ping");
    assert!(tries(Request::post("/xmlrpc.php"), &ping).unwrap().unwrap().is_empty());
}

#[test]
fn a_field_tells_a_login_from_a_registration_and_both_may_come_together() {
    let when = |value: &str| {
        let value = Some(ValuePattern::parse(value));
        let field = FieldPath::parse("action").unwrap();
        Some(Condition { place: Place::Anywhere, field, value })
    };
    let login = GuardRule { when: when("login"), ..rule("/account", None) };
    let registration = GuardRule {
        name: "registration".into(),
        kind: GuardKind::Registration,
        when: when("register"),
        ..rule("/account", None)
    };
    let site = guarded(vec![login], vec![registration]);
    let kinds = |body: &str| {
        let expected = LoginGuard::recognise(&site, &post("/account")).unwrap();
        let claims = claims(&expected, body).unwrap();
        claims.iter().map(|claim| claim.guard().is_some()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("action=login&email=a&password=b"), [false]);
    assert_eq!(kinds("action=register&email=a&password=b"), [true]);
    assert_eq!(kinds("action=register&action=login&email=a"), [false, true]);
    assert!(kinds("action=logout").is_empty());
}

#[test]
fn a_name_and_password_that_the_shop_took_come_again_uncounted() {
    let carrier = Carrier::Basic;
    let site = site(vec![GuardRule { carrier, ..rule("/private/*", None) }]);
    let guard = guard();
    let reserve = |shown: &str| {
        let request = Request::get("/private/a.png").header("authorization", shown);
        let head = request.body(()).unwrap().into_parts().0;
        let expected = LoginGuard::recognise(&site, &head).unwrap();
        assert!(expected.body_bytes_max().is_none());
        let claims = expected.claims(None, b"", Extent::Whole).unwrap();
        let limits = Arc::new(LoginLimits::default());
        guard.reserve(&expected, &claims[0], CLIENT, &limits).now_or_never().unwrap()
    };
    // ann:p and ann:q
    let Verdict::Admit(mut attempt) = reserve("Basic YW5uOnA=") else { panic!("refused") };
    let answer = http::Response::builder().status(200).body(()).unwrap().into_parts().0;
    let Judgement::Success = attempt.judge_head(&answer) else { panic!("no success") };
    attempt.settle(Outcome::Success);
    assert!(matches!(reserve("Basic YW5uOnA="), Verdict::Proven));
    assert!(matches!(reserve("Basic YW5uOnE="), Verdict::Admit(_)));
    let bare = Request::get("/private/a.png").body(()).unwrap().into_parts().0;
    assert!(LoginGuard::recognise(&site, &bare).is_none());
}

#[test]
fn a_guard_counts_what_its_rule_says_under_its_own_name() {
    let guard = guard();
    let limits = LoginLimits { counted: Counted::Attempts, ..(*account_lockout(2)).clone() };
    let reset = GuardRule {
        name: "reset".into(),
        kind: GuardKind::Reset,
        limits: Some(Arc::new(limits)),
        ..rule("/forgot", Some("email"))
    };
    let site = guarded(vec![rule("/login", Some("email"))], vec![reset]);
    let reserve = |uri: &str| {
        let expected = LoginGuard::recognise(&site, &post(uri)).unwrap();
        let claims = claims(&expected, "email=ann&password=p").unwrap();
        let (claim, file) = (&claims[0], Arc::new(LoginLimits::default()));
        guard.reserve(&expected, claim, CLIENT, claim.limits(&file)).now_or_never().unwrap()
    };
    // What the shop never saw costs nothing.
    let Verdict::Admit(attempt) = reserve("/forgot") else { panic!("refused") };
    attempt.withdraw();
    for _ in 0..2 {
        let Verdict::Admit(attempt) = reserve("/forgot") else { panic!("refused") };
        attempt.settle(Outcome::Success);
    }
    assert!(matches!(reserve("/forgot"), Verdict::Refuse(_)));
    assert!(matches!(reserve("/login"), Verdict::Admit(_)), "logins are counted apart");
}
