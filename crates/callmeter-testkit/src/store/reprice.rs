//! What every store promises of a reprice: rollups equal rows at every moment, twice is once, closed days stay,
//! an undo brings everything back, and nothing is lost by stopping anywhere.

use std::collections::BTreeMap;

use callmeter_core::{Billing, CallId, CallRecord, Cost, CostSource};

use super::{Asked, ContractStore, DAY, Sums, add, call, some_records, take};

/// A book of the suite's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuiteBook {
    /// The content of the newest revision.
    #[default]
    Same,
    /// The public prices.
    Market,
    /// Other prices, and for fewer models.
    Other,
    /// 4 million USD a token.
    Huge,
}

/// What a reprice is asked for.
#[derive(Clone, Debug, Default)]
pub struct Repricing {
    /// Which calls.
    pub asked: Asked,
    /// Those that have a price as well.
    pub is_all: bool,
    /// The last closed day.
    pub closed_until: Option<i64>,
    /// By which book.
    pub book: SuiteBook,
}

impl Repricing {
    /// All calls by a book.
    pub fn all(book: SuiteBook) -> Self {
        Self {
            is_all: true,
            book,
            ..Self::default()
        }
    }
}

/// What the audit says of a reprice, or its preview.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Calls that were looked at.
    pub calls: u64,
    /// Calls that cost something else than before.
    pub changed: u64,
    /// What they cost before, by day.
    pub old_pico: BTreeMap<i64, i128>,
    /// What they cost now, by day.
    pub new_pico: BTreeMap<i64, i128>,
}

/// A store that can be repriced, as the suite sees it.
pub trait RepricingStore: ContractStore {
    /// What revision `rev` of the store's book says of a call that is stored.
    fn price_by(&self, rev: u32, record: &CallRecord) -> Cost;
    /// What a reprice would do.
    fn preview_reprice(&self, repricing: &Repricing) -> Audited;
    /// Begins a reprice; gives its revision.
    fn begin_reprice(&self, repricing: &Repricing) -> u32;
    /// Begins to take a reprice back; gives its revision.
    fn begin_undo(&self, rev: u32) -> u32;
    /// Goes on with a reprice by at most so many calls, as another process would; says whether there is more.
    fn reprice_slice(&self, rev: u32, most: u32) -> bool;
    /// Whether a reprice takes another one back.
    fn is_undo(&self, rev: u32) -> bool;
    /// What providers stated, by provider and model: calls, their cost, how many the book prices as well, what of the
    /// cost is theirs, and what the book says.
    fn reported(&self, asked: &Asked) -> BTreeMap<(String, String), [i128; 5]>;
    /// What the audit says of a reprice.
    fn audit(&self, rev: u32) -> Audited;
}

fn finish(store: &dyn RepricingStore, rev: u32, most: u32) -> u32 {
    let mut slices = 0;
    while store.reprice_slice(rev, most) {
        slices += 1;
        assert!(slices < 10_000, "a reprice comes to its end");
    }
    slices
}

/// Every row costs what the revision that it names says, and the rollups are the sums of the rows.
fn check_consistency(store: &dyn RepricingStore) -> BTreeMap<CallId, Cost> {
    let mut groups: BTreeMap<Vec<String>, Sums> = BTreeMap::new();
    let mut costs = BTreeMap::new();
    for id in store.list(&Asked::default(), None, 10_000) {
        let (record, cost) = store.find(id).unwrap();
        assert_eq!(
            cost,
            store.price_by(cost.book_rev.unwrap(), &record),
            "{id}"
        );
        let text = |word: &Option<String>| word.clone().unwrap_or_default();
        let key = vec![
            store.day_of(record.started_at()).to_string(),
            record.caller_or_unknown().to_owned(),
            record.provider_or_unknown().to_owned(),
            record.model_or_requested().to_owned(),
            record.status_or_ok().as_str().to_owned(),
            text(&record.fallback_to),
            text(&record.project),
        ];
        add(groups.entry(key).or_default(), &record, &cost);
        costs.insert(id, cost);
    }
    assert_eq!(store.groups(), groups);
    costs
}

