//! One `run`: its proxy, what the child is given to find it, and what is known at the end.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter::RunMarks;
use callmeter_core::EnvVar;
use callmeter_proxy::{CallObserver, EndedCall, ProxyConfig, Route};

use super::address::Address;
use super::child::Ended;
use super::codex::{self, Codex};
use super::dotenv;
use super::summary::Summary;
use super::variable;
use super::variables::{self, Plan, Situation};
use crate::args::RunArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::traffic::meter::{Observer, SharedMeter};
use crate::traffic::{self, Traffic, health};

/// How long requests may take that the child left behind.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a program on this machine may take to say that it is a callmeter.
const WHO_ARE_YOU: Duration = Duration::from_secs(2);
/// How much of its answer is looked at, in bytes.
const LONGEST_ANSWER: u64 = 4_096;
const LONGEST_CALLER: usize = 64;

/// A `run` at work.
pub(super) struct Session {
    began: Instant,
    name: String,
    command: Vec<OsString>,
    traffic: Traffic,
    meter: SharedMeter,
    book: String,
    plan: Plan,
    marks: Option<Arc<RunMarks>>,
    left_alone: Vec<String>,
    leads_nowhere: Vec<&'static str>,
    is_forward_proxy: bool,
}

impl Session {
    /// Starts a proxy for a command. `gone` is where one was that is no more: what leads there counts as not set.
    ///
    /// # Errors
    /// When there can be none: then nothing was changed.
    pub(super) fn start(
        context: &Context,
        args: &RunArgs,
        gone: Option<&str>,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let name = name_of(&args.command);
        let is_forward_proxy = args.http_proxy || context.settings.proxy.http_proxy;
        let leads_nowhere =
            gone.map_or_else(Vec::new, |gone| variables::leading_to(gone, &variable));
        let in_files = std::env::current_dir()
            .map_or_else(|_| Default::default(), |here| dotenv::names(&here));
        let plan = Situation {
            get: &|name| variable(name).filter(|_| !leads_nowhere.contains(&name)),
            in_file: &|name| in_files.contains(name),
            is_own: &is_callmeter,
            listens_at_ollama_host: is_ollama_server(&args.command),
            is_forward_proxy,
        }
        .plan();
        let config = config_of(context, args, &name, &plan, is_forward_proxy)?;
        let (meter, book) = traffic::meter_of(&context.settings)?;
        let marks = RunMarks::make(&context.home).ok().map(Arc::new);
        let observer = Watcher {
            meter: Observer(SharedMeter::clone(&meter)),
            marks: marks.clone(),
            routes: plan.routes.clone(),
        };
        let recorder = traffic::recorder_of(&context.settings);
        let traffic = Traffic::start(config, recorder, observer, health::Admin)?;
        let mut session = Self {
            began,
            name,
            command: args.command.clone(),
            traffic,
            meter,
            book,
            plan,
            marks,
            left_alone: Vec::new(),
            leads_nowhere,
            is_forward_proxy,
        };
        session.lead_codex();
        Ok(session)
    }

    /// The command, with the flags that it needs.
    pub(super) fn command(&self) -> &[OsString] {
        &self.command
    }

