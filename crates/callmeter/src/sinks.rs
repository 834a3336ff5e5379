//! The sink that settings name: which store, and how it is opened.
//!
//! Owns the way from `store.url` and `prices.book` to an open store. A store that cannot be opened now is
//! opened later: the shipper asks again with back-off while calls wait in the spool.

use std::path::PathBuf;
use std::sync::Arc;

use callmeter_core::{Clock, SinkError, SinkErrorKind};
use callmeter_price::{Book, ProviderKinds};
use callmeter_store::{StoreOptions, StoreUrl, open_sink};

use crate::home::Home;
use crate::settings::Settings;
use crate::shipper::MakeSink;

/// The longest file of a price book that is read.
const MAX_BOOK_BYTES: u64 = 64 << 20;

impl Settings {
    /// The home of these settings; where they name none a directory in the temporary one, and
    /// [none at all](Home::distrusted) where what lies there is not this user's alone.
    pub fn home(&self) -> Home {
        let group_access = self.spool.group_access;
        match &self.home {
            Some(path) => Home::at(path).with_group_access(group_access),
            None => Home::temporary(crate::settings::fallback_home(), group_access),
        }
    }

    /// Where rows go: the store that the settings name, else the embedded one of `home`.
    pub fn store_url(&self, home: &Home) -> StoreUrl {
        let url = self.store.url.clone();
        let url = url.unwrap_or_else(|| StoreUrl::sqlite(home.default_store()));
        match std::env::current_dir() {
            Ok(directory) => url.resolve_against(&directory),
            Err(_) => url,
        }
    }

    /// What a store is made with, by these settings.
    ///
    /// # Errors
    /// When the price book that they name cannot be read.
    pub fn store_options(&self) -> Result<StoreOptions, SinkError> {
        let mut options = StoreOptions::default();
        options
            .accounting_zone
            .clone_from(&self.store.accounting_zone);
        options.raw_days = self.store.raw_days;
        options.group_access = self.spool.group_access;
        options.book = book_of(&self.prices.book)?;
        options.providers = ProviderKinds::new(self.providers.clone());
        options.layout = self.store.layout;
        options
            .time_column
            .clone_from(&self.store.legacy_time_column);
        Ok(options)
    }
}

/// The way to open the store of the settings.
pub(crate) fn of_settings(settings: &Settings, home: &Home, clock: Arc<dyn Clock>) -> MakeSink {
    let url = settings.store_url(home);
    let is_embedded = settings.store.url.is_none();
    let home = home.clone();
    let settings = settings.clone();
    Box::new(move || {
        if is_embedded {
            home.make().map_err(|error| {
                SinkError::new(
                    SinkErrorKind::Retry,
                    format!("cannot make the home: {error}"),
                )
                .with_hint("check the rights of CALLMETER_HOME")
            })?;
        }
        let options = settings.store_options()?;
        Ok(open_sink(&url, options, Arc::clone(&clock))?)
    })
}

fn book_of(name: &str) -> Result<Arc<Book>, SinkError> {
    match name {
        "market" => return Ok(Book::market()),
        "legacy" => return Ok(Book::legacy()),
        _ => {}
    }
    let path = PathBuf::from(name);
    let unusable = |reason: String| {
        SinkError::new(
            SinkErrorKind::Fatal,
            format!("the price book {} cannot be read: {reason}", path.display()),
        )
        .with_hint("set prices.book to market, legacy or the path of a book")
    };
    let length = std::fs::metadata(&path)
        .map_err(|error| unusable(error.to_string()))?
        .len();
    if length > MAX_BOOK_BYTES {
        return Err(unusable(format!(
            "it has {length} bytes, more than a book may"
        )));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| unusable(error.to_string()))?;
    let book = Book::parse(&text).map_err(|error| unusable(error.to_string()))?;
    Ok(Arc::new(book))
}
