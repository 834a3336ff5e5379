//! Where a store is, as settings name it.
//!
//! Owns the syntax of `store.url` and its safe display: what is shown never carries a password, and an
//! error about a URL repeats nothing of it but the scheme. Opening the store is left to its module.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::PostgresUrl;

/// The address of a store.
///
/// # Examples
/// ```
/// use callmeter_store::StoreUrl;
///
/// let url = StoreUrl::parse("sqlite:///var/lib/shop/calls.db")?;
/// assert_eq!(url.path().and_then(|path| path.to_str()), Some("/var/lib/shop/calls.db"));
/// assert_eq!(url.to_string(), "sqlite:/var/lib/shop/calls.db");
/// assert!(StoreUrl::parse("mysql://u:secret@db/shop").is_err_and(|e| !e.to_string().contains("secret")));
/// # Ok::<(), callmeter_store::StoreUrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreUrl(Place);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    File(PathBuf),
    Postgres(Box<PostgresUrl>),
}

/// A text is no address of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreUrlError {
    /// It names no scheme and is no path.
    #[error("the store's address is empty; write sqlite:PATH or postgres://USER@HOST/DATABASE")]
    Empty,
    /// The scheme names no store that this version has.
    #[error("this version has no store that is called `{scheme}`")]
    UnknownScheme {
        /// The scheme, without what follows it.
        scheme: String,
    },
    /// `sqlite://host/path`: a file has no host.
    #[error("a SQLite store is a file and has no host; write sqlite:PATH or sqlite:///PATH")]
    HasHost,
    /// The address of a server cannot be read.
    #[error("the store's address cannot be read: {what}")]
    Malformed {
        /// What is wrong, without any of the text.
        what: &'static str,
    },
    /// Something behind the `?` is no option that callmeter knows.
    #[error("the store's address has an option that is not known; there are {known}")]
    UnknownOption {
        /// The options that there are.
        known: String,
    },
}

impl StoreUrl {
    /// The store in a SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// The same address as it stands in a configuration file that nobody named, which a stranger may have written:
    /// `PGPASSWORD` is sent to a server of it only where `PGHOST` names that host as well, and a password of
    /// `.pgpass` only where its line names the host, not `*`; neither without TLS to another machine.
    #[must_use]
    pub fn of_found_file(mut self) -> Self {
        if let Place::Postgres(url) = &mut self.0 {
            url.is_found = true;
        }
        self
    }

    /// Whether it names a server and stands in a file that nobody named.
    pub fn is_found_server(&self) -> bool {
        matches!(&self.0, Place::Postgres(url) if url.is_found)
    }

    /// Reads `sqlite:PATH`, `sqlite:///PATH`, or a bare path that says it is one (`/…`, `./…`, `../…`, `~`
    /// is not expanded); or `postgres://…` as libpq writes it, `postgresql://…` alike.
    ///
    /// # Errors
    /// When the text is empty or names a store that this version does not have. The error repeats no
    /// more of it than a scheme.
    pub fn parse(text: &str) -> Result<Self, StoreUrlError> {
        let text = text.trim();
        if text.starts_with(['/', '.']) {
            return Ok(Self::sqlite(text));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(if text.is_empty() {
                StoreUrlError::Empty
            } else {
                StoreUrlError::UnknownScheme {
                    scheme: scheme_of(text),
                }
            });
        };
        if ["postgres", "postgresql"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            let url = PostgresUrl::parse(rest)?;
            return Ok(Self(Place::Postgres(Box::new(url))));
        }
        if !scheme.eq_ignore_ascii_case("sqlite") {
            return Err(StoreUrlError::UnknownScheme {
                scheme: scheme_of(scheme),
            });
        }
        let path = match rest.strip_prefix("//") {
            Some(path) if path.starts_with('/') => path,
            Some(_) => return Err(StoreUrlError::HasHost),
            None => rest,
        };
        if path.is_empty() {
            Err(StoreUrlError::Empty)
        } else {
            Ok(Self::sqlite(path))
        }
    }

    /// The file of a SQLite store.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }

    /// The address of a store on PostgreSQL.
    #[must_use]
    pub fn postgres(&self) -> Option<&PostgresUrl> {
        match &self.0 {
            Place::File(_) => None,
            Place::Postgres(url) => Some(url),
        }
    }

    /// The same store; a relative path is taken from `directory`.
    #[must_use]
    pub fn resolve_against(&self, directory: &Path) -> Self {
        match &self.0 {
            Place::File(path) => Self::sqlite(directory.join(path)),
            Place::Postgres(_) => self.clone(),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => write!(f, "sqlite:{}", path.display()),
            Place::Postgres(url) => url.fmt(f),
        }
    }
}

/// A word that may stand in an error: what looks like a scheme, else nothing of the text.
fn scheme_of(text: &str) -> String {
    let is_scheme = text.len() <= 16
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if is_scheme {
        text.to_ascii_lowercase()
    } else {
        "?".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_and_a_path_or_a_path() {
        for text in [
            "sqlite:/a/b.db",
            "sqlite:///a/b.db",
            "/a/b.db",
            "SQLite:/a/b.db",
        ] {
            assert_eq!(
                StoreUrl::parse(text).unwrap().path().unwrap(),
                Path::new("/a/b.db"),
                "{text}"
            );
        }
        assert_eq!(
            StoreUrl::parse("sqlite:b.db").unwrap().path().unwrap(),
            Path::new("b.db")
        );
        assert_eq!(
            StoreUrl::parse("sqlite://b.db"),
            Err(StoreUrlError::HasHost)
        );
        assert_eq!(StoreUrl::parse("sqlite:"), Err(StoreUrlError::Empty));
    }

    #[test]
    fn an_error_repeats_no_password() {
        for text in [
            "postgres://me:hunter2@db:x/y",
            "mysql://me:hunter2@db/x",
            "hunter2 is the password",
            "hunter2:x@y//",
        ] {
            let error = StoreUrl::parse(text).unwrap_err().to_string();
            assert!(
                !error.contains("hunter2 is") && !error.contains("@"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_relative_path_is_taken_from_where_the_file_stands() {
        let url = StoreUrl::parse("sqlite:data/calls.db").unwrap();
        assert_eq!(
            url.resolve_against(Path::new("/srv")).path(),
            Some(Path::new("/srv/data/calls.db"))
        );
    }
}
