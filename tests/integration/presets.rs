//! The presets of common shops, each in front of an origin that answers as that shop does.

use std::io;

use crate::harness::{Answer, Client, Exchange, ONLY_ACCOUNTS, Setup, Upstream};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const HTML: (&str, &str) = ("content-type", "text/html; charset=UTF-8");

/// One request of a browser or an app.
#[derive(Clone, Copy)]
struct Ask {
    method: &'static str,
    target: &'static str,
    kind: (&'static str, &'static str),
    body: &'static str,
}

fn form(target: &'static str, body: &'static str) -> Ask {
    Ask { method: "POST", target, kind: FORM, body }
}

fn json(target: &'static str, body: &'static str) -> Ask {
    Ask { method: "POST", target, kind: JSON, body }
}

fn send(client: &mut Client, ask: &Ask) -> Answer {
    client.request(ask.method, ask.target, &[ask.kind], ask.body.as_bytes())
}

/// What a preset must make of a shop: ten of `wrong` lock the account that `right` is for, and any
/// number of `right` before do not.
fn assert_login_is_known(preset: &str, shop: &Upstream, right: Ask, wrong: Ask) {
    let site = format!("[[site.login]]\npreset = \"{preset}\"");
    let tables = format!("{ONLY_ACCOUNTS}trusted_networks_bypass = false\n");
    let sidecar = Setup::new(shop).site(&site).tables(&tables).start();
    let mut client = sidecar.https();
    let place = (preset, wrong.target);
    for _ in 0..12 {
        assert_ne!(send(&mut client, &right).status, 429, "{place:?}: a success is counted");
    }
    for _ in 0..10 {
        assert_ne!(send(&mut client, &wrong).status, 429, "{place:?}: too early");
    }
    assert_eq!(send(&mut client, &right).status, 429, "{place:?}: not locked");
}

/// The same for each pair of a shop.
fn assert_logins_are_known(
    preset: &str,
    say: fn(&mut Exchange) -> io::Result<()>,
    pairs: &[(Ask, Ask)],
) {
    for (right, wrong) in pairs {
        assert_login_is_known(preset, &Upstream::start(say), *right, *wrong);
    }
}

/// So many of these pass a guard of the preset, and the next is refused.
fn assert_guarded(
    preset: &str,
    say: fn(&mut Exchange) -> io::Result<()>,
    ask: &Ask,
    passes: usize,
) {
    let shop = Upstream::start(say);
    let site = format!("[[site.login]]\npreset = \"{preset}\"");
    let sidecar = Setup::new(&shop).site(&site).tables(ONLY_ACCOUNTS).start();
    let mut client = sidecar.https();
    let statuses: Vec<_> = (0..=passes).map(|_| send(&mut client, ask).status).collect();
    let refused = statuses.iter().position(|status| *status == 429);
    assert_eq!(refused, Some(passes), "{preset} {}: {statuses:?}", ask.target);
}

fn page(exchange: &mut Exchange, text: &str) -> io::Result<()> {
    exchange.answer(200, &[HTML], text.as_bytes())
}

fn say_json(exchange: &mut Exchange, status: u16, text: &str) -> io::Result<()> {
    exchange.answer(status, &[("content-type", "application/json; charset=utf-8")], text.as_bytes())
}

/// WordPress with WooCommerce: the page again, or a redirect with the cookies of `wp_set_auth_cookie`.
fn woocommerce(exchange: &mut Exchange) -> io::Result<()> {
    let (body, target) = (exchange.request()?.text(), exchange.target().to_owned());
    let good = body.contains("right");
    if target.starts_with("/xmlrpc.php") {
        let text = if good {
            "<?xml version=\"1.0\"?><methodResponse><params><param><value><array><data><value><struct>\
             <member><name>isAdmin</name><value><boolean>1</boolean></value></member></struct></value>\
             </data></array></value></param></params></methodResponse>"
        } else {
            "<?xml version=\"1.0\"?><methodResponse><fault><value><struct><member><name>faultCode</name>\
             <value><int>403</int></value></member><member><name>faultString</name><value><string>\
             Incorrect username or password.</string></value></member></struct></value></fault>\
             </methodResponse>"
        };
        return exchange.answer(
            200,
            &[("content-type", "text/xml; charset=UTF-8")],
            text.as_bytes(),
        );
    }
    if target.contains("apply-coupon") {
        let text = r#"{"code":"woocommerce_rest_cart_coupon_error","data":{"status":400}}"#;
        return say_json(exchange, 400, text);
    }
    if target.contains("wc-ajax") {
        return page(
            exchange,
            "<ul class=\"woocommerce-error\" role=\"alert\"><li>No such coupon</li></ul>",
        );
    }
    if !good {
        return page(
            exchange,
            "<ul class=\"woocommerce-error\" role=\"alert\"><li>The password is incorrect.</li></ul>\
             <form method=\"post\" class=\"woocommerce-form-login\"><input type=\"password\"></form>",
        );
    }
    let fields = [
        ("set-cookie", "wordpress_sec_5c01=ann%7C1764%7CkT3vC; path=/wp-admin; HttpOnly"),
        ("set-cookie", "wordpress_logged_in_5c01=ann%7C1764%7CkT3vCw9Zq0; path=/; HttpOnly"),
        ("location", "/my-account/"),
    ];
    exchange.answer(302, &fields, b"")
}

