//! RELP: syslog with an answer for every message (librelp's doc/relp.md, version 0).

mod codec;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection::{CLOSED_BY_RECEIVER, Connection, Turn};
use super::dial::ConnectFault;
use super::format::first_frame;
use super::jobs::Jobs;
use super::session::{Session, SessionEnd};
use super::shared::SyslogShared;
use super::socket;
use super::window::{Break, Id, Span, WindowProgress};
use super::{Framing, session};
use crate::core::batch::Output;
use crate::core::cause::Cause;
use crate::core::lease::Tenure;
use crate::destination::quoted_reply::quoted;
use codec::{Answers, Frame};

/// Maximum number of unanswered messages: librelp's default, and the fastest value measured.
const MAX_UNANSWERED: usize = 128;

/// Maximum size of a write, unless one event is larger.
const WRITE_BYTES: usize = 64 * 1024;

/// How long to wait for the answer to a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until the destination is dropped.
pub(super) async fn run(shared: &SyslogShared, jobs: Jobs) {
    let mut line = Session::new(shared, jobs);
    while let Some(connection) = line.connect().await {
        let patience = shared.config.timeout;
        let ended = match RelpDialog::open(connection, patience).await {
            Ok(session) => drive(&mut line, session).await,
            Err(Refusal::Failed(error)) => line.failed(&error),
            Err(Refusal::Broken(cause)) => line.other(cause),
            Err(Refusal::Refused(cause)) => {
                let what = format!("{}: {cause}", line.target());
                let hint = Some("does a RELP receiver listen on this port, and does it accept syslog?");
                SessionEnd::Broken(Break::Other, ConnectFault::Refused(Cause { what, hint }))
            }
        };
        if !line.recover(ended).await {
            return;
        }
    }
}

/// Why a session does not begin.
enum Refusal {
    /// The connection failed.
    Failed(io::Error),
    /// It may work later.
    Broken(&'static str),
    /// The receiver refuses it.
    Refused(String),
}

/// A session that the receiver agreed to.
struct RelpDialog {
    connection: Connection,
    answers: Answers,
    buffer: Box<[u8]>,
    txnr: u32,
}

impl RelpDialog {
    async fn open(mut connection: Connection, patience: Duration) -> Result<Self, Refusal> {
        let until = Instant::now() + patience;
        let mut hello = Vec::new();
        codec::open(&mut hello);
        let mut buffer = vec![0; 16 * 1024].into_boxed_slice();
        let mut answers = Answers::default();
        let mut out = &hello[..];
        loop {
            match timeout_at(until, connection.turn(&mut buffer, out)).await {
                Ok(Turn::Wrote(count)) => out = &out[count..],
                Ok(Turn::Read(count)) => answers.feed(&buffer[..count]),
                Ok(Turn::Ended) => return Err(Refusal::Broken(CLOSED_BY_RECEIVER)),
                Ok(Turn::Failed(error)) => return Err(Refusal::Failed(error)),
                Err(_) => return Err(Refusal::Broken("no answer to the beginning of a RELP session")),
            }
            match answers.next() {
                Ok(None) => {}
                Ok(Some(Frame { txnr: 1, command: "rsp", data })) => {
                    if codec::code(data) != Some(200) {
                        let text = quoted(data, b"");
                        return Err(Refusal::Refused(format!("it refuses the RELP session: {text}")));
                    }
                    return Ok(Self { connection, answers, buffer, txnr: 1 });
                }
                Ok(Some(frame)) => {
                    return Err(Refusal::Refused(format!("it answers {:?}, which is not RELP", frame.command)));
                }
                Err(fault) => return Err(Refusal::Refused(fault.to_string())),
            }
        }
    }

    fn next_txnr(&mut self) -> u32 {
        self.txnr = codec::after(self.txnr);
        self.txnr
    }

