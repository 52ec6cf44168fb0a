//! Our accounts with authorities.

use std::collections::HashMap;
use std::time::Duration;

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, Error as ClientError, ExternalAccountKey,
    NewAccount,
};
use tracing::info;

use super::call::{Caller, LastWait};
use super::failure::AcmeError;
use super::order::again;
use super::store::Store;
use crate::policy::AcmeAuthority;

/// Those we have spoken with since we started.
#[derive(Default)]
pub(super) struct Accounts {
    last_wait: LastWait,
    /// By directory and binding.
    known: HashMap<(String, String), Account>,
}

impl Accounts {
    /// Ours with this authority, made where there is none.
    pub(super) async fn with(
        &mut self,
        store: &Store,
        authority: &AcmeAuthority,
    ) -> Result<Account, AcmeError> {
        let id = id(authority);
        if let Some(account) = self.known.get(&id) {
            return Ok(account.clone());
        }
        let builder = || -> Result<_, AcmeError> {
            let caller = Caller::new(&authority.trust, self.last_wait.clone())?;
            Ok(Account::builder_with_http(Box::new(caller)))
        };
        let account = match store.account(authority) {
            Some(known) => builder()?.from_credentials(known).await?,
            None => {
                let (account, made) = make(authority, builder).await?;
                store.keep_account(authority, &made)?;
                info!(authority = authority.name, "an account was made with an authority");
                account
            }
        };
        self.known.insert(id, account.clone());
        Ok(account)
    }

    /// To be opened anew after a failure: a directory may have moved.
    pub(super) fn drop_opened(&mut self, authority: &AcmeAuthority) {
        self.known.remove(&id(authority));
    }

    /// How long an authority asked us to wait since this was last looked at.
    pub(super) fn asked_to_wait(&self) -> Option<Duration> {
        self.last_wait.take()
    }
}

async fn make(
    authority: &AcmeAuthority,
    builder: impl Fn() -> Result<AccountBuilder, AcmeError>,
) -> Result<(Account, AccountCredentials), AcmeError> {
    let bound = authority.external_account.as_ref();
    let bound =
        bound.map(|bound| ExternalAccountKey::new(bound.key_id.clone(), bound.key.expose()));
    let contact: Vec<&str> = authority.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    // Once for all rounds: a failure to verify is no nonce's.
    builder()?;
    let made = again(async || {
        let builder = builder().map_err(|error| ClientError::Other(Box::new(error)))?;
        builder.create(&wanted, authority.directory.clone(), bound.as_ref()).await
    });
    Ok(made.await?)
}

fn id(authority: &AcmeAuthority) -> (String, String) {
    let (directory, bound) = authority.account_id();
    (directory.to_owned(), bound.to_owned())
}
