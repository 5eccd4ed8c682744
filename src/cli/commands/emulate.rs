//! `forwarder emulate`: one part of the demo on its own port.

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::demo::{LOGSTORE, PROJECT};
use crate::app::summary::unix_now;
use crate::cli::exit::written;
use crate::cli::output::{note, print_line};
use crate::core::named_file;
use crate::core::named_file::MAX_SETTINGS;
use crate::core::printable::Escape;
use crate::core::secret::Secret;
use crate::emulator::credentials;
use crate::emulator::credentials::CredentialsEmulator;
use crate::emulator::generate::Generator;
use crate::emulator::hec;
use crate::emulator::hec::HecEmulator;
use crate::emulator::sls;
use crate::emulator::sls::{Refusal, SlsEmulator};
use crate::emulator::syslog;
use crate::emulator::syslog::{Protocol, ReceiverFault, SyslogEmulator, Tap};

/// The default token of a collector.
const DEFAULT_TOKEN: &str = "00000000-0000-4000-8000-000000000000";

/// Start an emulated SLS or destination for a test.
///
/// It keeps everything in memory.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to emulate.
    #[command(subcommand)]
    pub what: What,
}

/// What to emulate.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Simple Log Service: projects, logstores and consumer groups in memory. The vendor's SDKs can talk to it.
    Sls(Sls),
    /// Providers of temporary keys: ECS metadata, STS and a credential URI.
    Credentials(Credentials),
    /// Splunk's HTTP Event Collector: accepts and counts events.
    Hec(Hec),
    /// A syslog receiver over TCP, TLS, UDP or RELP: accepts and counts messages.
    Syslog(Syslog),
}

/// The emulated syslog receiver.
#[derive(Debug, clap::Args)]
pub struct Syslog {
    #[command(flatten)]
    listen: Listen,

    /// Transport of the messages.
    #[arg(long, value_name = "PROTOCOL", value_enum, default_value_t = Protocol::Tcp)]
    protocol: Protocol,

    /// Certificate (PEM), for tls and relp-tls.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Its PKCS #8 key (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Certificate (PEM) of the issuer of client certificates, which clients must show then; for tls and relp-tls.
    #[arg(long, value_name = "FILE", requires = "cert")]
    client_ca: Option<PathBuf>,

    /// A fault: close-after=N, reset-after=N, stall, close-on=TEXT, ignore-close, bare-close, refuse=TEXT,
    /// at-most=N connections. May be given several times.
    #[arg(long, value_name = "FAULT")]
    fault: Vec<ReceiverFault>,

    /// Print every message.
    #[arg(long)]
    print: bool,
}

/// The emulated SLS.
#[derive(Debug, clap::Args)]
pub struct Sls {
    #[command(flatten)]
    listen: Listen,

    /// Shards of each logstore.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,

    /// Generated logs to write each second, in turn into the shards of project demo-project, logstore audit.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=10_000))]
    rate: u16,

    /// AccessKey ID that requests must be signed with; its secret comes from SLS_AK_KEY.
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,

    /// A project that is in another region: its calls are answered as the wrong endpoint answers them. May be given several times.
    #[arg(long, value_name = "PROJECT=REGION", value_parser = elsewhere)]
    elsewhere: Vec<(String, String)>,

    /// Also accept the temporary keys of `forwarder emulate credentials`, until they expire.
    #[arg(long)]
    sts: bool,
}

/// The emulated providers of temporary keys.
#[derive(Debug, clap::Args)]
pub struct Credentials {
    #[command(flatten)]
    listen: Listen,

    /// Lifetime of a key, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=43_200))]
    life: u64,

    /// RAM role of the instance.
    #[arg(long, value_name = "NAME", default_value = "demo-role")]
    role: String,

    /// AccessKey ID that may assume roles; its secret comes from SLS_AK_KEY.
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
}

/// The emulated collector.
#[derive(Debug, clap::Args)]
pub struct Hec {
    #[command(flatten)]
    listen: Listen,

    /// The token has indexer acknowledgement: requests get an id, and an indexer that dies loses the events that it has
    /// accepted and not acknowledged.
    #[arg(long)]
    ack: bool,

