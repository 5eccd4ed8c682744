//! The protobuf messages of SLS (proto2), with every text as bytes, because a log need not be UTF-8.
//!
//! Pages are not decoded with these: [`crate::loggroup::Logs`] does that without copying. They are used for small
//! messages and for writing.

/// `LogGroupList`: the body of a pull.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogGroupList {
    /// Groups in the order of the shard.
    #[prost(message, repeated, tag = "1")]
    pub groups: Vec<LogGroup>,
}

/// `LogGroup`: the logs of one write, and one step of the cursor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogGroup {
    /// Logs in the order in which they were written.
    #[prost(message, repeated, tag = "1")]
    pub logs: Vec<Log>,
    /// Topic.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub topic: Option<Vec<u8>>,
    /// Address or name of the writer.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub source: Option<Vec<u8>>,
    /// Id of the writer's machine. Not part of a flattened log.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub machine_uuid: Option<Vec<u8>>,
    /// Tags.
    #[prost(message, repeated, tag = "6")]
    pub tags: Vec<Pair>,
}

/// `Log`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Log {
    /// Unix seconds.
    #[prost(uint32, required, tag = "1")]
    pub time: u32,
    /// Fields.
    #[prost(message, repeated, tag = "2")]
    pub contents: Vec<Pair>,
    /// Nanoseconds within the second.
    #[prost(fixed32, optional, tag = "4")]
    pub time_ns: Option<u32>,
}

/// `Content` and `LogTag`, which have the same layout.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pair {
    /// Key.
    #[prost(bytes = "vec", required, tag = "1")]
    pub key: Vec<u8>,
    /// Value.
    #[prost(bytes = "vec", required, tag = "2")]
    pub value: Vec<u8>,
}
