//! What browsers are told beside what the shop says.

use crate::harness::{Answer, Setup, Sidecar, Upstream, eventually};

const REDIRECT: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\nredirect_to_https = true";

fn shop() -> Upstream {
    Upstream::start(|exchange| match exchange.target() {
        "/own" => {
            let fields = [
                ("strict-transport-security", "max-age=1"),
                ("x-content-type-options", "sniff"),
                ("referrer-policy", "no-referrer"),
                ("permissions-policy", "usb=(self)"),
                ("content-security-policy", "default-src *; frame-ancestors *"),
                ("server", "Apache/2.2.3"),
                ("x-powered-by", "PHP/5.3"),
            ];
            exchange.answer(200, &fields, b"own")
        }
        _ => exchange.answer(200, &[("server", "Apache/2.2.3")], b"plain"),
    })
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.field(name).unwrap_or("-")
}

fn told(answer: &Answer) -> [&str; 5] {
    let names = [
        "strict-transport-security",
        "x-content-type-options",
        "referrer-policy",
        "permissions-policy",
        "server",
    ];
    names.map(|name| field(answer, name))
}

const DEVICES: &str = "bluetooth=(), hid=(), midi=(), serial=(), usb=()";

#[test]
fn what_the_shop_does_not_say_is_said_and_what_it_says_stays() {
    let sidecar = Setup::new(&shop()).tables(REDIRECT).start();
    let hsts = "max-age=15552000";
    let expected = [hsts, "nosniff", "strict-origin-when-cross-origin", DEVICES, "Apache/2.2.3"];
    let (answer, by_h2) = (sidecar.https().get("/"), sidecar.h2().get("/"));
    assert_eq!([told(&answer), told(&by_h2)], [expected; 2]);
    assert_eq!(field(&answer, "x-frame-options"), "-");
    assert_eq!(field(&answer, "content-security-policy"), "-");
    let own = ["max-age=1", "sniff", "no-referrer", "usb=(self)", "Apache/2.2.3"];
    let answer = sidecar.https().get("/own");
    assert_eq!(told(&answer), own);
    assert_eq!(answer.head.all("content-security-policy").len(), 1);
    let clear = sidecar.http().get("/");
    assert_eq!(told(&clear), ["-", expected[1], expected[2], expected[3], expected[4]]);
}

#[test]
fn without_a_redirect_to_https_browsers_are_not_bound_to_it_unless_told() {
    let shop = shop();
    let setup = Setup::new(&shop);
    let sidecar = setup.start();
    assert_eq!(field(&sidecar.https().get("/"), "strict-transport-security"), "-");
    let mark = sidecar.mark();
    let bound = "[headers]\nhsts = \"365d\"\nhsts_subdomains = true\nhsts_preload = true";
    sidecar.write_config(&Setup::new(&shop).tables(bound).text());
    sidecar.wait_for_log(mark, "reloaded");
    let answer = sidecar.https().get("/");
    let expected = "max-age=31536000; includeSubDomains; preload";
    assert_eq!(field(&answer, "strict-transport-security"), expected);
    assert_eq!(field(&sidecar.http().get("/"), "strict-transport-security"), "-");
}

#[test]
fn ours_replace_the_shops_where_told_and_unwanted_fields_go() {
    let tables = "[headers]\nreplace = true\nhsts = \"30d\"\nframe_ancestors = [\"self\"]\n\
                  remove = [\"Server\", \"X-Powered-By\"]";
    let route = "[[site.route]]\npath = \"/framed/*\"\n\
                 headers = { frame_ancestors = [\"self\", \"https://partner.example\"], nosniff = false }";
    let sidecar = Setup::new(&shop()).site(route).tables(tables).start();
    let answer = sidecar.https().get("/own");
    let policy = "strict-origin-when-cross-origin";
    assert_eq!(told(&answer), ["max-age=2592000", "nosniff", policy, DEVICES, "-"]);
    assert_eq!(field(&answer, "x-powered-by"), "-");
    assert_eq!(field(&answer, "x-frame-options"), "SAMEORIGIN");
    let policies = answer.head.all("content-security-policy");
    assert_eq!(policies, ["default-src *; frame-ancestors *", "frame-ancestors 'self'"]);
    let framed = sidecar.https().get("/framed/page");
    let policy = "frame-ancestors 'self' https://partner.example";
    assert_eq!(field(&framed, "content-security-policy"), policy);
    assert_eq!(field(&framed, "x-frame-options"), "-");
    assert_eq!(field(&framed, "x-content-type-options"), "-");
}

#[test]
fn a_refusal_of_ours_tells_the_same_and_nothing_is_told_where_all_is_off() {
    let shop = shop();
    let refusing = "[limits]\nbody = \"1B\"";
    let sidecar = Setup::new(&shop).tables(REDIRECT).tables(refusing).start();
    let answer = sidecar.https().post("/", "text/plain", "abc");
    answer.assert_refused(413);
    assert_eq!(field(&answer, "strict-transport-security"), "max-age=15552000");
    assert_eq!(field(&answer, "x-content-type-options"), "nosniff");
    let off = "[headers]\nhsts = \"off\"\nnosniff = false\nreferrer_policy = \"off\"\n\
               permissions_policy = \"off\"";
    sidecar.write_config(&Setup::new(&shop).tables(REDIRECT).tables(off).text());
    let silent = ["-", "-", "-", "-", "Apache/2.2.3"];
    eventually("nothing is told", || (told(&sidecar.https().get("/")) == silent).then_some(()));
}

/// Kept apart from the shop: a gateway's answers are for programs.
#[test]
fn a_gateway_listener_tells_browsers_nothing() {
    let provider = Upstream::ok();
    let plain = format!(
        "[[gateway]]\nname = \"bank\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{}\"",
        provider.url()
    );
    let sidecar: Sidecar = Setup::new(&shop()).tables(&plain).start();
    assert_eq!(told(&sidecar.gateway("bank").get("/")), ["-"; 5]);
}
