//! The formats of tokens, to the shop and back at the gateway (DESIGN.md section 4).

use crate::harness::{Identity, Setup, Sidecar, Upstream, cards};

/// A provider that answers with what it was sent, as real ones do in their receipts.
fn provider() -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        let seen = exchange.request()?;
        let content_type = seen.field("content-type").unwrap_or("text/plain").to_owned();
        exchange.answer(200, &[("content-type", &content_type)], &seen.body)
    })
}

fn with_format(shop: &Upstream, provider: &Upstream, format: &str) -> Setup {
    let cards = format!("[cards]\ntoken_format = \"{format}\"");
    Setup::new(shop).tables(&cards).gateway("pay", provider)
}

fn post_form(sidecar: &Sidecar, shop: &Upstream, card: &str) -> String {
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    shop.last().form("number")
}

/// Charges a token; gives what the provider received.
fn charge(sidecar: &Sidecar, provider: &Upstream, token: &str) -> String {
    let answer = sidecar.gateway("pay").json("/charge", &format!("{{\"card\":\"{token}\"}}"));
    assert_eq!(answer.status, 200, "{token}: {}", answer.text());
    provider.last().json()["card"].as_str().unwrap().to_owned()
}

fn assert_opaque(token: &str) {
    let rest = token.strip_prefix("tok_").unwrap_or_else(|| panic!("{token} is not opaque"));
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    assert!(rest.len() == 22 && rest.bytes().all(sound), "{token}");
}

#[test]
fn an_opaque_token_takes_the_place_of_a_card_in_every_carrier_and_is_charged_from_it() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = with_format(&shop, &provider, "opaque").start();
    let carriers: [(&str, &str); 5] = [
        ("application/x-www-form-urlencoded", "amount=990&source%5Bnumber%5D=@&x=%C3%A9"),
        ("application/json", "{\"amount\" : 990, \"card\":{\"number\":\"@\"}, \"é\":[1.0]}"),
        ("text/xml", "<s:Body xmlns:s=\"x\"><Card n='1'>@</Card></s:Body>"),
        (
            "multipart/form-data; boundary=Q7",
            "--Q7\r\nContent-Disposition: form-data; name=\"card_number\"\r\n\r\n@\r\n--Q7--\r\n",
        ),
        ("text/plain", "please charge @, thanks"),
    ];
    for (carrier, body) in carriers {
        let card = cards::fresh("visa");
        let answer = sidecar.https().post("/pay", carrier, body.replace('@', &card));
        assert_eq!(answer.status, 200, "{carrier}");
        let seen = shop.last();
        let text = seen.text();
        let (head, tail) = body.split_once('@').unwrap();
        let token = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail));
        let token = token.unwrap_or_else(|| panic!("more than the number changed: {text}"));
        assert_opaque(token);
        let length = seen.body.len().to_string();
        assert_eq!(seen.field("content-length"), Some(length.as_str()), "{carrier}");

        let charged = sidecar.gateway("pay").post("/charge", carrier, &text);
        assert_eq!(charged.status, 200, "{carrier}: {}", charged.text());
        let received = provider.last();
        assert_eq!(received.text(), body.replace('@', &card), "{carrier}");
        let length = received.body.len().to_string();
        assert_eq!(received.field("content-length"), Some(length.as_str()), "{carrier}");
        assert_eq!(charged.text(), text, "the shop must see its own token: {carrier}");
    }
}

#[test]
fn a_number_typed_with_separators_becomes_one_opaque_token_also_in_a_query_and_over_http2() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = with_format(&shop, &provider, "opaque").start();
    let card = cards::fresh("visa");
    let token = post_form(&sidecar, &shop, &card);
    for separator in ["+", "-", "%20", "."] {
        assert_eq!(post_form(&sidecar, &shop, &cards::grouped(&card, separator)), token);
    }
    assert_eq!(sidecar.https().get(&format!("/pay?number={card}&x=1")).status, 200);
    assert_eq!(shop.last().target(), format!("/pay?number={token}&x=1"));
    let fields = [("content-type", "application/json"), ("cookie", &format!("c={card}; d=1"))];
    let body = format!("{{\"pan\":\"{card}\"}}");
    assert_eq!(sidecar.h2().request("POST", "/pay", &fields, body.as_bytes()).status, 200);
    assert_eq!(shop.last().json()["pan"], token.as_str());
    assert_eq!(shop.last().field("cookie"), Some(format!("c={token}; d=1").as_str()));
    assert_eq!(charge(&sidecar, &provider, &token), card);
}

