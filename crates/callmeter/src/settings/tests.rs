//! Settings as users write them: which source wins, and what a mistake is told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use callmeter_testkit::markers::SECRET;
use proptest::prelude::*;

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(place.path("repository/.git")).unwrap();
        std::fs::create_dir_all(place.path("repository/service")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Sources in `repository/service`, with the given variables.
    fn sources(&self, environment: &[(&str, &str)]) -> Sources {
        Sources {
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
                .collect(),
            directory: self.path("repository/service"),
            ..Sources::default()
        }
    }
}

fn origin(resolved: &Resolved, key: &str) -> String {
    let found = resolved
        .origins
        .iter()
        .find(|origin| origin.key == key)
        .unwrap();
    format!("{} from {}", found.value, found.origin)
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let place = Place::new();
    let mut sources = place.sources(&[]);
    let team = |sources: &Sources| origin(&Settings::resolve(sources).unwrap(), "scope.team");
    assert_eq!(team(&sources), " from default");
    place.write(
        "repository/service/callmeter.toml",
        "[scope]\nproject = \"shop\"\nteam = \"file\"\n",
    );
    assert_eq!(team(&sources), "file from callmeter.toml:3");
    sources
        .environment
        .insert("CALLMETER_SCOPE__TEAM".to_owned(), "variable".into());
    assert_eq!(team(&sources), "variable from CALLMETER_SCOPE__TEAM");
    sources
        .flags
        .push(("scope.team", "flag".to_owned(), "--team"));
    assert_eq!(team(&sources), "flag from flag --team");
}

#[test]
fn the_store_has_two_spellings_and_a_relative_one_begins_where_it_is_written() {
    let place = Place::new();
    for name in ["CALLMETER_STORE_URL", "CALLMETER_STORE__URL"] {
        let resolved = Settings::resolve(&place.sources(&[(name, "sqlite:calls.db")])).unwrap();
        let url = resolved.settings.store.url.unwrap();
        let path = place.path("repository/service/calls.db");
        assert_eq!(url.path(), Some(path.as_path()), "{name}");
    }
    place.write(
        "repository/callmeter.toml",
        "[store]\nurl = \"sqlite:data/calls.db\"\n",
    );
    let resolved = Settings::resolve(&place.sources(&[])).unwrap();
    assert_eq!(
        resolved.settings.store.url.unwrap().path(),
        Some(place.path("repository/data/calls.db").as_path())
    );
}

#[test]
fn a_file_is_found_up_to_the_root_of_the_repository_and_no_further() {
    let place = Place::new();
    place.write("callmeter.toml", "[scope]\nteam = \"outside\"\n");
    let resolved = Settings::resolve(&place.sources(&[])).unwrap();
    assert_eq!(resolved.settings.scope.team, None);
    place.write("repository/callmeter.toml", "[scope]\nteam = \"root\"\n");
    let resolved = Settings::resolve(&place.sources(&[])).unwrap();
    assert_eq!(resolved.settings.scope.team.as_deref(), Some("root"));
    // Without a repository only the working directory counts.
    std::fs::remove_dir(place.path("repository/.git")).unwrap();
    let resolved = Settings::resolve(&place.sources(&[])).unwrap();
    assert_eq!(resolved.settings.scope.team, None);
}

#[test]
fn the_user_s_file_is_the_last_that_is_looked_for_and_a_named_one_the_first() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("config/callmeter")).unwrap();
    place.write(
        "config/callmeter/callmeter.toml",
        "[scope]\nteam = \"user\"\n",
    );
    let config = place.path("config");
    let user = [("XDG_CONFIG_HOME", config.to_str().unwrap())];
    let team = |sources: &Sources| {
        Settings::resolve(sources)
            .unwrap()
            .settings
            .scope
            .team
            .unwrap()
    };
    assert_eq!(team(&place.sources(&user)), "user");
    place.write("repository/callmeter.toml", "[scope]\nteam = \"found\"\n");
    assert_eq!(team(&place.sources(&user)), "found");
    let named = place.write("other.toml", "[scope]\nteam = \"named\"\n");
    assert_eq!(
        team(&place.sources(&[("CALLMETER_CONFIG", named.to_str().unwrap())])),
        "named"
    );
    let mut sources = place.sources(&user);
    sources.config = Some(named);
    assert_eq!(team(&sources), "named");
}

