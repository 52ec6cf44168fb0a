//! Servers and clients that were not written for these tests: PHP, nginx and curl.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::harness::{Setup, Sidecar, cards, eventually, program};

/// A server process; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: these servers cannot be told to choose one.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn serve(
    mut command: Command,
    address: SocketAddr,
    folder: tempfile::TempDir,
) -> Server {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = Server { child: child.unwrap(), address, folder };
    eventually("the server listens", || TcpStream::connect(address).ok());
    server
}

fn php(page: &str) -> Option<Server> {
    let (php, folder, address) = (program("php")?, tempfile::tempdir().unwrap(), free_address());
    std::fs::write(folder.path().join("shop.php"), page).unwrap();
    let mut command = Command::new(php);
    command.arg("-S").arg(address.to_string()).arg("-t").arg(folder.path());
    Some(serve(command, address, folder))
}

fn nginx(files: &[(&str, &[u8])]) -> Option<Server> {
    let (nginx, folder, address) =
        (program("nginx")?, tempfile::tempdir().unwrap(), free_address());
    let root = folder.path().display();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(temporary, "{kind}_temp_path {root}/{kind};").unwrap();
    }
    // In the foreground, as whoever runs the tests, with nothing outside its folder.
    let config = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;\n\
         events {{}}\nhttp {{ access_log off; gzip on; gzip_types *; gzip_min_length 1;\n\
         types {{ text/html html; text/css css; application/javascript js; image/png png; }}\n\
         {temporary} server {{ listen {address}; root {root}; }} }}\n"
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new(nginx);
    command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
    command.arg("-e").arg(folder.path().join("error.log"));
    Some(serve(command, address, folder))
}

/// What curl printed: body first, then what `-w` asks for.
fn curl(sidecar: &Sidecar, path: &str, arguments: &[&str]) -> Option<String> {
    let port = sidecar.address("https").port();
    let output = Command::new(program("curl")?)
        .args(["--silent", "--show-error", "--max-time", "20"])
        .arg("--cacert")
        .arg(sidecar.folder().join("tls/ca.pem"))
        .args(["--resolve", &format!("shop.example:{port}:127.0.0.1")])
        .args(arguments)
        .arg(format!("https://shop.example:{port}{path}"))
        .output()
        .unwrap();
    let (said, cried) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "curl: {cried}");
    Some(said.into_owned())
}

const SHOP: &str = r#"<?php
file_put_contents(__DIR__ . '/orders.log', json_encode($_POST) . "\n", FILE_APPEND);
header('Content-Type: text/html');
foreach ($_POST as $name => $value) {
    echo htmlspecialchars($name), ': ', htmlspecialchars($value), "\n";
}
echo 'clear ', '5555', '5555', '5555', '4444', "\n";
"#;

fn line<'a>(page: &'a str, name: &str) -> &'a str {
    let found = page.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {page}"))
}

#[test]
fn p1_a_php_shop_sees_tokens_and_its_customers_see_no_cards() {
    let Some(shop) = php(SHOP) else { return };
    let sidecar = Setup::to(&format!("http://{}", shop.address)).start();
    for protocol in ["--http1.1", "--http2"] {
        let card = cards::fresh("visa");
        let data = format!("number={card}&name=Ada Lovelace&cvv=737");
        let Some(page) = curl(&sidecar, "/shop.php", &[protocol, "--data", &data]) else { return };
        cards::assert_brand_four(line(&page, "number: "), &card);
        assert_eq!(line(&page, "name: "), "Ada Lovelace");
        assert_eq!(line(&page, "clear "), "555555******4444");
    }
    let card = cards::fresh("mastercard");
    let number = format!("number={}", cards::grouped(&card, " "));
    let Some(page) = curl(&sidecar, "/shop.php", &["--form", &number]) else { return };
    let shown = line(&page, "number: ").replace(' ', "");
    cards::assert_brand_four(&shown, &card);
    let orders = std::fs::read_to_string(shop.folder.path().join("orders.log")).unwrap();
    assert_eq!(orders.lines().count(), 3);
    assert!(!orders.contains(&card) && orders.contains(&cards::grouped(&shown, " ")));
}

#[test]
fn p8_files_of_nginx_arrive_bit_for_bit() {
    let picture: Vec<u8> =
        (0..300_000u32).map(|n| n.wrapping_mul(40_503).to_be_bytes()[2]).collect();
    let script = "var a = [1, 2, 3]; // 1234567890123456\n".repeat(2_000);
    let card = cards::fresh("visa");
    let page = format!("<!doctype html><p>{card}</p>");
    let files = [("a.png", &picture[..]), ("a.js", script.as_bytes()), ("a.html", page.as_bytes())];
    let Some(origin) = nginx(&files) else { return };
    let sidecar = Setup::to(&format!("http://{}", origin.address)).start();
    let mut client = sidecar.https();
    assert!(client.get("/a.png").body == picture, "the picture changed");
    assert!(client.get("/a.js").body == script.as_bytes(), "the script changed");
    assert!(sidecar.h2().get("/a.png").body == picture, "the picture changed over HTTP/2");
    let masked = page.replace(&card, &cards::masked(&card));
    assert_eq!(client.get("/a.html").text(), masked);
    // As nginx compresses it, and as curl unpacks it.
    for protocol in ["--http1.1", "--http2"] {
        let arguments = [protocol, "--compressed"];
        let Some(text) = curl(&sidecar, "/a.html", &arguments) else { return };
        assert_eq!(text, masked);
        let Some(text) = curl(&sidecar, "/a.js", &arguments) else { return };
        assert!(text == script, "the compressed script changed");
    }
    let tag = client.get("/a.png").field("etag").unwrap().to_owned();
    let same = client.request("GET", "/a.png", &[("if-none-match", &tag)], b"");
    assert_eq!(same.status, 304);
    let part = client.request("GET", "/a.png", &[("range", "bytes=10-19")], b"");
    assert_eq!((part.status, &part.body[..]), (206, &picture[10..20]));
}

#[test]
fn curl_uploads_a_large_file_after_100_continue() {
    let Some(shop) = php("<?php echo strlen(file_get_contents('php://input'));") else { return };
    let sidecar = Setup::to(&format!("http://{}", shop.address)).start();
    let file = sidecar.folder().join("big.bin");
    std::fs::write(&file, vec![0xb1; 5 << 20]).unwrap();
    let source = format!("@{}", file.display());
    let arguments = [
        "--http1.1",
        "-H",
        "Expect: 100-continue",
        "-H",
        "Content-Type: application/octet-stream",
        "--data-binary",
        &source,
    ];
    let Some(length) = curl(&sidecar, "/shop.php", &arguments) else { return };
    assert_eq!(length, (5 << 20).to_string());
}
