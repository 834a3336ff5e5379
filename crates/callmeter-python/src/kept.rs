//! Figures that a state keeps in two forms: as the host sees them again, and as its row counts them.

use std::time::{Duration, Instant};

use callmeter_core::TokenCount;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::text::count;

/// Tokens as the host sees them, and as the row counts them.
pub(crate) enum Tokens {
    /// Nobody said anything: 0 to the host, unknown to the row.
    Unsaid,
    /// The same number to both.
    Count(u64),
    Said {
        seen: Py<PyAny>,
        recorded: TokenCount,
    },
    /// An attribute that was assigned: looked at when the call ends.
    Assigned(Py<PyAny>),
}

/// How long the call was.
pub(crate) enum Lasted {
    NotYet,
    Since(Instant),
    Microseconds(u64),
    Assigned(Py<PyAny>),
}

impl Tokens {
    pub(crate) fn of(value: Option<&Bound<'_, PyAny>>) -> Self {
        let Some(value) = value else {
            return Self::Unsaid;
        };
        let counted = count(value);
        match counted.recorded {
            TokenCount::Known(count) => Self::Count(count),
            recorded => Self::Said {
                seen: counted.seen.unbind(),
                recorded,
            },
        }
    }

    /// As the row counts them, where nobody has to be asked.
    pub(crate) fn recorded(&self) -> Option<TokenCount> {
        match self {
            Self::Unsaid => Some(TokenCount::Absent),
            Self::Count(count) => Some(TokenCount::Known(*count)),
            Self::Said { recorded, .. } => Some(*recorded),
            Self::Assigned(_) => None,
        }
    }

    pub(crate) fn seen(&self, py: Python<'_>) -> Py<PyAny> {
        match self {
            Self::Unsaid => PyInt::new(py, 0).into_any().unbind(),
            Self::Count(count) => PyInt::new(py, *count).into_any().unbind(),
            Self::Said { seen, .. } | Self::Assigned(seen) => seen.clone_ref(py),
        }
    }
}

impl Lasted {
    /// How long ago it began, where that is the host's clock to say.
    pub(crate) fn since_us(&self) -> Option<u64> {
        match self {
            Self::Since(began) => Some(micros(began.elapsed())),
            _ => None,
        }
    }

    /// Whether the call has ended.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Microseconds(_) | Self::Assigned(_))
    }

    pub(crate) fn known_us(&self, py: Python<'_>) -> Option<u64> {
        match self {
            Self::NotYet => None,
            Self::Since(_) => self.since_us(),
            Self::Microseconds(us) => Some(*us),
            Self::Assigned(ms) => {
                let ms = count(ms.bind(py)).recorded.known()?;
                Some(ms.saturating_mul(1_000))
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