    /// The variables that the child is given beside ours; those without a value are taken away.
    pub(super) fn variables(&self) -> BTreeMap<&'static str, Option<OsString>> {
        let base = self.base();
        let mut variables: BTreeMap<_, _> = self
            .leads_nowhere
            .iter()
            .map(|name| (*name, None))
            .collect();
        let led = self.plan.variables(&base).into_iter();
        variables.extend(led.map(|(name, value)| (name, Some(value.into()))));
        variables.insert(EnvVar::RunUrl.name(), Some(base.into()));
        let marks = self.marks.as_ref().map(|marks| marks.path().into());
        variables.insert(EnvVar::Run.name(), marks);
        variables
    }

    fn base(&self) -> String {
        format!("http://{}", self.traffic.address())
    }

    fn lead_codex(&mut self) {
        let home = variable("CODEX_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(Path::new(&variable("HOME")?).join(".codex")));
        let openai = format!("{}/u/openai/v1", self.base());
        match codex::look(&self.command, home.as_deref(), &openai) {
            Codex::Not => {}
            Codex::Left(why) => self.left_alone.push(format!("codex: {why}")),
            Codex::Flags(flags) => {
                self.command.splice(1..1, flags);
            }
        }
    }

    /// Ends the proxy and sums up.
    pub(super) fn end(self, ended: Ended, flush: Duration) -> Summary {
        let took = self.began.elapsed();
        let tally = self.traffic.tally();
        let is_off = self
            .traffic
            .recorder()
            .and_then(|recorder| recorder.upgrade())
            .is_some_and(|recorder| !recorder.is_enabled());
        let stopped = self.traffic.drain().stop(flush);
        let figures = tally.figures();
        let seen = self.meter.seen();
        let is_empty = seen.sums.is_empty();
        let mut left_alone = self.left_alone;
        let news = self
            .plan
            .left
            .iter()
            .filter(|(_, left)| is_empty || left.is_news());
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, left) in news {
            by_reason.entry(left.as_words()).or_default().push(name);
        }
        left_alone.extend(
            by_reason
                .iter()
                .map(|(why, names)| format!("{}: {why}", names.join(", "))),
        );
        let not_stored = match stopped.is_stored {
            _ if is_empty => None,
            Some(_) if is_off => Some("recording is off, see `callmeter on`"),
            Some(true) => None,
            Some(false) => Some("the store has not answered yet; the calls wait in the spool"),
            None => Some("recording could not be started, see `callmeter doctor`"),
        };
        Summary {
            command: self.name,
            ended,
            took,
            hints: hints(
                is_empty,
                self.is_forward_proxy,
                !figures.unread_hosts.is_empty(),
            ),
            seen,
            book: self.book,
            unread_hosts: figures.unread_hosts,
            left_alone,
            not_stored,
        }
    }
}

/// What to try where nothing was recorded.
fn hints(is_empty: bool, is_forward_proxy: bool, has_unread: bool) -> Vec<String> {
    let hint = match (is_empty, is_forward_proxy, has_unread) {
        (false, _, _) | (true, _, true) => return Vec::new(),
        (true, false, false) => {
            "if it called a model, its client reads none of the variables: docs/guides/run.md has the line of code that \
             each needs; `callmeter run --http-proxy` counts the hosts that it connects to"
        }
        (true, true, false) => {
            "if it called a model, its client reads neither the variables nor HTTPS_PROXY: docs/guides/run.md has the line \
             of code that each needs"
        }
    };
    vec![hint.to_owned()]
}

fn config_of(
    context: &Context,
    args: &RunArgs,
    name: &str,
    plan: &Plan,
    is_forward_proxy: bool,
) -> anyhow::Result<ProxyConfig> {
    let mut config = traffic::of_settings(&context.settings)?;
    config.listen = ([127, 0, 0, 1], 0).into();
    config.is_forward_proxy = is_forward_proxy;
    config.timeouts.drain = DRAIN;
    config.ca_file = config.ca_file.or_else(|| own_authorities(&variable));
    let caller = args.caller.as_deref().map(str::trim);
    let caller = caller.filter(|caller| !caller.is_empty()).unwrap_or(name);
    config.default_caller = callmeter_core::clean_text(caller, LONGEST_CALLER)
        .0
        .into_owned();
    for (route, upstream) in &plan.upstreams {
        // What the address is told of; it came from the user's own variable.
        let url = upstream.origin.parse().map_err(|error| {
            Failure::new(format!("its address cannot be used: {error}"))
                .in_place(route.to_ascii_uppercase())
        })?;
        config
            .routes
            .insert(route.clone(), Route::to(url).of_provider(upstream.provider));
    }
    Ok(config)
}

/// Variables by which clients trust more certificates than the system's; `SSL_CERT_FILE` the proxy reads itself.
const AUTHORITIES: [&str; 3] = [
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
];

/// The file of certificates by which the child's clients trust their provider: what connects in their place must as
/// well, or a gateway of a company would not be reached any more.
fn own_authorities(get: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let files = AUTHORITIES
        .iter()
        .filter_map(|name| get(name).map(PathBuf::from));
    files.into_iter().find(|path| path.is_file())
}

/// Sums calls up, and marks which providers of the child's variables were served.
struct Watcher {
    meter: Observer,
    marks: Option<Arc<RunMarks>>,
    routes: BTreeMap<String, &'static str>,
}

impl CallObserver for Watcher {
    fn answered(&self, route: &str, provider: &str) {
        // Before the child knows of the answer: its guard ends later.
        if let (Some(marks), Some(of_variable)) = (&self.marks, self.routes.get(route)) {
            marks.mark(of_variable);
            marks.mark(provider);
        }
    }

