//! The real parts that tests run against: installed where that may be done, else named.
//!
//! PostgreSQL and PgBouncer come from the system's packages. As root on a system with apt they are installed;
//! elsewhere the error says what to install. No test is skipped for want of a part.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// A program that tests start, and the package of Debian that brings it.
struct Part {
    program: &'static str,
    package: &'static str,
    /// Directories in which it lies where PATH has it not; `*` is a version.
    places: &'static [&'static str],
}

const PARTS: &[Part] = &[
    Part {
        program: "initdb",
        package: "postgresql",
        places: &["/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin"],
    },
    Part {
        program: "pgbouncer",
        package: "pgbouncer",
        places: &["/usr/sbin", "/usr/local/sbin"],
    },
];

/// Sees to it that every part is there.
pub(crate) fn provide() -> Result<()> {
    let missing = missing(PARTS);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|part| part.package).collect();
    let packages = packages.join(" ");
    if !may_install() {
        let programs: Vec<&str> = missing.iter().map(|part| part.program).collect();
        bail!(
            "the tests need {}: install the packages {packages} (`apt-get install -y {packages}` on Debian), \
             or put their programs into PATH",
            programs.join(" and ")
        );
    }
    println!("parts: installing {packages}");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-q", "-o", "DPkg::Lock::Timeout=120"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive");
        shell::run(&mut command)
    };
    apt(&["update"])?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages.split(' '));
    apt(&install)
}

fn missing(parts: &'static [Part]) -> Vec<&'static Part> {
    parts.iter().filter(|part| !is_there(part)).collect()
}

fn is_there(part: &Part) -> bool {
    let in_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(part.program).exists())
    });
    in_path
        || part.places.iter().any(|place| match place.split_once('*') {
            None => Path::new(place).join(part.program).exists(),
            Some((before, after)) => std::fs::read_dir(before).is_ok_and(|entries| {
                entries.flatten().any(|entry| {
                    let directory = entry.path().join(after.trim_start_matches('/'));
                    directory.join(part.program).exists()
                })
            }),
        })
}

/// Whether this is root on a system of apt.
fn may_install() -> bool {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && Path::new("/usr/bin/apt-get").exists()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_part_is_looked_for_in_the_path_and_in_its_places() {
        static PARTS: &[Part] = &[
            Part {
                program: "sh",
                package: "dash",
                places: &[],
            },
            Part {
                program: "no-such-program-anywhere",
                package: "nothing",
                places: &["/usr/lib/*/bin"],
            },
        ];
        let missing: Vec<_> = missing(PARTS).iter().map(|part| part.package).collect();
        assert_eq!(missing, ["nothing"]);
    }
}
