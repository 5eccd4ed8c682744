//! How requests reach a collector.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::reply::Reply;
use super::request_fault::RequestFault;

/// A transport of requests in place of HTTP, such as a model of collectors: the simulation runs the whole client over
/// one. It must keep the time limits of requests itself.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends one request and waits for its reply.
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Reply, RequestFault>>;
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it goes, path included.
    pub url: String,
    /// The channel that it names.
    pub channel: String,
    /// Its body as sent: events, ids of a poll, or nothing.
    pub body: Bytes,
    /// The body is compressed.
    pub gzip: bool,
}
