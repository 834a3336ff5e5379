//! A connection for code that is not async: made when first needed, made anew when it broke.
//!
//! All work is done in transactions, one at a time, each with limits that the server keeps (statement, lock,
//! idle in transaction) and one that this side keeps, for a server that is gone without a word. Statements carry
//! the types of their parameters, so none but a copy is prepared and any pooler in transaction mode will do. The runtime
//! is of this thread alone and runs only while somebody waits for it. Calling from within an async task of
//! another tokio runtime panics in tokio: use a thread.

use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::failure::{server_error, timed_out};
use super::target::Target;
use crate::{ServerError, StoreError};

/// A parameter and its type.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A statement.
    pub(crate) statement: Duration,
    /// Waiting for a lock.
    pub(crate) lock: Duration,
    /// How much longer than the server this side waits for a statement.
    pub(crate) grace: Duration,
}

impl Default for Limits {
    /// 30 s a statement, 5 s a lock, 5 s of grace.
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(30),
            lock: Duration::from_secs(5),
            grace: Duration::from_secs(5),
        }
    }
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Rows are written; a commit is durable when it is answered, whatever the server's default.
    Write,
    /// One snapshot is read.
    Snapshot,
}

/// A connection, or the way to one.
pub(crate) struct Session {
    runtime: Runtime,
    target: Target,
    client: Option<Client>,
    limits: Limits,
}

impl Session {
    /// Prepares a session; nothing is connected yet.
    pub(crate) fn new(target: Target) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| StoreError::File {
                path: "/dev/null".into(),
                source,
            })?;
        Ok(Self {
            runtime,
            target,
            client: None,
            limits: Limits::default(),
        })
    }

    /// Sets the limits of the next transactions.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The store as it may be shown.
    pub(crate) fn shown(&self) -> &str {
        &self.target.shown
    }

    /// Runs `work` in a transaction, and commits it if `work` succeeds. A commit whose answer is lost is an
    /// error: whoever sends the same again must expect to find it there.
    pub(crate) fn transaction<T>(
        &mut self,
        access: Access,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.begin(access)?;
        let done = work(&mut Tx { session: self });
        let done = match done {
            Ok(value) => self.batch("COMMIT").map(|()| value).map_err(Into::into),
            Err(error) => {
                // Whatever cannot be rolled back is rolled back by the server when the line is closed.
                if self.batch("ROLLBACK").is_err() {
                    self.client = None;
                }
                Err(error)
            }
        };
        if done.is_err() && self.client.as_ref().is_some_and(Client::is_closed) {
            self.client = None;
        }
        done
    }

    /// Runs a statement outside of any transaction, for those that allow no other way, on a connection that is closed
    /// behind it. Nothing but this side's limit ends it.
    pub(crate) fn alone(&mut self, sql: &str) -> Result<(), StoreError> {
        self.connect()?;
        let done = self
            .batch("SET statement_timeout = 0")
            .and_then(|()| self.batch(sql));
        self.close();
        Ok(done?)
    }

    /// Closes the connection; the next transaction makes another.
    pub(crate) fn close(&mut self) {
        if self.client.take().is_some() {
            // Lets the connection's task say goodbye.
            self.runtime.block_on(async {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            });
        }
    }

    /// Whether there is a connection now, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.client
            .as_ref()
            .is_some_and(|client| !client.is_closed())
    }

    fn begin(&mut self, access: Access) -> Result<(), ServerError> {
        // The server counts in 31 bits.
        let millis = |limit: Duration| limit.as_millis().min(2_000_000_000);
        let idle = self.limits.statement.saturating_add(self.limits.grace);
        let sql = match access {
            Access::Write => format!(
                "BEGIN; SELECT set_config('synchronous_commit', 'on', true) \
                 WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write'); \
                 SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}",
                millis(self.limits.statement),
                millis(self.limits.lock),
                millis(idle)
            ),
            Access::Snapshot => format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}; \
                 SET LOCAL idle_in_transaction_session_timeout = {}",
                millis(self.limits.statement),
                millis(idle)
            ),
        };
        let is_fresh = self.client.is_none();
        self.connect()?;
        match self.batch(&sql) {
            // Nothing was asked for yet: a line that broke while it lay idle is simply made anew.
            Err(_) if !is_fresh && self.client.as_ref().is_some_and(Client::is_closed) => {
                self.client = None;
                self.connect()?;
                self.batch(&sql)
            }
            begun => begun,
        }
    }

    fn connect(&mut self) -> Result<(), ServerError> {
        if self.client.as_ref().is_some_and(Client::is_closed) {
            self.client = None;
        }
        if self.client.is_some() {
            return Ok(());
        }
        let Target {
            config,
            tls,
            connect_limit,
            ..
        } = &self.target;
        // The limit of the library is for each host's socket alone; authentication may hang as well.
        let hosts = u32::try_from(config.get_hosts().len().max(1)).unwrap_or(1);
        let limit = connect_limit.saturating_mul(hosts);
        let client = self.runtime.block_on(async {
            let connected = tokio::time::timeout(limit, config.connect(tls.clone())).await;
            let (client, connection) = connected
                .map_err(|_| timed_out("connecting"))?
                .map_err(|error| server_error(&error))?;
            tokio::spawn(async move {
                // Its error comes to whoever waits for an answer.
                let _ = connection.await;
            });
            Ok::<_, ServerError>(client)
        })?;
        self.client = Some(client);
        Ok(())
    }

    fn batch(&mut self, sql: &str) -> Result<(), ServerError> {
        self.wait(async |client| client.batch_execute(sql).await)
    }

    fn wait<T>(
        &mut self,
        work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, ServerError> {
        let Some(client) = &self.client else {
            return Err(timed_out("not connected"));
        };
        let limit = self.limits.statement.saturating_add(self.limits.grace);
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, work(client)).await });
        match answer {
            Ok(answer) => answer.map_err(|error| server_error(&error)),
            Err(_) => {
                // The line may answer later, to a question nobody remembers: it is of no use.
                self.client = None;
                Err(timed_out("waiting for a statement"))
            }
        }
    }
}

/// A transaction.
pub(crate) struct Tx<'s> {
    session: &'s mut Session,
}

impl Tx<'_> {
    /// The rows of a statement.
    pub(crate) fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, ServerError> {
        self.session
            .wait(async |client| client.query_typed(sql, params).await)
    }

    /// The only row of a statement, if it has one.
    pub(crate) fn query_opt(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, ServerError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// How many rows a statement changed.
    pub(crate) fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, ServerError> {
        self.session
            .wait(async |client| client.execute_typed(sql, params).await)
    }

    /// Copies rows by a `COPY … FROM STDIN (FORMAT binary)`; says how many. Each has a value for each type.
    pub(crate) fn copy(
        &mut self,
        sql: &str,
        types: &[Type],
        rows: &[Vec<&(dyn ToSql + Sync)>],
    ) -> Result<u64, ServerError> {
        self.session.wait(async |client| {
            // Prepared under a name, and closed before the next statement: within one transaction any pooler
            // has both on one connection.
            let sink = client.copy_in(sql).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
            for row in rows {
                writer.as_mut().write(row).await?;
            }
            writer.finish().await
        })
    }

    /// Runs statements without parameters.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), ServerError> {
        self.session.batch(sql)
    }

    /// The store as it may be shown.
    pub(crate) fn shown(&self) -> &str {
        self.session.shown()
    }
}
