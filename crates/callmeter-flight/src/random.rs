//! Random bytes of the operating system.
//!
//! On Linux by `getrandom(2)` through rustix, which is there already; elsewhere through the crate that knows
//! every platform.

/// Fills `bytes`; says `false` where there is no randomness to be had.
#[cfg(target_os = "linux")]
pub fn fill_random(bytes: &mut [u8]) -> bool {
    let mut filled = 0_usize;
    while let Some(rest) = bytes.get_mut(filled..)
        && !rest.is_empty()
    {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled = filled.saturating_add(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Fills `bytes`; says `false` where there is no randomness to be had.
#[cfg(not(target_os = "linux"))]
pub fn fill_random(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_is_filled() {
        let mut bytes = [0_u8; 4_096];
        assert!(super::fill_random(&mut bytes));
        assert!(
            bytes
                .windows(16)
                .all(|some| some.iter().any(|byte| *byte != 0))
        );
    }
}
