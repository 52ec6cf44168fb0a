//! tillgate from a file, with a vault of its own.

use std::net::SocketAddr;
use std::process::Command;

use super::{Scene, connections_max, free};
use crate::failure::Failure;

/// As a mere proxy.
pub(super) const PASSING: &str =
    "[cards]\nrequests = \"off\"\nresponses = \"off\"\n[log]\naccess = \"off\"\n";

/// As it is meant to be run: every answer masked, every request searched, logins guarded (as they are
/// unless switched off), everything counted and logged.
pub(super) const GUARDING: &str =
    "[cards]\nrequests = \"tokenize\"\nresponses = \"mask\"\n[log]\naccess = \"access.log\"\n";

pub(super) fn proxy(
    scene: &Scene<'_>,
    name: &str,
    address: SocketAddr,
    rest: &str,
) -> Result<Command, Failure> {
    let config = format!(
        "data_dir = \"{name}\"\nworkers = {}\n[admin]\nlisten = \"{}\"\n\
         [[listen]]\naddress = \"{address}\"\ntls = true\n\
         [[certificate]]\nchain = \"{}\"\nkey = \"{}\"\n\
         [limits]\nconnections = {}\n\
         [[site]]\nupstreams = [\"http://{}\"]\n{rest}",
        scene.setup.workers,
        free()?,
        scene.identity("pem").display(),
        scene.identity("key").display(),
        connections_max(),
        scene.origin
    );
    let file = scene.folder.write(&format!("{name}.toml"), &config)?;
    let mut command = Command::new(&scene.programs.tillgate);
    command.args(["run", "--config"]).arg(file);
    Ok(command)
}
