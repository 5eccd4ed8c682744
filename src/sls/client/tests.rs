//! Tests over real sockets, with a server that replies from a list.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connections::KEEP_IDLE;
use super::wire::MAX_REPLY;
use super::*;
use crate::core::budget::Budget;
use crate::core::cursor::Start;
use crate::core::page::Page;
use crate::core::secret::Secret;
use crate::core::source::Source as _;
use crate::sls::credentials::KeyFiles;
use crate::sls::message::Method;
use crate::sls::{Compression, Credentials};

const CURSOR: &str = "MTcwMDAwMDAwMDAwMDAwMDAwMA==";
const SHARD: ShardId = ShardId(0);

/// What the server does with a request.
#[derive(Clone)]
enum Answer {
    /// Sends this.
    Whole(Vec<u8>),
    /// Sends this and hangs up.
    Torn(Vec<u8>),
    /// Sends this and then a byte from time to time, forever.
    Drip(Vec<u8>),
    /// Sends nothing.
    Silent,
}

/// A request as received over the network.
#[derive(Debug, Clone)]
struct Received {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

struct Server {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Answers requests from the list, one after the other, and sends nothing when the list is used up.
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0), answers).await
    }

    async fn start_at(address: (Ipv4Addr, u16), answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&received);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&answers), Arc::clone(&log)));
            }
        });
        Self { port, received, _tasks: tasks }
    }

    fn config(&self) -> Config {
        Config {
            endpoint: format!("http://127.0.0.1:{}", self.port),
            project: "my-project".into(),
            logstore: "my-logstore".into(),
            group: "cg1".into(),
            consumer: "cg1-123".into(),
            credentials: Credentials::Fixed(AccessKey {
                id: "AKID".into(),
                secret: Secret::new("SECRET"),
                token: None,
            }),
            signature: Signature::V1,
            compression: Compression::Lz4,
            page_groups: 1000,
            query: None,
            processor: None,
            group_timeout: Duration::from_secs(40),
            in_order: false,
            manage_group: false,
            probe: false,
            ca_file: None,
            timeout: Duration::from_secs(10),
        }
    }

    fn sls(&self) -> Sls {
        Sls::new(&self.config()).unwrap()
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.received().into_iter().map(|request| request.line).collect()
    }
}

async fn serve(stream: TcpStream, answers: Arc<Mutex<VecDeque<Answer>>>, log: Arc<Mutex<Vec<Received>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = receive_request(&mut stream).await {
        log.lock().unwrap().push(request);
        let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Silent);
        match answer {
            Answer::Whole(bytes) => {
                // The client may close the connection early.
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Answer::Torn(bytes) => return stream.write_all(&bytes).await.unwrap(),
            Answer::Drip(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return;
            }
            Answer::Silent => std::future::pending().await,
        }
    }
}

