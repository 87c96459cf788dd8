//! Metadata keys as names of XML elements, escaped as XStream's `XmlFriendlyNameCoder` does.
//!
//! Pure. `_` becomes `__`, `$` becomes `_-`, and whatever a name cannot hold becomes `_.` with four
//! hexadecimal digits for each UTF-16 unit.
//!
//! More is escaped than XStream escapes, whose decoder reads it all the same. A colon makes a prefix of
//! what is before it, so that one key such as `a:b` would keep every namespace-aware parser, Python's
//! among them, from reading the whole registry. And parsers disagree about which letters beyond ASCII
//! may stand in a name.

use std::fmt::Write;

/// The element name for a key.
pub(super) fn escape(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        match letter {
            '_' => name.push_str("__"),
            '$' => name.push_str("_-"),
            letter if may_stand(letter, name.is_empty()) => name.push(letter),
            letter => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(name, "_.{unit:04x}");
                }
            }
        }
    }
    name
}

/// The key for an element name. What is no escape stands for itself, as in `my_key`.
pub(super) fn unescape(name: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(letter) = rest.chars().next() {
        if let Some((unit, len)) = escaped(rest) {
            units.push(unit);
            rest = &rest[len..];
        } else {
            units.extend_from_slice(letter.encode_utf16(&mut [0; 2]));
            rest = &rest[letter.len_utf8()..];
        }
    }
    String::from_utf16_lossy(&units)
}

/// The escape that `text` begins with, and its length.
fn escaped(text: &str) -> Option<(u16, usize)> {
    let after = text.strip_prefix('_')?;
    if after.starts_with('_') {
        return Some((u16::from(b'_'), 2));
    }
    if after.starts_with('-') {
        return Some((u16::from(b'$'), 2));
    }
    let digits = after.strip_prefix('.')?.get(..4)?;
    let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok()?;
    all_hex.then_some((unit, 6))
}

/// Whether a letter may stand in a name for every parser that there is.
fn may_stand(letter: char, first: bool) -> bool {
    letter.is_ascii_alphabetic() || (!first && matches!(letter, '-' | '.' | '0'..='9'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_become_names_that_every_parser_reads() {
        for (key, name) in [
            ("management.port", "management.port"),
            ("my_key", "my__key"),
            ("dollar$key", "dollar_-key"),
            ("1abc", "_.0031abc"),
            ("a b", "a_.0020b"),
            ("<k>", "_.003ck_.003e"),
            ("a:b", "a_.003ab"),
            ("é", "_.00e9"),
            ("🍞", "_.d83c_.df5e"),
        ] {
            assert_eq!(escape(key), name);
            assert_eq!(unescape(name), key);
        }
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        for name in ["my_key", "a:b", "é", "_", "_.", "_.00", "_.zzzz", "a_.+123"] {
            assert_eq!(unescape(name), name);
        }
    }

    proptest! {
        #[test]
        fn any_key_comes_back(key in any::<String>()) {
            prop_assert_eq!(unescape(&escape(&key)), key);
        }

        #[test]
        fn any_key_becomes_a_plain_name(key in any::<String>()) {
            let name = escape(&key);
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)));
            let starts = name.chars().next();
            prop_assert!(starts.is_none_or(|c| c.is_ascii_alphabetic() || c == '_'), "{}", name);
        }

        #[test]
        fn any_name_can_be_read(name in any::<String>()) {
            unescape(&name);
        }
    }
}
