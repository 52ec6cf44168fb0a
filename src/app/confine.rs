//! What a running server gives up before it has a thread or has read a byte of a client: being root,
//! gaining rights again, writing outside its own folders, and system calls that no server needs.
//!
//! The kernel keeps all this per thread and hands it to new ones, so it must be done while there is one
//! alone: before the log is started. What the kernel cannot do is told, and no reason not to serve;
//! what the operator asked for by name is.

mod privileges;
mod syscalls;
mod writes;

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tracing::{info, warn};

use super::{AppError, parts};
use crate::config::Startup;
use crate::telemetry::{Metrics, Protection};

/// Why the server cannot be confined as the operator asked.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// Only root may become somebody else.
    #[error("only root can become the user {user}; start as root, or as that user")]
    NotRoot {
        /// Whom.
        user: String,
    },
    /// The folder for data belongs to somebody else.
    #[error("{} does not belong to the user {user}; run: chown -R {user} {}", path.display(), path.display())]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Whose it should be.
        user: String,
    },
    /// A call that drops rights failed.
    #[error("cannot become the user {user}")]
    Refused {
        /// Whom.
        user: String,
        /// What the system says.
        source: io::Error,
    },
    /// Threads that would keep their rights.
    #[error("rights can be given up by a single thread only")]
    Threads,
    /// No such user.
    #[error(
        "there is no user {name} in /etc/passwd; write a name from there, or a number with `group`"
    )]
    UnknownUser {
        /// As configured.
        name: String,
    },
    /// No such group.
    #[error("there is no group {name} in /etc/group; write a name from there, or a number")]
    UnknownGroup {
        /// As configured.
        name: String,
    },
}

/// What came of it; told once there is a log.
#[must_use]
pub struct Confined(Vec<(Protection, Standing)>);

/// Whether a protection stands.
enum Standing {
    Stands,
    /// It does since a program whose place this one took; another of the same kind cannot be added.
    Inherited,
    /// Left out, and what would help.
    Waived(&'static str),
    /// The system cannot.
    Unavailable(String),
}

/// Confines the process for good; to be called before there is a second thread.
///
/// # Errors
/// When the configured user cannot be had, or the folder for data is not its own.
pub fn confine(startup: &Startup) -> Result<Confined, AppError> {
    let user = privileges::drop_to(startup)?;
    // Landlock lets us write below what is there only.
    parts::create_data_dir(&startup.data_dir)?;
    let standing = vec![
        (Protection::Unprivileged, user),
        (Protection::NoNewPrivileges, no_new_privileges()),
        (Protection::Landlock, writes::restrict(startup)),
        (Protection::Seccomp, syscalls::refuse()),
    ];
    Ok(Confined(standing))
}

/// Becomes, as root, the owner of the data folder, as the server that writes there is: a file of root's
/// there would stop it. Root's way past permissions stays, as operators name files of their own.
///
/// # Errors
/// When the configured user cannot be had, or the folder for data is not its own.
pub(super) fn act_for_owner(startup: &Startup) -> Result<(), AppError> {
    privileges::become_owner(startup)
}

impl Confined {
    /// Tells the log and the metrics which protections stand.
    pub fn tell(&self, metrics: &Metrics) {
        let (mut standing, mut inherited) = (Vec::new(), Vec::new());
        for (protection, state) in &self.0 {
            let name = protection.as_str();
            let stands = matches!(state, Standing::Stands | Standing::Inherited);
            metrics.protection(*protection, stands);
            match state {
                Standing::Stands => standing.push(name),
                Standing::Inherited => inherited.push(name),
                Standing::Waived(remedy) => warn!(protection = name, remedy, "not protected"),
                Standing::Unavailable(why) => warn!(protection = name, why, "not protected"),
            }
        }
        info!(protections = standing.join(" "), inherited = inherited.join(" "), "confined");
    }
}

/// No program that is started from here gains rights by its file's set-user-id bit.
fn no_new_privileges() -> Standing {
    standing(rustix::thread::set_no_new_privs(true))
}

fn standing<E: std::fmt::Display>(outcome: Result<(), E>) -> Standing {
    match outcome {
        Ok(()) => Standing::Stands,
        Err(error) => Standing::Unavailable(error.to_string()),
    }
}
