//! The models of the visitor: what is arriving, what is there, and the files behind an id.

use super::keeper::{Arrived, Ask, Keeper, Said, Stored};
use crate::api::client::Trouble;
use crate::api::{Command, Reply};
use crate::outcome::ModelFacts;
use crate::shipped::{self, Name};
use crate::ui::store::Store;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::collections::HashMap;
use web_sys::Blob;

/// Beyond this much memory a model is not fetched without a second word of the visitor.
const MUCH_BYTES: usize = 1 << 30;

/// A model on its way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coming {
    /// Number of the call, for stopping it.
    call: u32,
    /// Where it comes from.
    pub source: String,
    /// Bytes that have arrived.
    pub bytes: f64,
    /// Bytes in all, where known.
    pub total: Option<f64>,
    /// What it is, once that is known.
    pub facts: Option<ModelFacts>,
    /// Whether it waits for the visitor to say yes.
    pub waits: bool,
}

/// What happens with a model of the visitor's.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum State {
    /// Nothing.
    #[default]
    Rest,
    /// Files were given and are looked at.
    Looking,
    /// Files were given, and this is what they are; loading them is for the visitor to decide.
    Offered(ModelFacts),
    /// It is being fetched.
    Coming(Coming),
    /// It is there; what to know of it.
    Arrived {
        /// What it is called.
        name: String,
        /// SHA-256 of all of it, its first digits; empty where the browser computes none.
        hash: String,
        /// Sentences about hash and keeping.
        notes: Vec<String>,
    },
    /// It was refused or failed.
    Failed {
        /// Why.
        trouble: Trouble,
        /// Where it came from, when fetching again may help.
        source: Option<String>,
    },
}

/// Files by name.
type Named = Vec<(String, Blob)>;

/// Everything about them. `Copy`, like the store, of which it is a part.
#[derive(Clone, Copy)]
pub struct Library {
    /// Whether the dialog is open.
    pub open: RwSignal<bool>,
    /// What happens.
    pub state: RwSignal<State>,
    /// What this browser keeps, as far as it was asked.
    pub stored: RwSignal<Stored>,
    /// Whether to keep what arrives.
    pub keep: RwSignal<bool>,
    /// The address or name being typed.
    pub typed: RwSignal<String>,
    /// Files that were given and not loaded yet.
    given: StoredValue<Named, LocalStorage>,
    /// Files of the models of this visit, by id.
    held: StoredValue<HashMap<String, Named>, LocalStorage>,
    keeper: StoredValue<Keeper, LocalStorage>,
}

impl Default for Library {
    fn default() -> Self {
        Self {
            open: RwSignal::new(false),
            state: RwSignal::default(),
            stored: RwSignal::default(),
            keep: RwSignal::new(true),
            typed: RwSignal::default(),
            given: StoredValue::new_local(Vec::new()),
            held: StoredValue::new_local(HashMap::new()),
            keeper: StoredValue::new_local(Keeper::default()),
        }
    }
}

impl Library {
    fn keeper(self) -> Keeper {
        self.keeper.get_value()
    }

