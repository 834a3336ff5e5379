//! The child's environment: which variables lead to a provider, and what they are set to.
//!
//! ```text
//! OPENAI_BASE_URL unset                 ─▶ B/u/openai/v1             ─▶ the provider, or the route of the settings
//! OPENAI_BASE_URL=https://gateway/x/v1  ─▶ B/u/openai_base_url/x/v1  ─▶ https://gateway       B = http://127.0.0.1:PORT
//! ```
//! Promises: what the child reaches stays what it would have reached (CM-1). So a variable that the user had set
//! becomes an upstream, path and all; beside it the other variables of that provider stay unset, for a client that
//! reads another one first would go astray. No variable that authenticates is looked at or changed. The table is of
//! clients that were run: `docs/guides/run.md`.
//!
//! Leaves to others: starting the proxy, and what of all this is told.

use std::collections::BTreeMap;

use super::address::Address;

/// How a variable's value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A URL.
    Url,
    /// As `OLLAMA_HOST`: a URL, or a host, a port, or both.
    OllamaHost,
}

/// A variable that tells a client where a provider is.
struct Variable {
    name: &'static str,
    provider: &'static str,
    form: Form,
    /// What clients expect behind the address where it is not set.
    path: &'static str,
    /// A variable beside which this one must not be set: clients take the two for a contradiction.
    not_beside: Option<&'static str>,
}

const fn variable(name: &'static str, provider: &'static str, path: &'static str) -> Variable {
    Variable {
        name,
        provider,
        form: Form::Url,
        path,
        not_beside: None,
    }
}

const VARIABLES: &[Variable] = &[
    variable("OPENAI_BASE_URL", "openai", "/v1"),
    Variable {
        // LangChain's client of Azure refuses to start where both are set.
        not_beside: Some("AZURE_OPENAI_ENDPOINT"),
        ..variable("OPENAI_API_BASE", "openai", "/v1")
    },
    variable("ANTHROPIC_BASE_URL", "anthropic", ""),
    variable("ANTHROPIC_API_BASE", "anthropic", ""),
    variable("ANTHROPIC_API_URL", "anthropic", ""),
    variable("GOOGLE_GEMINI_BASE_URL", "gemini", ""),
    variable("GEMINI_API_BASE", "gemini", "/v1beta"),
    Variable {
        form: Form::OllamaHost,
        ..variable("OLLAMA_HOST", "ollama", "")
    },
    variable("OLLAMA_API_BASE", "ollama", ""),
    variable("GROQ_BASE_URL", "groq", ""),
    variable("CO_API_URL", "cohere", ""),
];

/// Variables by which clients find a proxy for plain HTTP.
const HTTP_PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
/// All by which clients find a forward proxy.
const FORWARD: [&str; 4] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];
const LOOPBACK: &str = "127.0.0.1";

/// What the child is given, and what the proxy must know for it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Variables that lead through the proxy.
    led: BTreeMap<&'static str, Led>,
    /// Other variables and their values.
    plain: BTreeMap<&'static str, String>,
    is_forward_proxy: bool,
    /// Routes to what the user's own variables named: the route, and the address without its path.
    pub(super) upstreams: BTreeMap<String, Upstream>,
    /// Routes that lead the child to a provider.
    pub(super) routes: BTreeMap<String, &'static str>,
    /// Variables that were left as they are, and why.
    pub(super) left: Vec<(&'static str, Left)>,
}

/// Where a variable leads behind the proxy's address. It may hold a password.
struct Led {
    user: Option<String>,
    route: String,
    path: String,
}

impl std::fmt::Debug for Led {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Led")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

/// Where a variable of the user's leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    pub(super) origin: String,
    pub(super) provider: &'static str,
}

/// Why a variable was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It leads to a callmeter, which records what comes there.
    OwnProxy,
    /// Its value is no address.
    Unreadable,
    /// It is not set, and another of its provider is.
    Other,
    /// It is not set, and one of its provider stands in a `.env` file, which the program may read.
    InFile,
    /// Clients take it for a contradiction to another.
    Contradiction,
    /// The command listens where it says.
    Listens,
}

impl Left {
    /// In words, behind the variable's name.
    pub(super) const fn as_words(self) -> &'static str {
        match self {
            Self::OwnProxy => "leads to a callmeter, which records what comes there",
            Self::Unreadable => "no address of http or https",
            Self::Other => "not set, because another variable of its provider is yours",
            Self::InFile => {
                "not set, because it or another of its provider stands in a .env file, which the program may read; export \
                 it, and it is led through callmeter"
            }
            Self::Contradiction => {
                "not set, because clients take it for a contradiction to AZURE_OPENAI_ENDPOINT"
            }
            Self::Listens => "says where the command listens",
        }
    }

    /// Whether a user should know although calls were recorded.
    pub(super) const fn is_news(self) -> bool {
        matches!(self, Self::OwnProxy | Self::Unreadable | Self::InFile)
    }
}

impl Plan {
    /// The child's variables, once it is known where the proxy listens: `http://127.0.0.1:PORT`.
    pub(super) fn variables(&self, base: &str) -> BTreeMap<&'static str, String> {
        let mut variables = self.plain.clone();
        for (name, Led { user, route, path }) in &self.led {
            let base = match (user, base.split_once("://")) {
                // What a client makes of a user in an address is authentication, and passes.
                (Some(user), Some((scheme, rest))) => format!("{scheme}://{user}@{rest}"),
                _ => base.to_owned(),
            };
            variables.insert(name, format!("{base}/u/{route}{path}"));
        }
        if self.is_forward_proxy {
            variables.extend(FORWARD.map(|name| (name, base.to_owned())));
        }
        variables
    }
}

