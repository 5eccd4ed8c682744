use super::*;

fn refusal(status: u16, code: &str, message: &str) -> Refusal {
    Refusal { status, code: code.into(), message: message.into(), ..Refusal::default() }
}

/// The verdict in short: what happens, and a word of the advice.
#[track_caller]
fn check(call: Call, status: u16, code: &str, message: &str, expected: &str, advice: &str) {
    let (kind, error) = match verdict(call, &refusal(status, code, message)) {
        Verdict::AlreadyDone => ("done", None),
        Verdict::Clock(error) => ("clock", Some(error)),
        Verdict::Key(error) => ("key", Some(error)),
        Verdict::Signature(error) => ("signature", Some(error)),
        Verdict::Failed(error) => (name(&error), Some(error)),
    };
    assert_eq!(kind, expected, "{call} {status} {code}");
    let hint = error.and_then(|error| error.cause().hint).unwrap_or_default();
    assert!(hint.contains(advice) && hint.is_empty() == advice.is_empty(), "{code}: {hint:?}");
}

fn name(error: &SourceError) -> &'static str {
    match error {
        SourceError::Busy { .. } => "busy",
        SourceError::Lost(_) => "lost",
        SourceError::Stale(_) => "stale",
        SourceError::NoRoom { .. } => "no room",
        SourceError::Refused(_) => "refused",
        SourceError::Absent(_) => "absent",
    }
}

#[test]
fn a_wrong_clock_is_corrected() {
    check(Call::Pull, 400, "RequestTimeExpired", "", "clock", "NTP");
    check(Call::Heartbeat, 400, "RequestTimeTooSkewed", "", "clock", "NTP");
}

#[test]
fn a_refused_signature_version_is_changed() {
    check(Call::Pull, 400, "InvalidSignatureMethod", "", "signature", "set `signature` to v4");
}

#[test]
fn a_malformed_request_is_reported_as_a_bug() {
    for code in [
        "InvalidRequestTime",
        "InvalidDateFormat",
        "MissingDate",
        "MissingHost",
        "MissingAPIVersion",
        "InvalidAPIVersion",
        "MissingSignatureMethod",
        "MissingContentType",
        "MissingBodyRawSize",
        "InvalidBodyRawSize",
        "InvalidCompressType",
        "JsonInfoInvalid",
        "PostBodyInvalid",
    ] {
        check(Call::Heartbeat, 400, code, "", "refused", "report");
    }
    check(Call::Save, 400, "InvalidShardCheckPoint", "", "refused", "report");
    check(Call::Save, 411, "MissingContentLength", "", "refused", "report");
    check(Call::Save, 415, "InvalidContentType", "", "refused", "report");
}

#[test]
fn a_cursor_that_is_not_retained_is_stale() {
    check(Call::Pull, 400, "InvalidCursor", "This cursor is invalid", "stale", "");
    check(Call::Pull, 400, "invalidcursor", "", "stale", "");
    check(Call::CursorTime, 400, "InvalidCursor", "", "stale", "");
    for code in ["ParameterInvalid", "InvalidParameter", "BadRequest"] {
        check(Call::Pull, 400, code, "Invalid Cursor MTcw", "stale", "");
        check(Call::Pull, 400, code, "Invalid loggroup count, (0,1000]", "refused", "query");
    }
}

#[test]
fn only_calls_that_read_at_a_cursor_can_be_stale() {
    check(Call::Save, 400, "InvalidCursor", "", "refused", "report");
    check(Call::Save, 400, "ParameterInvalid", "bad cursor", "refused", "report");
    check(Call::Cursor, 400, "ParameterInvalid", "Parameter From is not valid", "refused", "report");
}

#[test]
fn an_existing_group_counts_as_created() {
    check(Call::CreateGroup, 400, "ConsumerGroupAlreadyExist", "consumer group already exist", "done", "");
}

#[test]
fn a_consumer_that_is_no_longer_a_member_has_lost_everything() {
    check(Call::Heartbeat, 400, "NotExistConsumerWithBody", "", "lost", "");
    for call in [Call::Heartbeat, Call::Save] {
        check(call, 404, "ConsumerNotExist", "", "lost", "");
        check(call, 404, "ConsumerNotExsit", "", "lost", "");
        check(call, 404, "ConsumerGroupNotExist", "", "lost", "deleted");
    }
}

#[test]
fn a_group_deleted_during_setup_is_looked_up_again() {
    check(Call::UpdateGroup, 404, "ConsumerGroupNotExist", "", "busy", "");
}

#[test]
fn a_shard_held_by_another_consumer_or_by_none_is_lost() {
    check(Call::Save, 400, "ConsumerNotMatch", "", "lost", "another");
    for status in [400, 404] {
        check(Call::Pull, status, "ShardNotExist", "Shard 3 does not exist", "lost", "expired");
        check(Call::Cursor, status, "ShardNotExsit", "", "lost", "expired");
    }
}

#[test]
fn a_missing_project_or_logstore_is_refused_with_the_setting_to_check() {
    check(Call::ListGroups, 404, "ProjectNotExist", "", "absent", "`project`");
    check(Call::ListGroups, 404, "ProjectNotExists", "", "absent", "`project`");
    check(Call::Pull, 404, "LogStoreNotExist", "", "absent", "`logstore`");
    check(Call::Cursor, 400, "LogStoreWithoutShard", "", "busy", "new logstore");
}

