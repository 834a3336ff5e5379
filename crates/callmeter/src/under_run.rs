//! Guards in a process that `callmeter run` started: who carries the money of their calls.
//!
//! A hand-written guard around a call that passes the proxy of `run` makes a second row of it, and nothing links
//! the two. The proxy's row carries the money then. Whether the call passed there is known by marks:
//!
//! ```text
//! home/run/PID-RANDOM/       made by `run`, named to its child by CALLMETER_RUN, gone with it
//!   openai                   an empty file: `run` led this provider through its proxy, and the proxy served it
//! home/doubles               ids of guards that may be doubles: 16 bytes each, the newest 10,000
//! ```
//! A guard's record of a marked provider gets `counted_elsewhere`, and its store gives it no price. One of a provider
//! without a mark is priced; where the proxy served somebody else meanwhile it may be a double all the same, and is
//! noted for `doctor` and `report`. The worker looks when it moves calls to the spool, never a guard (promise CM-2).
//! What cannot be read or written changes nothing but that: the call keeps its price.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use callmeter_core::{CallId, CallRecord, EnvVar, Flags, Layer};
use callmeter_price::ProviderKinds;

use crate::home::Home;
use crate::plain;
use crate::spool::Rights;

/// How many possible doubles a home remembers.
const MOST_DOUBLES: usize = 10_000;
const ID_BYTES: usize = 16;
/// After how long the marks of a `run` that was killed are removed.
const LEFT_BEHIND: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The marks of one `callmeter run`, on its side. Dropping them removes them.
#[derive(Debug)]
pub struct RunMarks {
    directory: PathBuf,
    rights: Rights,
    made: Mutex<BTreeSet<String>>,
}

impl RunMarks {
    /// Makes a place for marks in the home, and removes those that a killed `run` left a month ago.
    ///
    /// # Errors
    /// When the home takes none; a child then prices its own guards.
    pub fn make(home: &Home) -> io::Result<Self> {
        home.make()?;
        let parent = home.path().join("run");
        home.rights().make_dir(&parent)?;
        remove_left_behind(&parent);
        let mut random = [0_u8; 8];
        crate::random::fill(&mut random);
        let random = u64::from_ne_bytes(random);
        let directory = parent.join(format!("{}-{random:016x}", std::process::id()));
        home.rights().make_dir(&directory)?;
        Ok(Self {
            directory,
            rights: home.rights(),
            made: Mutex::default(),
        })
    }

    /// Where the marks lie: the value of `CALLMETER_RUN` for the child.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Says that the proxy serves a provider in this run.
    pub fn mark(&self, provider: &str) {
        let name = name_of(provider);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if is_plain(name) && made.insert(name.to_owned()) {
            // Without its mark a guard keeps its price, and is a possible double.
            let _ = self.rights.make_file(&self.directory.join(name));
        }
    }
}

impl Drop for RunMarks {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn remove_left_behind(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > LEFT_BEHIND) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The name that guard and proxy both know a provider by.
fn name_of(provider: &str) -> &str {
    callmeter_price::canonical_provider(provider)
}

/// Whether a provider's name may be that of a file.
fn is_plain(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_fine)
}

/// The marks as a child sees them.
#[derive(Clone, Debug)]
pub(crate) struct UnderRun {
    directory: PathBuf,
    kinds: ProviderKinds,
    served: BTreeSet<String>,
}

impl UnderRun {
    /// Those that the environment names; `None` in a process that no `run` started.
    pub(crate) fn of_env(kinds: &BTreeMap<String, String>) -> Option<Self> {
        let directory = std::env::var_os(EnvVar::Run.name()).filter(|value| !value.is_empty())?;
        Some(Self::at(directory.into(), kinds))
    }

    fn at(directory: PathBuf, kinds: &BTreeMap<String, String>) -> Self {
        Self {
            directory,
            kinds: ProviderKinds::new(kinds.clone()),
            served: BTreeSet::new(),
        }
    }

    /// Marks the records of guards whose money another row carries, and notes those that may be doubles.
    pub(crate) fn judge(&mut self, records: &mut [CallRecord], home: &Home) {
        let mut doubles = Vec::new();
        for record in records
            .iter_mut()
            .filter(|record| record.layer == Layer::Guard)
        {
            if self.is_served(record.provider.as_deref().unwrap_or_default()) {
                record.flags.insert(Flags::COUNTED_ELSEWHERE);
            } else if self.serves_somebody() {
                doubles.push(record.call_id);
            }
        }
        if !doubles.is_empty() {
            // A list that cannot be written is shorter; the rows are as they are.
            let _ = note(home, &doubles);
        }
    }

    fn is_served(&mut self, provider: &str) -> bool {
        let name = name_of(self.kinds.resolve(provider));
        if self.served.contains(name) {
            return true;
        }
        if !is_plain(name) || !self.directory.join(name).is_file() {
            return false;
        }
        self.served.insert(name.to_owned())
    }

    fn serves_somebody(&self) -> bool {
        let entries = fs::read_dir(&self.directory);
        !self.served.is_empty() || entries.is_ok_and(|mut entries| entries.next().is_some())
    }
}

