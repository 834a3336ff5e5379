//! A terminal that is drawn on over and over, until a key ends it.
//!
//! Owns the terminal's mode and gives it back however the command ends, but by a kill. Keys are read without
//! waiting for Enter; Ctrl-C is such a key.

use std::io;
use std::time::Duration;

/// The terminal while it is drawn on.
pub(crate) struct Screen {
    #[cfg(unix)]
    before: rustix::termios::Termios,
}

const TO_OTHER_SCREEN: &str = "\u{1b}[?1049h\u{1b}[?25l";
const BACK: &str = "\u{1b}[?25h\u{1b}[?1049l";

#[cfg(unix)]
impl Screen {
    /// Takes the terminal; `None` where standard input or output is none.
    pub(crate) fn take() -> io::Result<Option<Self>> {
        use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};
        if !isatty(io::stdin()) || !isatty(io::stdout()) {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        keys.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        let screen = Self { before };
        crate::print::out(TO_OTHER_SCREEN)?;
        Ok(Some(screen))
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (u16, u16) {
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => (80, 24),
        }
    }

    /// Waits for a key; says whether it was one that ends: q, Ctrl-C, Ctrl-D.
    pub(crate) fn is_ended_within(&self, limit: Duration) -> io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, poll};
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let limit = rustix::event::Timespec::try_from(limit).ok();
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut keys = [0_u8; 16];
        let count = rustix::io::read(&stdin, &mut keys)?;
        let pressed = keys.get(..count).unwrap_or_default();
        Ok(count == 0 || pressed.iter().any(|key| matches!(key, b'q' | b'Q' | 3 | 4)))
    }
}

#[cfg(not(unix))]
impl Screen {
    /// There is no drawing here.
    pub(crate) fn take() -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (u16, u16) {
        (80, 24)
    }

    /// Ends at once.
    pub(crate) fn is_ended_within(&self, _: Duration) -> io::Result<bool> {
        Ok(true)
    }
}

impl Screen {
    /// Draws from the top; what stood there before goes line by line, so that nothing flickers.
    pub(crate) fn draw(&mut self, text: &str) -> io::Result<()> {
        let mut picture = "\u{1b}[H".to_owned();
        for line in text.lines() {
            picture.push_str(line);
            picture.push_str("\u{1b}[K\r\n");
        }
        picture.push_str("\u{1b}[J");
        crate::print::out(&picture)?;
        io::Write::flush(&mut io::stdout())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = crate::print::out(BACK);
        let _ = io::Write::flush(&mut io::stdout());
        #[cfg(unix)]
        {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        }
    }
}