    /// The files of a model that is not shipped, from this visit or from what the browser keeps.
    ///
    /// # Errors
    /// `absent` when it is in neither.
    pub async fn files(self, model: &str) -> Result<Named, Trouble> {
        let model = &Name::of(model).files();
        if let Some(files) = self.held.with_value(|held| held.get(model).cloned()) {
            return Ok(files);
        }
        match self.keeper().call(&Ask::Open { model: model.into() }, &[], |_, _, _| {}).await {
            Ok((Said::Done(arrived), files)) => {
                self.look();
                Ok(arrived.names.into_iter().zip(files).collect())
            }
            Ok(_) => Err(Trouble::unexpected()),
            Err(trouble) if trouble.code == "absent" => {
                Err(Trouble { code: trouble.code, message: Name::of(model).absent() })
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether the browser keeps a model, as far as it was asked.
    pub fn keeps(self, model: &str) -> bool {
        let files = Name::of(model).files();
        self.stored.with(|stored| stored.models.iter().any(|kept| kept.model.as_deref() == Some(&files)))
    }

    /// Asks what is kept.
    pub fn look(self) {
        spawn_local(async move { self.listed(&Ask::List).await });
    }

    /// Removes a kept model.
    pub fn forget(self, source: String, model: Option<String>) {
        if let Some(model) = &model {
            self.held.update_value(|held| drop(held.remove(model)));
        }
        spawn_local(async move { self.listed(&Ask::Forget { source, model }).await });
    }

    async fn listed(self, ask: &Ask) {
        if let Ok((Said::Stored(stored), _)) = self.keeper().call(ask, &[], |_, _, _| {}).await {
            self.stored.set(stored);
        }
    }

    /// Goes on with a download that waits for the visitor.
    pub fn go(self) {
        self.state.update(|state| {
            if let State::Coming(coming) = state {
                coming.waits = false;
                self.keeper().tell(&Ask::Go { of: coming.call });
            }
        });
    }

    /// Stops a download.
    pub fn stop(self) {
        if let State::Coming(coming) = self.state.get_untracked() {
            self.keeper().tell(&Ask::Stop { of: coming.call });
        }
    }

    /// Puts the given files aside.
    pub fn put_aside(self) {
        self.given.set_value(Vec::new());
        self.state.set(State::Rest);
    }

    fn fail(self, trouble: Trouble, source: Option<String>) {
        self.state.set(State::Failed { trouble, source });
        self.look();
    }

    fn is_coming(self) -> bool {
        self.state.with_untracked(|state| matches!(state, State::Coming(_)))
    }
}

impl Store {
    /// Looks at files the visitor gave, and offers to load them.
    pub fn offer_files(self, files: Vec<(String, Blob)>) {
        let library = self.library;
        if library.is_coming() {
            return;
        }
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let config = files.iter().find(|(path, _)| last(path) == "config.json");
        let is_bin =
            |name: &str| name.ends_with(".bin") && !name.starts_with("tok") && !name.starts_with("pytorch_model");
        let bin = files.iter().find(|(path, _)| is_bin(&last(path)));
        let sample = match (config, bin) {
            (Some((_, blob)), _) => Some(("config.json".to_owned(), blob.clone())),
            (None, Some((path, blob))) => blob.slice_with_i32_and_i32(0, 28).ok().map(|head| (last(path), head)),
            _ => None,
        };
        let bytes: f64 = files.iter().map(|(_, blob)| blob.size()).sum();
        library.state.set(State::Looking);
        library.given.set_value(files);
        spawn_local(async move {
            let judged = match sample {
                Some(sample) => self.judge(sample.0.trim_end_matches(".bin").into(), vec![sample]).await,
                // The keeper says what is missing.
                None => return self.load_files(),
            };
            match judged {
                Ok(facts) => library.state.set(State::Offered(ModelFacts { file_bytes: bytes as usize, ..facts })),
                Err(trouble) => library.fail(trouble, None),
            }
        });
    }

    /// Loads the files that were offered.
    pub fn load_files(self) {
        let library = self.library;
        let Some(files) = library.given.try_update_value(std::mem::take) else { return };
        library.state.set(State::Looking);
        let (names, blobs): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let ask = Ask::Take { names, keep: library.keep.get_untracked() };
        spawn_local(async move {
            match library.keeper().call(&ask, &blobs, |_, _, _| {}).await {
                Ok((Said::Done(arrived), files)) => self.arrive(arrived, files),
                Ok(_) => library.fail(Trouble::unexpected(), None),
                Err(trouble) => library.fail(trouble, None),
            }
        });
    }

    /// Fetches a model by what the visitor typed or a link names, and opens it.
    pub fn fetch_model(self, source: String) {
        let library = self.library;
        if library.is_coming() {
            return;
        }
        let tokenizer =
            shipped::elsewhere().into_iter().find(|known| known.source == source).and_then(|known| known.tokenizer);
        library.state.set(State::Coming(Coming { source: source.clone(), ..Coming::default() }));
        let ask = Ask::Fetch { source: source.clone(), keep: library.keep.get_untracked(), tokenizer };
        let refusal = StoredValue::new_local(None::<Trouble>);
        spawn_local(async move {
            let hear = move |call: u32, said: Said, files: Vec<Blob>| match said {
                Said::Progress { bytes, total } => library.state.update(|state| {
                    if let State::Coming(coming) = state {
                        (coming.call, coming.bytes, coming.total) = (call, bytes, total);
                    }
                }),
                Said::Sample { name, names } => spawn_local(async move {
                    match self.judge(name, names.into_iter().zip(files).collect()).await {
                        Ok(facts) => {
                            let waits = facts.loading_bytes() > MUCH_BYTES;
                            library.state.update(|state| {
                                if let State::Coming(coming) = state {
                                    (coming.call, coming.facts, coming.waits) = (call, Some(facts), waits);
                                }
                            });
                            if !waits {
                                library.keeper().tell(&Ask::Go { of: call });
                            }
                        }
                        Err(trouble) => {
                            refusal.set_value(Some(trouble));
                            library.keeper().tell(&Ask::Stop { of: call });
                        }
                    }
                }),
                _ => {}
            };
            match library.keeper().call(&ask, &[], hear).await {
                Ok((Said::Done(arrived), files)) => self.arrive(arrived, files),
                Ok(_) => library.fail(Trouble::unexpected(), None),
                Err(trouble) => match refusal.get_value() {
                    // What cannot run is not worth keeping a part of.
                    Some(refused) => {
                        library.fail(refused, None);
                        library.forget(source, None);
                    }
                    None => library.fail(trouble, Some(source)),
                },
            }
        });
    }

    /// What a model is, from its small files.
    async fn judge(self, model: String, files: Named) -> Result<ModelFacts, Trouble> {
        let (names, blobs): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let command = Command::Judge { model, names };
        match self.client().call_with(&command, &blobs, |_, _| {}).await?.reply {
            Reply::Judged { model } => Ok(model),
            _ => Err(Trouble::unexpected()),
        }
    }

    /// A model is there: it becomes the experiment's.
    fn arrive(self, arrived: Arrived, files: Vec<Blob>) {
        let library = self.library;
        let Arrived { model, name, source, sha256, names, mut notes, kept, .. } = arrived;
        let known = shipped::elsewhere().into_iter().find(|known| known.source == source);
        let recorded = known.as_ref().and_then(|known| known.sha256.as_ref());
        match recorded {
            Some((file, hash)) if sha256.get(file).is_some_and(|came| came != hash) => {
                let message = format!(
                    "{file}: what came has another SHA-256 than the one on record ({}…); it is not loaded",
                    &hash[..16]
                );
                return library.fail(Trouble { code: "file".into(), message }, Some(source));
            }
            Some((file, _)) => notes.insert(0, format!("The SHA-256 of {file} is the one on record.")),
            None if known.is_some() => notes.insert(0, "There is no hash on record to compare it with.".into()),
            None => {}
        }
        let wanted = self.experiment.with_untracked(|experiment| experiment.model.clone());
        let asked = Name::of(&wanted);
        let got = Name::of(&model);
        if asked.source == got.source && asked.hash.is_some() && asked.hash != got.hash {
            let (old, new) = (asked.hash.clone().unwrap_or_default(), got.hash.clone().unwrap_or_default());
            notes.push(format!(
                "The link was made with other files (hash {old}, these have {new}): its numbers may differ."
            ));
        }
        if kept {
            notes.push("It is kept in this browser, so that links to it open without fetching.".into());
        }
        let hash = got.hash.unwrap_or_default();
        library.held.update_value(|held| drop(held.insert(model.clone(), names.into_iter().zip(files).collect())));
        library.state.set(State::Arrived { name, hash, notes });
        library.look();
        if asked.files() == model {
            self.restart();
        } else {
            self.edit(|experiment| experiment.model = model);
        }
    }
}
