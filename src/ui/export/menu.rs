//! The sheet under the export button.

use super::figure::{matrices, wall};
use super::save::{blob, png, save};
use super::shown::Screen;
use super::{again, document, numbers};
use crate::ui::icons::{Glyph, Icon};
use crate::ui::overlay::Sheet;
use crate::ui::stage::colour::Palette;
use crate::ui::store::Store;
use crate::ui::topbar::copy_text;
use leptos::prelude::*;
use leptos::task::spawn_local;

/// What can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ware {
    MatricesPng,
    MatricesSvg,
    MatricesCsv,
    WallPng,
    WallSvg,
    WallCsv,
    Json,
    Npz,
    Html,
    Command,
    Python,
    Element,
}

impl Ware {
    /// The word in tests, and what stands on the button.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Ware::MatricesPng => ("matrices-png", "PNG"),
            Ware::MatricesSvg => ("matrices-svg", "SVG"),
            Ware::MatricesCsv => ("matrices-csv", "CSV"),
            Ware::WallPng => ("wall-png", "PNG"),
            Ware::WallSvg => ("wall-svg", "SVG"),
            Ware::WallCsv => ("wall-csv", "CSV"),
            Ware::Json => ("json", "JSON"),
            Ware::Npz => ("npz", "npz"),
            Ware::Html => ("html", "HTML page"),
            Ware::Command => ("command", "Command line"),
            Ware::Python => ("python", "Python"),
            Ware::Element => ("element", "HTML element"),
        }
    }
}

/// Groups of the sheet: what they are of, and how they are had.
const GROUPS: [(&str, &[Ware]); 4] = [
    ("The matrices", &[Ware::MatricesPng, Ware::MatricesSvg, Ware::MatricesCsv]),
    ("The head wall", &[Ware::WallPng, Ware::WallSvg, Ware::WallCsv]),
    ("Everything on screen", &[Ware::Json, Ware::Npz, Ware::Html]),
    ("Copied: the same again elsewhere", &[Ware::Command, Ware::Python, Ware::Element]),
];

/// The button and its sheet.
#[component]
pub fn ExportMenu() -> impl IntoView {
    let store = Store::here();
    let open = RwSignal::new(false);
    let said = RwSignal::new(String::new());
    let take = move |ware: Ware| {
        said.set("…".into());
        spawn_local(async move { said.set(hand_out(store, ware).await) });
    };
    let group = move |(title, wares): (&'static str, &'static [Ware])| {
        let buttons = wares.iter().map(|ware| {
            let (word, name) = ware.words();
            let ware = *ware;
            view! { <button type="button" class="btn" data-test=format!("export-{word}") on:click=move |_| take(ware)>{name}</button> }
        });
        view! { <div class="wares" role="group" aria-label=title><h3>{title}</h3>{buttons.collect_view()}</div> }
    };
    view! {
        <Sheet
            open class=Signal::stored("btn".to_string()) label="Export: take this away" test="export"
            button=move || view! { <Glyph icon=Icon::Export/><span class="wide">"Export"</span> }
        >
            {GROUPS.map(group).collect_view()}
            <p class="cap" role="status" data-test="export-said">{move || said.get()}</p>
        </Sheet>
    }
}

/// Makes a ware and hands it out; a sentence about it.
async fn hand_out(store: Store, ware: Ware) -> String {
    let Some(screen) = Screen::of(store) else {
        return "There are no numbers yet. Wait until the run is done.".into();
    };
    let palette = Palette::read();
    let stem = format!("attnscope-{}-{}", screen.outcome.model.id, screen.head);
    let made = match ware {
        Ware::MatricesPng => drawn(&matrices(&screen, &palette), format!("{stem}.png")).await,
        Ware::WallPng => drawn(&wall(&screen, &palette), format!("{stem}-wall.png")).await,
        Ware::MatricesSvg => file(matrices(&screen, &palette).as_bytes(), "image/svg+xml", format!("{stem}.svg")),
        Ware::WallSvg => file(wall(&screen, &palette).as_bytes(), "image/svg+xml", format!("{stem}-wall.svg")),
        Ware::MatricesCsv => file(numbers::csv(&screen).as_bytes(), "text/csv", format!("{stem}.csv")),
        Ware::WallCsv => file(numbers::wall_csv(&screen).as_bytes(), "text/csv", format!("{stem}-wall.csv")),
        Ware::Json => {
            numbers::json(&screen).and_then(|json| file(json.as_bytes(), "application/json", format!("{stem}.json")))
        }
        Ware::Npz => numbers::npz(&screen).and_then(|npz| file(&npz, "application/zip", format!("{stem}.npz"))),
        Ware::Html => document::html(&screen, &palette)
            .and_then(|html| file(html.as_bytes(), "text/html", format!("{stem}.html"))),
        Ware::Command => copied(&again::command(&screen)).await,
        Ware::Element => copied(&again::element(&screen)).await,
        Ware::Python => match again::python(&screen) {
            Some(python) => copied(&python).await,
            None => Err("transformers computes plain softmax attention only, and pane A is something else".into()),
        },
    };
    made.unwrap_or_else(|problem| format!("It did not work: {problem}."))
}

fn file(bytes: &[u8], media_type: &str, name: String) -> Result<String, String> {
    let saved = blob(bytes, media_type).and_then(|blob| save(&blob, &name));
    saved.map(|()| format!("{name} is saved.")).map_err(|_| "the browser saves no files here".into())
}

async fn drawn(svg: &str, name: String) -> Result<String, String> {
    let blob = png(svg).await.map_err(|_| "the browser could not draw it")?;
    save(&blob, &name).map_err(|_| "the browser saves no files here")?;
    Ok(format!("{name} is saved."))
}

async fn copied(text: &str) -> Result<String, String> {
    if copy_text(text).await { Ok("Copied.".into()) } else { Err("the browser does not let the page copy here".into()) }
}