#[test]
fn a_secret_is_read_from_a_mounted_file() {
    let place = Place::new();
    let key = place.write("key", "0123456789abcdef0123456789abcdef\n");
    let url = place.write("url", "sqlite:/srv/calls.db\n");
    let resolved = Settings::resolve(&place.sources(&[
        ("CALLMETER_HASH_KEY_FILE", key.to_str().unwrap()),
        ("CALLMETER_STORE__URL_FILE", url.to_str().unwrap()),
    ]))
    .unwrap();
    let expected = HashKey::new(b"0123456789abcdef0123456789abcdef").hash("x");
    assert_eq!(
        resolved.settings.privacy.hash_key.unwrap().hash("x"),
        expected
    );
    assert_eq!(
        resolved.settings.store.url.unwrap().to_string(),
        "sqlite:/srv/calls.db"
    );
}

/// The variable that makes a file a named one.
const NAMED: &[(&str, &str)] = &[("CALLMETER_CONFIG", "callmeter.toml")];

/// The errors of a file, a line each.
fn mistakes(text: &str) -> Vec<String> {
    let place = Place::new();
    place.write("repository/service/callmeter.toml", text);
    match Settings::resolve(&place.sources(NAMED)) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_mistake_is_told_with_its_line_and_what_to_do() {
    assert_eq!(
        mistakes(
            "[store]\nraw_days = 34\n\n[stroe]\nurl = 3\n[scope]\nbilling = \"cash\"\nproject = [1]\n"
        ),
        [
            "callmeter.toml:7: scope.billing takes one of metered, plan, self_hosted, free, unknown, not 'cash'",
            "callmeter.toml:8: scope.project takes a text, not a list of 1",
            "callmeter.toml:2: store.raw_days takes a number from 35 to 36500, not 34",
            "callmeter.toml:5: there is no setting 'stroe.url' (did you mean 'store.url'?)",
        ]
    );
    for (text, told) in [
        (
            "exit_flush = 2",
            "exit_flush takes a duration with its unit",
        ),
        ("[store]\nraw_days = -1", "a number from 35"),
        (
            "[store]\nraw_days = 99999999999999999999",
            "a number from 35",
        ),
        ("[store]\naccounting_zone = \"Berlin\"", "an IANA time zone"),
        ("[spool]\nmax_bytes = \"1 KiB\"", "at least 1048576"),
        (
            "[prices]\nbook = \"missing.toml\"",
            "the path of a book that is there",
        ),
        (
            "[registry]\ncallers = \"missing.toml\"",
            "a readable file of callers",
        ),
        ("[providers.mine]\nurl = \"x\"", "only its kind"),
        ("nonsense = true", "docs/reference/settings.md"),
        ("[scope\nteam = 1", "callmeter.toml:1: this is no TOML"),
    ] {
        let told_now = mistakes(text).join("\n");
        assert!(told_now.contains(told), "{text}: {told_now}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let place = Place::new();
    for (name, told) in [
        ("nowhere.toml", "No such file"),
        ("repository", "it is a directory"),
    ] {
        let mut sources = place.sources(&[]);
        sources.config = Some(place.path(name));
        let told_now = Settings::resolve(&sources).unwrap_err().to_string();
        assert!(
            told_now.contains(told) && told_now.contains(name),
            "{told_now}"
        );
    }
    std::fs::write(place.path("latin.toml"), b"a = 1\nb = \"\xe9\"\n").unwrap();
    let mut sources = place.sources(&[]);
    sources.config = Some(place.path("latin.toml"));
    assert!(
        Settings::resolve(&sources)
            .unwrap_err()
            .to_string()
            .contains("line 2 is not UTF-8")
    );
}

#[test]
fn an_unknown_variable_with_two_underscores_is_a_mistake_and_others_are_nobody_s_business() {
    let place = Place::new();
    let error = Settings::resolve(&place.sources(&[("CALLMETER_STORE__ULR", "x")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "CALLMETER_STORE__ULR: there is no setting 'store.ulr' (did you mean 'store.url'?)"
    );
    assert!(Settings::resolve(&place.sources(&[("CALLMETER_SOMETHING", "x")])).is_ok());
    // An empty variable is one that is not set, as in compose files.
    assert!(Settings::resolve(&place.sources(&[("CALLMETER_STORE__RAW_DAYS", "")])).is_ok());
}

#[test]
fn either_switch_turns_recording_off() {
    let place = Place::new();
    let enabled = |variables: &[(&str, &str)]| {
        Settings::resolve(&place.sources(variables))
            .unwrap()
            .settings
            .enabled
    };
    assert!(enabled(&[]));
    assert!(!enabled(&[
        ("AI_CALL_LOGGING_ENABLED", "off"),
        ("CALLMETER_ENABLED", "true")
    ]));
    assert!(!enabled(&[("CALLMETER_ENABLED", " False ")]));
    assert!(enabled(&[("CALLMETER_ENABLED", "maybe")]));
}

#[test]
fn known_callers_are_read_from_their_file_beside_the_settings() {
    let place = Place::new();
    place.write(
        "repository/callmeter.toml",
        "[registry]\ncallers = \"callers.toml\"\n",
    );
    place.write(
        "repository/callers.toml",
        "[[caller]]\nname = \"sales_copy\"\nteam = \"marketing\"\n",
    );
    let settings = Settings::resolve(&place.sources(&[])).unwrap().settings;
    assert_eq!(
        settings.registry.get("sales_copy").unwrap().team.as_deref(),
        Some("marketing")
    );
    place.write(
        "repository/callers.toml",
        "[[caller]]\nname = \"a\"\ncolour = \"red\"\n",
    );
    let told = Settings::resolve(&place.sources(&[]))
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("callers.toml:3") && told.contains("colour"),
        "{told}"
    );
}

#[test]
fn a_secret_is_in_no_error_no_debug_and_no_listing() {
    let place = Place::new();
    let url = format!("postgres://me:{SECRET}@db/shop");
    let file = place.write(
        "repository/service/callmeter.toml",
        &format!("[store]\nurl = \"{url}\"\n[x\n"),
    );
    let mut seen = Settings::resolve(&place.sources(&[]))
        .unwrap_err()
        .to_string();
    std::fs::write(&file, format!("[store]\nurl = \"{url}\"\n")).unwrap();
    let errors = Settings::resolve(&place.sources(&[("CALLMETER_HASH_KEY", SECRET)])).unwrap_err();
    seen.push_str(&format!("{errors} {errors:?}"));
    std::fs::remove_file(&file).unwrap();
    let key = format!("{SECRET}{SECRET}{SECRET}");
    let resolved = Settings::resolve(&place.sources(&[("CALLMETER_HASH_KEY", &key)])).unwrap();
    seen.push_str(&format!("{resolved:?}"));
    assert!(resolved.settings.privacy.hash_key.is_some());
    assert!(!seen.contains(SECRET), "{seen}");
}

#[test]
fn a_user_without_a_home_gets_one_in_the_temporary_directory() {
    let place = Place::new();
    let settings = Settings::resolve(&place.sources(&[])).unwrap().settings;
    assert_eq!(settings.home, None);
    assert!(settings.home().path().starts_with(std::env::temp_dir()));
    let settings = Settings::resolve(&place.sources(&[("HOME", "/home/ada")]))
        .unwrap()
        .settings;
    assert!(settings.home.unwrap().starts_with("/home/ada"));
    // A relative XDG_DATA_HOME would be another home for every working directory.
    let settings = Settings::resolve(&place.sources(&[("XDG_DATA_HOME", "data")]))
        .unwrap()
        .settings;
    assert_eq!(settings.home, None);
}

#[test]
fn the_reference_lists_every_setting_as_it_is() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/settings.md"
    );
    if std::env::var_os("CALLMETER_BLESS").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        reference(),
        "write it anew with CALLMETER_BLESS=1"
    );
}

proptest! {
    #[test]
    fn any_value_of_any_setting_is_taken_or_refused(at in 0..keys::all().count(), text: String) {
        let place = Place::new();
        let mut sources = place.sources(&[]);
        sources.flags.push((keys::all().nth(at).unwrap().name, text, "--flag"));
        let _ = Settings::resolve(&sources).map_err(|errors| errors.to_string());
    }

    #[test]
    fn any_file_is_read_or_refused(text: String) {
        let _ = mistakes(&text);
    }
}

#[test]
fn the_layout_of_the_replaced_module_brings_its_book_unless_another_is_named() {
    let place = Place::new();
    let book = |environment: &[(&str, &str)]| {
        origin(
            &Settings::resolve(&place.sources(environment)).unwrap(),
            "prices.book",
        )
    };
    let layout = ("CALLMETER_STORE__LAYOUT", "ai_calls");
    assert_eq!(book(&[]), "market from default");
    assert_eq!(book(&[layout]), "legacy from default of store.layout");
    assert_eq!(
        book(&[layout, ("CALLMETER_PRICES__BOOK", "market")]),
        "market from CALLMETER_PRICES__BOOK"
    );
    let time = ("CALLMETER_STORE__LEGACY__TIME_COLUMN", "made_at");
    let settings = Settings::resolve(&place.sources(&[layout, time]))
        .unwrap()
        .settings;
    assert_eq!(settings.store.layout, StoreLayout::AiCalls);
    assert_eq!(
        settings.store.legacy_time_column.as_deref(),
        Some("made_at")
    );
}

#[test]
fn compat_chooses_the_habits_of_the_replaced_module_together_and_each_can_be_overridden() {
    let place = Place::new();
    let server = ("CALLMETER_STORE_URL", "postgres://shop@db/shop");
    let compat = ("CALLMETER_COMPAT", "ai_call_logger");
    let resolved = Settings::resolve(&place.sources(&[server, compat])).unwrap();
    for (key, expected) in [
        ("compat", "ai_call_logger from CALLMETER_COMPAT"),
        ("store.layout", "ai_calls from default of compat"),
        ("privacy.prompt_hash", "sha256-12 from default of compat"),
        ("privacy.errors", "scrubbed from default of compat"),
        ("prices.book", "legacy from default of compat"),
        ("log.style", "ai_call_logger from default of compat"),
    ] {
        assert_eq!(origin(&resolved, key), expected, "{key}");
    }

    place.write(
        "repository/service/callmeter.toml",
        "compat = \"ai_call_logger\"\n[store]\nlayout = \"full\"\n[privacy]\nprompt_hash = \"none\"\n\
         errors = \"class\"\n[prices]\nbook = \"market\"\n[log]\nstyle = \"callmeter\"\n",
    );
    let settings = Settings::resolve(&place.sources(&[server, NAMED[0]]))
        .unwrap()
        .settings;
    assert_eq!(settings.compat, Compat::AiCallLogger);
    assert_eq!(settings.store.layout, StoreLayout::Full);
    assert_eq!(settings.privacy.prompt_hash, PromptHash::None);
    assert_eq!(settings.privacy.errors, ErrorPolicy::Class);
    assert_eq!(settings.prices.book, "market");
    assert_eq!(settings.log.style, LogStyle::Callmeter);
}

#[test]
fn compat_leaves_the_embedded_store_its_own_tables() {
    let place = Place::new();
    let resolved =
        Settings::resolve(&place.sources(&[("CALLMETER_COMPAT", "ai_call_logger")])).unwrap();
    assert_eq!(origin(&resolved, "store.layout"), "full from default");
    assert_eq!(
        origin(&resolved, "prices.book"),
        "legacy from default of compat"
    );
}

#[test]
fn what_the_host_suggests_stands_where_nothing_else_says() {
    let place = Place::new();
    let mut sources = place.sources(&[]);
    sources.suggested = vec![
        (
            "compat",
            "ai_call_logger".to_owned(),
            "import callmeter.compat",
        ),
        (
            "store.url",
            "postgres://shop@db/shop".to_owned(),
            "database.manager",
        ),
    ];
    let resolved = Settings::resolve(&sources).unwrap();
    assert_eq!(
        origin(&resolved, "compat"),
        "ai_call_logger from import callmeter.compat"
    );
    assert!(origin(&resolved, "store.url").ends_with(" from database.manager"));
    assert_eq!(
        origin(&resolved, "store.layout"),
        "ai_calls from default of compat"
    );
    sources
        .environment
        .insert("CALLMETER_COMPAT".to_owned(), "off".into());
    let resolved = Settings::resolve(&sources).unwrap();
    assert_eq!(origin(&resolved, "compat"), "off from CALLMETER_COMPAT");
    assert_eq!(origin(&resolved, "privacy.errors"), "class from default");
}

#[test]
fn a_budget_is_read_whole_and_a_mistake_in_it_is_named() {
    let place = Place::new();
    place.write(
        "repository/service/callmeter.toml",
        "[prices]\nclosed_until = \"2026-10-31\"\n\
         [budgets.shop]\nteam = \"shop\"\nperiod = \"week\"\nlimit = \"99.50\"\nthresholds = [100, 50]\nhard = true\n\
         [budgets.all]\nlimit = 250\n",
    );
    let resolved = Settings::resolve(&place.sources(&[])).unwrap();
    let settings = &resolved.settings;
    assert_eq!(settings.prices.closed_until, Some(20_757));
    assert_eq!(
        origin(&resolved, "prices.closed_until"),
        "2026-10-31 from callmeter.toml:2"
    );
    let shop = &settings.budgets["shop"];
    assert_eq!(shop.limit.to_string(), "99.5");
    assert_eq!((shop.period, shop.is_hard), (BudgetPeriod::Week, true));
    assert_eq!(shop.thresholds, [50, 100]);
    assert_eq!(shop.team.as_deref(), Some("shop"));
    let all = &settings.budgets["all"];
    assert_eq!((all.period, all.is_hard), (BudgetPeriod::Month, false));
    assert_eq!(all.thresholds, [50, 80, 100]);
    assert_eq!(
        origin(&resolved, "budgets.shop.limit"),
        "99.5 from callmeter.toml:6"
    );

    for (text, says) in [
        (
            "[budgets.a]\nteam = \"x\"",
            "callmeter.toml:2: budgets.a.limit is missing",
        ),
        (
            "[budgets.a]\nlimit = 0",
            "budgets.a.limit takes an amount in USD",
        ),
        ("[budgets.a]\nlimit = 2.5", "in quotes where it has a point"),
        (
            "[budgets.a]\nlimit = 1\nperiod = \"year\"",
            "one of day, week, month",
        ),
        (
            "[budgets.a]\nlimit = 1\nthresholds = [0]",
            "a list of percents",
        ),
        (
            "[budgets.a]\nlimit = 1\nteams = \"x\"",
            "of a budget there are limit, period",
        ),
        (
            "[budgets]\nlimit = 1",
            "there is no setting 'budgets.limit'",
        ),
        (
            "[prices]\nclosed_until = \"October\"",
            "a day such as 2026-10-31",
        ),
    ] {
        place.write("repository/service/callmeter.toml", text);
        let errors = Settings::resolve(&place.sources(&[]))
            .unwrap_err()
            .to_string();
        assert!(errors.contains(says), "{text}: {errors}");
    }
    std::fs::remove_file(place.path("repository/service/callmeter.toml")).unwrap();
    let variable = [("CALLMETER_BUDGETS__SHOP__LIMIT", "12")];
    let resolved = Settings::resolve(&place.sources(&variable)).unwrap();
    assert_eq!(resolved.settings.budgets["shop"].limit.to_string(), "12");
}

const ROUTES: &str = "[proxy]\nask_usage = false\n[proxy.routes.ollama]\nupstreams = [\n  { url = \"http://gcp-a:11434\" },\n  { url = \"http://small:11434\", model = \"llama3.2:latest\" },\n]\n";

#[test]
fn a_cloned_repository_s_file_names_no_upstream_and_the_error_says_how_to_trust_it() {
    let place = Place::new();
    let file = place.write("repository/callmeter.toml", ROUTES);
    let sources = place.sources(&[]);
    let (resolved, errors) = Settings::resolve_what_can_be(&sources);
    let shown = file.display();
    assert_eq!(
        errors.unwrap().to_string(),
        format!(
            "{shown}:4: proxy.routes.ollama.upstreams may not stand in a file that was merely found: calls, and the API \
             keys in them, would go where it says (if you trust it, name it: --config {shown}, or CALLMETER_CONFIG={shown})"
        )
    );
    assert!(resolved.settings.proxy.routes.is_empty());
    assert!(
        !resolved.settings.proxy.ask_usage,
        "what is harmless counts"
    );
    place.write("repository/ca.pem", "");
    place.write(
        "repository/callmeter.toml",
        "[proxy]\nca_file = \"ca.pem\"\n",
    );
    let told = Settings::resolve(&place.sources(&[]))
        .unwrap_err()
        .to_string();
    assert!(told.contains("proxy.ca_file may not stand"), "{told}");
    place.write(
        "repository/callmeter.toml",
        "[proxy]\nhost_names = [\"collector.example\"]\n",
    );
    let told = Settings::resolve(&place.sources(&[]))
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("proxy.host_names may not stand in a file that was merely found: pages"),
        "{told}"
    );
}

