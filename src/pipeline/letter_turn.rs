//! The order in which the batches of a shard queue their missed events: that of the shard.

use tokio::sync::oneshot;

/// The batches before the next one whose missed events may not be queued yet.
#[derive(Debug, Default)]
pub(super) struct Earlier(Option<oneshot::Receiver<Earlier>>);

/// The turn of one batch.
#[derive(Debug)]
pub(super) struct LetterTurn {
    earlier: Earlier,
    /// Dropped when the missed events of this batch are queued. If it has none, `earlier` is sent: the next batch waits
    /// for the same ones.
    done: oneshot::Sender<Earlier>,
}

impl LetterTurn {
    /// The turn of the next batch.
    pub(super) fn next(earlier: &mut Earlier) -> Self {
        let (done, queued) = oneshot::channel();
        Self { earlier: std::mem::replace(earlier, Earlier(Some(queued))), done }
    }

    /// Waits until all earlier batches have queued their missed events. Drop the returned value when those of this batch
    /// are queued.
    pub(super) async fn comes(self) -> impl Sized {
        let mut earlier = self.earlier.0;
        while let Some(batch) = earlier {
            earlier = batch.await.unwrap_or_default().0;
        }
        self.done
    }

    /// The batch has no missed events.
    pub(super) fn pass(self) {
        // There may be no later batch.
        let _ = self.done.send(self.earlier);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_batch_waits_for_all_earlier_ones_with_missed_events() {
        let mut earlier = Earlier::default();
        let [first, second, third, fourth] = [(); 4].map(|()| LetterTurn::next(&mut earlier));
        second.pass();
        let (mut third, mut fourth) = (Box::pin(third.comes()), Box::pin(fourth.comes()));
        assert!((&mut third).now_or_never().is_none(), "the first one is not queued");
        let first = first.comes().now_or_never().expect("there is none before it");
        assert!((&mut third).now_or_never().is_none(), "nor now");
        drop(first);
        let third = third.now_or_never().expect("the second one has none");
        assert!((&mut fourth).now_or_never().is_none());
        drop(third);
        assert!(fourth.now_or_never().is_some());
    }
}
