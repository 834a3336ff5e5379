//! The closed lists: words that rows, reports and stores share.
//!
//! Each word has a number of its own that formats store; numbers are never reused. A number that
//! this build does not know belongs to a newer one: readers keep the field as it came.

use std::fmt;

/// Declares a closed list: its words, its stored numbers, and the ways between them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $code:literal $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$item_doc])* $item,)+ }

        impl $name {
            /// Every word of the list, in stored order.
            pub const ALL: &'static [Self] = &[$(Self::$item,)+];

            /// The word that rows and reports show.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word,)+ }
            }

            /// The number that formats store.
            pub const fn code(self) -> u8 {
                match self { $(Self::$item => $code,)+ }
            }

            /// The word stored as `code`, or `None` when a newer version made it.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$item),)+ _ => None }
            }

            /// The word, or `None` when it is not in the list.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$item),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
    };
}

words! {
    /// Which way in saw the call, the outermost first.
    Layer {
        /// A guard in the application.
        Guard = 1 "guard",
        /// A patched provider SDK.
        Sdk = 2 "sdk",
        /// The capture proxy.
        Proxy = 3 "proxy",
        /// An OpenTelemetry span.
        Span = 4 "span",
        /// A file or a provider's bill.
        Import = 5 "import",
    }
}

words! {
    /// Why a call failed: the nine kinds that providers tell apart, then those that only the caller sees.
    ErrorKind {
        /// Too many requests, or a quota used up.
        RateLimit = 1 "rate_limit",
        /// The key is missing, wrong or lacks a right.
        Auth = 2 "auth",
        /// The provider refused the request as malformed.
        InvalidRequest = 3 "invalid_request",
        /// The prompt is longer than the model takes.
        ContextLength = 4 "context_length",
        /// The provider has no capacity now.
        Overloaded = 5 "overloaded",
        /// No answer in time.
        Timeout = 6 "timeout",
        /// A safety filter stopped the request or the answer.
        ContentFilter = 7 "content_filter",
        /// No such model or resource.
        NotFound = 8 "not_found",
        /// The provider failed.
        Server = 9 "server",
        /// The provider was not reached.
        Network = 10 "network",
        /// The host gave the call up.
        Cancelled = 11 "cancelled",
        /// The host panicked during the call.
        Panic = 12 "panic",
        /// The guard was left without a word, as by an early return.
        Unfinished = 13 "unfinished",
        /// The caller said so in its own words.
        Caller = 14 "caller",
        /// An error of another kind.
        Other = 15 "other",
    }
}

impl ErrorKind {
    /// The kind that an HTTP status tells by itself.
    pub const fn of_http_status(status: u16) -> Self {
        match status {
            400 | 405 | 413 | 415 | 422 => Self::InvalidRequest,
            401 | 403 => Self::Auth,
            402 | 429 => Self::RateLimit,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            503 | 529 => Self::Overloaded,
            500..=599 => Self::Server,
            _ => Self::Other,
        }
    }
}

words! {
    /// What the call asked the model to do.
    Operation {
        /// A conversation.
        Chat = 1 "chat",
        /// Text continued.
        Completion = 2 "completion",
        /// Vectors of texts.
        Embedding = 3 "embedding",
        /// Images made or edited.
        Image = 4 "image",
        /// Speech or transcription.
        Audio = 5 "audio",
        /// Documents ranked.
        Rerank = 6 "rerank",
        /// Content judged.
        Moderation = 7 "moderation",
        /// Anything else.
        Other = 8 "other",
    }
}

words! {
    /// How the call is paid for. Metered money and plan usage never share a sum.
    Billing {
        /// By the token.
        Metered = 1 "metered",
        /// Under a subscription.
        Plan = 2 "plan",
        /// On machines of one's own.
        SelfHosted = 3 "self_hosted",
        /// Under a free quota.
        Free = 4 "free",
        /// Not known.
        Unknown = 5 "unknown",
    }
}