#[test]
fn too_many_groups_is_a_refusal_and_not_a_transient_quota() {
    let advice = "delete an unused consumer group (limit 30 per logstore)";
    check(Call::CreateGroup, 400, "ConsumerGroupQuotaExceed", "", "refused", advice);
    check(Call::CreateGroup, 403, "ConsumerGroupQuotaExceed", "", "refused", advice);
}

#[test]
fn a_rejected_key_is_refused_with_a_remedy() {
    let denied = "denied by sts or ram, action: log:ConsumerGroupHeartBeat, resource: acs:log:cn:1:project/p";
    check(Call::Heartbeat, 401, "Unauthorized", denied, "key", "log:ConsumerGroupHeartBeat");
    check(Call::Heartbeat, 403, "Unauthorized", denied, "key", "log:ConsumerGroupHeartBeat");
    check(Call::Pull, 401, "Unauthorized", "AccessKeyId is disabled", "key", "enable");
    check(Call::Pull, 401, "Unauthorized", "The security token you provided has expired", "key", "renew");
    check(Call::Pull, 401, "SecurityTokenExpired", "", "key", "renew");
    check(Call::Pull, 401, "SecurityToken.Expired", "", "key", "renew");
    check(Call::Pull, 401, "SignatureNotMatch", "", "key", "secret");
    check(Call::Pull, 401, "InvalidAccessKeyId", "AccessKeyId not found", "key", "check the AccessKey");
    check(Call::Pull, 400, "InvalidAccessKeyId.NotFound", "", "key", "check the AccessKey");
    check(Call::Pull, 400, "MissAccessKeyId", "", "key", "check the AccessKey");
    check(Call::Pull, 403, "", "<html>blocked</html>", "key", "firewall");
}

#[test]
fn an_exhausted_read_quota_is_waited_out_and_is_not_a_permission_problem() {
    for code in ["ReadQuotaExceed", "ShardReadQuotaExceed", "WriteQuotaExceed", "ShardWriteQuotaExceed"] {
        check(Call::Pull, 403, code, "", "busy", "split the shard");
    }
    check(Call::Pull, 403, "Forbidden", "Read QPS Exceed", "busy", "split the shard");
    check(Call::Pull, 403, "", "Inflow Quota Exceed", "busy", "split the shard");
    check(Call::Pull, 403, "ProjectForbidden", "", "refused", "overdue");
}

#[test]
fn server_errors_are_waited_out() {
    for (status, code) in [
        (500, "InternalServerError"),
        (503, "ServerBusy"),
        (504, "RequestTimeout"),
        (502, ""),
        (503, ""),
        (408, ""),
        (429, ""),
        (204, ""),
    ] {
        check(Call::Save, status, code, "<html>", "busy", "");
    }
}

#[test]
fn replies_that_are_not_from_sls_are_refused() {
    check(Call::Pull, 302, "", "", "refused", "redirects");
    check(Call::Pull, 404, "", "<html>", "refused", "not an answer from SLS");
    check(Call::Pull, 407, "", "", "refused", "proxy");
    check(Call::Pull, 418, "Teapot", "", "refused", "report");
}

fn reply(headers: &[(&str, &str)], body: &str) -> Reply {
    Reply {
        status: 503,
        headers: headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        body: body.to_owned().into(),
    }
}

#[test]
fn a_cause_has_status_code_message_and_request() {
    let body = r#"{"errorCode":"ServerBusy","errorMessage":"try\nlater","httpCode":503}"#;
    let refusal = Refusal::read(&reply(&[("x-log-requestid", "5F00"), ("retry-after", "7")], body));
    let Verdict::Failed(SourceError::Busy { retry_after, cause }) = verdict(Call::Pull, &refusal) else {
        panic!("not busy: {refusal:?}");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
    assert_eq!(cause.what, r"pull: 503 ServerBusy: try\nlater [request 5F00]");
}

#[test]
fn a_body_that_is_not_json_is_the_message() {
    let refusal = Refusal::read(&reply(&[("retry-after", "soon")], "<html>\u{1b}[2J\r\nmore"));
    assert_eq!((refusal.code.as_str(), refusal.retry_after), ("", None));
    assert_eq!(refusal.describe(Call::Pull), r"pull: 503: \u{1b}[2J");
    assert_eq!(Refusal::read(&reply(&[], "")).describe(Call::Save), "save checkpoint: 503");
}

#[test]
fn a_retry_after_of_the_server_has_a_limit() {
    let wait = |text: &str| Refusal::read(&reply(&[("retry-after", text)], "")).retry_after;
    assert_eq!(wait("0"), Some(Duration::ZERO));
    assert_eq!(wait("18446744073709551615"), Some(Duration::from_secs(3600)));
    assert_eq!(wait("-1"), None);
}

#[test]
fn an_unreadable_reply_is_shown_bounded_and_escaped() {
    let name = "n\u{1b}".repeat(5_000);
    let error = ReadError::Garbled(format!("unknown variant `{name}`"));
    let text = unreadable(Call::ListGroups, &error, Some(&name)).cause().to_string();
    assert!(text.chars().count() < 3_600 && !text.contains(char::is_control), "{text}");
    assert!(text.len() < 5_000, "{} bytes", text.len());
}
