//! Durations as a histogram that merges exactly.
//!
//! Buckets of scale 4, as OpenTelemetry's exponential histograms: bucket = ⌊16 · log₂(µs)⌋, so that a
//! percentile is within 2.19 % of the exact one of the same rank, ⌈p · n⌉. Counts are integers: two
//! histograms add, and one subtracts again, without a trace.
//!
//! ```text
//! blob = pairs of varints (gap, count); gap = bucket − previous bucket − 1, the first from −1
//! ```

/// ⌈2⁶³ · 2^(k/16)⌉: where the buckets of an octave begin, scaled to the top bit.
const STEPS: [u64; 16] = [
    9_223_372_036_854_775_808,
    9_631_725_603_661_576_981,
    10_058_158_527_438_640_871,
    10_503_471_249_702_896_439,
    10_968_499_650_544_839_024,
    11_454_116_617_628_225_966,
    11_961_233_684_655_323_371,
    12_490_802_742_373_206_727,
    13_043_817_825_332_782_213,
    13_621_316_977_754_388_159,
    14_224_384_202_002_324_190,
    14_854_151_493_325_717_732,
    15_511_800_964_685_064_949,
    16_198_567_065_652_879_634,
    16_915_738_899_553_466_671,
    17_664_662_643_191_237_677,
];

/// How many buckets there are: 64 octaves.
const BUCKETS: usize = 1_024;

/// A histogram of durations. A count may be negative in a difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u16, i64)>);

impl Histogram {
    /// The bucket of a duration; 0 µs counts as 1.
    pub fn bucket(duration_us: u64) -> u16 {
        let us = duration_us.max(1);
        let shift = us.leading_zeros();
        let scaled = us << shift;
        let step = STEPS.partition_point(|start| *start <= scaled);
        // An octave is at most 63 and a step at most 16: both fit.
        let octave = 63_u32.saturating_sub(shift);
        u16::try_from(octave.saturating_mul(16))
            .unwrap_or(u16::MAX)
            .saturating_add(u16::try_from(step).unwrap_or(1).saturating_sub(1))
    }

    /// Adds `count` times a duration.
    pub fn add(&mut self, duration_us: u64, count: i64) {
        self.add_bucket(Self::bucket(duration_us), count);
    }

    /// The least duration in microseconds of each bucket up to that of `longest_us`.
    #[cfg(feature = "postgres")]
    pub(crate) fn bounds_us(longest_us: u64) -> Vec<u64> {
        let first_of = |bucket: u16| {
            let (mut below, mut at) = (0_u64, longest_us);
            while at.saturating_sub(below) > 1 {
                let middle = below.midpoint(at);
                if Self::bucket(middle) >= bucket {
                    at = middle;
                } else {
                    below = middle;
                }
            }
            at
        };
        (0..=Self::bucket(longest_us)).map(first_of).collect()
    }

    /// Adds `count` durations of a bucket.
    pub(crate) fn add_bucket(&mut self, bucket: u16, count: i64) {
        match self.0.binary_search_by_key(&bucket, |(known, _)| *known) {
            Err(at) => self.0.insert(at, (bucket, count)),
            Ok(at) => {
                if let Some((_, total)) = self.0.get_mut(at) {
                    *total = total.saturating_add(count);
                    if *total == 0 {
                        self.0.remove(at);
                    }
                }
            }
        }
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        if let [(bucket, count)] = other.0.as_slice() {
            return self.add_bucket(*bucket, *count);
        }
        let mut merged = Vec::with_capacity(self.0.len().saturating_add(other.0.len()));
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let pair = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(_), None) => ours.next().copied(),
                (None, Some(_)) => theirs.next().copied(),
                (Some((our, _)), Some((their, _))) if our < their => ours.next().copied(),
                (Some((our, _)), Some((their, _))) if our > their => theirs.next().copied(),
                (Some((bucket, count)), Some((_, more))) => {
                    let pair = (*bucket, count.saturating_add(*more));
                    ours.next();
                    theirs.next();
                    Some(pair)
                }
            };
            merged.extend(pair.filter(|(_, count)| *count != 0));
        }
        self.0 = merged;
    }

    /// The sum of histograms in their stored form. One that is corrupt adds what can be read of it.
    pub(crate) fn of_blobs<'b>(blobs: impl Iterator<Item = &'b [u8]>) -> Self {
        let mut counts = vec![0_i64; BUCKETS];
        for mut blob in blobs {
            let mut next = 0_u64;
            while let Some((gap, count)) = take_varint(&mut blob).zip(take_varint(&mut blob)) {
                let bucket = next.saturating_add(gap);
                next = bucket.saturating_add(1);
                let at = usize::try_from(bucket).unwrap_or(usize::MAX);
                if let (Some(sum), Ok(count)) = (counts.get_mut(at), i64::try_from(count)) {
                    *sum = sum.saturating_add(count);
                }
            }
        }
        let buckets = (0_u16..).zip(counts);
        Self(buckets.filter(|(_, count)| *count != 0).collect())
    }

    /// How many durations it holds.
    pub fn count(&self) -> i64 {
        self.0
            .iter()
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration of rank ⌈`per_mille` · n / 1000⌉ in microseconds, the geometric middle of its bucket;
    /// `None` when empty.
    pub fn percentile_us(&self, per_mille: u32) -> Option<u64> {
        let n = u128::try_from(self.count()).ok().filter(|n| *n > 0)?;
        let rank = n
            .saturating_mul(u128::from(per_mille.min(1_000)))
            .div_ceil(1_000)
            .max(1);
        let mut seen = 0_u128;
        for (bucket, count) in &self.0 {
            seen = seen.saturating_add(u128::try_from(*count).unwrap_or(0));
            if seen >= rank {
                return Some(middle_us(*bucket));
            }
        }
        None
    }

    /// The stored form.
    pub fn to_blob(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len().saturating_mul(3));
        let mut next = 0_u16;
        for (bucket, count) in &self.0 {
            put_varint(&mut out, u64::from(bucket.saturating_sub(next)));
            put_varint(&mut out, u64::try_from(*count).unwrap_or(0));
            next = bucket.saturating_add(1);
        }
        out
    }

    /// Reads the stored form; `None` when it is corrupt.
    pub fn from_blob(mut bytes: &[u8]) -> Option<Self> {
        let mut buckets = Vec::with_capacity(bytes.len() / 2);
        let mut next = 0_u64;
        while !bytes.is_empty() {
            let bucket = next.checked_add(take_varint(&mut bytes)?)?;
            let count = i64::try_from(take_varint(&mut bytes)?).ok()?;
            buckets.push((u16::try_from(bucket).ok()?, count));
            next = bucket.checked_add(1)?;
        }
        Some(Self(buckets))
    }
}

