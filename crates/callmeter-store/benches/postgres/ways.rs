//! Rows a second, durable: the store with and without its rollups, plain binary COPY into the same indexed table, and
//! one row a transaction, as the module did that callmeter replaces.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callmeter_core::{CallId, CallRecord, Clock, Layer, Sink, Status, SystemClock, Timestamp};
use callmeter_store::{PostgresSchema, PostgresStore, StoreOptions, StoreUrl};
use callmeter_testkit::postgres::{Options, PostgresServer};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

pub(crate) const BATCH: u64 = 1_000;
const CALLERS: u64 = 34;
const SINGLE_ROWS: usize = 50;
const MODELS: [(&str, &str); 6] = [
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-6"),
    ("gemini", "gemini-2.5-flash"),
    ("ollama", "llama3.1:8b"),
    ("aws_bedrock", "amazon.nova-pro-v1:0"),
];

/// A batch of calls by callers and models as a back office has them, `step_us` apart.
pub(crate) fn batch(number: u64, start: Timestamp, step_us: u64) -> Vec<CallRecord> {
    (0..BATCH)
        .map(|n| {
            let at = number * BATCH + n;
            let mix = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let micros = i64::try_from(at * step_us + mix % step_us).unwrap();
            let id = CallId::new(start.saturating_add_micros(micros), mix);
            let mut record = CallRecord::new(id, Layer::Guard, 0);
            let (provider, model) = MODELS[(mix >> 20) as usize % MODELS.len()];
            let caller = (mix >> 32) % CALLERS;
            record.caller = Some(format!("caller_{caller}"));
            record.provider = Some(provider.to_owned());
            record.model_requested = Some(model.to_owned());
            record.project = Some("shop".to_owned());
            record.service = Some("backoffice".to_owned());
            record.call_site = Some(format!("src/callers.rs:{caller}"));
            record.host_name = Some("web-1".to_owned());
            record.sdk = Some("callmeter-rust/0.1.0".to_owned());
            record.request_id = Some(format!("req-{at}"));
            record.duration_us = Some(200_000 + mix % 8_000_000);
            record.usage.input_tokens = Some(100 + mix % 4_000);
            record.usage.output_tokens = Some(10 + mix % 600);
            let is_failed = mix.is_multiple_of(50);
            record.status = Some(if is_failed { Status::Error } else { Status::Ok });
            record.cache_hit = Some(mix.is_multiple_of(10));
            record
        })
        .collect()
}

/// Makes a store in a new database.
pub(crate) fn make(server: &PostgresServer, name: &str) -> StoreUrl {
    server.psql("postgres", &format!("CREATE DATABASE {name}"));
    let url = StoreUrl::parse(&server.url(name)).unwrap();
    let mut schema = PostgresSchema::new(url.postgres().unwrap(), Arc::new(SystemClock)).unwrap();
    schema.migrate(&StoreOptions::default()).unwrap();
    url
}

pub(crate) fn open(url: &StoreUrl) -> PostgresStore {
    PostgresStore::open(
        url.postgres().unwrap(),
        StoreOptions::default(),
        Arc::new(SystemClock),
    )
    .unwrap()
}

fn values(row: &RawRow) -> Vec<&(dyn ToSql + Sync)> {
    row.iter().map(|value| &**value).collect()
}

/// A connection for the baselines.
pub(crate) struct Raw {
    runtime: tokio::runtime::Runtime,
    client: Client,
    columns: Vec<Type>,
}

/// A row as the baseline sends it: every column already of its type.
pub(crate) type RawRow = Vec<Box<dyn ToSql + Sync>>;

