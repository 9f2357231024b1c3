//! The checkout, the cache folder and the environment that sub-commands run in.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Failure, Result, doing, fail, say};

/// The two folders everything happens in.
pub struct Place {
    /// The checkout.
    pub root: PathBuf,
    /// Tools and compiled files, shared by all checkouts.
    pub cache: PathBuf,
}

/// Held while set-up runs; the system releases it when the program ends, however it ends.
pub struct Lock(#[allow(dead_code, reason = "held, never read")] File);

impl Place {
    /// Finds both folders and makes the second.
    pub fn find() -> Result<Self> {
        let root = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
        if !root.join("Trunk.toml").is_file() {
            return fail("this is not an attnscope checkout; run `cargo task` inside one");
        }
        let cache = cache_folder()?;
        let place = Self { root, cache };
        doing("make the folder", &place.log(), fs::create_dir_all(place.log()))?;
        Ok(place)
    }

    /// Root of everything that `cargo install` puts in place.
    pub fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// Output of long set-up steps.
    pub fn log(&self) -> PathBuf {
        self.cache.join("log")
    }

    /// The folders of our own programs, which come before `PATH`.
    pub fn bin(&self) -> Vec<PathBuf> {
        vec![self.tools().join("bin"), self.binaryen().join("node_modules").join(".bin")]
    }

    /// The npm package that holds `wasm-opt`.
    pub fn binaryen(&self) -> PathBuf {
        self.tools().join(format!("binaryen-{}", crate::setup::BINARYEN))
    }

    /// A command in the checkout that finds our tools first and compiles into the cache.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        // What `cargo run` told us about our own package and toolchain is not true of the programs we start.
        for (key, _) in std::env::vars_os() {
            let key = key.to_string_lossy();
            if key == "CARGO" || key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&*key);
            }
        }
        if let Some(libraries) = library_path(&self.root) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Ok(path) = std::env::join_paths(self.bin().into_iter().chain(std::env::split_paths(&path))) {
            command.env("PATH", path);
        }
        command.env("CARGO_TARGET_DIR", self.cache.join("target"));
        command
    }

    /// Waits until no other `cargo task` changes the tools.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.cache.join("setup.lock");
        let file = doing("open", &path, File::create(&path))?;
        if file.try_lock().is_err() {
            say("waiting for another `cargo task` to finish its set-up");
            doing("lock", &path, file.lock())?;
        }
        Ok(Lock(file))
    }

    /// Fills a folder under a temporary name and renames it into place, so that it is there whole or not at all.
    pub fn make_whole(&self, folder: &Path, fill: impl FnOnce(&Path) -> Result) -> Result {
        let mut name = folder.file_name().unwrap_or_default().to_os_string();
        name.push(".partial");
        let partial = folder.with_file_name(name);
        remove_folder(&partial)?;
        doing("make the folder", &partial, fs::create_dir_all(&partial))?;
        fill(&partial)?;
        remove_folder(folder)?;
        doing("move into place", folder, fs::rename(&partial, folder))
    }

    /// Removes what was built; with `all` the tools as well.
    pub fn clean(&self, all: bool) -> Result {
        let compiled = ["target", "bench-target", "tools-target"].map(|folder| self.cache.join(folder));
        let mut folders = vec![self.root.join("dist")];
        folders.extend(compiled);
        if all {
            folders.extend([self.tools(), self.cache.join("node"), self.log()]);
        }
        for folder in folders.iter().filter(|folder| folder.exists()) {
            say(&format!("removing {}", folder.display()));
            remove_folder(folder)?;
        }
        Ok(())
    }
}

/// Removes a folder that may not exist.
pub fn remove_folder(folder: &Path) -> Result {
    if folder.exists() { doing("remove", folder, fs::remove_dir_all(folder)) } else { Ok(()) }
}

fn cache_folder() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("ATTNSCOPE_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("attnscope")))
        .or_else(|| variable("LOCALAPPDATA").filter(|_| cfg!(windows)).map(|folder| folder.join("attnscope")))
        .or_else(|| std::env::home_dir().map(|folder| folder.join(".cache").join("attnscope")))
        .ok_or_else(|| Failure("there is no home folder; set ATTNSCOPE_CACHE to a folder for tools".to_owned()))?;
    std::path::absolute(&folder).map_err(|error| {
        Failure(format!("the cache folder {} is unusable: {error}; set ATTNSCOPE_CACHE", folder.display()))
    })
}

/// `cargo run` puts its own toolchain's libraries first, where a second toolchain would pick up the wrong ones.
fn library_path(root: &Path) -> Option<OsString> {
    let libraries = std::env::var_os("LD_LIBRARY_PATH")?;
    let foreign = std::env::split_paths(&libraries).filter(|folder| {
        !folder.starts_with(root) && !folder.components().any(|part| part.as_os_str() == "toolchains")
    });
    std::env::join_paths(foreign).ok()
}