#[test]
fn where_no_text_may_stand_the_token_has_as_many_digits_as_the_card() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = with_format(&shop, &provider, "opaque").start();
    let card = cards::fresh("visa");
    let body = |number: &str, text: &str| format!("{{\"a\":{number},\"b\":\"{text}\",\"c\":1.0}}");
    assert_eq!(sidecar.https().json("/pay", &body(&card, &card)).status, 200);
    let seen = shop.last();
    let number = seen.json()["a"].as_u64().unwrap().to_string();
    let text = seen.json()["b"].as_str().unwrap().to_owned();
    cards::assert_brand_four(&number, &card);
    assert_opaque(&text);
    assert_eq!(seen.text(), body(&number, &text));
    let charged = sidecar.gateway("pay").json("/charge", &seen.text());
    assert_eq!(charged.status, 200);
    assert_eq!(provider.last().text(), body(&card, &card));
    // PHP tells the length of a string before it.
    let php = format!("a:1:{{s:6:\"ccnumb\";s:16:\"{card}\";}}");
    assert_eq!(sidecar.https().post("/pay", "text/plain", &php).status, 200);
    assert_eq!(shop.last().text(), php.replace(&card, &number));
}

#[test]
fn a_long_body_with_opaque_tokens_arrives_whole_while_it_streams() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = with_format(&shop, &provider, "opaque").start();
    let card = cards::fresh("visa");
    let token = post_form(&sidecar, &shop, &card);
    let filler = "lorem ipsum dolor ".repeat(9_000);
    let build = |number: &str| format!("{number} {filler} {number} {filler} {number}");
    let answer = sidecar.https().post("/note", "text/plain", build(&card));
    assert_eq!(answer.status, 200);
    assert_eq!(shop.last().text(), build(&token));
}

#[test]
fn an_opaque_token_posted_again_or_shown_by_the_shop_is_left_alone() {
    let provider = provider();
    let shop = Upstream::start(|exchange| {
        let seen = exchange.request()?;
        exchange.answer(200, &[("content-type", "application/json")], &seen.body)
    });
    let sidecar = with_format(&shop, &provider, "opaque").start();
    let body = |number: &str| format!("{{\"card_number\":\"{number}\"}}");
    let first = sidecar.https().json("/pay", &body(&cards::fresh("visa")));
    assert_eq!(first.text(), shop.last().text());
    let token = shop.last().json()["card_number"].as_str().unwrap().to_owned();
    assert_opaque(&token);
    let again = sidecar.https().json("/pay", &body(&token));
    assert_eq!((again.text(), shop.last().text()), (body(&token), body(&token)));
}

#[test]
fn a_strangers_token_passes_the_gateway_and_one_of_ours_that_is_unknown_is_refused() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = with_format(&shop, &provider, "opaque").start();
    for foreign in ["tok_visa", "tok_1NnZ2LHMNvFVnyEbhDyXYZ", "tok_1NnZ2L2eZvKYlo2CVnyEbhDy"] {
        assert_eq!(charge(&sidecar, &provider, foreign), foreign);
    }
    // Issued by another vault: the check is right, the row is not there.
    let other = with_format(&shop, &provider, "opaque").start();
    let unknown = post_form(&other, &shop, &cards::fresh("visa"));
    let count = provider.count();
    let refused = sidecar.gateway("pay").json("/charge", &format!("{{\"source\":\"{unknown}\"}}"));
    refused.assert_refused(422);
    assert_eq!(provider.count(), count);
}

#[test]
fn a_code_posted_with_an_opaque_token_is_revealed_with_that_token_only() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = with_format(&shop, &provider, "opaque").start();
    let (mine, other) = (cards::fresh("visa"), cards::fresh("visa"));
    let (mine, other) = (post_form(&sidecar, &shop, &mine), post_form(&sidecar, &shop, &other));
    let body = format!("number={mine}&cvv=904");
    assert_eq!(sidecar.https().form("/pay", &body).status, 200);
    let stand_in = shop.last().form("cvv");
    let pay = |token: &str| {
        let body = format!("{{\"card\":\"{token}\",\"cvc\":\"{stand_in}\"}}");
        sidecar.gateway("pay").json("/charge", &body).status
    };
    assert_eq!(pay(&other), 422);
    assert_eq!(pay(&mine), 200);
    assert_eq!(provider.last().json()["cvc"], "904");
}

