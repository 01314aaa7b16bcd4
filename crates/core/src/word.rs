//! Enums that people and programs write as a word: in an API, as a flag's value, in a database.

/// One of a closed set of words. Made by `words!`.
pub trait Word: Copy + Send + Sync + 'static {
    /// Every word, in the order it is documented.
    const WORDS: &'static [&'static str];
    /// What each word means: a sentence for people.
    const MEANINGS: &'static [&'static str];

    /// The word.
    fn word(self) -> &'static str;

    /// Reads the word.
    fn read(text: &str) -> Option<Self>;
}

/// Defines an enum whose variants are words. A variant's documentation, one line, is also what people are told of it elsewhere.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $(#[doc = $meaning:literal] $(#[$attribute:meta])* $variant:ident $(= $number:literal)? => $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        pub enum $name {
            $(#[doc = $meaning] $(#[$attribute])* $variant $(= $number)?,)+
        }

        impl $name {
            /// Every one once.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word people write.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Reads the word people write.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.as_str() == text)
            }
        }

        impl $crate::word::Word for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
            const MEANINGS: &'static [&'static str] = &[$($meaning),+];

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn read(text: &str) -> Option<Self> {
                Self::parse(text)
            }
        }
    };
}

pub(crate) use words;
