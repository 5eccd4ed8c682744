//! Temporary keys that expire while logs flow.

use std::time::Duration;

use forwarder::emulator::credentials;
use forwarder::emulator::credentials::{CredentialsEmulator, CredentialsFault, On, Order};

use super::bench::{Bench, KEY_SECRET, servers, until};
use super::program::Program;

const ROLE: &str = "acs:ram::1234567890123456:role/log-reader";

/// An SLS that accepts only temporary keys, and the services that issue them.
async fn bench(life: Duration) -> (Bench, CredentialsEmulator) {
    let (mut sls, hec) = servers(2);
    (sls.keys, sls.issued) = (None, true);
    let config = credentials::Config { life, ..credentials::Config::default() };
    (Bench::with((sls, hec)).await, CredentialsEmulator::start(config).await.unwrap())
}

/// The program with no key of its own: the instance's role assumes another role.
fn start(bench: &Bench, given: &CredentialsEmulator) -> Program {
    let url = given.url();
    bench.start_with(
        "a",
        &[
            ("SLS_AK_ID", ""),
            ("SLS_AK_KEY", ""),
            ("FORWARDER_SLS_METADATA_ENDPOINT", &url),
            ("FORWARDER_SLS_STS_ENDPOINT", &url),
            ("FORWARDER_SLS_ROLE_ARN", ROLE),
            ("HOME", "/nonexistent"),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_expire_during_a_run_stop_no_log() {
    let (bench, given) = bench(Duration::from_secs(5)).await;
    let program = start(&bench, &given);
    program.to_say(&format!("SLS credentials: role {ROLE} assumed by ECS role demo-role")).await;
    // Two keys per renewal: the instance's, and the role's.
    while given.counts().issued < 12 {
        (0..2).for_each(|shard| bench.put(shard, 1, 20));
        bench.all_arrived().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bench.settled().await;
    let printed = program.printed();
    assert!(!printed.contains("CAIS") && !printed.contains("STS.") && !printed.contains(KEY_SECRET), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_sts_is_survived_with_the_current_key() {
    let (bench, given) = bench(Duration::from_secs(15)).await;
    let program = start(&bench, &given);
    program.to_say("joined the consumer group").await;
    let fault = Some(CredentialsFault::Status { status: 503, code: "ServiceUnavailable".to_owned() });
    given.order(Order { on: Some(On::Sts), fault, ..Order::default() });
    program.to_say("source l: cannot get credentials, retrying: AssumeRole of").await;
    (0..2).for_each(|shard| bench.put(shard, 4, 20));
    bench.settled().await;
    given.order(Order { clear: true, ..Order::default() });
    program.to_say("source l: cannot get credentials: recovered").await;
    (0..2).for_each(|shard| bench.put(shard, 4, 20));
    bench.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_role_ends_the_start_with_77() {
    let (bench, given) = bench(Duration::from_secs(60)).await;
    given.order(Order { on: Some(On::Sts), fault: Some(CredentialsFault::Refuse), ..Order::default() });
    let mut program = start(&bench, &given);
    assert_eq!(program.exit(Duration::from_secs(20)).await, Some(77), "{}", program.printed());
    let refusal =
        format!("no credentials for SLS: AssumeRole of {ROLE} by ECS role demo-role refused: 403 NoPermission");
    until("the refusal is printed", 5, || program.says(&refusal) > 0).await;
}

/// Fails if the end of a key is compared with this host's clock: ahead of the services, every key would have expired;
/// behind them, none would be renewed in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_clock_is_an_hour_off_renews_its_keys_in_time() {
    for ahead in [3_600, -3_600] {
        let (bench, given) = bench(Duration::from_secs(5)).await;
        bench.sls.faults().skew(ahead);
        given.order(Order { skew_seconds: Some(ahead), ..Order::default() });
        let mut program = start(&bench, &given);
        program.to_say("signing with its time").await;
        while given.counts().issued < 12 {
            (0..2).for_each(|shard| bench.put(shard, 1, 20));
            bench.all_arrived().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bench.settled().await;
        assert_eq!(program.says("xpired"), program.says("RequestTimeExpired"), "{}", program.printed());
        program.signal(libc::SIGTERM);
        assert_eq!(program.exit(Duration::from_secs(30)).await, Some(0), "{}", program.printed());
    }
}
