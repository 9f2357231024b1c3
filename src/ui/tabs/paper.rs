//! A mechanism's page: claim, formula, source, how it was obtained, and its laws checked on this device.

use crate::catalogue::{Entry, Provenance, Role};
use crate::experiment::{Chip, Pane};
use crate::ui::exhibits::Exhibits;
use crate::ui::format::four;
use crate::ui::store::Store;
use leptos::prelude::*;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// The tab.
#[component]
pub fn PaperTab() -> impl IntoView {
    let store = Store::here();
    let shown = Memo::new(move |_| chosen(store));
    let entry = Memo::new(move |_| store.entry(&shown.get()));
    Effect::new(move |_| {
        if store.ready() {
            store.request_laws(&shown.get());
        }
    });
    let used = Memo::new(move |_| in_panes(store));
    let options = move || {
        let used = used.get();
        let mut entries: Vec<_> =
            store.catalogue().iter().map(|entry| (entry.id.clone(), entry.name.clone())).collect();
        entries.sort_by_key(|(id, _)| used.iter().position(|used| used == id).unwrap_or(usize::MAX));
        let rest = entries.iter().position(|(id, _)| !used.contains(id)).unwrap_or(entries.len());
        let option = move |(id, name): (String, String)| {
            let own = id.clone();
            view! { <option value=id selected=move || shown.get() == own>{name}</option> }
        };
        let others = entries.split_off(rest);
        view! {
            <optgroup label="On screen">{entries.into_iter().map(option).collect_view()}</optgroup>
            {(!others.is_empty()).then(|| {
                view! { <optgroup label="Others">{others.into_iter().map(option).collect_view()}</optgroup> }
            })}
        }
    };
    let body = move || match entry.get() {
        Some(entry) => view! { <Page entry/> }.into_any(),
        None => {
            let id = shown.get();
            view! { <p class="verdict">{format!("{id} is not in the catalogue.")}</p> }.into_any()
        }
    };
    let choose = move |id: String| store.look(|view| view.paper = id);
    view! {
        <div class="stack" data-test="paper" data-mechanism=move || shown.get()>
            <label class="row">
                "Mechanism "
                <select
                    class="grow" data-test="paper-choice" prop:value=move || shown.get()
                    on:change:target=move |event| choose(event.target().value())
                >
                    {options}
                </select>
            </label>
            {body}
        </div>
    }
}

/// Ids of the mechanisms on screen, those of B first since B is what is being tried.
fn in_panes(store: Store) -> Vec<String> {
    store.experiment.with(|experiment| {
        let (a, rest) = experiment.panes.split_at(experiment.panes.len().min(1));
        let mut ids: Vec<String> = Vec::new();
        for chip in rest.iter().chain(a).flat_map(|pane| &pane.stack) {
            if !ids.contains(&chip.id) {
                ids.push(chip.id.clone());
            }
        }
        ids
    })
}

/// The mechanism of the tab: the chosen one, else the first of pane B, else the first there is.
fn chosen(store: Store) -> String {
    let paper = store.experiment.with(|experiment| experiment.view.paper.clone());
    if !paper.is_empty() {
        return paper;
    }
    let first = store.catalogue().first().map(|entry| entry.id.clone()).unwrap_or_default();
    in_panes(store).into_iter().next().unwrap_or(first)
}

