//! One declaration per option: its type, default, limits and manual in one place.
//!
//! Doc comments are gone at run time, so [`settings!`] declares a section's struct and keeps its
//! comments as data: `config --example`, the table of `README.md`, the names that are known and the
//! texts of errors all come from there. [`choice!`] does the same for words from a fixed list.

/// A section of the settings: one struct, one TOML table.
#[derive(Debug)]
pub struct Section {
    /// Dotted name of the table; empty for what stands before all tables.
    pub name: &'static str,
    /// What the section is about.
    pub about: &'static str,
    pub options: &'static [OptionDoc],
}

/// What is known of an option before anybody sets it.
#[derive(Debug)]
pub struct OptionDoc {
    /// Dotted name, as in `server.bind`.
    pub key: &'static str,
    /// The default as TOML; its form says which form is accepted.
    pub default: &'static str,
    /// Smallest and largest number accepted.
    pub range: Option<(u64, u64)>,
    /// The manual: the lines of the doc comment.
    pub doc: &'static str,
    /// The Rust type, as declared.
    pub ty: &'static str,
}

/// The forms a setting can have in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingForm {
    Flag,
    Number,
    Text,
    List,
}

impl OptionDoc {
    #[must_use]
    pub fn form(&self) -> SettingForm {
        match self.default.as_bytes().first() {
            Some(b'"') => SettingForm::Text,
            Some(b'[') => SettingForm::List,
            Some(b'0'..=b'9') => SettingForm::Number,
            _ => SettingForm::Flag,
        }
    }

    /// Returns whether an empty text means "not set".
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.ty.starts_with("Option<")
    }

    /// Returns whether the value must never be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.ty.contains("Secret")
    }

    /// Returns whether there is a secret in the value, in whole or in part: such a value may come
    /// from a file, whose name is set as this key with `_file` behind it.
    #[must_use]
    pub fn may_come_from_a_file(&self) -> bool {
        self.is_secret() || self.ty.contains("StoreUrl") || self.ty == "Hosts"
    }

    /// Returns the name in its section: `bind` of `server.bind`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.key.rsplit('.').next().unwrap_or(self.key)
    }
}

/// Declares a section: its struct, its manual and how it is read.
///
/// `= DEFAULT` is a TOML literal; `in MIN..=MAX` bounds a number; `with { … }` lists the sections
/// inside this one.
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident in $section:tt {
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $ty:ty = $default:tt $(in $min:literal..=$max:literal)?,
            )*
        }
        $(with { $($inner:ident: $inner_ty:ident),* })?
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $ty,)*
            $($(#[doc = "The section of this name."] pub $inner: $inner_ty,)*)?
        }

        impl $name {
            /// The manual of this section.
            pub const SECTION: $crate::config::Section = $crate::config::Section {
                name: $section,
                about: concat!($($about, "\n"),*),
                options: &[$($crate::config::OptionDoc {
                    key: settings!(@key $section, $field),
                    default: stringify!($default),
                    range: settings!(@range $($min, $max)?),
                    doc: concat!($($doc, "\n"),*),
                    ty: stringify!($ty),
                }),*],
            };

            /// Reads every option before it gives up, so that `values` has all errors.
            pub(super) fn read(values: &$crate::config::Values) -> Option<Self> {
                $(let $field = values.get(settings!(@key $section, $field));)*
                $($(let $inner = $inner_ty::read(values);)*)?
                Some(Self {
                    $($field: $field?,)*
                    $($($inner: $inner?,)*)?
                })
            }
        }
    };
    (@key "", $field:ident) => { stringify!($field) };
    (@key $section:tt, $field:ident) => { concat!($section, ".", stringify!($field)) };
    (@range) => { None };
    (@range $min:literal, $max:literal) => { Some(($min, $max)) };
}

/// Declares an option's words: an enum read from and shown as exactly these texts.
macro_rules! choice {
    (
        $(#[doc = $about:literal])*
        pub enum $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $text:literal,)* }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub enum $name { $($(#[doc = $doc])* $variant,)* }

        impl $name {
            /// Returns the word of the settings for this.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                match text.as_str() {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(format!("one of {}", [$(concat!("`", $text, "`")),*].join(", "))),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(super) use {choice, settings};
