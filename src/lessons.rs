//! Ten short lessons. Each is a link to begin with and a condition on what was computed, so that passing one means to have
//! seen the thing and not to have clicked a button.
//!
//! A condition reads the experiment and its outcome and nothing else; the page asks it after every run. Thresholds were
//! chosen on the shipped models so that the start of a lesson is far from them and its answer well beyond; a test walks
//! every lesson from its start to an answer.

use crate::experiment::{Experiment, Metric};
use crate::lens::roles::RoleReport;
use crate::lens::sinks::null;
use crate::lens::{HeadRows, Patterns, heads};
use crate::outcome::{Outcome, PaneOutcome, Versus};

/// What a condition looks at.
pub struct Seen<'a> {
    /// Everything on screen.
    pub experiment: &'a Experiment,
    /// What was computed for it.
    pub outcome: &'a Outcome,
    /// Head roles of pane A, once they were asked for.
    pub roles: Option<&'a RoleReport>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether the lesson is passed.
    pub passed: bool,
    /// What was measured, one or two sentences.
    pub says: String,
}

/// One lesson.
pub struct Lesson {
    /// A stable word for addresses and what is remembered.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What to know.
    pub about: &'static str,
    /// What to do.
    pub task: &'static str,
    /// The experiment to begin with, as a link's hash.
    pub start: &'static str,
    check: fn(&Seen<'_>) -> Option<Verdict>,
}

impl Lesson {
    /// Looks whether the lesson is passed.
    pub fn check(&self, seen: &Seen<'_>) -> Verdict {
        (self.check)(seen).unwrap_or_else(|| not_yet("What this lesson looks at is not on screen; begin it anew."))
    }
}

/// The story of the first example, plain attention in pane A, and what a lesson adds.
macro_rules! start {
    ($more:literal) => {
        concat!(
            "v=1&m=stories-3m&p=One%20day,%20a%20little%20girl%20named%20Lily%20found%20a%20big%20red%20ball%20in%20the%20garden.",
            "%20She%20wanted%20to%20play%20with%20the%20ball.&a=softmax",
            $more
        )
    };
}

/// All of them, in order.
pub const ALL: &[Lesson] = &[
    Lesson {
        id: "read-a-pair",
        title: "Read a pair",
        about: "Each row of a matrix is a query, the token that reads; each column a key, a token it can read. The dark \
                cells say from where. Keys after the query are masked: the model predicts what comes next and may not see it.",
        task: "In this head, find a token that takes more than half of its weight from one earlier token other than \
               ⟨bos⟩. Pin the pair: click its cell.",
        start: start!("&pin=L1H1"),
        check: read_a_pair,
    },
    Lesson {
        id: "find-the-sink",
        title: "Find the sink",
        about: "Some heads rest on the first token, whatever it says: an attention sink. A head that looks at nothing in \
                particular puts some weight there too, since early rows have few keys; that is the null.",
        task: "On the wall of heads, find one that rests on token 0 with at least three times the null, and click it.",
        start: start!(""),
        check: find_the_sink,
    },
    Lesson {
        id: "token-or-place",
        title: "The token or the place?",
        about: "A sink on the first token may belong to its place or to what stands there. This head rests on ⟨bos⟩, the \
                token that begins every text.",
        task: "Switch ⟨bos⟩ off, so that a word stands first. Does the head still rest on the first place?",
        start: start!("&pin=L1H5"),
        check: token_or_place,
    },
    Lesson {
        id: "break-it",
        title: "Break it",
        about: "A sliding window forgets old tokens to save memory. If it forgets the sink too, weight that rested there \
                must go somewhere else.",
        task: "In pane B, take the sink tokens away and narrow the window until the loss on the prompt rises by 0.3 nats or \
               more.",
        start: start!("&b=streaming_window,softmax&pin=L1H5"),
        check: break_it,
    },
    Lesson {
        id: "mend-it",
        title: "Mend it, and doubt",
        about: "Streaming attention keeps a few of the first tokens beside the window. Here the window is very narrow: four \
                tokens.",
        task: "Leave the window at 4 and give back up to four sink tokens, until the loss rises by less than 0.3 nats. Then \
               look at the other number: is the guess of the next token nearer to A's, too?",
        start: start!("&b=streaming_window(sinks:0,window:4),softmax&pin=L1H5"),
        check: mend_it,
    },
    Lesson {
        id: "one-step-back",
        title: "One step back",
        about: "A previous-token head reads the token just before, whatever it says. It is the first half of the circuit \
                that continues repetitions.",
        task: "Find a head whose rows put at least half of their weight on the token just before, and pin it. The wall can \
               be sorted by it: Previous token.",
        start: start!(""),
        check: one_step_back,
    },
    Lesson {
        id: "find-induction",
        title: "Find an induction head",
        about: "An induction head finds the token it reads earlier in the text and looks at what came after it there. One \
                prompt can mislead, so roles are scored on random tokens that repeat.",
        task: "Open the tab Head roles, let the probes run, and pin a head that passes as induction.",
        start: "v=1&m=circuits-2m&p=The%20cat%20sat%20and%20the%20cat%20sat%20and%20the%20cat&a=softmax",
        check: find_induction,
    },
    Lesson {
        id: "sharpen",
        title: "Sharpen it",
        about: "Softmax turns scores into weights. Divided by a low temperature, scores spread further apart and each row \
                puts its weight on fewer keys; entropy measures that, in nats.",
        task: "In pane B, lower the temperature until the mean entropy over all heads is at most 0.7 of A's.",
        start: start!("&b=softmax&metric=entropy&wall=1"),
        check: sharpen,
    },
    Lesson {
        id: "pull-closer",
        title: "Pull it closer",
        about: "ALiBi lowers each score in proportion to the distance, with a slope of its own in each head. This model was \
                not trained with it, so what it does to the loss says something about the model.",
        task: "In pane B, set ALiBi so that heads read, on average over all of them, at most half as far back as in A.",
        start: start!("&b=alibi,softmax&metric=distance&wall=1"),
        check: pull_closer,
    },
    Lesson {
        id: "cheaper",
        title: "Cheaper at no great loss",
        about: "Keys and values of every token it may still read must stay in memory. A window forgets the rest; what that \
                costs in loss is measured, not promised.",
        task: "In pane B, add a mechanism (Streaming window, for one) that needs at most half of A's bytes of keys and values \
               and raises the loss by at most 0.05 nats.",
        start: start!("&b=softmax"),
        check: cheaper,
    },
];

/// A lesson by its id.
pub fn by_id(id: &str) -> Option<&'static Lesson> {
    ALL.iter().find(|lesson| lesson.id == id)
}

