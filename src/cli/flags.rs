//! The settings that are also flags, built from the table of settings.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::settings::Flags;
use crate::settings::keys;
use crate::settings::keys::{Default, Kind, Row};

/// The settings given as flags.
#[derive(Debug)]
pub(super) struct SettingFlags(pub(super) Flags);

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let flags = keys::all().filter_map(|key| Some((key, key.flag?)));
        flags.fold(command, |command, (key, flag)| command.arg(argument(key, flag)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = keys::all().filter(|key| key.flag.is_some());
        let given = flags.filter_map(|key| Some((key.name, matches.get_one::<String>(key.name)?.clone())));
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flags that the short help shows, each with the first clause of its meaning.
const COMMON: [&str; 3] = ["script.file", "hec.url", "syslog.host"];

fn argument(key: &Row, flag: &'static str) -> Arg {
    let (first, rest) = key.meaning.split_at(1);
    let meaning = first.to_uppercase() + rest;
    let mut more = String::new();
    if let Kind::OneOf(words) = key.kind {
        more += &format!(" [one of: {}]", words().join(", "));
    }
    if let Default::Is(default) = key.default {
        more += &format!(" [default: {default}]");
    }
    if let Some(variable) = key.also.first().map(ToString::to_string).or_else(|| key.variable()) {
        more += &format!(" [env: {variable}]");
    }
    let short = meaning.split([',', ';']).next().unwrap_or(&meaning).to_owned();
    let heading = match key.parts().0 {
        "sls" => Some("Simple Log Service"),
        "hec" => Some("Splunk"),
        "syslog" => Some("Syslog"),
        "log" => Some("The program's own log"),
        "admin" => Some("Status"),
        _ => None,
    };
    let value = match (&key.kind, key.parts().1) {
        (Kind::Path, _) => "FILE",
        (Kind::Start, _) => "WHEN",
        (Kind::OneOf(_), _) => "WORD",
        (Kind::Switch, _) => "true|false",
        (_, "url" | "endpoint") => "URL",
        (_, "host") => "HOST",
        (_, "listen") => "ADDRESS",
        (_, "query") => "SPL",
        _ => "NAME",
    };
    // A span can start with a dash: `--start -2h`.
    let arg = Arg::new(key.name).allow_hyphen_values(matches!(key.kind, Kind::Start));
    // `--flag` without a value means true.
    let arg = match key.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    };
    let is_common = COMMON.contains(&key.name);
    arg.hide_short_help(!is_common)
        .long(flag)
        .help(short + &more)
        .long_help(meaning + &more)
        .help_heading(heading)
        .value_name(value)
        .value_parser(NonEmptyStringValueParser::new())
}
