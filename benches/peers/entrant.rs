//! The origin and the proxies before it, each with a fair config: one worker, the same certificate,
//! connections to the origin kept, the client's address passed on, no access log unless said.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::case::Case;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::program::Programs;
use crate::server::{Server, free_address};

/// The shop: static files, and a page that takes posts.
pub(crate) struct Origin {
    address: SocketAddr,
    _server: Server,
}

/// One column of the table.
pub(crate) struct Entrant {
    pub(crate) name: &'static str,
    /// Whether tillgate is compared with it.
    pub(crate) peer: bool,
    address: SocketAddr,
    server: Server,
}

impl Origin {
    pub(crate) fn start(programs: &Programs, folder: &Folder) -> Result<Self, Failure> {
        let address = free()?;
        let shop = folder.at("shop");
        let http = format!(
            "sendfile on; tcp_nopush on; default_type text/html;\n\
             types {{ text/html html; application/json json; }}\n\
             server {{ listen {address}; root {}; location = /checkout {{ return 200 'Thank you.'; }} }}",
            shop.display()
        );
        let server = nginx(programs, folder, "origin", (address, &http))?;
        Ok(Self { address, _server: server })
    }

    pub(crate) fn url(&self, case: &Case) -> String {
        format!("http://{}{}", self.address, case.path)
    }
}

impl Entrant {
    pub(crate) fn url(&self, case: &Case) -> String {
        format!("https://{}{}", self.address, case.path)
    }

    pub(crate) fn process(&self) -> u32 {
        self.server.process()
    }
}

/// The peers that are there, then tillgate passing through and with everything on.
pub(crate) fn start_all(
    programs: &Programs,
    folder: &Folder,
    origin: &Origin,
) -> Result<Vec<Entrant>, Failure> {
    let mut entrants = vec![nginx_proxy(programs, folder, origin)?];
    if let Some(program) = &programs.haproxy {
        entrants.push(haproxy(program, folder, origin)?);
    }
    let off = "[cards]\nrequests = \"off\"\nresponses = \"off\"\n[log]\naccess = \"off\"\n";
    entrants.push(tillgate(folder, origin, ("tillgate passing through", "passing", off))?);
    let on =
        "[cards]\nrequests = \"tokenize\"\nresponses = \"mask\"\n[log]\naccess = \"access.log\"\n";
    entrants.push(tillgate(folder, origin, ("tillgate everything on", "guarding", on))?);
    Ok(entrants)
}

/// As a service runs it: a master and one worker, with nothing outside the folder.
fn nginx(
    programs: &Programs,
    folder: &Folder,
    name: &'static str,
    (address, http): (SocketAddr, &str),
) -> Result<Server, Failure> {
    let root = folder.path().display();
    let mut config = format!(
        "user root; daemon off; worker_processes 1; pid {root}/{name}.pid; error_log {root}/{name}.log crit;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(config, "{kind}_temp_path {root}/{name}-{kind};");
    }
    config = config + http + "\n}\n";
    let file = folder.write(&format!("{name}.conf"), &config)?;
    let log = folder.at(&format!("{name}.log"));
    let mut command = Command::new(&programs.nginx);
    command.arg("-p").arg(folder.path()).arg("-c").arg(file).arg("-e").arg(&log);
    start(name, &mut command, address, &log)
}

/// Buffers hold the largest answer: a temporary file would be a poor comparison.
fn nginx_proxy(programs: &Programs, folder: &Folder, origin: &Origin) -> Result<Entrant, Failure> {
    let (address, name) = (free()?, "nginx");
    let http = format!(
        "ssl_certificate {0}/tls.pem; ssl_certificate_key {0}/tls.key; ssl_protocols TLSv1.3;\n\
         upstream origin {{ server {1}; keepalive 128; keepalive_requests 1000000000; }}\n\
         proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;\n\
         proxy_buffer_size 16k; proxy_buffers 8 32k; proxy_max_temp_file_size 0;\n\
         server {{ listen {address} ssl http2; location / {{ proxy_pass http://origin; }} }}",
        folder.path().display(),
        origin.address
    );
    let server = nginx(programs, folder, name, (address, &http))?;
    Ok(Entrant { name, peer: true, address, server })
}

fn haproxy(program: &Path, folder: &Folder, origin: &Origin) -> Result<Entrant, Failure> {
    let (address, name) = (free()?, "haproxy");
    let config = format!(
        "global\n nbthread 1\n maxconn 4096\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 300s\n timeout server 300s\n\
         frontend shop\n bind {address} ssl crt {} ssl-min-ver TLSv1.3 alpn h2,http/1.1\n\
         \x20option forwardfor\n http-request set-header X-Forwarded-Proto https\n default_backend origin\n\
         backend origin\n http-reuse always\n server origin {}\n",
        folder.at("tls.both").display(),
        origin.address
    );
    let file = folder.write("haproxy.cfg", &config)?;
    let mut command = Command::new(program);
    command.args(["-db", "-f"]).arg(file);
    let server = start(name, &mut command, address, &folder.at("haproxy.log"))?;
    Ok(Entrant { name, peer: true, address, server })
}

fn tillgate(
    folder: &Folder,
    origin: &Origin,
    (name, short, rest): (&'static str, &str, &str),
) -> Result<Entrant, Failure> {
    let (address, admin) = (free()?, free()?);
    let config = format!(
        "data_dir = \"{short}\"\nworkers = 1\n[admin]\nlisten = \"{admin}\"\n\
         [[listen]]\naddress = \"{address}\"\ntls = true\n\
         [[certificate]]\nchain = \"tls.pem\"\nkey = \"tls.key\"\n\
         [[site]]\nupstreams = [\"http://{}\"]\n{rest}",
        origin.address
    );
    let file = folder.write(&format!("{short}.toml"), &config)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    command.args(["run", "--config"]).arg(file);
    let log = folder.at(&format!("{short}.log"));
    let server = start(name, &mut command, address, &log)?;
    Ok(Entrant { name, peer: false, address, server })
}

fn free() -> Result<SocketAddr, Failure> {
    free_address().map_err(Failure::io("find a free port"))
}

fn start(
    name: &'static str,
    command: &mut Command,
    address: SocketAddr,
    log: &Path,
) -> Result<Server, Failure> {
    Server::start(command, address, log).map_err(|source| Failure::Start { name, source })
}
