//! Notices that a file changed, however it was replaced.
//!
//! Rewritten in place, renamed over, behind a symlink that was swapped (Kubernetes, certbot), gone
//! and back together with its folder: all of these end in another `Trail`, and that is what
//! decides. Events of the kernel only say when to look; where none arrive (network mounts, no
//! inotify instance left) the same look is taken every [`POLL_INTERVAL`].

use std::io;
use std::path::{PathBuf, absolute};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use notify::RecommendedWatcher;
use notify_debouncer_full::{
    DebounceEventResult, DebouncedEvent, Debouncer, NoCache, new_debouncer_opt,
};
use thiserror::Error;
use tokio::sync::mpsc::Sender;
use tracing::warn;

use super::lookout::{self, Lookout};

/// How long a change may stay unnoticed where the kernel reports none.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Several events of one change become one look.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Looks after a set of files until dropped.
pub struct Watcher {
    orders: mpsc::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// Why files cannot be watched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// A relative path, and the working folder is gone.
    #[error("cannot tell the working folder, which {} is relative to", path.display())]
    Relative {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread did not start.
    #[error("cannot start the thread that watches files")]
    Thread {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// The thread is gone.
    #[error("the thread that watches files has ended")]
    Ended,
}

enum Order {
    Follow(Vec<PathBuf>, mpsc::Sender<()>),
    Look(Vec<DebouncedEvent>),
    Stop,
}

impl Watcher {
    /// Watches `files` and sends on `notify` after a change to any of them; where the channel is
    /// full a notice is pending already, so a capacity of one is enough.
    ///
    /// Start before the files are read: then no change falls between the two.
    ///
    /// # Errors
    ///
    /// No thread. Lack of inotify is a logged warning: the files are then polled.
    pub fn start(files: &[PathBuf], notify: Sender<()>) -> Result<Self, WatchError> {
        Self::start_with(files, notify, Options { events: true, poll: POLL_INTERVAL })
    }

    fn start_with(
        files: &[PathBuf],
        notify: Sender<()>,
        options: Options,
    ) -> Result<Self, WatchError> {
        let (orders, inbox) = mpsc::channel();
        let debouncer = if options.events { debouncer(orders.clone()) } else { None };
        let lookout = Lookout::new(debouncer);
        let thread = thread::Builder::new()
            .name("tillgate-watch".to_owned())
            .spawn(move || run(lookout, &inbox, &notify, options.poll))?;
        let watcher = Self { orders, thread: Some(thread) };
        watcher.follow(files)?;
        Ok(watcher)
    }

    /// Watches these files from now on and no others. Returns once they are watched (a few file
    /// system calls each), so that what is read afterwards cannot change unseen. A file followed
    /// before keeps what was known of it: a change since the last look is still told.
    ///
    /// # Errors
    ///
    /// The thread is gone, or a relative path without a working folder.
    pub fn follow(&self, files: &[PathBuf]) -> Result<(), WatchError> {
        let full = |path: &PathBuf| absolute(path).map_err(|source| (path.clone(), source));
        let files: Result<Vec<_>, _> = files.iter().map(full).collect();
        let files = files.map_err(|(path, source)| WatchError::Relative { path, source })?;
        let (done, followed) = mpsc::channel();
        self.orders.send(Order::Follow(files, done)).map_err(|_| WatchError::Ended)?;
        followed.recv().map_err(|_| WatchError::Ended)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Either fails only where the thread has ended already.
        let _ = self.orders.send(Order::Stop);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[derive(Clone, Copy)]
struct Options {
    events: bool,
    poll: Duration,
}

fn run(mut lookout: Lookout, inbox: &mpsc::Receiver<Order>, notify: &Sender<()>, poll: Duration) {
    loop {
        let changed = match inbox.recv_timeout(poll) {
            Ok(Order::Follow(files, done)) => {
                lookout.follow(files);
                let changed = lookout.look(&[]);
                // Whoever asked may have gone.
                let _ = done.send(());
                changed
            }
            Ok(Order::Look(events)) => lookout.look(&events),
            Err(mpsc::RecvTimeoutError::Timeout) => lookout.look(&[]),
            Ok(Order::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        if changed {
            // Full: a notice is pending. Closed: nobody wants to know.
            let _ = notify.try_send(());
        }
    }
}

fn debouncer(orders: mpsc::Sender<Order>) -> Option<Debouncer<RecommendedWatcher, NoCache>> {
    let handle = move |result: DebounceEventResult| {
        let events = result.unwrap_or_else(|errors| {
            warn!(?errors, "file events were lost");
            Vec::new()
        });
        // Reading is an event too, as is each part of a write; a look costs little, but not for all.
        if events.is_empty() || events.iter().any(lookout::tells_change) {
            // Fails only while the watcher is being dropped.
            let _ = orders.send(Order::Look(events));
        }
    };
    new_debouncer_opt(DEBOUNCE, None, handle, NoCache, notify::Config::default())
        .inspect_err(|error| warn!(%error, "files are polled, not watched"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use tempfile::TempDir;
    use tokio::sync::mpsc::{Receiver, channel};
    use tokio::time::timeout;

    use super::*;

    /// Far below [`POLL_INTERVAL`]: what arrives within it came by an event.
    const DEADLINE: Duration = Duration::from_secs(5);

    struct Scene {
        root: TempDir,
        notices: Receiver<()>,
        watcher: Watcher,
    }

    impl Scene {
        /// Lays out files, then watches `followed`.
        fn new(lay_out: impl FnOnce(&Path), followed: &str) -> Self {
            let root = tempfile::tempdir().unwrap();
            lay_out(root.path());
            let (sender, notices) = channel(1);
            let watcher = Watcher::start(&[root.path().join(followed)], sender).unwrap();
            Self { root, notices, watcher }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        async fn noticed(&mut self) {
            timeout(DEADLINE, self.notices.recv()).await.unwrap().unwrap();
        }

        fn forget_notices(&mut self) {
            while self.notices.try_recv().is_ok() {}
        }
    }

    fn one_file(root: &Path) {
        fs::write(root.join("chain"), "one").unwrap();
    }

    #[tokio::test]
    async fn a_file_written_in_place_is_noticed() {
        let mut scene = Scene::new(one_file, "chain");
        fs::write(scene.path("chain"), "two").unwrap();
        scene.noticed().await;
    }

    #[tokio::test]
    async fn a_file_is_noticed_only_when_its_writer_has_ended() {
        let mut scene = Scene::new(one_file, "chain");
        let mut file = fs::File::create(scene.path("chain")).unwrap();
        let early = timeout(DEBOUNCE * 5, scene.notices.recv()).await;
        assert!(early.is_err(), "an empty file would be read");
        file.write_all(b"two").unwrap();
        drop(file);
        scene.noticed().await;
    }

    #[tokio::test]
    async fn a_file_renamed_over_is_noticed_each_time() {
        let mut scene = Scene::new(one_file, "chain");
        for text in ["two", "three"] {
            scene.forget_notices();
            fs::write(scene.path("new"), text).unwrap();
            fs::rename(scene.path("new"), scene.path("chain")).unwrap();
            scene.noticed().await;
        }
    }

    #[tokio::test]
    async fn a_kubernetes_symlink_swap_is_noticed_each_time() {
        let lay_out = |root: &Path| {
            fs::create_dir(root.join("..v0")).unwrap();
            fs::write(root.join("..v0/chain"), "0").unwrap();
            symlink("..v0", root.join("..data")).unwrap();
            symlink("..data/chain", root.join("chain")).unwrap();
        };
        let mut scene = Scene::new(lay_out, "chain");
        for (old, new) in [("..v0", "..v1"), ("..v1", "..v2")] {
            scene.forget_notices();
            fs::create_dir(scene.path(new)).unwrap();
            fs::write(scene.path(new).join("chain"), new).unwrap();
            symlink(new, scene.path("..data_tmp")).unwrap();
            fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
            fs::remove_dir_all(scene.path(old)).unwrap();
            scene.noticed().await;
        }
    }

    fn certbot(root: &Path) {
        fs::create_dir_all(root.join("live/shop")).unwrap();
        fs::create_dir_all(root.join("archive/shop")).unwrap();
        fs::write(root.join("archive/shop/chain1"), "1").unwrap();
        symlink("../../archive/shop/chain1", root.join("live/shop/chain")).unwrap();
    }

    #[tokio::test]
    async fn a_certbot_renewal_is_noticed() {
        let mut scene = Scene::new(certbot, "live/shop/chain");
        fs::write(scene.path("archive/shop/chain2"), "2").unwrap();
        fs::remove_file(scene.path("live/shop/chain")).unwrap();
        symlink("../../archive/shop/chain2", scene.path("live/shop/chain")).unwrap();
        scene.noticed().await;
    }

    #[tokio::test]
    async fn a_change_behind_a_symlink_is_noticed() {
        let mut scene = Scene::new(certbot, "live/shop/chain");
        fs::write(scene.path("archive/shop/chain1"), "other").unwrap();
        scene.noticed().await;
    }

    #[tokio::test]
    async fn a_folder_deleted_and_made_again_is_noticed() {
        let lay_out = |root: &Path| {
            fs::create_dir_all(root.join("etc/tls")).unwrap();
            fs::write(root.join("etc/tls/chain"), "1").unwrap();
        };
        let mut scene = Scene::new(lay_out, "etc/tls/chain");
        fs::remove_dir_all(scene.path("etc")).unwrap();
        scene.noticed().await;
        scene.forget_notices();
        lay_out(scene.root.path());
        scene.noticed().await;
        scene.forget_notices();
        fs::write(scene.path("etc/tls/chain"), "longer").unwrap();
        scene.noticed().await;
    }

    #[tokio::test]
    async fn a_folder_that_was_missing_from_the_start_is_noticed() {
        let mut scene = Scene::new(|_| (), "etc/tls/chain");
        fs::create_dir_all(scene.path("etc/tls")).unwrap();
        fs::write(scene.path("etc/tls/chain"), "1").unwrap();
        scene.noticed().await;
    }

    #[tokio::test]
    async fn a_folder_swapped_by_renames_is_noticed() {
        let lay_out = |root: &Path| {
            fs::create_dir(root.join("tls")).unwrap();
            fs::create_dir(root.join("next")).unwrap();
            fs::write(root.join("tls/chain"), "1").unwrap();
            fs::write(root.join("next/chain"), "2").unwrap();
        };
        let mut scene = Scene::new(lay_out, "tls/chain");
        fs::rename(scene.path("tls"), scene.path("old")).unwrap();
        fs::rename(scene.path("next"), scene.path("tls")).unwrap();
        scene.noticed().await;
        scene.forget_notices();
        fs::write(scene.path("tls/chain"), "longer").unwrap();
        scene.noticed().await;
    }

    #[tokio::test]
    async fn another_set_of_files_is_followed_at_once() {
        let mut scene = Scene::new(one_file, "chain");
        fs::write(scene.path("other"), "1").unwrap();
        scene.watcher.follow(&[scene.path("other")]).unwrap();
        scene.forget_notices();
        fs::write(scene.path("other"), "two").unwrap();
        scene.noticed().await;
    }

    #[tokio::test]
    async fn a_change_without_an_event_is_found_by_polling() {
        let root = tempfile::tempdir().unwrap();
        one_file(root.path());
        let (sender, mut notices) = channel(1);
        let options = Options { events: false, poll: Duration::from_millis(5) };
        let files = [root.path().join("chain")];
        let _watcher = Watcher::start_with(&files, sender, options).unwrap();
        fs::write(root.path().join("chain"), "other").unwrap();
        timeout(DEADLINE, notices.recv()).await.unwrap().unwrap();
    }
}
