//! A shop that answers at once, each answer in one piece: what it does is the same every time.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::pages::{catalogue, page};

/// Serves until the program ends.
pub(crate) struct Origin {
    address: SocketAddr,
}

impl Origin {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let answers = Arc::new(answers());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&answers);
                thread::spawn(move || serve(stream, &answers));
            }
        });
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answers() -> HashMap<&'static str, Vec<u8>> {
    let ok = |kind: &str, body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {0}\r\n\
             etag: \"68f1c2d0-{0:x}\"\r\naccept-ranges: bytes\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let welcome = "HTTP/1.1 302 Found\r\nlocation: /account\r\nset-cookie: session=b7f0a1c9; HttpOnly\r\n\
                   content-length: 0\r\n\r\n";
    HashMap::from([
        ("/1k.html", ok("text/html", &page(1 << 10))),
        ("/16k.html", ok("text/html", &page(16 << 10))),
        ("/100k.html", ok("text/html", &page(100 << 10))),
        ("/16k.json", ok("application/json", &catalogue(16 << 10))),
        ("/checkout", ok("text/html", "Thank you.")),
        ("/login", welcome.as_bytes().to_vec()),
    ])
}

fn serve(mut stream: TcpStream, answers: &HashMap<&'static str, Vec<u8>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        let Some(answer) = answers.get(target.as_str()) else { return Ok(()) };
        stream.write_all(answer)?;
    }
}
