//! Numbers, sizes and tokens as people read them.

use crate::outcome::Token;

/// Four significant digits: `0.4775`, `12.35`, `3.7e-6`.
pub fn four(value: f32) -> String {
    let size = value.abs();
    let text = if size == 0.0 {
        "0".into()
    } else if !size.is_finite() {
        return "n/a".into();
    } else if size < 1e-3 {
        format!("{value:.1e}")
    } else {
        let digits = 3 - (size.log10().floor() as i32);
        format!("{value:.*}", digits.clamp(0, 6) as usize)
    };
    minus(text)
}

/// A fixed number of decimals.
pub fn fixed(value: f32, decimals: usize) -> String {
    if value.is_finite() { minus(format!("{value:.decimals$}")) } else { "n/a".into() }
}

/// A fixed number of decimals, always with its sign.
pub fn signed(value: f32, decimals: usize) -> String {
    if !value.is_finite() {
        return "n/a".into();
    }
    let text = format!("{:.decimals$}", value.abs());
    let sign = if text.chars().all(|c| c == '0' || c == '.') {
        "±"
    } else if value < 0.0 {
        "−"
    } else {
        "+"
    };
    format!("{sign}{text}")
}

/// The typographic minus in place of the hyphen.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// A number with three significant digits, and the unit with its prefix: `20.5`, `kB`.
pub fn scaled(value: f64, unit: &str) -> (String, String) {
    let (size, prefix) =
        [(1e9, "G"), (1e6, "M"), (1e3, "k")].into_iter().find(|(size, _)| value >= *size).unwrap_or((1.0, ""));
    let value = value / size;
    let decimals = match value {
        _ if prefix.is_empty() && value.fract() == 0.0 => 0,
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    (format!("{value:.decimals$}"), format!("{prefix}{unit}"))
}

/// Three significant digits of a measured time: more would only be noise.
pub fn millis(value: f32) -> String {
    match value {
        v if v >= 100.0 => fixed(v, 0),
        v if v >= 10.0 => fixed(v, 1),
        v => fixed(v, 2),
    }
}

/// A number of bytes in one word: `6.19 MB`.
pub fn bytes(count: usize) -> String {
    let (number, unit) = scaled(count as f64, "B");
    format!("{number} {unit}")
}

/// A piece of a token's text: as it is, or a stand-in for something invisible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What is shown.
    pub text: String,
    /// Whether it stands in for a space, a newline, a tab or a byte.
    pub mark: bool,
}

/// A token's text with visible spaces, newlines and tabs; control tokens in angle brackets.
pub fn pieces(token: &Token) -> Vec<Piece> {
    if token.special {
        let name = token.text.trim_matches(['<', '>', '|']);
        return vec![Piece { text: format!("⟨{name}⟩"), mark: false }];
    }
    let mut pieces: Vec<Piece> = Vec::new();
    for c in token.text.chars() {
        let (shown, mark) = match c {
            ' ' => ("·".into(), true),
            '\n' => ("↵".into(), true),
            '\t' => ("⇥".into(), true),
            c if c.is_control() => (format!("<0x{:02X}>", c as u32), true),
            c => (c.to_string(), false),
        };
        match pieces.last_mut() {
            Some(last) if last.mark == mark => last.text += &shown,
            _ => pieces.push(Piece { text: shown, mark }),
        }
    }
    if pieces.is_empty() { vec![Piece { text: "∅".into(), mark: true }] } else { pieces }
}

/// What the token that begins every sequence goes by: its own name may be as long as `<|endoftext|>`.
pub const BOS: &str = "⟨bos⟩";

/// The same as one plain text, for labels on canvases and for screen readers.
pub fn plain(token: &Token) -> String {
    pieces(token).into_iter().map(|piece| piece.text).collect()
}
