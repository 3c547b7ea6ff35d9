//! Faults, and what is peculiar to this engine; `conformance` has what holds for all.
