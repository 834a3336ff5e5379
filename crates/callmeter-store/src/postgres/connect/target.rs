//! Whom to connect to and how: what the address leaves open comes from `PG…` variables, `.pgpass` and libpq's
//! defaults.
//!
//! Where a host is not this machine, TLS with a verified certificate and name (`verify-full`) is the default;
//! on this machine `prefer`. A mode that the address or `PGSSLMODE` names is taken as it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callmeter_core::SinkErrorKind;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::pgpass::{self, Login};
use super::tls::{self, Tls, Verification};
use crate::{PostgresUrl, ServerError};

const DEFAULT_PORT: u16 = 5432;
/// The first of these that exists is where a server on this machine listens.
const SOCKETS: &[&str] = &["/var/run/postgresql", "/tmp"];

/// The environment, as far as libpq looks at it.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A server, ready to be connected to. Carries a password: it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Target {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// For errors.
    pub(super) shown: String,
    pub(super) connect_limit: Duration,
}

impl Target {
    /// Works a target out.
    pub(crate) fn of(url: &PostgresUrl, env: Environment<'_>) -> Result<Self, ServerError> {
        let given = |option: &str, variable: &str| {
            let in_url = url.options.get(option).cloned();
            in_url
                .or_else(|| env(variable))
                .filter(|text| !text.is_empty())
        };
        let hosts = hosts_of(url, env)?;
        let user = url
            .user
            .clone()
            .or_else(|| env("PGUSER"))
            .or_else(|| env("USER"))
            .or_else(|| env("LOGNAME"))
            .unwrap_or_else(|| "postgres".to_owned());
        let database = url
            .database
            .clone()
            .or_else(|| env("PGDATABASE"))
            .unwrap_or_else(|| user.clone());
        let connect_limit = match given("connect_timeout", "PGCONNECT_TIMEOUT") {
            None => 10,
            Some(text) => text
                .parse::<u64>()
                .map_err(|_| wrong("connect_timeout is no number of seconds"))?
                .clamp(1, 600),
        };
        let connect_limit = Duration::from_secs(connect_limit);

        let mut config = Config::new();
        config
            .user(&user)
            .dbname(&database)
            .application_name(
                given("application_name", "PGAPPNAME").unwrap_or_else(|| "callmeter".to_owned()),
            )
            .connect_timeout(connect_limit)
            .tcp_user_timeout(Duration::from_secs(60))
            .keepalives_idle(Duration::from_secs(60));
        for (host, port) in &hosts {
            config.host(host).port(*port);
        }
        let attributes = given("target_session_attrs", "PGTARGETSESSIONATTRS");
        config.target_session_attrs(match attributes.as_deref() {
            Some("any") => TargetSessionAttrs::Any,
            Some("read-write" | "primary") => TargetSessionAttrs::ReadWrite,
            Some("read-only" | "standby") => TargetSessionAttrs::ReadOnly,
            Some(_) => {
                return Err(wrong(
                    "target_session_attrs is any, read-write or read-only",
                ));
            }
            None if hosts.len() > 1 => TargetSessionAttrs::ReadWrite,
            None => TargetSessionAttrs::Any,
        });
        if given("channel_binding", "PGCHANNELBINDING").as_deref() == Some("require") {
            return Err(wrong("channel_binding=require is not supported"));
        }

        let is_local = hosts.iter().all(|(host, _)| is_this_machine(host));
        let mode = given("sslmode", "PGSSLMODE");
        let root = given("sslrootcert", "PGSSLROOTCERT")
            .map(PathBuf::from)
            .or_else(|| home_file(env, ".postgresql/root.crt").filter(|file| file.exists()));
        let (ssl_mode, verification) = match mode.as_deref() {
            None if is_local => (SslMode::Prefer, Verification::None),
            None => (SslMode::Require, Verification::Full),
            Some("disable") => (SslMode::Disable, Verification::None),
            Some("allow" | "prefer") => (SslMode::Prefer, Verification::None),
            // As libpq: with the authority at hand, `require` verifies it.
            Some("require") if root.is_some() => (SslMode::Require, Verification::Authority),
            Some("require") => (SslMode::Require, Verification::None),
            Some("verify-ca") => (SslMode::Require, Verification::Authority),
            Some("verify-full") => (SslMode::Require, Verification::Full),
            Some(_) => {
                return Err(wrong(
                    "sslmode is disable, allow, prefer, require, verify-ca or verify-full",
                ));
            }
        };

        // A stranger's file names no host that the environment's secrets are for.
        let is_secret_for = |host: &str| {
            !url.is_found
                || (is_this_machine(host) || ssl_mode == SslMode::Require)
                    && env("PGHOST").is_some_and(|named| named.split(',').any(|it| it == host))
        };
        let password = url.password.clone().or_else(|| {
            let hosts_may = hosts.iter().all(|(host, _)| is_secret_for(host));
            env("PGPASSWORD").filter(|_| hosts_may)
        });
        let password = password.or_else(|| {
            let file = given("passfile", "PGPASSFILE").map(PathBuf::from);
            let file = file.or_else(|| home_file(env, ".pgpass"))?;
            hosts.iter().find_map(|(host, port)| {
                let login = Login {
                    host: if host.starts_with('/') {
                        "localhost"
                    } else {
                        host
                    },
                    port: *port,
                    database: &database,
                    user: &user,
                    by_name: !is_secret_for(host),
                };
                pgpass::password(&file, login)
            })
        });
        if let Some(password) = password {
            config.password(password);
        }
        config.ssl_mode(ssl_mode);
        let tls = Tls::new(&tls::Plan {
            verification,
            root,
            certificate: given("sslcert", "PGSSLCERT").map(PathBuf::from),
            key: given("sslkey", "PGSSLKEY").map(PathBuf::from),
            is_off: ssl_mode == SslMode::Disable,
        })?;
        Ok(Self {
            config,
            tls,
            shown: url.to_string(),
            connect_limit,
        })
    }
}

