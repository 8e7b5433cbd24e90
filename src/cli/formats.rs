//! Which output formats a command has: its help offers those. It must not print results.

use clap::{
    Arg, ArgMatches, Command, ValueEnum as _,
    builder::{PossibleValuesParser, TypedValueParser as _},
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Output;

/// What these write is for one kind of reader: another program, or somebody who waits at a terminal. Their help offers no format; scripts that say `-o json` to
/// every command may say it to them.
const FIXED: [&str; 8] =
    ["run", "panic-open", "trial-guard", "capture", "events export", "report", "completions", "man"];
const ARGUMENT: &str = "output";

fn of(path: &str) -> &'static [Output] {
    match path {
        "events list" => Output::value_variants(),
        _ => &[Output::Table, Output::Json, Output::Jsonl],
    }
}

/// The command line where each command offers its own.
pub(super) fn named(command: Command) -> Command {
    let common = command.get_arguments().find(|argument| argument.get_id() == ARGUMENT).cloned();
    match common {
        Some(common) => offering(command, &common, ""),
        None => command,
    }
}

fn offering(command: Command, common: &Arg, path: &str) -> Command {
    if command.has_subcommands() {
        return command.mut_subcommands(|inner| {
            let path = format!("{path} {}", inner.get_name());
            offering(inner, common, path.trim_start())
        });
    }
    let formats = of(path);
    let values = formats.iter().filter_map(|format| Some(format.to_possible_value()?.hide(false)));
    let parser = PossibleValuesParser::new(values).try_map(|text| Output::from_str(&text, false));
    command.arg(common.clone().value_parser(parser).hide(FIXED.contains(&path)))
}

/// Before a command's name every format can stand; refuses one that the command does not have.
pub(super) fn checked(typed: ArgMatches) -> Result<ArgMatches, clap::Error> {
    let (mut path, mut inner) = (Vec::new(), &typed);
    while let Some((name, matches)) = inner.subcommand() {
        path.push(name);
        inner = matches;
    }
    let path = path.join(" ");
    match inner.get_one::<Output>(ARGUMENT) {
        Some(output) if !of(&path).contains(output) => {
            let name = |output: &Output| output.to_possible_value().map(|value| value.get_name().to_owned());
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(&super::Cli::described());
            let words = ContextValue::String;
            error.insert(ContextKind::InvalidArg, words("--output <FORMAT>".to_owned()));
            error.insert(ContextKind::InvalidValue, words(name(output).unwrap_or_default()));
            error.insert(ContextKind::ValidValue, ContextValue::Strings(of(&path).iter().filter_map(name).collect()));
            Err(error)
        }
        _ => Ok(typed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    fn typed(words: &[&str]) -> Result<ArgMatches, clap::Error> {
        Cli::described().try_get_matches_from(words).and_then(checked)
    }

    fn is_refused(words: &[&str]) -> bool {
        typed(words).is_err_and(|error| error.kind() == ErrorKind::InvalidValue)
    }

    /// Whatever else is missing: a wrong value is told first.
    fn assert_taken_where_offered(command: &Command, path: &[&str]) {
        let path = [path, &[command.get_name()]].concat();
        if command.has_subcommands() {
            return command.get_subcommands().for_each(|inner| assert_taken_where_offered(inner, &path));
        }
        let argument = command.get_arguments().find(|argument| argument.get_id() == ARGUMENT).unwrap();
        let offered: Vec<_> = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
        assert_eq!(argument.is_hide_set(), FIXED.contains(&path[1..].join(" ").as_str()), "{path:?}");
        for format in Output::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value) {
            let is_offered = offered.iter().any(|value| value.get_name() == format.get_name());
            assert_eq!(is_refused(&[&path[..], &["-o", format.get_name()]].concat()), !is_offered, "{path:?}");
        }
    }

    #[test]
    fn a_format_is_taken_where_the_help_offers_it() {
        assert_taken_where_offered(&Cli::described(), &[]);
        assert!(!is_refused(&["nodewall", "-o", "csv", "events", "list"]));
        assert!(is_refused(&["nodewall", "-o", "csv", "status"]));
        assert!(!is_refused(&["nodewall", "-o", "json", "man"]));
        let text = typed(&["nodewall", "-o", "csv", "status"]).unwrap_err().to_string();
        assert!(text.contains("invalid value 'csv' for '--output <FORMAT>'"), "{text}");
        assert!(text.contains("[possible values: table, json, jsonl]"), "{text}");
    }
}
