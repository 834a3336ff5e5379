//! Is this still the process that made the buffer? Without a system call.
//!
//! Owns one page that the kernel wipes in a forked child (`MADV_WIPEONFORK`). The process keeps a
//! stamp in it; a child reads 0 and gives itself another. It sees a raw `clone()` too, which an
//! atfork handler does not. Where the kernel cannot do that, the stamp is the process id: slower, and
//! as good. Children of `vfork` share the page until they exec; they must not record.
#![allow(
    unsafe_code,
    reason = "the page is shared by reference for the life of the process"
)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The page's first word; null until the first use, dangling never: the page is not unmapped.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
/// How many stamps this process and its ancestors gave themselves. Not wiped.
static STAMPS: AtomicU64 = AtomicU64::new(0);

/// The right to use what a process made, in that process alone.
///
/// ```
/// let here = callmeter_flight::Process::current();
/// assert!(here.is_current(), "and false in a child that is forked from here on");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Process {
    page: Option<&'static AtomicU64>,
    stamp: u64,
}

impl Process {
    /// The process that runs now.
    pub fn current() -> Self {
        let page = page();
        let stamp = page.map_or_else(by_id, |page| match page.load(Ordering::Relaxed) {
            0 => {
                let fresh = STAMPS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                match page.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => fresh,
                    Err(other_thread_s) => other_thread_s,
                }
            }
            stamp => stamp,
        });
        Self { page, stamp }
    }

    /// Whether it is still this process that runs. One load.
    #[inline]
    pub fn is_current(self) -> bool {
        match self.page {
            Some(page) => page.load(Ordering::Relaxed) == self.stamp,
            None => by_id() == self.stamp,
        }
    }
}

fn by_id() -> u64 {
    u64::from(std::process::id())
}

fn page() -> Option<&'static AtomicU64> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let fresh = map_page()?;
        page = match PAGE.compare_exchange(
            ptr::null_mut(),
            fresh,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => fresh,
            // Another thread was first; a page is lost, once.
            Err(other) => other,
        };
    }
    // SAFETY: not null, so it came from `map_page`: an aligned, initialised (zeroed) word of a page that is
    // mapped until the process ends and reached only as an atomic.
    Some(unsafe { &*page })
}

#[cfg(target_os = "linux")]
fn map_page() -> Option<*mut AtomicU64> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    let len = rustix::param::page_size();
    let access = ProtFlags::READ.union(ProtFlags::WRITE);
    // SAFETY: a new private mapping at an address of the kernel's choice touches no other memory.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE) }.ok()?;
    // SAFETY: the range is the mapping made above; its content is all zero and nobody has seen it.
    let advised = unsafe { madvise(page, len, Advice::LinuxWipeOnFork) };
    if advised.is_err() {
        // SAFETY: the mapping made above, to which no reference exists.
        let _ = unsafe { munmap(page, len) };
        return None;
    }
    Some(page.cast())
}

#[cfg(not(target_os = "linux"))]
fn map_page() -> Option<*mut AtomicU64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself() {
        let process = Process::current();
        assert!(process.is_current());
        assert_eq!(Process::current().stamp, process.stamp);
        assert!(cfg!(not(target_os = "linux")) || process.page.is_some());
    }
}
