//! The master key in a PKCS#11 device: it wraps and unwraps there and never leaves it.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use parking_lot::Mutex;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{
    IfMissing, KEY_BYTES, KeyError, KeySource, MasterId, MasterKey, Obtained, PinSource, SecretKey,
    WrapError,
};

/// NIST SP 800-38D section 8.2.2: 96 random bits. A master key wraps a handful of keys.
const IV_BYTES: usize = 12;

const TAG_BITS: u64 = 128;

/// A 256-bit AES key in a device, found by the labels of its token and its own.
#[derive(Clone, Debug)]
pub struct Pkcs11Key {
    /// The vendor's library.
    pub module: PathBuf,
    /// The label of the token that holds the key.
    pub token_label: String,
    /// The key's own label.
    pub key_label: String,
    /// Where the user's PIN comes from. Read at every login, and never kept.
    pub pin: PinSource,
}

/// A key in a device that has been logged in to.
struct DeviceKey {
    place: Pkcs11Key,
    id: MasterId,
    /// A session serves one caller at a time.
    login: Mutex<Login>,
}

struct Login {
    session: Session,
    key: ObjectHandle,
}

impl KeySource for Pkcs11Key {
    fn describe(&self) -> String {
        format!("the key {} of the PKCS#11 token {}", self.key_label, self.token_label)
    }

    /// A new key is made in the device, not to be read out of it.
    fn obtain(&self, missing: IfMissing) -> Result<Obtained, KeyError> {
        let session = self.log_in()?;
        if let Some(key) = self.find(&session)? {
            return Ok(Obtained::Read(Arc::new(self.ready(session, key)?)));
        }
        if missing == IfMissing::Refuse {
            let (token, key) = (self.token_label.clone(), self.key_label.clone());
            return Err(KeyError::DeviceKeyMissing { token, key });
        }
        let key = self.generate(&session)?;
        Ok(Obtained::Made(Arc::new(self.ready(session, key)?)))
    }
}

impl Pkcs11Key {
    fn log_in(&self) -> Result<Session, KeyError> {
        let device = Pkcs11::new(&self.module).map_err(device("load the module"))?;
        let threads = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match device.initialize(threads) {
            // Another key of this process lies in the same device.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(self::device("start the module")(error)),
        }
        let slot = self.slot(&device)?;
        let session = device.open_rw_session(slot).map_err(self::device("open a session"))?;
        let pin = self.pin.read()?;
        match session.login(UserType::User, Some(&pin.as_str().into())) {
            // A login is the process's, not the session's (PKCS#11 v2.40, section 5.6.8).
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(self::device("log in")(error)),
        }
    }

    fn slot(&self, device: &Pkcs11) -> Result<Slot, KeyError> {
        let listed = self::device("list the tokens");
        let mut found = Vec::new();
        for slot in device.get_slots_with_initialized_token().map_err(&listed)? {
            if device.get_token_info(slot).map_err(&listed)?.label() == self.token_label {
                found.push(slot);
            }
        }
        match found.as_slice() {
            [slot] => Ok(*slot),
            _ => {
                let (label, count) = (self.token_label.clone(), found.len());
                Err(KeyError::DeviceToken { label, count })
            }
        }
    }

    fn find(&self, session: &Session) -> Result<Option<ObjectHandle>, KeyError> {
        let found = session.find_objects(&[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.key_label.clone().into_bytes()),
        ]);
        match found.map_err(device("look for the key"))?.as_slice() {
            [] => Ok(None),
            [key] => Ok(Some(*key)),
            keys => {
                let (label, count) = (self.key_label.clone(), keys.len());
                Err(KeyError::DeviceKeyAmbiguous { label, count })
            }
        }
    }

    fn generate(&self, session: &Session) -> Result<ObjectHandle, KeyError> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| KeyError::Random)?;
        let length = u64::try_from(KEY_BYTES).map_err(|_| KeyError::Random)?;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(length.into()),
            Attribute::Label(self.key_label.clone().into_bytes()),
            Attribute::Id(id.to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        let made = session.generate_key(&Mechanism::AesKeyGen, &template);
        made.map_err(device("make a key"))
    }

    fn ready(&self, session: Session, key: ObjectHandle) -> Result<DeviceKey, KeyError> {
        let asked = [AttributeType::Id, AttributeType::Extractable];
        let facts = session.get_attributes(key, &asked).map_err(device("describe the key"))?;
        // A name that stays when the key is copied to another device. Where the key has no id of
        // its own, its label has to do.
        let mut name = self.key_label.as_bytes();
        for fact in &facts {
            match fact {
                Attribute::Id(id) if !id.is_empty() => name = id,
                Attribute::Extractable(true) => {
                    warn!(key = self.key_label, "the master key can be read out of its device");
                }
                _ => {}
            }
        }
        let mut id = MasterId([0; 16]);
        let label = b"tillgate pkcs11 master key id v1 ";
        let digest = digest::digest(&digest::SHA256, &[label, name].concat());
        id.0.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Ok(DeviceKey { place: self.clone(), id, login: Mutex::new(Login { session, key }) })
    }
}

impl MasterKey for DeviceKey {
    fn id(&self) -> MasterId {
        self.id
    }

    /// Gives nonce, ciphertext and tag, by AES-GCM in the device.
    fn wrap(&self, key: &SecretKey, about: &[u8]) -> Result<Vec<u8>, WrapError> {
        self.with_login(|login| login.seal(key.expose(), about))
    }

