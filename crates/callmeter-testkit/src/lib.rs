//! What callmeter's tests share. For development only.
//!
//! Owns strategies for records ([`records`]), a store in memory that can be told to fail ([`sink`]), a
//! clock that stands still ([`clock`]), an allocator that counts ([`allocations`]), a child forked without
//! exec ([`fork`]), figures that outlive a killed process (`tally`), processes with mounts, process ids and users of
//! their own (`container`), a file system that a program answers for (`fuse`), a real PostgreSQL
//! ([`postgres`]), a pooler before it ([`pooler`]) and a proxy that breaks its connections ([`chaos`]), a fake provider
//! of models ([`provider`]), what every store promises ([`store`]), and the fixed look-alikes of secrets and
//! content that privacy tests search for ([`markers`]). A suite that several crates must pass lives here, so that its test
//! names stand once.

pub mod allocations;
#[cfg(unix)]
pub mod chaos;
pub mod clock;
#[cfg(target_os = "linux")]
pub mod container;
#[cfg(unix)]
pub mod fork;
#[cfg(target_os = "linux")]
pub mod fuse;
pub mod markers;
#[cfg(unix)]
pub mod pooler;
#[cfg(unix)]
pub mod postgres;
pub mod provider;
pub mod records;
pub mod sink;
pub mod store;
#[cfg(unix)]
pub mod tally;