impl Raw {
    pub(crate) fn connect(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (client, columns) = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let statement = client
                .prepare("SELECT * FROM callmeter.calls LIMIT 0")
                .await;
            let statement = statement.unwrap();
            let columns = statement.columns().iter();
            let columns = columns.map(|column| column.type_().clone());
            (client, columns.collect())
        });
        Self {
            runtime,
            client,
            columns,
        }
    }

    /// Reads the rows of a batch as they are stored.
    fn rows_of(&self, calls: &[CallRecord]) -> Vec<RawRow> {
        let his = calls.iter().map(|call| call.call_id.hi());
        let range = (his.clone().min().unwrap(), his.max().unwrap());
        let sql = "SELECT * FROM callmeter.calls WHERE hi BETWEEN $1 AND $2 ORDER BY hi, lo";
        let rows = self
            .runtime
            .block_on(self.client.query(sql, &[&range.0, &range.1]))
            .unwrap();
        rows.iter()
            .map(|row| {
                self.columns
                    .iter()
                    .enumerate()
                    .map(|(at, kind)| -> Box<dyn ToSql + Sync> {
                        match *kind {
                            Type::INT2 => Box::new(row.get::<_, Option<i16>>(at)),
                            Type::INT4 => Box::new(row.get::<_, Option<i32>>(at)),
                            Type::INT8 => Box::new(row.get::<_, Option<i64>>(at)),
                            _ => Box::new(row.get::<_, Option<Vec<u8>>>(at)),
                        }
                    })
                    .collect()
            })
            .collect()
    }

    fn copy(&self, rows: &[RawRow]) {
        self.runtime.block_on(async {
            let sink = self
                .client
                .copy_in("COPY callmeter.calls FROM STDIN (FORMAT binary)")
                .await;
            let mut writer = pin!(BinaryCopyInWriter::new(sink.unwrap(), &self.columns));
            for row in rows {
                writer.as_mut().write(&values(row)).await.unwrap();
            }
            writer.finish().await.unwrap();
        });
    }

    fn insert_one_by_one(&self, rows: &[RawRow]) {
        let marks: Vec<String> = (1..=self.columns.len())
            .map(|at| format!("${at}"))
            .collect();
        let sql = format!("INSERT INTO callmeter.calls VALUES ({})", marks.join(", "));
        self.runtime.block_on(async {
            let statement = self.client.prepare(&sql).await.unwrap();
            for row in rows {
                let values = values(row);
                self.client.execute(&statement, &values).await.unwrap();
            }
        });
    }

    /// How long a query takes whose answer is read whole.
    pub(crate) fn time(&self, sql: &str) -> Duration {
        let began = Instant::now();
        let rows = self.runtime.block_on(self.client.query(sql, &[])).unwrap();
        std::hint::black_box(rows.len());
        began.elapsed()
    }

    pub(crate) fn run(&self, sql: &str) {
        self.runtime
            .block_on(self.client.batch_execute(sql))
            .unwrap();
    }
}

pub(crate) fn measure(rounds: u64) {
    let server = PostgresServer::start(&Options::durable());
    let now = SystemClock.now();
    let start = now.saturating_add_micros(-5 * 86_400_000_000);
    let names = ["source", "copied", "single", "whole", "bare"];
    let urls = names.map(|name| make(&server, name));
    let [source, _, _, whole, bare] = &urls;
    let [from, copied, single] =
        ["source", "copied", "single"].map(|name| Raw::connect(&server.url(name)));
    let (mut source, mut whole) = (open(source), open(whole));
    let mut bare = open(bare).without_rollups();
    let mut took = [Duration::ZERO; 4];
    for number in 0..=rounds {
        let calls = batch(number, start, 250_000);
        source.write(&calls).unwrap();
        let rows = from.rows_of(&calls);
        let mut times = [Duration::ZERO; 4];
        let ways: [&mut dyn FnMut(); 4] = [
            &mut || copied.copy(&rows),
            &mut || assert_eq!(bare.write(&calls).unwrap().inserted, BATCH),
            &mut || assert_eq!(whole.write(&calls).unwrap().inserted, BATCH),
            &mut || single.insert_one_by_one(rows.get(..SINGLE_ROWS).unwrap_or(&rows)),
        ];
        for (way, time) in ways.into_iter().zip(&mut times) {
            let began = Instant::now();
            way();
            *time = began.elapsed();
        }
        // The first round warms up.
        if number > 0 {
            took.iter_mut()
                .zip(times)
                .for_each(|(sum, time)| *sum += time);
        }
    }
    let rate = |at: usize, rows: f64| rows * rounds as f64 / took[at].as_secs_f64();
    let [copy, off, on] = [0, 1, 2].map(|at| rate(at, BATCH as f64));
    let one = rate(3, SINGLE_ROWS as f64);
    println!("rows a second, durable, batches of {BATCH}, {rounds} rounds");
    println!("  binary COPY, same table and indexes   {copy:>9.0}");
    println!(
        "  callmeter, rollups off                {off:>9.0}   {:.2} of COPY (aim 0.85)",
        off / copy
    );
    println!(
        "  callmeter                             {on:>9.0}   {:.2} of rollups off (aim 0.6)",
        on / off
    );
    println!(
        "  one row a transaction                 {one:>9.0}   callmeter is {:.0} times it (aim 50)",
        on / one
    );
}
