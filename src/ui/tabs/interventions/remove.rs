//! Heads taken out: chosen by a click on the grid of what each head alone does, and what is left without them.

use super::grid::{Drawn, Effects};
use super::is_short;
use crate::experiment::{Chip, Effect as By, Head, Pane, Removal};
use crate::lens::analysis;
use crate::lens::finding::{Ablated, Finding, Found};
use crate::outcome::{Candidate, Token};
use crate::ui::format::{fixed, four, millis, plain, signed};
use crate::ui::segment::segment;
use crate::ui::stage::scene::pane_letter;
use crate::ui::store::Store;
use crate::ui::tabs::asked::{AskedFor, Progress, name};
use crate::ui::tabs::wall_pane;
use leptos::prelude::*;

/// Longer prompts are swept over when the visitor says so.
const SWEPT_AT_ONCE: usize = 64;
/// Tokens shown beside each other.
const NEXT: usize = 6;

/// The part of the tab.
#[component]
pub fn Remove() -> impl IntoView {
    let store = Store::here();
    let pane = wall_pane(store);
    Effect::new(move |_| {
        store.experiment.track();
        if !store.ready() {
            return;
        }
        store.request_finding(pane.get(), "ablation", false);
        if is_short(store, SWEPT_AT_ONCE) {
            store.request_finding(pane.get(), "sweep", false);
        }
    });
    let ablation = Memo::new(move |_| store.finding(pane.get(), "ablation"));
    let sweep = Memo::new(move |_| store.finding(pane.get(), "sweep"));
    let taken = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.ablate.clone()));
    let finding = Signal::derive(move || ablation.with(|answered| answered.fetched.value.clone()));
    let toggle = move |head: Head| {
        store.edit(|experiment| {
            let heads = &mut experiment.instruments.ablate;
            match heads.iter().position(|other| *other == head) {
                Some(at) => drop(heads.remove(at)),
                None => heads.push(head),
            }
            heads.sort_unstable();
        });
    };
    let drawn = Drawn {
        finding: Signal::derive(move || sweep.with(|answered| answered.fetched.value.clone())),
        sheet: Signal::derive(move || store.experiment.with(|experiment| experiment.instruments.effect.word())),
        turned: Signal::stored(false),
        chosen: Callback::new(move |(layer, head)| taken.with(|taken| taken.contains(&Head { layer, head }))),
        choose: Callback::new(move |(layer, head)| toggle(Head { layer, head })),
        test: "sweep-table",
    };
    let chips = move || {
        let one = |head: Head| {
            view! {
                <button type="button" class="chip" data-test="taken" data-head=head.to_string() title="Put it back" on:click=move |_| toggle(head)>
                    <span class="mono">{head.to_string()}</span><span class="x" aria-hidden="true">"×"</span>
                </button>
            }
        };
        taken.get().into_iter().map(one).collect_view()
    };
    let none = move || taken.with(Vec::is_empty);
    let waiting = move || ablation.with(|answered| !answered.fresh || answered.fetched.pending);
    let trouble = move || ablation.with(|answered| answered.fetched.trouble.clone().map(|trouble| trouble.message));
    let source = analysis::by_id("ablation").map(|analysis| analysis.source).unwrap_or_default();
    view! {
        <p class="verdict" data-test="ablation-verdict">{move || finding.with(|f| f.as_ref().map(|f| sentence(f, pane.get())))}</p>
        {move || trouble().map(|message| view! { <p class="bad" role="alert">{message}</p> })}
        <AskedFor finding/>
        <Settings/>
        <figure>
            <figcaption class="sub"><strong>"Without each head alone"</strong><span>"click heads to take them out together"</span></figcaption>
            <Progress
                answered=Signal::derive(move || sweep.get())
                again=Callback::new(move |()| store.request_finding(pane.get_untracked(), "sweep", true))
            />
            <Effects drawn/>
        </figure>
        <div class="taken" data-test="taken-heads">
            <span class="soft">"Taken out:"</span>
            {chips}
            <span class="muted" hidden=move || !none()>"none yet; click a head above"</span>
            <button
                type="button" class="btn ghost" hidden=none data-test="put-back"
                on:click=move |_| store.edit(|experiment| experiment.instruments.ablate.clear())
            >
                "Put all back"
            </button>
        </div>
        <div
            class:waiting=waiting data-test="ablation" data-fresh=move || (!waiting() && finding.with(Option::is_some)).to_string()
            data-millis=move || finding.with(|finding| finding.as_ref().map(|finding| finding.millis))
        >
            {move || finding.get().and_then(|finding| match &finding.found {
                Found::Ablated(ablated) => Some(result(&finding, ablated)),
                _ => None,
            })}
        </div>
        <Sink/>
        <p class="cap">{format!("Means and uniform rows are those of this prompt. After {source}.")}</p>
    }
}

/// The result in a sentence.
fn sentence(finding: &Finding, pane: usize) -> String {
    let Found::Ablated(found) = &finding.found else { return String::new() };
    let letter = pane_letter(pane);
    if found.heads.is_empty() {
        return format!("Every head of {letter} is in place. Take some out and see what the model loses.");
    }
    let heads: Vec<_> = found.heads.iter().map(ToString::to_string).collect();
    let token = name(finding, finding.asked.answer);
    let (whole, without) = (found.log_prob.0.exp(), found.log_prob.1.exp());
    let loss = found
        .loss
        .map(|(whole, without)| format!(", and the loss changes by {} nats per token", signed(without - whole, 3)));
    format!(
        "Without {} in {letter}, “{token}” goes from {} to {}{}.",
        heads.join(", "),
        percent(whole),
        percent(without),
        loss.unwrap_or_default()
    )
}