    /// Time from a request to its acknowledgement.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, requires = "ack", value_parser = clap::value_parser!(u64).range(..=86_400))]
    ack_after: u64,

    /// Indexers behind this address; several are behind a load balancer with sticky cookies.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    indexers: u8,

    /// Interval at which an indexer is killed for a second; several take turns.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    die_every: Option<u64>,
}

/// Where to listen.
#[derive(Debug, clap::Args)]
pub struct Listen {
    /// Port on 127.0.0.1; 0 chooses a free one, which is printed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port: u16,
}

/// Why an emulator ended before a signal arrived.
enum EmulatorError {
    Failed(io::Error),
    /// The output cannot be written.
    Unwritten(io::Error),
}

impl From<io::Error> for EmulatorError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn say(line: impl Display) -> Result<(), EmulatorError> {
    print_line(line).map_err(EmulatorError::Unwritten)
}

/// Runs until a signal arrives.
pub(crate) fn run(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(listen(&args.what)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(EmulatorError::Failed(error)) => fail(&error),
        Err(EmulatorError::Unwritten(error)) => written(Err(error), ExitCode::SUCCESS),
    }
}

fn fail(error: &io::Error) -> ExitCode {
    note(format_args!("forwarder emulate: {error}"));
    ExitCode::FAILURE
}

async fn listen(what: &What) -> Result<(), EmulatorError> {
    match what {
        What::Sls(Sls { listen, shards, rate, key_id, elsewhere, sts }) => {
            let keys = key_pair(key_id.as_deref());
            let emulator = SlsEmulator::start(sls::Config {
                address: listen.address(),
                shards: *shards,
                keys: keys.clone(),
                issued: *sts,
                elsewhere: elsewhere.clone(),
                ..Default::default()
            })
            .await
            .map_err(|error| listen.refused(&error))?;
            let address = emulator.address();
            say(format_args!("SLS on http://{address}: any project and logstore, {shards} shards each"))?;
            match &keys {
                Some((id, _)) => {
                    say(format_args!("requests must be signed with AccessKey {id} and the secret in SLS_AK_KEY"))?
                }
                None if *sts => say("requests must be signed with a key of forwarder emulate credentials")?,
                None => say("signatures are not checked (--key-id and SLS_AK_KEY, or --sts, turn that on)")?,
            }
            say(format_args!("forwarder:    SLS_ENDPOINT=http://{address}"))?;
            say(format_args!("Python SDK:   http_proxy=http://{address} and an http endpoint of any name"))?;
            say(format_args!("faults:       POST http://{address}/_emulator/faults"))?;
            say(format_args!("state:        GET http://{address}/_emulator/state"))?;
            if *rate > 0 {
                say(format_args!("logs:         {rate} a second into SLS_PROJECT={PROJECT} SLS_LOGSTORE={LOGSTORE}"))?;
            }
            tokio::select! {
                signal = tokio::signal::ctrl_c() => signal?,
                refused = write(&emulator, *shards, usize::from(*rate)) => return Err(io::Error::other(refused.to_string()).into()),
            }
            emulator.stop().await;
        }
        What::Hec(args) => be_collector(args).await?,
        What::Credentials(args) => be_credentials(args).await?,
        What::Syslog(args) => be_syslog(args).await?,
    }
    Ok(())
}

