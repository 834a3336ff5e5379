//! A call as the table `calls` holds it: a record and its cost to columns, and back without a loss.
//!
//! What reports ask for stands in columns, recurring words as numbers; everything else of the record is
//! encoded in `ext`. `given` tells which of the columns that always hold something the record gave.

use callmeter_core::{
    CallId, CallRecord, Cost, CostSource, ErrorKind, Field, FieldSet, PicoUsd, PriceMatch, Status,
    UnpricedReason,
};
use rusqlite::{Connection, Row, Transaction};

use super::names::{NameKind, Names, OTHER_SCOPE};
use crate::StoreError;

/// A stored call: the record as merged so far, and what the store made of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredCall {
    /// The record.
    pub record: CallRecord,
    /// Its cost.
    pub cost: Cost,
}

impl StoredCall {
    /// The call as one line of JSON; see [`CallRecord::to_json`].
    pub fn to_json(&self) -> String {
        self.record.to_json(Some(&self.cost))
    }
}

/// The numbers of a call's words.
#[derive(Clone, Copy, Debug)]
pub(super) struct WordNumbers {
    pub(super) scope: i64,
    pub(super) caller: i64,
    pub(super) provider: i64,
    pub(super) model: i64,
    pub(super) status: i64,
    pub(super) fallback_to: Option<i64>,
    call_site: Option<i64>,
    host_name: Option<i64>,
    sdk: Option<i64>,
}

impl WordNumbers {
    /// Looks every word up; new ones are added in the connection's transaction.
    pub(super) fn of(
        conn: &Connection,
        names: &mut Names,
        record: &CallRecord,
    ) -> Result<Self, StoreError> {
        let mut some =
            |kind, word: Option<&str>| word.map(|word| names.number(conn, kind, word)).transpose();
        Ok(Self {
            fallback_to: some(NameKind::Fallback, record.fallback_to.as_deref())?,
            call_site: some(NameKind::CallSite, record.call_site.as_deref())?,
            host_name: some(NameKind::HostName, record.host_name.as_deref())?,
            sdk: some(NameKind::Sdk, record.sdk.as_deref())?,
            caller: names.number(conn, NameKind::Caller, record.caller_or_unknown())?,
            provider: names.number(conn, NameKind::Provider, record.provider_or_unknown())?,
            model: names.number(conn, NameKind::Model, record.model_or_requested())?,
            status: names.number(conn, NameKind::Status, record.status_or_ok().as_str())?,
            scope: names.scope(conn, record)?,
        })
    }
}

const CALLER: i64 = 1;
const PROVIDER: i64 = 2;
const MODEL: i64 = 4;
const MODEL_REQUESTED: i64 = 8;
const STATUS: i64 = 16;
/// The computed cost is the cost; its own column stays empty.
const COST_IS_COMPUTED: i64 = 32;

/// `SELECT`s the columns that [`read`] expects, in its order, with what follows the table's name.
macro_rules! select_calls {
    ($rest:literal) => {
        concat!(
            "SELECT hi, lo, scope, caller, provider, model, status, fallback_to, call_site, host_name, sdk, \
             given, duration_us, ttft_us, input_tokens, output_tokens, cache_read_tokens, \
             cache_write_tokens, reasoning_tokens, cache_hit, rag_hit, error_kind, http_status, \
             cost_picousd, computed_cost_picousd, unpriced_reason, cost_source, price, price_match, \
             book_rev, ext FROM calls ",
            $rest
        )
    };
}
pub(super) use select_calls;

