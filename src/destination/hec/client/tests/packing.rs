//! Events that are kept compressed while they wait for an acknowledgement.

use super::acks::{PATIENT, indexer, posts, safe, with_acks};
use super::*;
use crate::core::budget::Budget;

/// Bytes of the events of a batch.
const BYTES: usize = 300_000;

/// A batch of three requests.
fn with_gzip(collector: &Collector, timeout: Duration) -> Config {
    Config { gzip: true, max_body: BYTES / 3, ..with_acks(collector, timeout) }
}

/// The batch, and the budget that its memory is from.
async fn pending() -> (Arc<PendingOutput>, Budget) {
    let budget = Budget::new(10 * BYTES);
    let pending = Arc::new(PendingOutput::from(wide_batch(3_000, BYTES / 3_000)));
    pending.hold(&mut budget.take(pending.weight()).await);
    (pending, budget)
}

async fn deliver_pending(hec: &Hec, pending: &Arc<PendingOutput>) {
    let (_stopper, tenure) = tenure();
    let delivery = hec.deliver_pending(Arc::clone(pending), tenure);
    let outcome = tokio::time::timeout(LONG, delivery).await.expect("delivered in time");
    assert_eq!(outcome, Outcome::Done(Vec::new()));
}

async fn is_packed(budget: &Budget) {
    while budget.used() > BYTES / 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn events_that_wait_for_an_acknowledgement_take_only_their_compressed_size() {
    let released = Arc::new(AtomicBool::new(false));
    let release = Arc::clone(&released);
    let collector = indexer(move |seen, _| safe(seen, |_| release.load(Ordering::Relaxed))).await;
    let hec = hec_with(&with_gzip(&collector, PATIENT));
    let (pending, budget) = pending().await;
    let watch = async {
        is_packed(&budget).await;
        assert_eq!((posts(&collector).len(), hec.gauges()[3].value), (3, BYTES as u64));
        released.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(LONG, async { tokio::join!(deliver_pending(&hec, &pending), watch) }).await.expect("in time");
    assert_eq!(collector.taken().len(), 3_000);
}

#[tokio::test]
async fn compressed_events_that_are_lost_are_sent_again_as_they_were_and_compressed_again() {
    let released = Arc::new(AtomicBool::new(false));
    let release = Arc::clone(&released);
    let collector = indexer(move |seen, _| safe(seen, |id| id > 2 && release.load(Ordering::Relaxed))).await;
    let hec = hec_with(&with_gzip(&collector, Duration::from_millis(400)));
    let (pending, budget) = pending().await;
    let watch = async {
        while posts(&collector).len() < 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        is_packed(&budget).await;
        released.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(LONG, async { tokio::join!(deliver_pending(&hec, &pending), watch) }).await.expect("in time");
    let posts: Vec<Vec<u8>> = posts(&collector).iter().map(|post| post.body.clone()).collect();
    let (first, again) = posts.split_at(3);
    assert!(again.iter().all(|body| first.contains(body)), "the same bytes");
    assert!(hec.snapshot().possible_duplicates >= 3_000);
}

#[tokio::test]
async fn without_gzip_events_that_wait_stay_as_they_are() {
    let collector = indexer(|seen, polls| safe(seen, |_| polls >= 2)).await;
    let hec = hec_with(&Config { gzip: false, ..with_gzip(&collector, PATIENT) });
    let (pending, budget) = pending().await;
    deliver_pending(&hec, &pending).await;
    assert!(budget.used() >= BYTES, "{}", budget.used());
}
