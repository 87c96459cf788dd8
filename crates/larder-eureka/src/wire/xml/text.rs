//! Text between XML's tags.

/// Appends text, escaped as XStream escapes. A character that XML 1.0 cannot carry at all, not even
/// escaped, becomes the replacement character, so that one odd value does not cost every reader the
/// whole document.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut written = 0;
    for (place, letter) in text.char_indices() {
        let escape = match letter {
            '<' => "&lt;",
            '>' => "&gt;",
            '&' => "&amp;",
            '"' => "&quot;",
            '\'' => "&apos;",
            '\r' => "&#xd;",
            '\t' | '\n' => continue,
            '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => "\u{FFFD}",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[written..place]);
        out.extend_from_slice(escape.as_bytes());
        written = place + letter.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[written..]);
}