pub(super) fn wrong(what: &str) -> ServerError {
    ServerError::new(SinkErrorKind::Fatal, format!("postgres: {what}"))
        .with_hint("check store.url and the PG… variables")
}

fn hosts_of(url: &PostgresUrl, env: Environment<'_>) -> Result<Vec<(String, u16)>, ServerError> {
    let port_text = env("PGPORT").unwrap_or_default();
    let mut ports = Vec::new();
    for port in port_text.split(',').filter(|port| !port.is_empty()) {
        ports.push(
            port.parse::<u16>()
                .map_err(|_| wrong("PGPORT is no number up to 65535"))?,
        );
    }
    let port_at = |at: usize| {
        let port = ports.get(at).or(ports.last()).copied();
        port.unwrap_or(DEFAULT_PORT)
    };
    let default_host = || {
        let socket = SOCKETS.iter().find(|place| Path::new(place).is_dir());
        socket.map_or_else(|| "localhost".to_owned(), |place| (*place).to_owned())
    };
    let named = match url.hosts.as_slice() {
        [] => env("PGHOST").map_or_else(
            || vec![(String::new(), None)],
            |hosts| {
                hosts
                    .split(',')
                    .map(|host| (host.to_owned(), None))
                    .collect()
            },
        ),
        hosts => hosts.to_vec(),
    };
    Ok(named
        .into_iter()
        .enumerate()
        .map(|(at, (host, port))| {
            let host = if host.is_empty() {
                default_host()
            } else {
                host
            };
            (host, port.unwrap_or_else(|| port_at(at)))
        })
        .collect())
}

