//! "Rules for rows" of the contract and the choices of ADR 15, sentence by sentence: a history, facts, and what they must
//! come to.

#![allow(clippy::expect_used, reason = "this is how a test fails")]

mod approvals;
mod changes;
mod editors;
mod flags;
mod knowledge;
mod moves;
mod periods;
mod prices;
mod rules;
mod sight;
mod world;