/// The costs without the revisions.
fn amounts(costs: &BTreeMap<CallId, Cost>) -> BTreeMap<CallId, Cost> {
    let mut amounts = costs.clone();
    amounts.values_mut().for_each(|cost| cost.book_rev = None);
    amounts
}

/// Two writers and two that reprice, in any order, with undos between: at every stop rows and rollups agree.
pub fn any_order_of_inserts_and_reprices_leaves_rollups_equal_to_rows(store: &dyn RepricingStore) {
    let records = some_records(120, 600);
    let mut writers = [store.writer(), store.writer()];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let (mut open, mut done): (Option<u32>, Option<u32>) = (None, None);
    for step in 0..140 {
        match next(10) {
            0..=3 => {
                let from = next(records.len());
                let to = (from + 1 + next(40)).min(records.len());
                take(&mut writers[next(2)], &records[from..to]);
            }
            4 | 5 if open.is_none() => {
                let books = [SuiteBook::Same, SuiteBook::Market, SuiteBook::Other];
                let repricing = Repricing {
                    is_all: next(3) > 0,
                    book: books[next(3)],
                    ..Repricing::default()
                };
                open = Some(store.begin_reprice(&repricing));
            }
            6 => {
                if let Some(undone) = done.take().filter(|_| open.is_none()) {
                    open = Some(store.begin_undo(undone));
                }
            }
            _ => {
                if let Some(rev) = open
                    && !store.reprice_slice(rev, 1 + u32::try_from(next(20)).unwrap())
                {
                    let was_undo = store.is_undo(rev);
                    done = (!was_undo).then_some(rev);
                    open = None;
                }
            }
        }
        if step % 35 == 34 {
            check_consistency(store);
        }
    }
    for piece in records.chunks(90) {
        take(&mut writers[next(2)], piece);
    }
    if let Some(rev) = open {
        finish(store, rev, 30);
    }
    check_consistency(store);
    // And one over everything: no call is left behind it.
    let last = store.begin_reprice(&Repricing::all(SuiteBook::Other));
    finish(store, last, 50);
    for (id, cost) in check_consistency(store) {
        assert_eq!(cost.book_rev, Some(last), "{id}");
    }
}

/// The second time looks at as many calls and changes none.
pub fn a_reprice_done_twice_is_done_once(store: &dyn RepricingStore) {
    take(&mut store.writer(), &some_records(100, 200));
    let first = store.begin_reprice(&Repricing::all(SuiteBook::Other));
    finish(store, first, 40);
    let costs = amounts(&check_consistency(store));
    let first = store.audit(first);
    assert!(first.changed > 0 && first.calls == store.rows());
    let second = store.begin_reprice(&Repricing::all(SuiteBook::Same));
    finish(store, second, 40);
    let second = store.audit(second);
    assert_eq!((second.calls, second.changed), (store.rows(), 0));
    assert_eq!(second.old_pico, first.new_pico);
    assert_eq!(amounts(&check_consistency(store)), costs);
}

/// What the preview says is what the reprice then does, to the pico, by day.
pub fn a_preview_says_what_the_reprice_does_and_writes_nothing(store: &dyn RepricingStore) {
    take(&mut store.writer(), &some_records(100, 200));
    let before = check_consistency(store);
    for is_all in [true, false] {
        let repricing = Repricing {
            is_all,
            ..Repricing::all(SuiteBook::Other)
        };
        let preview = store.preview_reprice(&repricing);
        if is_all {
            assert_eq!(check_consistency(store), before);
        }
        let rev = store.begin_reprice(&repricing);
        finish(store, rev, 40);
        assert_eq!(store.audit(rev), preview);
    }
}

/// Without `is_all` calls that have a price keep it, their revision included; a filter leaves out what it does not name.
pub fn a_reprice_looks_only_at_what_was_asked_for(store: &dyn RepricingStore) {
    take(&mut store.writer(), &some_records(150, 250));
    let before = check_consistency(store);
    let rev = store.begin_reprice(&Repricing {
        book: SuiteBook::Other,
        ..Repricing::default()
    });
    finish(store, rev, 40);
    for (id, cost) in check_consistency(store) {
        let was_unpriced = before[&id].cost.is_none();
        assert_eq!(cost.book_rev == Some(rev), was_unpriced, "{id}");
        assert!(was_unpriced || cost == before[&id], "{id}");
    }
    let before = check_consistency(store);
    let asked = Asked {
        model: Some("gpt-5-mini".to_owned()),
        caller: Some("rag".to_owned()),
        ..Asked::default()
    };
    let rev = store.begin_reprice(&Repricing {
        asked: asked.clone(),
        ..Repricing::all(SuiteBook::Market)
    });
    finish(store, rev, 40);
    let named = store.list(&asked, None, 10_000);
    for (id, cost) in check_consistency(store) {
        assert_eq!(cost.book_rev == Some(rev), named.contains(&id), "{id}");
        assert!(named.contains(&id) || cost == before[&id], "{id}");
    }
}

