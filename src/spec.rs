//! Parameters, declared once.
//!
//! A parameter is one 32-bit scalar with a default, a domain, a unit and a help text. From the declaration come the
//! control on the page, the link state, the JSON schema, the uniform bytes and the WGSL struct, so host and device cannot
//! drift. [`params!`](crate::params) turns a commented struct into that declaration.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One typed value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// On or off.
    Flag(bool),
    /// A whole number.
    Int(i32),
    /// A real number.
    Real(f32),
    /// The index of one of the words of [`Domain::Choice`].
    Choice(u32),
}

/// What values a parameter may take, and how its control moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// A switch.
    Flag,
    /// Whole numbers `min..=max` in steps.
    Int {
        /// Smallest value.
        min: i32,
        /// Largest value.
        max: i32,
        /// Step of the control; values between steps are allowed.
        step: i32,
    },
    /// Real numbers `min..=max` in steps.
    Real {
        /// Smallest value.
        min: f32,
        /// Largest value.
        max: f32,
        /// Step of the control; values between steps are allowed.
        step: f32,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// The declaration of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Param {
    /// snake_case key in links, JSON and WGSL.
    pub key: &'static str,
    /// One sentence for a tooltip.
    pub help: &'static str,
    /// Unit behind the number, or empty.
    pub unit: &'static str,
    /// Value when nothing is said.
    pub default: Value,
    /// Allowed values.
    pub domain: Domain,
}

/// A scalar as it stands in JSON and links, before a [`Param`] has typed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(untagged)]
pub enum Plain {
    /// `true` or `false`.
    Flag(bool),
    /// A number; whole and real numbers are told apart by the parameter.
    Number(f64),
    /// A word of a choice.
    Word(String),
}

impl std::fmt::Display for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Plain::Flag(flag) => write!(f, "{flag}"),
            Plain::Number(number) => write!(f, "{number}"),
            Plain::Word(word) => f.write_str(word),
        }
    }
}

impl std::str::FromStr for Plain {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match (text, text.parse::<f64>()) {
            ("true", _) => Plain::Flag(true),
            ("false", _) => Plain::Flag(false),
            (_, Ok(number)) if number.is_finite() => Plain::Number(number),
            _ => Plain::Word(text.into()),
        })
    }
}

/// Values by key; keys that are absent stand for their defaults.
pub type Values = BTreeMap<String, Plain>;

impl Param {
    /// Types a plain value, or says why it is not allowed. `who` owns the parameter.
    pub fn read(&self, who: &str, plain: &Plain) -> Result<Value> {
        let refuse = |expected: String| Error::Param {
            who: who.into(),
            key: self.key.into(),
            expected,
            came: plain.to_string(),
        };
        match (self.domain, plain) {
            (Domain::Flag, Plain::Flag(flag)) => Ok(Value::Flag(*flag)),
            (Domain::Flag, _) => Err(refuse("be true or false".into())),
            (Domain::Int { min, max, .. }, Plain::Number(n))
                if n.fract() == 0.0 && (min as f64..=max as f64).contains(n) =>
            {
                Ok(Value::Int(*n as i32))
            }
            (Domain::Int { min, max, .. }, _) => Err(refuse(format!("be a whole number in {min}..={max}"))),
            // The bounds were written as f32, so they are compared as f32: 0.1 must lie in 0.1..=1.
            (Domain::Real { min, max, .. }, Plain::Number(n)) if (min..=max).contains(&(*n as f32)) => {
                Ok(Value::Real(*n as f32))
            }
            (Domain::Real { min, max, .. }, _) => Err(refuse(format!("lie in {min}..={max}"))),
            (Domain::Choice(words), Plain::Word(word)) => match words.iter().position(|w| w == word) {
                Some(index) => Ok(Value::Choice(index as u32)),
                None => Err(refuse(format!("be one of {}", words.join(", ")))),
            },
            (Domain::Choice(words), _) => Err(refuse(format!("be one of {}", words.join(", ")))),
        }
    }