async fn receive_request(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Received { line: lines[0].trim_end_matches(" HTTP/1.1").to_owned(), headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

fn raw(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} X\r\nx-log-requestid: 5F00\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        out.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    out.push_str("\r\n");
    [out.as_bytes(), body].concat()
}

fn ok(body: &str) -> Answer {
    Answer::Whole(raw(200, &[], body.as_bytes()))
}

fn error(status: u16, code: &str, headers: &[(&str, &str)]) -> Answer {
    let body = format!(r#"{{"errorCode":"{code}","errorMessage":"no"}}"#);
    Answer::Whole(raw(status, headers, body.as_bytes()))
}

fn page(raw_size: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut all = vec![
        ("x-log-cursor", "bmV4dA=="),
        ("x-log-count", "1"),
        ("x-log-bodyrawsize", raw_size),
        ("x-log-compresstype", "lz4"),
    ];
    all.extend_from_slice(headers);
    raw(200, &all, body)
}

async fn pull(sls: &Sls) -> Result<Page, SourceError> {
    let mut room = Budget::new(64 << 20).take(64 << 20).await;
    sls.pull(SHARD, &Cursor::new(CURSOR), 1000, None, &mut room).await
}

#[track_caller]
fn check_busy<T: std::fmt::Debug>(outcome: Result<T, SourceError>, expected: &str) {
    match outcome {
        Err(SourceError::Busy { cause, .. }) => assert!(cause.what.contains(expected), "{cause}"),
        other => panic!("not busy: {other:?}"),
    }
}

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
        Signature::V1 | Signature::Auto { .. } => {
            super::super::sign::v1(key, &request, received.header("date").unwrap())
        }
        Signature::V4 { region } => {
            super::super::sign::v4(key, &request, region, received.header("x-log-date").unwrap())
        }
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
    let said = sls.whereabouts(cause.clone()).await.to_string();
    assert!(said.contains("the project my-project is there, in region \"cn-shanghai\""), "{said}");
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

#[tokio::test]
async fn a_page_arrives_decompressed_and_query_and_processor_are_sent() {
    let body = b"hello hello hello hello hello";
    let packed = lz4_flex::block::compress(body);
    let headers = [("x-log-end-of-cursor", "1"), ("x-log-cursor-time", "1554260243")];
    let server = Server::start([Answer::Whole(page("29", &headers, &packed))]).await;
    let sls = Sls::new(&Config {
        query: Some("* | where a = 'x y'".into()),
        processor: Some("p-1".into()),
        ..server.config()
    });
    let page = pull(&sls.unwrap()).await.unwrap();
    assert_eq!((&page.body[..], page.next.as_str()), (&body[..], "bmV4dA=="));
    assert_eq!((page.at_end, page.received_at), (Some(true), Some(1_554_260_243)));
    let target = "GET /logstores/my-logstore/shards/0?type=log&cursor=MTcwMDAwMDAwMDAwMDAwMDAwMA%3D%3D&count=1000\
        &pullMode=scan_on_stream&query=%2A+%7C+where+a+%3D+%27x+y%27&processor=p-1";
    assert_eq!(server.lines(), [target]);
    assert_eq!(server.received()[0].header("accept-encoding"), Some("lz4"));
}

#[tokio::test]
async fn a_page_above_the_limit_is_requested_in_halves() {
    // Its body is not waited for: the headers are enough.
    let large = Answer::Drip(page("2147483647", &[("content-length", "1000000")], b""));
    let small = lz4_flex::block::compress(b"page");
    let small = Answer::Whole(page("4", &[], &small));
    let server = Server::start([large.clone(), large, small]).await;
    assert_eq!(&pull(&server.sls()).await.unwrap().body[..], b"page");
    let counts: Vec<String> = server.lines().iter().map(|line| line.rsplit('=').next().unwrap().to_owned()).collect();
    assert_eq!(counts, ["1000", "500", "250"]);
}

#[tokio::test]
async fn one_log_group_above_the_limit_is_refused() {
    let large = Answer::Whole(page("67108865", &[], b"tiny"));
    let server = Server::start(vec![large; 20]).await;
    let outcome = pull(&server.sls()).await;
    assert!(matches!(outcome, Err(SourceError::Refused(_))), "{outcome:?}");
    assert_eq!(server.lines().len(), 10);
}

#[tokio::test]
async fn a_page_with_a_wrong_size_or_a_torn_one_is_retried() {
    let packed = lz4_flex::block::compress(b"hello hello hello hello");
    let length = (packed.len() + 1).to_string();
    let server = Server::start([
        Answer::Whole(page("24", &[], &packed)),
        Answer::Whole(page("22", &[], &packed)),
        Answer::Torn(page("23", &[("content-length", &length)], &packed)),
        Answer::Whole(raw(200, &[("x-log-count", "0"), ("x-log-bodyrawsize", "0")], b"")),
        Answer::Torn(b"HTTP/1.1 200 OK\r\nx-log-c".to_vec()),
        Answer::Torn(b"".to_vec()),
    ])
    .await;
    let sls = server.sls();
    check_busy(pull(&sls).await, "the page has 23 bytes where 24 were announced [request 5F00]");
    check_busy(pull(&sls).await, "damaged");
    check_busy(pull(&sls).await, "pull: ");
    check_busy(pull(&sls).await, "there is no x-log-cursor [request 5F00]");
    check_busy(pull(&sls).await, "pull: ");
    check_busy(pull(&sls).await, "pull: ");
}

#[tokio::test]
async fn replies_are_read_only_up_to_a_limit() {
    let long = " ".repeat(MAX_REPLY);
    let server = Server::start([
        ok(&format!("[]{long}")),
        Answer::Whole(raw(503, &[("retry-after", "3")], long.as_bytes())),
        Answer::Whole(raw(404, &[], format!("<html>{long}").as_bytes())),
    ])
    .await;
    let sls = server.sls();
    check_busy(sls.heartbeat(&BTreeSet::new()).await, "the reply is longer than 4000000 bytes");
    let outcome = pull(&sls).await;
    let wait = Some(Duration::from_secs(3));
    assert!(matches!(outcome, Err(SourceError::Busy { retry_after, .. }) if retry_after == wait), "{outcome:?}");
    let outcome = pull(&sls).await;
    assert!(matches!(&outcome, Err(SourceError::Refused(cause)) if cause.what.contains("404: <html>")), "{outcome:?}");
}

#[tokio::test]
async fn a_body_that_never_ends_is_abandoned_at_the_deadline() {
    let head = page("1000", &[("content-length", "1000000")], b"");
    let server = Server::start([Answer::Drip(head), Answer::Silent]).await;
    let sls = Sls::new(&Config { timeout: Duration::from_millis(300), ..server.config() });
    let sls = sls.unwrap();
    let started = Instant::now();
    check_busy(pull(&sls).await, "no complete reply within 300ms");
    check_busy(pull(&sls).await, "no complete reply within 300ms");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_reply_with_an_unrequested_encoding_is_refused_and_reported() {
    let encoded = raw(200, &[("content-encoding", "gzip")], b"\x1f\x8b");
    let server = Server::start([Answer::Whole(encoded)]).await;
    check_busy(pull(&server.sls()).await, "the reply is encoded as gzip, which was not requested");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start([Answer::Whole(raw(302, &[("location", "/elsewhere")], b"")), ok("[]")]).await;
    let outcome = server.sls().heartbeat(&BTreeSet::new()).await;
    assert!(matches!(outcome, Err(SourceError::Refused(_))), "{outcome:?}");
    assert_eq!(server.lines().len(), 1);
}

fn in_twenty_minutes() -> (String, Timestamp) {
    let moment = Timestamp::now() + Duration::from_secs(20 * 60);
    (super::super::sign::http_date(moment), moment)
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

const THEIRS: &str = r#"[{"name":"cg1","timeout":60,"order":true}]"#;
const OURS: &str = r#"[{"name":"other","timeout":1,"order":true},{"name":"cg1","timeout":40,"order":false}]"#;

#[track_caller]
fn check_methods(server: &Server, expected: &[&str]) {
    let lines = server.lines();
    let methods: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(methods, expected);
}

#[tokio::test]
async fn a_group_is_created_when_it_is_absent() {
    let server = Server::start([ok("[]"), ok(""), ok(OURS)]).await;
    assert_eq!(server.sls().ensure_group().await.unwrap(), Duration::from_secs(40));
    check_methods(&server, &["GET", "POST", "GET"]);
}

#[tokio::test]
async fn a_group_that_another_member_creates_meanwhile_is_used_as_it_is() {
    let server = Server::start([ok("[]"), error(400, "ConsumerGroupAlreadyExist", &[]), ok(THEIRS)]).await;
    assert_eq!(server.sls().ensure_group().await.unwrap(), Duration::from_secs(60));
    check_methods(&server, &["GET", "POST", "GET"]);
}

#[tokio::test]
async fn a_group_that_differs_is_changed_only_if_we_may_manage_it() {
    let server = Server::start([ok(THEIRS), ok(THEIRS), ok("")]).await;
    assert_eq!(server.sls().ensure_group().await.unwrap(), Duration::from_secs(60));
    let managing = Sls::new(&Config { manage_group: true, ..server.config() });
    assert_eq!(managing.unwrap().ensure_group().await.unwrap(), Duration::from_secs(40));
    check_methods(&server, &["GET", "GET", "PUT"]);
}

#[tokio::test]
async fn a_group_that_matches_the_settings_costs_one_request() {
    let server = Server::start([ok(OURS)]).await;
    assert_eq!(server.sls().ensure_group().await.unwrap(), Duration::from_secs(40));
    check_methods(&server, &["GET"]);
}

#[tokio::test]
async fn impossible_settings_are_errors_that_name_them() {
    let server = Server::start([]).await;
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, "no certificate").unwrap();
    let check = |change: &dyn Fn(&mut Config), expected: &str| {
        let mut config = server.config();
        change(&mut config);
        let error = Sls::new(&config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&|config| config.endpoint.clear(), "the endpoint is empty");
    check(&|config| config.project = "my.project".into(), "the project \"my.project\" is not a project name");
    check(&|config| config.logstore = "..".into(), "the logstore \"..\" is not a name");
    check(&|config| config.group.clear(), "the consumer group \"\" is empty");
    check(&|config| config.consumer = "a\nb".into(), "the consumer \"a\\nb\" has a control character");
    check(&|config| config.signature = Signature::V4 { region: "".into() }, "the region \"\"");
    check(&|config| config.ca_file = Some(ca_file.clone()), "it contains no PEM certificate");
    check(&|config| config.ca_file = Some(dir.path().join("none")), "No such file");
}

#[tokio::test]
async fn an_unreachable_endpoint_is_a_transient_error_that_says_what_to_check() {
    let server = Server::start([]).await;
    // The system never assigns this port to a program that asks for any port.
    let sls = Sls::new(&Config { endpoint: "127.0.0.1:9".to_owned(), ..server.config() });
    let outcome = pull(&sls.unwrap()).await;
    assert!(matches!(&outcome, Err(SourceError::Busy { cause, .. }) if cause.hint.unwrap().contains("`endpoint`")));
}

/// Answers `connections` TLS connections with an empty heartbeat each. Certificate and key serve this test alone.
fn start_tls(connections: usize) -> (u16, std::thread::JoinHandle<()>) {
    use std::io::{Read as _, Write as _};
    let (cert, key) = (include_bytes!("test-cert.pem"), include_bytes!("test-key.pem"));
    let identity = native_tls::Identity::from_pkcs8(cert, key).unwrap();
    let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            // A client that does not trust the certificate closes the connection here.
            if let Ok(mut stream) = acceptor.accept(stream) {
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|length| length > 0) {
                    stream.write_all(&raw(200, &[("connection", "close")], b"[]")).unwrap();
                    let _ = stream.shutdown();
                }
            }
        }
    });
    (port, thread)
}

