//! The check of a collector before the start, proxies, and settings that cannot work.

use super::*;
use crate::core::secret::Secret;

#[tokio::test]
async fn the_check_verifies_the_token_and_sends_no_event() {
    let collector = Collector::start(|seen, _| match seen.header("authorization") {
        Some("Splunk s3cr3t-t0ken") => Act::reply(400, r#"{"text":"No data","code":5}"#),
        _ => Act::reply(403, r#"{"text":"Invalid token","code":4}"#),
    })
    .await;
    let good = hec(&collector);
    assert!(good.check().await.unwrap().url.ends_with("/services/collector"));
    assert!(matches!(good.health(), Health::Up { .. }));
    assert!(collector.seen()[0].body.is_empty());
    assert_eq!(collector.seen()[0].header("content-length"), Some("0"));

    let token = Token::Fixed(Secret::new("wrong"));
    let bad = hec_with(&Config { token, ..config(&collector.url) });
    assert!(matches!(bad.check().await, Err(CheckError::Refused(_))));
    assert!(matches!(bad.health(), Health::Refusing { .. }));

    let url = collector.url.clone();
    drop(collector);
    assert!(matches!(hec_with(&config(&url)).check().await, Err(CheckError::Down(_))));
}

#[tokio::test]
async fn a_configured_proxy_is_used() {
    let proxy = first_then_fine(vec![]).await;
    let hec = hec_with(&Config { proxy: Some(proxy.url.clone()), ..config("http://splunk.invalid:8088") });
    deliver_all(&hec, batch(1)).await;
    assert_eq!(proxy.seen()[0].line, "POST http://splunk.invalid:8088/services/collector HTTP/1.1");
}

/// The result of a check through a proxy that answers like this.
async fn check_over(answer: fn() -> Act, url: &str) -> (String, Result<Checked, CheckError>) {
    let proxy = Collector::start(move |_, _| answer()).await;
    let hec = hec_with(&Config { proxy: Some(proxy.url.clone()), ..config(url) });
    let checked = hec.check().await;
    assert_eq!(matches!(hec.health(), Health::Refusing { .. }), matches!(checked, Err(CheckError::Refused(_))));
    (proxy.url.clone(), checked)
}

#[tokio::test]
async fn a_proxy_that_requires_a_password_is_named_with_the_remedy_and_is_not_an_outage() {
    for url in ["https://splunk.invalid:8088", "http://splunk.invalid:8088"] {
        let (proxy, checked) = check_over(|| Act::reply(407, "<html>who are you?"), url).await;
        let Err(CheckError::Refused(cause)) = checked else { panic!("{url}: {checked:?}") };
        assert!(cause.what.contains(&format!("through the proxy {proxy}")), "{url}: {cause}");
        assert!(cause.hint.is_some_and(|hint| hint.contains("http://user:password@host:port")), "{url}: {cause}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_reach_the_collector_is_named_and_is_an_outage() {
    for url in ["https://splunk.invalid:8088", "http://splunk.invalid:8088"] {
        let (proxy, checked) = check_over(|| Act::reply(503, "<html>no route"), url).await;
        let Err(CheckError::Down(cause)) = checked else { panic!("{url}: {checked:?}") };
        assert!(cause.what.contains(&format!("through the proxy {proxy}")), "{url}: {cause}");
    }
    let gone = Config { proxy: Some("http://127.0.0.1:1".to_owned()), ..config("https://splunk.invalid:8088") };
    let checked = hec_with(&gone).check().await;
    let Err(CheckError::Down(cause)) = checked else { panic!("{checked:?}") };
    assert!(cause.what.starts_with("cannot connect through the proxy http://127.0.0.1:1: "), "{cause}");
}

#[track_caller]
fn check_config(config: &Config, expected: &str) {
    let error = Hec::new(config).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[tokio::test]
async fn impossible_settings_are_named() {
    let fine = config("https://splunk.example:8088");
    let url = |url: &str| config(url);
    let token = |token| Config { token: Token::Fixed(Secret::new(token)), ..fine.clone() };
    check_config(&url("splunk"), "hec url: not a URL");
    check_config(&url("ftp://splunk"), "hec url: neither http nor https");
    check_config(&url("https://u:p@splunk"), "hec url: it must not contain a user or a password");
    check_config(&url("https://splunk/services/collector"), "hec url: /services/collector is added");
    check_config(&url("https://splunk/?token=x"), "hec url: /services/collector is added");
    check_config(&token(""), "hec token: it is empty");
    check_config(&token("a b"), "hec token: it contains white space");
    check_config(&token("a\nb"), "hec token: it contains");
    check_config(&Config { proxy: Some("http://u:p@[".to_owned()), ..fine.clone() }, "hec proxy: not a URL");
    let missing = std::path::PathBuf::from("/nonexistent/file");
    check_config(
        &Config { token: Token::Files(vec![missing.clone()]), ..fine.clone() },
        "hec token file /nonexistent/file: ",
    );
    check_config(&Config { ca_file: Some(missing), ..fine.clone() }, "hec CA file /nonexistent/file: ");
    let empty = tempfile::NamedTempFile::new().unwrap();
    check_config(&Config { ca_file: Some(empty.path().to_owned()), ..fine.clone() }, "hec CA file ");
    let pair = (empty.path().to_owned(), empty.path().to_owned());
    check_config(&Config { client_cert: Some(pair), ..fine.clone() }, "hec client certificate and PKCS #8 key ");
    assert!(Hec::new(&fine).is_ok());
}
