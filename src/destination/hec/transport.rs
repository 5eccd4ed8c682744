//! How requests reach a collector.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::reply::Reply;
use super::request_fault::RequestFault;

/// What carries requests to the collectors in place of HTTP, such as a model of them: the simulation runs the whole client
/// over one. It keeps the time limits of requests itself.
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
    /// Its body as it is sent. Events, ids to ask about, or nothing at all.
    pub body: Bytes,
    /// The body is compressed.
    pub gzip: bool,
}
