//! Realistic logs from a seed: the same seed makes the same logs, byte for byte.
//!
//! Every log has an id computed from the seed and its number ([`Generator::audit_id`]), so that missing logs can be
//! identified at the other end. Users, addresses and resources come from pools with a few frequent members, so that
//! the logs compress like real ones.

use std::fmt::Write;

use crate::loggroup::proto::{Log, LogGroup, Pair};

mod nasty;
mod words;

pub use nasty::nasty;

use words::{AGENTS, BROWSERS, CALLS, FAILURES, FAMILY, GIVEN, PATHS, REGIONS, ROLES, TEAMS};

/// Logs per second of log time.
const LOGS_PER_SECOND: u64 = 50;

/// Generates logs. Audit logs and access logs are numbered separately, each from 0.
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    start: u32,
    audits: u64,
    accesses: u64,
}

impl Generator {
    /// A generator whose first logs happen at `start` (Unix seconds).
    #[must_use]
    pub fn new(seed: u64, start: u32) -> Self {
        Self { seed, start, audits: 0, accesses: 0 }
    }

    /// The `eventId` of audit log number `i`: in the form of a UUID, and unique.
    #[must_use]
    pub fn audit_id(&self, i: u64) -> String {
        self.id('A', i)
    }

    /// The `request_id` of access log number `i`: in the form of a UUID, and unique.
    #[must_use]
    pub fn nginx_id(&self, i: u64) -> String {
        self.id('B', i)
    }

    fn id(&self, kind: char, i: u64) -> String {
        let mut dice = Dice::new(self.seed ^ 0x1d1d_1d1d_1d1d_1d1d, i);
        let (a, b) = (dice.roll(), dice.roll());
        // The number itself makes up the tail, so two logs of a kind cannot share an id.
        let tail = i & 0xffff_ffff_ffff;
        format!("{:08X}-{:04X}-4{:03X}-{kind}{:03X}-{tail:012X}", a >> 32, a & 0xffff, b & 0xfff, b >> 52)
    }

    /// The next `n` audit logs as ActionTrail writes them: field `event` holds the JSON. One group in eight has the
    /// topic of an ordinary trail, `actiontrail_event`, the others `actiontrail_audit_event`.
    pub fn audit(&mut self, n: usize) -> LogGroup {
        let first = self.audits;
        self.audits += n as u64;
        let mut dice = Dice::new(self.seed ^ 0xa0d1, first);
        let topic = if dice.one_in(8) { "actiontrail_event" } else { "actiontrail_audit_event" };
        LogGroup {
            logs: (first..self.audits).map(|i| self.audit_log(i)).collect(),
            topic: Some(topic.into()),
            source: Some("actiontrail_internal".into()),
            machine_uuid: None,
            tags: vec![pair("__receive_time__", (self.time_of(self.audits) + 2).to_string())],
        }
    }

    /// The next `n` lines of an nginx access log, as Logtail ships them.
    pub fn nginx(&mut self, n: usize) -> LogGroup {
        let first = self.accesses;
        self.accesses += n as u64;
        let mut dice = Dice::new(self.seed ^ 0x0061_9100, first);
        let host = dice.below(12);
        LogGroup {
            logs: (first..self.accesses).map(|i| self.nginx_log(i)).collect(),
            topic: Some("nginx_access".into()),
            source: Some(format!("10.20.{}.{}", host / 4, 10 + host).into()),
            machine_uuid: Some(format!("3F2A91C0-0000-0000-0000-{host:012X}").into()),
            tags: vec![
                pair("__hostname__", format!("web-{host:02}.cn-hangzhou.internal")),
                pair("__path__", "/var/log/nginx/access.log"),
                pair("__pack_id__", format!("{:016X}-{:X}", dice.roll(), first / n.max(1) as u64)),
                pair("__receive_time__", (self.time_of(self.accesses) + 1).to_string()),
            ],
        }
    }

    /// Audit log number `i`.
    #[must_use]
    pub fn audit_log(&self, i: u64) -> Log {
        let mut dice = Dice::new(self.seed ^ 0xac71, i);
        let time = self.time_of(i);
        Log { time, contents: vec![pair("event", self.actiontrail(&mut dice, i, time))], time_ns: None }
    }

