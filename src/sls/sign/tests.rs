//! The vectors come from the vendor's Python and Go SDKs.

use super::*;
use crate::core::secret::Secret;
use crate::sls::message::{Call, Method};

const CURSOR: &str = "MTcwMDAwMDAwMDAwMDAwMDAwMA==";

fn key(token: Option<&str>) -> AccessKey {
    AccessKey {
        id: "LTAItestAccessKeyId".into(),
        secret: Secret::new("testAccessKeySecret0123456789"),
        token: token.map(Secret::new),
    }
}

fn request(
    method: Method,
    path: &str,
    query: &[(&'static str, &str)],
    headers: &[&'static str],
    body: &str,
) -> Request {
    let value = |name: &str| match name {
        "host" => "my-project.cn-hangzhou.log.aliyuncs.com",
        "x-log-apiversion" => "0.6.0",
        "x-log-bodyrawsize" => "0",
        "content-type" => "application/json",
        other => panic!("no value for {other}"),
    };
    Request {
        call: Call::Pull,
        method,
        path: path.into(),
        query: query.iter().map(|(name, value)| (*name, (*value).into())).collect(),
        headers: headers.iter().map(|name| (*name, value(name).into())).collect(),
        body: body.as_bytes().to_vec(),
    }
}

const BODILESS: [&str; 3] = ["host", "x-log-apiversion", "x-log-bodyrawsize"];
const JSON: [&str; 3] = ["host", "x-log-apiversion", "content-type"];

fn pull() -> Request {
    let query = [("type", "log"), ("cursor", CURSOR), ("count", "1000")];
    request(Method::Get, "/logstores/my-logstore/shards/0", &query, &BODILESS, "")
}

fn pull_with_query() -> Request {
    let mut request = pull();
    request.query.push(("pullMode", "scan_on_stream".into()));
    request.query.push(("query", "* | where a = 'x y'".into()));
    request
}

fn heartbeat() -> Request {
    let query = [("type", "heartbeat"), ("consumer", "cg1-123")];
    request(Method::Post, "/logstores/my-logstore/consumergroups/cg1", &query, &JSON, "[0, 1]")
}

fn checkpoint() -> Request {
    let query = [("type", "checkpoint"), ("consumer", "cg1-123"), ("forceSuccess", "True")];
    let body = format!(r#"{{"shard": 0, "checkpoint": "{CURSOR}"}}"#);
    request(Method::Post, "/logstores/my-logstore/consumergroups/cg1", &query, &JSON, &body)
}

fn list_groups() -> Request {
    request(Method::Get, "/logstores/my-logstore/consumergroups", &[], &BODILESS, "")
}

#[track_caller]
fn header<'a>(headers: &'a Headers, name: &str) -> &'a str {
    let found: Vec<_> = headers.iter().filter(|(key, _)| *key == name).collect();
    assert_eq!(found.len(), 1, "{name} in {headers:?}");
    &found[0].1
}

#[track_caller]
fn check_v1(token: Option<&str>, request: &Request, expected: &str) {
    let headers = v1(&key(token), request, "Sat, 01 Mar 2025 12:00:00 GMT");
    assert_eq!(header(&headers, "authorization"), format!("LOG LTAItestAccessKeyId:{expected}"));
}

#[track_caller]
fn check_v4(token: Option<&str>, request: &Request, expected: &str) {
    let headers = v4(&key(token), request, "cn-hangzhou", "20250301T120000Z");
    let scope = "LTAItestAccessKeyId/20250301/cn-hangzhou/sls/aliyun_v4_request";
    assert_eq!(header(&headers, "authorization"), format!("SLS4-HMAC-SHA256 Credential={scope},Signature={expected}"));
}

#[test]
fn v1_signs_a_pull() {
    check_v1(None, &pull(), "mVYgB9VcUXcmCuddFBjAKXgsMDA=");
}

#[test]
fn v1_signs_a_query_decoded() {
    check_v1(None, &pull_with_query(), "aVgEYiMu/c81LOE4L9Cq7zf1z8E=");
}

#[test]
fn v1_signs_a_body_by_its_md5() {
    let headers = v1(&key(None), &heartbeat(), "Sat, 01 Mar 2025 12:00:00 GMT");
    assert_eq!(header(&headers, "content-md5"), "264884439B70AB09A86BC848421C6DE6");
    check_v1(None, &heartbeat(), "eioLVdBNi5OY0G3C88YZe/ivH08=");
}

#[test]
fn v1_signs_the_sts_token() {
    check_v1(Some("STS.token+/="), &heartbeat(), "O11gRW+ScNEwpWLekTuhP4OgVwc=");
}

#[test]
fn v1_signs_a_checkpoint() {
    check_v1(None, &checkpoint(), "PfWpEfWGyS4YnPrDH08VLJEojFA=");
}

#[test]
fn v1_signs_a_list_of_groups() {
    check_v1(None, &list_groups(), "75B/zjVl2OfEBrbA3IGu9x7mPso=");
}

#[test]
fn v1_agrees_with_the_go_sdk() {
    let key = AccessKey { id: "mockAccessKeyID".into(), secret: Secret::new("mockAccessKeySecret"), token: None };
    let request = request(Method::Get, "/logstores", &[], &["x-log-apiversion", "x-log-bodyrawsize"], "");
    let headers = v1(&key, &request, "Mon, 3 Jan 2010 08:33:47 GMT");
    assert_eq!(header(&headers, "authorization"), "LOG mockAccessKeyID:Rwm6cTKzoti4HWoe+GKcb6Kv07E=");
}

#[test]
fn v4_derives_the_key_of_the_day_and_region() {
    let signing = v4_key(&key(None), "20250301", "cn-hangzhou");
    assert_eq!(hex(&signing), "7290e63cc7fab650331de229f2b0ffae7dca5218ce4f7103069010600d416197");
}

#[test]
fn v4_signs_a_pull() {
    let request = pull();
    let payload = hex(&Sha256::digest(b""));
    let added = vec![("x-log-date", "20250301T120000Z".to_owned()), ("x-log-content-sha256", payload.clone())];
    let canonical = v4_canonical(&request, &signed_headers(&request, &added), &payload);
    assert_eq!(hex(&Sha256::digest(canonical)), "e20fddbf8ad8b52dcc7aa66e021ea3fe9aa081ccc04223222a4532b8e0330d22");
    check_v4(None, &request, "7dadc450e16d8d239e63b007c040ba41c91bfb15531a5a16bb56d787cbdcf8b5");
}

#[test]
fn v4_signs_a_query_encoded() {
    check_v4(None, &pull_with_query(), "f33e5ffde9914daa49324dcde6a075beb5e57f3b5ad21b4f0c2accf9e855f7c9");
}

#[test]
fn v4_signs_a_body_by_its_sha256() {
    check_v4(None, &heartbeat(), "27581cfb84b554691759d4978a4d2686ee0615abc6707ad56e57a6d80c741273");
}

#[test]
fn v4_signs_the_sts_token() {
    let expected = "860bbd0c68542631b5d368314901c9019282010e4e265dd5342ef0ee65d39a73";
    check_v4(Some("STS.token+/="), &heartbeat(), expected);
}

#[test]
fn v4_signs_a_checkpoint() {
    check_v4(None, &checkpoint(), "750e3523539a5b571fab2739249cab351781b755d220a8a65c983cf11e024a35");
}

#[test]
fn v4_signs_a_list_of_groups() {
    check_v4(None, &list_groups(), "693129150e314c3e1169c5e7e65654ba1206006c07512b2d5789fe6533ac793f");
}

#[test]
fn v4_agrees_with_the_python_and_go_sdks() {
    let key = AccessKey { id: "acsddda21dsd".into(), secret: Secret::new("zxasdasdasw2"), token: None };
    let request = request(Method::Post, "/logstores", &[], &[], "adasd= -asd zcas");
    let headers = v4(&key, &request, "cn-shanghai", "20220808T032330Z");
    let signature = header(&headers, "authorization").rsplit('=').next().unwrap();
    assert_eq!(signature, "8a10a5e723cb2e75964816de660b2c16a58af8bc0261f7f0722d832468c76ce8");
}

#[test]
fn dates_have_the_formats_of_both_signature_versions() {
    let now: Timestamp = "2025-03-01T12:00:00.9Z".parse().unwrap();
    let headers = sign(&Signature::V1, &key(None), now, &pull());
    assert_eq!(header(&headers, "date"), "Sat, 01 Mar 2025 12:00:00 GMT");
    let region = "cn-hangzhou".to_owned();
    let headers = sign(&Signature::V4 { region }, &key(None), now, &pull());
    assert_eq!(header(&headers, "x-log-date"), "20250301T120000Z");
}
