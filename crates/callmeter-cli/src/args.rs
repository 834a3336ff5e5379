//! The arguments, as they are typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Parser, Subcommand, ValueEnum};

/// One durable row for every LLM call: who called, what answered, tokens, time, cost, outcome.
#[derive(Debug, Parser)]
#[command(
    name = "callmeter",
    version,
    about,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// The store, instead of the one that the settings name, such as sqlite:calls.db or
    /// postgres://metrics@db/shop
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// The configuration file, instead of the callmeter.toml that is found
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print without colour
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print what is done
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Where calls go and how they stand (what callmeter prints without a command)
    Status,
    /// Replay a recorded workload into a store of its own and report on it
    Demo(DemoArgs),
    /// Calls, tokens, cost and errors, summed
    Report(ReportArgs),
    /// The newest calls
    Calls(CallsArgs),
    /// Everything about one call
    Show {
        /// A call id, request id, response id or trace id
        id: String,
    },
    /// The calls in flight of every process of this machine that records
    Top(TopArgs),
    /// Switch recording on again, in running processes too
    On(SwitchArgs),
    /// Switch recording off, in running processes too
    Off(OffArgs),
    /// Price stored calls anew: those without a price, or with --all every one
    Reprice(RepriceArgs),
    /// What the same calls would have cost by another book or with another model; nothing is written
    #[command(name = "what-if")]
    WhatIf(WhatIfArgs),
    /// What calls would cost on GPUs of one's own, and what those on them save
    Savings(SavingsArgs),
    /// Budgets: what is spent, and where it is going
    Budget {
        #[command(subcommand)]
        command: BudgetCommand,
    },
    /// Price calls from standard input, a line of JSON each
    Price(PriceArgs),
    /// The price book: what it says, what it lacks, and how it changes
    Prices {
        #[command(subcommand)]
        command: PricesCommand,
    },
    /// Read recorded exchanges with providers from standard input, a line of JSON each
    Inspect(InspectArgs),
    /// Run a command and record its calls, without a change to it
    Run(RunArgs),
    /// Be a proxy on this machine that records the calls that pass, and ship them
    Serve(ServeArgs),
    /// Ship what the processes of the home record, and what dead ones left, until told to stop
    Ship(ShipArgs),
    /// Check home, spool and store, and say what to do
    Doctor,
    /// Make and keep the schema of a store on PostgreSQL
    Migrate {
        #[command(subcommand)]
        command: Option<MigrateCommand>,
    },
    /// The settings and where each comes from
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// The versions of callmeter and its formats
    Version {
        /// Print the licences of the price lists that the built-in prices were made of
        #[arg(long)]
        licenses: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// The models that have a price, with today's
    List(PricesListArgs),
    /// Every price of a model: periods, tiers, variants, hours, regions, and where each is from
    Show {
        /// MODEL or PROVIDER/MODEL
        #[arg(value_name = "MODEL")]
        model: String,
        /// market, legacy, or the file of a book, instead of the store's
        #[arg(long, value_name = "BOOK")]
        book: Option<String>,
    },
    /// Calls in the store that have no price, and names with a price that may have been meant
    Unpriced(FilterArgs),
    /// Whether names have a price, and why, or whether the file of a book can be used
    Check {
        /// PROVIDER/MODEL, or the file of a book
        #[arg(value_name = "NAME|FILE", required = true)]
        names: Vec<String>,
        /// market, legacy, or the file of a book, instead of the store's
        #[arg(long, value_name = "BOOK")]
        book: Option<String>,
    },
    /// Compare prices from a file of litellm, genai-prices, models.dev or callmeter with the book; with --yes, take
    /// them as a layer of it
    Import(PricesImportArgs),
    /// Make a book the store's, for the calls that come; without one, list what the store has used
    Use {
        /// market, legacy, or the file of a book
        #[arg(value_name = "BOOK")]
        book: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct PricesListArgs {
    /// Of this provider only
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Of models whose name has this in it
    #[arg(long, value_name = "TEXT")]
    pub(crate) model: Option<String>,
    /// At this day or moment, instead of now
    #[arg(long, value_name = "WHEN")]
    pub(crate) at: Option<String>,
    /// market, legacy, or the file of a book, instead of the store's
    #[arg(long, value_name = "BOOK")]
    pub(crate) book: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 compared or taken, 1 failed, 2 wrong usage, 3 changes that look wrong were left out"
)]
pub(crate) struct PricesImportArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
    /// Take it: the store's book gets a revision
    #[arg(long)]
    pub(crate) yes: bool,
    /// Take changes of more than ten times, or to nothing, as well
    #[arg(long)]
    pub(crate) accept: bool,
    /// From when changed prices hold, instead of now
    #[arg(long, value_name = "WHEN", conflicts_with = "correct")]
    pub(crate) effective: Option<String>,
    /// Correct the past: prices hold from the beginning, or from when the file says
    #[arg(long)]
    pub(crate) correct: bool,
    /// Write the book with the import to a file, instead of to the store
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<String>,
    /// market or the file of a book, to compare with instead of the store's
    #[arg(long, value_name = "BOOK")]
    pub(crate) book: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Say which schema the database has and how its partitions stand
    Status,
    /// Print the SQL, for somebody else to run, and the rights that roles need
    Print {
        /// The role that writes, where the store is a table ai_calls
        #[arg(long, value_name = "NAME")]
        role: Option<String>,
    },
    /// Say what it takes to bring a table ai_calls into callmeter's own tables, in place and while it is
    /// written; with --apply, do it
    Adopt(AdoptArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct AdoptArgs {
    /// Do it; what a run that was stopped has done stays done
    #[arg(long)]
    pub(crate) apply: bool,
    /// How many rows a transaction takes over
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000).map(usize::from))]
    pub(crate) batch_rows: usize,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting, its value and where it comes from
    Show,
    /// Say whether the settings can be read
    Check,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// How many requests of the recorded workload are replayed
    #[arg(long, default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(100..=12_000))]
    pub(crate) calls: u32,
    /// How long the replay takes, in seconds
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) seconds: u32,
    /// The directory of the demo, made anew, instead of the one in the cache directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Which worker this process is
    #[arg(long, hide = true)]
    pub(crate) worker: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all that waited is stored, 1 failed, 2 wrong usage, 3 some calls still wait \
    in the spools (standard error says how many)"
)]
pub(crate) struct ShipArgs {
    /// Ship what waits now, then end; give up when nothing moves for as long as --drain says
    #[arg(long)]
    pub(crate) once: bool,
    /// How long the last calls may take once told to stop (SIGTERM, SIGINT; a second one ends at once)
    #[arg(long, default_value = "25s", value_name = "TIME", value_parser = crate::commands::ship::duration)]
    pub(crate) drain: std::time::Duration,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: the command's own; 128 and the number of the signal that ended it, 127 when it is not found, \
    126 when it cannot be started; 2 wrong usage. Settings that cannot be used are an error before it starts: 1"
)]
pub(crate) struct RunArgs {
    /// Who calls, instead of the command's name
    #[arg(long, value_name = "NAME")]
    pub(crate) caller: Option<String>,
    /// Write the summary to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) summary: Option<PathBuf>,
    /// Be a plain forward proxy as well: reads calls to http:// hosts that stand in the code, counts connections that
    /// cannot be read
    #[arg(long)]
    pub(crate) http_proxy: bool,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 told to stop, all that waited is stored; 1 failed; 2 wrong usage; 3 some calls still wait \
    in the spools (standard error says how many)"
)]
pub(crate) struct ServeArgs {
    /// Where to listen, instead of proxy.listen; only on this machine
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// How long requests in flight, and then the last calls, may take once told to stop, instead of
    /// proxy.timeouts.drain (SIGTERM, SIGINT; a second one ends at once)
    #[arg(long, value_name = "TIME", value_parser = crate::commands::ship::duration)]
    pub(crate) drain: Option<std::time::Duration>,
}