/// 2^((bucket + ½) / 16), rounded. Only shown, never summed, so a float may stand here.
fn middle_us(bucket: u16) -> u64 {
    let middle = ((f64::from(bucket) + 0.5) / 16.0).exp2();
    if middle >= 9.0e18 {
        u64::MAX
    } else {
        middle.round() as u64
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bucket_begins_at_each_power_of_two() {
        for octave in 0..64_u32 {
            let bucket = u16::try_from(octave * 16).unwrap();
            assert_eq!(Histogram::bucket(1 << octave), bucket);
            if octave > 4 {
                assert_eq!(Histogram::bucket((1 << octave) - 1), bucket - 1);
            }
        }
        assert_eq!(Histogram::bucket(0), 0);
    }

    proptest! {
        #[test]
        fn the_blob_reads_back(durations in prop::collection::vec(0..u64::MAX, 0..60)) {
            let mut histogram = Histogram::default();
            for duration in durations {
                histogram.add(duration, 1);
            }
            prop_assert_eq!(Histogram::from_blob(&histogram.to_blob()), Some(histogram));
        }

        #[test]
        fn blobs_add_up_as_histograms_do(
            parts in prop::collection::vec(prop::collection::vec(0..u64::MAX, 0..20), 0..8),
        ) {
            let mut expected = Histogram::default();
            let mut blobs = Vec::new();
            for part in parts {
                let mut histogram = Histogram::default();
                part.iter().for_each(|duration| histogram.add(*duration, 1));
                expected.merge(&histogram);
                blobs.push(histogram.to_blob());
            }
            let blobs = blobs.iter().map(Vec::as_slice);
            prop_assert_eq!(Histogram::of_blobs(blobs), expected);
        }

        #[test]
        fn what_was_added_is_taken_away_again(
            kept in prop::collection::vec(1..60_000_000_u64, 0..40),
            gone in prop::collection::vec(1..60_000_000_u64, 0..40),
        ) {
            let mut expected = Histogram::default();
            kept.iter().for_each(|d| expected.add(*d, 1));
            let mut histogram = expected.clone();
            gone.iter().for_each(|d| histogram.add(*d, 1));
            gone.iter().for_each(|d| histogram.add(*d, -1));
            prop_assert_eq!(histogram, expected);
        }

        #[test]
        fn a_percentile_is_within_the_bound_of_the_exact_one(
            mut durations in prop::collection::vec(100..100_000_000_u64, 1..300),
            per_mille in 1..=1_000_u32,
        ) {
            let mut histogram = Histogram::default();
            durations.iter().for_each(|d| histogram.add(*d, 1));
            durations.sort_unstable();
            let rank = (durations.len() * per_mille as usize).div_ceil(1_000).max(1);
            let exact = durations[rank - 1] as f64;
            let shown = histogram.percentile_us(per_mille).unwrap() as f64;
            // 2^(1/32) − 1, and half a microsecond of rounding.
            prop_assert!((shown - exact).abs() <= exact * 0.0219 + 0.5, "{} for {}", shown, exact);
        }

        #[test]
        fn any_blob_is_a_histogram_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Histogram::from_blob(&bytes);
        }
    }
}