fn not_yet(says: impl Into<String>) -> Verdict {
    Verdict { passed: false, says: says.into() }
}

fn share(value: f32) -> String {
    format!("{:.0}%", 100.0 * value)
}

impl<'a> Seen<'a> {
    fn pane(&self, pane: usize) -> Option<&'a PaneOutcome> {
        self.outcome.panes.get(pane)
    }

    /// The pinned head's rows in pane A.
    fn with_pinned<T>(&self, read: impl FnOnce(&HeadRows<'_>) -> T) -> Option<T> {
        let patterns = Patterns::of(self.pane(0)?)?;
        let pin = self.experiment.view.pin;
        patterns.head(pin.layer, pin.head).map(|rows| read(&rows))
    }

    /// A number of the pinned head in pane A.
    fn pinned(&self, metric: Metric) -> Option<f32> {
        self.with_pinned(|rows| heads::number(metric, rows, None, 0))
    }

    /// The mean of a number over all heads of one pane.
    fn mean(&self, pane: usize, metric: Metric) -> Option<f32> {
        let patterns = Patterns::of(self.pane(pane)?)?;
        let numbers = heads::metric(metric, &patterns, None, 0);
        let finite: Vec<f32> = numbers.into_iter().filter(|number| number.is_finite()).collect();
        (!finite.is_empty()).then(|| finite.iter().sum::<f32>() / finite.len() as f32)
    }

    fn versus(&self) -> Option<&'a Versus> {
        self.pane(1)?.versus_a.as_ref()
    }

    /// A value of a mechanism in pane B; the default where it is not set.
    fn setting(&self, mechanism: &str, key: &str, default: f32) -> Option<f32> {
        let chip = self.experiment.panes.get(1)?.stack.iter().find(|chip| chip.id == mechanism)?;
        match chip.values.get(key) {
            Some(crate::spec::Plain::Number(number)) => Some(*number as f32),
            _ => Some(default),
        }
    }

    /// A token as it is read.
    fn token(&self, at: usize) -> String {
        self.outcome.tokens.get(at).map(|token| format!("“{}” ({at})", token.text.trim())).unwrap_or_default()
    }
}

fn read_a_pair(seen: &Seen<'_>) -> Option<Verdict> {
    let view = &seen.experiment.view;
    let (Some(query), Some(key)) = (view.query, view.key) else {
        return Some(not_yet("No pair is pinned yet."));
    };
    let weight = seen.with_pinned(|rows| rows.row(query).get(key).copied())??;
    let pair = format!("{} takes {} of its weight from {}", seen.token(query), share(weight.max(0.0)), seen.token(key));
    Some(match () {
        () if weight.is_nan() => not_yet("The pinned pair is masked: its key comes after its query."),
        () if key == 0 || key == query => not_yet(format!("{pair}; look for an earlier token that is not the first.")),
        () if weight <= 0.5 => not_yet(format!("{pair}: not more than half.")),
        () => Verdict { passed: true, says: format!("{pair}.") },
    })
}

/// Mass of the pinned head on token 0 and the null.
fn rests(seen: &Seen<'_>) -> Option<(f32, f32)> {
    Some((seen.pinned(Metric::SinkMass)?, null(seen.outcome.tokens.len(), 0)?))
}

fn find_the_sink(seen: &Seen<'_>) -> Option<Verdict> {
    let (mass, null) = rests(seen)?;
    let pin = seen.experiment.view.pin;
    let says = format!("{pin} puts {} of later weight on token 0, {:.1} × the null.", share(mass), mass / null);
    Some(Verdict { passed: mass >= 3.0 * null, says })
}

