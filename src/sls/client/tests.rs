//! Tests over real sockets, with a server that replies from a list.

mod groups;
mod network;
mod pulls;
mod server;
mod signatures;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use server::{Answer, Received, Server, error, ok, raw};

use super::*;
use crate::core::budget::Budget;
use crate::core::page::Page;
use crate::core::secret::Secret;
use crate::core::source::Source as _;
use crate::sls::Credentials;

const CURSOR: &str = "MTcwMDAwMDAwMDAwMDAwMDAwMA==";
const SHARD: ShardId = ShardId(0);

fn page(raw_size: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut all = vec![
        ("x-log-cursor", "bmV4dA=="),
        ("x-log-count", "1"),
        ("x-log-bodyrawsize", raw_size),
        ("x-log-compresstype", "lz4"),
    ];
    all.extend_from_slice(headers);
    raw(200, &all, body)
}

async fn pull(sls: &Sls) -> Result<Page, SourceError> {
    let mut room = Budget::new(64 << 20).take(64 << 20).await;
    sls.pull(SHARD, &Cursor::new(CURSOR), 1000, None, &mut room).await
}

#[track_caller]
fn check_busy<T: std::fmt::Debug>(outcome: Result<T, SourceError>, expected: &str) {
    match outcome {
        Err(SourceError::Busy { cause, .. }) => assert!(cause.what.contains(expected), "{cause}"),
        other => panic!("not busy: {other:?}"),
    }
}
