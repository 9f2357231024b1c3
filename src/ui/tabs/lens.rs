//! Lens: what each layer would say, and what each part of the model adds to one logit.

mod parts;
mod reading;

use super::asked::{AskedFor, name, place};
use super::heat::{Cell, Cells, Heat, Legend};
use super::wall_pane;
use crate::experiment::{LensLayout, LensNorm};
use crate::lens::analysis;
use crate::lens::finding::{Finding, Found, LogitLens, Reading};
use crate::ui::segment::segment;
use crate::ui::stage::colour::{Palette, Scaling};
use crate::ui::stage::scene::{palette, pane_letter};
use crate::ui::store::Store;
use crate::ui::store::analyses::Answered;
use leptos::prelude::*;
use parts::Parts;
use reading::ReadingOf;
use std::sync::Arc;

/// Probabilities from 0 to 1.
const SHARES: Scaling = Scaling { diverging: false, high: 1.0, root: false, clipped: false, fitted: false };

/// The tab.
#[component]
pub fn LensTab() -> impl IntoView {
    let store = Store::here();
    let pane = wall_pane(store);
    let layout = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.layout));
    let panes = Memo::new(move |_| store.experiment.with(|experiment| experiment.panes.len()));
    Effect::new(move |_| {
        store.experiment.track();
        if !store.ready() {
            return;
        }
        match layout.get() {
            LensLayout::Compact => (0..panes.get()).for_each(|pane| store.request_finding(pane, "logit_lens", false)),
            _ => store.request_finding(pane.get(), "logit_lens", false),
        }
        store.request_finding(pane.get(), "attribution", false);
    });
    let answered = Memo::new(move |_| store.finding(pane.get(), "logit_lens"));
    let finding = Signal::derive(move || answered.with(|answered| answered.fetched.value.clone()));
    let verdict =
        move || finding.with(|finding| finding.as_ref().map_or("Reading …".into(), |f| sentence(f, pane.get())));
    let trouble = move || answered.with(|answered| answered.fetched.trouble.clone().map(|trouble| trouble.message));
    view! {
        <div
            class="stack" data-test="lens" class:waiting=move || answered.with(|answered| !answered.fresh || answered.fetched.pending)
            data-fresh=move || answered.with(|a| a.fresh && !a.fetched.pending && a.fetched.value.is_some()).to_string()
            data-millis=move || finding.with(|finding| finding.as_ref().map(|finding| finding.millis))
        >
            {move || trouble().map(|message| view! { <p class="verdict bad" role="alert">{message}</p> })}
            <p class="verdict" data-test="lens-verdict">{verdict}</p>
            <AskedFor finding/>
            <Settings/>
            <LensTable pane layout panes finding/>
            <Parts pane/>
        </div>
    }
}

/// Where the answer comes from, in a sentence.
fn sentence(finding: &Finding, pane: usize) -> String {
    let Found::Readings(lens) = &finding.found else { return String::new() };
    let letter = pane_letter(pane);
    let (token, at) = (name(finding, finding.asked.answer), place(finding, finding.asked.query));
    let Some(end) = reading(lens, lens.depths - 1, finding.asked.query) else {
        return format!("The lens reads the last {} tokens; {at} is not among them.", lens.tokens);
    };
    let share = end.tracked.map_or(0.0, |(share, _)| share);
    let first = |depth: &usize| {
        (*depth..lens.depths).all(|later| {
            reading(lens, later, finding.asked.query)
                .and_then(|reading| reading.tracked)
                .is_some_and(|(_, rank)| rank == 0)
        })
    };
    let since = match (0..lens.depths).find(first) {
        None => "no layer has it first at the end".into(),
        Some(0) => "it is first from the embedding on".into(),
        Some(depth) => format!("it is first from layer {} on", depth - 1),
    };
    format!("After {at}, {letter} gives “{token}” {:.1}%; {since}.", 100.0 * share)
}

/// One reading by depth and position of the prompt.
fn reading(lens: &LogitLens, depth: usize, position: usize) -> Option<&Reading> {
    let at = position.checked_sub(lens.first).filter(|at| *at < lens.tokens)?;
    lens.readings.get(depth * lens.tokens + at)
}

/// A depth as a heading: the embedding, then what is there after each layer; the last is the output.
fn depth_name(depth: usize, depths: usize) -> String {
    match depth {
        0 => "emb".into(),
        depth if depth + 1 == depths => "out".into(),
        depth => format!("L{}", depth - 1),
    }
}

/// Layout and norm.
#[component]
fn Settings() -> impl IntoView {
    let layout = |layout| match layout {
        LensLayout::Positions => "Tokens down",
        LensLayout::Layers => "Layers down",
        LensLayout::Compact => "One token, all panes",
    };
    let norm = |norm| match norm {
        LensNorm::Final => "Final norm",
        LensNorm::None => "No norm",
    };
    view! {
        <div class="row wrap">
            {segment("lens-layout", "Layout of the lens", layout, |set| set.layout, |set, layout| set.layout = layout)}
            {segment("lens-norm", "Norm of the lens", norm, |set| set.norm, |set, norm| set.norm = norm)}
        </div>
    }
}

/// What a cell of the table reads: pane, depth, position.
type Spot = (usize, usize, usize);

