//! The lab: hosts in network namespaces, their traffic, and what they received.