#[component]
fn Page(entry: Entry) -> impl IntoView {
    let store = Store::here();
    let neutral = entry.neutral.clone().map(|neutral| {
        let other = store.entry(&neutral.other).map_or(neutral.other.clone(), |entry| entry.name);
        let setting =
            neutral.values.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ");
        let what = format!("A: {other}. B: {}, {setting}. At this setting both are the same.", entry.name);
        let id = entry.id.clone();
        let normalizes = entry.role.excludes(Role::Normalizer);
        let compare = move |_| {
            store.edit(|experiment| {
                let mine = Chip { id: id.clone(), values: neutral.values.clone() };
                // A mechanism that does not take its place stands on plain softmax, as in the first example.
                let below = (!normalizes).then(|| Chip::new("softmax"));
                let with = Pane { stack: [mine].into_iter().chain(below).collect() };
                experiment.panes = vec![Pane { stack: vec![Chip::new(&neutral.other)] }, with];
                experiment.view.wall = 0;
            });
        };
        view! {
            <button type="button" class="btn" data-test="compare-neutral" title=what on:click=compare>
                "Compare with neutral"
            </button>
        }
    });
    let provenance = match entry.provenance {
        Provenance::Text => ("read from the text", "The definition was read from the paper’s text."),
        Provenance::Code => ("read from the code", "The definition was read from the authors’ code."),
        Provenance::Reconstruction => {
            ("reconstruction", "Text and code were silent; the definition is our reconstruction.")
        }
    };
    let id = entry.id.clone();
    let held = move || {
        let laws = store.laws(&id);
        match laws.value {
            Some(laws) => {
                let held = laws.iter().filter(|law| law.holds).count();
                let all = laws.len();
                let class = if held == all { "tag ok" } else { "tag bad" };
                let words = format!("laws {held} of {all} {}", if held == all { "✓" } else { "✗" });
                view! { <span class=class data-test="laws-held" data-held=held data-of=all>{words}</span> }.into_any()
            }
            None if laws.pending => view! { <span class="tag">"checking laws …"</span> }.into_any(),
            None => view! { <span class="tag">"laws not checked yet"</span> }.into_any(),
        }
    };
    let number = entry.number.map(|number| format!("paper {number} · "));
    view! {
        <div class="row wrap">
            <span class="tag">{entry.role.title()}</span>
            <span class="tag" title=provenance.1 data-test="provenance">{provenance.0}</span>
            {held}
        </div>
        <p class="verdict"><b>{format!("{}. ", entry.name)}</b>{entry.summary.clone()}</p>
        <p class="soft">
            {number} {format!("{}, ", entry.authors)} <cite>{entry.title.clone()}</cite>
            {format!(", {}, {}", entry.year, entry.place)}
        </p>
        <p class="row wrap">
            {neutral}
            <a
                class="btn ghost" href=entry.url.clone() target="_blank" rel="noopener noreferrer" data-test="source"
            >
                "Read the paper"
            </a>
        </p>
        <Exhibits entry=entry.clone()/>
        <Laws entry=entry.clone()/>
        <article class="page-text" inner_html=rendered(&entry.page)></article>
    }
}

/// Every law with the largest deviation found here.
#[component]
fn Laws(entry: Entry) -> impl IntoView {
    let store = Store::here();
    let Entry { id, laws, .. } = entry;
    let unchecked = |law: &String| {
        view! { <tr><th scope="row">{law.clone()}</th><td class="num lo">"not run yet"</td></tr> }
    };
    let rows = move || {
        let fetched = store.laws(&id);
        if let Some(trouble) = fetched.trouble {
            return view! { <tr><td colspan="2" class="bad">{trouble.message}</td></tr> }.into_any();
        }
        match fetched.value {
            Some(reports) => reports
                .iter()
                .map(|report| {
                    let words = format!("{} {}", four(report.deviation), if report.holds { "✓" } else { "✗ fails" });
                    view! {
                        <tr
                            data-test="law" data-holds=report.holds.to_string()
                            data-deviation=report.deviation data-allowed=report.allowed
                        >
                            <th scope="row">{report.law.clone()}</th>
                            <td class="num" class:bad=!report.holds>{words}<small>{format!("allowed {}", four(report.allowed))}</small></td>
                        </tr>
                    }
                })
                .collect_view()
                .into_any(),
            None => laws.iter().map(unchecked).collect_view().into_any(),
        }
    };
    view! {
        <table class="tbl" data-test="laws">
            <thead><tr><th scope="col">"Law"</th><th scope="col">"Largest deviation on this device"</th></tr></thead>
            <tbody>{rows}</tbody>
        </table>
    }
}

/// A page's Markdown as HTML, without its first heading, which repeats the name. Raw HTML is shown as text: pages are
/// ours, but nothing in them needs it.
fn rendered(page: &str) -> String {
    let mut title = false;
    let events = Parser::new_ext(page, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) => {
            title = true;
            None
        }
        Event::End(TagEnd::Heading(HeadingLevel::H1)) => {
            title = false;
            None
        }
        _ if title => None,
        // The panel's own heading is a second level, so a page's sections are third.
        Event::Start(Tag::Heading { level: HeadingLevel::H2, id, classes, attrs }) => {
            Some(Event::Start(Tag::Heading { level: HeadingLevel::H3, id, classes, attrs }))
        }
        Event::End(TagEnd::Heading(HeadingLevel::H2)) => Some(Event::End(TagEnd::Heading(HeadingLevel::H3))),
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        other => Some(other),
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}
