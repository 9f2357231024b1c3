//! Worker side of the protocol.
