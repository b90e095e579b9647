//! Criterion benchmarks: how long does a packet take?
