//! How records of one call become one: the merge table.
//!
//! What is known of a call arrives in pieces, in any order and repeatedly. Each field of the merged
//! record is the one value that ranks highest among all pieces, by its [`Owner`]:
//!
//! ```text
//! Outer    layer guard > sdk > proxy > span > import, then rev
//! Outcome  finished > aborted, then as Outer
//! Wire     layer proxy > sdk > span > guard > import, then rev
//! Usage    reported > estimated or guessed, then as Wire
//! Union    all marks together
//! ```
//! and, if all that is equal, the greater value. Null never overwrites. A maximum over a total order
//! is commutative, associative and idempotent, and so is the merge. To keep it associative, a merged
//! record remembers which piece each of its fields came from ([`Part`]).

use std::cmp::Ordering;

use crate::codec::{put_varint, take_varint};
use crate::{CallRecord, Field, FieldSet, Flags, Layer, Owner, Status, UsageSource};

/// One piece of a merged record: who said it, of what quality, and which fields stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    layer: Layer,
    rev: u32,
    aborted: bool,
    weak_usage: bool,
    fields: FieldSet,
}

impl Part {
    fn of(record: &CallRecord) -> Self {
        let mut fields = FieldSet::default();
        for field in Field::ALL {
            if field.owner() != Owner::Union && record.wire(*field).is_some() {
                fields.insert(*field);
            }
        }
        Self {
            layer: record.layer,
            rev: record.rev,
            aborted: record.status == Some(Status::Aborted),
            weak_usage: record.usage.usage_source.is_some_and(UsageSource::is_weak),
            fields,
        }
    }

    fn same_origin(&self, other: &Self) -> bool {
        self.origin() == other.origin()
    }

    fn origin(&self) -> (u8, u32, bool, bool) {
        (self.layer.code(), self.rev, self.aborted, self.weak_usage)
    }

    /// The rank of this piece's word about a field of `owner`; the greater wins.
    fn rank(&self, owner: Owner) -> (bool, u8, u32, bool, bool) {
        let quality = match owner {
            Owner::Outcome => !self.aborted,
            Owner::Usage => !self.weak_usage,
            Owner::Outer | Owner::Wire | Owner::Union => true,
        };
        let layer = match (owner, self.layer) {
            (Owner::Wire | Owner::Usage, Layer::Proxy) => 5,
            (Owner::Wire | Owner::Usage, Layer::Sdk) => 4,
            (Owner::Wire | Owner::Usage, Layer::Span) => 3,
            (Owner::Wire | Owner::Usage, Layer::Guard) => 2,
            (_, Layer::Guard) => 5,
            (_, Layer::Sdk) => 4,
            (_, Layer::Proxy) => 3,
            (_, Layer::Span) => 2,
            (_, Layer::Import) => 1,
        };
        (quality, layer, self.rev, !self.aborted, !self.weak_usage)
    }

    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(self.layer.code());
        put_varint(out, u64::from(self.rev));
        out.push(u8::from(self.aborted) | u8::from(self.weak_usage) << 1);
        out.extend_from_slice(&self.fields.bits().to_le_bytes());
    }

    pub(crate) fn decode_all(mut bytes: &[u8]) -> Option<Vec<Self>> {
        let mut parts = Vec::new();
        while let Some((layer, rest)) = bytes.split_first() {
            bytes = rest;
            let rev = u32::try_from(take_varint(&mut bytes)?).ok()?;
            let (quality, rest) = bytes.split_first()?;
            let (fields, rest) = rest.split_at_checked(16)?;
            bytes = rest;
            parts.push(Self {
                layer: Layer::from_code(*layer)?,
                rev,
                aborted: quality & 1 != 0,
                weak_usage: quality & 2 != 0,
                fields: FieldSet::from_bits(u128::from_le_bytes(fields.try_into().ok()?)),
            });
        }
        Some(parts)
    }
}

impl CallRecord {
    /// Merges two records of one call by the table of this module. Commutative, associative and
    /// idempotent. A record of another call is ignored.
    #[must_use]
    pub fn merge(self, other: &Self) -> Self {
        if self.call_id != other.call_id || self == *other {
            return self;
        }
        let (ours, theirs) = (self.parts_or_own(), other.parts_or_own());
        let mut merged = self.clone();
        let mut parts: Vec<Part> = Vec::new();
        for field in Field::ALL {
            let owner = field.owner();
            if owner == Owner::Union {
                continue;
            }
            let our_part = part_of(&ours, *field).filter(|_| self.wire(*field).is_some());
            let their_part = part_of(&theirs, *field).filter(|_| other.wire(*field).is_some());
            let winner = match (our_part, their_part) {
                (None, None) => continue,
                (Some(part), None) => part,
                (None, Some(part)) => {
                    merged.copy_field(*field, other);
                    part
                }
                (Some(our_part), Some(their_part)) => {
                    let order = our_part
                        .rank(owner)
                        .cmp(&their_part.rank(owner))
                        .then_with(|| self.wire(*field).cmp(&other.wire(*field)));
                    if order == Ordering::Less {
                        merged.copy_field(*field, other);
                        their_part
                    } else {
                        our_part
                    }
                }
            };
            credit(&mut parts, winner, *field);
        }
        merged.flags = Flags::union(self.flags, other.flags);
        for (tag, raw) in &other.unknown {
            let kept = merged.unknown.entry(*tag).or_insert_with(|| raw.clone());
            if *raw > *kept {
                kept.clone_from(raw);
            }
        }
        if parts.is_empty() {
            parts.extend(
                ours.into_iter()
                    .chain(theirs)
                    .max_by_key(|part| part.rank(Owner::Outer)),
            );
        }
        parts.sort_by_key(|part| std::cmp::Reverse((part.rank(Owner::Outer), part.origin())));
        if let Some(first) = parts.first() {
            (merged.layer, merged.rev) = (first.layer, first.rev);
        }
        let single = match parts.as_slice() {
            [only] => *only == Part::of(&merged),
            _ => false,
        };
        merged.parts = if single { Vec::new() } else { parts };
        merged
    }

    /// Whether a record of this layer is among those that this one was merged from.
    pub fn was_seen_by(&self, layer: Layer) -> bool {
        self.layer == layer || self.parts.iter().any(|part| part.layer == layer)
    }

    /// Whether another row of the same call carries the money. A mark of the guard's yields to the wire: a row that
    /// the wire completed is the one that carries it.
    pub fn is_counted_elsewhere(&self) -> bool {
        self.flags.contains(Flags::COUNTED_ELSEWHERE) && !self.was_seen_by(Layer::Proxy)
    }

    fn parts_or_own(&self) -> Vec<Part> {
        if self.parts.is_empty() {
            vec![Part::of(self)]
        } else {
            self.parts.clone()
        }
    }
}

fn part_of(parts: &[Part], field: Field) -> Option<&Part> {
    parts.iter().find(|part| part.fields.contains(field))
}

fn credit(parts: &mut Vec<Part>, winner: &Part, field: Field) {
    if let Some(part) = parts.iter_mut().find(|part| part.same_origin(winner)) {
        part.fields.insert(field);
    } else {
        let mut part = Part {
            fields: FieldSet::default(),
            ..winner.clone()
        };
        part.fields.insert(field);
        parts.push(part);
    }
}
