//! `tillgate login learn` in front of shops that were not written for it (issue item 1).

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::{Answer, Client, Setup, Upstream, program};
use crate::thirdparty::{Server, free_address, serve};

const NAME: &str = "ada.private@example.com";
const WRONG: &str = "wrong-secret-word";
const RIGHT: &str = "right-secret-word";

/// Behind every shop: `right` where the password is, and the helpers to answer with.
const COMMON: &str = r#"<?php
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$sent = json_decode(file_get_contents('php://input'), true) ?? [];
$password = $_POST['password'] ?? $_POST['pass'] ?? $sent['customer']['password'] ?? null;
$right = $password === 'right-secret-word';
if (($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') !== 'https') { http_response_code(500); exit('not https'); }
"#;

/// A redirect both ways, and a session that everybody has; absolute addresses, cookies for https alone.
const REDIRECTS: &str = r#"
session_start(['cookie_secure' => true, 'cookie_samesite' => 'None']);
$shop = 'https://shop.example';
if ($path === '/login' && $_SERVER['REQUEST_METHOD'] === 'POST') {
    if (($_SERVER['HTTP_REFERER'] ?? '') !== "$shop/login" && !isset($_SESSION['seen'])) { http_response_code(419); exit; }
    if ($right) { session_regenerate_id(true); $_SESSION['in'] = true; }
    header('Location: ' . $shop . ($right ? '/account' : '/login?error=1'), true, 302);
    exit;
}
$_SESSION['seen'] = true;
echo "<form action='$shop/login' method=post><input name=email><input type=password name=password></form>";
"#;

/// Always 200 and HTML, compressed whether asked or not.
const PAGES: &str = r#"
setcookie('basket', 'x', ['secure' => true]);
header('Content-Encoding: gzip');
$form = '<form method=post><input name="login[username]"><input type="password" name="pass"></form>';
$page = $right ? '<a href="/customer/account/logout/">Sign out</a>' : $form;
echo gzencode(str_repeat('<!-- shop -->', 2000) . $page);
"#;

/// Always 200 and JSON.
const API: &str = r#"
header('Content-Type: application/json');
if ($password === null) { echo '{"ok":true}'; exit; }
echo $right ? '{"data":{"access_token":"abc","expires":3600}}' : '{"data":{"message":"no"}}';
"#;

/// 401, or a cookie of its own.
const COOKIE: &str = r#"
setcookie('visitor_token', bin2hex(random_bytes(4)));
if ($password === null) { echo 'hello'; exit; }
if (!$right) { http_response_code(401); exit('no'); }
header('Set-Cookie: __Host-shop_customer=' . bin2hex(random_bytes(8)) . '; Path=/; Secure; HttpOnly', false);
header('Location: /' . ($_POST['back'] ?? 'account'), true, 303);
"#;

/// What a careful shop sends, and a page whose script logs in by itself: wrong, then right.
const CAREFUL: &str = r#"
session_name('__Host-shop');
session_start(['cookie_secure' => true, 'cookie_httponly' => true, 'cookie_samesite' => 'Strict']);
header("Content-Security-Policy: form-action https://shop.example; upgrade-insecure-requests");
header('Strict-Transport-Security: max-age=31536000; includeSubDomains');
$origin = 'https://shop.example';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    if (($_POST['csrf'] ?? '') !== ($_SESSION['csrf'] ?? null) || $_SERVER['HTTP_ORIGIN'] !== $origin) {
        http_response_code(403);
        exit('forged');
    }
    if ($right) { session_regenerate_id(true); }
    header("Location: $origin/" . ($right ? 'account' : 'konto?again'), true, 303);
    exit;
}
$_SESSION['csrf'] ??= bin2hex(random_bytes(8));
echo "<form action='$origin/konto' method=post><input name=csrf value={$_SESSION['csrf']}>
<input name=email value=ada.private@example.com><input type=password name=password></form><script>
document.forms[0].password.value = location.search ? 'right-secret-word' : 'wrong-secret-word';
if (location.pathname === '/konto') document.forms[0].submit();</script>";
"#;

/// One address for all that a shop does, by GraphQL and by a query, and names and passwords in the head.
const DOORS: &str = r#"
header('Content-Type: application/json');
$right = $right || ($sent['variables']['password'] ?? $_SERVER['PHP_AUTH_PW'] ?? '') === 'right-secret-word';
if ($path === '/graphql') {
    echo $right ? '{"data":{"generateCustomerToken":{"token":"abc"}}}'
        : '{"errors":[{"message":"no"}],"data":{"generateCustomerToken":null}}';
} elseif ($path === '/admin/orders') {
    if (!$right) { header('WWW-Authenticate: Basic realm="shop"'); http_response_code(401); }
    echo '[]';
} elseif (($_GET['route'] ?? '') === 'account/login') {
    echo json_encode($right ? ['redirect' => '/in', 'customer' => ['id' => 7]] : ['error' => 'no']);
}
"#;

fn shop(page: &str) -> Option<Server> {
    let (php, folder, address) = (program("php")?, tempfile::tempdir().unwrap(), free_address());
    let script = folder.path().join("shop.php");
    std::fs::write(&script, format!("{COMMON}{page}")).unwrap();
    let mut command = Command::new(php);
    command.arg("-S").arg(address.to_string()).arg(script);
    Some(serve(command, address, folder))
}

/// The command, waiting for logins.
struct Learner {
    process: Child,
    address: SocketAddr,
    told: BufReader<ChildStderr>,
    said: String,
}

impl Learner {
    fn start(upstream: &str, arguments: &[&str]) -> Self {
        let mut command = learn(&["--upstream", upstream, "--host", "shop.example"]);
        if !arguments.contains(&"--wait") {
            command.args(["--wait", "20"]);
        }
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let told = BufReader::new(process.stderr.take().unwrap());
        let mut learner = Self { process, address: free_address(), told, said: String::new() };
        let line = learner.wait_for("Open http://");
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
        learner.address = address.parse().unwrap();
        learner
    }

    fn wait_for(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.told.read_line(&mut line).unwrap() > 0, "no \"{words}\" in {}", self.said);
            self.said += &line;
            if line.contains(words) {
                return line;
            }
        }
    }

    fn browser(&self) -> Browser {
        Browser { address: self.address, host: self.address.to_string(), cookies: Vec::new() }
    }

    /// What it printed, after its end.
    fn end(mut self) -> (i32, String, String) {
        self.told.read_to_string(&mut self.said).unwrap();
        let Output { status, stdout, .. } = self.process.wait_with_output().unwrap();
        let rule = String::from_utf8(stdout).unwrap();
        for secret in [NAME, WRONG, RIGHT, "ada.private"] {
            assert!(!rule.contains(secret) && !self.said.contains(secret), "{secret}: {rule}");
        }
        (status.code().unwrap(), rule, self.said)
    }
}

