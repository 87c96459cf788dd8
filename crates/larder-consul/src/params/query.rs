//! A query string, taken apart: pairs between `&`, a key and what follows its first `=`, each with `+` for a
//! space and percent-encoding. A `;` is a letter like any other.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::BadParameter;

/// The most of what is wrong that an error tells of.
const QUOTED: usize = 64;

/// The pairs of `query` in their order, decoded. What holds nothing encoded is borrowed.
pub(super) fn pairs(
    query: &str,
) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), BadParameter>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    })
}

fn decode(text: &str) -> Result<Cow<'_, str>, BadParameter> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(|byte| matches!(byte, b'%' | b'+')) else {
        return Ok(Cow::Borrowed(text));
    };
    if !escapes_are_whole(&bytes[first..]) {
        return Err(BadParameter::BadEscape(quoted(text)));
    }
    // Pluses first: an encoded one, %2B, stays one.
    let spaced = if bytes[first..].contains(&b'+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(|text| Cow::Owned(text.into_owned()))
        .map_err(|_| BadParameter::NotText(quoted(text)))
}

fn escapes_are_whole(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(place, _)| {
        let digits = bytes.get(place + 1..place + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn quoted(text: &str) -> Box<str> {
    text.chars().take(QUOTED).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<(String, String)> {
        let pairs = pairs(query).map(|pair| pair.expect("it is well-formed"));
        pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn pairs_come_apart_at_ampersands_and_the_first_equals_sign() {
        assert_eq!(
            read("a=1&b&&c=&d=x=y"),
            [pair("a", "1"), pair("b", ""), pair("c", ""), pair("d", "x=y")]
        );
        assert_eq!(read(""), []);
        assert_eq!(read("a;b=c"), [pair("a;b", "c")]);
    }

    #[test]
    fn plus_is_a_space_and_an_encoded_plus_is_a_plus() {
        assert_eq!(read("a+b=c%2Bd+e"), [pair("a b", "c+d e")]);
        assert_eq!(read("node-meta=k%3Av%C3%A9"), [pair("node-meta", "k:vé")]);
    }

    #[test]
    fn what_is_not_text_is_refused() {
        let bad = |query| pairs(query).find_map(Result::err);
        assert_eq!(bad("ok=1&a=%FF"), Some(BadParameter::NotText("%FF".into())));
        assert_eq!(bad("a=%"), Some(BadParameter::BadEscape("%".into())));
        assert_eq!(bad("a=%2"), Some(BadParameter::BadEscape("%2".into())));
        assert_eq!(bad("a=%zz+"), Some(BadParameter::BadEscape("%zz+".into())));
        assert_eq!(bad("%+1=a"), Some(BadParameter::BadEscape("%+1".into())));
        assert_eq!(bad("a=%2525"), None);
    }
}
