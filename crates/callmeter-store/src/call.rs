//! A call as the table `calls` holds it: a record and its cost to columns, and back without a loss.
//!
//! What reports ask for stands in columns, recurring words as numbers; everything else of the record is
//! encoded in `ext`. `given` tells which of the columns that always hold something the record gave. Columns and
//! their order are the same in every store; how they are bound and read is left to its module.

use callmeter_core::{
    CallId, CallRecord, Cost, CostSource, DecodeError, ErrorKind, Field, FieldSet, PicoUsd,
    PriceMatch, Status, UnpricedReason,
};

use crate::StoreError;
use crate::names::{NameKind, OTHER_SCOPE, ScopeWords};

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

    /// Whether it carries `id` as its request id, response id or trace id.
    pub(crate) fn carries(&self, id: &str) -> bool {
        let record = &self.record;
        [&record.request_id, &record.response_id, &record.trace_id]
            .iter()
            .any(|given| given.as_deref() == Some(id))
    }
}

/// The numbers of a call's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordNumbers {
    pub(crate) scope: i64,
    pub(crate) caller: i64,
    pub(crate) provider: i64,
    pub(crate) model: i64,
    pub(crate) status: i64,
    pub(crate) fallback_to: Option<i64>,
    pub(crate) call_site: Option<i64>,
    pub(crate) host_name: Option<i64>,
    pub(crate) sdk: Option<i64>,
}

