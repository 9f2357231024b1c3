//! Attention sinks: how much weight rests on one position, against what an even causal row would put there.
