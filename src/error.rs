//! What can go wrong, in one enum.
//!
//! Every variant says who (mechanism, tensor, parameter, file), what was expected and what came; `Display` is one
//! sentence a visitor can act on, and [`Error::code`] is stable for JSON, embed events and tests.

/// The result of anything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Every failure of attnscope.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A parameter is unknown, of the wrong kind or out of range.
    #[error("{who}: {key} is {came} but must {expected}")]
    Param {
        /// The mechanism, or `experiment`, `sampling`, … that owns the parameter.
        who: String,
        /// The parameter's key.
        key: String,
        /// What it must do, as words that follow "must".
        expected: String,
        /// What came.
        came: String,
    },
    /// A tensor does not have the axes it should have.
    #[error("{who}: {tensor} should be {expected} but is {came}")]
    Shape {
        /// Who asked.
        who: String,
        /// Which tensor.
        tensor: String,
        /// The expected axes or sizes.
        expected: String,
        /// The sizes that came.
        came: String,
    },
    /// A tensor that must be there is not, or one that is there must not be.
    #[error("{file}: tensor {tensor} {problem}")]
    Tensor {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it, as words that follow its name.
        problem: String,
    },
    /// A file cannot be read or is not what its name says.
    #[error("{file}: {problem}")]
    File {
        /// The file, or the URL.
        file: String,
        /// What is wrong, and the remedy where there is one.
        problem: String,
    },
    /// Something is longer or more than this program reads; it is refused before memory is taken for it.
    #[error("{who}: {came} {what} came; at most {most} are read")]
    Limit {
        /// The file, or `link`, `prompt`, `pane a`, ….
        who: String,
        /// What there is too much of, in the plural: `bytes`, `mechanisms`, ….
        what: &'static str,
        /// How much of it came.
        came: u64,
        /// How much of it is read.
        most: u64,
    },
    /// A configuration asks for something this program does not have; it is refused, never approximated.
    #[error("{file}: {key} asks for {came}, which is not supported; supported: {expected}")]
    Unsupported {
        /// The file, usually `config.json`.
        file: String,
        /// The key that asks.
        key: String,
        /// What is supported.
        expected: String,
        /// What it asks for.
        came: String,
    },
    /// No mechanism, model, hook or role has this name.
    #[error("{what} {name} does not exist; {remedy}")]
    Unknown {
        /// `mechanism`, `model`, `hook`, …
        what: &'static str,
        /// The name that came.
        name: String,
        /// What does exist, or where to look.
        remedy: String,
    },
    /// Mechanisms that cannot stand in one pane.
    #[error("pane {pane}: {problem}")]
    Stack {
        /// `a`, `b`, …
        pane: String,
        /// What cannot be stacked and why.
        problem: String,
    },
    /// Text that cannot be parsed: a link, an experiment, a hook name.
    #[error("{what} cannot be read: {problem}")]
    Parse {
        /// What was being read.
        what: String,
        /// Where it went wrong.
        problem: String,
    },
    /// The tokenizer cannot do what was asked.
    #[error("tokenizer: {problem}")]
    Tokenizer {
        /// What went wrong.
        problem: String,
    },
    /// The GPU is not there, refused, ran out of memory or was lost.
    #[error("gpu: {problem}")]
    Gpu {
        /// What went wrong, and what the visitor can do.
        problem: String,
    },
    /// A WGSL file does not link or compile.
    #[error("{file}:{line}: {problem}")]
    Kernel {
        /// The WGSL file the line came from.
        file: String,
        /// One-based line in that file.
        line: usize,
        /// The compiler's or linker's words.
        problem: String,
    },
    /// Laws or twins that do not hold on this machine.
    #[error("{failed} of {of} checks do not hold on this machine; the table names them")]
    Check {
        /// How many do not hold.
        failed: usize,
        /// How many were made.
        of: usize,
    },
    /// A newer request made this one pointless.
    #[error("superseded by a newer request")]
    Superseded,
    /// A failure that should be impossible; a bug of ours.
    #[error("internal: {0}; please report this")]
    Internal(String),
}

impl Error {
    /// Every word of [`Error::code`]. Whoever embeds a figure may have written them down, so words are added and never
    /// changed.
    pub const CODES: &'static [&'static str] = &[
        "param",
        "shape",
        "tensor",
        "file",
        "limit",
        "unsupported",
        "unknown",
        "stack",
        "parse",
        "tokenizer",
        "gpu",
        "kernel",
        "check",
        "superseded",
        "internal",
    ];

    /// A stable word for JSON, embed events and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Param { .. } => "param",
            Error::Shape { .. } => "shape",
            Error::Tensor { .. } => "tensor",
            Error::File { .. } => "file",
            Error::Limit { .. } => "limit",
            Error::Unsupported { .. } => "unsupported",
            Error::Unknown { .. } => "unknown",
            Error::Stack { .. } => "stack",
            Error::Parse { .. } => "parse",
            Error::Tokenizer { .. } => "tokenizer",
            Error::Gpu { .. } => "gpu",
            Error::Kernel { .. } => "kernel",
            Error::Check { .. } => "check",
            Error::Superseded => "superseded",
            Error::Internal(_) => "internal",
        }
    }

    /// A file problem in one call.
    pub fn file(file: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Error::File { file: file.into(), problem: problem.to_string() }
    }

    /// Refuses more than `most` of something.
    ///
    /// ```
    /// # use attnscope::Error;
    /// assert_eq!(Error::within("link", "characters", 9, 10), Ok(()));
    /// let error = Error::within("link", "characters", 11, 10).unwrap_err();
    /// assert_eq!(error.to_string(), "link: 11 characters came; at most 10 are read");
    /// ```
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn within(who: impl Into<String>, what: &'static str, came: usize, most: usize) -> Result<()> {
        if came <= most {
            return Ok(());
        }
        Err(Error::Limit { who: who.into(), what, came: came as u64, most: most as u64 })
    }

    /// A parse problem in one call.
    pub fn parse(what: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Error::Parse { what: what.into(), problem: problem.to_string() }
    }
}
