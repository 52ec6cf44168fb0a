//! The operator's command that changes the DNS.
//!
//! Run without a shell, without input, and without our environment, which may hold the master key.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::policy::DnsHook;

/// Of what it writes, this much is kept for the log.
const WORDS_BYTES_MAX: u64 = 4096;

/// A TXT record (RFC 8555 §8.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    /// `_acme-challenge.` and the domain.
    pub(super) name: String,
    pub(super) value: String,
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Cleanup,
    Present,
}

/// Why the command did not do it.
#[derive(Debug, Error)]
pub(super) enum HookError {
    #[error("{program} ended with {status}: {said}")]
    Failed { program: String, status: ExitStatus, said: String },
    #[error("{program} did not end within {} s", timeout.as_secs())]
    Late { program: String, timeout: Duration },
    #[error("cannot run {program}")]
    Run { program: String, source: io::Error },
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cleanup => "cleanup",
            Self::Present => "present",
        }
    }
}

/// Runs the command once.
pub(super) async fn run(hook: &DnsHook, action: Action, record: &Record) -> Result<(), HookError> {
    let Some((program, arguments)) = hook.command.split_first() else { return Ok(()) };
    let failed = |source| HookError::Run { program: program.clone(), source };
    let visible = ["PATH", "HOME"].into_iter().chain(hook.environment.iter().map(String::as_str));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(visible.filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env("TILLGATE_ACME_ACTION", action.as_str())
        .env("TILLGATE_ACME_NAME", &record.name)
        .env("TILLGATE_ACME_VALUE", &record.value)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stderr = child.stderr.take();
    let ended = async {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            let kept = (&mut stderr).take(WORDS_BYTES_MAX).read_to_end(&mut said).await;
            // What it writes beyond that is read all the same, or it would wait for us for ever.
            let rest = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
            kept.and(rest.map(|_| 0)).map_err(failed)?;
        }
        let status = child.wait().await.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Err(HookError::Failed { program: program.clone(), status, said })
    };
    let late = |_| Err(HookError::Late { program: program.clone(), timeout: hook.timeout });
    timeout(hook.timeout, ended).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Duration) -> DnsHook {
        DnsHook {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            environment: vec!["CARGO_PKG_NAME".to_owned()],
            timeout,
            propagation: Duration::ZERO,
        }
    }

    fn record() -> Record {
        Record { name: "_acme-challenge.shop.example".to_owned(), value: "a\"b c".to_owned() }
    }

    async fn outcome(script: &str) -> Result<(), HookError> {
        run(&hook(script, Duration::from_secs(20)), Action::Present, &record()).await
    }

    #[tokio::test]
    async fn the_command_is_told_what_to_do_and_sees_no_other_variable() {
        let script = r#"test "$TILLGATE_ACME_ACTION $TILLGATE_ACME_NAME $TILLGATE_ACME_VALUE" = \
            'present _acme-challenge.shop.example a"b c' && test -n "$PATH" &&
            test "$CARGO_PKG_NAME" = tillgate && test -z "$CARGO_MANIFEST_DIR""#;
        outcome(script).await.unwrap();
    }

    #[tokio::test]
    async fn what_it_says_as_it_fails_is_kept() {
        let failed = outcome("echo no such zone >&2; yes | head -c 300000 >&2; exit 3").await;
        let Err(HookError::Failed { status, said, .. }) = failed else { panic!("{failed:?}") };
        assert_eq!(status.code(), Some(3));
        assert!(said.starts_with("no such zone") && said.len() <= 4096);
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended() {
        let hook = hook("exec sleep 1000", Duration::from_millis(50));
        let failed = run(&hook, Action::Cleanup, &record()).await;
        assert!(matches!(failed, Err(HookError::Late { .. })), "{failed:?}");
    }

    #[tokio::test]
    async fn one_that_is_not_there_is_named() {
        let mut hook = hook("", Duration::from_secs(1));
        hook.command = vec!["/nowhere/hook".to_owned()];
        let failed = run(&hook, Action::Present, &record()).await;
        assert!(
            matches!(failed, Err(HookError::Run { program, .. }) if program == "/nowhere/hook")
        );
    }
}
