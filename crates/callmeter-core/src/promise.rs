//! The promises by their ids, as tests and production counters cite them.

use std::fmt;

macro_rules! promises {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)+) => {
        /// A promise that a release holds; documented in `docs/concepts/promises.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Promise { $($(#[$doc])* $name,)+ }

        impl Promise {
            /// The id, such as `CM-3`.
            pub const fn id(self) -> &'static str { match self { $(Self::$name => $id,)+ } }
        }
    };
}

promises! {
    /// The host's result, exception, cancellation and streams are unchanged, whatever happens here.
    Transparent = "CM-1",
    /// Recording does no I/O on the caller's thread and never waits.
    NonBlocking = "CM-2",
    /// Each finished call is in exactly one place, and the places are counted.
    Conservation = "CM-3",
    /// A finished call outlives its process.
    Durable = "CM-4",
    /// One row per call, whatever is sent again.
    ExactlyOnce = "CM-5",
    /// No word of a prompt or a response is kept, nor a key.
    Private = "CM-6",
    /// Cost is exact, names its price, and is null exactly when unpriced.
    HonestCost = "CM-7",
    /// Memory and disk have ceilings.
    Bounded = "CM-8",
    /// Recording can be switched off at once.
    KillSwitch = "CM-9",
    /// A store that was down is caught up with by itself.
    SelfHealing = "CM-10",
    /// Nothing listens beyond loopback without a token.
    ClosedDoor = "CM-11",
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