#[test]
fn names_a_caller_and_time_limits_of_the_proxy_come_from_a_named_file_and_from_variables() {
    let place = Place::new();
    let file = place.write(
        "repository/proxy.toml",
        "[proxy]\nhost_names = [\"Callmeter.internal\"]\ndefault_caller = \"shared\"\n[proxy.timeouts]\nconnect = \"2s\"\n",
    );
    let mut sources = place.sources(&[("CALLMETER_PROXY__TIMEOUTS__DRAIN", "2m")]);
    sources.config = Some(file);
    let proxy = Settings::resolve(&sources).unwrap().settings.proxy;
    assert_eq!(proxy.host_names, ["callmeter.internal"]);
    assert_eq!(proxy.default_caller, "shared");
    assert_eq!(proxy.timeouts.connect, Duration::from_secs(2));
    assert_eq!(proxy.timeouts.drain, Duration::from_secs(120));
    assert_eq!(proxy.timeouts.request_head, Duration::from_secs(15));
    let variables = [("CALLMETER_PROXY__HOST_NAMES", "a.test, b.test")];
    let proxy = Settings::resolve(&place.sources(&variables))
        .unwrap()
        .settings
        .proxy;
    assert_eq!(proxy.host_names, ["a.test", "b.test"]);
    let variables = [("CALLMETER_PROXY__HOST_NAMES", "http://a.test")];
    let told = Settings::resolve(&place.sources(&variables)).unwrap_err();
    let told = told.to_string();
    assert!(told.contains("names of hosts without scheme"), "{told}");
}

