//! The PROXY protocol and the fields of the proxies before us: nobody chooses his own address.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::harness::{Client, HOST, Setup, Sidecar, Tls, Upstream, eventually, program};

const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n";
const LISTENERS: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n\
    [[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\nproxy_protocol = true\n";
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";

/// A header of version 2.
fn version_two(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&V2[..], &[0x20 | command, family], &length, block].concat()
}

fn tcp4(source: [u8; 4]) -> Vec<u8> {
    version_two(1, 0x11, &[&source[..], &[192, 0, 2, 1, 0xc8, 0, 1, 0xbb]].concat())
}

fn tcp6() -> Vec<u8> {
    let source = "2001:db8::9".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mut block = [&source[..], &source, &[0xc8, 0, 1, 0xbb]].concat();
    // The name that the client asked for (PP2_TYPE_AUTHORITY), and padding (PP2_TYPE_NOOP).
    block.extend(b"\x02\x00\x0cshop.example\x04\x00\x02zz");
    version_two(1, 0x21, &block)
}

fn start(shop: &Upstream, tables: &str) -> Sidecar {
    Setup::new(shop).top(TRUSTED).tables(LISTENERS).tables(tables).start()
}

fn clear(sidecar: &Sidecar, header: &[u8]) -> Client {
    let mut client = sidecar.http();
    client.send(header);
    client
}

/// Who the shop was told had asked first.
fn first_hop(shop: &Upstream) -> String {
    let seen = shop.last();
    seen.field("x-forwarded-for").unwrap().split(',').next().unwrap().to_owned()
}

fn refused(sidecar: &Sidecar, reason: &str) -> f64 {
    sidecar.metric("tillgate_proxy_headers_refused_total", &[reason])
}

#[test]
fn the_client_of_a_load_balancer_is_known_by_its_header() {
    let shop = Upstream::ok();
    let sidecar = start(&shop, "");
    let cases = [
        (V1.to_vec(), "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 51234 443\r\n".to_vec(), "2001:db8::9"),
        (tcp4([203, 0, 113, 9]), "203.0.113.9"),
        (tcp6(), "2001:db8::9"),
    ];
    for (header, client) in &cases {
        assert_eq!(clear(&sidecar, header).get("/").status, 200);
        assert_eq!(first_hop(&shop), *client);
        let tls = Tls::new(HOST).connect_after(sidecar.address("https"), header);
        assert_eq!(tls.unwrap().get("/tls").status, 200);
        assert_eq!(first_hop(&shop), *client);
        let line = sidecar.wait_for_access(|line| line.contains("/tls") && line.contains(client));
        assert_eq!(line["status"], 200);
    }
}

#[test]
fn a_header_may_come_in_single_bytes_and_with_all_that_follows() {
    let shop = Upstream::ok();
    let sidecar = start(&shop, "");
    let request = b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    for header in [V1.to_vec(), tcp4([203, 0, 113, 9]), tcp6()] {
        let mut slow = sidecar.http();
        for byte in header.iter().chain(request) {
            slow.send([*byte]);
        }
        assert_eq!(slow.answer().status, 200);
        let mut quick = clear(&sidecar, &[&header[..], request].concat());
        assert_eq!(quick.answer().status, 200);
        assert_ne!(first_hop(&shop), "127.0.0.1");
    }
}

#[test]
fn a_sender_that_names_nobody_keeps_its_own_address() {
    let shop = Upstream::ok();
    let sidecar = start(&shop, "");
    let headers = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 203.0.113.9 192.0.2.1 1 2\r\n".to_vec(),
        version_two(0, 0x00, b""),
        // What a LOCAL header says beside is to be ignored, whatever it is.
        version_two(0, 0x11, &[203, 0, 113, 9, 192, 0, 2, 1, 0, 1, 0, 2]),
        version_two(0, 0xff, b"junk"),
        version_two(1, 0x00, b"\x04\x00\x01z"),
        version_two(1, 0x31, &[b'/'; 216]),
        // UDP: nobody came over TCP.
        version_two(1, 0x12, &[203, 0, 113, 9, 192, 0, 2, 1, 0, 1, 0, 2]),
    ];
    for header in &headers {
        assert_eq!(clear(&sidecar, header).get("/").status, 200, "{header:?}");
        assert_eq!(first_hop(&shop), "127.0.0.1", "{header:?}");
    }
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let shop = Upstream::ok();
    let sidecar = start(&shop, "");
    let long = [&b"PROXY UNKNOWN "[..], &[b'a'; 200], b"\r\n"].concat();
    let cases: [(&[u8], &str); 13] = [
        (b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51234\r\n", "malformed"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\n", "malformed"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443 \n", "malformed"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 70000\r\n", "malformed"),
        (b"PROXY TCP4 2001:db8::9 192.0.2.1 51234 443\r\n", "malformed"),
        (b"PROXY TCP4\r\nPROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n", "malformed"),
        (b"proxy TCP4 203.0.113.9 192.0.2.1 51234 443\r\n", "malformed"),
        (&long, "too_long"),
        (&[&V2[..], &[0x21, 0x11, 0xff, 0xff]].concat(), "too_long"),
        (&version_two(1, 0x11, &[203, 0, 113, 9]), "malformed"),
        (&version_two(2, 0x11, &[0; 12]), "malformed"),
        (&[&V2[..], &[0x31, 0x11, 0, 12], &[0; 12]].concat(), "malformed"),
    ];
    for (bytes, reason) in cases {
        let before = refused(&sidecar, reason);
        assert!(clear(&sidecar, bytes).rest().is_empty(), "{bytes:?}");
        assert!(refused(&sidecar, reason) > before, "{reason}: {bytes:?}");
    }
    assert_eq!(shop.count(), 0);
    assert_eq!(sidecar.log_count(0, "PROXY header refused"), 2, "once a minute for each reason");
    let mut flood = sidecar.http();
    // Thirty times what is looked at; the end may come while it is still being written.
    let _ = flood.try_send(&[b'\n'; 4000]);
    assert!(flood.rest().is_empty());
}

