//! The disk of the dead letters: the program's own files, with simulated delays and a full disk.

use std::io;
use std::sync::Arc;

use forwarder::core::destination_name::DestinationName;
use forwarder::dead_letter::{
    ClaimError, Config, DeadLetterStore, DirectoryStore, Limit, MissedDeadLetters, MissedInDirectory, Record,
    StoreError,
};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::world::{Call, World, Worlds};

/// The dead letters of one member, of all its sources. They are written on the calling thread: on another one, the
/// paused clock would move on meanwhile.
#[derive(Clone)]
pub struct SimLetters {
    /// The source that writes them.
    world: World,
    worlds: Worlds,
    member: String,
    store: Arc<DirectoryStore>,
}

impl SimLetters {
    pub fn new(worlds: Worlds, member: &str) -> Self {
        let world = worlds.any().clone();
        let dir = world.lock().letters.path().to_owned();
        let store = DirectoryStore::open_free(&Config { dir, max_bytes: 1 << 30 }).expect("the directory is ours");
        Self { world, worlds, member: member.to_owned(), store: Arc::new(store) }
    }

    /// The same, for one of the sources.
    pub fn of(&self, world: &World) -> Self {
        Self { world: world.clone(), ..self.clone() }
    }
}

impl std::fmt::Debug for SimLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

impl DeadLetterStore for SimLetters {
    fn keep(&self, letters: Vec<Arc<[Record]>>) -> BoxFuture<'static, Result<(), StoreError>> {
        let (world, member, store) = (self.world.clone(), self.member.clone(), Arc::clone(&self.store));
        Box::pin(async move {
            let delay = world.lock().rng.millis(1, 400);
            world.passes(delay).await;
            world.bug(&member, Call::Keep);
            let mut world = world.lock();
            let full = Instant::now() < world.disk_full_until || (world.trouble && world.rng.one_in(10));
            let count: usize = letters.iter().map(|batch| batch.len()).sum();
            world.note(format!("{member} has {count} dead letters, the disk is full: {full}"));
            if full {
                world.full_disks += 1;
                let limit = Limit::Disk(io::Error::from(io::ErrorKind::StorageFull));
                return Err(StoreError::Full { path: store.dir().to_owned(), limit });
            }
            store.append(letters.iter().flat_map(|batch| &**batch))
        })
    }

    fn missed(&self, to: &DestinationName) -> BoxFuture<'static, Result<Box<dyn MissedDeadLetters>, ClaimError>> {
        let missed = self.store.missed_by(to).map(|missed| {
            Box::new(Missed { missed, to: to.clone(), worlds: self.worlds.clone() }) as Box<dyn MissedDeadLetters>
        });
        Box::pin(std::future::ready(missed))
    }
}

/// The events that a destination missed.
struct Missed {
    missed: MissedInDirectory,
    to: DestinationName,
    worlds: Worlds,
}

impl MissedDeadLetters for Missed {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<Record>, ClaimError>> {
        Box::pin(std::future::ready(self.missed.next(most)))
    }

    fn settle(&mut self, letters: Arc<[Record]>) -> BoxFuture<'_, Result<(), ClaimError>> {
        for letter in &*letters {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ids are text");
            let log = letter.log.iter().find(|(key, _)| key == b"id").expect("every log has one");
            let event = text(letter.event.as_deref().expect("it was made"));
            let log = text(&log.1);
            self.worlds.of(&log).lock().is_replayed(self.to.as_str(), &event, &log, letter.origin.event);
        }
        Box::pin(std::future::ready(self.missed.settle(&letters)))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ClaimError>> {
        Box::pin(std::future::ready(self.missed.close()))
    }
}
