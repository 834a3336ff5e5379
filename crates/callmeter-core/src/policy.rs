//! What becomes of an error's text: the words of the setting `privacy.errors`.

/// What a row keeps of an error (promise CM-6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorPolicy {
    /// Type, code and HTTP status; nothing of the text.
    #[default]
    Class,
    /// Of known errors the text by template: fixed words, host, port, numbers and short names; of unknown
    /// ones the type.
    Scrubbed,
}

impl ErrorPolicy {
    /// Every policy.
    pub const ALL: &'static [Self] = &[Self::Class, Self::Scrubbed];

    /// The policy's word in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Scrubbed => "scrubbed",
        }
    }
}