#[test]
fn a_header_is_taken_from_trusted_proxies_only() {
    let shop = Upstream::ok();
    let trusted = "trusted_proxies = [\"10.0.0.0/8\"]";
    let sidecar = Setup::new(&shop).top(trusted).tables(LISTENERS).start();
    for header in [V1, b""] {
        // Not a byte is waited for.
        assert!(clear(&sidecar, header).rest().is_empty());
    }
    eventually("both are counted", || (refused(&sidecar, "untrusted") == 2.0).then_some(()));
    let line = sidecar.wait_for_log(0, "PROXY header refused");
    assert!(line["sender"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert_eq!(shop.count(), 0);
}

#[test]
fn a_header_that_does_not_end_is_not_waited_for() {
    let shop = Upstream::ok();
    let sidecar = start(&shop, "[timeouts]\nhandshake = \"200ms\"");
    for part in [&b"PROXY TCP4 203.0.113.9"[..], &V2[..], b"P", b""] {
        assert!(clear(&sidecar, part).rest().is_empty());
    }
    eventually("all are counted", || (refused(&sidecar, "late") == 4.0).then_some(()));
    // Load balancers that only look whether we listen are no alarm.
    drop(sidecar.http());
    eventually("the look is counted", || (refused(&sidecar, "closed") == 1.0).then_some(()));
}

#[test]
fn limits_count_the_client_and_not_the_load_balancer() {
    let shop = Upstream::start(|exchange| exchange.answer(401, &[], b"no"));
    let sidecar = start(&shop, "[login]\nper_network = \"2/min\"\nper_account = \"100/min\"");
    let guess = |from: u8| {
        let mut client = clear(&sidecar, &tcp4([203, 0, 113, from]));
        client.form("/login", &format!("email=u{from}&password=w")).status
    };
    assert_eq!([guess(1), guess(1), guess(1)], [401, 401, 429]);
    assert_eq!(guess(2), 401, "another client of the same balancer is free");
}

#[test]
fn behind_a_header_the_fields_of_its_client_count_only_if_that_is_trusted_too() {
    let shop = Upstream::ok();
    let sidecar = start(&shop, "");
    let fields = [("x-forwarded-for", "6.6.6.6"), ("x-tillgate-risk", "0")];
    clear(&sidecar, V1).request("GET", "/", &fields, b"");
    assert_eq!(shop.last().field("x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(shop.last().field("x-tillgate-risk"), None);
    clear(&sidecar, &tcp4([10, 0, 0, 7])).request("GET", "/", &fields, b"");
    assert_eq!(shop.last().field("x-forwarded-for"), Some("6.6.6.6, 10.0.0.7"));
    assert_eq!(shop.last().field("x-tillgate-risk"), None);
}

#[test]
fn what_a_client_wrote_before_the_proxies_is_not_believed() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).top(TRUSTED).start();
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.2")], "203.0.113.9, 10.0.0.2"),
        (&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9:4711")], "203.0.113.9"),
        (&[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.2")], "10.0.0.2"),
        (&[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.9")], "203.0.113.9"),
    ];
    for (fields, told) in cases {
        sidecar.http().request("GET", "/", fields, b"");
        let seen = shop.last();
        assert_eq!(seen.field("x-forwarded-for"), Some(&*format!("{told}, 127.0.0.1")));
        assert!(!seen.field("forwarded").unwrap().contains("6.6.6.6"), "{fields:?}");
    }
    // Bytes that are no text must not take the proxy's own element with them.
    let mut client = sidecar.http();
    client.send(
        b"GET / HTTP/1.1\r\nhost: shop.example\r\nx-forwarded-for: 6.6.6.6\r\n\
          x-forwarded-for: \xff, 203.0.113.9\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    assert_eq!(shop.last().field("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
}

#[test]
fn forwarded_is_believed_where_the_proxies_write_it() {
    let shop = Upstream::ok();
    let top = format!("{TRUSTED}\nforwarded_header = \"forwarded\"");
    let sidecar = Setup::new(&shop).top(&top).start();
    let fields = [
        ("forwarded", "for=6.6.6.6, for=\"[2001:db8::9]:4711\";proto=https"),
        ("x-forwarded-for", "6.6.6.6"),
    ];
    sidecar.http().request("GET", "/", &fields, b"");
    assert_eq!(shop.last().field("x-forwarded-for"), Some("2001:db8::9, 127.0.0.1"));
    let forwarded = shop.last().field("forwarded").unwrap().to_owned();
    assert!(forwarded.starts_with("for=\"[2001:db8::9]:4711\";proto=https, for=127.0.0.1;"));
}

/// A program in front of us; ended when dropped.
struct Balancer(Child, #[expect(dead_code, reason = "holds the files")] tempfile::TempDir);

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Balancer {
    /// Starts a program with this configuration, in which `DIR` is a folder of its own.
    fn start(command: &mut Command, config: &str, addresses: &[SocketAddr]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        let path = folder.path().join("config");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(config.replace("DIR", root).as_bytes()).unwrap();
        let command = command.arg(&path).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let balancer = Self(child, folder);
        for address in addresses {
            eventually("the balancer listens", || TcpStream::connect(address).ok());
        }
        balancer
    }
}

fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let sockets: Vec<_> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|n| sockets[n].local_addr().unwrap())
}

/// What the shop is told of a client that comes from 127.0.0.77 through each of these.
fn assert_known_through(sidecar: &Sidecar, shop: &Upstream, balancers: &[SocketAddr]) {
    let Some(curl) = program("curl") else { return };
    for balancer in balancers {
        let output = Command::new(&curl)
            .args(["--silent", "--show-error", "--max-time", "20", "--interface", "127.0.0.77"])
            .arg("--cacert")
            .arg(sidecar.folder().join("tls/ca.pem"))
            .args(["--resolve", &format!("{HOST}:{}:127.0.0.1", balancer.port())])
            .arg(format!("https://{HOST}:{}/", balancer.port()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(shop.last().field("x-forwarded-for"), Some("127.0.0.77"), "{balancer}");
    }
}

/// Trusts the balancer's own address alone: the client's is another one of this machine.
const ONLY_THE_BALANCER: &str = "trusted_proxies = [\"127.0.0.1\"]";

#[test]
fn haproxy_tells_who_came_to_it() {
    let Some(haproxy) = program("haproxy") else { return };
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).top(ONLY_THE_BALANCER).tables(LISTENERS).start();
    let inside = sidecar.address("https");
    let fronts = free_addresses::<3>();
    let mut config = "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n \
                      timeout server 20s\n"
        .to_owned();
    let kinds = [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options ssl,authority,crc32c,unique-id check",
    ];
    for (front, kind) in fronts.iter().zip(kinds) {
        config += &format!(
            "listen on{}\n bind {front}\n unique-id-format %[uuid]\n server s {inside} {kind}\n",
            front.port()
        );
    }
    let _balancer = Balancer::start(Command::new(haproxy).args(["-db", "-f"]), &config, &fronts);
    assert_known_through(&sidecar, &shop, &fronts);
    assert_eq!(refused(&sidecar, "malformed") + refused(&sidecar, "untrusted"), 0.0);
}

#[test]
fn nginx_tells_who_came_to_it() {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let Some(nginx) = program("nginx") else { return };
    if !std::path::Path::new(module).exists() {
        assert!(std::env::var_os("TILLGATE_NO_SKIP").is_none(), "{module} is not installed");
        return eprintln!("SKIPPED: {module} is not installed");
    }
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).top(ONLY_THE_BALANCER).tables(LISTENERS).start();
    let fronts = free_addresses::<1>();
    let config = format!(
        "load_module {module};\ndaemon off; master_process off; pid DIR/pid;\n\
         error_log DIR/error.log; events {{}}\nstream {{ server {{ listen {}; proxy_pass {}; \
         proxy_protocol on; }} }}\n",
        fronts[0],
        sidecar.address("https")
    );
    let mut command = Command::new(nginx);
    let _balancer = Balancer::start(command.args(["-e", "/dev/null", "-c"]), &config, &fronts);
    assert_known_through(&sidecar, &shop, &fronts);
}
