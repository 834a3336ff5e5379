//! What every command works with: the settings, the home, the store, and how to print.

use std::io::IsTerminal;

use callmeter::settings::Settings;
use callmeter::{Home, StoreUrl};
use callmeter_core::{Clock, SystemClock, Timestamp};
use callmeter_store::{AccountingZone, Filter, StoreError, StoreLayout, StoreOptions, StoreReader};

use crate::args::{FilterArgs, GlobalArgs, RangeArgs};
use crate::failure::Failure;
use crate::span;

/// What every command works with.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) home: Home,
    pub(crate) url: StoreUrl,
    pub(crate) json: bool,
    pub(crate) color: bool,
    pub(crate) now: Timestamp,
}

impl Context {
    pub(crate) fn of(global: &GlobalArgs) -> anyhow::Result<Self> {
        let resolved = crate::commands::config::resolve(global)?;
        Ok(Self::with(resolved, global))
    }

    pub(crate) fn with(settings: Settings, global: &GlobalArgs) -> Self {
        let home = settings.home();
        Self {
            url: settings.store_url(&home),
            settings,
            home,
            json: global.json,
            color: !global.no_color
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::io::stdout().is_terminal(),
            now: SystemClock.now(),
        }
    }

    /// The store, opened for reading; `None` when none was made yet.
    pub(crate) fn store(&self) -> Result<Option<StoreReader>, StoreError> {
        match self.existing_store() {
            Ok(reader) => Ok(Some(reader)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How the store is read; a price book that cannot be read is in nobody's way here.
    pub(crate) fn reading_options(&self) -> StoreOptions {
        let settings = &self.settings.store;
        self.settings.store_options().unwrap_or_else(|_| {
            let mut options = StoreOptions::default();
            options
                .accounting_zone
                .clone_from(&settings.accounting_zone);
            options.time_column.clone_from(&settings.legacy_time_column);
            options.layout = settings.layout;
            options
        })
    }

    /// The store, which must be there.
    pub(crate) fn existing_store(&self) -> Result<StoreReader, StoreError> {
        if let Some(why) = self.home.distrusted() {
            tracing::warn!(target: "callmeter", "no home directory is known, and {why}; set CALLMETER_HOME");
        }
        match self.settings.store.layout {
            StoreLayout::AiCalls => StoreReader::open_as(&self.url, &self.reading_options()),
            _ => StoreReader::open(&self.url),
        }
    }
}

impl From<&RangeArgs> for FilterArgs {
    fn from(range: &RangeArgs) -> Self {
        Self {
            since: range.since.clone(),
            until: range.until.clone(),
            caller: range.caller.clone(),
            provider: range.provider.clone(),
            project: range.project.clone(),
            team: range.team.clone(),
            ..Self::default()
        }
    }
}

/// A range of time in words.
pub(crate) fn range_text(filter: &Filter) -> String {
    match (filter.since, filter.until) {
        (None, None) => "all calls".to_owned(),
        (Some(since), None) => format!("from {since}"),
        (None, Some(until)) => format!("until {until}"),
        (Some(since), Some(until)) => format!("{since} to {until}"),
    }
}

/// The filter that arguments ask for, its days in `zone`.
pub(crate) fn filter_of(
    args: &FilterArgs,
    zone: &AccountingZone,
    now: Timestamp,
) -> Result<Filter, Failure> {
    let since = args
        .since
        .as_deref()
        .map(|text| span::since(text, zone, now))
        .transpose()?;
    let until = args
        .until
        .as_deref()
        .map(|text| span::until(text, zone, now))
        .transpose()?;
    if let (Some(since), Some(until)) = (since, until)
        && until <= since
    {
        return Err(
            Failure::new("the range is empty: --until is not after --since")
                .with_hint(format!("it would go from {since} to {until}")),
        );
    }
    Ok(Filter {
        since,
        until,
        caller: args.caller.clone(),
        provider: args.provider.clone(),
        model: args.model.clone(),
        status: args.status.clone(),
        project: args.project.clone(),
        team: args.team.clone(),
        cost_source: None,
    })
}