fn learn(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    command.args(["login", "learn"]).args(arguments).stdin(Stdio::null());
    command
}

/// As much of a browser as logging in takes: it keeps cookies that are not for https alone.
struct Browser {
    address: SocketAddr,
    host: String,
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn send(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut client = Client::plain(self.address);
        client.host.clone_from(&self.host);
        let jar: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let jar = jar.join("; ");
        let mut all = vec![("connection", "close"), ("accept-encoding", "gzip, br")];
        all.extend(fields);
        if !jar.is_empty() {
            all.push(("cookie", &jar));
        }
        let answer = client.request(method, path, &all, body.as_bytes());
        for cookie in answer.head.all("set-cookie") {
            assert!(!cookie.to_lowercase().contains("; secure"), "never sent back: {cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            assert!(!name.starts_with("__"), "refused by browsers: {cookie}");
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    fn open(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    fn form(&mut self, path: &str, body: &str) -> Answer {
        let referrer = format!("http://{}{path}", self.host);
        let kind = ("content-type", "application/x-www-form-urlencoded");
        self.send("POST", path, &[kind, ("referer", &referrer)], body)
    }
}

/// A guard with the rule takes the right login for a success and the wrong one for a failure.
fn assert_judges_right(
    upstream: &str,
    rule: &str,
    path: &str,
    kind: &str,
    body: &dyn Fn(&str) -> String,
) {
    let sidecar = Setup::to(upstream).site(rule).start();
    let referrer = ("referer", "https://shop.example/login");
    let attempts = |outcome: &str| {
        sidecar.metric("tillgate_login_attempts_total", &[&format!("outcome=\"{outcome}\"")])
    };
    let mut client = sidecar.https();
    let fields = [("content-type", kind), referrer];
    // The right one first: after a wrong one the next must wait.
    client.request("POST", path, &fields, body(RIGHT).as_bytes());
    assert_eq!((attempts("failure"), attempts("success")), (0.0, 1.0), "right: {rule}");
    client.request("POST", path, &fields, body(WRONG).as_bytes());
    assert_eq!((attempts("failure"), attempts("success")), (1.0, 1.0), "wrong: {rule}");
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn a_shop_that_redirects_both_ways_is_learnt() {
    let Some(shop) = shop(REDIRECTS) else { return };
    let url = format!("http://{}", shop.address);
    let mut learner = Learner::start(&url, &[]);
    let mut browser = learner.browser();
    let page = browser.open("/login").text();
    let action = format!("<form action='http://{}/login'", learner.address);
    assert!(page.starts_with(&action), "the form leads away: {page}");
    let body = |password: &str| format!("email=ada.private%40example.com&password={password}");
    let answer = browser.form("/login", &body(WRONG));
    let away = format!("http://{}/login?error=1", learner.address);
    assert_eq!((answer.status, answer.field("location")), (302, Some(away.as_str())));
    learner.wait_for("RIGHT password");
    let answer = browser.form("/login", &body(RIGHT));
    assert_eq!(answer.field("location"), Some(&*format!("http://{}/account", learner.address)));
    let (code, rule, _) = learner.end();
    assert_eq!(code, 0);
    // The session is everybody's, and what page follows depends on where the customer was.
    let keys: Vec<_> = rule.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        keys,
        ["[[site.login]]", "path = \"/login\"", "account_field = \"email\""],
        "{rule}"
    );
    let flowing = rule.replace("\n# ", " ");
    assert!(flowing.contains("Without a rule: failure wrong, success right"), "{rule}");
    assert_judges_right(&url, &rule, "/login", FORM, &body);
}

#[test]
fn a_shop_that_answers_every_login_with_a_page_is_learnt() {
    let Some(shop) = shop(PAGES) else { return };
    let url = format!("http://{}", shop.address);
    let mut learner = Learner::start(&url, &[]);
    let mut browser = learner.browser();
    let page = browser.open("/customer/account/login/");
    assert!(page.field("content-encoding").is_none() && page.text().contains("login[username]"));
    let body = |password: &str| format!("login%5Busername%5D={NAME}&pass={password}");
    browser.form("/customer/account/login/", &body(WRONG));
    learner.wait_for("RIGHT password");
    // A slip is noticed, and waited out.
    browser.form("/customer/account/login/", &body(WRONG));
    learner.wait_for("like that to the wrong password");
    browser.form("/customer/account/login/", &body(RIGHT));
    let (code, rule, _) = learner.end();
    assert_eq!(code, 0);
    assert!(rule.contains("account_field = \"login.username\""), "{rule}");
    assert_judges_right(&url, &rule, "/customer/account/login/", FORM, &body);
}

/// The fields of a head, and a body.
type Sent = (Vec<(&'static str, String)>, String);

/// Learns from one wrong and one right request; the rule, once a guard has judged both right by it.
fn learn_of(shop: &Server, (method, target): (&str, &str), make: &dyn Fn(&str) -> Sent) -> String {
    let url = format!("http://{}", shop.address);
    let mut learner = Learner::start(&url, &[]);
    let mut browser = learner.browser();
    let mut send = |password: &str| {
        let (fields, body) = make(password);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.send(method, target, &fields, &body);
    };
    send(WRONG);
    learner.wait_for("RIGHT password");
    send(RIGHT);
    let (code, rule, said) = learner.end();
    assert_eq!(code, 0, "{said}");
    let sidecar = Setup::to(&url).site(&rule).start();
    for (password, outcome) in [(RIGHT, "success"), (WRONG, "failure")] {
        let (fields, body) = make(password);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sidecar.https().request(method, target, &fields, body.as_bytes());
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(sidecar.metric("tillgate_login_attempts_total", &[&label]), 1.0, "{rule}");
    }
    rule
}

#[test]
fn a_login_behind_one_address_for_everything_is_told_apart() {
    let Some(shop) = shop(DOORS) else { return };
    let rule = learn_of(&shop, ("POST", "/graphql"), &|password| {
        let query = "mutation SignIn($email: String!, $password: String!) {\n  \
            generateCustomerToken(email: $email, password: $password) { token } }";
        let body = json!({"operationName": "SignIn", "query": query,
            "variables": {"email": NAME, "password": password}});
        (vec![("content-type", "application/json".to_owned())], body.to_string())
    });
    assert!(rule.contains("carrier = \"graphql\"\noperation = \"SignIn\"\n"), "{rule}");
    let pointer = "json = { pointer = \"/data/generateCustomerToken/token\"";
    assert!(rule.contains(pointer), "{rule}");

    let rule = learn_of(&shop, ("POST", "/index.php?route=account/login"), &|password| {
        (vec![("content-type", FORM.to_owned())], format!("email={NAME}&password={password}"))
    });
    assert!(rule.contains("when = { query = \"route\", value = \"account/login\" }"), "{rule}");

    let rule = learn_of(&shop, ("GET", "/admin/orders"), &|password| {
        let shown = STANDARD.encode(format!("ada.private:{password}"));
        (vec![("authorization", format!("Basic {shown}"))], String::new())
    });
    assert!(rule.contains("path = \"/admin/orders\"\ncarrier = \"basic\"\n"), "{rule}");
}

#[test]
fn a_real_browser_gets_through_with_the_cookies_and_addresses_of_a_careful_shop() {
    let (Some(shop), Some(chromium)) = (shop(CAREFUL), program("chromium")) else { return };
    let learner = Learner::start(&format!("http://{}", shop.address), &["--wait", "60"]);
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new(chromium)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--remote-debugging-port=0"])
        .arg(format!("http://{}/konto", learner.address))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (code, rule, said) = learner.end();
    browser.kill().unwrap();
    browser.wait().unwrap();
    assert_eq!(code, 0, "{said}");
    assert!(rule.contains("path = \"/konto\"\naccount_field = \"email\"\n"), "{rule}");
    assert!(rule.contains("Location: /konto wrong, /account right"), "{rule}");
}

fn api_body(password: &str) -> String {
    json!({"customer": {"mail": NAME, "password": password}, "remember": true}).to_string()
}

#[test]
fn an_api_that_always_answers_200_is_learnt_by_what_only_the_right_answer_holds() {
    let Some(shop) = shop(API) else { return };
    let url = format!("http://{}", shop.address);
    let mut learner = Learner::start(&url, &[]);
    let mut browser = learner.browser();
    let json = [("content-type", "application/json")];
    browser.send("POST", "/api/v1/customer-login", &json, &api_body(WRONG));
    learner.wait_for("RIGHT password");
    browser.send("POST", "/api/v1/customer-login", &json, &api_body(RIGHT));
    let (code, rule, _) = learner.end();
    assert_eq!(code, 0);
    assert!(rule.contains("account_field = \"customer.mail\""), "{rule}");
    assert!(rule.contains("success = { json = { pointer = \"/data/access_token\""), "{rule}");
    assert_judges_right(&url, &rule, "/api/v1/customer-login", "application/json", &api_body);
}

#[test]
fn a_cookie_that_only_the_right_password_sets_is_the_sign() {
    let Some(shop) = shop(COOKIE) else { return };
    let url = format!("http://{}", shop.address);
    let mut learner = Learner::start(&url, &[]);
    let mut browser = learner.browser();
    browser.open("/");
    let body = |password: &str| format!("email={NAME}&password={password}&back=checkout");
    browser.form("/konto", &body(WRONG));
    learner.wait_for("RIGHT password");
    browser.form("/konto", &body(RIGHT));
    let (code, rule, _) = learner.end();
    assert_eq!(code, 0);
    assert!(rule.contains("success = { cookie = \"__Host-shop_customer\" }"), "{rule}");
    assert!(
        rule.contains("Without a rule: no login wrong, no login right"),
        "nothing is recognised at this address: {rule}"
    );
    assert_judges_right(&url, &rule, "/konto", FORM, &body);
}

#[test]
fn nothing_is_learnt_of_one_login_and_the_proxy_is_for_this_machine_alone() {
    let shop = Upstream::ok();
    let mut learner = Learner::start(&shop.url(), &["--wait", "1"]);
    let mut browser = learner.browser();
    browser.host = "evil.example".to_owned();
    assert_eq!(browser.open("/").status, 421);
    browser.host = "localhost:1".to_owned();
    assert_eq!(browser.open("/").text(), "ok");
    browser.form("/login", &format!("email={NAME}&password={WRONG}"));
    learner.wait_for("RIGHT password");
    let (code, rule, said) = learner.end();
    assert_eq!((code, rule.as_str()), (1, ""));
    assert!(said.contains("no right login was seen"), "{said}");
    let output = learn(&["--upstream", &shop.url(), "--listen", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("ssh -L"), "{said}");
}

#[test]
fn a_browsers_recording_is_learnt_from() {
    let entry = |password: &str, status: u16, cookie: &str| {
        let body = format!("user=ada.private&password={password}");
        json!({
            "request": {"method": "POST", "url": "https://shop.example/anmelden", "headers": [],
                "postData": {"mimeType": FORM, "text": body}},
            "response": {"status": status, "headers": [{"name": "Set-Cookie", "value": cookie}],
                "content": {"text": "", "mimeType": "text/html"}}
        })
    };
    let entries = [entry(WRONG, 200, "theme=dark"), entry(RIGHT, 303, "usersession=1; Secure")];
    let har = json!({"log": {"version": "1.2", "entries": entries}}).to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.har");
    std::fs::write(&path, har).unwrap();
    let output = learn(&["--from", path.to_str().unwrap()]).output().unwrap();
    let (rule, said) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}");
    assert!(rule.contains("path = \"/anmelden\"") && rule.contains("\"usersession\""), "{rule}");
    assert!(!(rule + &said).contains("ada.private"));
}
