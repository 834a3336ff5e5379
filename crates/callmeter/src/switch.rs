//! The switch of a home: a file that says whether calls are recorded (promise CM-9).
//!
//! ```text
//! HOME/switch   absent: on · "off" · "off until 2026-11-26T09:00:00.000000Z"
//! ```
//! `callmeter off` writes it and then the flag in the flight file of every process of the home, which acts
//! from its next call on. Each worker looks at the file four times a second, so that processes whose buffer lies
//! in memory, and those started later, obey as well. A file that says anything else counts as off: somebody
//! put it there.

use std::fs;
use std::io;
use std::path::Path;

use callmeter_core::Timestamp;
use callmeter_flight::{FlightError, InFlight, Switch};

use crate::home::Home;
use crate::plain;
use crate::spool::Rights;

const FILE: &str = "switch";
const OFF: &str = "off";
const UNTIL: &str = "off until ";
/// No switch file is longer.
const MAX_BYTES: u64 = 128;

/// Which processes were told of the switch.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Thrown {
    /// The processes that live, by their ids in their own pid namespaces.
    pub processes: Vec<u32>,
    /// Flight files that could not be told, with the reason; their processes read the home's file.
    pub untold: Vec<FlightError>,
}

impl Home {
    /// What the switch says now; one whose time is over says on.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn switch(&self, now: Timestamp) -> io::Result<Switch> {
        let text = match plain::read_text(&self.path().join(FILE), MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Switch::On),
            text => text?,
        };
        let until = text.trim().strip_prefix(UNTIL);
        let until = until.and_then(|until| until.parse::<Timestamp>().ok());
        Ok(match until {
            None => Switch::Off,
            Some(until) if until > now => Switch::OffUntil(until),
            Some(_) => Switch::On,
        })
    }

    /// Throws the switch: writes it into the home, then tells every process of the home.
    ///
    /// # Errors
    /// When the home cannot be made or written; then no process is told.
    pub fn throw_switch(&self, switch: Switch) -> io::Result<Thrown> {
        let path = self.path().join(FILE);
        let text = match switch {
            Switch::On => None,
            Switch::OffUntil(until) => Some(format!("{UNTIL}{until}\n")),
            _ => Some(format!("{OFF}\n")),
        };
        match text {
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            Some(text) => {
                self.make()?;
                write_aside(&path, text.as_bytes(), self.rights())?;
            }
        }
        let (processes, mut untold) = self.in_flight();
        let mut thrown = Thrown::default();
        for process in processes.iter().filter(|process| process.is_alive) {
            match switch.throw(&process.path) {
                Ok(()) => thrown.processes.push(process.pid),
                Err(error) => untold.push(error),
            }
        }
        thrown.untold = untold;
        Ok(thrown)
    }

    /// The flight files of this home's processes, of living and dead ones, and why others cannot be read.
    pub fn in_flight(&self) -> (Vec<InFlight>, Vec<FlightError>) {
        let (mut processes, mut unreadable) = (Vec::new(), Vec::new());
        for dir in self.flight_dirs() {
            match InFlight::view(&dir) {
                Ok((found, failed)) => {
                    processes.extend(found);
                    unreadable.extend(failed);
                }
                Err(error) => unreadable.push(error),
            }
        }
        (processes, unreadable)
    }
}

/// Writes a small file for those who have these rights, whole or not at all, and follows no link.
pub(crate) fn write_aside(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    let mut random = [0_u8; 8];
    crate::random::fill(&mut random);
    let aside = path.with_extension(format!("{:016x}", u64::from_le_bytes(random)));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, rights.file_mode());
    let written = options
        .open(&aside)
        .and_then(|mut file| {
            rights.open_to_group(&file)?;
            io::Write::write_all(&mut file, bytes)
        })
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_on_off_or_off_until_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        let now = Timestamp::from_micros(1_774_310_400_000_000);
        assert_eq!(home.switch(now).unwrap(), Switch::On);
        for switch in [
            Switch::Off,
            Switch::OffUntil(now.saturating_add_micros(1)),
            Switch::On,
            Switch::On,
        ] {
            home.throw_switch(switch).unwrap();
            assert_eq!(home.switch(now).unwrap(), switch);
        }
        home.throw_switch(Switch::OffUntil(now)).unwrap();
        assert_eq!(home.switch(now).unwrap(), Switch::On, "its time is over");
        for text in ["", "on", "off until tomorrow", "\u{0}"] {
            fs::write(home.path().join(FILE), text).unwrap();
            assert_eq!(home.switch(now).unwrap(), Switch::Off, "{text:?}");
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }
}