async fn be_collector(args: &Hec) -> Result<(), EmulatorError> {
    let token = std::env::var("FORWARDER_HEC_TOKEN").ok().filter(|token| !token.is_empty());
    let token = token.unwrap_or_else(|| DEFAULT_TOKEN.to_owned());
    let is_default = token == DEFAULT_TOKEN;
    let config = hec::Config {
        address: args.listen.address(),
        use_ack: args.ack,
        queue: args.ack,
        ack_after: Duration::from_secs(args.ack_after),
        indexers: args.indexers.into(),
        ..hec::Config::new(Secret::new(token))
    };
    let emulator = HecEmulator::start(config).await.map_err(|error| args.listen.refused(&error))?;
    let url = emulator.url();
    match args.indexers {
        1 => say(format_args!("HEC on {url}"))?,
        indexers => say(format_args!("HEC on {url}: {indexers} indexers behind a load balancer with sticky cookies"))?,
    }
    match is_default {
        true => say(format_args!("token: {DEFAULT_TOKEN} (set FORWARDER_HEC_TOKEN to use another)"))?,
        false => say("token: the one in FORWARDER_HEC_TOKEN")?,
    }
    if args.ack {
        say(format_args!("acks:    {} s after a request; set hec.ack = true to wait for them", args.ack_after))?;
    }
    say(format_args!("events:  GET {url}/_emulator/events"))?;
    say(format_args!("faults:  POST {url}/_emulator/faults"))?;
    say(format_args!("state:   GET {url}/_emulator/state"))?;
    tokio::select! {
        signal = tokio::signal::ctrl_c() => signal?,
        killed = kill_in_turns(&emulator, args) => killed?,
    }
    emulator.stop().await;
    Ok(())
}

/// Kills the indexers one after the other, repeatedly.
async fn kill_in_turns(emulator: &HecEmulator, args: &Hec) -> Result<(), EmulatorError> {
    let Some(every) = args.die_every else { return std::future::pending().await };
    for indexer in (0..usize::from(args.indexers)).cycle() {
        tokio::time::sleep(Duration::from_secs(every)).await;
        say(format_args!("indexer {indexer} dies, and is back in a second"))?;
        emulator.faults().kill(indexer, Duration::from_secs(1));
    }
    Ok(())
}

/// Writes generated logs, half audit logs and half web logs, until a shard accepts no more because it was split.
async fn write(emulator: &SlsEmulator, shards: u32, rate: usize) -> Refusal {
    if rate == 0 {
        return std::future::pending().await;
    }
    let mut generator = Generator::new(1, u32::try_from(unix_now()).unwrap_or(u32::MAX));
    let mut turns = (0..shards).cycle();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        let groups = [generator.audit(rate.div_ceil(2)), generator.nginx(rate / 2)];
        for group in groups.into_iter().filter(|group| !group.logs.is_empty()) {
            let shard = turns.next().expect("a logstore has a shard");
            if let Err(refusal) = emulator.put(PROJECT, LOGSTORE, shard, [group]) {
                return refusal;
            }
        }
    }
}

/// `PROJECT=REGION`.
fn elsewhere(text: &str) -> Result<(String, String), String> {
    let (project, region) = text
        .split_once('=')
        .filter(|(project, region)| !project.is_empty() && !region.is_empty())
        .ok_or_else(|| "write the project, = and its region, such as audit-eu=eu-central-1".to_owned())?;
    Ok((project.to_owned(), region.to_owned()))
}

/// The key of this ID, whose secret is in the environment.
fn key_pair(id: Option<&str>) -> Option<(String, Secret)> {
    let secret = std::env::var("SLS_AK_KEY").ok().filter(|secret| !secret.is_empty());
    id.map(str::to_owned).zip(secret.map(Secret::new))
}

async fn be_credentials(args: &Credentials) -> Result<(), EmulatorError> {
    let emulator = CredentialsEmulator::start(credentials::Config {
        address: args.listen.address(),
        keys: key_pair(args.key_id.as_deref()),
        role: Some(args.role.clone()),
        life: Duration::from_secs(args.life),
        ..credentials::Config::default()
    })
    .await
    .map_err(|error| args.listen.refused(&error))?;
    let url = emulator.url();
    say(format_args!("ECS metadata, role {}:  FORWARDER_SLS_METADATA_ENDPOINT={url}", args.role))?;
    say(format_args!("STS:                    FORWARDER_SLS_STS_ENDPOINT={url}"))?;
    say(format_args!("credential URI:         ALIBABA_CLOUD_CREDENTIALS_URI={url}/credentials"))?;
    say(format_args!("keys are valid for {} s; forwarder emulate sls --sts takes them", args.life))?;
    say(format_args!("faults:                 POST {url}/_emulator/faults"))?;
    say(format_args!("state:                  GET {url}/_emulator/state"))?;
    tokio::signal::ctrl_c().await?;
    emulator.stop().await;
    Ok(())
}

