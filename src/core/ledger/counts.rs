//! The counts of a shard, and the results of a batch that are added to them.

/// The counts, in logs unless stated otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pulled and read, without those that were returned undelivered when the shard was released.
    pub pulled: u64,
    /// All events made from it are durable, as the destination defines it.
    pub delivered: u64,
    /// Dropped by the script on purpose.
    pub dropped: u64,
    /// Written to disk as undeliverable.
    pub dead_lettered: u64,
    /// Pulled, with no result yet.
    pub in_flight: u64,
    /// Logs in flight that failed in the script or were refused for good by the destination. They halt the shard.
    pub failed: u64,
    /// Returned undelivered; the next owner of the shard pulls them again.
    pub returned: u64,
    /// Durable events (a log may have several).
    pub events: u64,
    /// Bytes of pulled pages, unpacked.
    pub bytes: u64,
    /// Bytes of pages as received over the network, including pages that were pulled again.
    pub wire_bytes: u64,
    /// Pulled pages, including empty ones.
    pub pages: u64,
    /// How often the script stopped in the middle of a page, so that the page was delivered in parts.
    pub cuts: u64,
    /// Saved checkpoints.
    pub saves: u64,
    /// How often the checkpoint had expired and logs were missed.
    pub gaps: u64,
}

impl Counts {
    /// Number of logs that are counted nowhere or twice. Anything but 0 is a bug.
    #[must_use]
    pub fn difference(&self) -> i128 {
        i128::from(self.pulled)
            - i128::from(self.delivered)
            - i128::from(self.dropped)
            - i128::from(self.dead_lettered)
            - i128::from(self.in_flight)
    }

    /// The sums of the counts.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            pulled: self.pulled + other.pulled,
            delivered: self.delivered + other.delivered,
            dropped: self.dropped + other.dropped,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            in_flight: self.in_flight + other.in_flight,
            failed: self.failed + other.failed,
            returned: self.returned + other.returned,
            events: self.events + other.events,
            bytes: self.bytes + other.bytes,
            wire_bytes: self.wire_bytes + other.wire_bytes,
            pages: self.pages + other.pages,
            cuts: self.cuts + other.cuts,
            saves: self.saves + other.saves,
            gaps: self.gaps + other.gaps,
        }
    }
}

/// The results of the logs of one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Logs delivered.
    pub delivered: u32,
    /// Logs dropped on purpose.
    pub dropped: u32,
    /// Logs dead-lettered.
    pub dead_lettered: u32,
    /// Events delivered.
    pub events: u32,
}
