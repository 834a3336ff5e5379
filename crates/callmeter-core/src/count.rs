//! Counts as callers hand them over: any integer, or none.
//!
//! Promises that no value is refused with a panic and that absent stays absent: a negative or absurd
//! count is no count, and the row says so (`usage_implausible`).

/// The largest count that a row takes: 10¹² of anything in one call is a mistake.
pub const MAX_COUNT: u64 = 1_000_000_000_000;

/// A count as the caller gave it: known, absent, or not to be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenCount {
    /// So many.
    Known(u64),
    /// Not said.
    #[default]
    Absent,
    /// Negative or beyond [`MAX_COUNT`].
    Implausible,
}

impl TokenCount {
    /// The count, when it is known.
    pub const fn known(self) -> Option<u64> {
        match self {
            Self::Known(count) => Some(count),
            Self::Absent | Self::Implausible => None,
        }
    }
}

macro_rules! from_integers {
    ($($integer:ty),+) => { $(
        impl From<$integer> for TokenCount {
            fn from(count: $integer) -> Self {
                match u64::try_from(count) {
                    Ok(count) if count <= MAX_COUNT => Self::Known(count),
                    _ => Self::Implausible,
                }
            }
        }
    )+ };
}

from_integers!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize
);

impl<T: Into<TokenCount>> From<Option<T>> for TokenCount {
    fn from(count: Option<T>) -> Self {
        count.map_or(Self::Absent, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_counts_are_no_counts_and_absent_is_not_zero() {
        assert_eq!(TokenCount::from(0), TokenCount::Known(0));
        assert_eq!(
            TokenCount::from(3_000_000_000_u64),
            TokenCount::Known(3_000_000_000)
        );
        assert_eq!(TokenCount::from(None::<u32>), TokenCount::Absent);
        assert_eq!(TokenCount::from(Some(-1)), TokenCount::Implausible);
        assert_eq!(TokenCount::from(u64::MAX), TokenCount::Implausible);
        assert_eq!(TokenCount::from(i128::MIN), TokenCount::Implausible);
    }
}
