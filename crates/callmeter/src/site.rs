//! Where a call is made: file and line, relative to the package root, found once for each place.
//!
//! A place in the source is a static; each thread remembers by its address where the text lies in the
//! buffer's name table. Places of another language are made static by its [binding](crate::binding).

use std::cell::Cell;
use std::fmt::Write;
use std::panic::Location;

use callmeter_core::Field;
use callmeter_flight::{FlightBuffer, Name, NameRef};

/// How many places a thread remembers; another place with the same number takes over.
const PLACES: usize = 64;
/// The longest text of a place: file, line, and room to spare.
const MAX_TEXT: usize = 192;

/// A place in the source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Rust(&'static Location<'static>),
    Foreign(&'static CallSite),
    Unknown,
}

/// A place in the source of another language: the text that rows show, file and line.
#[derive(Debug)]
pub struct CallSite(Box<str>);

impl CallSite {
    /// A place that lives as long as the process: a binding makes one for each place and keeps to a bound.
    pub fn lasting(file: &str, line: u32) -> &'static Self {
        let text = Text::of(file, line);
        Box::leak(Box::new(Self(text.as_str().into())))
    }
}

impl Place {
    fn address(self) -> Option<usize> {
        match self {
            Self::Rust(site) => Some(std::ptr::from_ref(site).addr()),
            Self::Foreign(site) => Some(std::ptr::from_ref(site).addr()),
            Self::Unknown => None,
        }
    }
}

type Remembered = Cell<Option<(usize, NameRef)>>;

thread_local! {
    static SEEN: [Remembered; PLACES] = const { [const { Cell::new(None) }; PLACES] };
}

/// Gives `use_it` the name of a place.
#[inline]
pub(crate) fn with_name<T>(
    buffer: &FlightBuffer,
    site: Place,
    use_it: impl FnOnce(Name<'_>) -> T,
) -> T {
    let Some(address) = site.address() else {
        return use_it(Name::None);
    };
    let known = SEEN.with(|seen| seen.get(place_of(address))?.get());
    match known {
        Some((at, name)) if at == address && name.buffer_id() == buffer.id() => {
            use_it(Name::Known(name))
        }
        _ => look_up(buffer, site, address, use_it),
    }
}

/// Statics lie words apart.
const fn place_of(address: usize) -> usize {
    ((address >> 3) ^ (address >> 9)) % PLACES
}

#[cold]
fn look_up<T>(
    buffer: &FlightBuffer,
    site: Place,
    address: usize,
    use_it: impl FnOnce(Name<'_>) -> T,
) -> T {
    let shown;
    let text = match site {
        Place::Rust(site) => {
            shown = Text::of(relative(site.file()), site.line());
            shown.as_str()
        }
        Place::Foreign(site) => &site.0,
        Place::Unknown => "",
    };
    if let Some(name) = buffer.name(text) {
        SEEN.with(|seen| {
            if let Some(place) = seen.get(place_of(address)) {
                place.set(Some((address, name)));
            }
        });
        return use_it(Name::Known(name));
    }
    use_it(text.into())
}

/// A text on the stack; what does not fit is left out at its front.
struct Text {
    bytes: [u8; MAX_TEXT],
    len: usize,
}

impl Text {
    fn of(file: &str, line: u32) -> Self {
        let mut text = Self {
            bytes: [0; MAX_TEXT],
            len: 0,
        };
        // Of a path the end tells most.
        let room = Field::CallSite.limit();
        let mut from = file.len().saturating_sub(room.saturating_sub(8));
        while !file.is_char_boundary(from) {
            from = from.saturating_add(1);
        }
        let file = file.get(from..).unwrap_or_default();
        let _ = write!(text, "{file}:{line}");
        text
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len.saturating_add(text.len());
        let place = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// A source file's path from the package root on.
fn relative(file: &str) -> &str {
    let from = ["src/", "tests/", "examples/", "benches/"]
        .iter()
        .filter_map(|root| {
            let at = file.rfind(root)?;
            let before = file.get(..at)?;
            (before.is_empty() || before.ends_with('/')).then_some(at)
        })
        .min()
        .unwrap_or(0);
    file.get(from..).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_package_root() {
        for (file, shown) in [
            ("/home/a/shop/src/sales/copy.rs", "src/sales/copy.rs"),
            ("crates/shop/tests/it/main.rs", "tests/it/main.rs"),
            ("mysrc/copy.rs", "mysrc/copy.rs"),
        ] {
            assert_eq!(relative(file), shown);
        }
    }

    #[test]
    fn a_place_has_its_file_and_line() {
        let site = Location::caller();
        let text = Text::of(relative(site.file()), site.line());
        assert_eq!(text.as_str(), format!("src/site.rs:{}", site.line()));
    }

    #[test]
    fn of_a_long_path_the_end_stays() {
        let text = Text::of(&format!("{}/sales/copy.py", "é".repeat(200)), 4_000_000);
        assert!(text.as_str().ends_with("é/sales/copy.py:4000000"));
        assert!(text.as_str().len() <= Field::CallSite.limit() + 8);
    }
}