    /// The plain form of a typed value of this parameter.
    pub fn write(&self, value: Value) -> Plain {
        match (value, self.domain) {
            (Value::Flag(flag), _) => Plain::Flag(flag),
            (Value::Int(int), _) => Plain::Number(int.into()),
            // Through the shortest decimal, so that 0.1f32 is written 0.1 and not 0.10000000149.
            (Value::Real(real), _) => Plain::Number(real.to_string().parse().unwrap_or(f64::from(real))),
            (Value::Choice(index), Domain::Choice(words)) => {
                Plain::Word(words.get(index as usize).copied().unwrap_or_default().into())
            }
            (Value::Choice(index), _) => Plain::Number(index.into()),
        }
    }
}

/// A struct of parameters made by [`params!`](crate::params).
pub trait Params: Default + Clone + 'static {
    /// The declarations, in field order.
    const SPEC: &'static [Param];
    /// The struct's name, which is also the WGSL struct's name.
    const NAME: &'static str;
    /// From typed values in the order of [`Params::SPEC`].
    fn from_values(values: &[Value]) -> Self;
    /// Typed values in the order of [`Params::SPEC`].
    fn values(&self) -> Vec<Value>;

    /// From plain values; unknown keys, wrong kinds and values out of range are refused by name.
    fn read(who: &str, values: &Values) -> Result<Self> {
        Ok(Self::from_values(&read(who, Self::SPEC, values)?))
    }

    /// The plain form of every parameter.
    fn write(&self) -> Values {
        Self::SPEC.iter().zip(self.values()).map(|(param, value)| (param.key.to_string(), param.write(value))).collect()
    }
}

/// The index of `word` among the words of the choice `key`, while compiling: code and laws name a choice by its word, so
/// they cannot drift from the declaration.
///
/// A word or key that is not declared stops the compilation.
///
/// ```
/// # use attnscope::spec::choice;
/// attnscope::params! {
///     /// Controls of an example.
///     pub struct Example {
///         /// Which form.
///         form: u32 = 0, choice("plain", "fancy");
///     }
/// }
/// const FANCY: u32 = choice::<Example>("form", "fancy");
/// assert_eq!(FANCY, 1);
/// ```
pub const fn choice<P: Params>(key: &str, word: &str) -> u32 {
    let mut found = u32::MAX;
    let mut at = 0;
    while at < P::SPEC.len() {
        if let Domain::Choice(words) = P::SPEC[at].domain {
            let mut index = 0;
            while index < words.len() {
                if same(P::SPEC[at].key, key) && same(words[index], word) {
                    found = index as u32;
                }
                index += 1;
            }
        }
        at += 1;
    }
    assert!(found != u32::MAX, "no choice has this word");
    found
}

/// String equality that a constant can use.
const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Types plain values against a declaration: one typed value per parameter, defaults where nothing is said.
pub fn read(who: &str, spec: &[Param], values: &Values) -> Result<Vec<Value>> {
    if let Some(key) = values.keys().find(|key| !spec.iter().any(|param| param.key == key.as_str())) {
        let known: Vec<_> = spec.iter().map(|param| param.key).collect();
        return Err(Error::Unknown {
            what: "parameter",
            name: format!("{who}.{key}"),
            remedy: if known.is_empty() {
                format!("{who} has none")
            } else {
                format!("{who} has {}", known.join(", "))
            },
        });
    }
    spec.iter().map(|param| values.get(param.key).map_or(Ok(param.default), |plain| param.read(who, plain))).collect()
}

/// The uniform words of typed values; the order and the 4-byte size match [`wgsl_struct`].
pub fn words(values: &[Value]) -> Vec<u32> {
    let word = |value: &Value| match *value {
        Value::Flag(flag) => u32::from(flag),
        Value::Int(int) => int.cast_unsigned(),
        Value::Real(real) => real.to_bits(),
        Value::Choice(index) => index,
    };
    values.iter().map(word).collect()
}

/// The WGSL struct of a declaration. Flags are `u32`, since WGSL has no host-shareable `bool`; a choice `x` is a member
/// `x_word`, the index of its word, so that the natural key of a choice may be one that WGSL reserves, such as `operator`.
pub fn wgsl_struct(name: &str, spec: &[Param]) -> String {
    let member = |param: &Param| match param.domain {
        Domain::Flag => format!("    {}: u32,\n", param.key),
        Domain::Choice(_) => format!("    {}_word: u32,\n", param.key),
        Domain::Int { .. } => format!("    {}: i32,\n", param.key),
        Domain::Real { .. } => format!("    {}: f32,\n", param.key),
    };
    let members: String = spec.iter().map(member).collect();
    // A struct needs a member; mechanisms without parameters carry one unused word.
    let members = if members.is_empty() { "    unused: u32,\n".to_string() } else { members };
    format!("struct {name} {{\n{members}}}\n")
}

