//! `callmeter config show|check`: the settings and where each comes from.

use std::process::ExitCode;

use callmeter::settings::{Resolved, Settings, SettingsErrors, Sources};

use crate::args::GlobalArgs;
use crate::failure::{Failure, Failures};
use crate::print;

/// The settings that a command works with.
///
/// # Errors
/// Everything that is wrong with them, each with its place and a hint.
pub(crate) fn resolve(global: &GlobalArgs) -> Result<Settings, Failures> {
    resolve_all(global).map(|resolved| resolved.settings)
}

/// The settings as far as they can be used, and what is wrong with the rest.
pub(crate) fn resolve_what_can_be(global: &GlobalArgs) -> (Resolved, Option<Failures>) {
    let (resolved, errors) = Settings::resolve_what_can_be(&sources(global));
    (resolved, errors.map(|errors| failures(&errors)))
}

fn resolve_all(global: &GlobalArgs) -> Result<Resolved, Failures> {
    Settings::resolve(&sources(global)).map_err(|errors| failures(&errors))
}

fn sources(global: &GlobalArgs) -> Sources {
    let mut sources = Sources::of_process();
    sources.config.clone_from(&global.config);
    if let Some(url) = &global.store {
        sources.flags.push(("store.url", url.clone(), "--store"));
    }
    sources
}

fn failures(errors: &SettingsErrors) -> Failures {
    let failures = errors.iter().map(|error| {
        let mut failure = Failure::new(error.message());
        if let Some(place) = error.place() {
            failure = failure.in_place(place);
        }
        if let Some(hint) = error.hint() {
            failure = failure.with_hint(hint);
        }
        failure
    });
    Failures(failures.collect())
}

pub(crate) fn show(global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    let resolved = resolve_all(global)?;
    if global.json {
        let settings: Vec<serde_json::Value> = resolved
            .origins
            .iter()
            .map(|origin| {
                serde_json::json!({ "key": origin.key, "value": origin.value, "from": origin.origin })
            })
            .collect();
        print::out(&format!(
            "{}\n",
            serde_json::json!({ "v": 1, "settings": settings })
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = resolved
        .origins
        .into_iter()
        .map(|origin| {
            let value = if origin.value.is_empty() {
                "–".to_owned()
            } else {
                origin.value
            };
            vec![origin.key, value, origin.origin]
        })
        .collect();
    print::out(&print::table(
        &["setting", "value", "from"],
        usize::MAX,
        rows,
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn check(global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    resolve_all(global)?;
    if !global.quiet {
        print::out("every setting can be used\n")?;
    }
    Ok(ExitCode::SUCCESS)
}