words! {
    /// Where the counts of a row come from.
    UsageSource {
        /// The response's body.
        Body = 1 "body",
        /// The events of a stream.
        Stream = 2 "stream",
        /// The response's headers.
        Header = 3 "header",
        /// The caller said them.
        Caller = 4 "caller",
        /// An OpenTelemetry span.
        Otlp = 5 "otlp",
        /// An import.
        Import = 6 "import",
        /// Reckoned, not reported.
        Estimated = 7 "estimated",
        /// Found in a format that callmeter does not know.
        Guessed = 8 "guessed",
        /// There are none.
        None = 9 "none",
    }
}

impl UsageSource {
    /// Whether counts of this source yield to reported ones.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Estimated | Self::Guessed | Self::None)
    }
}

words! {
    /// Whose figure the cost is (pricing rule R-18).
    CostSource {
        /// callmeter's own catalogue.
        Catalogue = 1 "catalogue",
        /// The provider said it in its response.
        Provider = 2 "provider",
        /// The user's price book.
        Book = 3 "book",
    }
}

words! {
    /// How the model's name led to its price (pricing rule R-19).
    PriceMatch {
        /// The very name.
        Exact = 1 "exact",
        /// A listed other name.
        Alias = 2 "alias",
        /// The name without a resource prefix, in any case.
        Normalised = 3 "normalised",
        /// The name without its date.
        Snapshot = 4 "snapshot",
        /// A rule of the book, such as a self-hosted provider.
        Rule = 5 "rule",
    }
}

words! {
    /// Why a call has no cost (pricing rule R-6).
    UnpricedReason {
        /// The book does not know the provider.
        UnknownProvider = 1 "unknown_provider",
        /// The book does not know the model under that provider.
        UnknownModel = 2 "unknown_model",
        /// The book knows no price for that time.
        NoPriceAtTime = 3 "no_price_at_time",
        /// The price lacks a rate for a kind of token that was used.
        MissingRate = 4 "missing_rate",
        /// The call reported no usage.
        NoUsage = 5 "no_usage",
        /// The amount does not fit.
        Overflow = 6 "overflow",
        /// Another row of the same call carries the money.
        CountedElsewhere = 7 "counted_elsewhere",
        /// The price does not know the service tier that was asked for.
        Tier = 8 "tier",
    }
}

words! {
    /// Why a finished call did not reach the spool (promise CM-3).
    DropReason {
        /// The flight buffer had no free slot.
        FlightFull = 1 "flight_full",
        /// The disk had no room for the spool.
        DiskFull = 2 "disk_full",
        /// The spool reached its ceiling.
        Ceiling = 3 "ceiling",
        /// The memory that stands in for the spool was full.
        MemoryFull = 4 "memory_full",
        /// The slot was torn by a power loss.
        Torn = 5 "torn",
        /// A forked child finished its parent's call.
        Forked = 6 "forked",
    }
}

/// How the call ended: one of five words, or the caller's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It was answered.
    Ok,
    /// It failed.
    Error,
    /// It failed and another took over.
    Fallback,
    /// The host gave it up.
    Cancelled,
    /// Its process died meanwhile.
    Aborted,
    /// The caller's own word, at most 16 characters.
    Custom(Box<str>),
}

impl Status {
    /// Reads a status word; any word is one.
    pub fn from_word(word: &str) -> Self {
        match word {
            "ok" => Self::Ok,
            "error" => Self::Error,
            "fallback" => Self::Fallback,
            "cancelled" => Self::Cancelled,
            "aborted" => Self::Aborted,
            other => Self::Custom(other.into()),
        }
    }

    /// The word that rows and reports show.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Fallback => "fallback",
            Self::Cancelled => "cancelled",
            Self::Aborted => "aborted",
            Self::Custom(word) => word,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_lead_back_to_their_item() {
        macro_rules! check { ($($list:ident),+) => { $(for item in $list::ALL {
            assert_eq!($list::from_code(item.code()), Some(*item));
            assert_eq!($list::from_word(item.as_str()), Some(*item));
        })+ } }
        check!(
            Layer,
            ErrorKind,
            Operation,
            Billing,
            UsageSource,
            CostSource,
            PriceMatch
        );
        check!(UnpricedReason, DropReason);
        for word in ["ok", "error", "fallback", "cancelled", "aborted", "retried"] {
            assert_eq!(Status::from_word(word).as_str(), word);
        }
    }
}
