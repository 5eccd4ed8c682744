//! Signed requests: both versions, wrong clocks, and keys that SLS refuses.

use super::*;
use crate::sls::credentials::KeyFiles;
use crate::sls::http_date::parse_http_date;
use crate::sls::message::Method;

/// Signs the received request again, and compares.
#[track_caller]
fn check_signature(received: &Received, signature: &Signature, key: &AccessKey) {
    let (method, target) = received.line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decode = |text: &str| {
        let text = text.replace('+', " ").replace("%3D", "=").replace("%2A", "*").replace("%7C", "|");
        text.replace("%27", "'")
    };
    let leak = |text: &str| -> &'static str { text.to_owned().leak() };
    let generated = ["authorization", "date", "x-log-date", "x-log-content-sha256", "x-acs-security-token"];
    let headers = received.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let request = Request {
        call: Call::Pull,
        method: if method == "GET" { Method::Get } else { Method::Post },
        path: path.to_owned(),
        query: query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (leak(name), decode(value)))
            .collect(),
        headers: headers
            .filter(|(name, _)| !generated.contains(&name.as_str()) && name != "x-log-signaturemethod")
            .map(|(name, value)| (leak(&name), value.clone()))
            .collect(),
        body: received.body.clone(),
    };
    let expected = match signature {
        Signature::V1 | Signature::Auto { .. } => crate::sls::sign::v1(key, &request, received.header("date").unwrap()),
        Signature::V4 { region } => crate::sls::sign::v4(key, &request, region, received.header("x-log-date").unwrap()),
    };
    for (name, value) in expected {
        assert_eq!(received.header(name), Some(value.as_str()), "{name}");
    }
}

#[tokio::test]
async fn the_request_on_the_wire_is_the_signed_one() {
    let v4 = Signature::V4 { region: "cn-hangzhou".into() };
    let key = AccessKey { id: "AKID".into(), secret: Secret::new("SECRET"), token: Some(Secret::new("STS.token+/=")) };
    for signature in [Signature::V1, v4] {
        let empty = Answer::Whole(page("0", &[("x-log-count", "0")], b""));
        let server = Server::start([ok("[]"), empty]).await;
        let sls = Sls::new(&Config {
            signature: signature.clone(),
            credentials: Credentials::Fixed(key.clone()),
            query: Some("* | where a = 'x y'".into()),
            ..server.config()
        });
        let sls = sls.unwrap();
        sls.heartbeat(&BTreeSet::from([SHARD, ShardId(1)])).await.unwrap();
        let _ = pull(&sls).await;
        let received = server.received();
        assert_eq!(received.len(), 2);
        for request in &received {
            check_signature(request, &signature, &key);
            assert_eq!(request.header("host"), Some("my-project.127.0.0.1"));
            assert_eq!(request.header("x-acs-security-token"), Some("STS.token+/="));
            let agent = request.header("user-agent").unwrap();
            assert!(agent.starts_with("forwarder/") && agent.ends_with("-consumergroup-cg1-cg1-123"), "{agent}");
        }
        assert_eq!(received[0].body, b"[0,1]");
    }
}

#[tokio::test]
async fn after_version_1_is_refused_version_4_signs_if_the_region_is_known() {
    let refused = || error(400, "InvalidSignatureMethod", &[]);
    let server = Server::start([refused(), ok("[]"), ok("[]"), refused(), refused()]).await;
    let signed_by = |region: Option<&str>| {
        let signature = Signature::Auto { region: region.map(str::to_owned) };
        Sls::new(&Config { signature, ..server.config() }).unwrap()
    };
    let sls = signed_by(Some("cn-hangzhou"));
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    let without = signed_by(None).heartbeat(&BTreeSet::new()).await.unwrap_err();
    assert!(matches!(without, SourceError::Refused(_)), "{without:?}");
    let fixed = server.sls().heartbeat(&BTreeSet::new()).await.unwrap_err();
    assert!(fixed.to_string().contains("set `signature` to v4, and `region`"), "{fixed}");
    let received = server.received();
    let schemes = received.iter().map(|request| request.header("authorization").unwrap().split(' ').next().unwrap());
    assert_eq!(schemes.collect::<Vec<_>>(), ["LOG", "SLS4-HMAC-SHA256", "SLS4-HMAC-SHA256", "LOG", "LOG"]);
    let key = AccessKey { id: "AKID".into(), secret: Secret::new("SECRET"), token: None };
    check_signature(&received[1], &Signature::V4 { region: "cn-hangzhou".into() }, &key);
}