#[test]
fn a_found_file_s_server_is_marked_and_that_of_a_named_file_is_not() {
    let place = Place::new();
    let file = place.write(
        "repository/callmeter.toml",
        "[store]\nurl = \"postgres://x@evil.example/db\"\n[proxy]\nhttp_proxy = true\nhost_names = [\"a.example\"]\n",
    );
    let (resolved, errors) = Settings::resolve_what_can_be(&place.sources(&[]));
    assert!(resolved.settings.store.url.unwrap().is_found_server());
    let told = errors.unwrap();
    let mut lines: Vec<_> = told.iter().map(|error| error.place().unwrap()).collect();
    lines.sort_unstable();
    let line = |line: u32| format!("{}:{line}", file.display());
    assert_eq!(lines, [line(4), line(5)]);
    assert!(!told.iter().any(SettingsError::concerns_recording));
    let variables = [("CALLMETER_CONFIG", file.to_str().unwrap())];
    let named = Settings::resolve(&place.sources(&variables)).unwrap();
    assert!(!named.settings.store.url.unwrap().is_found_server());
}

#[test]
fn the_same_file_counts_once_somebody_has_named_it_or_it_is_the_user_s_own() {
    let text = "[store]\nurl = \"postgres://shop@db/shop\"\nraw_days = 35\n[privacy]\nerrors = \"scrubbed\"\n";
    let place = Place::new();
    place.write("repository/callmeter.toml", text);
    let named = place.path("repository/callmeter.toml");
    let url = |sources: &Sources| origin(&Settings::resolve(sources).unwrap(), "store.url");
    let shown = "postgres://shop@db/shop from ";
    let environment = [("CALLMETER_CONFIG", named.to_str().unwrap())];
    assert!(url(&place.sources(&environment)).starts_with(shown));
    let mut sources = place.sources(&[]);
    sources.config = Some(named);
    assert!(url(&sources).starts_with(shown));
    std::fs::remove_file(place.path("repository/callmeter.toml")).unwrap();
    std::fs::create_dir_all(place.path("config/callmeter")).unwrap();
    place.write("config/callmeter/callmeter.toml", text);
    let config = place.path("config");
    let user = [("XDG_CONFIG_HOME", config.to_str().unwrap())];
    assert!(url(&place.sources(&user)).starts_with(shown));
    // Also where its own directory is the working one.
    let mut sources = place.sources(&user);
    sources.directory = place.path("config/callmeter");
    assert!(url(&sources).starts_with(shown));
}

