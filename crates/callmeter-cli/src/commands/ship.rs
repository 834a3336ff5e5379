//! `callmeter ship`: ships what the processes of a home record, and what dead ones left.
//!
//! ```text
//! ship                     until SIGTERM or SIGINT, then the last calls for at most 25 s
//! ship --drain 50s         the same with more time; keep it below the grace period of the container
//! ship --once              what waits now; gives up when nothing moves for as long as --drain says
//! ```
//! Exit codes: 0 all that waited is stored, 3 some calls still wait in the spools (a later shipper takes
//! them), 1 it could not begin, 2 wrong usage. A second signal ends it at once, with 3.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use callmeter::{Agent, Drained};

use crate::args::ShipArgs;
use crate::context::Context;
use crate::print;

/// Calls are left in the spools.
pub(crate) const LEFT: u8 = 3;
/// How long after its time a drain is waited for.
const GRACE: Duration = Duration::from_millis(200);

pub(crate) fn run(context: &Context, args: &ShipArgs) -> anyhow::Result<ExitCode> {
    let told = stop_when_told().context("cannot listen for signals")?;
    let mut agent = Agent::new(&context.settings, &context.home);
    tracing::info!(
        target: "callmeter",
        home = %context.home.path().display(),
        store = %context.url,
        "shipping"
    );
    #[cfg(feature = "postgres")]
    partitions::keep(context, args.once);
    let drained = if args.once {
        agent.once(args.drain, || told.load(Ordering::SeqCst))
    } else {
        agent.run(|| told.load(Ordering::SeqCst));
        drain(agent, args.drain, context)
    };
    tell(context, &drained)?;
    Ok(if drained.left == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(LEFT)
    })
}

/// Ships the last calls. A store that answers late does not hold up the end: what it is just writing is sent
/// again by the next shipper, and changes nothing.
fn drain(mut agent: Agent, limit: Duration, context: &Context) -> Drained {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more once the time is over.
        let _ = done.send(agent.drain(limit, || false));
    });
    is_done
        .recv_timeout(limit.saturating_add(GRACE))
        .unwrap_or_else(|_| Agent::given_up(&context.settings, &context.home))
}

fn tell(context: &Context, drained: &Drained) -> anyhow::Result<()> {
    let Drained {
        shipped,
        rejected,
        left,
        error,
        ..
    } = drained;
    if context.json {
        let object = serde_json::json!({
            "v": 1, "shipped": shipped, "rejected": rejected, "left": left, "error": error,
        });
        print::out(&format!("{object}\n"))?;
        return Ok(());
    }
    let mut text = format!("shipped {}", print::calls(*shipped));
    if *rejected > 0 {
        text.push_str(&format!(
            ", {} rejected (see callmeter doctor)",
            print::count(*rejected)
        ));
    }
    print::out(&format!("{text}\n"))?;
    if *left > 0 {
        eprintln!("{} left in the spools", print::calls(*left));
        if let Some(error) = error {
            eprintln!("because: {error}");
        }
    }
    Ok(())
}

/// Partitions of a store on PostgreSQL: made ahead and dropped by whoever ships, where its role may.
#[cfg(feature = "postgres")]
pub(crate) mod partitions {
    use std::sync::Arc;
    use std::time::Duration;

    use callmeter_core::SystemClock;
    use callmeter_store::PostgresSchema;

    use crate::context::Context;

    const EVERY: Duration = Duration::from_secs(6 * 3_600);

    /// Looks after them now, and with `is_once` not again; else beside the shipping, to the end of the process.
    pub(crate) fn keep(context: &Context, is_once: bool) {
        let url = context.url.postgres();
        let clock = Arc::new(SystemClock);
        let Some(Ok(mut schema)) = url.map(|url| PostgresSchema::new(url, clock)) else {
            return;
        };
        let raw_days = context.settings.store.raw_days;
        if is_once {
            return look(&mut schema, raw_days);
        }
        std::thread::spawn(move || {
            loop {
                look(&mut schema, raw_days);
                std::thread::park_timeout(EVERY);
            }
        });
    }

    fn look(schema: &mut PostgresSchema, raw_days: u32) {
        match schema.maintain(raw_days) {
            Ok(changes) => {
                let (made, dropped) = (changes.made.len(), changes.dropped.len());
                tracing::debug!(target: "callmeter", made, dropped, "partitions are looked after");
            }
            // A role that may only write is right for this command: then `callmeter migrate` does it.
            Err(error) => tracing::info!(
                target: "callmeter",
                %error,
                "partitions are left to `callmeter migrate`"
            ),
        }
    }
}

/// A flag that the first signal to end sets; the second one ends the process.
pub(crate) fn stop_when_told() -> std::io::Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, LEFT.into(), Arc::clone(&told))?;
        signal_hook::flag::register(signal, Arc::clone(&told))?;
    }
    Ok(told)
}

/// A time with its unit: `500ms`, `25s`, `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "a time with its unit, such as 25s, 500ms or 2m".to_owned();
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(expected)?;
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3_600)),
        _ => return Err(expected()),
    };
    if duration > Duration::from_secs(86_400) {
        return Err("at most a day".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_its_unit() {
        assert_eq!(duration("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "25", "s", "-1s", "25 s", "2w", "99999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
