//! The fixed words of enums, for labels, log lines and JSON.

/// Gives an enum `as_str`, with a fixed word for each variant, and a `Display` of the same word.
macro_rules! str_enum {
    ($name:ident { $($variant:ident: $word:literal),+ $(,)? }) => {
        impl $name {
            /// Returns the variant's word, for a label, a log line or JSON.
            ///
            /// Words do not change within a major version.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

pub(crate) use str_enum;
