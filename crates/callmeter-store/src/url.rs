//! Where a store is, as settings name it.
//!
//! Owns the syntax of `store.url` and its safe display: what is shown never carries a password, and an
//! error about a URL repeats nothing of it but the scheme. Opening the store is left to its module.

use std::fmt;
use std::path::{Path, PathBuf};

/// The address of a store.
///
/// # Examples
/// ```
/// use callmeter_store::StoreUrl;
///
/// let url = StoreUrl::parse("sqlite:///var/lib/shop/calls.db")?;
/// assert_eq!(url.path().to_str(), Some("/var/lib/shop/calls.db"));
/// assert_eq!(url.to_string(), "sqlite:/var/lib/shop/calls.db");
/// assert!(StoreUrl::parse("mysql://u:secret@db/shop").is_err_and(|e| !e.to_string().contains("secret")));
/// # Ok::<(), callmeter_store::StoreUrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreUrl {
    path: PathBuf,
}

/// A text is no address of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreUrlError {
    /// It names no scheme and is no path.
    #[error("the store's address is empty; write sqlite:PATH")]
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
}

impl StoreUrl {
    /// The store in a SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads `sqlite:PATH`, `sqlite:///PATH`, or a bare path that says it is one (`/…`, `./…`, `../…`, `~`
    /// is not expanded).
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

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same store; a relative path is taken from `directory`.
    #[must_use]
    pub fn resolve_against(&self, directory: &Path) -> Self {
        Self {
            path: directory.join(&self.path),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.path.display())
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
                StoreUrl::parse(text).unwrap().path(),
                Path::new("/a/b.db"),
                "{text}"
            );
        }
        assert_eq!(
            StoreUrl::parse("sqlite:b.db").unwrap().path(),
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
            "postgres://me:hunter2@db/x",
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
            Path::new("/srv/data/calls.db")
        );
    }
}