impl WordNumbers {
    /// Looks every word up by `number`.
    pub(crate) fn of(
        record: &CallRecord,
        scope: i64,
        mut number: impl FnMut(NameKind, &str) -> Result<i64, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut some = |kind, word: Option<&str>| word.map(|word| number(kind, word)).transpose();
        Ok(Self {
            scope,
            fallback_to: some(NameKind::Fallback, record.fallback_to.as_deref())?,
            call_site: some(NameKind::CallSite, record.call_site.as_deref())?,
            host_name: some(NameKind::HostName, record.host_name.as_deref())?,
            sdk: some(NameKind::Sdk, record.sdk.as_deref())?,
            caller: number(NameKind::Caller, record.caller_or_unknown())?,
            provider: number(NameKind::Provider, record.provider_or_unknown())?,
            model: number(NameKind::Model, record.model_or_requested())?,
            status: number(NameKind::Status, record.status_or_ok().as_str())?,
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

/// How many columns come before `ext`.
pub(crate) const COLUMNS: usize = 33;

/// Where `given` stands among them.
pub(crate) const GIVEN: usize = 11;

/// The columns of `calls` before `ext`, in their order.
#[cfg(feature = "postgres")]
pub(crate) const NUMBERS: [&str; COLUMNS] = [
    "hi",
    "lo",
    "scope",
    "caller",
    "provider",
    "model",
    "status",
    "fallback_to",
    "call_site",
    "host_name",
    "sdk",
    "given",
    "duration_us",
    "ttft_us",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cache_hit",
    "rag_hit",
    "error_kind",
    "http_status",
    "cost_picousd",
    "computed_cost_picousd",
    "unpriced_reason",
    "cost_source",
    "price",
    "price_match",
    "book_rev",
    "request_key",
    "response_key",
    "trace_key",
];

/// A row of `calls` without `ext`, in the order of [`NUMBERS`].
pub(crate) type CallNumbers = [Option<i64>; COLUMNS];

/// Puts a call into columns and the rest of it into `ext`. `price` is the number of the cost's price.
pub(crate) fn to_columns(
    numbers: &WordNumbers,
    record: &CallRecord,
    cost: &Cost,
    price: Option<i64>,
    ext: &mut Vec<u8>,
) -> CallNumbers {
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
    let computed = cost
        .computed_cost
        .filter(|_| cost.computed_cost != cost.cost);
    let usage = &record.usage;
    let count = |count: Option<u64>| count.map(u64::cast_signed);
    let key = |id: &Option<String>| id.as_deref().map(key_of);
    [
        Some(record.call_id.hi()),
        Some(record.call_id.lo()),
        Some(numbers.scope),
        Some(numbers.caller),
        Some(numbers.provider),
        Some(numbers.model),
        Some(numbers.status),
        numbers.fallback_to,
        numbers.call_site,
        numbers.host_name,
        numbers.sdk,
        Some(given),
        count(record.duration_us),
        count(record.ttft_us),
        count(usage.input_tokens),
        count(usage.output_tokens),
        count(usage.cache_read_tokens),
        count(usage.cache_write_tokens),
        count(usage.reasoning_tokens),
        record.cache_hit.map(i64::from),
        record.rag_hit.map(i64::from),
        record.error_kind.map(|kind| i64::from(kind.code())),
        record.http_status.map(i64::from),
        cost.cost.map(PicoUsd::as_pico),
        computed.map(PicoUsd::as_pico),
        cost.unpriced_reason.map(|reason| i64::from(reason.code())),
        cost.cost_source.map(|source| i64::from(source.code())),
        price,
        cost.price_match.map(|found| i64::from(found.code())),
        cost.book_rev.map(i64::from),
        key(&record.request_id),
        key(&record.response_id),
        key(&record.trace_id),
    ]
}

/// Where the words of numbers are looked up.
pub(crate) trait Words {
    /// The word of a number.
    fn word(&mut self, number: i64) -> Result<String, StoreError>;

    /// Puts the words of a scope on a record; the one beyond the limit has none.
    fn put_scope(&mut self, scope: i64, record: &mut CallRecord) -> Result<(), StoreError>;
}

/// Reads a call from its columns and `ext`.
pub(crate) fn from_columns(
    row: &CallNumbers,
    ext: &[u8],
    words: &mut impl Words,
) -> Result<StoredCall, StoreError> {
    let [
        hi,
        lo,
        scope,
        caller,
        provider,
        model,
        status,
        fallback_to,
        call_site,
        host_name,
        sdk,
        given,
        duration_us,
        ttft_us,
        input,
        output,
        read,
        written,
        reasoning,
        cache_hit,
        rag_hit,
        error_kind,
        http_status,
        picousd,
        computed,
        unpriced,
        source,
        price,
        price_match,
        book_rev,
        ..,
    ] = *row;
    let call_id = hi
        .zip(lo)
        .and_then(|(hi, lo)| CallId::from_halves(hi, lo))
        .ok_or(DecodeError::Corrupt)?;
    let mut record = CallRecord::decode_rest(call_id, ext)?;
    words.put_scope(scope.unwrap_or(OTHER_SCOPE), &mut record)?;
    let given = given.unwrap_or(0);
    let mut word = |number: Option<i64>| number.map(|number| words.word(number)).transpose();
    if given & CALLER != 0 {
        record.caller = word(caller)?;
    }
    if given & PROVIDER != 0 {
        record.provider = word(provider)?;
    }
    let model = word(model)?;
    if given & MODEL_REQUESTED != 0 {
        record.model_requested.clone_from(&model);
    }
    if given & MODEL != 0 {
        record.model = model;
    }
    if given & STATUS != 0 {
        record.status = word(status)?.map(|word| Status::from_word(&word));
    }
    record.fallback_to = word(fallback_to)?;
    record.call_site = word(call_site)?;
    record.host_name = word(host_name)?;
    record.sdk = word(sdk)?;
    let count = |count: Option<i64>| count.map(i64::cast_unsigned);
    record.duration_us = count(duration_us);
    record.ttft_us = count(ttft_us);
    record.usage.input_tokens = count(input);
    record.usage.output_tokens = count(output);
    record.usage.cache_read_tokens = count(read);
    record.usage.cache_write_tokens = count(written);
    record.usage.reasoning_tokens = count(reasoning);
    record.cache_hit = cache_hit.map(|hit| hit != 0);
    record.rag_hit = rag_hit.map(|hit| hit != 0);
    let code = |code: Option<i64>| code.and_then(|code| u8::try_from(code).ok());
    record.error_kind = code(error_kind).and_then(ErrorKind::from_code);
    record.http_status = http_status.and_then(|status| u16::try_from(status).ok());
    let mut cost = Cost::default();
    cost.cost = picousd.map(PicoUsd::from_pico);
    cost.computed_cost = computed.map(PicoUsd::from_pico);
    cost.unpriced_reason = code(unpriced).and_then(UnpricedReason::from_code);
    cost.cost_source = code(source).and_then(CostSource::from_code);
    cost.price_id = word(price)?.map(Into::into);
    cost.price_match = code(price_match).and_then(PriceMatch::from_code);
    cost.book_rev = book_rev.and_then(|rev| u32::try_from(rev).ok());
    if given & COST_IS_COMPUTED != 0 {
        cost.computed_cost = cost.cost;
    }
    Ok(StoredCall { record, cost })
}

/// The scope's words on a record, where the store remembers scopes as [`ScopeWords`].
pub(crate) fn put_scope(words: Option<&ScopeWords>, record: &mut CallRecord) {
    if let Some(words) = words {
        words.put_on(record);
    }
}

/// A column's key of an id of any length: FNV-1a of 64 bits. Equal ids have equal keys; whoever looks one
/// up compares the id itself.
pub(crate) fn key_of(id: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.cast_signed()
}