#[test]
fn a_woocommerce_shop_is_known_by_its_name() {
    let call = |password: &str| -> &'static str {
        let text = format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>wp.getUsersBlogs</methodName><params>\
             <param><value><string>ann</string></value></param><param><value><string>{password}</string>\
             </value></param></params></methodCall>"
        );
        text.leak()
    };
    let xml = |body| Ask { kind: ("content-type", "text/xml"), ..form("/xmlrpc.php", body) };
    let page = |target, password: &str| {
        let body =
            format!("username=ann&password={password}&woocommerce-login-nonce=1&login=Log+in");
        form(target, body.leak())
    };
    assert_logins_are_known(
        "woocommerce",
        woocommerce,
        &[
            (page("/my-account/", "right"), page("/my-account/", "wrong")),
            (page("/checkout/", "right"), page("/checkout/", "wrong")),
            (
                form("/wp-login.php", "log=ann&pwd=right&wp-submit=Log+In"),
                form("/wp-login.php", "log=ann&pwd=wrong&wp-submit=Log+In"),
            ),
            (xml(call("right")), xml(call("wrong"))),
        ],
    );
    let reset = form("/my-account/lost-password/", "user_login=ann&wc_reset_password=true");
    assert_guarded("woocommerce", woocommerce, &reset, 3);
    let register = form("/my-account/", "email=a%40b.example&password=right&register=Register");
    assert_guarded("woocommerce", woocommerce, &register, 10);
    assert_guarded(
        "woocommerce",
        woocommerce,
        &form("/?wc-ajax=apply_coupon", "coupon_code=X"),
        10,
    );
    let coupon = json("/wp-json/wc/store/v1/cart/apply-coupon", "{\"code\":\"X\"}");
    assert_guarded("woocommerce", woocommerce, &coupon, 10);
}

/// Magento: redirects either way; who failed is told so in a cookie, who did not gets a new variation.
fn magento(exchange: &mut Exchange) -> io::Result<()> {
    let (body, target) = (exchange.request()?.text(), exchange.target().to_owned());
    let good = body.contains("right");
    if target.starts_with("/graphql") {
        let text = if good {
            r#"{"data":{"generateCustomerToken":{"token":"eyJraWQiOiIxIn0"}}}"#
        } else {
            r#"{"errors":[{"message":"The account sign-in was incorrect or your account is disabled temporarily.","extensions":{"category":"graphql-authentication"}}],"data":{"generateCustomerToken":null}}"#
        };
        return say_json(exchange, 200, text);
    }
    if target.starts_with("/customer/ajax/login") {
        let text = if good {
            r#"{"errors":false,"message":"Login successful."}"#
        } else {
            r#"{"errors":true,"message":"Invalid login or password."}"#
        };
        return say_json(exchange, 200, text);
    }
    if target.starts_with("/rest/") {
        let (status, text) =
            if good { (200, "\"eyJraWQ\"") } else { (401, "{\"message\":\"incorrect\"}") };
        return say_json(exchange, status, text);
    }
    let error =
        "mage-messages=%5B%7B%22type%22%3A%22error%22%2C%22text%22%3A%22No%22%7D%5D; path=/";
    if good {
        let fields = [
            ("set-cookie", "PHPSESSID=0q1w2e; path=/; HttpOnly"),
            ("set-cookie", "X-Magento-Vary=9bf9a599123e6402b85cde67144717a08b817412; path=/"),
            ("location", "/customer/account/"),
        ];
        return exchange.answer(302, &fields, b"");
    }
    let fields = [
        ("set-cookie", "PHPSESSID=0q1w2e; path=/; HttpOnly"),
        // A guest of another store view has a variation as well.
        ("set-cookie", "X-Magento-Vary=1234a599123e6402b85cde67144717a08b817412; path=/"),
        ("set-cookie", error),
        ("location", "/customer/account/login/referer/aHR0/"),
    ];
    exchange.answer(302, &fields, b"")
}

