//! The clock of an emulated service, which can differ from that of the machine.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// The service's time since the Unix epoch when the machine's is `now` and the service is `ahead` seconds ahead.
pub(super) fn server_time(now: Duration, ahead: i64) -> Duration {
    let by = Duration::from_secs(ahead.unsigned_abs());
    if ahead < 0 { now.saturating_sub(by) } else { now.saturating_add(by) }
}

/// A time since the Unix epoch in the format of the `Date` header.
pub(super) fn http_date(time: Duration) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let printer = DateTimePrinter::new();
    printer.timestamp_to_rfc9110_string(&time).expect("times after 1970 have an HTTP date")
}
