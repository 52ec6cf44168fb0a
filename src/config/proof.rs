//! How much work a client is asked for.

use std::time::Duration;

use super::compile::{Compiler, is};
use super::schema::ProofOfWorkSchema;
use crate::policy::ProofOfWork;

/// More than these and a phone is busy for a minute.
const BITS_MAX: u8 = 24;

/// What was shown is remembered for so long, or it could be shown again.
const LIFETIME_MAX: Duration = Duration::from_secs(60 * 60);

impl Compiler<'_> {
    pub(super) fn proof_of_work(&mut self, written: &ProofOfWorkSchema) -> ProofOfWork {
        let base = ProofOfWork::default();
        let bits = written.bits.as_ref().map_or(base.bits, |at| *at.get());
        if let Some(at) = &written.bits
            && !(1..=BITS_MAX).contains(&bits)
        {
            let message = format!("is not between 1 and {BITS_MAX}");
            self.refuse(&at.span(), "proof_of_work.bits", message, "18 is a second of a browser");
        }
        let key = "proof_of_work.lifetime";
        let lifetime = self.duration(key, written.lifetime.as_ref(), base.lifetime);
        if let Some(at) = &written.lifetime
            && !(Duration::from_secs(10)..=LIFETIME_MAX).contains(&lifetime)
        {
            let message = format!("{} is too short or too long", self.source.quote(&at.span()));
            self.refuse(&at.span(), key, message, "write a time from \"10s\" to \"1h\"");
        }
        ProofOfWork { always: is(written.always.as_ref()), bits, lifetime }
    }
}