/// Which calls are meant.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct FilterArgs {
    /// From this day or moment on, or this long ago: 2026-11-01, 2026-11-01T08:00:00Z, 7d, 24h, 30m
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// To the end of this day, or to this moment
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
    /// Of this caller only
    #[arg(long, value_name = "NAME")]
    pub(crate) caller: Option<String>,
    /// Of this provider only
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Of this model only
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Of this status only
    #[arg(long, value_name = "WORD")]
    pub(crate) status: Option<String>,
    /// Of this project only
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// Of this team only
    #[arg(long, value_name = "NAME")]
    pub(crate) team: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// A row for each day, week (from Monday) or month
    #[arg(value_enum)]
    pub(crate) period: Option<PeriodArg>,
    /// What rows are of, one or more of project, team, cost_center, service, environment, billing,
    /// caller, provider, model, status, fallback_to
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) by: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// The zone of days, instead of the store's, by its IANA name
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PeriodArg {
    Daily,
    Weekly,
    Monthly,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CallsArgs {
    /// How many
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) limit: usize,
    /// Only calls whose provider stated what they cost, beside what the book says
    #[arg(long)]
    pub(crate) reported: bool,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// Print one picture and end, as is done where the output is no terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// How many calls are shown
    #[arg(long, default_value_t = 40, value_name = "N")]
    pub(crate) limit: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SwitchArgs {
    /// Every home of this machine that may be switched, not only the one of the settings
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OffArgs {
    /// For so long only, such as 30m, 1h, 2d; without it until `callmeter on`
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) for_: Option<String>,
    #[command(flatten)]
    pub(crate) switch: SwitchArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A reprice that was stopped, or killed, goes on with --resume; what is done stays done. Exit codes: 0 \
    done, 1 failed, 2 wrong usage"
)]
pub(crate) struct RepriceArgs {
    /// Calls that have a price as well
    #[arg(long)]
    pub(crate) all: bool,
    /// Print the difference by model and day, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Closed days as well, which `prices.closed_until` keeps as they are
    #[arg(long)]
    pub(crate) reopen: bool,
    /// By this book, which becomes the store's: market, legacy, or the file of a book
    #[arg(long, value_name = "BOOK")]
    pub(crate) book: Option<String>,
    /// Take back the reprice of this revision
    #[arg(long, value_name = "REV", conflicts_with_all = ["all", "dry_run", "book", "resume", "list", "since", "until",
        "caller", "provider", "model", "status", "project", "team"])]
    pub(crate) undo: Option<u32>,
    /// Go on with the reprice that was stopped
    #[arg(long, conflicts_with_all = ["all", "dry_run", "book", "list", "reopen", "since", "until", "caller", "provider",
        "model", "status", "project", "team"])]
    pub(crate) resume: bool,
    /// Print every reprice that there was, the newest first
    #[arg(long, conflicts_with_all = ["all", "dry_run", "book", "reopen"])]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WhatIfArgs {
    /// Price calls of model A as if B had answered; B is a model of the same provider, or PROVIDER/MODEL
    #[arg(long, value_name = "A=B")]
    pub(crate) model: Vec<String>,
    /// By this book: market, legacy, or the file of a book
    #[arg(long, value_name = "BOOK")]
    pub(crate) book: Option<String>,
    /// By the prices of this day or moment
    #[arg(long, value_name = "WHEN")]
    pub(crate) prices_at: Option<String>,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