    fn unwrap_key(&self, wrapped: &[u8], about: &[u8]) -> Result<SecretKey, WrapError> {
        let opened = self.with_login(|login| match login.open(wrapped, about) {
            Ok(text) => Ok(Some(text)),
            // Devices have many words for a wrong tag; one that does its work otherwise meant that.
            Err(_) if login.works() => Ok(None),
            Err(error) => Err(error),
        });
        let text = opened?.ok_or(WrapError::Wrong)?;
        SecretKey::from_bytes(&text).ok_or(WrapError::Wrong)
    }
}

impl DeviceKey {
    /// Does something within the session; opens another one, once, if the session is lost.
    fn with_login<T>(&self, work: impl Fn(&Login) -> Result<T, Error>) -> Result<T, WrapError> {
        let mut login = self.login.lock();
        match work(&login) {
            Err(error) if is_loss(&error) => {
                info!(device = self.place.token_label, "the session with the device is lost");
                *login = self.log_in_again().map_err(|error| WrapError::Device(Box::new(error)))?;
                work(&login)
            }
            done => done,
        }
        .map_err(|error| WrapError::Device(Box::new(device("use the key")(error))))
    }

    fn log_in_again(&self) -> Result<Login, KeyError> {
        let session = self.place.log_in()?;
        let (token, key) = (self.place.token_label.clone(), self.place.key_label.clone());
        let missing = KeyError::DeviceKeyMissing { token, key };
        let key = self.place.find(&session)?.ok_or(missing)?;
        Ok(Login { session, key })
    }
}

impl Login {
    fn seal(&self, text: &[u8], about: &[u8]) -> Result<Vec<u8>, Error> {
        let mut iv = [0; IV_BYTES];
        rand::fill(&mut iv).map_err(|_| Error::InvalidValue)?;
        let sealed = {
            let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, about, TAG_BITS.into())?);
            self.session.encrypt(&mechanism, self.key, text)?
        };
        // Some devices put an IV of their own in its place.
        Ok([iv.as_slice(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8], about: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (iv, text) = sealed.split_at_checked(IV_BYTES).ok_or(Error::InvalidValue)?;
        let mut iv = iv.to_vec();
        let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, about, TAG_BITS.into())?);
        self.session.decrypt(&mechanism, self.key, text).map(Zeroizing::new)
    }

    /// Whether what it seals now opens.
    fn works(&self) -> bool {
        let about = b"test";
        self.seal(&[0; KEY_BYTES], about).is_ok_and(|sealed| self.open(&sealed, about).is_ok())
    }
}

/// Whether another session may do what this one could not.
fn is_loss(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::CryptokiNotInitialized
                | RvError::DeviceError
                | RvError::DeviceRemoved
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::SessionClosed
                | RvError::SessionHandleInvalid
                | RvError::TokenNotPresent
                | RvError::UserNotLoggedIn,
            _
        )
    )
}

fn device(action: &'static str) -> impl Fn(Error) -> KeyError {
    move |source| KeyError::Device { action, source }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::SoftHsm;
    use super::*;

    fn made(source: &Pkcs11Key) -> Arc<dyn MasterKey> {
        source.obtain(IfMissing::Create).unwrap().into_key()
    }

    /// One test: a process has one SoftHSM, configured once.
    #[test]
    fn a_device_makes_keeps_and_uses_the_key() {
        let Some(hsm) = SoftHsm::start() else { return };
        let source = hsm.key("master");
        let refused = source.obtain(IfMissing::Refuse).err().unwrap();
        assert!(matches!(refused, KeyError::DeviceKeyMissing { .. }), "{refused}");
        let Ok(Obtained::Made(first)) = source.obtain(IfMissing::Create) else { panic!("found") };
        let Ok(Obtained::Read(again)) = source.obtain(IfMissing::Create) else { panic!("made") };
        assert_eq!(first.id(), again.id());
        let other = made(&hsm.key("other"));
        assert_ne!(first.id(), other.id());

        let secret = SecretKey::random().unwrap();
        let wrapped = first.wrap(&secret, b"about").unwrap();
        assert_eq!(again.unwrap_key(&wrapped, b"about").ok().unwrap().expose(), secret.expose());
        let (wrong, mut damaged) = (WrapError::Wrong.to_string(), wrapped.clone());
        damaged[20] ^= 1;
        for (key, wrapped, about) in [
            (&other, &wrapped, b"about"),
            (&first, &wrapped, b"other"),
            (&first, &damaged, b"about"),
        ] {
            assert_eq!(key.unwrap_key(wrapped, about).err().unwrap().to_string(), wrong);
        }

        // Every session gone, as when a device restarts: the next use logs in again.
        hsm.end_sessions();
        assert_eq!(again.unwrap_key(&wrapped, b"about").ok().unwrap().expose(), secret.expose());

        hsm.spoil_pin();
        hsm.end_sessions();
        let refused = again.unwrap_key(&wrapped, b"about").err().unwrap();
        let WrapError::Device(cause) = &refused else { panic!("{refused}") };
        assert!(matches!(**cause, KeyError::Device { action: "log in", .. }), "{cause}");
        let refused = source.obtain(IfMissing::Create).err().unwrap();
        let words = format!("{refused} {refused:?}");
        assert!(words.contains("log in") && !words.contains(SoftHsm::WRONG_PIN), "{words}");

        let absent = Pkcs11Key { token_label: "absent".to_owned(), ..source };
        let refused = absent.obtain(IfMissing::Create).err().unwrap();
        assert!(matches!(refused, KeyError::DeviceToken { count: 0, .. }), "{refused}");
    }
}
