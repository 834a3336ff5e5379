//! What a host learns of each call as it ends, beside the row: for metrics and the summary of a run.

use std::time::Duration;

use callmeter_core::{Billing, ErrorKind, Operation, PicoUsd, Status, Usage};

/// Is told of every call that ends, after its row is made.
pub trait CallObserver: Send + Sync + 'static {
    /// The answer to a call began: its client has seen nothing of it yet. Not told of a call that is only known by
    /// its answer. Runs on the proxy's runtime and must not block.
    fn answered(&self, route: &str, provider: &str) {
        let _ = (route, provider);
    }

    /// A call, one try of a chain, ended. Runs on the proxy's runtime and must not block.
    fn ended(&self, call: &EndedCall<'_>);
}

/// A call that ended. It holds no word of the traffic.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EndedCall<'a> {
    /// Who called.
    pub caller: &'a str,
    /// Who was asked; empty when nobody known.
    pub provider: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// The model that was asked for; empty when not known.
    pub model_requested: &'a str,
    /// The model that answered, where the provider said so.
    pub model: Option<&'a str>,
    /// What the model was asked to do.
    pub operation: Operation,
    /// How the call is paid for.
    pub billing: Billing,
    /// How it ended.
    pub status: &'a Status,
    /// Why it failed.
    pub error_kind: Option<ErrorKind>,
    /// The HTTP status, where there was an answer.
    pub http_status: Option<u16>,
    /// What it used.
    pub usage: &'a Usage,
    /// What the provider says that it cost.
    pub reported_cost: Option<PicoUsd>,
    /// From the opening of the try to its end.
    pub duration: Duration,
    /// To the first part of the answer itself.
    pub ttft: Option<Duration>,
    /// Whether the answer was a stream.
    pub is_streaming: bool,
    /// Which try of its chain it was, from 1.
    pub attempt: u32,
}
