//! `forwarder` ships logs from Alibaba Cloud Simple Log Service (SLS) to Splunk, a syslog receiver or a file.
//!
//! ```text
//! SLS ──pull──▶ Page ──▶ logs ──process(log)──▶ events ──▶ Batch ──deliver──▶ destination
//!  ▲      (bytes + the        (Lua)                (bytes + the                 │
//!  │       next cursor)                             next cursor)                │
//!  └──────── save(checkpoint), only when every event of the batch is durable ◀──┘
//! ```
//!
//! `docs/architecture.md` follows a page through these folders and explains their structure. Imports only go down
//! this list, and no two files import each other:
//!
//! * [`cli`]: commands, flags, exit codes
//! * [`app`]: picks the parts, owns the tasks, stops them in order
//! * [`admin`]: metrics and the status page
//! * [`settings`]: every setting, where it comes from, whether it is valid
//! * [`group`]: the consumer group: membership, heartbeats, starting and stopping shards
//! * [`pipeline`]: one shard: pull → hook | deliver → checkpoint
//! * [`emulator`]: SLS and destinations with faults, for the demo and the tests
//! * [`sls`]: the source
//! * [`script`]: the Lua hook
//! * [`destination`]: the trait, the registry, HEC, syslog and file
//! * [`dead_letter`]: logs that cannot be delivered, on disk
//! * [`loggroup`]: protobuf to logs
//! * [`core`](mod@core): what all of them use: cursors, pages, batches, budget, ledger, and the trait of a source

pub mod admin;
pub mod app;
pub mod cli;
pub mod settings;

pub mod group;
pub mod pipeline;

pub mod dead_letter;
pub mod destination;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod loggroup;
pub mod script;
pub mod sls;

pub mod core;

#[doc(hidden)]
pub mod fuzzing;