/// A day is that of the call's start, in the store's zone; the last closed one is closed to its end.
pub fn closed_days_stay_as_they_are(store: &dyn RepricingStore) {
    let records = some_records(150, 250);
    take(&mut store.writer(), &records);
    let before = check_consistency(store);
    let closed = store.day_of(call(4 * DAY, 0).started_at());
    let rev = store.begin_reprice(&Repricing {
        closed_until: Some(closed),
        ..Repricing::all(SuiteBook::Other)
    });
    finish(store, rev, 40);
    let mut counts = [0, 0];
    for (id, cost) in check_consistency(store) {
        let is_open = store.day_of(id.started_at()) > closed;
        assert_eq!(cost.book_rev == Some(rev), is_open, "{id}");
        assert!(is_open || cost == before[&id], "{id}");
        counts[usize::from(is_open)] += 1;
    }
    assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
}

/// Rows, revisions and rollups are those of before; calls that came in since are priced as those before.
pub fn an_undo_brings_every_cost_and_revision_back(store: &dyn RepricingStore) {
    let records = some_records(120, 200);
    take(&mut store.writer(), &records[..100]);
    // Calls of two revisions, side by side.
    let first = store.begin_reprice(&Repricing {
        asked: Asked {
            project: Some("shop".to_owned()),
            ..Asked::default()
        },
        ..Repricing::all(SuiteBook::Market)
    });
    finish(store, first, 40);
    take(&mut store.writer(), &records[100..]);
    let before = check_consistency(store);
    let sums = store.sums(&Asked::default());
    let rev = store.begin_reprice(&Repricing::all(SuiteBook::Other));
    finish(store, rev, 17);
    assert_ne!(store.sums(&Asked::default()), sums);
    let undo = store.begin_undo(rev);
    finish(store, undo, 23);
    assert_eq!(check_consistency(store), before);
    assert_eq!(store.sums(&Asked::default()), sums);
    let (reprice, undo) = (store.audit(rev), store.audit(undo));
    assert_eq!(undo.new_pico, reprice.old_pico);
    assert_eq!(undo.old_pico, reprice.new_pico);
}

/// A reprice that is taken back before it has ended leaves nothing behind; nothing of it goes on.
pub fn an_undo_ends_a_reprice_that_was_stopped(store: &dyn RepricingStore) {
    take(&mut store.writer(), &some_records(120, 200));
    let before = check_consistency(store);
    let rev = store.begin_reprice(&Repricing::all(SuiteBook::Other));
    for _ in 0..3 {
        assert!(store.reprice_slice(rev, 11));
    }
    assert_ne!(check_consistency(store), before);
    let undo = store.begin_undo(rev);
    assert!(!store.reprice_slice(rev, 11));
    finish(store, undo, 40);
    assert_eq!(check_consistency(store), before);
}

