//! The address of a store on PostgreSQL, as libpq writes it: `postgres://user:password@host:port/database?sslmode=…`.
//!
//! Owns the syntax and the safe display. A password, and what follows the question mark, is never shown: not
//! by `Display`, not by `Debug`, not in an error. Understood by every build; connecting takes the feature
//! `postgres`.

use std::collections::BTreeMap;
use std::fmt;

use crate::StoreUrlError;

/// What may follow the question mark; the same names as libpq's.
const OPTIONS: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "passfile",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// An address on PostgreSQL. What it leaves open comes from `PG…` variables and `.pgpass` when a connection is
/// made.
///
/// # Examples
/// ```
/// use callmeter_store::StoreUrl;
///
/// let url = StoreUrl::parse("postgres://metrics:hunter2@db:5433/shop?sslmode=require")?;
/// assert_eq!(url.to_string(), "postgres://metrics@db:5433/shop");
/// assert!(!format!("{url:?}").contains("hunter2"));
/// # Ok::<(), callmeter_store::StoreUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PostgresUrl {
    /// Host and port, several where one of them answers; a host that begins with `/` is a socket's directory.
    pub(crate) hosts: Vec<(String, Option<u16>)>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) options: BTreeMap<String, String>,
    /// Whether it stands in a file that nobody named: what is secret in the environment is not for it.
    pub(crate) is_found: bool,
}

impl PostgresUrl {
    /// Reads what follows `postgres:` or `postgresql:`.
    pub(crate) fn parse(rest: &str) -> Result<Self, StoreUrlError> {
        let malformed = |what| StoreUrlError::Malformed { what };
        let rest = rest
            .strip_prefix("//")
            .ok_or(malformed("`//` does not follow the scheme"))?;
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, query),
            None => (rest, ""),
        };
        let (authority, path) = match place.split_once('/') {
            Some((authority, path)) => (authority, path),
            None => (place, ""),
        };
        // A password may hold an `@` that nobody encoded: the last one ends it.
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (login, hosts),
            None => ("", authority),
        };
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(decoded(password)?)),
            None => (login, None),
        };
        let mut url = Self {
            hosts: hosts_of(hosts)?,
            user: some(decoded(user)?),
            password,
            database: some(decoded(path)?),
            options: BTreeMap::new(),
            is_found: false,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or(malformed("an option behind the `?` has no value"))?;
            let name = decoded(name)?;
            let Some(known) = OPTIONS.iter().find(|known| **known == name) else {
                return Err(StoreUrlError::UnknownOption {
                    known: OPTIONS.join(", "),
                });
            };
            url.options.insert((*known).to_owned(), decoded(value)?);
        }
        url.take_options()?;
        Ok(url)
    }

    /// The parts that may stand in the query as well.
    fn take_options(&mut self) -> Result<(), StoreUrlError> {
        if let Some(user) = self.options.remove("user") {
            self.user = some(user);
        }
        if let Some(password) = self.options.remove("password") {
            self.password = Some(password);
        }
        if let Some(database) = self.options.remove("dbname") {
            self.database = some(database);
        }
        let ports = self.options.remove("port");
        if let Some(hosts) = self.options.remove("host") {
            self.hosts = hosts
                .split(',')
                .map(|host| (host.to_owned(), None))
                .collect();
        }
        if let Some(ports) = ports {
            let ports = ports
                .split(',')
                .map(port_of)
                .collect::<Result<Vec<_>, _>>()?;
            if self.hosts.is_empty() {
                self.hosts.push((String::new(), None));
            }
            let last = ports.last().copied().flatten();
            for (at, (_, port)) in self.hosts.iter_mut().enumerate() {
                *port = ports.get(at).copied().unwrap_or(last);
            }
        }
        Ok(())
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", encoded(user))?;
        }
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            if host.contains(':') {
                write!(f, "[{host}]")?;
            } else {
                f.write_str(&encoded(host))?;
            }
            if let Some(port) = port {
                write!(f, ":{port}")?;
            }
        }
        match &self.database {
            Some(database) => write!(f, "/{}", encoded(database)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn hosts_of(text: &str) -> Result<Vec<(String, Option<u16>)>, StoreUrlError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|host| {
            let (name, port) = match host.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
                Some((v6, port)) => (v6, port.strip_prefix(':').unwrap_or("")),
                None => host.split_once(':').unwrap_or((host, "")),
            };
            Ok((decoded(name)?, port_of(port)?))
        })
        .collect()
}

fn port_of(text: &str) -> Result<Option<u16>, StoreUrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| StoreUrlError::Malformed {
            what: "the port is no number up to 65535",
        })
}

/// Percent-decodes.
fn decoded(text: &str) -> Result<String, StoreUrlError> {
    let malformed = StoreUrlError::Malformed {
        what: "a `%` is not followed by two hexadecimal digits of UTF-8 text",
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits =
            [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap_or(b'x')).to_digit(16));
        let [Some(high), Some(low)] = digits else {
            return Err(malformed);
        };
        bytes.push(u8::try_from(high.saturating_mul(16).saturating_add(low)).unwrap_or(0));
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or(malformed)
}

/// Percent-encodes what would be read otherwise, control characters included.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~') {
            out.push(c);
        } else {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(rest: &str) -> PostgresUrl {
        PostgresUrl::parse(rest).unwrap()
    }

    #[test]
    fn every_part_is_read_and_only_what_is_no_secret_is_shown() {
        let read =
            url("//me%40corp:p%3Aw@d@db.example:5433/calls%20db?sslmode=require&connect_timeout=3");
        assert_eq!(read.user.as_deref(), Some("me@corp"));
        assert_eq!(read.password.as_deref(), Some("p:w@d"));
        assert_eq!(read.hosts, [("db.example".to_owned(), Some(5433))]);
        assert_eq!(read.database.as_deref(), Some("calls db"));
        assert_eq!(read.options["sslmode"], "require");
        assert_eq!(
            read.to_string(),
            "postgres://me%40corp@db.example:5433/calls%20db"
        );
        assert_eq!(format!("{read:?}"), format!("PostgresUrl({read})"));
    }

    #[test]
    fn sockets_several_hosts_and_addresses_of_ip_6_are_read() {
        assert_eq!(
            url("//%2Frun%2Fpostgresql/calls").hosts,
            [("/run/postgresql".to_owned(), None)]
        );
        assert_eq!(
            url("///calls?host=/run/pg&port=5555").hosts,
            [("/run/pg".to_owned(), Some(5555))]
        );
        let two = url("//a:1,b/calls");
        assert_eq!(
            two.hosts,
            [("a".to_owned(), Some(1)), ("b".to_owned(), None)]
        );
        assert_eq!(url("//[::1]:9/x").hosts, [("::1".to_owned(), Some(9))]);
        assert_eq!(url("//").to_string(), "postgres://");
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in [
            "//u@h:1/d",
            "//%2Frun%2Fpg/d",
            "//u%40x@[::1]:7/d",
            "//a:1,b:2/d",
        ] {
            let once = url(text);
            let again = url(once.to_string().strip_prefix("postgres:").unwrap());
            assert_eq!(again, once);
        }
    }

    #[test]
    fn an_error_repeats_nothing_of_the_address() {
        for text in [
            "me:hunter2@db/x",
            "//me:hunter2@db:port/x",
            "//me:hunter2%zz@db/x",
            "//me:hunter2@db/x?hunter2=hunter2",
            "//me:hunter2@db/x?hunter2",
        ] {
            let error = PostgresUrl::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