    fn ended(&self, call: &EndedCall<'_>) {
        self.meter.ended(call);
    }
}

/// The name of a command, without its directory: never its arguments, which may hold a prompt.
pub(super) fn name_of(command: &[OsString]) -> String {
    let program = command.first().map(Path::new);
    let name = program
        .and_then(Path::file_name)
        .unwrap_or(OsStr::new("command"));
    let name = name.to_string_lossy();
    callmeter_core::clean_text(&name, LONGEST_CALLER)
        .0
        .into_owned()
}

/// Whether a command is an Ollama server: it listens where its clients would call.
fn is_ollama_server(command: &[OsString]) -> bool {
    name_of(command) == "ollama"
        && command
            .get(1)
            .is_some_and(|arg| arg == "serve" || arg == "start")
}

/// Whether a proxy of ours is at work at a URL.
pub(super) fn is_at_work(url: &str) -> bool {
    Address::of_url(url).is_some_and(|address| is_callmeter(&address))
}

/// Whether a program at an address of this machine says that it is a callmeter.
fn is_callmeter(address: &Address) -> bool {
    let Some(place) = address.on_loopback() else {
        return false;
    };
    let asked = || -> std::io::Result<TcpStream> {
        let found = place.to_socket_addrs()?.next();
        let found = found.ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&found, WHO_ARE_YOU)?;
        stream.set_read_timeout(Some(WHO_ARE_YOU))?;
        stream.set_write_timeout(Some(WHO_ARE_YOU))?;
        let path = health::PATH;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n\r\n"
        )?;
        Ok(stream)
    };
    asked().is_ok_and(says_callmeter)
}

/// Whether an answer is that of a callmeter; one of another status is not waited for to its end.
fn says_callmeter(answer: impl std::io::Read) -> bool {
    let mut answer = answer.take(LONGEST_ANSWER);
    let (mut seen, mut piece) = (Vec::new(), [0; 1_024]);
    while let Ok(length @ 1..) = answer.read(&mut piece) {
        seen.extend_from_slice(piece.get(..length).unwrap_or_default());
        let text = String::from_utf8_lossy(&seen);
        if text.contains(health::SIGN) {
            return true;
        }
        let status = text.split(' ').nth(1).filter(|status| status.len() == 3);
        if status.is_some_and(|status| status != "200") {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_clients_trust_are_trusted_by_the_proxy() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("company.pem");
        std::fs::write(&file, "").unwrap();
        let of = |variables: &[(&str, &Path)]| {
            own_authorities(&|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, path)| path.display().to_string())
            })
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("NODE_EXTRA_CA_CERTS", &file)]), Some(file.clone()));
        // A directory of certificates, as some clients take, is no file.
        let variables = [
            ("REQUESTS_CA_BUNDLE", directory.path()),
            ("CURL_CA_BUNDLE", &file),
        ];
        assert_eq!(of(&variables), Some(file.clone()));
    }

    #[test]
    fn only_a_callmeter_s_own_answer_counts_as_one() {
        let body = health::answer().body;
        let whole = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert!(says_callmeter(whole.as_bytes()));
        // Read no further than its status: the rest would be the sign.
        assert!(!says_callmeter(
            format!(
                "HTTP/1.1 404 Not Found\r\n\r\n{}",
                " ".repeat(2_000) + &body
            )
            .as_bytes()
        ));
        assert!(!says_callmeter(
            &b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}"[..]
        ));
        assert!(!says_callmeter(&b""[..]));
        assert!(!says_callmeter(
            [&[0xff; 9_000][..], body.as_bytes()].concat().as_slice()
        ));
    }

    #[test]
    fn a_command_is_named_without_its_directory_and_its_arguments() {
        let command = ["/usr/bin/python3.12", "-c", "secret"].map(OsString::from);
        assert_eq!(name_of(&command), "python3.12");
        assert_eq!(name_of(&[]), "command");
        let serve = |words: &[&str]| {
            is_ollama_server(&words.iter().map(OsString::from).collect::<Vec<_>>())
        };
        assert!(serve(&["/usr/local/bin/ollama", "serve"]));
        assert!(!serve(&["ollama", "run", "llama3"]) && !serve(&["ollama"]));
    }
}
