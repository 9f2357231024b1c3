//! The wasm32 target: asked of the toolchain, of rustup, and at last of Debian's own sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::place::{Place, remove_folder};
use crate::setup;
use crate::shell::{self, Failure, Result, doing, fail, say};

const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's compiler for its browsers: recent, and packaged together with the standard library's sources.
const DEBIAN_TOOLCHAIN: &str = "debian-web";
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/wasm32-unknown-unknown";
const DEBIAN_LINKER: &str = "wasm-ld-19";
/// Written beside the standard library we built: the compiler it belongs to.
const STAMP: &str = "built-by-attnscope";

/// Which toolchain compiles for the browser.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compiler {
    /// The toolchain in use has the target.
    Current,
    /// Debian's toolchain with a standard library built here.
    Debian,
}

/// A command like [`Place::command`] whose cargo can compile for wasm32.
pub fn command(place: &Place, program: &str) -> Command {
    let mut command = place.command(program);
    if compiler(place) == Some(Compiler::Debian) {
        command.env("RUSTUP_TOOLCHAIN", DEBIAN_TOOLCHAIN);
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
    }
    command
}

/// Clippy of the compiler in use lies in a package of its own.
pub fn ensure_clippy(place: &Place) -> Result {
    if compiler(place) == Some(Compiler::Debian) && !Path::new("/usr/bin/clippy-driver").exists() {
        say("installing Debian's clippy, which must match the compiler for wasm32");
        return setup::apt(place, &["rust-web-clippy"]);
    }
    Ok(())
}

/// Makes sure that something compiles for wasm32.
pub fn ensure(place: &Place) -> Result {
    if compiler(place).is_some() {
        return Ok(());
    }
    let rustup = shell::find("rustup", &[]);
    if rustup.is_some() {
        say("adding the wasm32-unknown-unknown target with rustup, to compile for the browser");
        let mut add = place.command("rustup");
        add.args(["target", "add", TARGET]);
        if shell::succeeds_within(&mut add, Duration::from_secs(180)) && compiler(place).is_some() {
            return Ok(());
        }
    }
    if rustup.is_none() {
        return fail(
            "the toolchain has no wasm32-unknown-unknown target; install rustup (https://rustup.rs) and rerun",
        );
    }
    if !setup::can_apt() {
        return fail(
            "rustup could not download the wasm32 target; connect and run `rustup target add wasm32-unknown-unknown`",
        );
    }
    say("rustup could not download it; using Debian's compiler and building the standard library from source");
    setup::apt(place, DEBIAN_PACKAGES)?;
    shell::run(
        place.command("rustup").args(["toolchain", "link", DEBIAN_TOOLCHAIN, "/usr"]),
        "rustup could not link Debian's compiler; run `rustup toolchain link debian-web /usr` to see why",
    )?;
    build_standard_library(place)?;
    match compiler(place) {
        Some(_) => Ok(()),
        None => fail("Debian's compiler does not find its wasm32 library; install rustup's wasm32 target instead"),
    }
}

fn compiler(place: &Place) -> Option<Compiler> {
    let sysroot = shell::first_line(place.command("rustc").args(["--print", "sysroot"]))?;
    if library_in(&Path::new(&sysroot).join("lib/rustlib").join(TARGET)) {
        return Some(Compiler::Current);
    }
    let stamp = fs::read_to_string(Path::new(DEBIAN_LIBRARY).join(STAMP)).ok()?;
    let usable = library_in(Path::new(DEBIAN_LIBRARY)) && shell::find(DEBIAN_LINKER, &[]).is_some();
    (usable && Some(stamp) == debian_version(place)).then_some(Compiler::Debian)
}

fn library_in(target: &Path) -> bool {
    let Ok(entries) = fs::read_dir(target.join("lib")) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// The full description of Debian's compiler; a library fits exactly one.
fn debian_version(place: &Place) -> Option<String> {
    let output = shell::output(place.command("rustc").env("RUSTUP_TOOLCHAIN", DEBIAN_TOOLCHAIN).arg("-vV")).ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Builds an empty crate together with the standard library and keeps the latter where the compiler looks for it.
fn build_standard_library(place: &Place) -> Result {
    let probe = place.cache.join("stdprobe");
    remove_folder(&probe)?;
    let source = probe.join("src");
    doing("make the folder", &source, fs::create_dir_all(&source))?;
    let manifest = "[package]\nname = \"stdprobe\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    doing("write", &probe, fs::write(probe.join("Cargo.toml"), manifest))?;
    doing("write", &source, fs::write(source.join("lib.rs"), "#![no_std]\n"))?;

    let target = probe.join("target");
    let mut build = place.command("cargo");
    build.current_dir(&probe).args(["build", "--release", "--target", TARGET]);
    build.arg("-Zbuild-std=std,panic_abort,test,proc_macro");
    build.env("CARGO_TARGET_DIR", &target).env("RUSTUP_TOOLCHAIN", DEBIAN_TOOLCHAIN).env("RUSTC_BOOTSTRAP", "1");
    // Link-time optimisation of our own crates needs the bitcode.
    build.env("RUSTFLAGS", "-Cembed-bitcode=yes");
    shell::run(&mut build, "the standard library did not compile for wasm32; the lines above say why")?;

    let built = target.join(TARGET).join("release").join("deps");
    let version = debian_version(place).ok_or_else(|| {
        Failure(
            "Debian's compiler does not start; reinstall it with `apt-get install --reinstall rustc-web`".to_owned(),
        )
    })?;
    place.make_whole(Path::new(DEBIAN_LIBRARY), |folder| {
        let library = folder.join("lib");
        doing("make the folder", &library, fs::create_dir_all(&library))?;
        for file in standard_library_files(&built)? {
            doing("copy", &file, fs::copy(&file, library.join(file.file_name().unwrap_or_default())))?;
        }
        doing("write", folder, fs::write(folder.join(STAMP), &version))
    })?;
    remove_folder(&probe)
}

fn standard_library_files(built: &Path) -> Result<Vec<PathBuf>> {
    let entries = doing("list", built, fs::read_dir(built))?;
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".rlib") && !name.contains("stdprobe")
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(is_library).collect())
}
