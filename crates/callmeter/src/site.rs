//! Where a call is made: file and line, relative to the package root, found once for each place.
//!
//! A place in the source is a static, and mostly makes calls with the same names. So each thread remembers by
//! its address which names came last and where they lie in the buffer's table: the next call compares the
//! texts and has all its names at once. Places of another language are made static by its
//! [binding](crate::binding). Nothing here has a destructor: a thread may record while its other
//! thread-locals are being destroyed.

use std::cell::RefCell;
use std::fmt::Write;
use std::panic::Location;

use callmeter_core::Field;
use callmeter_flight::Prepared;

use crate::guard::Names;

/// How many places a thread remembers; another place with the same number takes over.
const PLACES: usize = 32;
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
    /// Its number among all places of this process; 0 is unknown.
    #[inline(always)]
    fn address(self) -> usize {
        match self {
            Self::Rust(site) => std::ptr::from_ref(site).addr(),
            Self::Foreign(site) => std::ptr::from_ref(site).addr(),
            Self::Unknown => 0,
        }
    }

    /// The text that rows show; empty where it is unknown.
    pub(crate) fn text(self) -> Text {
        match self {
            Self::Rust(site) => Text::of(relative(site.file()), site.line()),
            Self::Foreign(site) => {
                let mut text = Text::EMPTY;
                // A text of this kind is as long at most.
                let _ = text.write_str(&site.0);
                text
            }
            Self::Unknown => Text::EMPTY,
        }
    }
}

/// The names of a place's last call; a call with a longer name is not remembered.
#[derive(Clone, Copy)]
struct Texts {
    caller: Short<4>,
    provider: Short<2>,
    model: Short<6>,
}

/// A text of at most `N` words.
#[derive(Clone, Copy)]
struct Short<const N: usize> {
    len: usize,
    words: [u64; N],
}

#[derive(Clone, Copy)]
struct Remembered {
    /// Of the place; 0 is an unknown one.
    address: usize,
    buffer: u64,
    names: Texts,
    prepared: Option<Prepared>,
}

impl Remembered {
    const NOTHING: Self = Self {
        address: 0,
        buffer: 0,
        names: Texts {
            caller: Short::EMPTY,
            provider: Short::EMPTY,
            model: Short::EMPTY,
        },
        prepared: None,
    };
}

thread_local! {
    static SEEN: RefCell<[Remembered; PLACES]> = const { RefCell::new([Remembered::NOTHING; PLACES]) };
}

/// Uses the opening of a place's last call, if it was in the same buffer and had the same names.
#[inline]
pub(crate) fn with_prepared<T>(
    buffer: u64,
    names: &Names<'_>,
    site: Place,
    use_it: impl FnOnce(&Prepared) -> T,
) -> Option<T> {
    let address = site.address();
    SEEN.with(|seen| {
        let seen = seen.try_borrow().ok()?;
        let last = seen.get(place_of(address))?;
        if last.address != address || last.buffer != buffer || !last.names.are(names) {
            return None;
        }
        last.prepared.as_ref().map(use_it)
    })
}

/// Remembers the opening of a place's call.
pub(crate) fn remember(buffer: u64, names: &Names<'_>, site: Place, prepared: Prepared) {
    let address = site.address();
    let Some(names) = Texts::of(names) else {
        return;
    };
    SEEN.with(|seen| {
        if let Ok(mut seen) = seen.try_borrow_mut()
            && let Some(place) = seen.get_mut(place_of(address))
        {
            *place = Remembered {
                address,
                buffer,
                names,
                prepared: Some(prepared),
            };
        }
    });
}

/// Statics lie words apart.
const fn place_of(address: usize) -> usize {
    ((address >> 3) ^ (address >> 9)) % PLACES
}

impl Texts {
    fn of(names: &Names<'_>) -> Option<Self> {
        Some(Self {
            caller: Short::of(names.caller)?,
            provider: Short::of(names.provider)?,
            model: Short::of(names.model)?,
        })
    }

    #[inline]
    fn are(&self, names: &Names<'_>) -> bool {
        self.caller.is(names.caller)
            && self.provider.is(names.provider)
            && self.model.is(names.model)
    }
}

impl<const N: usize> Short<N> {
    const EMPTY: Self = Self {
        len: 0,
        words: [0; N],
    };

    fn of(text: &str) -> Option<Self> {
        let mut short = Self {
            len: text.len(),
            words: [0; N],
        };
        let (whole, rest) = text.as_bytes().as_chunks::<8>();
        let mut words = short.words.iter_mut();
        for (chunk, word) in whole.iter().zip(words.by_ref()) {
            *word = u64::from_le_bytes(*chunk);
        }
        if !rest.is_empty() {
            *words.next()? = last_word(rest);
        }
        (text.len() <= size_of::<[u64; N]>()).then_some(short)
    }

    #[inline]
    fn is(&self, text: &str) -> bool {
        if self.len != text.len() {
            return false;
        }
        let (whole, rest) = text.as_bytes().as_chunks::<8>();
        let mut words = self.words.iter();
        let is_same = whole
            .iter()
            .zip(words.by_ref())
            .all(|(chunk, word)| u64::from_le_bytes(*chunk) == *word);
        is_same && (rest.is_empty() || words.next().is_some_and(|word| last_word(rest) == *word))
    }
}

/// One to seven bytes as a word. Loads that overlap put the same bytes in the same places.
#[inline]
fn last_word(rest: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let shift = (rest.len() as u32).wrapping_sub(4).wrapping_mul(8);
        return u64::from(u32::from_le_bytes(*first))
            | u64::from(u32::from_le_bytes(*last)) << shift;
    }
    rest.iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// A text on the stack; what does not fit is left out at its front.
pub(crate) struct Text {
    bytes: [u8; MAX_TEXT],
    len: usize,
}

impl Text {
    const EMPTY: Self = Self {
        bytes: [0; MAX_TEXT],
        len: 0,
    };

    fn of(file: &str, line: u32) -> Self {
        let mut text = Self::EMPTY;
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

    pub(crate) fn as_str(&self) -> &str {
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
    fn a_remembered_text_is_that_text_and_no_other() {
        let texts = [
            "",
            "a",
            "openai",
            "openai\0",
            "openai-8",
            "openai-89",
            "gpt-5-mini-20260101",
        ];
        for text in texts {
            for other in texts {
                let short = Short::<3>::of(text).unwrap();
                assert_eq!(short.is(other), text == other, "{text:?} {other:?}");
            }
        }
        assert!(Short::<1>::of("nine byte").is_none());
        assert!(Short::<2>::of("nine byte").is_some());
    }

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
        let text = Place::Rust(site).text();
        assert_eq!(text.as_str(), format!("src/site.rs:{}", site.line()));
        assert_eq!(Place::Unknown.text().as_str(), "");
    }

    #[test]
    fn of_a_long_path_the_end_stays() {
        let file = format!("{}/sales/copy.py", "é".repeat(200));
        let text = Text::of(&file, 4_000_000);
        assert!(text.as_str().ends_with("é/sales/copy.py:4000000"));
        assert!(text.as_str().len() <= Field::CallSite.limit() + 8);
        let foreign = Place::Foreign(CallSite::lasting(&file, 4_000_000));
        assert_eq!(foreign.text().as_str(), text.as_str());
    }
}
