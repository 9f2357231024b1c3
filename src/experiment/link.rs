//! The experiment as a readable hash: `#v=1&m=stories-3m&p=One%20day&a=softmax&b=alibi(slope_range:4),softmax`.
//!
//! Model, prompt and panes always stand in the link; everything else only where it differs from its default. Unknown
//! keys are reported, not dropped in silence and not fatal, so that links of newer versions still open.
//!
//! The version names the form. 1 is the readable one; 2 holds the same text compressed under the key `z`, and is written
//! when the readable one would be longer than [`LONGEST_READABLE`]. Whatever stands beside `z` is read after it.

mod instruments;
mod pack;

use super::{Chip, Draw, Experiment, PANE_NAMES, Pane, View};
use crate::{Error, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::str::FromStr;

/// What would end a value early or not survive being pasted into mail and chat.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'&')
    .add(b'=')
    .add(b'#')
    .add(b'%')
    .add(b'+')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'\\')
    .add(b'^')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'[')
    .add(b']');

/// A readable link of more characters than this is compressed.
pub const LONGEST_READABLE: usize = 2048;

/// A link of more bytes than this is not read; an experiment of a prompt with a million bytes fits.
pub const LONGEST_READ: usize = 4 << 20;

/// A parsed link, and what in it was not understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// What it says.
    pub experiment: Experiment,
    /// One sentence per part that was left out.
    pub notices: Vec<String>,
}

/// The hash, without `#`.
pub fn write(experiment: &Experiment) -> String {
    let parts = readable(experiment);
    let plain = join(&parts, |value| utf8_percent_encode(value, RESERVED).to_string());
    if plain.len() <= LONGEST_READABLE {
        return format!("v=1&{plain}");
    }
    let packed = pack::pack(&join(&parts, |value| value.replace('%', "%25").replace('&', "%26")));
    format!("v=2&z={packed}")
}

fn join(parts: &[(String, String)], encode: impl Fn(&str) -> String) -> String {
    parts.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect::<Vec<_>>().join("&")
}

/// Keys and values of the readable form, not encoded; without the version.
pub fn readable(experiment: &Experiment) -> Vec<(String, String)> {
    let mut parts = vec![("m".to_string(), experiment.model.clone()), ("p".into(), experiment.prompt.clone())];
    if let Some(prompt) = &experiment.prompt_b {
        parts.push(("pb".into(), prompt.clone()));
    }
    if !experiment.bos {
        parts.push(("bos".into(), "0".into()));
    }
    if experiment.seed != 0 {
        parts.push(("seed".into(), experiment.seed.to_string()));
    }
    parts.extend(write_draw(&experiment.draw));
    for (name, pane) in PANE_NAMES.iter().zip(&experiment.panes) {
        parts.push((name.to_string(), pane.stack.iter().map(write_chip).collect::<Vec<_>>().join(",")));
    }
    parts.extend(write_view(&experiment.view));
    parts.extend(instruments::write(&experiment.instruments));
    parts
}

fn write_chip(chip: &Chip) -> String {
    let values: Vec<_> = chip.values.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    if values.is_empty() { chip.id.clone() } else { format!("{}({})", chip.id, values.join(",")) }
}

/// The chips of one pane as they stand in a link, for example `streaming_window(window:32),alibi`. What a link would leave
/// out with a notice is an error here.
///
/// # Errors
/// [`Error::Parse`](crate::Error::Parse) and what [`read`] refuses.
pub fn stack(text: &str) -> Result<Vec<Chip>> {
    let opened = read(&format!("a={text}"))?;
    if let Some(notice) = opened.notices.first() {
        return Err(Error::parse("stack", notice));
    }
    Ok(opened.experiment.panes.into_iter().next().map(|pane| pane.stack).unwrap_or_default())
}

/// Reads a hash, with or without `#`.
///
/// # Errors
/// [`Error::Parse`] for a newer version, a broken escape, a compressed part that is damaged, or a value of a known key
/// that cannot be read; [`Error::Limit`] and [`Error::Param`] from [`Experiment::check`].
pub fn read(hash: &str) -> Result<Opened> {
    Error::within("link", "bytes", hash.len(), LONGEST_READ)?;
    let hash = hash.trim_start_matches('#');
    let parts = || hash.split('&').filter(|part| !part.is_empty());
    if !parts().any(|part| part == "v=2") {
        return read_readable(hash);
    }
    let packed = parts().find_map(|part| part.strip_prefix("z="));
    let packed = packed.ok_or_else(|| Error::parse("link", "the part z is missing; copy it once more, as a whole"))?;
    let beside = parts().filter(|part| *part != "v=2" && !part.starts_with("z="));
    let all: Vec<String> = [pack::unpack(packed)?].into_iter().chain(beside.map(str::to_string)).collect();
    read_readable(&all.join("&"))
}