fn token_or_place(seen: &Seen<'_>) -> Option<Verdict> {
    let (mass, null) = rests(seen)?;
    let view = &seen.experiment.view;
    let has_bos = seen.outcome.tokens.first().is_some_and(|token| token.special);
    let says = format!("{} puts {} on token 0, {:.1} × the null", view.pin, share(mass), mass / null);
    Some(match has_bos {
        true => not_yet(format!("With ⟨bos⟩, {says}.")),
        false if view.pin.to_string() != "L1H5" => not_yet(format!("{says}; pin L1H5, the head that had the sink.")),
        false if mass >= 2.0 * null => not_yet(format!("Without ⟨bos⟩, {says}: it still rests there.")),
        false => Verdict {
            passed: true,
            says: format!("Without ⟨bos⟩, {says}. In this head the sink belongs to the token, not to the place."),
        },
    })
}

fn break_it(seen: &Seen<'_>) -> Option<Verdict> {
    let delta = seen.versus()?.delta_loss?;
    let Some(sinks) = seen.setting("streaming_window", "sinks", 4.0) else {
        return Some(not_yet("Pane B has no streaming window; begin anew."));
    };
    let says = format!("With {sinks:.0} sink tokens kept, the loss changed by {delta:+.2} nats.");
    Some(Verdict { passed: sinks == 0.0 && delta >= 0.3, says })
}

fn mend_it(seen: &Seen<'_>) -> Option<Verdict> {
    let versus = seen.versus()?;
    let delta = versus.delta_loss?;
    let (Some(sinks), Some(window)) =
        (seen.setting("streaming_window", "sinks", 4.0), seen.setting("streaming_window", "window", 16.0))
    else {
        return Some(not_yet("Pane B has no streaming window; begin anew."));
    };
    let says = format!(
        "Window {window:.0}, {sinks:.0} sink tokens: loss {delta:+.2} nats, KL of the next token {:.2} nats.",
        versus.kl_next
    );
    Some(match () {
        () if window > 4.0 || sinks > 4.0 => {
            not_yet(format!("{says} Leave the window at 4, and at most 4 sink tokens."))
        }
        () if sinks < 1.0 || delta >= 0.3 => not_yet(says),
        () => Verdict { passed: true, says: format!("{says} The loss is mended; see whether the KL is.") },
    })
}

fn one_step_back(seen: &Seen<'_>) -> Option<Verdict> {
    let weight = seen.pinned(Metric::Previous)?;
    let says = format!("{} puts {} on the token just before.", seen.experiment.view.pin, share(weight));
    Some(Verdict { passed: weight >= 0.5, says })
}

fn find_induction(seen: &Seen<'_>) -> Option<Verdict> {
    let Some(report) = seen.roles else {
        return Some(not_yet("The probes have not run yet."));
    };
    let pin = seen.experiment.view.pin;
    let index = pin.layer * seen.outcome.model.heads + pin.head;
    let role = report.roles.iter().find(|role| role.role == "induction")?;
    let score = *role.score.get(index)?;
    let says = format!("{pin} scores {score:.2} on induction; it passes above {:.2}.", role.threshold);
    Some(Verdict { passed: score > role.threshold, says })
}

fn sharpen(seen: &Seen<'_>) -> Option<Verdict> {
    let (a, b) = (seen.mean(0, Metric::Entropy)?, seen.mean(1, Metric::Entropy)?);
    let ratio = b / a;
    let delta = seen.versus()?.delta_loss?;
    let says = format!("Mean entropy: A {a:.2}, B {b:.2} nats, {ratio:.2} of A's. Loss {delta:+.2} nats.");
    // A mask makes rows sharper as well, but not in the way this is about.
    let by_temperature = seen.setting("softmax", "temperature", 1.0).is_some_and(|temperature| temperature < 1.0);
    Some(Verdict { passed: ratio <= 0.7 && by_temperature, says })
}

fn pull_closer(seen: &Seen<'_>) -> Option<Verdict> {
    let (a, b) = (seen.mean(0, Metric::Distance)?, seen.mean(1, Metric::Distance)?);
    let delta = seen.versus()?.delta_loss?;
    let says = format!("Mean distance: A {a:.1}, B {b:.1} tokens, {:.2} of A's. Loss {delta:+.2} nats.", b / a);
    Some(Verdict { passed: b <= 0.5 * a && seen.setting("alibi", "strength", 1.0).is_some(), says })
}

fn cheaper(seen: &Seen<'_>) -> Option<Verdict> {
    let (a, b) = (seen.pane(0)?.price.kv_bytes, seen.pane(1)?.price.kv_bytes);
    let delta = seen.versus()?.delta_loss?;
    let ratio = b as f32 / a.max(1) as f32;
    let says = format!("B keeps {} of A's bytes of keys and values; loss {delta:+.2} nats.", share(ratio));
    Some(Verdict { passed: ratio <= 0.5 && delta <= 0.05, says })
}
