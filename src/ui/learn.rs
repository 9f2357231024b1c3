//! Lessons: the page that lists them, and the strip over the playground while one is under way.
//!
//! A lesson's address is its experiment's with `?lesson=…`, so that a teacher can send it and the link still is a link.
//! What was passed is remembered on this device and nowhere else.

use super::route::PlainBar;
use super::store::Store;
use super::theme::{self, storage};
use crate::lessons::{self, Lesson, Seen, Verdict};
use leptos::prelude::*;

fn key(id: &str) -> String {
    format!("attnscope.lesson.{id}")
}

fn remembered(id: &str) -> bool {
    storage().is_some_and(|storage| storage.get_item(&key(id)).ok().flatten().is_some())
}

fn address(lesson: &Lesson) -> String {
    format!("./?lesson={}#{}", lesson.id, lesson.start)
}

/// The lesson the address names.
fn here() -> Option<(usize, &'static Lesson)> {
    let search = window().location().search().ok()?;
    let id = search.trim_start_matches('?').split('&').find_map(|pair| pair.strip_prefix("lesson="))?.to_owned();
    lessons::ALL.iter().enumerate().find(|(_, lesson)| lesson.id == id)
}

/// The list.
#[component]
pub fn Learn() -> impl IntoView {
    let dark = RwSignal::new(theme::is_dark());
    theme::follow_system(dark);
    let passed = RwSignal::new(lessons::ALL.iter().map(|lesson| remembered(lesson.id)).collect::<Vec<_>>());
    let count = move || passed.with(|passed| passed.iter().filter(|passed| **passed).count());
    let forget = move |_| {
        if let Some(storage) = storage() {
            for lesson in lessons::ALL {
                let _ = storage.remove_item(&key(lesson.id));
            }
        }
        passed.update(|passed| passed.fill(false));
    };
    let row = move |(at, lesson): (usize, &'static Lesson)| {
        let done = move || passed.with(|passed| passed[at]);
        view! {
            <li class="lesson" data-test="lesson" data-lesson=lesson.id data-passed=move || done().to_string()>
                <span class="no" aria-hidden="true">{at + 1}</span>
                <div>
                    <h2><a href=address(lesson) data-test="begin">{lesson.title}</a>{move || done().then(|| view! { <span class="tag">"passed"</span> })}</h2>
                    <p>{lesson.about}</p>
                    <p class="soft">{lesson.task}</p>
                </div>
            </li>
        }
    };
    view! {
        <PlainBar dark/>
        <main class="learn" id="main" tabindex="-1">
            <h1>"Ten lessons"</h1>
            <p class="lead">
                "Each opens an experiment and asks for one thing. It is passed when the numbers that were computed say so, on
                your device, with the model that runs there. Small models and one prompt: what you find is true of them."
            </p>
            <p class="row">
                <span data-test="passed-count">{move || format!("{} of {} passed", count(), lessons::ALL.len())}</span>
                {move || (count() > 0).then(|| view! { <button type="button" class="btn" data-test="forget-lessons" on:click=forget>"Start over"</button> })}
                <span class="cap">"Remembered in this browser only."</span>
            </p>
            <ol>{lessons::ALL.iter().enumerate().map(row).collect_view()}</ol>
        </main>
    }
}

/// The strip over the playground, while the address names a lesson.
#[component]
pub fn LessonStrip() -> impl IntoView {
    let store = Store::here();
    here().map(|(at, lesson)| {
        let verdict = Memo::new(move |_| {
            // An older experiment's numbers are none of this one's.
            if store.stale.get() {
                return None;
            }
            let roles = store.roles(0).value;
            store.experiment.with(|experiment| {
                store.outcome.with(|outcome| {
                    let outcome = outcome.as_ref()?;
                    Some(lesson.check(&Seen { experiment, outcome, roles: roles.as_deref() }))
                })
            })
        });
        let passes = move || verdict.with(|verdict| verdict.as_ref().is_some_and(|verdict| verdict.passed));
        let passed = RwSignal::new(remembered(lesson.id));
        Effect::new(move |_| {
            if passes() {
                passed.set(true);
                // Storage may be closed to us; then it is remembered until the page is left.
                if let Some(storage) = storage() {
                    let _ = storage.set_item(&key(lesson.id), "passed");
                }
            }
        });
        let says = move || match verdict.get() {
            Some(Verdict { says, .. }) => says,
            None => "Computing…".into(),
        };
        let next = lessons::ALL.get(at + 1).map(|next| {
            view! { <a class="btn" class:primary=move || passed.get() data-test="next-lesson" href=address(next)>"Next: "{next.title}</a> }
        });
        view! {
            <section class="strip" aria-label="Lesson" data-test="lesson-strip" data-lesson=lesson.id data-passes=move || passes().to_string() data-passed=move || passed.get().to_string()>
                <div class="what">
                    <h2><a href="learn">"Lesson "{at + 1}</a>" "{lesson.title}</h2>
                    <p class="soft">{lesson.about}</p>
                    <p><strong>{lesson.task}</strong></p>
                </div>
                <div class="how">
                    <p class="verdict" role="status" class:ok=passes data-test="lesson-verdict">
                        <span class="tag">{move || if passes() { "passed" } else { "not yet" }}</span>" "{says}
                    </p>
                    <p class="row"><a class="btn" data-test="begin-anew" href=address(lesson)>"Begin anew"</a>{next}</p>
                </div>
            </section>
        }
    })
}
