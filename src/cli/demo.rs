//! `forwarder demo`: the main job on an SLS and a SIEM in the box.

use std::path::PathBuf;

/// Runs the whole line on this machine, with made-up logs: no account, no Splunk.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The Lua script to run the logs through.
    #[arg(long, value_name = "FILE", default_value = "scripts/transform.lua")]
    pub script: PathBuf,

    /// Logs to make.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub logs: u64,

    /// Shards to spread them over.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,

    /// Stay up when all logs are delivered, so that one can edit the script and watch.
    #[arg(long)]
    pub keep: bool,
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(clap::Command::new("demo"));
        Args::from_arg_matches(&command.try_get_matches_from(line)?)
    }

    #[test]
    fn a_demo_needs_no_arguments() {
        let args = parse(&["demo"]).unwrap();
        assert_eq!((args.logs, args.shards, args.keep), (10_000, 4, false));
    }

    #[test]
    fn a_demo_has_at_least_one_shard() {
        assert!(parse(&["demo", "--shards", "0"]).is_err());
        assert_eq!(
            parse(&["demo", "--shards", "2", "--logs", "5", "--keep"])
                .unwrap()
                .shards,
            2
        );
    }
}
