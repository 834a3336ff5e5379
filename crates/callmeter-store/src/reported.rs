//! What providers stated their calls cost, beside what the book says of the same calls (pricing rule R-18).

use callmeter_core::UsdTotal;

use crate::StoreError;
use crate::answer::Source;
use crate::rollup::PICO_PER_MICRO;

/// Calls of one model whose cost is what the provider stated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reported {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// How many calls.
    pub calls: u64,
    /// What the provider stated: the cost that counts.
    pub cost: UsdTotal,
    /// How many of them the book has a price for.
    pub computed_calls: u64,
    /// What the provider stated for those.
    pub comparable_cost: UsdTotal,
    /// What the book says of the same.
    pub computed_cost: UsdTotal,
}

/// A group in numbers: provider, model, calls, calls with a computed cost, then the stated cost, the stated cost of
/// those and the computed cost, each in two halves.
pub(crate) type Numbers = [i64; 10];

/// The sums of [`Numbers`] behind provider and model, over calls whose provider stated the cost. `given & 32` says
/// that the computed cost is the cost.
pub(crate) const SUMS: &str = "count(*), \
     count(CASE WHEN given & 32 <> 0 THEN cost_picousd ELSE computed_cost_picousd END), \
     CAST(sum(cost_picousd / 1000000) AS bigint), CAST(sum(cost_picousd % 1000000) AS bigint), \
     CAST(sum(CASE WHEN given & 32 <> 0 OR computed_cost_picousd IS NOT NULL THEN cost_picousd / 1000000 \
       ELSE 0 END) AS bigint), \
     CAST(sum(CASE WHEN given & 32 <> 0 OR computed_cost_picousd IS NOT NULL THEN cost_picousd % 1000000 \
       ELSE 0 END) AS bigint), \
     CAST(sum(CASE WHEN given & 32 <> 0 THEN cost_picousd ELSE coalesce(computed_cost_picousd, 0) END / 1000000) \
       AS bigint), \
     CAST(sum(CASE WHEN given & 32 <> 0 THEN cost_picousd ELSE coalesce(computed_cost_picousd, 0) END % 1000000) \
       AS bigint)";

/// Groups in words, the dearest first.
pub(crate) fn in_words(
    source: &mut impl Source,
    groups: Vec<Numbers>,
) -> Result<Vec<Reported>, StoreError> {
    let mut words = Vec::with_capacity(groups.len());
    for [provider, model, calls, computed_calls, money @ ..] in groups {
        let [
            cost,
            cost_rest,
            comparable,
            comparable_rest,
            computed,
            computed_rest,
        ] = money;
        let whole = |micro: i64, rest: i64| {
            UsdTotal::from_pico(i128::from(micro) * i128::from(PICO_PER_MICRO) + i128::from(rest))
        };
        words.push(Reported {
            provider: source.word(provider)?.to_string(),
            model: source.word(model)?.to_string(),
            calls: calls.cast_unsigned(),
            cost: whole(cost, cost_rest),
            computed_calls: computed_calls.cast_unsigned(),
            comparable_cost: whole(comparable, comparable_rest),
            computed_cost: whole(computed, computed_rest),
        });
    }
    words.sort_by(|a, b| {
        let key = |of: &Reported| (of.provider.clone(), of.model.clone());
        b.cost.cmp(&a.cost).then_with(|| key(a).cmp(&key(b)))
    });
    Ok(words)
}
