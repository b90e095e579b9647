//! Does it do its work? Real programs' traffic in network namespaces, judged at the receiver.
//!
//! A story has a site, hosts with everything at the kernel's defaults, and what they say to each
//! other. What is to arrive is captured where it arrives and judged; what is not to arrive is
//! looked for there too, and its one reason is in `sekisho drops`.

mod town;

mod api;

mod isolation;

mod replay;

mod cut;

mod groups;

mod errors;

mod rerouted;

mod router;
mod scopes;

mod manners;

mod spoofing;

mod mec;

mod beyond;

mod mixed;

mod qinq;

mod operations;

mod places;

mod kills;

mod links;

mod floods;

mod dhcp;

mod takeover;

mod fragments;

mod interfaces;

mod shared;

mod limits;

mod counted;

mod crowded;

mod accounting;

mod refused;

mod upgrade;

mod tracing;
