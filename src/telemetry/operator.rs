//! Who ran a command.

use serde::{Deserialize, Serialize};

/// The user of the machine who runs this process (PCI DSS 10.2.2 asks for one in every record).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Operator {
    /// The user in force.
    uid: u32,
    /// Who logged in: the kernel keeps it over `sudo` and `su`. Absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login_uid: Option<u32>,
}

impl Operator {
    /// That of this process.
    #[must_use]
    pub fn current() -> Self {
        let kept = std::fs::read_to_string("/proc/self/loginuid").ok();
        let login_uid = kept.and_then(|text| text.trim().parse().ok());
        // The highest number means that it was never set.
        let login_uid = login_uid.filter(|uid| *uid != u32::MAX);
        Self { uid: rustix::process::getuid().as_raw(), login_uid }
    }
}
