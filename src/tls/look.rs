//! What became of a pair of files when it was last looked at.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::SystemTime;

use super::contents::Contents;
use super::error::{IdentityError, IdentityWarning};
use super::identity::Identity;
use super::stamps::Stamps;
use crate::policy::CertificateFiles;

/// In place of a digest where nothing could be read.
const UNREADABLE: [u8; 32] = [0; 32];

/// A pair as it was last looked at.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) served: Option<Arc<Identity>>,
    stamps: Option<Stamps>,
    /// The mode of the key's file, where it leaves something to everybody.
    key_open: Option<u32>,
    /// The contents that were refused, where what lies there is not what is served.
    pub(super) refused: Option<[u8; 32]>,
}

impl Look {
    /// Looks at a pair, and says what is wrong with contents that were not seen before.
    pub(super) fn again(
        before: Option<&Self>,
        files: &CertificateFiles,
        now: SystemTime,
    ) -> Result<(Self, Option<IdentityError>), IdentityError> {
        let stamps = Stamps::of(files, now);
        if let Some(before) = before
            && before.refused.is_none()
            && stamps.is_some()
            && stamps == before.stamps
        {
            return Ok((before.clone(), None));
        }
        let served = before.and_then(|before| before.served.clone());
        // One that we get ourselves is asked for again, and the others are served meanwhile.
        let stops = served.is_none() && !files.managed;
        let keep = |refused, key_open, fault| {
            Ok((Self { served: served.clone(), stamps: None, key_open, refused }, fault))
        };
        let contents = match Contents::read(files) {
            Ok(contents) => contents,
            Err(IdentityError::Read { source, .. })
                if files.managed && served.is_none() && source.kind() == ErrorKind::NotFound =>
            {
                return keep(None, None, None);
            }
            Err(error) if stops => return Err(error),
            // Told once, however often it is looked at.
            Err(error) => {
                let known = before.is_some_and(|before| before.refused == Some(UNREADABLE));
                return keep(Some(UNREADABLE), None, (!known).then_some(error));
            }
        };
        let (digest, key_open) = (contents.digest(), contents.key_open);
        if let Some(served) = served.clone().filter(|served| served.digest == digest) {
            return Ok((Self { served: Some(served), stamps, key_open, refused: None }, None));
        }
        let fault = match Identity::of(files, &contents, now) {
            Ok(next) => match served.as_ref().and_then(|served| served.outlasts(&next, now)) {
                Some(fault) => fault,
                None => {
                    let served = Some(Arc::new(next));
                    return Ok((Self { served, stamps, key_open, refused: None }, None));
                }
            },
            Err(error) if stops => return Err(error),
            Err(error) => error,
        };
        let known = before.is_some_and(|before| before.refused == Some(digest));
        keep(Some(digest), key_open, (!known).then_some(fault))
    }

    /// What to know of a pair's files, whether they are served or not.
    pub(super) fn warnings(
        &self,
        files: &CertificateFiles,
    ) -> impl Iterator<Item = IdentityWarning> {
        let open = |mode| IdentityWarning::KeyOpen { key: files.key.clone(), mode };
        self.key_open.map(open).into_iter().chain(self.awaited(files))
    }

    /// What to know of a pair that we get ourselves and that is not served yet.
    fn awaited(&self, files: &CertificateFiles) -> Option<IdentityWarning> {
        if !files.managed || self.served.is_some() {
            return None;
        }
        let chain = files.chain.clone();
        Some(match self.refused {
            Some(_) => IdentityWarning::AskedAgain { chain },
            None => IdentityWarning::Awaited { chain },
        })
    }
}