/// Which calls are meant, whatever their model.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct RangeArgs {
    /// From this day or moment on, or this long ago: 2026-11-01, 2026-11-01T08:00:00Z, 7d, 24h, 30m
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// To the end of this day, or to this moment
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
    /// Of this caller only
    #[arg(long, value_name = "NAME")]
    pub(crate) caller: Option<String>,
    /// Of this provider only
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Of this project only
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// Of this team only
    #[arg(long, value_name = "NAME")]
    pub(crate) team: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SavingsArgs {
    /// What a GPU costs an hour, in USD
    #[arg(long, value_name = "USD")]
    pub(crate) gpu_hour: String,
    /// How many output tokens a GPU makes a second
    #[arg(long, value_name = "N")]
    pub(crate) tokens_per_second: String,
    /// How many input tokens it reads a second; without it reading takes no time
    #[arg(long, value_name = "N")]
    pub(crate) input_tokens_per_second: Option<String>,
    /// How many percent of the hours that are paid for it is at work
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) utilisation: u32,
    /// What calls on machines of one's own are compared with, by the store's book
    #[arg(long, value_name = "PROVIDER/MODEL")]
    pub(crate) instead_of: Option<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// What is spent of each budget in its period, and the forecast to its end; exit code 1 if one is overspent
    Status,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PriceArgs {
    /// Read lines of JSON and print one for each
    #[arg(long, required = true)]
    pub(crate) jsonl: bool,
    /// market, legacy, or the file of a book
    #[arg(long, default_value = "market", value_name = "BOOK")]
    pub(crate) book: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Read lines of JSON and print one for each
    #[arg(long, required = true)]
    pub(crate) jsonl: bool,
    /// Feed the body to the reader in pieces of this many bytes: the answer is the same
    #[arg(long, value_name = "N")]
    pub(crate) chunk: Option<NonZeroUsize>,
    /// market, legacy, or the file of a book
    #[arg(long, default_value = "market", value_name = "BOOK")]
    pub(crate) book: String,
}