const ALWAYS_IN_COLUMNS: FieldSet = FieldSet::from_bits(0)
    .with(Field::Caller)
    .with(Field::Provider)
    .with(Field::Model)
    .with(Field::Status)
    .with(Field::FallbackTo)
    .with(Field::CallSite)
    .with(Field::HostName)
    .with(Field::Sdk)
    .with(Field::DurationUs)
    .with(Field::TtftUs)
    .with(Field::InputTokens)
    .with(Field::OutputTokens)
    .with(Field::CacheReadTokens)
    .with(Field::CacheWriteTokens)
    .with(Field::ReasoningTokens)
    .with(Field::CacheHit)
    .with(Field::RagHit)
    .with(Field::ErrorKind)
    .with(Field::HttpStatus);

const SCOPE_FIELDS: [Field; 6] = [
    Field::Project,
    Field::Team,
    Field::CostCenter,
    Field::Service,
    Field::Environment,
    Field::Billing,
];

/// Writes a call; with `replace` over the one that is there. Says whether a row was written.
pub(super) fn write(
    tx: &Transaction<'_>,
    names: &mut Names,
    numbers: &WordNumbers,
    record: &CallRecord,
    cost: &Cost,
    replace: bool,
    ext: &mut Vec<u8>,
) -> Result<bool, StoreError> {
    let mut given = 0;
    for (bit, is_given) in [
        (CALLER, record.caller.is_some()),
        (PROVIDER, record.provider.is_some()),
        (MODEL, record.model.is_some()),
        (STATUS, record.status.is_some()),
        (
            COST_IS_COMPUTED,
            cost.computed_cost.is_some() && cost.computed_cost == cost.cost,
        ),
    ] {
        if is_given {
            given |= bit;
        }
    }
    let mut in_columns = ALWAYS_IN_COLUMNS;
    if record.model_requested.as_deref() == Some(record.model_or_requested()) {
        given |= MODEL_REQUESTED;
        in_columns.insert(Field::ModelRequested);
    }
    if numbers.scope != OTHER_SCOPE {
        SCOPE_FIELDS
            .into_iter()
            .for_each(|field| in_columns.insert(field));
    }
    ext.clear();
    record.encode_rest(in_columns, ext);
    let price = match &cost.price_id {
        Some(id) => Some(names.number(tx, NameKind::Price, id)?),
        None => None,
    };
    let computed = cost
        .computed_cost
        .filter(|_| cost.computed_cost != cost.cost);
    let usage = &record.usage;
    let sql = if replace { REPLACE } else { INSERT };
    let mut statement = tx.prepare_cached(sql)?;
    let written = statement.execute(rusqlite::params![
        record.call_id.hi(),
        record.call_id.lo(),
        numbers.scope,
        numbers.caller,
        numbers.provider,
        numbers.model,
        numbers.status,
        numbers.fallback_to,
        numbers.call_site,
        numbers.host_name,
        numbers.sdk,
        given,
        record.duration_us.map(u64::cast_signed),
        record.ttft_us.map(u64::cast_signed),
        usage.input_tokens.map(u64::cast_signed),
        usage.output_tokens.map(u64::cast_signed),
        usage.cache_read_tokens.map(u64::cast_signed),
        usage.cache_write_tokens.map(u64::cast_signed),
        usage.reasoning_tokens.map(u64::cast_signed),
        record.cache_hit,
        record.rag_hit,
        record.error_kind.map(ErrorKind::code),
        record.http_status,
        cost.cost.map(PicoUsd::as_pico),
        computed.map(PicoUsd::as_pico),
        cost.unpriced_reason.map(UnpricedReason::code),
        cost.cost_source.map(CostSource::code),
        price,
        cost.price_match.map(PriceMatch::code),
        cost.book_rev,
        record.request_id.as_deref().map(key_of),
        record.response_id.as_deref().map(key_of),
        record.trace_id.as_deref().map(key_of),
        &*ext,
    ])?;
    Ok(written > 0)
}

const INSERT: &str = "INSERT INTO calls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
     ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34)
     ON CONFLICT DO NOTHING";
const REPLACE: &str = "INSERT OR REPLACE INTO calls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
     ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31,
     ?32, ?33, ?34)";