/// The readings.
#[component]
fn LensTable(
    pane: Memo<usize>,
    layout: Memo<LensLayout>,
    panes: Memo<usize>,
    #[prop(into)] finding: Signal<Option<Arc<Finding>>>,
) -> impl IntoView {
    let store = Store::here();
    let colours = palette(store);
    let every = Memo::new(move |_| match layout.get() {
        LensLayout::Compact => {
            (0..panes.get()).map(|pane| store.finding(pane, "logit_lens")).collect::<Vec<Answered>>()
        }
        _ => Vec::new(),
    });
    let cells = Memo::new(move |_| {
        let made = colours.with(|palette| match layout.get() {
            LensLayout::Compact => every.with(|every| compact(every, palette)),
            layout => finding.with(|finding| finding.as_ref().map(|finding| laid_out(finding, layout, palette))),
        });
        Arc::new(made.unwrap_or_default())
    });
    let at = RwSignal::new(None);
    let spot = move |(row, column): (usize, usize)| -> Option<Spot> {
        let finding = finding.get()?;
        let Found::Readings(lens) = &finding.found else { return None };
        Some(match layout.get() {
            LensLayout::Positions => (pane.get(), column, lens.first + row),
            LensLayout::Layers => (pane.get(), row, lens.first + column),
            LensLayout::Compact => (row, column, finding.asked.query),
        })
    };
    // What is read: the cell under the pointer, else the output at the explained position.
    let shown = Memo::new(move |_| {
        let end = finding.with(|finding| {
            finding.as_ref().and_then(|finding| match &finding.found {
                Found::Readings(lens) => Some((pane.get(), lens.depths - 1, finding.asked.query)),
                _ => None,
            })
        });
        at.get().and_then(spot).or(end)
    });
    let choose = move |cell: (usize, usize)| {
        if let Some((_, _, position)) = spot(cell) {
            store.look(|view| view.query = if view.query == Some(position) { None } else { Some(position) });
        }
    };
    let label = move || {
        format!(
            "Logit lens of pane {}: likeliest token after each layer, shaded by its probability",
            pane_letter(pane.get())
        )
    };
    let norm = Memo::new(move |_| store.experiment.with(|experiment| experiment.instruments.norm));
    let said = move || match norm.get() {
        LensNorm::Final => {
            "Each vector goes through the model’s final norm, with statistics of its own, and the model’s own vocabulary head; \
             “out” is the real output."
        }
        LensNorm::None => {
            "Each vector goes to the model’s own vocabulary head as it is, without the final norm; so “out” is not the real output."
        }
    };
    let source = analysis::by_id("logit_lens").map(|analysis| analysis.source).unwrap_or_default();
    view! {
        <figure class:along=move || layout.get() == LensLayout::Layers>
            <figcaption class="sub"><strong>"Logit lens"</strong><span>"click a cell to pin its token"</span></figcaption>
            <Heat label=Signal::derive(label) cells at choose=Callback::new(choose) test="lens-table"/>
            <Legend scaling=Signal::stored(SHARES) name=Signal::stored("probability of the token in the cell".to_string())/>
        </figure>
        <ReadingOf shown/>
        <p class="cap">{said}" "{format!("After {source}.")}</p>
    }
}

/// One cell.
fn cell(finding: &Finding, reading: &Reading, depth: String, position: usize, palette: &Palette) -> Cell {
    let Some((id, share)) = reading.top.first().copied() else { return Cell::default() };
    let text = name(finding, id);
    let label = format!("{depth}, {}: {text}, {:.0}%", place(finding, position), 100.0 * share);
    Cell {
        text,
        colour: Some(palette.along(false, SHARES.place(share))),
        label,
        value: share,
        on: position == finding.asked.query && depth == "out",
    }
}

/// Layers and positions, one way or the other.
fn laid_out(finding: &Finding, layout: LensLayout, palette: &Palette) -> Cells {
    let Found::Readings(lens) = &finding.found else { return Cells::default() };
    let depths: Vec<String> = (0..lens.depths).map(|depth| depth_name(depth, lens.depths)).collect();
    let places: Vec<String> = (lens.first..lens.first + lens.tokens).map(|at| place(finding, at)).collect();
    let one = |depth: usize, at: usize| {
        let reading = &lens.readings[depth * lens.tokens + at];
        cell(finding, reading, depth_name(depth, lens.depths), lens.first + at, palette)
    };
    let (all, last) = ((lens.depths, lens.tokens), lens.depths - 1);
    match layout {
        LensLayout::Layers => Cells {
            corner: "after".into(),
            cells: (0..all.0 * all.1).map(|index| one(index / all.1, index % all.1)).collect(),
            rows: depths,
            columns: places,
            last: (Some(last), None),
        },
        _ => Cells {
            corner: "token".into(),
            cells: (0..all.0 * all.1).map(|index| one(index % all.0, index / all.0)).collect(),
            rows: places,
            columns: depths,
            last: (None, Some(last)),
        },
    }
}

/// One row for each pane, at the explained position; `None` while one is missing.
fn compact(every: &[Answered], palette: &Palette) -> Option<Cells> {
    let mut cells = Cells { corner: "pane".into(), ..Cells::default() };
    for (pane, answered) in every.iter().enumerate() {
        let finding = answered.fetched.value.as_ref()?;
        let Found::Readings(lens) = &finding.found else { return None };
        cells.rows.push(pane_letter(pane));
        cells.columns = (0..lens.depths).map(|depth| depth_name(depth, lens.depths)).collect();
        cells.last = (None, Some(lens.depths - 1));
        for depth in 0..lens.depths {
            let read = reading(lens, depth, finding.asked.query);
            let one = |read| cell(finding, read, depth_name(depth, lens.depths), finding.asked.query, palette);
            cells.cells.push(read.map(one).unwrap_or_default());
        }
    }
    Some(cells)
}