/// Appends ids to the home's list; keeps the newest when it has grown to twice its length.
fn note(home: &Home, ids: &[CallId]) -> io::Result<()> {
    let path = doubles_path(home);
    let mut bytes = Vec::with_capacity(ids.len().saturating_mul(ID_BYTES));
    for id in ids {
        bytes.extend_from_slice(&id.hi().to_le_bytes());
        bytes.extend_from_slice(&id.lo().to_le_bytes());
    }
    if let Err(error) = home.rights().make_file(&path)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let mut file = plain::append(&path)?;
    file.write_all(&bytes)?;
    let most = MOST_DOUBLES.saturating_mul(ID_BYTES);
    if file.metadata()?.len() > (most as u64).saturating_mul(2) {
        let all = plain::read(&path, u64::MAX)?;
        let from = all.len().saturating_sub(most);
        crate::switch::write_aside(&path, all.get(from..).unwrap_or_default(), home.rights())?;
    }
    Ok(())
}

fn doubles_path(home: &Home) -> PathBuf {
    home.path().join("doubles")
}

impl Home {
    /// The calls of guards under `callmeter run` that may be recorded twice, the newest last: at most 10,000. Each has
    /// a price of its own, and a call of another provider passed the proxy of the same run.
    pub fn possible_doubles(&self) -> Vec<CallId> {
        let bytes = plain::read(&doubles_path(self), u64::MAX).unwrap_or_default();
        let half = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_le_bytes);
        let ids = bytes.chunks_exact(ID_BYTES).filter_map(|id| {
            let (hi, lo) = id.split_at_checked(8)?;
            CallId::from_halves(half(hi)?, half(lo)?)
        });
        let ids: Vec<CallId> = ids.collect();
        let from = ids.len().saturating_sub(MOST_DOUBLES);
        ids.get(from..).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callmeter_core::Timestamp;

    fn record(n: u64, layer: Layer, provider: &str) -> CallRecord {
        let mut record = CallRecord::new(CallId::new(Timestamp::EPOCH, n), layer, 0);
        record.provider = Some(provider.to_owned());
        record
    }

    struct Place {
        _directory: tempfile::TempDir,
        home: Home,
        marks: RunMarks,
        child: UnderRun,
    }

    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().join("home"));
        let marks = RunMarks::make(&home).unwrap();
        let kinds = BTreeMap::from([("gcp_ollama".to_owned(), "ollama".to_owned())]);
        let child = UnderRun::at(marks.path().to_owned(), &kinds);
        Place {
            _directory: directory,
            home,
            marks,
            child,
        }
    }

    fn judged(place: &mut Place, records: &mut [CallRecord]) -> Vec<bool> {
        place.child.judge(records, &place.home);
        let flags = records.iter().map(|record| record.flags);
        flags
            .map(|flags| flags.contains(Flags::COUNTED_ELSEWHERE))
            .collect()
    }

    #[test]
    fn a_guard_is_unpriced_only_once_its_provider_was_served() {
        let mut place = place();
        let mut guard = [record(1, Layer::Guard, "openai")];
        assert_eq!(judged(&mut place, &mut guard), [false]);
        assert_eq!(place.home.possible_doubles(), [], "nobody was served yet");
        place.marks.mark("openai");
        assert_eq!(judged(&mut place, &mut guard), [true]);
    }

    #[test]
    fn a_provider_of_the_user_s_own_counts_as_its_kind() {
        let mut place = place();
        place.marks.mark("ollama");
        let mut guards = [
            record(1, Layer::Guard, "gcp_ollama"),
            record(2, Layer::Guard, "Ollama"),
        ];
        assert_eq!(judged(&mut place, &mut guards), [true, true]);
    }

    #[test]
    fn a_guard_of_another_provider_keeps_its_price_and_is_a_possible_double() {
        let mut place = place();
        place.marks.mark("openai");
        let mut guards = [
            record(7, Layer::Guard, "mistral"),
            record(8, Layer::Proxy, "mistral"),
        ];
        assert_eq!(judged(&mut place, &mut guards), [false, false]);
        assert_eq!(place.home.possible_doubles(), [guards[0].call_id]);
    }

    #[test]
    fn the_list_of_possible_doubles_is_bounded_and_keeps_the_newest() {
        let place = place();
        for batch in 0..30_u64 {
            let ids: Vec<_> = (0..1_000)
                .map(|n| CallId::new(Timestamp::EPOCH, batch * 1_000 + n))
                .collect();
            note(&place.home, &ids).unwrap();
        }
        let kept = place.home.possible_doubles();
        assert_eq!(kept.len(), MOST_DOUBLES);
        assert_eq!(kept.last().map(|id| id.lo()), Some(29_999));
        let size = fs::metadata(doubles_path(&place.home)).unwrap().len();
        assert!(size <= (MOST_DOUBLES * ID_BYTES * 2) as u64, "{size}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_the_list_is_not_followed() {
        let place = place();
        let own = place.home.path().join("a file of the user's own");
        fs::write(&own, "precious").unwrap();
        std::os::unix::fs::symlink(&own, doubles_path(&place.home)).unwrap();
        let ids = [CallId::new(Timestamp::EPOCH, 1)];
        assert!(note(&place.home, &ids).is_err());
        assert_eq!(fs::read(&own).unwrap(), b"precious");
        assert_eq!(place.home.possible_doubles(), []);
    }

    #[test]
    fn names_that_are_no_file_make_no_mark_and_marks_go_with_their_run() {
        let place = place();
        for name in ["", "..", "a/b", "a\0b"] {
            place.marks.mark(name);
        }
        let path = place.marks.path().to_owned();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        drop(place.marks);
        assert!(!path.exists());
    }
}