/// A Rust type that can be a parameter.
pub trait Scalar: Copy {
    /// Into the typed value.
    fn into_value(self) -> Value;
    /// From a typed value that [`Param::read`] made, so the kind always fits.
    fn from_value(value: Value) -> Self;
}

macro_rules! scalar {
    ($kind:ty, $variant:ident) => {
        impl Scalar for $kind {
            fn into_value(self) -> Value {
                Value::$variant(self)
            }
            fn from_value(value: Value) -> Self {
                match value {
                    Value::$variant(inner) => inner,
                    _ => Default::default(),
                }
            }
        }
    };
}
scalar!(bool, Flag);
scalar!(i32, Int);
scalar!(f32, Real);
scalar!(u32, Choice);

/// Declares a struct of parameters. Doc comments become help texts.
///
/// Kinds: `flag()`, `int(min, max, step)`, `real(min, max, step)`, `choice("word", …)`; field types `bool`, `i32`, `f32`,
/// `u32` in that order. A unit may follow.
///
/// ```
/// # use attnscope::spec::{Params, Value};
/// attnscope::params! {
///     /// Controls of an example.
///     pub struct Example {
///         /// How many.
///         count: i32 = 2, int(0, 8, 1), unit "tokens";
///         /// Which form.
///         form: u32 = 1, choice("plain", "fancy");
///     }
/// }
/// let example = Example::read("example", &[("count".into(), 5.0.into())].into()).unwrap();
/// assert_eq!((example.count, example.form), (5, 1));
/// assert_eq!(Example::SPEC[0].help, "How many.");
/// ```
#[macro_export]
macro_rules! params {
    (
        $(#[$outer:meta])*
        $vis:vis struct $name:ident {
            $($(#[doc = $help:literal])+ $key:ident : $kind:ident = $default:expr, $domain:ident ($($bound:expr),*) $(, unit $unit:literal)? ;)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name { $($(#[doc = $help])+ pub $key: $kind,)* }

        impl Default for $name {
            fn default() -> Self { Self { $($key: $default,)* } }
        }

        impl $crate::spec::Params for $name {
            const NAME: &'static str = stringify!($name);
            const SPEC: &'static [$crate::spec::Param] = &[$($crate::spec::Param {
                key: stringify!($key),
                help: concat!($($help),+).trim_ascii(),
                unit: concat!($($unit)?),
                default: $crate::params!(@value $kind, $default),
                domain: $crate::params!(@$domain $($bound),*),
            },)*];
            fn from_values(values: &[$crate::spec::Value]) -> Self {
                let mut values = values.iter().copied();
                let mut fresh = Self::default();
                $(if let Some(value) = values.next() { fresh.$key = $crate::spec::Scalar::from_value(value); })*
                let _ = (&mut values, &mut fresh);
                fresh
            }
            fn values(&self) -> Vec<$crate::spec::Value> {
                vec![$($crate::spec::Scalar::into_value(self.$key)),*]
            }
        }
    };
    (@value bool, $default:expr) => { $crate::spec::Value::Flag($default) };
    (@value i32, $default:expr) => { $crate::spec::Value::Int($default) };
    (@value f32, $default:expr) => { $crate::spec::Value::Real($default) };
    (@value u32, $default:expr) => { $crate::spec::Value::Choice($default) };
    (@flag) => { $crate::spec::Domain::Flag };
    (@int $min:expr, $max:expr, $step:expr) => { $crate::spec::Domain::Int { min: $min, max: $max, step: $step } };
    (@real $min:expr, $max:expr, $step:expr) => { $crate::spec::Domain::Real { min: $min, max: $max, step: $step } };
    (@choice $($word:expr),+) => { $crate::spec::Domain::Choice(&[$($word),+]) };
}

impl From<f64> for Plain {
    fn from(number: f64) -> Self {
        Plain::Number(number)
    }
}

impl From<bool> for Plain {
    fn from(flag: bool) -> Self {
        Plain::Flag(flag)
    }
}

impl From<&str> for Plain {
    fn from(word: &str) -> Self {
        Plain::Word(word.into())
    }
}
