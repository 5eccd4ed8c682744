//! Explores all orders in which a receiver can accept, lose and answer messages: every confirmed message is on its
//! disk.
//!
//! The receiver is one process at a time. It reads each connection in order into memory, and writes memory to disk. When it
//! dies, memory is gone; its system ends its connections, in order where everything was read and with a reset where not.
//! Beside the window stands a sender that does what `stream.rs` does, in any order that it could.
//!
//! A tick is the unit of time, and the lag is two. They are what the label *confirmed* takes for granted: what was read is on
//! disk within one tick, and a death is heard of within two, and before a new process takes connections.
//!
//! Goes red when: a batch is finished when it is written; a close proves without lag, or after one tick; the end of the
//! witness is not looked at; a process lives on, as far as can be seen, while its memory is gone already; a break leaves a
//! connection that was closed before it proven; the present connection is proven by the close of the last.

use std::collections::HashSet;

use super::*;

/// Events of each batch, in order of their ids, from 1 on.
const BATCHES: [usize; 3] = [2, 1, 1];

/// Ticks until a death is heard of at the latest.
const MAX_NOTICE_TICKS: u8 = 2;

const TICK: Duration = Duration::from_millis(100);

/// A set of events: a bit each.
type Bits = u8;

/// What must not be.
type Wrong = &'static str;

