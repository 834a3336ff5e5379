//! The keys of the proxy: a part of [the table](crate::settings::keys) of every setting.

use std::time::Duration;

use super::host_name;
use crate::settings::keys::{Key, path_of};
use crate::settings::value::{self, Expected};

/// No time limit is shorter: a proxy with such a one would pass nothing on.
const SHORTEST: Duration = Duration::from_millis(10);
/// No time limit is longer.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

macro_rules! timeout_key {
    ($field:ident, $default:literal, $purpose:literal) => {
        Key {
            name: concat!("proxy.timeouts.", stringify!($field)),
            purpose: $purpose,
            takes: "a duration with its unit, from 10ms to 24h",
            default: $default,
            is_secret: false,
            apply: |settings, raw, _| {
                let limit = value::duration(raw, LONGEST)?;
                if limit < SHORTEST {
                    return Err(Expected(
                        "a duration with its unit, from 10ms to 24h".to_owned(),
                    ));
                }
                settings.proxy.timeouts.$field = limit;
                Ok(())
            },
            shown: |settings| format!("{:?}", settings.proxy.timeouts.$field),
        }
    };
}

pub(in crate::settings) static KEYS: [Key; 15] = [
    Key {
        name: "proxy.listen",
        purpose: "where `callmeter serve` listens; only on this machine",
        takes: "an address of this machine and a port",
        default: "127.0.0.1:2255",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.proxy.listen = value::text(raw)?.parse().map_err(|_| {
                Expected("an address and a port, such as 127.0.0.1:2255".to_owned())
            })?;
            Ok(())
        },
        shown: |settings| settings.proxy.listen.to_string(),
    },
    Key {
        name: "proxy.ask_usage",
        purpose: "whether usage is asked for, and hidden from the client, where a client streams without asking",
        takes: "true or false",
        default: "true",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.proxy.ask_usage = value::boolean(raw)?;
            Ok(())
        },
        shown: |settings| settings.proxy.ask_usage.to_string(),
    },
    Key {
        name: "proxy.http_proxy",
        purpose: "whether `callmeter run` is a plain forward proxy as well, as with --http-proxy",
        takes: "true or false",
        default: "false",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.proxy.http_proxy = value::boolean(raw)?;
            Ok(())
        },
        shown: |settings| settings.proxy.http_proxy.to_string(),
    },
    Key {
        name: "proxy.ca_file",
        purpose: "a file of certificates (PEM) that upstreams are trusted by, besides the system's",
        takes: "the path of a file that is there",
        default: "none",
        is_secret: false,
        apply: |settings, raw, base| {
            let path = path_of(raw, base)?;
            if !path.is_file() {
                return Err(Expected("the path of a file that is there".to_owned()));
            }
            settings.proxy.ca_file = Some(path);
            Ok(())
        },
        shown: |settings| {
            let path = settings.proxy.ca_file.as_ref();
            path.map_or_else(String::new, |path| path.display().to_string())
        },
    },
    Key {
        name: "proxy.max_head_bytes",
        purpose: "the longest head of a request or a response that is passed on",
        takes: "a size of at least 4 KiB",
        default: "64KiB",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.proxy.max_head_bytes = value::size(raw, 4 << 10)?;
            Ok(())
        },
        shown: |settings| settings.proxy.max_head_bytes.to_string(),
    },
    Key {
        name: "proxy.max_body_bytes",
        purpose: "the longest body of a request that is passed on; a response has no limit",
        takes: "a size of at least 64 KiB",
        default: "1GiB",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.proxy.max_body_bytes = value::size(raw, 64 << 10)?;
            Ok(())
        },
        shown: |settings| settings.proxy.max_body_bytes.to_string(),
    },
    Key {
        name: "proxy.max_connections",
        purpose: "the most connections of clients at once; further ones wait",
        takes: "a number from 1 to 100000",
        default: "4096",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.proxy.max_connections = value::number(raw, 1, 100_000)?;
            Ok(())
        },
        shown: |settings| settings.proxy.max_connections.to_string(),
    },
    Key {
        name: "proxy.host_names",
        purpose: "names besides localhost and loopback addresses by which clients may address the proxy, such as that of a container; any other `Host` is refused, because a page in a browser may be behind it",
        takes: "a list of names without ports",
        default: "none",
        is_secret: false,
        apply: |settings, raw, _| {
            let names = value::list(raw)?;
            let names = names.iter().map(|name| host_name(name));
            settings.proxy.host_names = names.collect::<Result<_, _>>()?;
            Ok(())
        },
        shown: |settings| settings.proxy.host_names.join(", "),
    },
    Key {
        name: "proxy.default_caller",
        purpose: "who is the caller of a request to `callmeter serve` that does not say; under `callmeter run` it is the command",
        takes: "a name of at most 64 characters",
        default: "proxy",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.proxy.default_caller = value::name(raw)?;
            Ok(())
        },
        shown: |settings| settings.proxy.default_caller.clone(),
    },
    timeout_key!(
        connect,
        "15s",
        "how long a connection to an upstream may take to stand, TLS included; then the next upstream is tried"
    ),
    timeout_key!(
        request_head,
        "15s",
        "how long a request's head may take, from its first byte to its last"
    ),
    timeout_key!(
        request_body,
        "60s",
        "how long a pause within a request's body may last; there is no limit on how long an answer takes"
    ),
    timeout_key!(
        idle_client,
        "15m",
        "how long a client's connection may be without a request"
    ),
    timeout_key!(
        idle_upstream,
        "60s",
        "how long an upstream's connection is kept without a request"
    ),
    timeout_key!(
        drain,
        "25s",
        "how long requests in flight may take to end once `callmeter serve` is told to stop, as with --drain"
    ),
];
