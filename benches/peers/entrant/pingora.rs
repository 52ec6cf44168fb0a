//! Pingora's minimal proxy, a crate of its own in `pingora/`, built when first wanted.

use std::net::SocketAddr;
use std::process::Command;

use super::Scene;
use crate::failure::Failure;

pub(super) fn proxy(scene: &Scene<'_>, address: SocketAddr) -> Result<Command, Failure> {
    let missing = Failure::Missing { program: "peers-pingora", package: "cmake" };
    let mut command = Command::new(scene.programs.pingora.as_ref().ok_or(missing)?);
    command.arg(address.to_string()).arg(scene.origin.to_string());
    command.args([scene.identity("pem"), scene.identity("key")]);
    command.arg(scene.setup.workers.to_string());
    Ok(command)
}