/// What is known when the child's environment is made.
pub(super) struct Situation<'a> {
    /// A variable of the user's.
    pub(super) get: &'a dyn Fn(&str) -> Option<String>,
    /// Whether a variable stands in a file that the command may read by itself.
    pub(super) in_file: &'a dyn Fn(&str) -> bool,
    /// Whether an address is that of a callmeter.
    pub(super) is_own: &'a dyn Fn(&Address) -> bool,
    /// Whether the command is an Ollama server, which listens at `OLLAMA_HOST`.
    pub(super) listens_at_ollama_host: bool,
    /// Whether the proxy is a forward proxy as well.
    pub(super) is_forward_proxy: bool,
}

impl Situation<'_> {
    fn value(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.trim().is_empty())
    }

    /// Works the child's environment out.
    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan {
            is_forward_proxy: self.is_forward_proxy,
            ..Plan::default()
        };
        for variable in VARIABLES {
            if let Err(left) = self.lead(variable, &mut plan) {
                plan.left.push((variable.name, left));
            }
        }
        self.reach_loopback_directly(&mut plan);
        plan
    }

    fn lead(&self, variable: &Variable, plan: &mut Plan) -> Result<(), Left> {
        if variable.form == Form::OllamaHost && self.listens_at_ollama_host {
            return Err(Left::Listens);
        }
        let led = match self.value(variable.name) {
            Some(value) => self.to_the_user_s(variable, &value, plan)?,
            None => self.to_the_provider(variable)?,
        };
        plan.routes.insert(led.route.clone(), variable.provider);
        plan.led.insert(variable.name, led);
        Ok(())
    }

    /// A variable that the user had set: it leads to the same upstream, by a route of its own.
    fn to_the_user_s(
        &self,
        variable: &Variable,
        value: &str,
        plan: &mut Plan,
    ) -> Result<Led, Left> {
        let address = match variable.form {
            Form::Url => Address::of_url(value),
            Form::OllamaHost => Address::of_ollama_host(value),
        };
        let address = address.ok_or(Left::Unreadable)?;
        if (self.is_own)(&address) {
            return Err(Left::OwnProxy);
        }
        let route = variable.name.to_ascii_lowercase();
        let upstream = Upstream {
            origin: address.origin(),
            provider: variable.provider,
        };
        plan.upstreams.insert(route.clone(), upstream);
        Ok(Led {
            user: address.user().map(str::to_owned),
            route,
            path: address.path,
        })
    }

    /// A variable that is not set: it leads where clients go by themselves.
    fn to_the_provider(&self, variable: &Variable) -> Result<Led, Left> {
        if variable
            .not_beside
            .is_some_and(|other| self.value(other).is_some())
        {
            return Err(Left::Contradiction);
        }
        let siblings = || {
            VARIABLES
                .iter()
                .filter(|other| other.provider == variable.provider)
        };
        if siblings().any(|other| self.value(other.name).is_some()) {
            return Err(Left::Other);
        }
        if siblings().any(|other| (self.in_file)(other.name)) {
            return Err(Left::InFile);
        }
        Ok(Led {
            user: None,
            route: variable.provider.to_owned(),
            path: variable.path.to_owned(),
        })
    }

    /// Keeps clients from asking another proxy for ours. Where we are that proxy there is no need.
    fn reach_loopback_directly(&self, plan: &mut Plan) {
        let has_proxy = HTTP_PROXIES.iter().any(|name| self.value(name).is_some());
        if self.is_forward_proxy || !has_proxy {
            return;
        }
        for name in NO_PROXY {
            let hosts = self.value(name).unwrap_or_default();
            let mut listed = hosts.split(',').map(str::trim);
            if listed.any(|host| host == "*" || host == LOOPBACK) {
                continue;
            }
            let separator = if hosts.is_empty() { "" } else { "," };
            plan.plain
                .insert(name, format!("{hosts}{separator}{LOOPBACK}"));
        }
    }
}

/// The variables that lead to a proxy that is no more, that of a `run` which ended before what it had started.
pub(super) fn leading_to(gone: &str, get: &dyn Fn(&str) -> Option<String>) -> Vec<&'static str> {
    let names = VARIABLES.iter().map(|variable| variable.name);
    let names = names
        .chain(FORWARD)
        .filter(|name| get(name).is_some_and(|value| value.starts_with(gone)));
    names.collect()
}

/// The variables of a `run` within another: led through the outer one's proxy already, they only get a caller.
pub(super) fn with_caller(
    outer: &str,
    caller: &str,
    get: &dyn Fn(&str) -> Option<String>,
) -> BTreeMap<&'static str, String> {
    let caller = super::address::path_segment(caller);
    let led = VARIABLES.iter().filter_map(|variable| {
        let value = get(variable.name)?;
        let path = value.strip_prefix(outer)?;
        // One that an outer `run` within it gave is replaced.
        let path = match path.strip_prefix("/as/").map(|path| path.split_once('/')) {
            Some(Some((_, rest))) => format!("/{rest}"),
            _ => path.to_owned(),
        };
        Some((variable.name, format!("{outer}/as/{caller}{path}")))
    });
    led.collect()
}

#[cfg(test)]
mod tests;
