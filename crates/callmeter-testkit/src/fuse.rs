//! A file system in user space with two empty directories, which answers what the kernel asks until its process ends.
//!
//! What it says it is (`fuse.sshfs`, `fuse`) is the mount's: to the kernel every program behind FUSE is the same. Its
//! root holds one directory, `spool`; nothing can be made in it. Needs `/dev/fuse` and no library:
//!
//! ```text
//! exec 0<>/dev/fuse; mount -i -t TYPE -o fd=0,rootmode=40000,user_id=0,group_id=0 none AT; exec program
//! program: fuse::serve(stdin)
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::container::Container;

/// The name of the one directory.
pub const DIRECTORY: &str = "spool";

const CHILD: u64 = 2;
const NOT_FOUND: i32 = -2;
const READ_ONLY: i32 = -30;
const NOT_KNOWN: i32 = -38;

// The operations of `linux/fuse.h` that are answered.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const MKNOD: u32 = 8;
const MKDIR: u32 = 9;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const CREATE: u32 = 35;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

impl Container {
    /// Mounts a file system of that type over a directory, which the program serves from its standard input.
    #[must_use]
    pub fn fuse(self, of_type: &str, at: &Path) -> Self {
        self.step(&format!(
            "exec 0<>/dev/fuse\nmount -i -t {of_type} -o fd=0,rootmode=40000,user_id=0,group_id=0 none '{}'",
            at.display()
        ))
    }
}

/// Answers on a thread of its own, for as long as the process lives.
pub fn serve(connection: OwnedFd) {
    std::thread::spawn(move || {
        let mut kernel = File::from(connection);
        let mut request = vec![0; 1 << 18];
        while let Ok(length) = kernel.read(&mut request) {
            let request = Request(&request[..length]);
            if let Some(answer) = answer(&request)
                && kernel.write_all(&answer).is_err()
            {
                break;
            }
        }
    });
}

/// A request: length, operation, a number of its own, the node; from byte 40 on what the operation is about.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn u32_at(&self, at: usize) -> u32 {
        let bytes = self
            .0
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }

    fn u64_at(&self, at: usize) -> u64 {
        let bytes = self
            .0
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    }

    fn operation(&self) -> u32 {
        self.u32_at(4)
    }

    fn node(&self) -> u64 {
        self.u64_at(16)
    }

    /// The name that is looked up, without its zero.
    fn name(&self) -> &[u8] {
        let rest = self.0.get(40..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// `None` for what wants no answer.
fn answer(request: &Request<'_>) -> Option<Vec<u8>> {
    let body = match request.operation() {
        FORGET | BATCH_FORGET | INTERRUPT => return None,
        INIT => Ok(greeting(request)),
        GETATTR => Ok([words(&[0, 0]), attributes(request.node())].concat()),
        LOOKUP if request.name() == DIRECTORY.as_bytes() => {
            Ok([words(&[CHILD, 0, 0, 0, 0]), attributes(CHILD)].concat())
        }
        LOOKUP => Err(NOT_FOUND),
        // Blocks, free, available, files, files free; block size and longest name; the rest.
        STATFS => Ok([
            words(&[1_000; 5]),
            halves(&[4_096, 255, 4_096, 0]),
            vec![0; 24],
        ]
        .concat()),
        MKNOD | MKDIR | CREATE => Err(READ_ONLY),
        _ => Err(NOT_KNOWN),
    };
    let (error, body) = match body {
        Ok(body) => (0, body),
        Err(error) => (error, Vec::new()),
    };
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    let mut answer = length.to_ne_bytes().to_vec();
    answer.extend(error.to_ne_bytes());
    answer.extend(request.u64_at(8).to_ne_bytes());
    answer.extend(body);
    Some(answer)
}

/// Version 7.31, and nothing that is not asked for.
fn greeting(request: &Request<'_>) -> Vec<u8> {
    let read_ahead = request.u32_at(48);
    // Version, read-ahead, flags, how many in the background, the longest write, the unit of times, the rest.
    let mut body = halves(&[7, 31, read_ahead, 0, 0, 65_536, 1, 0]);
    body.extend([0; 32]);
    body
}

/// A directory: number, size, blocks, three times with their nanoseconds, mode, links, owner, device, block size.
fn attributes(node: u64) -> Vec<u8> {
    let mode = 0o40_700;
    let mut body = words(&[node, 0, 0, 0, 0, 0]);
    body.extend(halves(&[0, 0, 0, mode, 2, 0, 0, 0, 4_096, 0]));
    body
}

fn words(values: &[u64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect()
}

fn halves(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect()
}
