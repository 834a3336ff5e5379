//! Lines of `tracing` as texts, for a host that has no subscriber.
//!
//! Owns the only subscriber that this crate ever installs, and only when asked to. It takes callmeter's lines
//! from INFO on and nothing else; spans are nothing to it.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use callmeter_core::clean_text;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::queue::{self, LogLevel, LogLine};
use super::{LEGACY_LOGGER, LEGACY_MARK, LOGGER};

/// The longest line, in characters.
const LONGEST: usize = 2_000;

struct Lines;

/// Makes this the process's subscriber; says whether it is.
pub(super) fn install() -> bool {
    static IS_OURS: OnceLock<bool> = OnceLock::new();
    *IS_OURS.get_or_init(|| tracing::subscriber::set_global_default(Lines).is_ok())
}

/// The logger that a line of `target` leaves under, if it is one of callmeter's.
fn logger_of(target: &str) -> Option<&'static str> {
    [LOGGER, LEGACY_LOGGER]
        .into_iter()
        .find(|logger| *logger == target)
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::INFO
            && logger_of(metadata.target()).is_some()
    }

    fn event(&self, event: &Event<'_>) {
        let Some(logger) = logger_of(event.metadata().target()) else {
            return;
        };
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warning,
            _ => LogLevel::Info,
        };
        let mut text = Text::default();
        event.record(&mut text);
        text.message.push_str(&text.fields);
        // Lines from below the SDK, as those of the stores, know no style.
        let is_plain = logger == LOGGER && super::is_legacy();
        let logger = if is_plain { LEGACY_LOGGER } else { logger };
        if is_plain {
            text.message.insert_str(0, LEGACY_MARK);
        }
        let (text, _) = clean_text(&text.message, LONGEST);
        queue::push(LogLine {
            level,
            logger,
            text: text.into_owned(),
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A line's message, and its values behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else if !value.is_empty() {
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
