//! Text of others on its way to a terminal: what would move the cursor, change colours, break lines or turn the direction of writing shows as its number instead.
//! It must not change any other text.

use std::borrow::Cow;

/// The most characters of a line that quotes what others wrote.
const LINE_CHARS: usize = 1_000;
/// How many of them are its end, which says what to do.
const END_CHARS: usize = 400;

/// The text with everything but printable characters written as `\u{1b}` and the like, and a backslash as two: always one line, and never ambiguous.
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\\' && is_harmless(c))
}

/// The same with a backslash as it is: what was escaped before is not escaped again.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmless)
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().fold(String::with_capacity(text.len() + 8), |mut shown, c| {
        if stays(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
        shown
    });
    Cow::Owned(shown)
}

/// A line that quotes others, of a length that can be read: of a long one its beginning, its end, and how much is left out between.
pub fn fit(line: &str) -> Cow<'_, str> {
    let place = |chars: usize| line.char_indices().nth(chars).map(|(at, _)| at);
    // Most lines have not even as many bytes.
    if line.len() <= LINE_CHARS || place(LINE_CHARS).is_none() {
        return Cow::Borrowed(line);
    }
    let length = line.chars().count();
    let first: String = line.chars().take(LINE_CHARS - END_CHARS).collect();
    let last: String = line.chars().skip(length - END_CHARS).collect();
    Cow::Owned(format!("{first} […{} characters…] {last}", length - LINE_CHARS))
}

/// A message in one line that can be read: what has several (a configuration's error, with the picture of the place) is joined, without the carets that point
/// at nothing any more.
pub fn one_line(message: &str) -> String {
    let is_caret = |line: &&str| !line.is_empty() && line.chars().all(|c| matches!(c, ' ' | '\t' | '|' | '^'));
    let lines = message.lines().filter(|line| !is_caret(line)).map(|line| fit(line.trim()));
    lines.collect::<Vec<_>>().join("; ")
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
pub fn is_harmless(c: char) -> bool {
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
    fn a_backslash_is_ambiguous_only_where_what_was_escaped_may_come_again() {
        assert_eq!(shown("\u{1b}\\u{1b}\u{202e}"), "\\u{1b}\\u{1b}\\u{202e}");
        assert_eq!(shown(&shown("\u{9b}")), shown("\u{9b}"));
    }

    #[test]
    fn a_long_line_keeps_its_beginning_and_its_end() {
        let line = format!("f:1:8: {}é is no mode; write \"audit\"", "ä".repeat(1 << 20));
        let cut = fit(&line);
        assert!(cut.starts_with("f:1:8: ää") && cut.ends_with("é is no mode; write \"audit\""), "{cut}");
        assert!(cut.contains(&format!("[…{} characters…]", line.chars().count() - 1_000)), "{cut}");
        assert!(cut.chars().count() < 1_100);
        let whole = "ä".repeat(1_000);
        assert_eq!(fit(&whole), whole);
    }

    #[test]
    fn a_message_of_several_lines_is_joined() {
        assert_eq!(one_line("INFO  attached"), "INFO  attached");
        assert_eq!(
            one_line("refused: f:1:8: bad\n1 | mode = \"x\"\n  |        ^^^\n  = help: write \"audit\""),
            "refused: f:1:8: bad; 1 | mode = \"x\"; = help: write \"audit\""
        );
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
