//! The lab: hosts in network namespaces, their traffic, and what they received.
//!
//! A story reads from the top: make a [`Lab`], give it hosts, start the [`Sekisho`] under
//! test (or plain Linux, as a control), drive [`traffic`] and ask a [`Capture`] what arrived.
//! Nothing here touches an interface that the lab did not make.

//!
//! A packet test needs no root: [`build`] a frame, put it as a [`packet`] into a small
//! [`world`], [`drive`] it through the pipeline on the host, [`check`] what came out.

pub mod lab;

pub mod sekisho;

pub mod ledger;

pub mod plug;

pub mod traffic;

pub mod demo;

pub mod capture;

pub mod process;

pub mod program;

pub mod conntrack;

mod sys;

pub mod build;

pub mod packet;

pub mod world;

pub mod drive;

pub mod check;

pub mod rows;

pub mod invariants;

pub mod chance;

pub mod pair;

pub mod verifier;

pub mod throng;

pub mod reference;

pub mod sites;

pub mod trial;

pub mod answers;

pub mod fuzz;

pub use capture::{Capture, Pcap};
pub use lab::{Host, Lab};
pub use sekisho::{Sekisho, Tally};
