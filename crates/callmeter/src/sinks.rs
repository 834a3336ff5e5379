//! The sink that settings name: which store, and how it is opened.

use std::sync::Arc;

use callmeter_core::Clock;

use crate::home::Home;
use crate::settings::Settings;
use crate::shipper::MakeSink;

/// The store's name, which spools carry, and the way to open it.
pub(crate) fn of_settings(
    _settings: &Settings,
    _home: &Home,
    _clock: Arc<dyn Clock>,
) -> (String, Option<MakeSink>) {
    (String::new(), None)
}
