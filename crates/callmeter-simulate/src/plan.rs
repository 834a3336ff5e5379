//! What happens in a run: a list of steps made from a seed before anything runs.
//!
//! A step carries all chance that it needs, so that any part of the list can run without the rest: that is
//! how a violation is made small ([`shrink`](crate::shrink)), and replayed by the numbers of its steps.

use std::time::Duration;

use crate::random::Random;

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// No room.
    Full,
    /// A write ends in the middle; nothing of the transaction is there.
    ShortWrite,
    /// No writes.
    ReadOnly,
    /// Anything may fail.
    Io,
    /// Locked by somebody.
    Busy,
    /// A deletion is done, and its answer lost.
    AnswerLost,
}

/// How the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SinkFault {
    /// Nothing is stored.
    BeforeCommit,
    /// All is stored, and the answer lost.
    AfterCommit,
    /// The answer is a failure; the batch is stored later.
    CommitsLater,
    /// Another writer is at work.
    Busy,
    /// Nothing can be stored until somebody acts.
    Fatal,
    /// It takes its time.
    Slow,
    /// It stores the batch twice, as a network may deliver it.
    Twice,
}

/// What a call is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One that every store takes.
    Usual,
    /// No store takes it.
    Poison,
    /// Beyond the store's horizon.
    Old,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// Time passes, and everybody does what is due.
    Pass { ms: u64 },
    /// A process starts; without a shipper it leaves its spool to others.
    Start { store: usize, ships: bool },
    /// An agent starts, as `callmeter ship`.
    Agent { store: usize },
    /// Calls begin and end.
    Calls {
        process: usize,
        count: u64,
        kind: Kind,
    },
    /// Calls begin.
    Open { process: usize, count: u64 },
    /// The oldest calls in flight end, or are dropped without a word.
    Close {
        process: usize,
        count: u64,
        drops: bool,
    },
    /// A flush is asked for, and waited for.
    Flush { process: usize },
    /// A process ends in order.
    End { process: usize },
    /// A process or an agent is killed: now, or at one of its next steps on disk or store.
    Kill {
        actor: usize,
        at: Option<(u32, bool)>,
    },
    /// It gets no time, as under SIGSTOP.
    Stall { actor: usize, ms: u64 },
    /// Power is lost; that share of what was not synced stays.
    PowerLoss { percent: u64 },
    /// The disk fails in so many of a hundred steps.
    Disk {
        fault: DiskFault,
        percent: u64,
        ms: u64,
    },
    /// The store fails with the next batches.
    Sink {
        store: usize,
        fault: SinkFault,
        batches: u32,
    },
    /// The store is down.
    Down { store: usize, ms: u64 },
    /// The network delivers an old batch again.
    Redeliver { store: usize },
    /// The wall clock jumps.
    Jump { seconds: i32 },
    /// A spool is damaged.
    Damage { spool: usize },
    /// Somebody removes a process's flight file.
    Unlink { process: usize },
}

/// A deliberate fault of the simulation's own disk, store or driver, to see that the oracle finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Rows leave the spool before the store has answered.
    AckBeforeStore,
    /// The store inserts a call again that it has.
    BrokenDedup,
    /// A lane is sent from its end.
    BrokenLaneOrder,
    /// A commit that should sync does not.
    NeverSync,
    /// What a dead process left is removed, and never a row.
    ForgetfulAdopter,
    /// A kill takes the flight file along.
    LostFlight,
    /// The store acknowledges and stores nothing.
    EmptyAck,
    /// Rows that are not a backlog are held back as long as there is one.
    HoldsBackFresh,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AckBeforeStore,
        Self::BrokenDedup,
        Self::BrokenLaneOrder,
        Self::NeverSync,
        Self::ForgetfulAdopter,
        Self::LostFlight,
        Self::EmptyAck,
        Self::HoldsBackFresh,
    ];
}

