//! One order, from its names to a chain (RFC 8555 §7.4).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, Error as ClientError,
    Identifier, NewOrder, Order, OrderStatus, Problem,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::call::CallError;
use super::failure::{AcmeError, kind};
use super::prove::Proofs;

/// How often a request is made again because its nonce was no longer good (RFC 8555 §6.5); the client
/// tries three times itself.
const NONCE_ROUNDS: u32 = 4;

/// How long an authority may take to decide.
const DECISION_WAIT: Duration = Duration::from_secs(5 * 60);
const POLL_FIRST: Duration = Duration::from_millis(250);
const POLL_LAST: Duration = Duration::from_secs(10);

/// What came of an order.
pub(super) struct Chain {
    /// PEM.
    pub(super) chain: String,
    /// PEM.
    pub(super) key: Zeroizing<String>,
}

/// Orders a certificate, proves every name and fetches the chain.
pub(super) async fn obtain(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
    proofs: &mut Proofs<'_>,
) -> Result<Chain, AcmeError> {
    let mut order = place(account, names, replaces).await?;
    authorizations(&mut order).await?;
    show(&mut order, proofs).await?;
    proofs.settle().await;
    claim(&mut order, proofs).await?;
    match decided(&mut order, &[OrderStatus::Ready, OrderStatus::Valid]).await {
        Err(AcmeError::NotProven { .. }) => return Err(complaint(&mut order).await),
        done => done?,
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    again(async || order.finalize_csr(request.der()).await).await?;
    decided(&mut order, &[OrderStatus::Valid]).await?;
    let chain = again(async || order.certificate().await).await?.ok_or(AcmeError::Late)?;
    Ok(Chain { chain, key: Zeroizing::new(key.serialize_pem()) })
}

async fn place(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, AcmeError> {
    let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
    if let Some(replaces) = replaces {
        let order = NewOrder::new(&identifiers).replaces(replaces);
        match again(async || account.new_order(&order).await).await {
            // RFC 9773 §5: it may be replaced already, or by no one; that is no reason to have none.
            Err(ClientError::Unsupported(_)) => {}
            Err(ClientError::Api(problem)) if is_about_replacing(&problem) => {}
            // The order stands, and does not say what it replaces.
            Err(ClientError::Other(error)) if !error.is::<CallError>() => {}
            placed => return Ok(placed?),
        }
    }
    let order = NewOrder::new(&identifiers);
    Ok(again(async || account.new_order(&order).await).await?)
}

fn is_about_replacing(problem: &Problem) -> bool {
    matches!(kind(problem), "alreadyReplaced" | "malformed") || problem.status == Some(409)
}

/// Fetches the authorizations, which the order keeps from then on.
async fn authorizations(order: &mut Order) -> Result<(), ClientError> {
    again(async || {
        let mut all = order.authorizations();
        while let Some(authorization) = all.next().await {
            authorization?;
        }
        Ok(())
    })
    .await
}

/// Shows what each name is proven by, where it has not been proven lately.
async fn show(order: &mut Order, proofs: &mut Proofs<'_>) -> Result<(), AcmeError> {
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let domain = domain(authorization.identifier().identifier);
        let Some(challenge) = authorization.challenge(proofs.kind()) else {
            return Err(unknown(domain, proofs));
        };
        proofs.show(&domain, &challenge).await?;
    }
    Ok(())
}

/// Tells the authority that it may look.
async fn claim(order: &mut Order, proofs: &Proofs<'_>) -> Result<(), AcmeError> {
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let name = domain(authorization.identifier().identifier);
        let Some(mut challenge) = authorization.challenge(proofs.kind()) else {
            return Err(unknown(name, proofs));
        };
        again(async || challenge.set_ready().await).await?;
    }
    Ok(())
}

fn unknown(name: String, proofs: &Proofs<'_>) -> AcmeError {
    AcmeError::ChallengeUnknown { name, challenge: proofs.as_str() }
}

fn domain(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(name) => name.to_ascii_lowercase(),
        // Nothing else is ever ordered.
        _ => String::new(),
    }
}

/// Asks, ever more seldom, until the order has come to one of these states.
async fn decided(order: &mut Order, wanted: &[OrderStatus]) -> Result<(), AcmeError> {
    let end = Instant::now() + DECISION_WAIT;
    let mut wait = POLL_FIRST;
    loop {
        let status = order.state().status;
        if wanted.contains(&status) {
            return Ok(());
        }
        if status == OrderStatus::Invalid {
            let problem = order.state().error.clone();
            return Err(AcmeError::NotProven { name: "the order".to_owned(), problem });
        }
        if Instant::now() + wait > end {
            return Err(AcmeError::Late);
        }
        sleep(wait).await;
        wait = (wait * 2).min(POLL_LAST);
        again(async || order.refresh().await.map(|_| ())).await?;
    }
}

/// Why an order came to nothing: what the authority says of the name that was not proven.
async fn complaint(order: &mut Order) -> AcmeError {
    let mut all = order.authorizations();
    while let Some(Ok(mut authorization)) = all.next().await {
        // What it says is of use; that it says nothing more is not what went wrong.
        let _ = again(async || authorization.refresh().await.map(|_| ())).await;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let mut failed = authorization
            .challenges
            .iter()
            .filter(|challenge| challenge.status == ChallengeStatus::Invalid);
        if let Some(problem) = failed.find_map(|challenge| challenge.error.clone()) {
            return AcmeError::NotProven { name, problem: Some(problem) };
        }
    }
    match order.state().error.clone() {
        Some(problem) => AcmeError::Client(ClientError::Api(problem)),
        None => AcmeError::Late,
    }
}

/// A nonce that is no longer good is no failure, and what was asked with it was not done.
pub(super) async fn again<T>(
    mut call: impl AsyncFnMut() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    for _ in 1..NONCE_ROUNDS {
        match call().await {
            Err(ClientError::Api(problem)) if kind(&problem) == "badNonce" => {}
            done => return done,
        }
    }
    call().await
}
