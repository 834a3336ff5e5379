//! The cards of homes: what a machine's homes are, found without knowing them.
//!
//! ```text
//! /dev/shm/callmeter-<uid>/<hash of the home>.card     home, service, store; a line each
//! ```
//! Each home leaves a small card in the shared-memory directory of its user, so that `callmeter top`, `off`,
//! `doctor` and `ship` find it. A card says nothing that is secret: the store's URL is without its
//! password. A worker writes it anew when it is gone; whoever writes one removes those whose home is no more.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use callmeter_core::clean_text;

use crate::home::Home;
use crate::plain;
use crate::spool::Rights;
use crate::switch::write_aside;

const EXTENSION: &str = "card";
const HEAD: &str = "callmeter home 1";
const MAX_BYTES: u64 = 16 << 10;
const MAX_CARDS: usize = 10_000;
#[cfg(target_os = "linux")]
const SHARED_MEMORY: &str = "/dev/shm";
#[cfg(target_os = "linux")]
const OF_A_USER: &str = "callmeter-";

/// A home of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HomeCard {
    /// The directory.
    pub path: PathBuf,
    /// The user that it belongs to.
    pub uid: u32,
    /// The service that recorded there last.
    pub service: String,
    /// The store's URL without its password; empty where it is not known.
    pub store: String,
}

impl HomeCard {
    /// The home.
    pub fn home(&self) -> Home {
        Home::at(&self.path)
    }

    fn text(&self) -> String {
        let line = |text: &str| clean_text(text, 4_096).0.into_owned();
        format!(
            "{HEAD}\nhome {}\nservice {}\nstore {}\n",
            line(&self.path.to_string_lossy()),
            line(&self.service),
            line(&self.store)
        )
    }

    fn read(path: &Path, uid: u32) -> Option<Self> {
        // Another user's card may be anything.
        let text = plain::read_text(path, MAX_BYTES).ok()?;
        let mut lines = text.lines();
        (lines.next()? == HEAD).then_some(())?;
        let words: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
        let word = |name: &str| words.get(name).copied().unwrap_or_default().to_owned();
        let path = PathBuf::from(word("home"));
        path.is_absolute().then(|| Self {
            path,
            uid,
            service: word("service"),
            store: word("store"),
        })
    }
}

/// Every home of this machine whose card this user may read, by its path. A home counts only while its
/// directory is there and belongs to the user who left the card.
pub fn homes() -> Vec<HomeCard> {
    let mut homes = BTreeMap::new();
    for (dir, uid) in user_dirs() {
        for path in cards_in(&dir) {
            if let Some(card) = HomeCard::read(&path, uid)
                && owner_of(&card.path) == Some(uid)
            {
                homes.insert(card.path.clone(), card);
            }
        }
    }
    homes.into_values().collect()
}

/// Leaves a home's card, unless the same lies there; says whether it did.
pub(crate) fn leave(home: &Home, service: &str, store: &str) -> io::Result<bool> {
    let Some(dir) = callmeter_flight::shared_memory_dir(home.path()) else {
        return Ok(false);
    };
    let path = std::path::absolute(home.path())?;
    let Some(uid) = owner_of(&path) else {
        return Ok(false);
    };
    let card = HomeCard {
        path,
        uid,
        service: service.to_owned(),
        store: store.to_owned(),
    };
    let file = dir.with_extension(EXTENSION);
    if HomeCard::read(&file, uid).as_ref() == Some(&card) {
        return Ok(false);
    }
    // The directory is the flight buffer's, who made it for this user alone; without it there is no
    // card.
    match write_aside(&file, card.text().as_bytes(), Rights::User) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        written => written.map(|()| true),
    }
}

/// Removes the cards of this user whose homes are no more, and the directories of their flight files.
pub(crate) fn sweep() {
    let Some(dir) = callmeter_flight::shared_memory_root() else {
        return;
    };
    for path in cards_in(&dir) {
        let is_gone = HomeCard::read(&path, 0).is_none_or(|card| !card.path.exists());
        if is_gone {
            let _ = fs::remove_file(&path);
            // Only an empty one goes.
            let _ = fs::remove_dir(path.with_extension(""));
        }
    }
}

fn cards_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == EXTENSION))
        .take(MAX_CARDS)
        .collect()
}

/// The directories of all users in shared memory, and whose they are.
#[cfg(target_os = "linux")]
fn user_dirs() -> Vec<(PathBuf, u32)> {
    let entries = fs::read_dir(SHARED_MEMORY).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let uid = path.file_name()?.to_str()?.strip_prefix(OF_A_USER)?;
            let uid = uid.parse().ok()?;
            (owner_of(&path) == Some(uid)).then_some((path, uid))
        })
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn user_dirs() -> Vec<(PathBuf, u32)> {
    Vec::new()
}

/// Whose directory it is; a link is nobody's.
#[cfg(unix)]
fn owner_of(path: &Path) -> Option<u32> {
    let found = fs::symlink_metadata(path).ok()?;
    found
        .is_dir()
        .then(|| std::os::unix::fs::MetadataExt::uid(&found))
}

#[cfg(not(unix))]
fn owner_of(path: &Path) -> Option<u32> {
    path.is_dir().then_some(0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_found_by_its_card_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let place = callmeter_flight::Place::candidates(dir.path());
        let of_home = |homes: Vec<HomeCard>| homes.into_iter().find(|card| card.path == dir.path());
        leave(&home, "shop\nor so", "sqlite:calls.db").unwrap();
        if of_home(homes()).is_none() {
            // Nobody recorded on this machine yet: the first buffer makes the directory.
            let shared = place
                .iter()
                .find(|place| place.kind() == callmeter_flight::PlaceKind::SharedMemory);
            drop(callmeter_flight::FlightBuffer::create(
                shared.unwrap(),
                &callmeter_flight::Options::default(),
            ));
            leave(&home, "shop\nor so", "sqlite:calls.db").unwrap();
        }
        let card = of_home(homes()).unwrap();
        assert_eq!(
            (card.service.as_str(), card.store.as_str()),
            ("shop\u{fffd}or so", "sqlite:calls.db")
        );
        let file = callmeter_flight::shared_memory_dir(dir.path()).unwrap();
        let file = file.with_extension(EXTENSION);
        let path = dir.path().to_owned();
        drop(dir);
        assert!(homes().iter().all(|card| card.path != path));
        sweep();
        assert!(!file.exists());
    }
}