fn read_readable(hash: &str) -> Result<Opened> {
    let mut experiment = Experiment::default();
    // The default example has a pin of its own; a link that names none means the plain view.
    if !hash.is_empty() {
        experiment.view = View::default();
    }
    let mut notices = Vec::new();
    let mut panes: Vec<Pane> = Vec::new();
    for part in hash.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value =
            percent_decode_str(value).decode_utf8().map_err(|_| Error::parse("link", format!("{key} is not UTF-8")))?;
        match key {
            "v" if value != "1" => {
                return Err(Error::parse("link", format!("version {value} is newer than this page; reload it")));
            }
            "v" => {}
            "m" => experiment.model = value.into_owned(),
            "p" => experiment.prompt = value.into_owned(),
            "pb" => experiment.prompt_b = Some(value.into_owned()),
            "bos" => experiment.bos = value != "0",
            "seed" => experiment.seed = number(key, &value)?,
            _ if PANE_NAMES.get(panes.len()) == Some(&key) => panes.push(Pane { stack: read_stack(&value)? }),
            _ => {
                let known = read_draw(&mut experiment.draw, key, &value)?
                    || read_view(&mut experiment.view, key, &value)?
                    || instruments::read(&mut experiment.instruments, key, &value)?;
                if !known {
                    notices.push(format!("link: {key} is not known here and was left out"));
                }
            }
        }
    }
    if !panes.is_empty() {
        experiment.panes = panes;
    }
    experiment.check()?;
    Ok(Opened { experiment, notices })
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| Error::parse("link", format!("{key} is {value}, which is not a number")))
}

fn write_draw(draw: &Draw) -> Vec<(String, String)> {
    let plain = Draw::default();
    let pairs = [
        ("n", draw.tokens != plain.tokens, draw.tokens.to_string()),
        ("t", draw.temperature != plain.temperature, draw.temperature.to_string()),
        ("topk", draw.top_k != plain.top_k, draw.top_k.to_string()),
        ("topp", draw.top_p != plain.top_p, draw.top_p.to_string()),
    ];
    pairs.into_iter().filter(|(_, differs, _)| *differs).map(|(key, _, value)| (key.to_string(), value)).collect()
}

/// Reads one key of the sampling; false when it is not one.
fn read_draw(draw: &mut Draw, key: &str, value: &str) -> Result<bool> {
    match key {
        "n" => draw.tokens = number(key, value)?,
        "t" => draw.temperature = number(key, value)?,
        "topk" => draw.top_k = number(key, value)?,
        "topp" => draw.top_p = number(key, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn write_view(view: &View) -> Vec<(String, String)> {
    let plain = View::default();
    let mut parts = Vec::new();
    let mut say = |key: &str, differs: bool, value: String| {
        if differs {
            parts.push((key.to_string(), value));
        }
    };
    say("pin", view.pin != plain.pin, view.pin.to_string());
    say("q", view.query.is_some(), view.query.unwrap_or_default().to_string());
    say("k", view.key.is_some(), view.key.unwrap_or_default().to_string());
    say("show", view.quantity != plain.quantity, view.quantity.word().into());
    say("scale", view.scale != plain.scale, view.scale.word().into());
    say("tab", view.tab != plain.tab, view.tab.word().into());
    say("metric", view.metric != plain.metric, view.metric.word().into());
    say("order", view.order != plain.order, view.order.word().into());
    say("wall", view.wall != plain.wall, view.wall.to_string());
    say("eps", view.epsilon != plain.epsilon, view.epsilon.to_string());
    say("pos", view.position != plain.position, view.position.to_string());
    say("paper", view.paper != plain.paper, view.paper.clone());
    parts
}

/// Reads one key of the view; false when it is not one.
fn read_view(view: &mut View, key: &str, value: &str) -> Result<bool> {
    match key {
        "pin" => view.pin = value.parse()?,
        "q" => view.query = Some(number(key, value)?),
        "k" => view.key = Some(number(key, value)?),
        "show" => view.quantity = value.parse()?,
        "scale" => view.scale = value.parse()?,
        "tab" => view.tab = value.parse()?,
        "metric" => view.metric = value.parse()?,
        "order" => view.order = value.parse()?,
        "wall" => view.wall = number(key, value)?,
        "eps" => view.epsilon = number(key, value)?,
        "pos" => view.position = number(key, value)?,
        "paper" => view.paper = value.into(),
        _ => return Ok(false),
    }
    Ok(true)
}

/// `alibi(slope_range:4),softmax` → chips.
fn read_stack(text: &str) -> Result<Vec<Chip>> {
    let mut chips = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['(', ',']).unwrap_or(rest.len());
        let mut chip = Chip::new(&rest[..end]);
        rest = &rest[end..];
        if let Some(inside) = rest.strip_prefix('(') {
            let close =
                inside.find(')').ok_or_else(|| Error::parse("link", format!("{text} lacks a closing bracket")))?;
            for pair in inside[..close].split(',').filter(|pair| !pair.is_empty()) {
                let (key, value) = pair
                    .split_once(':')
                    .ok_or_else(|| Error::parse("link", format!("{pair} is not like key:value")))?;
                let Ok(value) = value.parse();
                chip.values.insert(key.into(), value);
            }
            rest = &inside[close + 1..];
        }
        chips.push(chip);
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Ok(chips)
}
