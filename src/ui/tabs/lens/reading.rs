//! One reading of the lens in full: the likeliest tokens, and where the explained and the real next token stand.

use super::{Spot, depth_name, reading};
use crate::lens::finding::Found;
use crate::ui::format::{fixed, plain};
use crate::ui::stage::scene::pane_letter;
use crate::ui::store::Store;
use crate::ui::tabs::asked::{name, place};
use leptos::prelude::*;

/// Rows keep their number, so that nothing moves while the pointer does.
const ROWS: usize = 5;

/// The reading of a cell.
#[component]
pub fn ReadingOf(shown: Memo<Option<Spot>>) -> impl IntoView {
    let store = Store::here();
    let body = move || {
        let (pane, depth, position) = shown.get()?;
        let finding = store.finding(pane, "logit_lens").fetched.value?;
        let Found::Readings(lens) = &finding.found else { return None };
        let read = reading(lens, depth, position)?;
        let title = match depth_name(depth, lens.depths).as_str() {
            "emb" => "Embedding".to_string(),
            "out" => format!("Output of {}", pane_letter(pane)),
            layer => format!("After {layer} in {}", pane_letter(pane)),
        };
        let row = |index: usize| {
            let (text, share) = match read.top.get(index) {
                Some((id, share)) => (name(&finding, *id), Some(*share)),
                None => (String::new(), None),
            };
            let width = format!("width:{:.1}%", 100.0 * share.unwrap_or(0.0));
            view! {
                <tr data-test="reading-token" data-share=share>
                    <td class="mono">{text}</td>
                    <td><span class="meter" aria-hidden="true"><i style=width></i></span></td>
                    <td class="num">{share.map(|share| format!("{:.1}%", 100.0 * share))}</td>
                </tr>
            }
        };
        let rank = |rank: usize| format!("rank {}", rank + 1);
        let answer = read
            .tracked
            .map(|(share, at)| format!("{} {:.2}%, {}", name(&finding, finding.asked.answer), 100.0 * share, rank(at)));
        let next = read
            .rank
            .zip(read.loss)
            .zip(finding.tokens.get(position + 1))
            .map(|((at, loss), next)| format!("{} {:.2}%, {}", plain(next), 100.0 * (-loss).exp(), rank(at)));
        Some(view! {
            <p class="sub"><strong>{title}</strong><span class="mono">{place(&finding, position)}</span></p>
            <table class="tbl reading"><tbody>{(0..ROWS).map(row).collect_view()}</tbody></table>
            <dl class="facts small">
                <dt>"Explained token"</dt><dd>{answer.unwrap_or_else(|| "–".into())}</dd>
                <dt>"Real next token"</dt><dd>{next.unwrap_or_else(|| "the text ends here".into())}</dd>
                <dt>"Entropy"</dt><dd>{format!("{} nats", fixed(read.entropy, 2))}</dd>
                <dt>"KL(output ‖ this)"</dt><dd>{format!("{} nats", fixed(read.divergence, 3))}</dd>
            </dl>
        })
    };
    view! { <div class="reading-box" data-test="reading">{body}</div> }
}