#[test]
fn a_magento_shop_is_known_by_its_name() {
    let page = |password: &str| {
        let body =
            format!("form_key=k&login%5Busername%5D=a%40b&login%5Bpassword%5D={password}&send=");
        form("/customer/account/loginPost/", body.leak())
    };
    let mutation = |password: &str| {
        let body = format!(
            "{{\"query\":\"mutation($e:String!,$p:String!){{generateCustomerToken(email:$e,password:$p)\
             {{token}}}}\",\"variables\":{{\"e\":\"a@b\",\"p\":\"{password}\"}}}}"
        );
        json("/graphql", body.leak())
    };
    let credentials = |target, password: &str| {
        json(target, format!("{{\"username\":\"a@b\",\"password\":\"{password}\"}}").leak())
    };
    let rest = "/rest/default/V1/integration/customer/token";
    let ajax = "/customer/ajax/login/";
    assert_logins_are_known(
        "magento",
        magento,
        &[
            (page("right"), page("wrong")),
            (mutation("right"), mutation("wrong")),
            (credentials(rest, "right"), credentials(rest, "wrong")),
            (credentials(ajax, "right"), credentials(ajax, "wrong")),
        ],
    );
    let reset = form("/customer/account/forgotpasswordpost/", "email=a%40b&form_key=k");
    assert_guarded("magento", magento, &reset, 3);
    let coupon = form("/checkout/cart/couponPost/", "remove=0&coupon_code=X");
    assert_guarded("magento", magento, &coupon, 10);
    let mutation = "{\"query\":\"mutation{requestPasswordResetEmail(email:\\\"a@b\\\")}\"}";
    assert_guarded("magento", magento, &json("/graphql", mutation), 3);
}

/// OpenCart: version 4 answers JSON, version 3 (without a method in its route) the page or a redirect.
fn opencart(exchange: &mut Exchange) -> io::Result<()> {
    let (body, target) = (exchange.request()?.text(), exchange.target().to_owned());
    let good = body.contains("right");
    let three =
        !target.contains("login.") && !target.contains("login|") && target.contains("login");
    match (three, good) {
        (true, true) => {
            exchange.answer(302, &[("location", "/index.php?route=account/account")], b"")
        }
        (true, false) => page(
            exchange,
            "<div class=\"alert\">Warning: No match for E-Mail Address and/or Password.</div>\
             <input type=\"password\" name=\"password\" value=\"\" class=\"form-control\" />",
        ),
        (false, true) => say_json(
            exchange,
            200,
            r#"{"redirect":"https:\/\/shop\/index.php?route=account\/account&customer_token=1"}"#,
        ),
        (false, false) => say_json(
            exchange,
            200,
            r#"{"error":{"warning":"Warning: No match for E-Mail Address"}}"#,
        ),
    }
}

#[test]
fn an_opencart_shop_is_known_by_its_name() {
    let pair = |target| {
        (form(target, "email=a%40b&password=right"), form(target, "email=a%40b&password=wrong"))
    };
    let admin = "/admin/index.php?route=common/login.login";
    assert_logins_are_known(
        "opencart",
        opencart,
        &[
            pair("/index.php?route=account/login"),
            pair("/index.php?route=account/login.login&language=en-gb&login_token=1"),
            pair("/index.php?route=account/login%7Clogin"),
            (form(admin, "username=a&password=right"), form(admin, "username=a&password=wrong")),
        ],
    );
    let reset = form("/index.php?route=account/forgotten.confirm", "email=a%40b");
    assert_guarded("opencart", opencart, &reset, 3);
    let coupon = form("/index.php?route=extension/opencart/total/coupon.save", "coupon=X");
    assert_guarded("opencart", opencart, &coupon, 10);
}

/// PrestaShop: a redirect with the customer's cookie, or the form again.
fn prestashop(exchange: &mut Exchange) -> io::Result<()> {
    let good = exchange.request()?.text().contains("right") || exchange.target().contains("right");
    if exchange.target().starts_with("/cart") {
        return say_json(
            exchange,
            200,
            r#"{"hasError":true,"errors":["This voucher does not exist"]}"#,
        );
    }
    if good {
        let cookie = "PrestaShop-3f1a=def50200aa11bb22cc33dd44ee55ff66; path=/; httponly";
        return exchange.answer(302, &[("set-cookie", cookie), ("location", "/my-account")], b"");
    }
    page(
        exchange,
        "<form id=\"login-form\" action=\"/login\" method=\"post\"><li class=\"alert alert-danger\">\
         Authentication failed.</li><input type=\"password\" name=\"password\"></form>",
    )
}

