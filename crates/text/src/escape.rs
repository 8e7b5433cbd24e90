//! Text of others on its way to a terminal: what would move the cursor, change colours, break lines or turn the direction of writing shows as its number instead.
//! It must not change any other text.

use std::borrow::Cow;

/// The text with everything but printable characters written as `\u{1b}` and the like, and a backslash as two: always one line, and never ambiguous.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c != '\\' && is_harmless(c)) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().fold(String::with_capacity(text.len() + 8), |mut shown, c| {
        if c != '\\' && is_harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
        shown
    });
    Cow::Owned(shown)
}

/// JSON as a terminal can bear it. JSON itself escapes the control characters of ASCII but for DEL; the others (also those that turn the direction of writing) can
/// only stand in its strings, where `\u` means the same to every reader.
pub fn json(text: String) -> String {
    if text.chars().all(|c| c.is_ascii_control() && c != '\u{7f}' || is_harmless(c)) {
        return text;
    }
    let mut units = [0; 2];
    text.chars().fold(String::with_capacity(text.len() + 16), |mut shown, c| {
        if c.is_ascii_control() && c != '\u{7f}' || is_harmless(c) {
            shown.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        }
        shown
    })
}

/// Printable, as the standard library knows it: no control, format, separator (but the space), private or unassigned character; nor one that only adds to the one
/// before.
fn is_harmless(c: char) -> bool {
    matches!(c, ' '..='~') || (!c.is_ascii() && c.escape_debug().len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_shows_as_its_number() {
        for (hostile, shown) in [
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nb\r\t\0", "a\\nb\\r\\t\\0"),
            ("\u{7f}\u{9b}31m", "\\u{7f}\\u{9b}31m"),
            ("\u{202e}evil\u{2066}\u{200f}\u{61c}", "\\u{202e}evil\\u{2066}\\u{200f}\\u{61c}"),
            ("\u{2028}\u{feff}\u{200b}", "\\u{2028}\\u{feff}\\u{200b}"),
            ("\u{301}", "\\u{301}"),
            ("\\u{1b}", "\\\\u{1b}"),
        ] {
            assert_eq!(plain(hostile), shown);
        }
    }

    #[test]
    fn what_can_be_read_stays_as_it_is() {
        for text in ["", "eth0", "it's \"here\": {5}", "Wien ist schön", "中文 🦀"] {
            assert_eq!(plain(text), text);
            assert!(matches!(plain(text), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn json_means_the_same_and_holds_nothing_hostile() {
        let text = "é\u{1b}\u{7f}\u{9b}\u{202e}\u{e0001}\\\n\u{2028}🦀";
        let written = serde_json::to_string(&[text]).map(json).unwrap_or_default();
        assert_eq!(written, r#"["é\u001b\u007f\u009b\u202e\udb40\udc01\\\n\u2028🦀"]"#);
        assert_eq!(serde_json::from_str::<[String; 1]>(&written).ok(), Some([text.to_owned()]));
        let pretty = "{\n  \"a\": 1\n}";
        assert_eq!(json(pretty.to_owned()), pretty);
    }
}
