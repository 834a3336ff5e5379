//! A store on PostgreSQL against the database itself, and both stores' answers against the same questions to raw
//! rows.
//!
//! ```text
//! cargo bench -p callmeter-store --features postgres --bench postgres                  rows a second; questions at 1 million rows
//! cargo bench -p callmeter-store --features postgres --bench postgres -- --rows 10000000
//! cargo bench -p callmeter-store --features postgres --bench postgres -- --quick       that it runs
//! ```
//! The server is one of its own, durable (`fsync` and `synchronous_commit` on). Ways in are measured in turns, a
//! batch each, in wall time: what a shipper waits for. Questions are asked warm; shown is the median.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

#[cfg(all(unix, feature = "postgres"))]
mod ways;

#[cfg(all(unix, feature = "postgres"))]
mod questions;

#[cfg(all(unix, feature = "postgres"))]
fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` and `cargo bench -- --quick` only want to know that it runs.
    let is_quick = args.iter().any(|arg| arg == "--quick" || arg == "--test");
    let rows = args
        .iter()
        .position(|arg| arg == "--rows")
        .and_then(|at| args.get(at + 1)?.parse().ok())
        .unwrap_or(if is_quick { 4_000 } else { 1_000_000 });
    ways::measure(if is_quick { 2 } else { 40 });
    questions::measure(rows, if is_quick { 1 } else { 7 });
}

#[cfg(not(all(unix, feature = "postgres")))]
fn main() {
    println!("this bench needs --features postgres");
}
