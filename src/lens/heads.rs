//! One number per head from its pattern: entropy, reach, previous-token weight, difference to another pane.
