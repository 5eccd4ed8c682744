//! `forwarder emulate`: one piece of the demo on its own port.

/// Starts an SLS or a SIEM in the box, for a laptop or a test: nothing it holds outlives it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to be.
    #[command(subcommand)]
    pub what: What,
}

/// What to be.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Simple Log Service: projects, logstores and consumer groups in memory. The vendor's SDKs can talk to it.
    Sls(Listen),
    /// Splunk's HTTP Event Collector: takes events and counts them.
    Hec(Listen),
}

/// Where to listen.
#[derive(Debug, clap::Args)]
pub struct Listen {
    /// Port on 127.0.0.1; 0 takes a free one. What it is, is printed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(clap::Command::new("emulate"));
        Args::from_arg_matches(&command.try_get_matches_from(line)?)
    }

    #[test]
    fn an_emulator_is_named_and_has_a_port() {
        assert!(matches!(
            parse(&["emulate", "sls", "--port", "8200"]).unwrap().what,
            What::Sls(Listen { port: 8200 })
        ));
        assert!(matches!(
            parse(&["emulate", "hec"]).unwrap().what,
            What::Hec(Listen { port: 0 })
        ));
        assert!(parse(&["emulate"]).is_err());
        assert!(parse(&["emulate", "kafka"]).is_err());
    }
}
