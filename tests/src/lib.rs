//! Harness: real servers on private ports in temporary folders.
