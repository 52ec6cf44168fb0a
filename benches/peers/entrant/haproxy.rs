//! HAProxy in the foreground, one thread per worker asked for.

use std::net::SocketAddr;
use std::process::Command;

use super::{Scene, connections_max};
use crate::failure::Failure;

pub(super) fn proxy(
    scene: &Scene<'_>,
    name: &str,
    address: SocketAddr,
) -> Result<Command, Failure> {
    let missing = Failure::Missing { program: "haproxy", package: "haproxy" };
    let program = scene.programs.haproxy.as_ref().ok_or(missing)?;
    let config = format!(
        "global\n nbthread {}\n maxconn {}\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 300s\n timeout server 300s\n\
         frontend shop\n bind {address} ssl crt {} ssl-min-ver TLSv1.3 alpn h2,http/1.1\n\
         \x20option forwardfor\n http-request set-header X-Forwarded-Proto https\n default_backend origin\n\
         backend origin\n http-reuse always\n server origin {}\n",
        scene.setup.workers,
        connections_max(),
        scene.identity("both").display(),
        scene.origin
    );
    let file = scene.folder.write(&format!("{name}.cfg"), &config)?;
    let mut command = Command::new(program);
    command.args(["-db", "-f"]).arg(file);
    Ok(command)
}