#[test]
fn a_prestashop_is_known_by_its_name() {
    let pair = |target| {
        let body = "email=a%40b&password=right&submitLogin=1";
        (form(target, body), form(target, "email=a%40b&password=wrong&submitLogin=1"))
    };
    let get = |target| Ask { method: "GET", ..form(target, "") };
    assert_logins_are_known(
        "prestashop",
        prestashop,
        &[
            pair("/login?back=my-account"),
            pair("/fr/connexion"),
            pair("/index.php?controller=authentication"),
            (
                get("/login?submitLogin=1&email=a%40b&password=right"),
                get("/login?submitLogin=1&email=a%40b&password=wrong"),
            ),
        ],
    );
    assert_guarded("prestashop", prestashop, &form("/password-recovery", "email=a%40b"), 3);
    let coupon = form("/cart", "addDiscount=1&discount_name=X&ajax=1&action=update");
    assert_guarded("prestashop", prestashop, &coupon, 10);
}

/// Shopware: a redirect with a new session, or the page again; its API answers 401.
fn shopware(exchange: &mut Exchange) -> io::Result<()> {
    let good = exchange.request()?.text().contains("right");
    let api = exchange.target().starts_with("/store-api") || exchange.target().starts_with("/api");
    match (api, good) {
        (true, true) if exchange.target().starts_with("/api") => {
            say_json(exchange, 200, r#"{"token_type":"Bearer","expires_in":600,"access_token":"eyJ0"}"#)
        }
        (true, true) => {
            let fields = [JSON, ("sw-context-token", "k3n")];
            exchange.answer(200, &fields, b"{\"contextToken\":\"k3n\"}")
        }
        (true, false) => {
            say_json(exchange, 401, r#"{"errors":[{"status":"401","code":"CHECKOUT__CUSTOMER_AUTH_BAD_CREDENTIALS"}]}"#)
        }
        (false, true) => {
            let cookie = "session-=8a7s6d5f; path=/; secure; httponly; samesite=lax";
            exchange.answer(302, &[("set-cookie", cookie), ("location", "/account")], b"")
        }
        (false, false) => exchange.answer(
            200,
            &[HTML, ("set-cookie", "session-=0000; path=/")],
            b"<div class=\"alert alert-danger\">No account</div><input type=\"password\" name=\"password\">",
        ),
    }
}

#[test]
fn a_shopware_shop_is_known_by_its_name() {
    assert_logins_are_known(
        "shopware",
        shopware,
        &[
            (
                form(
                    "/account/login",
                    "username=a%40b&password=right&redirectTo=frontend.account.home.page",
                ),
                form("/account/login", "username=a%40b&password=wrong"),
            ),
            (
                json("/store-api/account/login", r#"{"username":"a@b","password":"right"}"#),
                json("/store-api/account/login", r#"{"username":"a@b","password":"wrong"}"#),
            ),
            (
                json(
                    "/api/oauth/token",
                    r#"{"grant_type":"password","client_id":"administration","username":"a","password":"right"}"#,
                ),
                json(
                    "/api/oauth/token",
                    r#"{"grant_type":"password","client_id":"administration","username":"a","password":"wrong"}"#,
                ),
            ),
        ],
    );
    assert_guarded("shopware", shopware, &form("/account/recover", "email%5Bemail%5D=a%40b"), 3);
    assert_guarded("shopware", shopware, &form("/checkout/promotion/add", "code=X"), 20);
}

/// django: a redirect with a new session key, or the form again.
fn django(exchange: &mut Exchange) -> io::Result<()> {
    if exchange.request()?.text().contains("right") {
        let cookie = "sessionid=4n0ymous7key; HttpOnly; Max-Age=1209600; Path=/; SameSite=Lax";
        return exchange.answer(
            302,
            &[("set-cookie", cookie), ("location", "/accounts/profile/")],
            b"",
        );
    }
    exchange.answer(
        200,
        &[HTML, ("set-cookie", "csrftoken=abc; Max-Age=31449600; Path=/; SameSite=Lax")],
        b"<ul class=\"errorlist nonfield\"><li>Please enter a correct username and password.</li></ul>\
          <input type=\"password\" name=\"password\" required id=\"id_password\">",
    )
}

#[test]
fn a_django_shop_is_known_by_its_name() {
    let pair = |target| {
        let right = "csrfmiddlewaretoken=c&username=ann&password=right";
        (form(target, right), form(target, "csrfmiddlewaretoken=c&username=ann&password=wrong"))
    };
    assert_logins_are_known(
        "django",
        django,
        &[pair("/accounts/login/"), pair("/admin/login/?next=/admin/")],
    );
    assert_guarded("django", django, &form("/accounts/password_reset/", "email=a%40b"), 3);
}
