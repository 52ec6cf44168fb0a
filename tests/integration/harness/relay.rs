//! A network between two sides that can be frozen and cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::Watched;

/// Carries bytes to a server and back.
pub(crate) struct Relay {
    address: SocketAddr,
    line: Arc<Watched<Line>>,
}

#[derive(Default)]
struct Line {
    state: State,
    streams: Vec<TcpStream>,
    connections: usize,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum State {
    /// Connections end, new ones at once.
    Cut,
    /// Connections stand and are taken, and nothing arrives.
    Frozen,
    #[default]
    Whole,
}

impl Relay {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let line: Arc<Watched<Line>> = Arc::default();
        let shared = Arc::clone(&line);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.update(|line| line.count()) == State::Cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                join(&client, &server, &shared);
                join(&server, &client, &shared);
                shared.update(|line| line.streams.extend([client, server]));
            }
        });
        Self { address, line }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many have been asked for.
    pub(crate) fn connections(&self) -> usize {
        self.line.lock().connections
    }

    pub(crate) fn cut(&self) {
        self.line.update(|line| {
            line.state = State::Cut;
            for stream in line.streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    pub(crate) fn freeze(&self) {
        self.line.update(|line| line.state = State::Frozen);
    }

    pub(crate) fn mend(&self) {
        self.line.update(|line| line.state = State::Whole);
    }
}

impl Line {
    fn count(&mut self) -> State {
        self.connections += 1;
        self.state
    }
}

/// Carries what comes from one side to the other as long as the line is whole.
fn join(from: &TcpStream, to: &TcpStream, line: &Arc<Watched<Line>>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let line = Arc::clone(line);
    thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let flows = |line: &Line| (line.state != State::Frozen).then_some(());
            if line.wait_for(flows).is_none() || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
