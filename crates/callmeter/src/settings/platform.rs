//! Where the platform keeps data and configuration of a user.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

fn directory(environment: &BTreeMap<String, OsString>, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(environment.get(name)?);
    // A relative path would be another directory for every working directory (XDG says: ignore it).
    path.is_absolute().then_some(path)
}

/// The directory of callmeter's own data.
pub(super) fn data_directory(environment: &BTreeMap<String, OsString>) -> Option<PathBuf> {
    let of = |name| directory(environment, name);
    let data = if cfg!(target_os = "macos") {
        of("HOME").map(|home| home.join("Library/Application Support"))
    } else if cfg!(windows) {
        of("LOCALAPPDATA")
    } else {
        of("XDG_DATA_HOME").or_else(|| of("HOME").map(|home| home.join(".local/share")))
    };
    data.map(|data| data.join("callmeter"))
}

/// The directory of users' configuration.
pub(super) fn config_directory(environment: &BTreeMap<String, OsString>) -> Option<PathBuf> {
    let of = |name| directory(environment, name);
    if cfg!(windows) {
        of("APPDATA")
    } else {
        of("XDG_CONFIG_HOME").or_else(|| of("HOME").map(|home| home.join(".config")))
    }
}

/// Where the home is when nothing names one: it may not outlive a reboot, and whoever guesses the name may have
/// made it before.
pub(crate) fn fallback_home() -> PathBuf {
    #[cfg(unix)]
    let name = format!("callmeter-{}", rustix::process::geteuid().as_raw());
    #[cfg(not(unix))]
    let name = "callmeter".to_owned();
    std::env::temp_dir().join(name)
}
