//! The capture proxy: forwards provider traffic unchanged, and records each call that passes.
//!
//! ```text
//! client ─▶ connection ─▶ service ─▶ target ─▶ tries ─▶ pool ─▶ upstream
//!                            │  who is asked, by whom   │
//!                            ▼                          ▼
//!                        admission                 metered body ─▶ wire ─▶ recorder
//! ```
//! Promises: what passes is not changed but where the guide says so (CM-1); nothing is held back, and
//! memory is bounded whatever is sent (CM-8); no key, prompt or answer is kept, logged or shown by any
//! `Debug` (CM-6); an upstream is a configured name, never an address from a request (CM-11); recording
//! that is off, full or broken lets traffic flow all the same.
//!
//! Leaves to others: reading traffic (`callmeter-wire`), rows (`callmeter`), settings and commands (the
//! command line). It listens on the caller's tokio runtime and serves
//! on threads of its own, one for each core.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use callmeter_proxy::{Proxy, ProxyConfig, Route};
//!
//! let mut config = ProxyConfig::default();
//! config.listen = "127.0.0.1:0".parse()?;
//! config.routes.insert("ollama".into(), Route::to("http://gcp-a:11434".parse()?));
//! let proxy = Proxy::bind(config, None).await?;
//! println!("listening on {}", proxy.local_addr());
//! let summary = proxy.serve(async { /* … until told to stop … */ }).await;
//! assert!(summary.is_drained);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod admin;
mod admission;
mod answer;
mod attribution;
mod body;
mod budgets;
mod client_io;
mod config;
mod connection;
mod dial;
mod engine;
mod error;
mod exchange;
mod failure;
mod hop;
mod interim;
mod kept;
mod observe;
mod outer;
mod pool;
mod proxy;
mod record;
mod rewrite;
mod routes;
mod tally;
mod tunnel;
mod url;
mod usage_event;
mod workers;

pub use admin::{Admin, AdminAnswer};
pub use config::{Limits, Outbound, ProxyConfig, Route, Timeouts, Upstream};
pub use error::ProxyError;
pub use observe::{CallObserver, EndedCall};
pub use proxy::{Proxy, Summary};
pub use tally::{Figures, Tally};
pub use url::{UpstreamUrl, UrlError};
