//! The processor's time stamp counter, where it may tell the time.
//!
//! It may where the kernel tells its own monotonic time by it: then the kernel has found it to run at one pace, in
//! every core alike and through every sleep of a core, and goes on watching it. Elsewhere, and on processors
//! without one, there is no counter here. Reading it faults nowhere that reading the system's clock does not:
//! under such a kernel that reads the counter too, in the caller's thread.
#![allow(unsafe_code, reason = "the counter is read by an instruction")]

/// The counter's ticks. Not ordered with the instructions around it: off by less than a core can look ahead.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: reads a register of the processor and touches no memory; every x86-64 processor has it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// There is no counter.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    0
}

/// Whether the processor promises that the counter never changes its pace and never stops.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) fn is_invariant() -> bool {
    use std::arch::x86_64::__cpuid;
    /// Advanced power management; bit 8 of its `edx` is the invariant counter.
    const POWER: u32 = 0x8000_0007;
    #[allow(unused_unsafe, reason = "safe from a later Rust on")]
    // SAFETY: every x86-64 processor has the instruction.
    let last = unsafe { __cpuid(0x8000_0000) }.eax;
    #[allow(unused_unsafe, reason = "safe from a later Rust on")]
    // SAFETY: as above; a number beyond the last is not asked for.
    let power = (last >= POWER).then(|| unsafe { __cpuid(POWER) }.edx);
    power.is_some_and(|edx| edx >> 8 & 1 == 1)
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) fn is_invariant() -> bool {
    false
}

/// Whether the kernel tells its time by the counter now. It may give it up at any time.
pub(crate) fn is_the_kernels() -> bool {
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(target_os = "linux")
        && std::fs::read_to_string(SOURCE).is_ok_and(|source| source.trim_end() == "tsc")
}
