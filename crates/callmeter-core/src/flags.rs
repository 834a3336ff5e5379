//! Marks on a row: things its reader should know that are no outcome of the call.
//!
//! A set of bits; a bit of a newer version is kept and shown by its number.

use std::fmt;

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $word:literal,)+) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)+
            const NAMED: &'static [(Self, &'static str)] = &[$((Self::$name, $word),)+];
        }
    };
}

/// A set of marks on a row.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags(u64);

flags! {
    /// The start lies more than ten minutes ahead of the store's clock.
    CLOCK_AHEAD = 0 "clock_ahead",
    /// A text was longer than its limit and was cut.
    CUT = 1 "cut",
    /// A count was negative, absurd, or a part exceeded its total.
    USAGE_IMPLAUSIBLE = 2 "usage_implausible",
    /// A value of meta was refused.
    META_REFUSED = 3 "meta_refused",
    /// Another row of the same call carries the money.
    COUNTED_ELSEWHERE = 4 "counted_elsewhere",
    /// The stream ended before its last event.
    STREAM_CUT = 5 "stream_cut",
    /// The response was in a format that callmeter does not know.
    FORMAT_UNKNOWN = 6 "format_unknown",
    /// Cached audio was charged as audio (pricing rule R-11).
    CACHED_AUDIO = 7 "cached_audio",
    /// The duration was beyond any clock and was dropped.
    DURATION_IMPLAUSIBLE = 8 "duration_implausible",
}

impl Flags {
    /// No mark.
    pub const NONE: Self = Self(0);

    /// Makes a set from its stored bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The stored bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether no mark is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every mark of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Sets the marks of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The marks by name; those of a newer version as `bit_N`.
    pub fn names(self) -> Vec<String> {
        (0..64_u32)
            .filter(|bit| self.0 >> bit & 1 == 1)
            .map(|bit| {
                Self::NAMED
                    .iter()
                    .find(|(flag, _)| flag.0 == 1 << bit)
                    .map_or_else(|| format!("bit_{bit}"), |(_, name)| (*name).to_owned())
            })
            .collect()
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({})", self.names().join(" "))
    }
}
