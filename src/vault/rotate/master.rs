//! Replacing the master key, one step that cannot be torn after the other.

use std::sync::Arc;

use super::RotateError;
use crate::keys::{MasterKey, Replacement};
use crate::vault::envelope;
use crate::vault::keeper::Keeper;
use crate::vault::store::{KeyChange, KeysChanged};

/// A step of the replacement of a master key. A crash comes before one or after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MasterStep {
    /// No key is wrapped by the old one any more.
    Dropped,
    /// A file that is no longer needed is removed.
    Forgotten,
    /// The old key lies beside the one in force.
    Kept,
    /// The new key lies beside the one in force.
    Made,
    /// The new key is in force.
    Swapped,
    /// Every data key is wrapped by both.
    Wrapped,
}

impl MasterStep {
    /// A short name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Forgotten => "forgotten",
            Self::Kept => "kept",
            Self::Made => "made",
            Self::Swapped => "swapped",
            Self::Wrapped => "wrapped",
        }
    }
}

impl Keeper {
    /// Puts a new master key in force and drops the old one; goes on where an earlier command
    /// stopped. Says how many steps there were.
    ///
    /// # Errors
    /// When it cannot be finished.
    pub async fn rotate_master(
        &mut self,
        tell: &mut dyn FnMut(MasterStep),
    ) -> Result<u32, RotateError> {
        let mut rotation = MasterRotation::begin(self)?;
        let mut steps = 0;
        while let Some(step) = rotation.step(self).await? {
            tell(step);
            steps += 1;
        }
        Ok(steps)
    }

    /// Wraps every data key by this master key too.
    async fn wrap_by(&mut self, master: &dyn MasterKey) -> Result<(), RotateError> {
        loop {
            let wraps = envelope::rewrap(&self.keys.rows, &self.keys.ring, master)?;
            match self.store.change_keys(&KeyChange::Wrap { wraps }).await? {
                KeysChanged::Done(rows) => {
                    return self.take(rows);
                }
                // A data key came or went meanwhile.
                KeysChanged::Refused(_) => self.renew().await?,
            }
        }
    }

    /// Drops the wraps of one master key other than this one. Says whether there was any.
    async fn drop_other_than(&mut self, master: &dyn MasterKey) -> Result<bool, RotateError> {
        let masters = envelope::masters(&self.keys.rows);
        let Some(old) = masters.into_iter().find(|name| *name != master.id()) else {
            return Ok(false);
        };
        if !self.is_wrapped_by(master) {
            return Err(RotateError::Incomplete);
        }
        match self.store.change_keys(&KeyChange::DropMaster { master: old }).await? {
            KeysChanged::Done(rows) => self.take(rows)?,
            KeysChanged::Refused(_) => return Err(RotateError::Incomplete),
        }
        Ok(true)
    }

    fn is_wrapped_by(&self, master: &dyn MasterKey) -> bool {
        let rows = &self.keys.rows;
        rows.iter()
            .all(|key| rows.iter().any(|wrap| wrap.id == key.id && wrap.master == master.id()))
    }
}

/// The way from one master key to another.
pub(super) enum MasterRotation {
    /// Both are configured.
    Configured,
    /// The new one is made beside the old one's file.
    File {
        files: Replacement,
        /// There is nothing that an earlier command left: a new key may be made, once.
        fresh: bool,
    },
}

impl MasterRotation {
    pub(super) fn begin(keeper: &Keeper) -> Result<Self, RotateError> {
        let ring = &keeper.keys.ring;
        if let Some(previous) = &ring.previous {
            let same = previous.id() == ring.current.id();
            return if same { Err(RotateError::SameKey) } else { Ok(Self::Configured) };
        }
        let source = &keeper.keys.masters.current;
        let Some(files) = source.replacement()? else {
            return Err(RotateError::NoNewKey { place: source.describe() });
        };
        let fresh = files.next()?.is_none() && files.previous()?.is_none();
        Ok(Self::File { files, fresh })
    }

    /// Does the next thing that is to be done; `None` at the end.
    pub(super) async fn step(
        &mut self,
        keeper: &mut Keeper,
    ) -> Result<Option<MasterStep>, RotateError> {
        keeper.renew().await?;
        let Self::File { files, fresh } = self else { return configured_step(keeper).await };
        let (current, previous) = (files.current()?, files.previous()?);
        if let Some(next) = files.next()? {
            if next.id() == current.id() {
                files.forget_next()?;
                return Ok(Some(MasterStep::Forgotten));
            }
            if !keeper.is_wrapped_by(next.as_ref()) {
                keeper.wrap_by(next.as_ref()).await?;
                return Ok(Some(MasterStep::Wrapped));
            }
            if previous.is_none_or(|previous| previous.id() != current.id()) {
                files.keep_previous()?;
                return Ok(Some(MasterStep::Kept));
            }
            files.swap()?;
            return Ok(Some(MasterStep::Swapped));
        }
        if previous.is_some() {
            if keeper.drop_other_than(current.as_ref()).await? {
                return Ok(Some(MasterStep::Dropped));
            }
            files.forget_previous()?;
            return Ok(Some(MasterStep::Forgotten));
        }
        if !*fresh {
            return Ok(None);
        }
        files.make_next()?;
        *fresh = false;
        Ok(Some(MasterStep::Made))
    }
}

async fn configured_step(keeper: &mut Keeper) -> Result<Option<MasterStep>, RotateError> {
    let current = Arc::clone(&keeper.keys.ring.current);
    if !keeper.is_wrapped_by(current.as_ref()) {
        keeper.wrap_by(current.as_ref()).await?;
        return Ok(Some(MasterStep::Wrapped));
    }
    let dropped = keeper.drop_other_than(current.as_ref()).await?;
    Ok(dropped.then_some(MasterStep::Dropped))
}