#[test]
fn a_token_that_fails_luhn_is_charged_and_another_such_number_passes() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = with_format(&shop, &provider, "six-four-invalid").start();
    let card = cards::fresh("visa");
    let token = post_form(&sidecar, &shop, &card);
    assert!(!cards::luhn(&token), "{token}");
    let order = cards::broken(&cards::quiet("visa"));
    let body = |card: &str| format!("card={card}&reference={order}");
    let answer = sidecar.gateway("pay").form("/charge", &body(&token));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(provider.last().text(), body(&card));
    assert_eq!(answer.text(), body(&token), "the shop must see its own token");
}

#[test]
fn a_token_that_fails_luhn_is_no_mistyped_number_in_a_card_field() {
    let shop = Upstream::ok();
    let tables = "[cards]\ntoken_format = \"six-four-invalid\"\ncard_fields = [\"number\"]\n\
                  invalid_card = \"reject\"";
    let sidecar = Sidecar::start(&shop, tables);
    let token = post_form(&sidecar, &shop, &cards::fresh("visa"));
    assert_eq!(post_form(&sidecar, &shop, &token), token);
    let mistyped = cards::broken(&cards::quiet("visa"));
    sidecar.https().form("/pay", &format!("number={mistyped}")).assert_refused(422);
}

#[test]
fn a_card_without_room_in_the_format_is_refused_for_good() {
    let (shop, provider) = (Upstream::ok(), provider());
    // Thirteen digits, six and four of them kept: three are too few to hide anything.
    let short = "card_number=4222222222222";
    let sidecar = with_format(&shop, &provider, "six-four").start();
    let refused = sidecar.https().form("/pay", short);
    refused.assert_refused(422);
    assert_eq!(refused.field("retry-after"), None);
    assert_eq!(shop.count(), 0);
    for format in ["brand-four", "opaque"] {
        let sidecar = with_format(&shop, &provider, format).start();
        assert_eq!(sidecar.https().form("/pay", short).status, 200, "{format}");
        let token = shop.last().form("card_number");
        let paid = sidecar.gateway("pay").form("/charge", &format!("card_number={token}"));
        assert_eq!(paid.status, 200);
        assert_eq!(provider.last().form("card_number"), "4222222222222", "{format}");
    }
}

#[test]
fn after_a_change_of_format_old_and_new_tokens_are_charged() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = with_format(&shop, &provider, "brand-four").start();
    let card = cards::fresh("visa");
    let mut tokens = vec![post_form(&sidecar, &shop, &card)];
    for format in ["opaque", "six-four-invalid", "six-four", "brand-four"] {
        let mark = sidecar.mark();
        sidecar.write_config(&with_format(&shop, &provider, format).text());
        sidecar.wait_for_log(mark, "reloaded");
        tokens.push(post_form(&sidecar, &shop, &card));
        for token in &tokens {
            assert_eq!(charge(&sidecar, &provider, token), card, "{format}");
        }
        // An old token that a customer's browser still has is a token and stays itself.
        assert_eq!(post_form(&sidecar, &shop, &tokens[0]), tokens[0]);
    }
    assert_eq!(tokens.pop().as_ref(), tokens.first(), "a card keeps its token of each format");
    let distinct: std::collections::HashSet<_> = tokens.iter().collect();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn routes_of_one_site_may_have_formats_of_their_own() {
    let shop = Upstream::ok();
    let route = "[[site.route]]\npath = \"/api/*\"\ncards = { token_format = \"opaque\" }";
    let sidecar = Setup::new(&shop).site(route).start();
    let card = cards::fresh("visa");
    assert_eq!(sidecar.https().form("/api/pay", &format!("number={card}")).status, 200);
    assert_opaque(&shop.last().form("number"));
    cards::assert_brand_four(&post_form(&sidecar, &shop, &card), &card);
}
