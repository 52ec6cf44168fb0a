//! Card numbers in WebSocket messages (issue item 2): what the shop and the client really receive.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use crate::harness::frames::{self, BINARY, CLOSE, PING, PONG, Shop, TEXT, WebSocket};
use crate::harness::{Setup, Sidecar, Upstream, cards};

fn route(shop: &Upstream, keys: &str) -> Sidecar {
    Setup::new(shop).site(&format!("[[site.route]]\npath = \"/ws\"\n{keys}")).start()
}

#[test]
fn p1_a_card_in_a_message_becomes_its_token_and_comes_back_as_that() {
    let shop = Shop::echo();
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut socket = WebSocket::open(&sidecar);
    assert_eq!(shop.upstream.last().field("sec-websocket-extensions"), None);
    let card = cards::fresh("visa");
    let message = |number: &str| format!(r#"42["pay",{{"card":"{number}","amount":12}}]"#);
    for (place, opcode) in [TEXT, BINARY].into_iter().enumerate() {
        socket.send(true, opcode, message(&card));
        let seen = shop.wait(place + 1).remove(place);
        let text = seen.text();
        let token = text.split('"').nth(5).unwrap();
        cards::assert_brand_four(token, &card);
        assert_eq!((seen.last, seen.opcode, &text), (true, opcode, &message(token)));
        let back = socket.receive();
        assert_eq!((back.last, back.opcode, back.text()), (true, opcode, text));
    }
    assert!(sidecar.metric("tillgate_cards_found_total", &["action=\"tokenized\""]) >= 2.0);
}

#[test]
fn p1_a_card_cut_between_two_frames_is_tokenized() {
    for cut in [1, 8, 15] {
        let shop = Shop::echo();
        let sidecar = Sidecar::start(&shop.upstream, "");
        let mut socket = WebSocket::open(&sidecar);
        let card = cards::fresh("visa");
        let (first, second) = card.split_at(cut);
        socket.send(false, TEXT, format!("please charge {first}"));
        socket.send(false, 0, second);
        socket.send(true, 0, " today");
        let (text, _) = shop.message();
        let token = text.strip_prefix("please charge ").unwrap().strip_suffix(" today").unwrap();
        cards::assert_brand_four(token, &card);
        assert_eq!(socket.message(), text);
    }
}

#[test]
fn a_ping_between_two_fragments_is_answered_while_the_first_is_undecided() {
    let shop = Shop::echo();
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut socket = WebSocket::open(&sidecar);
    let card = cards::fresh("visa");
    socket.send(false, TEXT, &card[..10]);
    socket.send(true, PING, "still there?");
    let pong = socket.receive();
    assert_eq!((pong.opcode, pong.text().as_str()), (PONG, "still there?"));
    socket.send(true, 0, &card[10..]);
    cards::assert_brand_four(&shop.message().0, &card);
}

#[test]
fn p1_a_card_that_the_shop_says_is_masked_also_between_two_frames() {
    let (whole, cut) = (cards::fresh("visa"), cards::fresh("mastercard"));
    let greeting = [
        frames::write(true, TEXT, None, format!("on file: {whole}").as_bytes()),
        frames::write(false, TEXT, None, &cut.as_bytes()[..7]),
        frames::write(true, PING, None, b"hello"),
        frames::write(true, 0, None, &cut.as_bytes()[7..]),
    ];
    let shop = Shop::saying(greeting.concat());
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut socket = WebSocket::open(&sidecar);
    assert_eq!(socket.message(), format!("on file: {}", cards::masked(&whole)));
    assert_eq!(socket.receive().opcode, PING);
    assert_eq!(socket.message(), cards::masked(&cut));
}

#[test]
fn a_large_message_arrives_whole_with_its_cards_replaced() {
    let shop = Shop::echo();
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut socket = WebSocket::open(&sidecar);
    let (middle, end) = (cards::fresh("visa"), cards::fresh("amex"));
    let filler = "Nothing to see, 12 words at most. ".repeat(20_000);
    socket.send(true, TEXT, format!("{filler} {middle} {filler} {end}"));
    let (text, _) = shop.message();
    let rest = text.strip_prefix(&format!("{filler} ")).unwrap();
    let (token, last) = rest.split_once(&format!(" {filler} ")).unwrap();
    cards::assert_brand_four(token, &middle);
    cards::assert_brand_four(last, &end);
    assert_eq!(socket.message(), text);
}

#[test]
fn p8_messages_without_a_card_arrive_frame_by_frame() {
    let shop = Shop::echo();
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut socket = WebSocket::open(&sidecar);
    let binary: Vec<u8> = (0..60_000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
    let sent: [(bool, u8, &[u8]); 5] = [
        (true, TEXT, b""),
        (true, BINARY, &binary),
        (false, TEXT, b"one "),
        (true, 0, b"two"),
        (true, CLOSE, &[3, 232, b'b', b'y', b'e']),
    ];
    for (last, opcode, payload) in sent {
        socket.send(last, opcode, payload);
    }
    let seen = shop.wait(5);
    for ((last, opcode, payload), frame) in sent.into_iter().zip(seen) {
        assert_eq!((frame.last, frame.opcode, frame.payload.as_slice()), (last, opcode, payload));
    }
    for (last, opcode, payload) in sent {
        let back = socket.receive();
        assert_eq!((back.last, back.opcode, back.payload.as_slice()), (last, opcode, payload));
    }
    assert!(socket.client.rest().is_empty());
}

#[test]
fn a_route_that_rejects_cards_closes_both_sides_with_1008() {
    let shop = Shop::echo();
    let sidecar = route(&shop.upstream, "cards = { requests = \"reject\" }");
    let mut socket = WebSocket::open(&sidecar);
    socket.send(true, TEXT, "hello");
    assert_eq!(socket.message(), "hello");
    socket.send(true, TEXT, format!("my card is {}", cards::fresh("visa")));
    let (code, words) = socket.receive().close();
    assert_eq!((code, words.as_str()), (1008, "Card numbers are not accepted here."));
    let seen = shop.wait(2);
    assert_eq!(seen[1].close().0, 1008);
    assert!(socket.client.rest().is_empty());
    assert_eq!(shop.wait(2).len(), 2);
    let refused = ["reason=\"card_refused\""];
    assert!(sidecar.metric("tillgate_requests_rejected_total", &refused) >= 1.0);
}

#[test]
fn track_data_a_message_too_large_and_a_broken_frame_close_the_connection() {
    let shop = Shop::echo();
    let sidecar = route(&shop.upstream, "limits = { body = \"64KiB\" }");
    let track = format!(";{}=25121010000012300?", cards::fresh("visa"));
    let mut socket = WebSocket::open(&sidecar);
    socket.send(true, TEXT, track);
    assert_eq!(socket.receive().close().0, 1008);
    assert!(sidecar.metric("tillgate_cards_found_total", &["action=\"rejected\""]) >= 1.0);
    let mut socket = WebSocket::open(&sidecar);
    socket.send(true, TEXT, "x".repeat((64 << 10) + 1));
    assert_eq!(socket.receive().close().0, 1009);
    for bytes in [frames::write(true, TEXT, None, b"no mask"), vec![0xc1, 0x80, 0, 0, 0, 0]] {
        let mut socket = WebSocket::open(&sidecar);
        socket.client.send(bytes);
        assert_eq!(socket.receive().close().0, 1002);
    }
}

#[test]
fn p3_without_the_vault_a_message_with_a_card_closes_with_1013() {
    let shop = Shop::echo();
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut holder = Command::new("sqlite3")
        .arg(sidecar.data().join("vault.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = holder.stdin.take().unwrap();
    writeln!(input, ".timeout 20000\nBEGIN EXCLUSIVE;\nSELECT 'held';").unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "held");
    let mut socket = WebSocket::open(&sidecar);
    socket.send(true, TEXT, "hello");
    assert_eq!(socket.message(), "hello");
    socket.send(true, TEXT, format!("charge {}", cards::fresh("visa")));
    assert_eq!(socket.receive().close().0, 1013);
    let seen = shop.wait(2);
    assert_eq!((seen.len(), seen[1].close().0), (2, 1013));
    writeln!(input, "ROLLBACK;").unwrap();
    drop(input);
    holder.wait().unwrap();
}

#[test]
fn a_shop_that_uses_an_extension_unasked_is_cut_off() {
    let mut compressed = frames::write(true, TEXT, None, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    compressed[0] |= 0x40;
    let shop = Shop::saying(compressed);
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut socket = WebSocket::open(&sidecar);
    assert_eq!(socket.receive().close().0, 1002);
    assert_eq!(shop.wait(1)[0].close().0, 1002);
}

#[test]
fn a_protocol_nobody_can_read_is_refused_where_cards_are_guarded() {
    let shop = Upstream::start(|exchange| {
        exchange.arrived();
        exchange.begin(101, &[("connection", "Upgrade"), ("upgrade", "chat/1.0")])?;
        let said = exchange.some()?;
        exchange.close();
        exchange.raw(&said)
    });
    let sidecar = route(&shop, "cards = { requests = \"observe\", responses = \"off\" }");
    let fields = [("connection", "Upgrade"), ("upgrade", "chat/1.0")];
    sidecar.https().request("GET", "/pay", &fields, b"").assert_refused(501);
    assert_eq!(shop.count(), 0);
    let mut client = sidecar.https();
    assert_eq!(client.request("GET", "/ws", &fields, b"").status, 101);
    client.send("hello");
    assert_eq!(client.bytes(5), b"hello");
}

#[test]
fn a_shutdown_tells_both_sides_to_go_away() {
    let shop = Shop::echo();
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut socket = WebSocket::open(&sidecar);
    socket.send(true, TEXT, "still here");
    assert_eq!(socket.message(), "still here");
    sidecar.sigterm();
    let frame = socket.receive();
    assert_eq!((frame.opcode, frame.close().0), (CLOSE, 1001));
    let told = shop.wait(2).remove(1);
    assert_eq!((told.opcode, told.close().0), (CLOSE, 1001));
    drop(socket);
    assert_eq!(sidecar.exit_status().code(), Some(0));
}

#[test]
fn open_websockets_count_among_what_a_server_has_to_do() {
    let shops = [Shop::echo(), Shop::echo()];
    let urls = shops.each_ref().map(|shop| shop.upstream.url());
    let limit = "[site.balance]\nin_flight = 1";
    let sidecar = Setup::among(&[&urls[0], &urls[1]]).site(limit).start();
    // None of them takes up one of the places that are for requests.
    let open: Vec<_> = (0..12).map(|_| WebSocket::open(&sidecar)).collect();
    assert_eq!(shops.each_ref().map(|shop| shop.upstream.count()), [6, 6]);
    drop(open);
}
