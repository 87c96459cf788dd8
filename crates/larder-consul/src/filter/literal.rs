//! Texts in quotes, with the escapes of Go.

use std::fmt::{self, Write};

/// What stands between the quotes, without its escapes; none if there is one that stands for nothing.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        plain.push(match letter {
            '\\' => match rest.next()? {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                quoted @ ('\\' | '"') => quoted,
                // Beyond ASCII, Go means a byte by it, which is no text by itself.
                'x' => code(&mut rest, 2).filter(char::is_ascii)?,
                'u' => code(&mut rest, 4)?,
                'U' => code(&mut rest, 8)?,
                _ => return None,
            },
            letter => letter,
        });
    }
    Some(plain)
}

fn code(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let text = rest.as_str().get(..digits)?;
    // `from_str_radix` would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    *rest = rest.as_str()[digits..].chars();
    char::from_u32(u32::from_str_radix(text, 16).ok()?)
}

/// `text` between double quotes.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for letter in self.0.chars() {
            match letter {
                '\\' | '"' => write!(f, "\\{letter}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                letter => f.write_char(letter)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_those_of_go() {
        let plain = |text| unescape(text).expect("it is well-formed");
        assert_eq!(plain(r#"a\\b\"c\n\t\a"#), "a\\b\"c\n\t\u{7}");
        assert_eq!(plain(r"w\u0065b\x65\U0001F600"), "webe\u{1f600}");
        for text in
            [r"\d", r"\", r"\x4", r"\xe9", r"\u12", r"\ud800", r"\U00110000", r"\u+123", r"\u12é"]
        {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_can_be_read(text: String) {
            let quoted = Quoted(&text).to_string();
            let between = &quoted[1..quoted.len() - 1];
            prop_assert_eq!(unescape(between), Some(text));
        }
    }
}
