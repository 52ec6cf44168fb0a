//! From root to the configured user, who keeps the right to listen below port 1024 and no other:
//! addresses may come with a reload, and an upgraded program must listen as well.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::Path;

use rustix::fs::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use super::{ConfineError, Standing};
use crate::app::AppError;
use crate::config::Startup;

/// Somebody who is not root.
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// Becomes the configured user, if there is one.
pub(super) fn drop_to(startup: &Startup) -> Result<Standing, AppError> {
    let is_root = rustix::process::geteuid().is_root();
    let Some(name) = &startup.user else {
        return Ok(match is_root {
            true => Standing::Waived("set `user`, or start as a user that is not root"),
            false => Standing::Stands,
        });
    };
    let user = User::find(name, startup.group.as_deref())?;
    if !is_root {
        if rustix::process::geteuid().as_raw() == user.uid {
            return Ok(Standing::Stands);
        }
        return Err(ConfineError::NotRoot { user: user.name }.into());
    }
    own(&startup.data_dir, &user)?;
    let listening = CapabilitySet::NET_BIND_SERVICE;
    become_user(user, listening)?;
    // For the program that takes our place; there is nothing to pass on where we never had it.
    let _unless_we_have_none = thread::configure_capability_in_ambient_set(listening, true);
    Ok(Standing::Stands)
}

/// Becomes, as root, whoever owns the folder for data, and goes past permissions as before.
pub(super) fn become_owner(startup: &Startup) -> Result<(), AppError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    if let Some(name) = &startup.user {
        own(&startup.data_dir, &User::find(name, startup.group.as_deref())?)?;
    }
    let path = &startup.data_dir;
    let Ok(folder) = path.metadata() else { return Ok(()) };
    if folder.uid() == 0 {
        return Ok(());
    }
    let name = folder.uid().to_string();
    let user = User { name, uid: folder.uid(), gid: folder.gid() };
    become_user(user, CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER)
}

/// Gives the user the folder for data, where it is new; one that is there must be its own.
fn own(path: &Path, user: &User) -> Result<(), AppError> {
    let failed = |source| AppError::DataDir { path: path.to_owned(), source };
    if !path.exists() {
        // Folders above it are root's, and the user must get through them.
        let above = path.parent().map_or(Ok(()), fs::create_dir_all);
        let made = above.and_then(|()| fs::DirBuilder::new().mode(0o700).create(path));
        made.and_then(|()| chown(path, Some(user.uid), Some(user.gid))).map_err(failed)?;
    }
    if path.metadata().map_err(failed)?.uid() != user.uid {
        let (path, user) = (path.to_owned(), user.name.clone());
        return Err(ConfineError::Owner { path, user }.into());
    }
    Ok(())
}

/// Becomes somebody else, with these of the rights that there are.
fn become_user(user: User, rights: CapabilitySet) -> Result<(), AppError> {
    let threads = fs::read_dir("/proc/self/task").map(Iterator::count);
    if threads.is_ok_and(|threads| threads > 1) {
        return Err(ConfineError::Threads.into());
    }
    let outcome = switch(Uid::from_raw(user.uid), Gid::from_raw(user.gid), rights);
    outcome.map_err(|error| {
        let source = error.into();
        ConfineError::Refused { user: user.name, source }.into()
    })
}

/// Groups first: without root's rights they could not be left any more.
fn switch(uid: Uid, gid: Gid, rights: CapabilitySet) -> rustix::io::Result<()> {
    let kept = thread::capabilities(None)?.permitted & rights;
    thread::set_keep_capabilities(true)?;
    thread::set_thread_groups(&[gid])?;
    thread::set_thread_res_gid(gid, gid, gid)?;
    thread::set_thread_res_uid(uid, uid, uid)?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    thread::set_capabilities(None, sets)?;
    thread::set_keep_capabilities(false)
}

impl User {
    /// By name or number, with the group of /etc/passwd where none is configured.
    fn find(name: &str, group: Option<&str>) -> Result<Self, ConfineError> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        Self::look_up((name, group), &passwd, &groups)
    }

    fn look_up(
        (name, group): (&str, Option<&str>),
        passwd: &str,
        groups: &str,
    ) -> Result<Self, ConfineError> {
        let unknown = || ConfineError::UnknownUser { name: name.to_owned() };
        let known = entry(passwd, name);
        let number = |place: usize| known.as_ref()?.get(place)?.parse::<u32>().ok();
        let uid = number(2).or_else(|| name.parse().ok()).ok_or_else(unknown)?;
        let gid = match group {
            None => number(3).ok_or_else(unknown)?,
            Some(group) => {
                let listed = entry(groups, group).and_then(|entry| entry.get(2)?.parse().ok());
                let unknown = || ConfineError::UnknownGroup { name: group.to_owned() };
                listed.or_else(|| group.parse().ok()).ok_or_else(unknown)?
            }
        };
        Ok(Self { name: name.to_owned(), uid, gid })
    }
}

/// The fields of a line of /etc/passwd or /etc/group, by name or by number.
fn entry<'t>(table: &'t str, wanted: &str) -> Option<Vec<&'t str>> {
    let mut lines = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.first() == Some(&wanted) || fields.get(2) == Some(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nshop:x:998:997::/:/usr/sbin/nologin\n";
    const GROUPS: &str = "root:x:0:\nshop:x:997:\nssl-cert:x:110:shop\n";

    fn found(name: &str, group: Option<&str>) -> Option<(u32, u32)> {
        let user = User::look_up((name, group), PASSWD, GROUPS).ok()?;
        Some((user.uid, user.gid))
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        assert_eq!(found("shop", None), Some((998, 997)));
        assert_eq!(found("998", None), Some((998, 997)));
        assert_eq!(found("shop", Some("ssl-cert")), Some((998, 110)));
        assert_eq!(found("4711", Some("110")), Some((4711, 110)));
        assert_eq!(found("4711", None), None);
        assert_eq!(found("nobody-here", Some("shop")), None);
        assert_eq!(found("shop", Some("none")), None);
    }
}
