//! Our own `OpenMetrics` text as the older Prometheus text format 0.0.4, for readers that ask for no other.

/// Names in comments get the suffix that the samples have, `info` is a gauge, and there is no end mark.
pub(super) fn from_openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The help comes before the type that decides the name.
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take() {
                out.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_get_the_names_of_their_samples() {
        let openmetrics = "# HELP a Frames.\n# TYPE a counter\na_total{x=\"# EOF\"} 1\n# HELP b It is.\n# TYPE b gauge\nb 2\n# HELP c Which.\n# TYPE c \
                           info\nc_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_total Frames.\n# TYPE a_total counter\na_total{x=\"# EOF\"} 1\n# HELP b It is.\n# TYPE b gauge\nb 2\n# HELP c_info \
                    Which.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(from_openmetrics(openmetrics), text);
    }
}