    /// Closes the session in order, so that the receiver logs no error.
    async fn close(mut self) {
        let mut out = Vec::new();
        let txnr = self.next_txnr();
        codec::frame(&mut out, txnr, "close", b"");
        let mut out = &out[..];
        let until = Instant::now() + CLOSE_TIMEOUT;
        while let Ok(Turn::Wrote(_) | Turn::Read(_)) = timeout_at(until, async {
            let turn = self.connection.turn(&mut self.buffer, out).await;
            if let Turn::Wrote(count) = turn {
                out = &out[count..];
            }
            turn
        })
        .await
        {}
    }
}

/// A message that is not answered yet.
struct Unanswered {
    txnr: u32,
    id: Id,
    /// If it is the last of its event: the index of the next event.
    ends: Option<usize>,
}

/// A batch whose messages are being sent.
struct Under {
    batch: Arc<Output>,
    tenure: Tenure,
    span: Span,
    /// The rest of the current event.
    event: std::ops::Range<usize>,
}

enum RelpEvent {
    Turn(Turn),
    Fenced,
    Came(Option<(Id, Arc<Output>)>),
    Left,
    Late,
}

async fn drive(line: &mut Session<'_>, mut session: RelpDialog) -> SessionEnd {
    let mut unanswered: VecDeque<Unanswered> = VecDeque::new();
    let mut under: Option<Under> = None;
    // The tenure of the bytes in `out`, which are of one batch at a time.
    let mut writing: Option<Tenure> = None;
    let mut out: Vec<u8> = Vec::new();
    let mut written = 0;
    let mut heard = Instant::now();
    loop {
        let now = Instant::now();
        if written == out.len() {
            out.clear();
            written = 0;
            writing = None;
            if unanswered.is_empty() && under.is_none() && line.window.is_unproven() {
                // Everything is answered. In a search, that proves the group.
                line.window.rotated(now);
                line.settle(now);
            }
            if under.is_none() && unanswered.len() < MAX_UNANSWERED {
                under = next(line, now);
            }
            if let Some(sending) = &mut under {
                if unanswered.is_empty() {
                    heard = now;
                }
                if sending.tenure.holds() {
                    fill(&mut out, sending, &mut session, &mut unanswered);
                    writing = Some(sending.tenure.clone());
                    if sending.event.is_empty() && sending.span.events.is_empty() {
                        under = None;
                    }
                } else {
                    let id = sending.span.id;
                    line.abandon(id);
                    under = None;
                    continue;
                }
            }
        }
        let late = heard + line.shared.config.timeout;
        let waits = !unanswered.is_empty() || written < out.len();
        let event = tokio::select! {
            biased;
            turn = session.connection.turn_under(writing.as_ref(), &mut session.buffer, &out[written..]) => RelpEvent::Turn(turn),
            () = session::fenced(writing.as_ref().filter(|_| written < out.len())) => RelpEvent::Fenced,
            came = line.jobs.recv() => RelpEvent::Came(came),
            () = line.shared.left.notified() => RelpEvent::Left,
            () = sleep_until(late), if waits => RelpEvent::Late,
        };
        match event {
            RelpEvent::Turn(Turn::Wrote(count)) => written += count,
            RelpEvent::Turn(Turn::Read(count)) => {
                socket::acknowledge_at_once(session.connection.socket());
                session.answers.feed(&session.buffer[..count]);
                heard = Instant::now();
                if let Err(ended) = answered(line, &mut session, &mut unanswered, heard) {
                    return ended;
                }
            }
            RelpEvent::Turn(Turn::Ended) if unanswered.is_empty() && under.is_none() => return SessionEnd::Idle,
            RelpEvent::Turn(Turn::Ended) => return line.by_peer(CLOSED_BY_RECEIVER),
            RelpEvent::Turn(Turn::Failed(error)) => return line.failed(&error),
            RelpEvent::Fenced => {
                session.connection.abort();
                return line.other("a shard was lost half-way through a message");
            }
            RelpEvent::Came(came) => {
                if !line.came(came) {
                    if out.len() == written {
                        session.close().await;
                    }
                    return SessionEnd::Gone;
                }
            }
            RelpEvent::Left => line.reap(),
            RelpEvent::Late => return line.other("it does not answer"),
        }
    }
}

fn next(line: &mut Session<'_>, now: Instant) -> Option<Under> {
    while let Some(span) = line.window.begin(now) {
        match line.jobs.get(span.id) {
            Some(job) => {
                return Some(Under { batch: Arc::clone(&job.batch), tenure: job.tenure.clone(), event: 0..0, span });
            }
            None => line.window.forget(span.id),
        }
    }
    None
}

/// Writes messages into the buffer while there is room in it and in the window.
fn fill(out: &mut Vec<u8>, sending: &mut Under, session: &mut RelpDialog, unanswered: &mut VecDeque<Unanswered>) {
    while unanswered.len() < MAX_UNANSWERED && out.len() < WRITE_BYTES {
        if sending.event.is_empty() {
            let Some(event) = sending.span.events.next() else { return };
            sending.event = sending.batch.events.range(event);
        }
        let bytes = &sending.batch.events.bytes()[sending.event.clone()];
        let (message, length) = first_frame(bytes, Framing::Octet);
        sending.event.start += length;
        let txnr = session.next_txnr();
        codec::frame(out, txnr, "syslog", message);
        let ends = sending.event.is_empty().then_some(sending.span.events.start);
        unanswered.push_back(Unanswered { txnr, id: sending.span.id, ends });
    }
}

/// Processes the received answers.
fn answered(
    line: &mut Session<'_>,
    session: &mut RelpDialog,
    unanswered: &mut VecDeque<Unanswered>,
    now: Instant,
) -> Result<(), SessionEnd> {
    let mut settled = WindowProgress::default();
    let read = read_answers(line, session, unanswered, &mut settled);
    line.accepted(settled, now);
    read
}

fn read_answers(
    line: &mut Session<'_>,
    session: &mut RelpDialog,
    unanswered: &mut VecDeque<Unanswered>,
    settled: &mut WindowProgress,
) -> Result<(), SessionEnd> {
    let searching = line.window.is_searching();
    loop {
        let frame = match session.answers.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(fault) => return Err(line.by_peer(&fault.to_string())),
        };
        match frame.command {
            "rsp" => {
                let Some(message) = unanswered.pop_front() else {
                    return Err(line.by_peer("it answers a message that was not sent"));
                };
                if message.txnr != frame.txnr {
                    return Err(line.by_peer("it answers out of order"));
                }
                if codec::code(frame.data) != Some(200) {
                    let sent = line.jobs.get(message.id).map_or(&b""[..], |job| job.batch.events.bytes());
                    let text = quoted(frame.data, sent);
                    return Err(line.by_peer(&format!("it answers {text}")));
                }
                if let Some(ends) = message.ends.filter(|_| !searching) {
                    line.window.advance(message.id, ends, settled);
                }
            }
            "serverclose" if unanswered.is_empty() => return Err(SessionEnd::Idle),
            "serverclose" => return Err(line.by_peer(CLOSED_BY_RECEIVER)),
            other => return Err(line.by_peer(&format!("it sends {other:?}, which RELP does not know"))),
        }
    }
}