#[tokio::test]
async fn a_project_in_another_region_is_looked_up() {
    let info = r#"{"region":"cn-shanghai","internetEndpoint":"cn-shanghai.log.aliyuncs.com"}"#;
    let server =
        Server::start([error(404, "ProjectNotExist", &[]), ok(info), error(404, "ProjectNotExist", &[])]).await;
    let sls = server.sls();
    let Err(SourceError::Absent(cause)) = sls.ensure_group().await else { panic!("it is not there") };
    let message = sls.whereabouts(cause.clone()).await.to_string();
    assert!(message.contains("the project my-project is there, in region \"cn-shanghai\""), "{message}");
    assert_eq!(sls.whereabouts(cause.clone()).await, cause, "nobody knows it");
    assert_eq!(server.lines()[1..], ["GET /", "GET /"]);
}

#[tokio::test]
async fn a_save_is_never_forced() {
    let server = Server::start([ok("")]).await;
    server.sls().save(SHARD, &Cursor::new(CURSOR)).await.unwrap();
    let target = "POST /logstores/my-logstore/consumergroups/cg1?type=checkpoint&consumer=cg1-123&forceSuccess=false";
    assert_eq!(server.lines(), [target]);
}

fn in_twenty_minutes() -> (String, Timestamp) {
    let moment = Timestamp::now() + Duration::from_secs(20 * 60);
    (crate::sls::http_date::http_date(moment), moment)
}

#[tokio::test]
async fn a_wrong_clock_costs_one_request_once() {
    let (date, server_time) = in_twenty_minutes();
    let expired = error(400, "RequestTimeExpired", &[("date", &date)]);
    let server = Server::start([expired, ok("[]"), ok("[]")]).await;
    let sls = server.sls();
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    let dates: Vec<i64> = server
        .received()
        .iter()
        .map(|request| parse_http_date(request.header("date").unwrap()).unwrap().as_second())
        .collect();
    let off = |date: i64| (date - server_time.as_second()).abs();
    assert_eq!(dates.len(), 3);
    assert!(off(dates[0]) > 1100 && off(dates[1]) < 60 && off(dates[2]) < 60, "{dates:?}");
}

#[tokio::test]
async fn a_clock_that_stays_wrong_is_refused_after_one_retry() {
    let (date, _) = in_twenty_minutes();
    let expired = error(400, "RequestTimeTooSkewed", &[("date", &date)]);
    let undated = error(400, "RequestTimeTooSkewed", &[]);
    let server = Server::start([expired.clone(), expired, undated]).await;
    let sls = server.sls();
    for requests in [2, 3] {
        let outcome = sls.heartbeat(&BTreeSet::new()).await;
        assert!(matches!(outcome, Err(SourceError::Refused(_))), "{outcome:?}");
        assert_eq!(server.lines().len(), requests);
    }
}

#[tokio::test]
async fn a_refused_key_is_retried_only_if_there_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let (id, secret) = (dir.path().join("id"), dir.path().join("secret"));
    std::fs::write(&id, "OLD").unwrap();
    std::fs::write(&secret, "SECRET").unwrap();
    let unauthorized = error(401, "InvalidAccessKeyId", &[]);
    let server = Server::start([unauthorized.clone(), unauthorized, ok("[]")]).await;
    let credentials = Credentials::Files(KeyFiles { id: id.clone(), secret, token: None });
    let sls = Sls::new(&Config { credentials, ..server.config() });
    let sls = sls.unwrap();
    let outcome = sls.heartbeat(&BTreeSet::new()).await;
    assert!(matches!(outcome, Err(SourceError::Refused(_))), "{outcome:?}");
    assert_eq!(server.lines().len(), 1);
    std::fs::write(&id, "NEW").unwrap();
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    let last = server.received().pop().unwrap();
    assert!(last.header("authorization").unwrap().starts_with("LOG NEW:"));
}
