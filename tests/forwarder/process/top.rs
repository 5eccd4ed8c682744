//! `forwarder top` in a pseudo-terminal: keys work, the output fits, and the terminal is restored at the end.

use std::time::Duration;

use super::bench::{Bench, command};
use super::terminal::Terminal;

fn top(bench: &Bench, rows: u16, columns: u16) -> Terminal {
    let mut command = command(bench.directory.path(), &bench.sls_endpoint());
    command.arg("top");
    Terminal::start(command, rows, columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_filter_and_pause_every_line_fits_and_the_terminal_is_restored() {
    let bench = Bench::new().await;
    (0..2).for_each(|shard| bench.put(shard, 2, 10));
    let owner = bench.start("a");
    bench.settled().await;
    owner.to_say("reach this process at unix:").await;

    for (rows, columns) in [(24, 80), (24, 40)] {
        let mut terminal = top(&bench, rows, columns);
        terminal.shows("l/1").await;
        terminal.shows("q quit").await;
        assert!(terminal.is_raw());
        let screen = terminal.screen();
        assert!(screen.len() <= rows.into(), "{screen:#?}");
        let widest = screen.iter().map(|line| console::measure_text_width(line)).max().unwrap();
        assert!(widest <= columns.into(), "{widest}: {screen:#?}");

        terminal.press("/l/1\r");
        terminal.shows("filter l/1").await;
        assert!(!terminal.screen().iter().any(|line| line.starts_with("l/0")), "{:#?}", terminal.screen());
        terminal.press("\x1b");
        terminal.shows("l/0").await;
        if columns == 80 {
            terminal.press("s");
            terminal.shows("s sort: lag").await;
        }
        terminal.press("p");
        terminal.shows("PAUSED").await;
        terminal.press("p?");
        terminal.shows("show or hide the keys").await;
        terminal.press("q");
        assert_eq!(terminal.ends().await, Some(0));
        terminal.is_as_before().await;
    }

    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut terminal = top(&bench, 24, 80);
        terminal.shows("l/1").await;
        terminal.signal(signal);
        assert_eq!(terminal.ends().await, Some(0));
        terminal.is_as_before().await;
    }
    let mut terminal = top(&bench, 24, 80);
    terminal.shows("l/1").await;
    terminal.press("\x03");
    assert_eq!(terminal.ends().await, Some(0));
    terminal.is_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_forwarder_is_reported_and_top_needs_a_terminal_and_a_forwarder() {
    let bench = Bench::new().await;
    let mut owner = bench.start("a");
    owner.to_say("reach this process at unix:").await;
    let mut terminal = top(&bench, 24, 80);
    terminal.shows("l").await;
    owner.signal(libc::SIGTERM);
    assert_eq!(owner.exit(Duration::from_secs(60)).await, Some(0));
    terminal.shows("no answer").await;
    terminal.press("q");
    assert_eq!(terminal.ends().await, Some(0));

    for listen in [None, Some("127.0.0.1:0")] {
        let mut command = command(bench.directory.path(), &bench.sls_endpoint());
        command.arg("top").envs(listen.map(|listen| ("FORWARDER_ADMIN_LISTEN", listen)));
        let none = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(none.status.code(), Some(69));
        assert!(String::from_utf8_lossy(&none.stderr).contains("no forwarder answers in the state directory state"));
    }
}
