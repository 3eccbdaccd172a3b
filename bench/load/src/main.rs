//! The load client of the benchmark.
fn main() {}