/// Calls that were priced by a reprice at the door, before it, between and after the calls that it looked at, whether it
/// asked for them or not, cost after its undo what they would have cost without it. Ended or stopped midway.
pub fn an_undo_takes_back_what_came_in_while_the_reprice_was_in_force(store: &dyn RepricingStore) {
    let records = some_records(400, 500);
    let mut writer = store.writer();
    // Those of the middle days first: others come in before and after them, and new pieces of the same.
    let is_middle = |record: &&CallRecord| {
        let days = store.day_of(call(3 * DAY, 0).started_at())
            ..store.day_of(call(7 * DAY, 0).started_at());
        days.contains(&store.day_of(record.started_at()))
    };
    let (middle, others): (Vec<_>, Vec<_>) = records.iter().partition(is_middle);
    let owned = |records: &[&CallRecord]| -> Vec<CallRecord> {
        records.iter().map(|record| (*record).clone()).collect()
    };
    let (early, late) = middle.split_at(middle.len() / 2);
    assert!(early.len() > 40 && others.len() > 40, "{}", early.len());
    take(&mut writer, &owned(early));
    let first = check_consistency(store).values().next().unwrap().book_rev;
    let asked = Asked {
        model: Some("gpt-5-mini".to_owned()),
        ..Asked::default()
    };
    let (others, later) = others.split_at(others.len() / 2);
    for (asked, arrivals, is_ended) in [(asked, late, true), (Asked::default(), others, false)] {
        let rev = store.begin_reprice(&Repricing {
            asked,
            ..Repricing::all(SuiteBook::Other)
        });
        assert!(store.reprice_slice(rev, 11));
        let (soon, last) = arrivals.split_at(arrivals.len() / 2);
        take(&mut writer, &owned(soon));
        take(&mut writer, &owned(&later[..20]));
        if is_ended {
            finish(store, rev, 17);
        }
        take(&mut writer, &owned(last));
        let by_it = check_consistency(store);
        assert!(by_it.values().any(|cost| cost.book_rev == Some(rev)));
        let undo = store.begin_undo(rev);
        finish(store, undo, 23);
        for (id, cost) in check_consistency(store) {
            assert_ne!(cost.book_rev, Some(rev), "{id}");
            let (record, _) = store.find(id).unwrap();
            let mut before = store.price_by(first.unwrap(), &record);
            before.book_rev = cost.book_rev;
            assert_eq!(cost, before, "{id}");
        }
    }
}

/// Costs near the limit of a row, and their sums.
pub fn sums_of_the_dearest_calls_do_not_overflow(store: &dyn RepricingStore) {
    let batch: Vec<_> = (0..300)
        .map(|n| {
            let mut record = call(n * 1_000, n.cast_unsigned());
            record.provider = Some("openai".to_owned());
            record.model = Some("gpt-5-mini".to_owned());
            record.usage.input_tokens = Some(2);
            record
        })
        .collect();
    take(&mut store.writer(), &batch);
    let rev = store.begin_reprice(&Repricing::all(SuiteBook::Huge));
    finish(store, rev, 100);
    let sums = store.sums(&Asked::default());
    assert_eq!(sums.cost_pico, 300 * 8_000_000 * 1_000_000_000_000);
    assert!(sums.cost_pico > i128::from(i64::MAX));
    let audited: i128 = store.audit(rev).new_pico.values().sum();
    assert_eq!(audited, sums.cost_pico);
    check_consistency(store);
}

/// The book's figure stands beside the provider's, and nothing under a plan is in either.
pub fn what_providers_stated_is_summed_beside_the_book(store: &dyn RepricingStore) {
    let mut records = some_records(150, 300);
    for record in records.iter_mut().step_by(7) {
        record.billing = Some(Billing::Plan);
    }
    take(&mut store.writer(), &records);
    let asked = [
        Asked::default(),
        Asked {
            model: Some("gpt-5-mini".to_owned()),
            since: Some(call(2 * DAY, 0).started_at()),
            ..Asked::default()
        },
    ];
    for asked in asked {
        let mut expected: BTreeMap<(String, String), [i128; 5]> = BTreeMap::new();
        for id in store.list(&asked, None, 10_000) {
            let (record, cost) = store.find(id).unwrap();
            if cost.cost_source != Some(CostSource::Provider)
                || record.billing == Some(Billing::Plan)
            {
                continue;
            }
            let key = (
                record.provider_or_unknown().to_owned(),
                record.model_or_requested().to_owned(),
            );
            let stated = i128::from(cost.cost.unwrap().as_pico());
            let sums = expected.entry(key).or_default();
            sums[0] += 1;
            sums[1] += stated;
            if let Some(computed) = cost.computed_cost {
                sums[2] += 1;
                sums[3] += stated;
                sums[4] += i128::from(computed.as_pico());
            }
        }
        assert!(
            expected.values().any(|sums| sums[2] > 0),
            "some are comparable"
        );
        assert_eq!(store.reported(&asked), expected);
    }
}
