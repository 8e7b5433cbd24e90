//! Shell-like patterns for interface names: `*` (any run of characters) and `?` (any one). Nothing else is special.

/// Whether `text` is a pattern rather than a plain name.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether the whole of `name` matches `pattern`.
///
/// Linear in space and at worst `pattern * name` in time: on a mismatch only the latest `*` is tried again.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    let mut name = name.chars();
    // Where to resume when the characters after a `*` turn out not to match: the pattern behind it, the name it began at.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut rest_of_pattern = pattern.clone();
        let mut rest_of_name = name.clone();
        match (rest_of_pattern.next(), rest_of_name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((rest_of_pattern.clone(), name.clone()));
                pattern = rest_of_pattern;
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                pattern = rest_of_pattern;
                name = rest_of_name;
                continue;
            }
            _ => {}
        }
        let Some((after_star, began)) = retry.as_mut() else { return false };
        if began.next().is_none() {
            return false;
        }
        pattern = after_star.clone();
        name = began.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, expected) in [
            ("eth*", "eth0", true),
            ("eth*", "eth", true),
            ("eth*", "veth0", false),
            ("eth?", "eth0", true),
            ("eth?", "eth", false),
            ("eth?", "eth10", false),
            ("*", "", true),
            ("*0", "eth10", true),
            ("*0", "eth01", false),
            ("e*h*1", "enp0sh1h1", true),
            ("e*h*1", "enp0s1", false),
            ("**a**", "bab", true),
            ("bond*.10?", "bond0.100", true),
            ("eth[01]", "eth0", false),
            ("eth[01]", "eth[01]", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let name = "a".repeat(4000);
        let pattern = format!("{}b", "*a".repeat(100));
        assert!(!matches(&pattern, &name));
    }
}