#[tokio::test]
async fn a_page_larger_than_the_free_memory_is_not_read() {
    // The announced body never arrives, so a client that tried to read it would wait.
    let announced = ("content-length", "4000000");
    let large = Answer::Drip(page("8000000", &[announced], b""));
    let server = Server::start([large]).await;
    let sls = server.sls();
    let budget = Budget::new(16 << 20);
    let _others = budget.take(8 << 20).await;
    let mut room = budget.take(1 << 20).await;
    let refused = sls.pull(SHARD, &Cursor::new(CURSOR), 10, None, &mut room).await;
    assert!(matches!(refused, Err(SourceError::NoRoom { bytes: 12_000_000, .. })), "{refused:?}");
    assert_eq!(budget.used(), 9 << 20, "nothing was taken in vain");
}

#[tokio::test]
async fn a_page_is_debited_before_its_bytes_are_read() {
    let server = Server::start([Answer::Drip(page("8000000", &[("content-length", "4000000")], b""))]).await;
    let config = Config { timeout: Duration::from_millis(300), ..server.config() };
    let sls = Sls::new(&config).unwrap();
    let budget = Budget::new(16 << 20);
    let mut room = budget.take(1 << 20).await;
    check_busy(sls.pull(SHARD, &Cursor::new(CURSOR), 10, None, &mut room).await, "no complete reply");
    assert_eq!(budget.used(), 12_000_000, "packed and unpacked");
}

