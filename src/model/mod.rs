//! Decoder models in burn tensors: the definition of every number.

pub mod attention;
