//! The contract at its edges: limits of names and scopes, calls out of time, retention, a new book, sums that do not
//! fit, names of any characters.

use super::*;

/// 32 statuses a day and scope, the rest together; a name stays what it was admitted as.
pub fn names_beyond_the_limit_of_a_day_are_other(store: &dyn ContractStore) {
    let batch: Vec<_> = (0..40)
        .map(|n| {
            let mut record = call(n * 1_000, 1);
            record.status = Some(Status::from_word(&format!("word-{n}")));
            record
        })
        .collect();
    let mut writer = store.writer();
    take(&mut writer, &batch[..20]);
    take(&mut writer, &batch[10..]);
    // Merged by another writer, which remembers nothing: groups are taken out and put in again.
    let more: Vec<_> = batch
        .iter()
        .map(|record| {
            let mut more = record.clone();
            more.rev = 1;
            more.duration_us = Some(5);
            more
        })
        .collect();
    take(&mut store.writer(), &more);
    let groups = store.groups();
    assert_eq!(groups.len(), 33);
    let other: Vec<_> = groups
        .iter()
        .filter(|(key, _)| key[4] == "~other")
        .collect();
    assert_eq!(other.len(), 1);
    assert_eq!((other[0].1.calls, other[0].1.timed), (8, 8));
}

/// 1,000 scopes a store.
pub fn scopes_beyond_the_limit_keep_their_words_on_the_row(store: &dyn ContractStore) {
    let batch: Vec<_> = (0..1_005)
        .map(|n| {
            let mut record = call(n * 1_000, 1);
            record.project = Some(format!("project-{n}"));
            record
        })
        .collect();
    take(&mut store.writer(), &batch);
    for record in batch.iter().step_by(67).chain(&batch[1_000..]) {
        let (stored, _) = store.find(record.call_id).unwrap();
        assert_eq!(stored.project, record.project);
    }
    // Another writer, which must find out for itself which scopes are known.
    let more: Vec<_> = batch
        .iter()
        .map(|record| {
            let mut more = record.clone();
            more.rev = 1;
            more.duration_us = Some(5);
            more
        })
        .collect();
    take(&mut store.writer(), &more[990..]);
    let other: u64 = store
        .groups()
        .iter()
        .filter(|(key, _)| key[6] == "~other")
        .map(|(_, sums)| sums.calls)
        .sum();
    assert_eq!(other, 5);
    let timed: u64 = store.groups().values().map(|sums| sums.timed).sum();
    assert_eq!((store.groups().len(), timed), (1_001, 15));
}

/// Ten minutes ahead is marked; a day ahead or beyond the horizon is kept aside.
pub fn a_call_out_of_time_is_set_aside_once(store: &dyn ContractStore) {
    let batch = [
        call(10 * DAY + 300_000_000, 1),
        call(10 * DAY + 700_000_000, 2),
        call(11 * DAY + 1_000_000, 3),
        call(-391 * DAY, 4),
        call(-389 * DAY, 5),
    ];
    let mut writer = store.writer();
    let ack = take(&mut writer, &batch);
    assert_eq!((ack.inserted, ack.expired), (3, 2));
    assert_eq!(take(&mut writer, &batch).expired, 2);
    assert_eq!((store.rows(), store.rejected()), (3, 2));
    let is_marked = |at: usize| {
        let (stored, _) = store.find(batch[at].call_id).unwrap();
        stored.flags.contains(Flags::CLOCK_AHEAD)
    };
    assert!(!is_marked(0) && is_marked(1));
}

/// Raw rows go, sums stay, and a record of a row that is gone is not counted again.
pub fn rows_that_go_for_their_age_leave_their_sums_and_do_not_come_back(store: &dyn ContractStore) {
    let mut writer = store.writer();
    let old: Vec<_> = (0..30).map(|n| call(n * DAY / 10, 1)).collect();
    take(&mut writer, &old);
    let clock = store.clock();
    clock.jump_to(FIRST_MOMENT.saturating_add_micros(470 * DAY));
    let fresh = [call(469 * DAY, 2)];
    take(&mut writer, &fresh);
    store.retain();
    assert_eq!(store.rows(), 1);
    assert_eq!(store.sums(&Asked::default()).calls, 31);
    assert_eq!(take(&mut writer, &old).expired, 30);
    assert_eq!(store.sums(&Asked::default()).calls, 31);
    assert_eq!(take(&mut writer, &fresh).inserted, 0);
}

/// The book belongs to the store: an open writer takes the newest revision with its next batch.
pub fn a_new_revision_of_the_book_prices_the_next_batch(store: &dyn ContractStore) {
    let mut writer = store.writer();
    take(&mut writer, &[call(1, 1)]);
    store.add_book_revision();
    let mut merged = call(1, 1);
    merged.rev = 1;
    merged.duration_us = Some(1);
    take(&mut writer, &[merged, call(2, 2)]);
    for (after_us, random) in [(1, 1), (2, 2)] {
        let (_, cost) = store.find(call(after_us, random).call_id).unwrap();
        assert_eq!(cost.book_rev, Some(2));
    }
}

/// Sums are checked; the batch is refused whole, and each row alone is taken or refused.
pub fn a_row_whose_sum_does_not_fit_is_refused_and_leaves_nothing(store: &dyn ContractStore) {
    let mut writer = store.writer();
    let mut batch = [call(1, 1), call(2, 2)];
    for record in &mut batch {
        record.usage.input_tokens = Some(u64::from(u32::MAX) << 31);
    }
    let error = writer.write(&batch).unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Reject, "{error}");
    assert_eq!((store.rows(), store.sums(&Asked::default()).calls), (0, 0));
    assert_eq!(take(&mut writer, &batch[..1]).inserted, 1);
    let error = writer.write(&batch[1..]).unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Reject, "{error}");
    assert_eq!(store.sums(&Asked::default()).calls, 1);
}

/// Quotes, wide characters, NUL: nothing that a host calls its callers breaks a batch.
pub fn a_name_of_any_characters_is_taken(store: &dyn ContractStore) {
    let names = [
        "it's", "\"q\"", "a\\b", "größe", "🦀", "{null}", "NULL", "a,b", "a\0b", "",
    ];
    let batch: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| {
            let mut record = call(n * 1_000, n.cast_unsigned());
            record.caller = Some((*name).to_owned());
            record.project = Some((*name).to_owned());
            record.request_id = Some((*name).to_owned());
            record
        })
        .collect();
    let mut writer = store.writer();
    assert_eq!(take(&mut writer, &batch).inserted, names.len() as u64);
    assert_eq!(take(&mut writer, &batch).inserted, 0);
    for record in batch
        .iter()
        .filter(|record| record.caller.as_deref() != Some("a\0b"))
    {
        let (stored, _) = store.find(record.call_id).unwrap();
        assert_eq!(stored.caller, record.caller);
        assert_eq!(stored.project, record.project);
        let asked = Asked {
            caller: record.caller.clone(),
            ..Asked::default()
        };
        assert_eq!(store.list(&asked, None, 10), [record.call_id]);
    }
}
