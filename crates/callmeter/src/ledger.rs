//! The counters of spools that are no more, so that a home's equation (promise CM-3) stays whole.
//!
//! Only the elected shipper writes. A spool is retired in three steps, each safe to repeat: its figures
//! and its id enter the ledger in one transaction, its files go, its id leaves the ledger.

use std::collections::BTreeSet;
use std::path::Path;

use callmeter_core::{Conservation, DropReason};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::plain;
use crate::spool::{Rights, SpoolError};

/// One transaction: whoever reads meanwhile sees an empty ledger or a whole one.
const SCHEMA: &str = "
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS totals(name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS retiring(spool_id TEXT PRIMARY KEY) WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;
";

/// What `make_file` has made is opened, and no link.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
}

/// The ledger of a home.
#[derive(Debug)]
pub(crate) struct Ledger {
    db: Connection,
}

impl Ledger {
    pub(crate) fn open(path: &Path, rights: Rights) -> Result<Self, SpoolError> {
        match rights.make_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error.into());
            }
            _ => {}
        }
        let db = Connection::open_with_flags(plain::straight(path)?, flags())?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch(SCHEMA)?;
        Ok(Self { db })
    }

    /// The totals of the ledger at `path`, and the ids of spools whose figures are in it although
    /// their files may still be there.
    pub(crate) fn read(path: &Path) -> rusqlite::Result<(Conservation, BTreeSet<String>)> {
        if !path.exists() {
            return Ok(Default::default());
        }
        let path = plain::straight(path).unwrap_or_else(|_| path.to_owned());
        let db = Connection::open_with_flags(path, flags())?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            // The shipper is just making it.
            return Ok(Default::default());
        }
        let mut totals = Conservation::default();
        let mut query = db.prepare("SELECT name, count FROM totals")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (name, count): (String, i64) = (row.get(0)?, row.get(1)?);
            let count = u64::try_from(count).unwrap_or(0);
            match name.as_str() {
                "finished" => totals.finished = count,
                "acknowledged" => totals.acknowledged = count,
                "rejected" => totals.rejected = count,
                other => {
                    if let Some(reason) = DropReason::from_word(other) {
                        totals.add_dropped(reason, count);
                    }
                }
            }
        }
        let mut query = db.prepare("SELECT spool_id FROM retiring")?;
        let retiring = query
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok((totals, retiring))
    }

    /// Takes a spool's figures over; says whether they were new.
    pub(crate) fn take_over(
        &mut self,
        spool_id: &str,
        figures: &Conservation,
    ) -> Result<bool, SpoolError> {
        let transaction = self.db.transaction()?;
        let known: Option<i64> = transaction
            .query_row(
                "SELECT 1 FROM retiring WHERE spool_id = ?1",
                [spool_id],
                |row| row.get(0),
            )
            .optional()?;
        if known.is_some() {
            return Ok(false);
        }
        transaction.execute("INSERT INTO retiring VALUES (?1)", [spool_id])?;
        {
            let mut add = transaction.prepare(
                "INSERT INTO totals VALUES (?1, ?2) \
                 ON CONFLICT(name) DO UPDATE SET count = count + excluded.count",
            )?;
            let mut put = |name: &str, count: u64| {
                add.execute(params![name, i64::try_from(count).unwrap_or(i64::MAX)])
            };
            put("finished", figures.finished)?;
            put("acknowledged", figures.acknowledged)?;
            put("rejected", figures.rejected)?;
            for reason in DropReason::ALL {
                put(reason.as_str(), figures.dropped_for(*reason))?;
            }
        }
        transaction.commit()?;
        Ok(true)
    }

    /// Forgets the id of a spool whose files are gone.
    pub(crate) fn forget(&mut self, spool_id: &str) -> Result<(), SpoolError> {
        self.db
            .execute("DELETE FROM retiring WHERE spool_id = ?1", [spool_id])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_is_just_being_made_reads_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let nothing = (Conservation::default(), BTreeSet::new());
        assert_eq!(Ledger::read(&path).unwrap(), nothing);
        let unmade = Connection::open(&path).unwrap();
        unmade.pragma_update(None, "journal_mode", "WAL").unwrap();
        assert_eq!(Ledger::read(&path).unwrap(), nothing);
        drop(unmade);
        Ledger::open(&path, Rights::User).unwrap();
        assert_eq!(Ledger::read(&path).unwrap(), nothing);
    }
}