/// Reads a call by its id.
pub(super) fn find(
    conn: &Connection,
    names: &mut Names,
    id: CallId,
) -> Result<Option<StoredCall>, StoreError> {
    let mut statement = conn.prepare_cached(select_calls!("WHERE hi = ?1 AND lo = ?2"))?;
    let mut rows = statement.query((id.hi(), id.lo()))?;
    rows.next()?.map(|row| read(conn, names, row)).transpose()
}

/// Reads a call from a row of [`select_calls`].
pub(super) fn read(
    conn: &Connection,
    names: &mut Names,
    row: &Row<'_>,
) -> Result<StoredCall, StoreError> {
    let corrupt = callmeter_core::DecodeError::Corrupt;
    let call_id = CallId::from_halves(row.get(0)?, row.get(1)?).ok_or(corrupt)?;
    let ext = row.get_ref(30)?.as_blob().map_err(|_| corrupt)?;
    let mut record = CallRecord::decode_rest(call_id, ext)?;
    let given: i64 = row.get(11)?;
    if let Some(words) = names.scope_words(conn, row.get(2)?)? {
        record.project.clone_from(&words.project);
        record.team.clone_from(&words.team);
        record.cost_center.clone_from(&words.cost_center);
        record.service.clone_from(&words.service);
        record.environment.clone_from(&words.environment);
        record.billing = words.billing;
    }
    let mut word = |column: usize| -> Result<Option<String>, StoreError> {
        let number: Option<i64> = row.get(column)?;
        number
            .map(|number| names.word(conn, number).map(|word| word.to_string()))
            .transpose()
    };
    if given & CALLER != 0 {
        record.caller = word(3)?;
    }
    if given & PROVIDER != 0 {
        record.provider = word(4)?;
    }
    let model = word(5)?;
    if given & MODEL_REQUESTED != 0 {
        record.model_requested.clone_from(&model);
    }
    if given & MODEL != 0 {
        record.model = model;
    }
    if given & STATUS != 0 {
        record.status = word(6)?.map(|word| Status::from_word(&word));
    }
    record.fallback_to = word(7)?;
    record.call_site = word(8)?;
    record.host_name = word(9)?;
    record.sdk = word(10)?;
    let price_id = word(27)?;
    let count = |column: usize| {
        row.get::<_, Option<i64>>(column)
            .map(|n| n.map(i64::cast_unsigned))
    };
    record.duration_us = count(12)?;
    record.ttft_us = count(13)?;
    record.usage.input_tokens = count(14)?;
    record.usage.output_tokens = count(15)?;
    record.usage.cache_read_tokens = count(16)?;
    record.usage.cache_write_tokens = count(17)?;
    record.usage.reasoning_tokens = count(18)?;
    record.cache_hit = row.get(19)?;
    record.rag_hit = row.get(20)?;
    let code = |column: usize| row.get::<_, Option<u8>>(column);
    record.error_kind = code(21)?.and_then(ErrorKind::from_code);
    record.http_status = row.get(22)?;
    let mut cost = Cost::default();
    cost.cost = row.get::<_, Option<i64>>(23)?.map(PicoUsd::from_pico);
    cost.computed_cost = row.get::<_, Option<i64>>(24)?.map(PicoUsd::from_pico);
    cost.unpriced_reason = code(25)?.and_then(UnpricedReason::from_code);
    cost.cost_source = code(26)?.and_then(CostSource::from_code);
    cost.price_id = price_id;
    cost.price_match = code(28)?.and_then(PriceMatch::from_code);
    cost.book_rev = row.get(29)?;
    if given & COST_IS_COMPUTED != 0 {
        cost.computed_cost = cost.cost;
    }
    Ok(StoredCall { record, cost })
}

/// A column's key of an id of any length: FNV-1a of 64 bits. Equal ids have equal keys; whoever looks one
/// up compares the id itself.
pub(super) fn key_of(id: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.cast_signed()
}
