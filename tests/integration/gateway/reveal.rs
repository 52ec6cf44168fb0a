//! Which tokens become card numbers on their way to a provider: by method, path, field and rate.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{buy, provider};
use crate::harness::{Identity, Setup, Sidecar, Upstream, cards, eventually};

const POLICY: &str = "reveal = { methods = [\"POST\"], paths = [\"/v1/payment_methods*\"], \
                      fields = [\"card[number]\", \"source.number\", \"*.cardNumber\"] }";

struct Scene {
    shop: Upstream,
    provider: Upstream,
    sidecar: Sidecar,
}

impl Scene {
    fn new(lines: &str) -> Self {
        let (shop, provider) = (Upstream::ok(), provider());
        let sidecar = Setup::new(&shop).gateway_with("pay", &provider, lines).start();
        Self { shop, provider, sidecar }
    }

    fn token(&self, card: &str) -> String {
        buy(&self.sidecar, &self.shop, card).0
    }

    /// What the provider receives of a body that the shop sends.
    fn sent(&self, target: &str, content_type: &str, body: &str) -> String {
        let answer = self.sidecar.gateway("pay").post(target, content_type, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(self.provider.last().field("content-length"), Some(&*body.len().to_string()));
        self.provider.last().text()
    }

    fn audit(&self, needle: &str) -> String {
        eventually(needle, || {
            let text = std::fs::read_to_string(self.sidecar.data().join("audit.log")).ok()?;
            text.lines().find(|line| line.contains(needle)).map(str::to_owned)
        })
    }
}

#[test]
fn only_the_named_fields_are_revealed_in_every_carrier() {
    let scene = Scene::new(POLICY);
    let card = cards::fresh("visa");
    let token = scene.token(&card);
    let multipart = "--b\r\ncontent-disposition: form-data; name=\"card[number]\"\r\n\r\n#\r\n--b\r\n\
                     content-disposition: form-data; name=\"note\"\r\n\r\n@\r\n--b--\r\n";
    let soap = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><p:pay>\
                <p:cardNumber>#</p:cardNumber><p:memo>@</p:memo></p:pay></s:Body></s:Envelope>";
    for (content_type, body) in [
        ("application/x-www-form-urlencoded", "card%5Bnumber%5D=#&metadata%5Bcard%5D=@&x=%C3%A9"),
        ("application/json", r##"{"source":{"number":"#"},"metadata":{"source":{"number":"@"}}}"##),
        ("application/soap+xml; charset=utf-8", soap),
        ("text/xml", soap),
        ("multipart/form-data; boundary=b", multipart),
    ] {
        // `#` is to be revealed, `@` stays a token.
        let with = |named: &str| body.replace('#', named).replace('@', &token);
        assert_eq!(scene.sent("/v1/payment_methods", content_type, &with(&token)), with(&card));
    }
    assert!(scene.sidecar.metric("tillgate_gateway_tokens_left_total", &["pay"]) >= 5.0);
    assert!(scene.audit("reveal_outside_policy").contains("reveal_refused"));
}

#[test]
fn a_compressed_or_chunked_body_is_judged_as_any_other() {
    let scene = Scene::new(POLICY);
    let card = cards::fresh("visa");
    let token = scene.token(&card);
    let filler = "x".repeat(100_000);
    let body = |number: &str| {
        format!(
            "{{\"note\":\"{filler}\",\"source\":{{\"number\":\"{number}\"}},\"memo\":\"{token}\"}}"
        )
    };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body(&token).as_bytes()).unwrap();
    let coded = encoder.finish().unwrap();
    let fields = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let target = "/v1/payment_methods";
    let answer = scene.sidecar.gateway("pay").request("POST", target, &fields, &coded);
    assert_eq!(answer.status, 200);
    let mut decoded = String::new();
    let received = scene.provider.last();
    GzDecoder::new(received.body.as_slice()).read_to_string(&mut decoded).unwrap();
    assert_eq!(decoded, body(&card));

    let form = format!("card[number]={token}&a=1");
    let (head, tail) = form.split_at(20);
    let mut client = scene.sidecar.gateway("pay");
    client.send(format!(
        "POST {target} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n\
         {:x}\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n",
        head.len(),
        tail.len()
    ));
    assert_eq!(client.answer().status, 200);
    assert_eq!(scene.provider.last().text(), format!("card[number]={card}&a=1"));
}

#[test]
fn a_token_in_the_query_is_revealed_where_its_field_is_named() {
    let scene = Scene::new(POLICY);
    let card = cards::fresh("mastercard");
    let token = scene.token(&card);
    let ask = |target: &str| {
        let answer = scene.sidecar.gateway("pay").form(target, "a=1");
        assert_eq!(answer.status, 200, "{}", answer.text());
        scene.provider.last().target().to_owned()
    };
    let target = |number: &str| {
        format!("/v1/payment_methods?card%5Bnumber%5D={number}&note={token}&q=%C3%A9")
    };
    assert_eq!(ask(&target(&token)), target(&card));
    assert_eq!(
        ask(&format!("/v1/payment_methods/{token}?a=1")),
        format!("/v1/payment_methods/{token}?a=1")
    );
}

#[test]
fn a_token_in_the_query_is_revealed_without_a_policy_too() {
    let scene = Scene::new("");
    let card = cards::fresh("visa");
    let token = scene.token(&card);
    scene.sidecar.gateway("pay").form(&format!("/charge?pan={token}&amount=990"), "a=1");
    assert_eq!(scene.provider.last().target(), format!("/charge?pan={card}&amount=990"));
}

#[test]
fn other_methods_and_paths_receive_the_token() {
    let scene = Scene::new(POLICY);
    let token = scene.token(&cards::fresh("visa"));
    let body = format!("card[number]={token}");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (method, target) in [
        ("PUT", "/v1/payment_methods"),
        ("POST", "/v1/customers"),
        ("POST", "/v1/payment_methods/../customers"),
        ("POST", "/v1/payment_methods%2f..%2fcustomers"),
    ] {
        let answer = scene.sidecar.gateway("pay").request(method, target, &form, body.as_bytes());
        assert_eq!(answer.status, 200, "{method} {target}");
        assert_eq!(scene.provider.last().text(), body, "{method} {target}");
    }
}

#[test]
fn no_second_reading_of_a_request_leads_round_the_policy() {
    let scene = Scene::new(POLICY);
    let token = scene.token(&cards::fresh("visa"));
    let form = ("content-type", "application/x-www-form-urlencoded");
    let plain = format!("card[number]={token}");
    let path = "/v1/payment_methods";
    for (target, fields, body) in [
        (path.to_owned(), vec![form, ("x-http-method-override", "GET")], &plain),
        (path.to_owned(), vec![form, ("x-method-override", "put")], &plain),
        (format!("{path}/%252e%252e/notes"), vec![form], &plain),
        (format!("{path}/..%20/notes"), vec![form], &plain),
        (format!("{path}/%c0%ae%c0%ae/notes"), vec![form], &plain),
    ] {
        let mut gateway = scene.sidecar.gateway("pay");
        assert_eq!(gateway.request("POST", &target, &fields, body.as_bytes()).status, 200);
        assert_eq!(scene.provider.last().text(), *body, "{target} {fields:?}");
    }
    // Fields that name another path than the one that was judged go no further.
    let fields = [form, ("x-original-url", "/v1/notes"), ("x-rewrite-url", "/v1/notes")];
    scene.sidecar.gateway("pay").request("POST", path, &fields, plain.as_bytes());
    assert!(!scene.provider.last().text().contains(&token));
    assert!(scene.provider.last().head.fields.iter().all(|(_, value)| value != "/v1/notes"));
    // The method that is meant may be one of the policy's.
    let fields = [form, ("x-http-method-override", "POST")];
    scene.sidecar.gateway("pay").request("POST", path, &fields, plain.as_bytes());
    assert!(!scene.provider.last().text().contains(&token));
}

#[test]
fn a_body_of_two_types_has_no_fields() {
    let scene = Scene::new(&POLICY.replace(" }", ", otherwise = \"reject\" }"));
    let token = scene.token(&cards::fresh("visa"));
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json = ("content-type", "application/json");
    for (fields, body) in [
        ([form, json], format!("card[number]={token}")),
        ([json, form], format!("{{\"source\":{{\"number\":\"{token}\"}}}}")),
    ] {
        let mut gateway = scene.sidecar.gateway("pay");
        let answer = gateway.request("POST", "/v1/payment_methods", &fields, body.as_bytes());
        answer.assert_refused(403);
    }
    assert_eq!(scene.provider.count(), 0);
}

/// A field that goes no further must not say how the body is read.
#[test]
fn what_is_for_one_hop_does_not_name_fields() {
    let scene = Scene::new(POLICY);
    let card = cards::fresh("visa");
    let token = scene.token(&card);
    let body = format!("{{\"source\":{{\"number\":\"{token}\"}}}}");
    let json = ("content-type", "application/json");
    let path = "/v1/payment_methods";
    for (hop, seen) in [
        ("content-type", &token),
        ("Content-Type, x-anything", &token),
        // A method that the provider does not see changes nothing either.
        ("x-http-method-override", &card),
    ] {
        let fields = [json, ("x-http-method-override", "POST"), ("connection", hop)];
        let mut gateway = scene.sidecar.gateway("pay");
        assert_eq!(gateway.request("POST", path, &fields, body.as_bytes()).status, 200);
        assert_eq!(scene.provider.last().json()["source"]["number"], seen.as_str(), "{hop}");
    }
    let fields = [json, ("content_type", "text/plain"), ("content-encoding", "identity")];
    let answer = scene.sidecar.gateway("pay").request("POST", path, &fields, body.as_bytes());
    assert_eq!(answer.status, 200);
    assert!(scene.provider.last().head.all("content_type").is_empty());
}

#[test]
fn a_body_that_a_second_reader_understands_otherwise_reveals_nothing() {
    let scene = Scene::new(&POLICY.replace(" }", ", otherwise = \"reject\" }"));
    let token = scene.token(&cards::fresh("visa"));
    let nested = "--b,x\r\ncontent-disposition: form-data; name=\"card[number]\"\r\n\r\n\
                  --b\r\ncontent-disposition: form-data; name=note\r\n\r\n#\r\n--b--\r\n--b,x--\r\n";
    for (content_type, body) in [
        ("application/json", r##"{"source":{"number":"1"/*"*/},"note":"#"/*"*/}"##),
        ("application/json; charset=utf-7", r##"{"source":{"number":"#"}}"##),
        ("text/xml", "<!DOCTYPE a [<!-- ]><a><cardNumber> --><!ENTITY e \" # \">]><a>&e;</a>"),
        ("text/xml", "<a><note><!--></note><cardNumber>-->#<!--></cardNumber><note>--></note></a>"),
        ("application/x-www-form-urlencoded", "card[number]=1;note=#"),
        ("multipart/form-data; boundary=b,x", nested),
    ] {
        let body = body.replace('#', &token);
        let answer = scene.sidecar.gateway("pay").post("/v1/payment_methods", content_type, &body);
        answer.assert_refused(403);
    }
    let target = format!("/v1/payment_methods?card[number]=1;note={token}");
    scene.sidecar.gateway("pay").form(&target, "a=1").assert_refused(403);
    assert_eq!(scene.provider.count(), 0);
}

#[test]
fn a_policy_may_refuse_what_stands_outside() {
    let lines = POLICY.replace(" }", ", otherwise = \"reject\" }");
    let scene = Scene::new(&lines);
    let token = scene.token(&cards::fresh("visa"));
    let body = format!("{{\"metadata\":{{\"number\":\"{token}\"}}}}");
    scene.sidecar.gateway("pay").json("/v1/payment_methods", &body).assert_refused(403);
    scene.sidecar.gateway("pay").json("/v1/other", &body).assert_refused(403);
    assert_eq!(scene.provider.count(), 0);
    let labels = ["pay", "reveal_outside_policy"];
    assert_eq!(scene.sidecar.metric("tillgate_gateway_refusals_total", &labels), 2.0);
    // A number that is no token is nobody's secret.
    let other = "{\"metadata\":{\"number\":\"4242424242424242\"}}";
    assert_eq!(scene.sidecar.gateway("pay").json("/v1/payment_methods", other).status, 200);
}

#[test]
fn a_verification_code_goes_only_beside_its_card() {
    let scene = Scene::new(POLICY);
    let card = cards::fresh("visa");
    let mut bought = std::iter::repeat_with(|| buy(&scene.sidecar, &scene.shop, &card));
    let (token, stand) = bought.find(|(_, stand)| stand != "904").unwrap();
    let target = "/v1/payment_methods";
    let elsewhere = format!("source.number={token}&metadata[cvc]={stand}");
    let sent = scene.sent(target, "application/x-www-form-urlencoded", &elsewhere);
    assert_eq!(sent, format!("source.number={card}&metadata[cvc]={stand}"));
    let beside = format!("card[number]={token}&card[cvc]={stand}");
    let form = "application/x-www-form-urlencoded";
    // A text beside the card that calls the number a code makes it none.
    let text = format!("card[number]={token}&card[note]=cvc:%20{stand}");
    assert_eq!(scene.sent(target, form, &text), text.replace(&token, &card));
    let sent = scene.sent(target, form, &beside);
    assert_eq!(sent, format!("card[number]={card}&card[cvc]=904"));
}

#[test]
fn a_limit_on_reveals_holds_under_parallel_requests() {
    let scene = Scene::new("reveal_limit = \"5/day\"");
    let token = scene.token(&cards::fresh("visa"));
    let body = format!("{{\"pan\":\"{token}\"}}");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || scene.sidecar.gateway("pay").json("/charges", &body);
        let tries: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        tries.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 5);
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    refused.assert_refused(429);
    assert!(refused.field("retry-after").unwrap().parse::<u32>().unwrap() > 3600);
    assert_eq!(scene.provider.count(), 5);
    // A reload forgives nobody.
    scene.sidecar.sighup();
    scene.sidecar.gateway("pay").json("/charges", &body).assert_refused(429);
    assert!(scene.audit("reveal_limit").contains("pay"));
}

#[test]
fn a_rate_far_above_the_usual_is_an_alarm() {
    let scene = Scene::new("");
    let token = scene.token(&cards::fresh("visa"));
    let one = format!("\"{token}\"");
    // Two hundred in one request, because a minute may begin between two.
    let body = format!("{{\"cards\":[{}]}}", vec![one.as_str(); 200].join(","));
    assert_eq!(scene.sidecar.gateway("pay").json("/batch", &body).status, 200);
    let record: serde_json::Value =
        serde_json::from_str(&scene.audit("reveal_rate_unusual")).unwrap();
    assert!(record.to_string().contains("200"), "{record}");
    assert_eq!(scene.sidecar.metric("tillgate_reveal_alarms_total", &["pay"]), 1.0);
    assert!(scene.sidecar.metrics().contains("tillgate_reveal_rate_ratio{gateway=\"pay\"}"));
}

#[test]
fn p1_numbers_in_a_providers_answer_become_tokens_of_the_gateways_own_format() {
    let card = cards::fresh("visa");
    let (shop, number) = (Upstream::ok(), card.clone());
    let provider = Upstream::start_tls(&Identity::new(&["localhost"]), move |exchange| {
        let location = format!("https://pay.example/done?card={number}");
        let fields = [("content-type", "application/json"), ("location", location.as_str())];
        exchange.answer(201, &fields, format!("{{\"card\":\"{number}\"}}").as_bytes())
    });
    let lines = "token_format = \"six-four-invalid\"";
    let sidecar = Setup::new(&shop).gateway_with("pay", &provider, lines).start();
    let answer = sidecar.gateway("pay").json("/charges", "{}");
    assert_eq!(answer.status, 201);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let token = body["card"].as_str().unwrap();
    assert!(token.starts_with(&card[..6]) && token.ends_with(&card[12..]) && !cards::luhn(token));
    let location = answer.field("location").unwrap();
    assert_eq!(location, format!("https://pay.example/done?card={token}"));
}