#[test]
fn what_a_variable_or_a_flag_says_as_well_is_no_mistake_in_a_found_file() {
    let place = Place::new();
    place.write(
        "repository/callmeter.toml",
        "[store]\nurl = \"postgres://x@evil.example/db\"\n",
    );
    let variable = place.sources(&[("CALLMETER_STORE_URL", "postgres://me@db/calls")]);
    let mut flag = place.sources(&[]);
    flag.flags
        .push(("store.url", "sqlite:calls.db".to_owned(), "--store"));
    for (sources, from) in [(variable, "CALLMETER_STORE_URL"), (flag, "flag --store")] {
        let shown = origin(&Settings::resolve(&sources).unwrap(), "store.url");
        assert!(shown.ends_with(from), "{shown}");
    }
    // What the host merely suggests is weaker than a file.
    let mut suggested = place.sources(&[]);
    suggested.suggested = vec![("store.url", "postgres://shop@db/shop".to_owned(), "host")];
    let resolved = Settings::resolve(&suggested).unwrap();
    assert!(origin(&resolved, "store.url").starts_with("postgres://x@evil.example/db"));
}

#[test]
fn a_named_file_and_a_variable_name_upstreams() {
    let place = Place::new();
    let file = place.write("repository/routes.toml", ROUTES);
    let upstreams = |sources: &Sources| {
        origin(
            &Settings::resolve(sources).unwrap(),
            "proxy.routes.ollama.upstreams",
        )
    };
    let mut sources = place.sources(&[]);
    sources.config = Some(file.clone());
    let shown = "http://gcp-a:11434, http://small:11434 as llama3.2:latest";
    assert_eq!(
        upstreams(&sources),
        format!("{shown} from {}:4", file.display())
    );
    assert_eq!(
        upstreams(&place.sources(&[(
            "CALLMETER_PROXY__ROUTES__OLLAMA__UPSTREAMS",
            "http://a, http://b"
        )])),
        "http://a, http://b from CALLMETER_PROXY__ROUTES__OLLAMA__UPSTREAMS"
    );
}

