//! STUB
use crate::card::{Cvv, Pan, Token, TokenFormat};
use std::time::{Duration, Instant};
use std::path::PathBuf;
use crate::keys::MasterKey;
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct VaultError;
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct StandInError;
pub enum Tokenized { Created(Token), Known(Token), AlreadyToken }
pub enum Standing { IssuedToken, Unknown }
pub enum Health { Ready, Failing{ cause: Outage } }
pub struct Outage; impl Outage { pub fn as_str(&self)->&'static str {"x"} }
pub struct VaultSettings { pub path: PathBuf, pub cvv_ttl: Duration }
pub struct Vault; 
impl Vault { pub async fn open(_: VaultSettings, _: &MasterKey) -> Result<Self, VaultError> { Err(VaultError) }
 pub async fn tokenize(&self, _: Vec<Pan>, _: TokenFormat) -> Result<Vec<Tokenized>, VaultError> { Err(VaultError) }
 pub async fn reveal(&self, _: Vec<Pan>) -> Result<Vec<Option<Pan>>, VaultError> { Err(VaultError) }
 pub async fn standing(&self, _: Vec<Pan>) -> Result<Vec<Standing>, VaultError> { Err(VaultError) }
 pub fn health(&self) -> Health { Health::Ready }
 pub fn stand_ins(&self) -> &StandIns { todo!() } }
pub struct StandIns;
impl StandIns { pub fn keep(&self, _: Cvv, _: &[Token], _: Instant) -> Result<Cvv, StandInError> { Err(StandInError) } pub fn take(&self, _: &Cvv, _: &[Token], _: Instant) -> Option<Cvv> { None } }
