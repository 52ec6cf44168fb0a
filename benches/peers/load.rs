//! The clients: curl looks at one answer, wrk (HTTP/1.1) and h2load (HTTP/2) ask for many.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::{Case, Protocol};
use crate::failure::Failure;
use crate::folder::Folder;
use crate::program::Programs;

/// Few enough that their handshakes hardly count, enough to keep a worker busy.
const CONNECTIONS: &str = "32";
const HTTP2_CONNECTIONS: &str = "8";
const HTTP2_STREAMS: &str = "16";

/// How much longer than it was told a client may take.
const GRACE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// Where the clients lie, and how long they go on.
pub(crate) struct Load {
    curl: PathBuf,
    wrk: PathBuf,
    h2load: PathBuf,
    chain: PathBuf,
    post: PathBuf,
    tls: PathBuf,
    said: PathBuf,
    duration: Duration,
}

impl Load {
    pub(crate) fn new(programs: &Programs, folder: &Folder, duration: Duration) -> Self {
        Self {
            curl: programs.curl.clone(),
            wrk: programs.wrk.clone(),
            h2load: programs.h2load.clone(),
            chain: folder.at("tls.pem"),
            post: folder.at("post.lua"),
            tls: folder.at("client-tls.cnf"),
            said: folder.at("client.out"),
            duration,
        }
    }

    /// The body of one answer.
    pub(crate) fn answer(&self, url: &str, case: &Case) -> Result<Vec<u8>, Failure> {
        let mut command = Command::new(&self.curl);
        command.args(["--silent", "--show-error", "--fail", "--max-time", "10"]);
        command.arg("--cacert").arg(&self.chain);
        if let Some(form) = case.form {
            command.args(["--data", form]);
        }
        command.args(match case.protocol {
            Protocol::Http2 if url.starts_with("https") => ["--http2", url],
            Protocol::Http1 | Protocol::Http2 => ["--http1.1", url],
        });
        self.finish(command, &self.curl)
    }

    /// Asks as fast as it can, and says how many requests were answered.
    pub(crate) fn run(&self, url: &str, case: &Case) -> Result<u32, Failure> {
        let seconds = self.duration.as_secs();
        let (program, requests): (_, fn(&str) -> Option<u32>) = match case.protocol {
            Protocol::Http1 => (&self.wrk, wrk_requests),
            Protocol::Http2 => (&self.h2load, h2load_requests),
        };
        let mut command = Command::new(program);
        match case.protocol {
            Protocol::Http1 => {
                command.args(["-t", "1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")]);
                if case.form.is_some() {
                    command.arg("-s").arg(&self.post);
                }
            }
            Protocol::Http2 => {
                command.args(["-t", "1", "-c", HTTP2_CONNECTIONS, "-m", HTTP2_STREAMS]);
                command.args(["-D", &seconds.to_string()]);
            }
        }
        command.arg(url);
        let said = String::from_utf8_lossy(&self.finish(command, program)?).into_owned();
        requests(&said).filter(|requests| *requests > 0).ok_or(Failure::Load { said })
    }

    /// What a client wrote; it is ended when it takes too long.
    fn finish(&self, mut command: Command, program: &Path) -> Result<Vec<u8>, Failure> {
        let out = std::fs::File::create(&self.said).map_err(Failure::io("write a file"))?;
        let err = out.try_clone().map_err(Failure::io("write a file"))?;
        command.env("OPENSSL_CONF", &self.tls).stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(Failure::io("start a client"))?;
        let limit = self.duration + GRACE;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait().map_err(Failure::io("wait for a client"))? {
                let said = std::fs::read(&self.said).map_err(Failure::io("read a file"))?;
                let cry = || String::from_utf8_lossy(&said).into_owned();
                return if status.success() {
                    Ok(said)
                } else {
                    Err(Failure::Load { said: cry() })
                };
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::Slow {
                    program: program.to_owned(),
                    seconds: limit.as_secs(),
                });
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// From `  81234 requests in 3.00s, 100MB read`; lines on errors are there only when some happened.
fn wrk_requests(said: &str) -> Option<u32> {
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return None;
    }
    let line = said.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// From `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout` and
/// `status codes: 9 2xx, 0 3xx, 0 4xx, 0 5xx`.
fn h2load_requests(said: &str) -> Option<u32> {
    let count = |prefix: &str, what: &str| -> Option<u32> {
        let line = said.lines().find_map(|line| line.strip_prefix(prefix))?;
        let part = line.split(',').find_map(|part| part.trim().strip_suffix(what))?;
        part.trim().parse().ok()
    };
    let failed = count("requests:", "failed")? + count("requests:", "errored")?;
    let done = count("requests:", "succeeded")?;
    (failed == 0 && count("status codes:", "2xx")? >= done).then_some(done)
}
