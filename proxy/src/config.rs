//! Settings: as written, and as used.