    /// Access log number `i`.
    #[must_use]
    pub fn nginx_log(&self, i: u64) -> Log {
        let mut dice = Dice::new(self.seed ^ 0x0060_1f55, i);
        let time = self.time_of(i);
        let status =
            *dice.pick(&["200", "200", "200", "200", "200", "200", "204", "304", "302", "404", "403", "500", "502"]);
        let path = dice.pick(PATHS);
        let item = dice.busy(5_000);
        let took = dice.below(400) * dice.below(10);
        let host = dice.pick(&["shop.example.com", "api.example.com", "www.example.com"]);
        let contents = vec![
            pair("remote_addr", address(&mut dice)),
            pair("remote_user", if dice.one_in(6) { user(&mut dice) } else { "-".to_owned() }),
            pair("time_local", format!("{}", Stamp(time))),
            pair("request_method", *dice.pick(&["GET", "GET", "GET", "GET", "POST", "PUT", "HEAD"])),
            pair("request_uri", format!("{path}{item}?page={}&utm_source=mail", dice.below(40))),
            pair("host", *host),
            pair("status", status),
            pair("body_bytes_sent", (dice.below(60) * dice.below(900)).to_string()),
            pair("request_time", format!("{}.{:03}", took / 1000, took % 1000)),
            pair(
                "http_referer",
                format!("https://{host}/{}", dice.pick(&["", "search?q=%E5%92%96%E5%95%A1", "cart", "login"])),
            ),
            pair("http_user_agent", *dice.pick(BROWSERS)),
            pair("request_id", self.nginx_id(i)),
        ];
        Log {
            time,
            contents,
            time_ns: Some(u32::try_from(dice.below(1_000_000_000)).expect("the value is below a billion")),
        }
    }

    fn time_of(&self, i: u64) -> u32 {
        self.start.wrapping_add((i / LOGS_PER_SECOND) as u32)
    }

