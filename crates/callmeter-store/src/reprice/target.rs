//! By which revision of the book a reprice prices the calls that it looks at.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use callmeter_core::CallId;
use callmeter_price::Book;

/// By which revision calls are priced.
pub(crate) enum Target {
    /// All by one.
    One(u32, Arc<Book>),
    /// Each by the one that it had before.
    Before(Before),
}

/// Where an undo brings calls back to.
pub(crate) struct Before {
    /// From which call on the calls that the undone reprice looked at had which revision.
    pub(crate) runs: BTreeMap<(i64, i64), u32>,
    /// The last call that it looked at.
    pub(crate) last: (i64, i64),
    /// The books of those revisions.
    pub(crate) books: HashMap<u32, Arc<Book>>,
    /// The undo's own revision: of calls that came later, and never had another.
    pub(crate) own: (u32, Arc<Book>),
}

impl Target {
    /// The revision of a call, and its book.
    pub(crate) fn of(&self, id: CallId) -> (u32, &Book) {
        match self {
            Self::One(rev, book) => (*rev, book),
            Self::Before(before) => before.of((id.hi(), id.lo())),
        }
    }
}

impl Before {
    fn of(&self, id: (i64, i64)) -> (u32, &Book) {
        let run = (id <= self.last).then(|| self.runs.range(..=id).next_back());
        let known = run.flatten().and_then(|(_, rev)| {
            let book = self.books.get(rev)?;
            Some((*rev, &**book))
        });
        known.unwrap_or((self.own.0, &self.own.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_back_with_its_run_and_one_beyond_the_walk_to_the_undo_itself() {
        let book = Arc::new(Book::parse("name = \"a\"\nversion = \"1\"\n").unwrap());
        let before = Before {
            runs: [((10, 0), 1), ((20, 5), 2), ((30, 0), 0)].into(),
            last: (40, 0),
            books: [(1, Arc::clone(&book)), (2, Arc::clone(&book))].into(),
            own: (9, book),
        };
        for (id, rev) in [
            ((9, i64::MAX), 9),
            ((10, 0), 1),
            ((20, 4), 1),
            ((20, 5), 2),
            ((29, 9), 2),
            // A run without a revision has no book to go back to.
            ((30, 0), 9),
            ((40, 1), 9),
        ] {
            assert_eq!(before.of(id).0, rev, "{id:?}");
        }
    }
}