#[test]
fn a_route_that_cannot_be_used_is_told_without_its_address() {
    for (text, told) in [
        (
            "[proxy.routes.ollama]\nurl = 1",
            "of a route there are only its upstreams",
        ),
        (
            "[proxy.routes.\"A/b\"]\nupstreams = [\"http://a\"]",
            "its name is of a-z",
        ),
        ("[proxy.routes.a]\nupstreams = []", "a list of upstreams"),
        (
            "[proxy.routes.a]\nupstreams = [{ model = \"m\" }]",
            "a url for every upstream",
        ),
        (
            "[proxy.routes.a]\nupstreams = [{ url = \"http://a\", weight = \"1\" }]",
            "there is no 'weight'",
        ),
        (
            "[proxy.routes.a]\nupstreams = [{ url = \"http://a\", weight = 1 }]",
            "a list of upstreams",
        ),
        (
            "[proxy.routes.a]\nupstreams = [\"a:1\"]",
            "begin with http:// or https://",
        ),
        ("[proxy]\nlisten = \"localhost\"", "an address and a port"),
        (
            "[proxy.timeouts]\nconnect = \"1ms\"",
            "from 10ms to 24h, not '1ms'",
        ),
        ("[proxy.timeouts]\ndrain = 25", "a duration with its unit"),
        (
            "[proxy.timeouts]\nconect = \"1s\"",
            "did you mean 'proxy.timeouts.connect'?",
        ),
        ("[proxy]\nca_file = \"nowhere.pem\"", "a file that"),
        ("[proxy]\nlisen = \"x\"", "did you mean 'proxy.listen'?"),
    ] {
        let told_now = mistakes(text).join("\n");
        assert!(told_now.contains(told), "{text}: {told_now}");
    }
    let password = format!("[proxy.routes.a]\nupstreams = [\"http://me:{SECRET}@a\"]");
    assert!(!mistakes(&password).join("\n").contains(SECRET));
}