#[tokio::test]
async fn shards_are_listed_up_to_the_maximum_and_more_are_refused_with_their_number() {
    let shard = |id: usize| {
        format!(
            r#"{{"shardID":{id},"status":"readwrite","inclusiveBeginKey":"{id:032x}","exclusiveEndKey":"{:032x}","createTime":1700000000}}"#,
            id + 1
        )
    };
    let list = |count: usize| format!("[{}]", (0..count).map(shard).collect::<Vec<_>>().join(","));
    let ids = |count: usize| format!("[{}]", (0..count).map(|id| id.to_string()).collect::<Vec<_>>().join(","));
    let server = Server::start([list(10_000), list(10_001), ids(10_000), ids(10_001)].map(|text| ok(&text))).await;
    let sls = server.sls();
    assert_eq!(sls.shards().await.unwrap().len(), 10_000);
    check_busy(sls.shards().await, "it lists 10001 shards; a source may have at most 10000");
    assert_eq!(sls.heartbeat(&BTreeSet::new()).await.unwrap().len(), 10_000);
    check_busy(sls.heartbeat(&BTreeSet::new()).await, "it lists 10001 shards; a source may have at most 10000");
}

#[tokio::test]
async fn logstores_are_listed_page_by_page_to_the_last() {
    let page = |names: &str| ok(&format!(r#"{{"count":2,"total":3,"logstores":[{names}]}}"#));
    let too_many = ok(r#"{"count":1,"total":10001,"logstores":["a"]}"#);
    let server = Server::start([page(r#""a","b""#), page(r#""c""#), page(r#""a""#), page(""), too_many]).await;
    let sls = server.sls();
    let names =
        |listed: Result<BTreeSet<String>, SourceError>| listed.unwrap().into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(names(sls.logstores().await), "a b c");
    assert_eq!(names(sls.logstores().await), "a", "fewer than were announced: nothing more comes");
    check_busy(sls.logstores().await, "it lists 10001 logstores; a project may have at most 10000");
    let lines: Vec<_> = server.received().into_iter().map(|request| request.line).collect();
    let line = |offset| format!("GET /logstores?offset={offset}&size=500");
    assert_eq!(lines[..2], [line(0), line(2)]);
}

#[tokio::test]
async fn tls_is_verified_against_the_ca_file() {
    let (port, thread) = start_tls(2);
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, include_bytes!("test-cert.pem")).unwrap();
    let server = Server::start([]).await;
    let distrusting = Config { endpoint: format!("https://127.0.0.1:{port}"), ..server.config() };
    let trusting = Config { ca_file: Some(ca_file), ..distrusting.clone() };
    let outcome = Sls::new(&distrusting).unwrap().heartbeat(&BTreeSet::new()).await;
    assert!(matches!(&outcome, Err(SourceError::Busy { cause, .. }) if cause.hint.unwrap().contains("`ca_file`")));
    let sls = Sls::new(&trusting).unwrap();
    assert_eq!(sls.heartbeat(&BTreeSet::new()).await.unwrap(), BTreeSet::new());
    assert!(sls.certificate_end().is_some(), "the connection has shown it");
    thread.join().unwrap();
}

#[tokio::test]
async fn an_echo_of_our_headers_does_not_show_the_token() {
    // "token: TOKEN-0123456789" in base64.
    let echo = "you sent dG9rZW46IFRPS0VOLTAxMjM0NTY3ODk= and TOKEN-0123456789";
    let server = Server::start([error(403, echo, &[])]).await;
    let token = Some(crate::core::secret::Secret::new("TOKEN-0123456789"));
    let key = AccessKey { id: "AKID".into(), secret: crate::core::secret::Secret::new("SECRET"), token };
    let sls = Sls::new(&Config { credentials: Credentials::Fixed(key), ..server.config() }).unwrap();
    let said = sls.heartbeat(&BTreeSet::new()).await.unwrap_err().to_string();
    assert!(said.contains("you sent *** and ***"), "{said}");
}

#[tokio::test]
async fn a_renewed_ca_file_is_read_again() {
    let (port, thread) = start_tls(2);
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, include_bytes!("../../destination/hec/client/tests/tls/issuer.pem")).unwrap();
    let server = Server::start([]).await;
    let endpoint = format!("https://127.0.0.1:{port}");
    let sls = Sls::new(&Config { endpoint, ca_file: Some(ca_file.clone()), ..server.config() }).unwrap();
    check_busy(sls.heartbeat(&BTreeSet::new()).await, "certificate verify failed");
    std::fs::write(&ca_file, include_bytes!("test-cert.pem")).unwrap();
    sls.wire.check_certificate_files().await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    thread.join().unwrap();
}

#[tokio::test]
async fn f23_with_start_at_the_end_old_shards_start_there_and_new_ones_with_their_oldest_log() {
    let shards = r#"[{"shardID":0,"status":"readwrite"}]"#;
    let cursors = vec![ok(r#"{"cursor":"YQ=="}"#); 5];
    let dated = Answer::Whole(raw(200, &[("date", "Tue, 14 Nov 2023 22:13:20 GMT")], shards.as_bytes()));
    let server = Server::start([cursors[0].clone(), dated, ok("[]")].into_iter().chain(cursors)).await;
    let sls = server.sls();
    let (old, new) = (SHARD, ShardId(7));
    sls.cursor(new, Start::End).await.unwrap();
    sls.learn_shards().await.unwrap();
    for (shard, start) in [(old, Start::End), (new, Start::End), (new, Start::Begin), (new, Start::Time(5))] {
        sls.cursor(shard, start).await.unwrap();
    }
    let lines = server.lines();
    let from: Vec<&str> = lines.iter().filter_map(|line| line.split("from=").nth(1)).collect();
    assert_eq!(from, ["end", "1700000000", "begin", "begin", "5"], "the moment at which the group began");
}

#[tokio::test]
async fn f22_after_the_group_was_missing_a_shard_without_a_known_checkpoint_starts_with_its_oldest_log() {
    let shards = r#"[{"shardID":0,"status":"readwrite"},{"shardID":3,"status":"readwrite"}]"#;
    let saved = r#"[{"shard":0,"checkpoint":"YQ==","updateTime":1700000000000000,"consumer":"c"}]"#;
    let gone = error(404, "consumerGroupNotExist", &[]);
    let cursor = ok(r#"{"cursor":"Yg=="}"#);
    // The group is also missing before the lookup: every group begins like this.
    let answers = [gone.clone(), ok(shards), ok(saved), cursor.clone(), gone, cursor];
    let server = Server::start(answers).await;
    let sls = server.sls();
    let beats = sls.beside(&Connections::default()).unwrap();
    beats.heartbeat(&BTreeSet::new()).await.unwrap_err();
    sls.learn_shards().await.unwrap();
    sls.cursor(ShardId(3), Start::End).await.unwrap();
    beats.heartbeat(&BTreeSet::new()).await.unwrap_err();
    sls.cursor(ShardId(3), Start::End).await.unwrap();
    let seen = sls.cursor(ShardId(0), Start::End).await.unwrap();
    assert_eq!(seen, Cursor::new("YQ=="), "a checkpoint that was seen is where its shard goes on");
    let lines = server.lines();
    let from: Vec<&str> = lines.iter().filter_map(|line| line.split("from=").nth(1)).collect();
    assert_eq!(from, ["1700000000", "begin"]);
}

#[tokio::test]
async fn a_child_of_a_split_starts_with_its_oldest_log_even_if_its_holder_joined_after_the_split() {
    let shards = r#"[
        {"shardID":0,"status":"readonly","inclusiveBeginKey":"00","exclusiveEndKey":"80","createTime":1700000000},
        {"shardID":1,"status":"readwrite","inclusiveBeginKey":"80","exclusiveEndKey":"ff","createTime":1700000000},
        {"shardID":2,"status":"readwrite","inclusiveBeginKey":"00","exclusiveEndKey":"80","createTime":1700000900}]"#;
    let saved = r#"[{"shard":0,"checkpoint":"YQ==","updateTime":1700000950000000,"consumer":"c"}]"#;
    let cursors = vec![ok(r#"{"cursor":"YQ=="}"#); 2];
    let server = Server::start([ok(shards), ok(saved)].into_iter().chain(cursors)).await;
    let sls = server.sls();
    sls.learn_shards().await.unwrap();
    for shard in [ShardId(1), ShardId(2)] {
        sls.cursor(shard, Start::End).await.unwrap();
    }
    let lines = server.lines();
    let from: Vec<&str> = lines.iter().filter_map(|line| line.split("from=").nth(1)).collect();
    assert_eq!(from, ["1700000950", "begin"], "the group had begun when it saved");
    let seen = sls.cursor(ShardId(0), Start::End).await.unwrap();
    assert_eq!(seen, Cursor::new("YQ=="), "a checkpoint that is gone with its group is where the shard goes on");
}

/// Replaces the DNS: every name resolves to the current address.
struct Dns(Mutex<Ipv4Addr>);

impl reqwest::dns::Resolve for Dns {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        // The port comes from the URL.
        let found: reqwest::dns::Addrs = Box::new(std::iter::once(SocketAddr::from((*self.0.lock().unwrap(), 0))));
        Box::pin(std::future::ready(Ok(found)))
    }
}

const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A client of an endpoint whose name moves from one server to another, and both servers.
async fn moving(old: impl IntoIterator<Item = Answer>, keep_idle: Duration) -> (Sls, Arc<Dns>, Server, Server) {
    let old = Server::start_at((OLD, 0), old).await;
    let new = Server::start_at((NEW, old.port), vec![ok("[]"); 9]).await;
    let dns = Arc::new(Dns(Mutex::new(OLD)));
    let endpoint = format!("http://sls.test:{}", old.port);
    let config = Config { endpoint, timeout: Duration::from_millis(500), ..old.config() };
    let mut sls = Sls::new(&config).unwrap();
    let resolver = Arc::clone(&dns);
    let change = move |client: reqwest::ClientBuilder| {
        client.no_proxy().dns_resolver(Arc::clone(&resolver)).pool_idle_timeout(keep_idle)
    };
    sls.wire = Wire::with(&config, change).unwrap();
    (sls, dns, old, new)
}

#[tokio::test]
async fn f26_an_endpoint_that_moves_is_followed_when_its_old_address_closes() {
    let (sls, dns, old, new) = moving([ok("[]"), ok("[]")], KEEP_IDLE).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    *dns.0.lock().unwrap() = NEW;
    drop(old);
    // The first request may use the dead connection.
    let _ = sls.heartbeat(&BTreeSet::new()).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert!(!new.lines().is_empty());
}

#[tokio::test]
async fn f26_an_endpoint_that_moves_is_followed_when_its_old_address_becomes_silent() {
    let (sls, dns, old, new) = moving([ok("[]"), Answer::Silent], KEEP_IDLE).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    *dns.0.lock().unwrap() = NEW;
    check_busy(sls.heartbeat(&BTreeSet::new()).await, "no complete reply");
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert_eq!((old.lines().len(), new.lines().len()), (2, 1), "a connection that hung is not used again");
}

#[tokio::test]
async fn f26_an_endpoint_that_moves_is_followed_when_its_old_address_only_refuses() {
    let gone = error(503, "ServerBusy", &[]);
    let (sls, dns, old, new) = moving([ok("[]"), gone.clone(), gone], KEEP_IDLE).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    *dns.0.lock().unwrap() = NEW;
    for _ in 0..2 {
        check_busy(sls.heartbeat(&BTreeSet::new()).await, "503");
    }
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert_eq!((old.lines().len(), new.lines().len()), (3, 1), "an endpoint that fails is looked up again");
}

#[tokio::test]
async fn f26_an_endpoint_that_moves_is_followed_after_an_idle_connection() {
    const { assert!(KEEP_IDLE.as_secs() <= 60) };
    let idle = Duration::from_millis(200);
    let (sls, dns, old, new) = moving(vec![ok("[]"); 9], idle).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    *dns.0.lock().unwrap() = NEW;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert_eq!((old.lines().len(), new.lines().len()), (2, 0), "a connection in use stays");
    tokio::time::sleep(2 * idle).await;
    sls.heartbeat(&BTreeSet::new()).await.unwrap();
    assert_eq!((old.lines().len(), new.lines().len()), (2, 1));
}
