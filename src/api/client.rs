//! Page side of the protocol.
