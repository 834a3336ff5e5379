//! Near misses: known names that a name without a price may have meant, for a human to look at (R-25). Never used for
//! a price.

use std::collections::BTreeSet;

use crate::book::Book;
use crate::layer::Layer;
use crate::matching::strip;

/// How many names are suggested.
const MOST: usize = 3;

/// A name that has a price.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Suggestion {
    /// How far it is: 0 is the same letters.
    distance: usize,
    /// Its provider.
    pub provider: String,
    /// The name.
    pub model: String,
}

impl Book {
    /// Names with a price that look like this one, the likeliest first: of the same provider, else the very name
    /// under others.
    ///
    /// ```
    /// let near = callmeter_price::Book::market().near("openai", "gpt5-mini");
    /// assert_eq!(near[0].model, "gpt-5-mini");
    /// ```
    pub fn near(&self, provider: &str, model: &str) -> Vec<Suggestion> {
        let provider = crate::canonical_provider(provider);
        let wanted = strip(model).to_ascii_lowercase();
        let mut near = BTreeSet::new();
        for layer in self.layers() {
            let is_known = layer.index.names(provider).is_some();
            collect(layer, &wanted, &mut near, |seller| {
                !is_known || seller == provider
            });
        }
        if near.is_empty() {
            for layer in self.layers() {
                collect(layer, &wanted, &mut near, |_| true);
            }
        }
        near.into_iter().take(MOST).collect()
    }
}

fn collect(
    layer: &Layer,
    wanted: &str,
    near: &mut BTreeSet<Suggestion>,
    is_seller: impl Fn(&str) -> bool,
) {
    for entry in layer
        .entries
        .iter()
        .filter(|entry| is_seller(&entry.provider))
    {
        for name in std::iter::once(&entry.model).chain(&entry.aliases) {
            let folded = name.to_ascii_lowercase();
            if let Some(distance) = likeness(wanted, &folded) {
                near.insert(Suggestion {
                    distance,
                    provider: entry.provider.to_string(),
                    model: name.to_string(),
                });
            }
        }
    }
}

/// How far two names are: 0 for the same letters and digits, then edits of them; `None` for too far.
fn likeness(wanted: &str, known: &str) -> Option<usize> {
    let (wanted, known) = (letters(wanted), letters(known));
    if wanted == known {
        return Some(0);
    }
    let most = wanted.len().min(known.len()).checked_div(4)?.clamp(1, 3);
    let edits = edits(&wanted, &known);
    if edits <= most {
        return Some(edits);
    }
    // One name goes on where the other ends: a snapshot, a region, a maker's prefix.
    let (short, long) = if wanted.len() < known.len() {
        (&wanted, &known)
    } else {
        (&known, &wanted)
    };
    let is_part = short.len() >= 6
        && (long.starts_with(short.as_slice()) || long.ends_with(short.as_slice()));
    is_part.then(|| long.len().saturating_sub(short.len()).saturating_add(4))
}

fn letters(name: &str) -> Vec<u8> {
    name.bytes().filter(u8::is_ascii_alphanumeric).collect()
}

/// Insertions, deletions and replacements between two names.
fn edits(one: &[u8], two: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (at, left) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row, vec![at.saturating_add(1)]).into_iter();
        let mut above_left = diagonal.next().unwrap_or(0);
        for (right, above) in two.iter().zip(diagonal) {
            let before = row.last().copied().unwrap_or(0);
            let replaced = above_left.saturating_add(usize::from(left != right));
            row.push(
                replaced
                    .min(above.saturating_add(1))
                    .min(before.saturating_add(1)),
            );
            above_left = above;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (one, two, count) in [("", "abc", 3), ("kitten", "sitting", 3), ("a", "a", 0)] {
            assert_eq!(edits(one.as_bytes(), two.as_bytes()), count);
        }
    }

    #[test]
    fn far_names_are_not_near() {
        assert_eq!(likeness("gpt-5-mini", "gpt5mini"), Some(0));
        assert_eq!(likeness("gpt-5-mni", "gpt-5-mini"), Some(1));
        assert_eq!(likeness("gpt-5-mini", "claude-opus-5"), None);
        assert_eq!(likeness("o3", "o1"), Some(1));
        assert_eq!(likeness("gpt", "gpt-5-mini"), None);
    }
}