/// A probability in percent, with as many digits as a small one needs.
fn percent(share: f32) -> String {
    if share >= 1e-3 { format!("{:.1}%", 100.0 * share) } else { format!("{}%", four(100.0 * share)) }
}

/// Numbers and next tokens, whole and without.
fn result(finding: &Finding, found: &Ablated) -> impl IntoView + use<> {
    let token = name(finding, finding.asked.answer);
    let row = |name: String, (whole, without): (f32, f32)| {
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td class="num">{fixed(whole, 3)}</td>
                <td class="num">{fixed(without, 3)}</td>
                <td class="num hi">{signed(without - whole, 3)}</td>
            </tr>
        }
    };
    let mut next = found.next.clone();
    next.sort_by(|a, b| (b.probability.max(b.probability_a)).total_cmp(&a.probability.max(a.probability_a)));
    let candidate = |next: Candidate| {
        let text = plain(&Token { text: next.text.clone(), ..Token::default() });
        view! {
            <tr data-test="ablation-next" data-token-id=next.id data-whole=next.probability_a data-without=next.probability>
                <td class="mono">{text}</td>
                <td class="num">{format!("{:.1}%", 100.0 * next.probability_a)}</td>
                <td class="num">{format!("{:.1}%", 100.0 * next.probability)}</td>
                <td class="num">{format!("{}%", signed(100.0 * (next.probability - next.probability_a), 1))}</td>
            </tr>
        }
    };
    let loss = found.loss.map(|loss| row("Loss, nats per token".into(), loss));
    view! {
        <table
            class="tbl compare" data-test="ablation-numbers" data-log-prob=found.log_prob.1 data-whole=found.log_prob.0
            data-divergence=found.divergence data-loss=found.loss.map(|loss| loss.1)
        >
            <thead><tr><th scope="col"></th><th scope="col">"Whole"</th><th scope="col">"Without"</th><th scope="col">"Change"</th></tr></thead>
            <tbody>
                {row(format!("log P of {token}"), found.log_prob)}
                {loss}
                <tr><th scope="row" colspan="3">"KL(whole ‖ without) here, nats"</th><td class="num">{fixed(found.divergence, 4)}</td></tr>
                <tr><th scope="row" colspan="3">"The same, mean over positions"</th><td class="num">{fixed(found.mean_divergence, 4)}</td></tr>
            </tbody>
            <thead><tr><th scope="col">"Next token"</th><th scope="col"></th><th scope="col"></th><th scope="col"></th></tr></thead>
            <tbody>{next.into_iter().take(NEXT).map(candidate).collect_view()}</tbody>
        </table>
        <p class="cap">{format!("{} ms on the processor, computed again from layer {} on.", millis(finding.millis), found.from_layer)}</p>
    }
}

/// How heads are taken out, and by which number each is judged.
#[component]
fn Settings() -> impl IntoView {
    let effect = |effect| match effect {
        By::Loss => "Δ loss",
        By::Divergence => "KL",
        By::LogProb => "Δ log P",
    };
    view! {
        <div class="row wrap">
            {segment("how", "What stands in a head’s place", Removal::word, |set| set.how, |set, how| set.how = how)}
            {segment("effect", "Number of each head", effect, |set| set.effect, |set, effect| set.effect = effect)}
        </div>
    }
}

/// Interventions on the sink, which are mechanisms and switches of their own.
#[component]
fn Sink() -> impl IntoView {
    let store = Store::here();
    let bos = move || store.experiment.with(|experiment| experiment.bos);
    let beside = move |name: &'static str, help: &'static str, mine: Chip, alone: bool| {
        let set = move |_| {
            let mine = mine.clone();
            store.edit(|experiment| {
                let a = experiment.panes.first().cloned().unwrap_or_default();
                let below = (!alone).then(|| Chip::new("softmax"));
                experiment.panes = vec![a, Pane { stack: std::iter::once(mine).chain(below).collect() }];
            });
        };
        view! { <button type="button" class="btn" title=help data-test="sink-act" on:click=set>{name}</button> }
    };
    view! {
        <div>
            <p class="sub"><strong>"On the sink instead"</strong><span>"in pane B, beside A"</span></p>
            <div class="acts">
                <button
                    type="button" class="btn" data-test="sink-bos" aria-pressed=move || bos().to_string()
                    on:click=move |_| store.edit(|experiment| experiment.bos = !experiment.bos)
                >
                    {move || if bos() { "Remove BOS" } else { "Put BOS in front" }}
                </button>
                {beside("Give it a slot", "A slot beside the keys takes weight that no key needs.", Chip::new("attention_sink_operators"), true)}
                {beside("Lose it", "A window of 8 that keeps no sink token.", Chip::new("streaming_window").with("sinks", 0.0).with("window", 8.0), false)}
                {beside("Turn later ones down", "Attention calibration.", Chip::new("attention_calibration"), false)}
            </div>
        </div>
    }
}
