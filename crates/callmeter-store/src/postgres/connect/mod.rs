//! Connections to PostgreSQL: address, TLS, limits, errors, and a session for code that is not async.
//!
//! In short: `let mut session = Session::of_process(&url)?;`
//! `session.transaction(Access::Write, |tx| { tx.query("SELECT $1", &[int8(&7)])?; Ok(()) })?;` — every parameter
//! has its type beside it, every error is scrubbed, and nothing is connected before the first transaction.

mod failure;
mod params;
mod pgpass;
mod session;
mod target;
#[cfg(all(test, unix))]
mod tests;
mod tls;

pub(crate) use self::failure::server_error;
pub(crate) use self::params::{bools, bytea, byteas, int2s, int4s, int8, int8s, text, texts};
pub(crate) use self::session::{Access, Limits, Param, Session, Tx};
pub(crate) use self::target::Target;

use crate::{PostgresUrl, StoreError};

impl Session {
    /// A session at `url`, with the variables of this process. Nothing is connected yet.
    pub(crate) fn of_process(url: &PostgresUrl) -> Result<Self, StoreError> {
        Self::new(Target::of(url, &|name| std::env::var(name).ok())?)
    }
}
