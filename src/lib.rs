//! `forwarder` ships logs from Alibaba Cloud Simple Log Service (SLS) to a SIEM.
//!
//! ```text
//! SLS ──pull──▶ Page ──▶ logs ──process(log)──▶ events ──▶ Batch ──deliver──▶ SIEM
//!  ▲      (bytes + the        (Lua)                (bytes + the cursor     │
//!  │       next cursor)                             that they earn)        │
//!  └──────────── save(cursor), only when the whole batch is durable ◀──────┘
//! ```
//!
//! Imports only go down this list:
//!
//! * wiring: [`cli`], [`settings`], [`app`], [`admin`]
//! * loops: [`group`] (heartbeats, starts and stops shards), [`shard`] (pull → hook | deliver → save)
//! * adapters: [`sls`], [`script`], [`siem`], [`dead_letter`], and beside them [`emulator`]
//! * machines: [`membership`], [`retry`], [`trouble`]: `now` in, decisions out
//! * ports: [`source`], [`sink`]: what a source and a sink promise
//! * ground: [`model`], [`page`], [`event`], [`stop`], [`lease`], [`budget`], [`secret`], [`ledger`]

pub mod admin;
pub mod app;
pub mod cli;
pub mod settings;

pub mod group;
pub mod pipeline;

pub mod dead_letter;
pub mod destination;
pub mod emulator;
pub mod loggroup;
pub mod script;
pub mod sls;

pub mod core;

#[doc(hidden)]
pub mod fuzzing;