fn is_this_machine(host: &str) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn home_file(env: Environment<'_>, name: &str) -> Option<PathBuf> {
    Some(Path::new(&env("HOME")?).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreUrl;
    use tokio_postgres::config::Host;

    fn target(url: &str, env: &[(&str, &str)]) -> Result<Target, ServerError> {
        let url = StoreUrl::parse(url).unwrap();
        let look_up = |name: &str| {
            env.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Target::of(url.postgres().unwrap(), &look_up)
    }

    #[test]
    fn the_address_comes_before_the_variables_and_these_before_the_defaults() {
        let env = [
            ("PGHOST", "from-env"),
            ("PGPORT", "6000"),
            ("PGUSER", "env-user"),
            ("PGDATABASE", "env-db"),
            ("PGPASSWORD", "env-pw"),
        ];
        let config = target("postgres://", &env).unwrap().config;
        assert_eq!(config.get_hosts(), [Host::Tcp("from-env".to_owned())]);
        assert_eq!(config.get_ports(), [6000]);
        assert_eq!(config.get_user(), Some("env-user"));
        assert_eq!(config.get_dbname(), Some("env-db"));
        assert_eq!(config.get_password(), Some(&b"env-pw"[..]));
        let config = target("postgres://me:pw@db:1/x", &env).unwrap().config;
        assert_eq!(config.get_hosts(), [Host::Tcp("db".to_owned())]);
        assert_eq!(config.get_ports(), [1]);
        assert_eq!(config.get_password(), Some(&b"pw"[..]));
        let config = target("postgres://", &[("USER", "os")]).unwrap().config;
        assert_eq!(
            (config.get_user(), config.get_dbname()),
            (Some("os"), Some("os"))
        );
    }

    #[test]
    fn a_server_elsewhere_is_verified_in_full_unless_a_mode_is_named() {
        for (url, env, mode, verification) in [
            (
                "postgres://db/x",
                &[][..],
                SslMode::Require,
                Verification::Full,
            ),
            (
                "postgres://localhost/x",
                &[],
                SslMode::Prefer,
                Verification::None,
            ),
            (
                "postgres://127.0.0.1/x",
                &[],
                SslMode::Prefer,
                Verification::None,
            ),
            (
                "postgres://%2Frun/x",
                &[],
                SslMode::Prefer,
                Verification::None,
            ),
            (
                "postgres://localhost,db/x",
                &[],
                SslMode::Require,
                Verification::Full,
            ),
            (
                "postgres://db/x?sslmode=require",
                &[],
                SslMode::Require,
                Verification::None,
            ),
            (
                "postgres://db/x",
                &[("PGSSLMODE", "verify-ca")],
                SslMode::Require,
                Verification::Authority,
            ),
            (
                "postgres://db/x?sslmode=disable",
                &[],
                SslMode::Disable,
                Verification::None,
            ),
        ] {
            let target = target(url, env).unwrap();
            assert_eq!(target.config.get_ssl_mode(), mode, "{url}");
            assert_eq!(target.tls.verification(), verification, "{url}");
        }
        assert!(target("postgres://db/x?sslmode=maybe", &[]).is_err());
    }

    #[test]
    fn a_password_file_is_looked_at_last() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".pgpass");
        std::fs::write(&file, "db:5432:x:me:from-file\n").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let home = directory.path().to_str().unwrap();
        let found = target("postgres://me@db/x", &[("HOME", home)]).unwrap();
        assert_eq!(found.config.get_password(), Some(&b"from-file"[..]));
        let other = target("postgres://you@db/x", &[("HOME", home)]).unwrap();
        assert_eq!(other.config.get_password(), None);
    }

    #[test]
    fn what_is_secret_in_the_environment_is_not_for_a_host_that_only_a_found_file_names() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".pgpass");
        std::fs::write(&file, "db:5432:x:me:for-db\n*:*:*:*:for-any\n").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let home = directory.path().to_str().unwrap();
        let password = |url: &str, env: &[(&str, &str)]| {
            let url = StoreUrl::parse(url).unwrap().of_found_file();
            let look_up = |name: &str| {
                let found = env.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let target = Target::of(url.postgres().unwrap(), &look_up).unwrap();
            let password = target.config.get_password().map(<[u8]>::to_vec);
            password.map(|password| String::from_utf8(password).unwrap())
        };
        let secret = ("PGPASSWORD", "secret");
        let evil = "postgres://x@evil.example/x";
        assert_eq!(password(evil, &[secret]), None);
        assert_eq!(password(evil, &[secret, ("PGHOST", "db")]), None);
        assert_eq!(password(evil, &[("HOME", home)]), None);
        assert_eq!(password("postgres://x@127.0.0.1:1/x", &[secret]), None);
        let own = "postgres://me@db/x";
        let named = ("PGHOST", "db");
        assert_eq!(password(own, &[secret, named]).as_deref(), Some("secret"));
        assert_eq!(password(own, &[("HOME", home)]).as_deref(), Some("for-db"));
        // In clear text to another machine not even then.
        let clear = "postgres://me@db/x?sslmode=disable";
        assert_eq!(password(clear, &[secret, named]), None);
        // What the file says itself is its own.
        let said = "postgres://x:pw@evil.example/x";
        assert_eq!(password(said, &[secret]).as_deref(), Some("pw"));
    }
}
