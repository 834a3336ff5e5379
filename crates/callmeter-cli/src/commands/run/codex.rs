//! Codex, which no variable reaches: the flags that lead it through the proxy, or why it is left alone.
//!
//! A provider of one's own is the only way to give it another address, and a provider decides how Codex signs in.
//! Whoever is signed in with ChatGPT would be billed by the token, or not be let in at all. So it gets the flags only
//! where it is signed in with an API key, by its own file, and nothing on its command line or in its configuration
//! chooses a provider already (promise CM-1). The key is looked at to see that there is one, and is not kept.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde_json::Value;

/// The longest file that is looked at.
const LONGEST: u64 = 1 << 20;

/// What is done with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Codex {
    /// It is no Codex.
    Not,
    /// It gets these flags in front of its own.
    Flags(Vec<OsString>),
    /// It is left alone, and why.
    Left(&'static str),
}

/// What is done with `command`, given where Codex keeps its files and where the proxy leads to OpenAI.
pub(super) fn look(command: &[OsString], home: Option<&Path>, openai: &str) -> Codex {
    let Some((program, args)) = command.split_first() else {
        return Codex::Not;
    };
    let name = Path::new(program).file_stem().and_then(OsStr::to_str);
    if name != Some("codex") {
        return Codex::Not;
    }
    if args.iter().any(|arg| chooses_provider(arg)) {
        return Codex::Left("its command line chooses provider or profile");
    }
    let Some(home) = home else {
        return Codex::Left("its home is not known, so neither is how it signs in");
    };
    if !is_signed_in_with_key(home) {
        return Codex::Left(
            "it is not signed in with an API key, and another address could change who pays",
        );
    }
    if configures_provider(home) {
        return Codex::Left("its config.toml chooses a provider");
    }
    let provider = format!(
        "model_providers.callmeter={{name=\"callmeter\",base_url=\"{openai}\",wire_api=\"responses\",requires_openai_auth=true}}"
    );
    let flags = ["-c", "model_provider=\"callmeter\"", "-c", &provider];
    Codex::Flags(flags.map(OsString::from).to_vec())
}

fn chooses_provider(arg: &OsStr) -> bool {
    let arg = arg.to_string_lossy();
    let is_profile = arg == "-p" || arg == "--profile" || arg.starts_with("--profile=");
    is_profile
        || arg == "--oss"
        || arg.starts_with("--local-provider")
        || arg.contains("model_provider")
}

/// Whether `auth.json` holds an API key and no sign-in of another kind.
fn is_signed_in_with_key(home: &Path) -> bool {
    let Some(text) = text_of(&home.join("auth.json")) else {
        return false;
    };
    let Ok(auth) = serde_json::from_str::<Value>(&text) else {
        return false;
    };
    let has_key = auth["OPENAI_API_KEY"]
        .as_str()
        .is_some_and(|key| !key.is_empty());
    let is_by_key = auth["auth_mode"].is_null() || auth["auth_mode"].as_str() == Some("apikey");
    has_key && is_by_key && auth["tokens"].is_null()
}

/// Whether `config.toml` names a provider or a profile. A line of a table below counts as well: to be left alone
/// without need costs a row, to be led astray costs trust.
fn configures_provider(home: &Path) -> bool {
    let Some(text) = text_of(&home.join("config.toml")) else {
        return false;
    };
    let mut lines = text.lines().map(str::trim_start);
    lines.any(|line| {
        ["model_provider", "profile", "openai_base_url"]
            .iter()
            .any(|key| {
                line.strip_prefix(key)
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
            })
    })
}

fn text_of(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.len() <= LONGEST).then(|| std::fs::read_to_string(path).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://127.0.0.1:1/u/openai/v1";

    fn with(auth: &str, config: &str, command: &[&str]) -> Codex {
        let home = tempfile::tempdir().unwrap();
        if !auth.is_empty() {
            std::fs::write(home.path().join("auth.json"), auth).unwrap();
        }
        std::fs::write(home.path().join("config.toml"), config).unwrap();
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        look(&command, Some(home.path()), BASE)
    }

    const KEY: &str = r#"{"OPENAI_API_KEY":"sk-test","tokens":null,"last_refresh":null}"#;

    #[test]
    fn one_signed_in_with_a_key_gets_its_flags() {
        let Codex::Flags(flags) = with(
            KEY,
            "model = \"gpt-5-codex\"\n",
            &["/usr/bin/codex", "exec", "hi"],
        ) else {
            panic!("no flags");
        };
        let flags: Vec<_> = flags
            .iter()
            .map(|flag| flag.to_string_lossy().into_owned())
            .collect();
        assert_eq!(flags[..2], ["-c", "model_provider=\"callmeter\""]);
        assert!(flags[3].contains(BASE) && !flags[3].contains("sk-test"));
    }

    #[test]
    fn one_signed_in_otherwise_is_left_alone() {
        for auth in [
            "",
            "{",
            r#"{"OPENAI_API_KEY":null,"tokens":{"id_token":"x"}}"#,
            r#"{"OPENAI_API_KEY":"sk-test","tokens":{"id_token":"x"}}"#,
            r#"{"OPENAI_API_KEY":"sk-test","auth_mode":"chatgpt"}"#,
            r#"{"OPENAI_API_KEY":""}"#,
        ] {
            assert!(
                matches!(with(auth, "", &["codex"]), Codex::Left(_)),
                "{auth}"
            );
        }
    }

    #[test]
    fn a_provider_that_was_chosen_stays() {
        for command in [
            &["codex", "-c", "model_provider=azure"][..],
            &["codex", "--profile", "work"],
            &["codex", "--oss"],
        ] {
            assert!(
                matches!(with(KEY, "", command), Codex::Left(_)),
                "{command:?}"
            );
        }
        assert!(matches!(
            with(KEY, "model_provider = \"azure\"\n", &["codex"]),
            Codex::Left(_)
        ));
    }

    #[test]
    fn other_commands_are_none_of_it() {
        assert_eq!(with(KEY, "", &["python", "codex"]), Codex::Not);
        assert_eq!(with(KEY, "", &[]), Codex::Not);
    }
}