fn bits(id: Id, events: Range<usize>) -> Bits {
    let before: usize = BATCHES.iter().take(usize::try_from(id).unwrap() - 1).sum();
    events.fold(0, |bits, event| bits | 1 << (before + event))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Connection {
    /// Taken by the receiver's system, not read.
    unread: Bits,
    /// What was written after the end, or not read before it: the system answers with a reset.
    resets: bool,
    /// The receiver has ended it, and in how many ticks that is heard at the latest.
    ended: Option<u8>,
}

impl Connection {
    fn end(&mut self) {
        if self.ended.is_none() {
            self.ended = Some(MAX_NOTICE_TICKS);
            self.resets |= std::mem::take(&mut self.unread) != 0;
        }
    }

    fn is_heard(&self) -> bool {
        self.ended == Some(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Push,
    Connect,
    Write,
    /// From the connection that is being closed, or from the present one.
    Read(bool),
    OpenWitness,
    Close,
    Answer,
    Prove,
    Break,
    GiveUp,
    Forget,
    Tick,
    Die,
    Restart,
    /// The receiver ends the present connection, and lives on.
    Kick,
}

const MOVES: [Move; 16] = [
    Move::Push,
    Move::Connect,
    Move::Write,
    Move::Read(true),
    Move::Read(false),
    Move::OpenWitness,
    Move::Close,
    Move::Answer,
    Move::Prove,
    Move::Break,
    Move::GiveUp,
    Move::Forget,
    Move::Tick,
    Move::Die,
    Move::Restart,
    Move::Kick,
];

#[derive(Debug, Clone)]
struct World {
    window: Window,
    now: Instant,
    pushed: usize,
    current: Option<Connection>,
    witness: Option<Connection>,
    closing: Option<Connection>,
    lives: bool,
    memory: Bits,
    disk: Bits,
    /// Kills the receiver that reads it.
    poison: Bits,
    rejected: Bits,
    /// How many more deaths and kicks there may be.
    troubles: u8,
    /// How many more batches may be forgotten.
    forgets: u8,
    /// How many events may be unproven; an event is a byte here.
    allowance: usize,
}

impl World {
    fn new(poison: Bits, troubles: u8, forgets: u8) -> Self {
        let start = Instant::now();
        let window = Window::new(Duration::ZERO, 2 * TICK);
        Self {
            allowance: usize::MAX,
            window,
            now: start,
            pushed: 0,
            current: None,
            witness: None,
            closing: None,
            lives: true,
            memory: 0,
            disk: 0,
            poison,
            rejected: 0,
            troubles,
            forgets,
        }
    }

    /// All that the future depends on, times and connections counted from now on: equal worlds go on equally.
    fn key(&self) -> Vec<u8> {
        let small = |number: usize| u8::try_from(number).unwrap();
        let age = |at: Instant| small(((self.now - at).min(2 * TICK).as_millis() / TICK.as_millis()) as usize);
        let window = &self.window;
        let load = |load: &Load| [small(load.events), small(load.bytes), load.end.0 as u8, small(load.end.1)];
        let mut key = vec![small(self.pushed)];
        key.extend(load(&window.load));
        key.extend(window.closing.map_or([9; 4], |closing| load(&closing)));
        for entry in &window.entries {
            key.extend([entry.id as u8, small(entry.done), small(entry.aside), small(entry.sent)]);
        }
        key.push(small(window.closed.len()));
        for closed in &window.closed {
            key.push(age(closed.at));
            key.extend(load(&closed.load));
        }
        let ((id, event), deaths) = window.deaths.unwrap_or_default();
        key.extend([id as u8, small(event), deaths as u8]);
        if let Some(Search { size, evidence, last }) = &window.search {
            key.extend([small(*size.min(&9)), (*evidence).into(), *last as u8]);
        }
        for one in [self.current, self.witness, self.closing] {
            let Connection { unread, resets, ended } = one.unwrap_or_default();
            key.extend([one.is_some().into(), unread, resets.into(), ended.map_or(9, |left| left)]);
        }
        key.extend([self.lives.into(), self.memory, self.disk, self.rejected, self.troubles, self.forgets]);
        key
    }

    fn connections(&mut self) -> impl Iterator<Item = &mut Connection> {
        [&mut self.current, &mut self.witness, &mut self.closing].into_iter().flatten()
    }

    fn die(&mut self) {
        self.lives = false;
        self.memory = 0;
        self.connections().for_each(Connection::end);
    }

    fn hang_up(&mut self, how: Break) -> Result<(), Wrong> {
        let settled = self.window.broke(how);
        (self.current, self.witness, self.closing) = (None, None, None);
        self.take_in(&settled)
    }

    fn take_in(&mut self, settled: &WindowProgress) -> Result<(), Wrong> {
        for (id, event) in &settled.rejected {
            self.rejected |= bits(*id, *event..event + 1);
        }
        if self.rejected & !self.poison != 0 {
            return Err("an innocent event is rejected");
        }
        let whole = |id: &Id| bits(*id, 0..BATCHES[*id as usize - 1]);
        if settled.finished.iter().any(|id| whole(id) & !self.disk & !self.rejected != 0) {
            return Err("confirmed, and not on the receiver's disk");
        }
        Ok(())
    }

    /// Makes the move; whether it can be made.
    fn make(&mut self, step: Move) -> Result<bool, Wrong> {
        // What was read when says nothing here.
        self.window.allowance = Allowance::fixed(self.allowance);
        let current_ended = self.current.is_some_and(|current| current.is_heard());
        match step {
            Move::Push if self.pushed < BATCHES.len() => {
                self.window.push(self.pushed as Id + 1, BATCHES[self.pushed], BATCHES[self.pushed]);
                self.pushed += 1;
            }
            Move::Connect if self.current.is_none() && self.lives && !self.window.is_empty() => {
                self.current = Some(Connection::default());
            }
            Move::Write if !current_ended => {
                let Some(current) = &mut self.current else { return Ok(false) };
                let Some(span) = self.window.begin(self.now) else { return Ok(false) };
                if current.ended.is_some() {
                    current.resets = true;
                } else {
                    current.unread |= bits(span.id, span.events);
                }
            }
            Move::Read(closing) => {
                let from = if closing { &mut self.closing } else { &mut self.current };
                let Some(from) = from.as_mut().filter(|from| from.unread != 0) else { return Ok(false) };
                let event = from.unread & from.unread.wrapping_neg();
                from.unread &= !event;
                self.memory |= event;
                if event & self.poison != 0 {
                    self.die();
                }
            }
            Move::OpenWitness if self.witness.is_none() && self.closing.is_none() => {
                let Some(current) = &mut self.current else { return Ok(false) };
                if !self.lives {
                    return Ok(false);
                }
                // What the system of the dead process sent comes before what the living one answers.
                current.ended = current.ended.map(|_| 0);
                self.witness = Some(Connection::default());
            }
            Move::Close if self.witness.is_some() && self.closing.is_none() && !current_ended => {
                if self.window.rotate_at().is_none() {
                    return Ok(false);
                }
                self.closing = self.current.take();
                self.current = self.witness.take();
                self.window.closes();
            }
            Move::Answer => match self.closing {
                Some(Connection { resets: true, .. }) => self.hang_up(Break::ByPeer)?,
                Some(Connection { unread: 0, .. }) => {
                    self.closing = None;
                    self.window.closed(self.now);
                }
                _ => return Ok(false),
            },
            Move::Prove if self.closing.is_none() && self.current.is_some() && !current_ended => {
                if self.window.due().is_none_or(|due| due > self.now) {
                    return Ok(false);
                }
                let settled = self.window.prove(self.now);
                self.take_in(&settled)?;
            }
            Move::Break if current_ended => self.hang_up(Break::ByPeer)?,
            Move::GiveUp if self.current.is_some() => self.hang_up(Break::Other)?,
            Move::Forget if self.forgets > 0 && !self.window.is_empty() => {
                self.forgets -= 1;
                let id = self.window.entries[0].id;
                self.window.forget(id);
            }
            Move::Tick => {
                self.now += TICK;
                if self.lives {
                    self.disk |= std::mem::take(&mut self.memory);
                }
                self.connections().for_each(|one| one.ended = one.ended.map(|left| left.saturating_sub(1)));
            }
            Move::Die if self.lives && self.troubles > 0 => {
                self.troubles -= 1;
                self.die();
            }
            Move::Restart if !self.lives => self.lives = true,
            Move::Kick if self.troubles > 0 => {
                let Some(current) = self.current.as_mut().filter(|current| current.ended.is_none()) else {
                    return Ok(false);
                };
                self.troubles -= 1;
                current.end();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// With no more trouble but the poison all else ends, when time goes on only if nothing else can.
    fn ends(&self) -> Result<(), Wrong> {
        const ORDER: [Move; 12] = [
            Move::Push,
            Move::Restart,
            Move::Break,
            Move::Connect,
            Move::Read(true),
            Move::Read(false),
            Move::Write,
            Move::OpenWitness,
            Move::Close,
            Move::Answer,
            Move::Prove,
            Move::Tick,
        ];
        let mut world = self.clone();
        for _ in 0..1_000 {
            let left =
                world.window.entries.iter().fold(0, |left, entry| left | bits(entry.id, entry.done..entry.events));
            if world.pushed == BATCHES.len() && left & !world.poison == 0 {
                return Ok(());
            }
            for step in ORDER {
                if world.make(step)? {
                    break;
                }
            }
        }
        Err("it never ends")
    }
}

/// Explores all that can happen; how many different worlds there are.
fn explore(first: World, check: impl Fn(&World) -> Result<(), Wrong>) -> usize {
    let mut seen = HashSet::from([first.key()]);
    // Where each world came from, to tell the story of a bad one.
    let mut trail = vec![(0, Move::Push)];
    let mut open = vec![(first, 0)];
    while let Some((world, at)) = open.pop() {
        for step in MOVES {
            let mut next = world.clone();
            let made = next.make(step);
            let is_new = made == Ok(true) && seen.insert(next.key());
            if let Err(wrong) = made.and_then(|_| if is_new { check(&next) } else { Ok(()) }) {
                let mut story = vec![step];
                let mut place = at;
                while place != 0 {
                    story.push(trail[place].1);
                    place = trail[place].0;
                }
                story.reverse();
                panic!("{wrong} after {story:?}");
            }
            if is_new {
                trail.push((at, step));
                open.push((next, trail.len() - 1));
            }
        }
    }
    seen.len()
}

#[test]
fn confirmed_events_are_on_disk_whenever_the_receiver_dies_or_closes() {
    let worlds = explore(World::new(0, 2, 0), World::ends);
    assert!(worlds > 10_000, "only {worlds} worlds");
}

#[test]
fn confirmed_events_are_on_disk_with_a_small_window_too() {
    let mut world = World::new(0, 2, 0);
    world.window.set_room(1);
    let worlds = explore(world, World::ends);
    assert!(worlds > 10_000, "only {worlds} worlds");
}

#[test]
fn confirmed_events_are_on_disk_with_a_small_allowance_too() {
    for allowance in [1, 2, 3] {
        let worlds = explore(World { allowance, ..World::new(0, 2, 0) }, World::ends);
        assert!(worlds > 5_000, "only {worlds} worlds");
    }
}

#[test]
fn only_the_event_that_kills_is_rejected_whichever_batch_is_cancelled_meanwhile() {
    for poison in [0b0001, 0b1000, 0b0011, 0b1010, 0b0111] {
        let worlds = explore(World::new(poison, 0, 1), World::ends);
        assert!(worlds > 1_000, "only {worlds} worlds with {poison:04b}");
    }
}
