//! Everything as one HTML file that opens from disk: no script, no network.

use super::figure::{matrices, provenance, wall};
use super::ink::escape;
use super::shown::Screen;
use super::{again, numbers};
use crate::ui::format;
use crate::ui::stage::colour::Palette;
use crate::ui::stage::scene::pane_letter;

const STYLE: &str = "body{max-width:80rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:#14191b;background:#fff}\
    svg{max-width:100%;height:auto}figure{margin:1.5rem 0}table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ccc;text-align:left}\
    pre{overflow:auto;padding:1rem;background:#eef1f1}";

/// The file.
///
/// # Errors
/// A sentence, when the numbers cannot be written.
pub fn html(screen: &Screen, palette: &Palette) -> Result<String, String> {
    let title = format!("{} of {}", screen.head, screen.outcome.model.id);
    let some = |value: Option<f32>| value.map_or_else(|| "–".into(), format::four);
    let rows: String = screen
        .numbers()
        .panes
        .iter()
        .enumerate()
        .map(|(index, pane)| {
            let next: Vec<_> = pane
                .next
                .iter()
                .take(5)
                .map(|next| format!("{:?} {}", next.text, format::four(next.probability)))
                .collect();
            format!(
                "<tr><td>{} {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                pane_letter(index),
                escape(&screen.titles.get(index).cloned().unwrap_or_default()),
                some(pane.loss),
                some(pane.delta_loss),
                some(pane.kl_next),
                escape(&next.join(", "))
            )
        })
        .collect();
    let python = again::python(screen).map_or(String::new(), |text| format!("<pre>{}</pre>", escape(&text)));
    // Inside a script element only its end tag has a meaning.
    let data = numbers::json(screen)?.replace("</", "<\\/");
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}: attnscope</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{sentence}</p>\n\
         <figure>{matrices}</figure>\n<figure>{wall}</figure>\n\
         <table><tr><th>Pane</th><th>Loss, nats</th><th>Δ loss</th><th>KL of the next token</th><th>Next tokens</th></tr>{rows}</table>\n\
         <p>{provenance}. <a href=\"{address}\">Open it live.</a></p>\n<h2>The same numbers again</h2>\n<pre>{command}</pre>\n{python}\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n</body></html>\n",
        title = escape(&title),
        sentence = escape(&screen.sentence()),
        matrices = matrices(screen, palette),
        wall = wall(screen, palette),
        provenance = escape(&provenance(screen)),
        address = escape(&again::address(screen)),
        command = escape(&again::command(screen)),
    ))
}