/// What a run is like throughout.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Whether the disk is real files with real SQLite.
    pub(crate) real_files: bool,
    pub(crate) stores: usize,
    pub(crate) batch_rows: usize,
    pub(crate) replay_rows_per_second: u64,
    pub(crate) slots: usize,
    pub(crate) max_bytes: u64,
    pub(crate) drops_oldest: bool,
    /// Whether a commit a second reaches the disk.
    pub(crate) syncs: bool,
    pub(crate) uptime: Duration,
    pub(crate) first_seq: i64,
}

/// A run before it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) seed: u64,
    pub(crate) config: Config,
    pub(crate) steps: Vec<Step>,
}

/// What a run is about; the weights of its steps follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Deaths,
    Store,
    Disk,
    Power,
    Everything,
}

/// One seed in so many runs on real files.
const REAL_FILES_EVERY: u64 = 10;
const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 86_400);

impl Plan {
    /// The run of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let random = &mut random;
        let is_old = random.chance(20);
        let real_files = seed % REAL_FILES_EVERY == REAL_FILES_EVERY - 1;
        // More than the empty spools of all processes take: else what one has in memory, and does not ship itself, waits
        // for a room that there never is. An empty file of SQLite takes more than many rows.
        let least_bytes = if real_files { 500_000 } else { 60_000 };
        let config = Config {
            real_files,
            stores: if random.chance(25) { 2 } else { 1 },
            batch_rows: [3, 10, 50, 1_000][random.between(0, 3) as usize],
            replay_rows_per_second: [20, 200, 2_000][random.between(0, 2) as usize],
            slots: if random.chance(20) { 16 } else { 128 },
            max_bytes: if random.chance(15) {
                random.between(least_bytes, 3 * least_bytes)
            } else {
                1 << 30
            },
            drops_oldest: random.chance(50),
            syncs: random.chance(90),
            uptime: if is_old {
                TEN_YEARS
            } else {
                Duration::from_secs(1)
            },
            first_seq: if is_old { i64::MAX - 50_000_000 } else { 1 },
        };
        let themes = [
            (3, Theme::Deaths),
            (3, Theme::Store),
            (2, Theme::Disk),
            (2, Theme::Power),
            (3, Theme::Everything),
        ];
        let theme = random.weighted(&themes).unwrap_or(Theme::Everything);
        let count = random.between(20, if config.real_files { 60 } else { 150 });
        let mut steps = vec![Step::Start {
            store: 0,
            ships: random.chance(70),
        }];
        if random.chance(50) {
            steps.push(Step::Agent { store: 0 });
        }
        for _ in 0..count {
            steps.push(step(random, theme, &config));
        }
        Self {
            seed,
            config,
            steps,
        }
    }

    /// How many steps it has.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A step, as one would read it.
    pub fn describe(&self, step: usize) -> String {
        self.steps
            .get(step)
            .map(|step| format!("{step:?}"))
            .unwrap_or_default()
    }

    /// What the run is like throughout, as one would read it.
    pub fn describe_config(&self) -> String {
        format!("{:?}", self.config)
    }

    /// The same run with these of its steps alone.
    #[must_use]
    pub fn only(&self, chosen: &[usize]) -> Self {
        let steps = chosen.iter().filter_map(|at| self.steps.get(*at).copied());
        Self {
            steps: steps.collect(),
            ..self.clone()
        }
    }
}

#[derive(Clone, Copy)]
enum Choice {
    Pass,
    Calls,
    Open,
    Close,
    Flush,
    Start,
    Agent,
    End,
    Kill,
    Stall,
    Power,
    Disk,
    Sink,
    Down,
    Redeliver,
    Jump,
    Damage,
    Unlink,
}

