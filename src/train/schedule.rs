//! The learning rate over a run: warm-up, stable, decay.
//!
//! The rate rises over the first tokens, stays, and falls to zero over the last ones. Unlike a cosine, the stable part
//! does not know how long the run will be, so a run can be resumed with another number of tokens and only the decay moves.

/// Where the learning rate rises and falls, in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Highest learning rate.
    pub peak: f64,
    /// Tokens over which it rises from zero.
    pub warmup_tokens: usize,
    /// Tokens at the end over which it falls to zero.
    pub decay_tokens: usize,
    /// Tokens of the whole run.
    pub tokens: usize,
}

impl Schedule {
    /// The learning rate of a step that begins after `seen` tokens.
    ///
    /// ```
    /// use attnscope::train::schedule::Schedule;
    /// let schedule = Schedule { peak: 0.004, warmup_tokens: 100, decay_tokens: 400, tokens: 1000 };
    /// assert_eq!(schedule.rate(50), 0.002);
    /// assert_eq!(schedule.rate(500), 0.004);
    /// assert_eq!(schedule.rate(900), 0.001);
    /// assert_eq!(schedule.rate(1000), 0.0);
    /// ```
    pub fn rate(&self, seen: usize) -> f64 {
        let part = |tokens: usize, of: usize| if of == 0 { 1.0 } else { (tokens as f64 / of as f64).min(1.0) };
        self.peak * part(seen, self.warmup_tokens) * part(self.tokens.saturating_sub(seen), self.decay_tokens)
    }
}