    /// The JSON of an ActionTrail event (Alibaba Cloud, "ActionTrail log fields").
    fn actiontrail(&self, dice: &mut Dice, i: u64, time: u32) -> String {
        let call = dice.pick(CALLS);
        let region = *dice.pick(REGIONS);
        let failed = dice.one_in(12).then(|| dice.pick(FAILURES));
        let (account, is_role) = (1_000_000_000_000_000 + dice.busy(40) * 104_729_317_113, dice.one_in(3));
        let principal = 200_000_000_000_000_000 + dice.busy(400) * 1_299_709_987_654;
        let request_id = {
            let (a, b) = (dice.roll(), dice.roll());
            format!(
                "{:08X}-{:04X}-5{:03X}-9{:03X}-{:012X}",
                a >> 32,
                a & 0xffff,
                b & 0xfff,
                b >> 52,
                b >> 16 & 0xffff_ffff_ffff
            )
        };
        let resource = format!("{}-bp1{:06x}", call.prefix, dice.busy(2_000) * 7_919);
        let mut json = String::with_capacity(1536);
        let mut put = |text: std::fmt::Arguments<'_>| json.write_fmt(text).expect("writing to a String cannot fail");
        put(format_args!(
            r#"{{"eventId":"{}","eventVersion":"1","eventName":"{}","eventSource":"{}.{region}.aliyuncs.com","eventTime":"{}","#,
            self.audit_id(i),
            call.name,
            call.host,
            Utc(time),
        ));
        put(format_args!(
            r#""eventType":"ApiCall","eventRW":"{}","serviceName":"{}","acsRegion":"{region}","requestId":"{request_id}","apiVersion":"{}","#,
            call.access, call.service, call.version,
        ));
        match dice.below(9) {
            0 => put(format_args!(r#""sourceIpAddress":"{}.aliyuncs.com","#, call.host)),
            1 => put(format_args!(r#""sourceIpAddress":"2408:4005:{:x}::{:x}","#, dice.busy(300), dice.busy(4_000))),
            _ => put(format_args!(r#""sourceIpAddress":"{}","#, address(dice))),
        }
        put(format_args!(r#""userAgent":"{}","recipientAccountId":"{account}","#, dice.pick(AGENTS)));
        if is_role {
            put(format_args!(
                r#""userIdentity":{{"type":"assumed-role","principalId":"{principal}:{session}","accountId":"{account}","userName":"{role}:{session}","sessionContext":{{"attributes":{{"creationDate":"{created}","mfaAuthenticated":"{mfa}"}},"sessionIssuer":{{"type":"Role","arn":"acs:ram::{account}:role/{role}"}}}}}},"#,
                session = user(dice),
                role = dice.pick(ROLES),
                created = Utc(time.saturating_sub(600)),
                mfa = dice.one_in(2),
            ));
        } else {
            put(format_args!(
                r#""userIdentity":{{"type":"ram-user","principalId":"{principal}","accountId":"{account}","userName":"{}","accessKeyId":"LTAI5t{:016X}","sessionContext":{{"attributes":{{"creationDate":"{}","mfaAuthenticated":"{}"}}}}}},"#,
                user(dice),
                dice.busy(400) * 0x9e37_79b9_7f4a,
                Utc(time.saturating_sub(3600)),
                dice.one_in(2),
            ));
        }
        put(format_args!(
            r#""requestParameters":{{"RegionId":"{region}","{}":["{resource}"],"Tag":[{{"Key":"team","Value":"{}"}},{{"Key":"env","Value":"{}"}}],"DryRun":false,"OwnerId":{},"Filter":"{{\"path\":\"C:\\\\logs\\\\{}\",\"limit\":{}}}"}},"#,
            call.parameter,
            dice.pick(TEAMS),
            dice.pick(&["prod", "prod", "staging", "dev"]),
            9_007_199_254_740_993 + dice.busy(1_000),
            dice.pick(TEAMS),
            10 * (1 + dice.below(10)),
        ));
        match failed {
            Some((code, message)) => put(format_args!(
                r#""errorCode":"{code}","errorMessage":"{message} \"{resource}\".","responseElements":null,"#,
            )),
            None => put(format_args!(
                r#""responseElements":{{"TotalCount":{},"OrderId":{}}},"#,
                dice.below(50),
                220_000_000_000_000_000 + dice.below(1 << 40),
            )),
        }
        put(format_args!(
            r#""resourceType":"{}","resourceName":"{resource}","additionalEventData":{{"isMFAChecked":"{}"}},"isGlobal":false}}"#,
            call.resource,
            dice.one_in(2),
        ));
        json
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, sufficiently random, and the same on every machine.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// A separate generator for each number, so that any log can be generated without the earlier ones.
    fn new(seed: u64, number: u64) -> Self {
        let mut dice = Self(seed);
        dice.0 = dice.roll() ^ number.wrapping_mul(0xd134_2543_de82_ef95);
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.roll()) * u128::from(end)) >> 64) as u64
    }

    /// A number less than `end`; small ones are far more frequent.
    fn busy(&mut self, end: u64) -> u64 {
        let end = 1 + self.below(end);
        self.below(end)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len() as u64);
        &from[usize::try_from(at).expect("it is an index of a slice")]
    }
}

fn pair(key: &str, value: impl Into<Vec<u8>>) -> Pair {
    Pair { key: key.into(), value: value.into() }
}

/// One of some hundreds of users; a few have names outside ASCII.
fn user(dice: &mut Dice) -> String {
    let given = GIVEN[dice.busy(GIVEN.len() as u64) as usize];
    format!("{given}.{}", dice.pick(FAMILY))
}

/// One of some thousands of IPv4 addresses, from a few networks.
fn address(dice: &mut Dice) -> String {
    let network = dice.pick(&["203.0.113", "198.51.100", "192.0.2", "47.96.12", "120.55.8", "39.104.77", "10.8.3"]);
    format!("{network}.{}", 1 + dice.busy(254))
}

/// Unix seconds as `2026-11-21T23:28:13Z`.
struct Utc(u32);

impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = civil(self.0);
        let second = self.0 % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Unix seconds as nginx writes them: `21/Nov/2026:23:28:13 +0000`.
struct Stamp(u32);

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day) = civil(self.0);
        let second = self.0 % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{day:02}/{}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000", MONTHS[month as usize - 1])
    }
}

/// Year, month and day of Unix seconds (Hinnant, "chrono-Compatible Low-Level Date Algorithms": `civil_from_days`, for
/// days from 1970 on).
fn civil(time: u32) -> (u32, u32, u32) {
    let days = time / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests;