async fn be_syslog(args: &Syslog) -> Result<(), EmulatorError> {
    let identity = match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        _ => None,
    };
    let (unwritten, mut is_unwritten) = mpsc::channel(1);
    let emulator = SyslogEmulator::start(syslog::Config {
        address: args.listen.address(),
        identity,
        client_ca: args.client_ca.as_deref().map(read).transpose()?,
        keep: 0,
        tap: args.print.then(|| Arc::new(Print(unwritten)) as Arc<dyn Tap>),
        ..syslog::Config::new(args.protocol)
    })
    .await
    .map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => args.listen.refused(&error),
        _ => error,
    })?;
    let protocol = clap::ValueEnum::to_possible_value(&args.protocol).expect("every protocol has a name");
    say(format_args!("syslog over {} on {}", protocol.get_name(), emulator.address()))?;
    for fault in &args.fault {
        say(format_args!("fault: {fault:?}"))?;
        emulator.faults().add(fault.clone());
    }
    tokio::select! {
        signal = tokio::signal::ctrl_c() => signal?,
        Some(error) = is_unwritten.recv() => return Err(EmulatorError::Unwritten(error)),
    }
    let counts = emulator.counts();
    say(format_args!("{} messages over {} connections", counts.messages, counts.connections))?;
    emulator.stop().await;
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    named_file::read(path, MAX_SETTINGS)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Prints messages as they arrive, and reports if that fails.
#[derive(Debug)]
struct Print(mpsc::Sender<io::Error>);

impl Tap for Print {
    fn received(&self, message: &[u8]) {
        let mut shown = String::new();
        std::fmt::Write::write_str(&mut Escape(&mut shown), &String::from_utf8_lossy(message))
            .expect("writing to a String cannot fail");
        if let Err(error) = print_line(shown) {
            // A fault is there already if there is no room for this one.
            let _ = self.0.try_send(error);
        }
    }
}

impl Listen {
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn refused(&self, error: &io::Error) -> io::Error {
        let address = self.address();
        io::Error::new(
            error.kind(),
            format!(
                "can't listen on {address}: {error}; choose another --port, or leave it \
             out"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(clap::Command::new("emulate"));
        Args::from_arg_matches(&command.try_get_matches_from(line)?)
    }

    #[tokio::test]
    async fn generated_logs_go_to_the_shards_in_turn() {
        let sls = SlsEmulator::start(sls::Config { shards: 2, ..sls::Config::default() }).await.unwrap();
        let has_logs = |shard| sls.range(PROJECT, LOGSTORE, shard).is_some_and(|range| !range.is_empty());
        let written = async {
            while !(has_logs(0) && has_logs(1)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            refusal = write(&sls, 2, 3) => panic!("{refusal}"),
            () = written => {}
        }
        sls.stop().await;
    }

    #[test]
    fn each_emulator_is_given_by_name_and_port() {
        assert!(matches!(
            parse(&["emulate", "sls", "--port", "8200"]).unwrap().what,
            What::Sls(Sls { listen: Listen { port: 8200 }, .. })
        ));
        let elsewhere = |text| match parse(&["emulate", "sls", "--elsewhere", text])?.what {
            What::Sls(sls) => Ok::<_, clap::Error>(sls.elsewhere),
            _ => panic!("another one"),
        };
        assert_eq!(elsewhere("p=cn-shanghai").unwrap(), [("p".to_owned(), "cn-shanghai".to_owned())]);
        assert!(elsewhere("p").is_err() && elsewhere("=x").is_err());
        let hec = |line| match parse(line).unwrap().what {
            What::Hec(hec) => (hec.listen.port, hec.ack, hec.indexers, hec.die_every),
            _ => panic!("another one"),
        };
        assert_eq!(hec(&["emulate", "hec"]), (0, false, 1, None));
        let all = ["emulate", "hec", "--ack", "--ack-after", "3", "--indexers", "3", "--die-every", "5"];
        assert_eq!(hec(&all), (0, true, 3, Some(5)));
        assert!(parse(&["emulate", "hec", "--ack-after", "3"]).is_err());
        assert!(parse(&["emulate"]).is_err());
        assert!(parse(&["emulate", "kafka"]).is_err());
    }
}
