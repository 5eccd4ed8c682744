//! `forwarder config`: prints an example settings file, the settings in force, or the schema for editors.

mod schema;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::context::{machine, sources};
use crate::cli::exit::{USAGE, end, show};
use crate::cli::flags::SettingFlags;
use crate::core::printable::printable;
use crate::settings;
use crate::settings::keys;
use crate::settings::keys::{Default, Kind, Row, Scope};
use crate::settings::{InForce, WrittenIn};

/// Longest line of a comment.
const WIDTH: usize = 100;

/// Show all settings, those in force, or the schema for editors
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A settings file with every setting: its meaning, what it takes, its default
    Example,
    /// The settings in force, the origin of each, and what is wrong with them; secrets are not shown
    Show(Show),
    /// The JSON schema of the settings file, for editors
    Schema,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Settings file (TOML) [env: FORWARDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Leave out the defaults
    #[arg(long)]
    given: bool,

    #[command(flatten)]
    settings: SettingFlags,
}

/// Prints; returns the exit code.
pub(crate) fn main(args: &Args) -> ExitCode {
    match &args.what {
        What::Example => show(&example(), ExitCode::SUCCESS),
        What::Schema => show(&format!("{:#}\n", schema::schema()), ExitCode::SUCCESS),
        What::Show(args) => {
            let (config, environment) = sources(args.config.as_deref());
            match settings::in_force(config.as_deref(), &args.settings.0, &environment) {
                Ok(all) => {
                    let checked = settings::load(config.as_deref(), &args.settings.0, &environment, &machine());
                    let code = show(&shown(&all, args.given), ExitCode::SUCCESS);
                    match checked {
                        Ok(_) => code,
                        Err(error) => end(&error.to_string(), USAGE),
                    }
                }
                Err(error) => end(&error.to_string(), USAGE),
            }
        }
    }
}

/// Every setting as a comment, below its table.
fn example() -> String {
    let mut out = String::from(
        "# Every setting of forwarder, as a comment with its default. Remove the # from the lines that \
             you change.\n",
    );
    let mut table = "";
    for row in keys::all().filter(|row| row.scope != Scope::Item) {
        let (of, name) = row.parts();
        if matches!(row.kind, Kind::Table) {
            writeln!(out, "\n# {}\n# [{}]\n# name = \"value\"", capital(row.meaning), row.name).expect(TAKES);
            continue;
        }
        if of != table {
            // A table with a key selects a destination.
            let hash = if ["hec", "syslog", "file"].contains(&of) { "# " } else { "" };
            writeln!(out, "\n{hash}[{of}]").expect(TAKES);
            table = of;
        }
        for line in wrapped(&about(row)) {
            writeln!(out, "# {line}").expect(TAKES);
        }
        match row.kind {
            Kind::EnvironmentSecret => {
                let variable = row.variable().expect("only tables have no variable");
                writeln!(out, "# not in this file: {variable}, or {name}_file").expect(TAKES);
            }
            _ => writeln!(out, "# {name} = {}", sample(row)).expect(TAKES),
        }
    }
    out
}

/// The meaning and the values of a setting.
fn about(row: &Row) -> String {
    let mut text = capital(row.meaning);
    match row.kind {
        Kind::OneOf(words) => write!(text, " [one of {}]", words().join(", ")),
        Kind::Count(least, most) => write!(text, " [{least} to {most}]"),
        _ => match row.least() {
            Some(least) => write!(text, " [at least {least}]"),
            None => Ok(()),
        },
    }
    .expect(TAKES);
    match row.default {
        Default::Required => text.push_str(" [required]"),
        Default::Computed(words) => write!(text, " [default: {words}]").expect(TAKES),
        Default::Is(_) | Default::Nothing => {}
    }
    text
}

/// The default as TOML, or an example value.
fn sample(row: &Row) -> String {
    let is_bare = matches!(row.kind, Kind::Switch | Kind::Count(..));
    match row.default {
        Default::Is(text) if is_bare => text.to_owned(),
        Default::Is(text) => format!("{text:?}"),
        _ if is_bare => "…".to_owned(),
        _ => "\"…\"".to_owned(),
    }
}

/// The settings in force as TOML, each with its origin.
fn shown(all: &[InForce], only_given: bool) -> String {
    let mut out = String::new();
    let mut heading = String::new();
    for setting in all.iter().filter(|setting| !only_given || setting.written_in != WrittenIn::Default) {
        let (table, name) = setting.row.parts();
        let of = match &setting.item {
            Some(item) => format!("# {item}"),
            None => format!("[{table}]"),
        };
        if of != heading {
            let gap = if heading.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}{}", printable(&of)).expect(TAKES);
            heading = of;
        }
        let origin = printable(&setting.origin);
        match &setting.value {
            Some(value) => writeln!(out, "{name} = {}  # {origin}", printable(value)),
            None => writeln!(out, "# {name}: {origin}"),
        }
        .expect(TAKES);
    }
    out
}

const TAKES: &str = "writing to a String cannot fail";

fn capital(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
