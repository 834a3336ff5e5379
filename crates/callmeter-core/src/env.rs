//! Every environment variable that callmeter reads, declared once.
//!
//! Owns the names and what each is for; reading them is left to the crates that run.

macro_rules! variables {
    ($($(#[$doc:meta])* $name:ident = $text:literal $purpose:literal,)+) => {
        /// An environment variable of callmeter. Any setting may also be given as `CALLMETER_` and its
        /// key in capitals, with two underscores for each dot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum EnvVar { $($(#[$doc])* $name,)+ }

        impl EnvVar {
            /// Every variable, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The variable's name.
            pub const fn name(self) -> &'static str { match self { $(Self::$name => $text,)+ } }

            /// What it does, in a sentence.
            pub const fn purpose(self) -> &'static str { match self { $(Self::$name => $purpose,)+ } }
        }
    };
}

variables! {
    /// The kill switch of the replaced module.
    LegacyEnabled = "AI_CALL_LOGGING_ENABLED" "false, 0, no or off switches recording off; anything else leaves it on",
    /// The kill switch.
    Enabled = "CALLMETER_ENABLED" "false, 0, no or off switches recording off; anything else leaves it on",
    /// The configuration file.
    Config = "CALLMETER_CONFIG" "the configuration file, instead of the callmeter.toml that would be found",
    /// The home.
    Home = "CALLMETER_HOME" "the directory for the spool and the embedded store, instead of the platform's data directory",
    /// The store.
    StoreUrl = "CALLMETER_STORE_URL" "the store's URL, as store.url",
    /// The key of keyed hashes.
    HashKey = "CALLMETER_HASH_KEY" "the key of keyed hashes, one for all hosts that share a store",
    /// The longest wait at exit.
    ExitFlush = "CALLMETER_EXIT_FLUSH" "the longest wait for the last rows when the process ends, such as 2s",
    /// The proxy of the `callmeter run` that started this process.
    RunUrl = "CALLMETER_RUN_URL" "set by `callmeter run` for its child: where its proxy is; `/u/NAME` behind it leads to a provider",
    /// The marks of the `callmeter run` that started this process.
    Run = "CALLMETER_RUN" "set by `callmeter run` for its child: where it marks which providers its proxy served, so that no call counts twice",
    /// No colour.
    NoColor = "NO_COLOR" "any value switches colour off",
}

/// Whether `value` switches the kill switch off: `false`, `0`, `no`, `off`, trimmed, in any case.
///
/// ```
/// assert!(callmeter_core::is_off_word(" OFF "));
/// assert!(!callmeter_core::is_off_word(""));
/// ```
pub fn is_off_word(value: &str) -> bool {
    let word = value.trim();
    ["false", "0", "no", "off"]
        .iter()
        .any(|off| word.eq_ignore_ascii_case(off))
}