fn step(random: &mut Random, theme: Theme, config: &Config) -> Step {
    let all = theme == Theme::Everything;
    let weight = |is_theme: bool, usual: u64| if is_theme || all { usual } else { 0 };
    let choices = [
        (30, Choice::Pass),
        (24, Choice::Calls),
        (6, Choice::Open),
        (6, Choice::Close),
        (2, Choice::Flush),
        (3, Choice::Start),
        (2, Choice::Agent),
        (2, Choice::End),
        (weight(theme == Theme::Deaths, 7) + 1, Choice::Kill),
        (weight(theme == Theme::Deaths, 2), Choice::Stall),
        (weight(theme == Theme::Power, 4), Choice::Power),
        (weight(theme == Theme::Disk, 5), Choice::Disk),
        (weight(theme == Theme::Store, 8) + 1, Choice::Sink),
        (weight(theme == Theme::Store, 2), Choice::Down),
        (weight(theme == Theme::Store, 2), Choice::Redeliver),
        (1, Choice::Jump),
        (u64::from(theme == Theme::Disk), Choice::Damage),
        (u64::from(theme == Theme::Deaths), Choice::Unlink),
    ];
    let store = random.between(0, config.stores as u64 - 1) as usize;
    let one = random.between(0, 7) as usize;
    match random.weighted(&choices).unwrap_or(Choice::Pass) {
        Choice::Pass => Step::Pass { ms: time(random) },
        Choice::Calls => Step::Calls {
            process: one,
            count: if random.chance(15) {
                random.between(20, 200)
            } else {
                random.between(1, 20)
            },
            kind: random
                .weighted(&[(92, Kind::Usual), (5, Kind::Poison), (3, Kind::Old)])
                .unwrap_or(Kind::Usual),
        },
        Choice::Open => Step::Open {
            process: one,
            count: random.between(1, 5),
        },
        Choice::Close => Step::Close {
            process: one,
            count: random.between(1, 8),
            drops: random.chance(20),
        },
        Choice::Flush => Step::Flush { process: one },
        Choice::Start => Step::Start {
            store,
            ships: random.chance(70),
        },
        Choice::Agent => Step::Agent { store },
        Choice::End => Step::End { process: one },
        Choice::Kill => Step::Kill {
            actor: one,
            at: random
                .chance(75)
                .then(|| (random.between(0, 24) as u32, random.chance(50))),
        },
        Choice::Stall => Step::Stall {
            actor: one,
            ms: random.between(100, 5_000),
        },
        Choice::Power => Step::PowerLoss {
            percent: if random.chance(40) {
                0
            } else {
                random.between(0, 100)
            },
        },
        Choice::Disk => Step::Disk {
            fault: random
                .weighted(&[
                    (3, DiskFault::Full),
                    (3, DiskFault::ShortWrite),
                    (2, DiskFault::ReadOnly),
                    (2, DiskFault::Io),
                    (2, DiskFault::Busy),
                    (2, DiskFault::AnswerLost),
                ])
                .unwrap_or(DiskFault::Full),
            percent: if random.chance(50) {
                100
            } else {
                random.between(10, 90)
            },
            ms: random.between(50, 4_000),
        },
        Choice::Sink => Step::Sink {
            store,
            fault: random
                .weighted(&[
                    (3, SinkFault::BeforeCommit),
                    (3, SinkFault::AfterCommit),
                    (2, SinkFault::CommitsLater),
                    (2, SinkFault::Busy),
                    (1, SinkFault::Fatal),
                    (1, SinkFault::Slow),
                    (1, SinkFault::Twice),
                ])
                .unwrap_or(SinkFault::BeforeCommit),
            batches: random.between(1, 14) as u32,
        },
        Choice::Down => Step::Down {
            store,
            ms: if random.chance(30) {
                random.between(60_000, 400_000)
            } else {
                random.between(1_000, 20_000)
            },
        },
        Choice::Redeliver => Step::Redeliver { store },
        Choice::Jump => Step::Jump {
            seconds: i32::try_from(random.between(0, 7_200)).unwrap_or(0) - 3_600,
        },
        Choice::Damage => Step::Damage { spool: one },
        Choice::Unlink => Step::Unlink { process: one },
    }
}

/// Mostly moments, seldom minutes.
fn time(random: &mut Random) -> u64 {
    match random.between(1, 100) {
        1..=40 => random.between(1, 60),
        41..=75 => random.between(60, 900),
        76..=96 => random.between(900, 4_000),
        _ => random.between(10_000, 90_000),
    }
}
