//! The rate at which logs arrive, measured from what was read. Used to estimate how many logs wait.

/// The average covers at least this many seconds of received logs, and at most twice as many.
const WINDOW: i64 = 600;

/// The number of logs that were read, and the time in which SLS received them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrival {
    logs: u64,
    first: Option<i64>,
    last: i64,
}

impl Arrival {
    /// A page with `logs` logs was read. SLS received its end at `received_at`, in unix seconds.
    pub fn read(&mut self, logs: u64, received_at: Option<i64>) {
        let Some(at) = received_at else { return };
        let Some(first) = self.first else {
            // The time in which the logs of the first page arrived is unknown.
            (self.first, self.last) = (Some(at), at);
            return;
        };
        self.logs += logs;
        self.last = self.last.max(at);
        if self.last - first >= 2 * WINDOW {
            // Old logs count less: the current rate matters.
            self.logs /= 2;
            self.first = Some(self.last - (self.last - first) / 2);
        }
    }

    /// `logs` more logs of the last page were read.
    pub fn read_on(&mut self, logs: u64) {
        if self.first.is_some_and(|first| self.last > first) {
            self.logs += logs;
        }
    }

    /// Estimated number of logs that arrive in `seconds` seconds. `None` if too little was read.
    #[must_use]
    pub fn in_seconds(&self, seconds: u64) -> Option<u64> {
        let span = u128::try_from(self.last - self.first?).ok().filter(|span| *span > 0)?;
        u64::try_from(u128::from(self.logs) * u128::from(seconds) / span).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_waiting_logs_is_estimated_from_the_rate_of_arrival() {
        let mut arrival = Arrival::default();
        assert_eq!(arrival.in_seconds(60), None);
        arrival.read(5_000, Some(1_000));
        assert_eq!(arrival.in_seconds(60), None, "the time of the first page is not known");
        arrival.read(100, Some(1_005));
        arrival.read(200, Some(1_010));
        arrival.read_on(100);
        assert_eq!(arrival.in_seconds(60), Some(2_400));
        arrival.read(7, None);
        assert_eq!(arrival.in_seconds(60), Some(2_400));
    }

    #[test]
    fn an_old_rate_fades() {
        let mut arrival = Arrival::default();
        for second in 0..WINDOW {
            arrival.read(1_000, Some(second));
        }
        for second in WINDOW..20 * WINDOW {
            arrival.read(10, Some(second));
        }
        assert_eq!(arrival.in_seconds(1), Some(10));
    }
}
