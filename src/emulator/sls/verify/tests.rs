use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri};

use super::*;

/// 2025-03-01 12:00:00 UTC.
const NOON: u64 = 1_740_830_400;
const HOST: &str = "my-project.cn-hangzhou.log.aliyuncs.com";
const PULL: &str = "/logstores/my-logstore/shards/0?type=log&cursor=MTcwMDAwMDAwMDAwMDAwMDAwMA%3D%3D&count=1000";
const GROUP: &str = "/logstores/my-logstore/consumergroups/cg1";
const TOKEN: (&str, &str) = ("x-acs-security-token", "STS.token+/=");
const RAW_0: (&str, &str) = ("x-log-bodyrawsize", "0");
const JSON: (&str, &str) = ("content-type", "application/json");

fn request(method: Method, target: &str, headers: &[(&str, &str)], body: &'static str) -> Request {
    let mut map = HeaderMap::new();
    map.insert("host", HOST.parse().unwrap());
    map.insert("x-log-apiversion", "0.6.0".parse().unwrap());
    for (name, value) in headers {
        map.insert(hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    Request::new(method, &target.parse::<Uri>().unwrap(), map, Bytes::from_static(body.as_bytes()))
}

fn v1(method: Method, target: &str, headers: &[(&str, &str)], body: &'static str, signature: &str) -> Request {
    let md5 = upper_hex(&Md5::digest(body));
    let authorization = format!("LOG LTAItestAccessKeyId:{signature}");
    let mut all = vec![
        ("x-log-signaturemethod", "hmac-sha1"),
        ("date", "Sat, 01 Mar 2025 12:00:00 GMT"),
        ("x-log-date", "Sat, 01 Mar 2025 12:00:00 GMT"),
        ("authorization", &authorization),
    ];
    if !body.is_empty() {
        all.push(("content-md5", &md5));
    }
    all.extend(headers);
    request(method, target, &all, body)
}

fn v4(method: Method, target: &str, headers: &[(&str, &str)], body: &'static str, signature: &str) -> Request {
    let sha256 = lower_hex(&Sha256::digest(body));
    let scope = "LTAItestAccessKeyId/20250301/cn-hangzhou/sls/aliyun_v4_request";
    let authorization = format!("SLS4-HMAC-SHA256 Credential={scope},Signature={signature}");
    let mut all =
        vec![("x-log-date", "20250301T120000Z"), ("x-log-content-sha256", &sha256), ("authorization", &authorization)];
    all.extend(headers);
    request(method, target, &all, body)
}

fn verifier(token: bool) -> Verifier {
    let key = Key {
        id: "LTAItestAccessKeyId".to_owned(),
        secret: Secret::new("testAccessKeySecret0123456789"),
        token: token.then(|| Secret::new(TOKEN.1)),
    };
    Verifier { key: Some(key), issued: false }
}

fn verify(request: &Request) -> Result<(), Refusal> {
    let token = request.header(TOKEN.0).is_some();
    verifier(token).verify(request, Duration::from_secs(NOON))
}

/// The code of the refusal, or "ok".
fn code(request: &Request, now: u64) -> String {
    let result = verifier(false).verify(request, Duration::from_secs(now));
    result.map_or_else(|refusal| format!("{} {}", refusal.status, refusal.code), |()| "ok".to_owned())
}

fn pull_v1() -> Request {
    v1(Method::GET, PULL, &[RAW_0], "", "mVYgB9VcUXcmCuddFBjAKXgsMDA=")
}

fn pull_v4() -> Request {
    let signature = "7dadc450e16d8d239e63b007c040ba41c91bfb15531a5a16bb56d787cbdcf8b5";
    v4(Method::GET, PULL, &[RAW_0], "", signature)
}

fn without(mut request: Request, header: &str) -> Request {
    request.headers.remove(header);
    request
}

fn with(mut request: Request, header: &'static str, value: &'static str) -> Request {
    request.headers.insert(header, value.parse().unwrap());
    request
}

fn spl() -> String {
    format!("{PULL}&query=%2A+%7C+where+a+%3D+%27x+y%27&pullMode=scan_on_stream")
}

fn heartbeat() -> String {
    format!("{GROUP}?type=heartbeat&consumer=cg1-123")
}

fn checkpoint() -> String {
    format!("{GROUP}?type=checkpoint&consumer=cg1-123&forceSuccess=True")
}

const CHECKPOINT: &str = r#"{"shard": 0, "checkpoint": "MTcwMDAwMDAwMDAwMDAwMDAwMA=="}"#;

#[test]
fn version_1_signatures_of_the_vendors_sdk_are_accepted() {
    let post = |target: &str, headers: &[_], body, signature| v1(Method::POST, target, headers, body, signature);
    for request in [
        pull_v1(),
        v1(Method::GET, &spl(), &[RAW_0], "", "aVgEYiMu/c81LOE4L9Cq7zf1z8E="),
        post(&heartbeat(), &[JSON], "[0, 1]", "eioLVdBNi5OY0G3C88YZe/ivH08="),
        post(&heartbeat(), &[JSON, TOKEN], "[0, 1]", "O11gRW+ScNEwpWLekTuhP4OgVwc="),
        post(&checkpoint(), &[JSON], CHECKPOINT, "PfWpEfWGyS4YnPrDH08VLJEojFA="),
        v1(Method::GET, "/logstores/my-logstore/consumergroups", &[RAW_0], "", "75B/zjVl2OfEBrbA3IGu9x7mPso="),
    ] {
        assert_eq!(verify(&request), Ok(()));
    }
}

#[test]
fn version_4_signatures_of_the_vendors_sdk_are_accepted() {
    let post = |target: &str, headers: &[_], body, signature| v4(Method::POST, target, headers, body, signature);
    for request in [
        pull_v4(),
        v4(Method::GET, &spl(), &[RAW_0], "", "f33e5ffde9914daa49324dcde6a075beb5e57f3b5ad21b4f0c2accf9e855f7c9"),
        post(&heartbeat(), &[JSON], "[0, 1]", "27581cfb84b554691759d4978a4d2686ee0615abc6707ad56e57a6d80c741273"),
        post(
            &heartbeat(),
            &[JSON, TOKEN],
            "[0, 1]",
            "860bbd0c68542631b5d368314901c9019282010e4e265dd5342ef0ee65d39a73",
        ),
        post(&checkpoint(), &[JSON], CHECKPOINT, "750e3523539a5b571fab2739249cab351781b755d220a8a65c983cf11e024a35"),
        v4(
            Method::GET,
            "/logstores/my-logstore/consumergroups",
            &[RAW_0],
            "",
            "693129150e314c3e1169c5e7e65654ba1206006c07512b2d5789fe6533ac793f",
        ),
    ] {
        assert_eq!(verify(&request), Ok(()));
    }
}

#[test]
fn the_go_sdks_test_vector_is_accepted_with_its_one_digit_day_and_wrong_weekday() {
    let request = request(
        Method::GET,
        "/logstores",
        &[
            RAW_0,
            ("x-log-signaturemethod", "hmac-sha1"),
            ("date", "Mon, 3 Jan 2010 08:33:47 GMT"),
            ("authorization", "LOG mockAccessKeyID:Rwm6cTKzoti4HWoe+GKcb6Kv07E="),
        ],
        "",
    );
    let key = Key { id: "mockAccessKeyID".to_owned(), secret: Secret::new("mockAccessKeySecret"), token: None };
    let verifier = Verifier { key: Some(key), issued: false };
    assert_eq!(verifier.verify(&request, Duration::from_secs(1_262_507_627)), Ok(()));
}

#[test]
fn any_change_to_signed_parts_is_detected() {
    for pull in [pull_v1, pull_v4] {
        let mut path = pull();
        path.path += "1";
        let mut query = pull();
        query.query[2].1 = "999".to_owned();
        let mut method = pull();
        method.method = Method::HEAD;
        for request in [path, query, method, with(pull(), "x-log-extra", "1"), with(pull(), "x-log-bodyrawsize", "1")] {
            assert_eq!(code(&request, NOON), "401 SignatureNotMatch");
        }
        assert_eq!(code(&with(pull(), "x-log-meta-a", "1"), NOON), "ok", "meta headers are not signed");
        let mut body = pull();
        body.body = Bytes::from_static(b"x");
        assert_eq!(code(&body, NOON), "400 PostBodyInvalid");
    }
}

#[test]
fn only_version_4_signs_the_host() {
    assert_eq!(code(&with(pull_v1(), "host", "my-project.elsewhere"), NOON), "ok");
    assert_eq!(code(&with(pull_v4(), "host", "my-project.elsewhere"), NOON), "401 SignatureNotMatch");
}

#[test]
fn a_wrong_secret_and_an_unknown_key_are_different_errors() {
    let mut verifier = verifier(false);
    verifier.key.as_mut().unwrap().secret = Secret::new("other");
    let now = Duration::from_secs(NOON);
    for pull in [pull_v1(), pull_v4()] {
        assert_eq!(verifier.verify(&pull, now).unwrap_err().code, "SignatureNotMatch");
    }
    verifier.key.as_mut().unwrap().id = "other".to_owned();
    for pull in [pull_v1(), pull_v4()] {
        assert_eq!(verifier.verify(&pull, now).unwrap_err().code, "Unauthorized");
    }
}

#[test]
fn a_temporary_key_is_accepted_until_it_expires() {
    let issued = Issued::new(7, Duration::from_secs(NOON));
    let verifier = Verifier { key: None, issued: true };
    let pull = |token: &str| {
        let authorization = format!("LOG {}:x", issued.id);
        let headers =
            [("x-log-signaturemethod", "hmac-sha1"), ("authorization", authorization.as_str()), (TOKEN.0, token)];
        let request = request(Method::GET, PULL, &headers, "");
        with(request, "date", "Sat, 01 Mar 2025 12:00:00 GMT")
    };
    let refusal = |token: &str, now| verifier.verify(&pull(token), Duration::from_secs(now)).unwrap_err();
    assert_eq!(refusal(&issued.token, NOON - 1).code, "SignatureNotMatch", "the key itself is taken");
    assert_eq!(refusal(&issued.token, NOON).code, "SecurityTokenExpired");
    assert_eq!(refusal("another", NOON - 1).message, WRONG_TOKEN);
    let untaught = Verifier { key: None, issued: false };
    assert_eq!(untaught.verify(&pull(&issued.token), Duration::from_secs(NOON - 1)).unwrap_err().code, "Unauthorized");
}

#[test]
fn a_security_token_is_required_for_temporary_keys_only() {
    let now = Duration::from_secs(NOON);
    assert_eq!(verifier(true).verify(&pull_v1(), now).unwrap_err().code, "Unauthorized");
    assert_eq!(code(&with(pull_v1(), TOKEN.0, TOKEN.1), NOON), "401 Unauthorized");
    let wrong = with(pull_v1(), TOKEN.0, "STS.other");
    assert_eq!(verifier(true).verify(&wrong, now).unwrap_err().code, "Unauthorized");
}

#[test]
fn clocks_may_differ_by_up_to_fifteen_minutes() {
    for pull in [pull_v1, pull_v4] {
        let at = |now| code(&pull(), now);
        assert_eq!([at(NOON - 900), at(NOON + 900)], ["ok", "ok"]);
        let expired = "400 RequestTimeExpired";
        assert_eq!([at(NOON - 901), at(NOON + 901)], [expired, expired]);
    }
}

#[test]
fn the_x_log_date_header_overrides_date() {
    let request = with(pull_v1(), "date", "Sat, 01 Mar 2020 12:00:00 GMT");
    assert_eq!(code(&request, NOON), "ok");
}

#[test]
fn a_malformed_request_gets_an_error_that_says_what_is_wrong() {
    let check = |request, expected| assert_eq!(code(&request, NOON), expected);
    check(without(pull_v1(), "authorization"), "401 Unauthorized");
    check(without(pull_v1(), "x-log-apiversion"), "400 MissingAPIVersion");
    check(with(pull_v1(), "x-log-apiversion", "0.7"), "400 InvalidAPIVersion");
    check(without(pull_v1(), "x-log-signaturemethod"), "400 MissingSignatureMethod");
    check(with(pull_v1(), "x-log-signaturemethod", "md5"), "400 InvalidSignatureMethod");
    check(without(without(pull_v1(), "x-log-date"), "date"), "400 MissingDate");
    check(without(pull_v4(), "x-log-date"), "400 MissingDate");
    check(with(pull_v4(), "x-log-date", "yesterday"), "400 InvalidRequestTime");
    check(with(pull_v1(), "x-log-date", "yesterday"), "400 InvalidRequestTime");
    check(with(pull_v4(), "authorization", "SLS4-HMAC-SHA256 nonsense"), "401 Unauthorized");
    check(with(pull_v1(), "authorization", "LOG LTAItestAccessKeyId"), "401 SignatureNotMatch");
}
