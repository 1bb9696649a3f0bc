//! Metrics, logs, request ids.
