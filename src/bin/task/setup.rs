//! The pieces that commands need, and how each gets here when it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::place::{Place, remove_folder};
use crate::shell::{self, Failure, Result, doing, fail, say};
use crate::wasm;

/// Version of the npm package that carries `wasm-opt`.
pub const BINARYEN: &str = "132";
/// Major version of Node that Playwright asks for.
const OLDEST_NODE: u32 = 20;

/// One thing that must be on the machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A C compiler, for the tokenizer's regular expressions and for linking.
    C,
    /// The standard library for wasm32.
    Wasm,
    /// Node and npm: wasm-opt and Playwright run on them.
    Node,
    /// A Vulkan driver, in software where there is no GPU.
    Vulkan,
    /// Chromium and its driver.
    Browser,
    /// A program that `cargo install` builds.
    Tool(Tool),
    /// `wasm-opt`, from npm because distributions are years behind.
    WasmOpt,
    /// The packages of `tests/e2e`.
    Playwright,
}

/// A program that `cargo install` builds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    package: &'static str,
    program: &'static str,
    version: &'static str,
    purpose: &'static str,
    /// Whether to build with the lock file that came with it.
    locked: bool,
}

impl Piece {
    /// Whatever `serve`, `build` and `test` need. `check` installs its own two tools on first use.
    pub const ALL: &[Self] = &[
        Self::C,
        Self::Node,
        Self::Vulkan,
        Self::Browser,
        Self::Wasm,
        Self::BINDGEN,
        Self::TRUNK,
        Self::WasmOpt,
        Self::WASM_PACK,
        Self::Playwright,
    ];
    /// Bundles the page.
    pub const TRUNK: Self = Self::Tool(Tool {
        package: "trunk",
        program: "trunk",
        version: "0.21.14",
        purpose: "to bundle the page",
        locked: true,
    });
    /// Writes the JavaScript around a wasm module; its version equals the library's in `Cargo.toml`.
    pub const BINDGEN: Self = Self::Tool(Tool {
        package: "wasm-bindgen-cli",
        program: "wasm-bindgen",
        version: "0.2.130",
        purpose: "to join wasm and JavaScript",
        // Its lock file may name a crate version that has been yanked or that a mirror lacks.
        locked: false,
    });
    /// Runs tests in a browser.
    pub const WASM_PACK: Self = Self::Tool(Tool {
        package: "wasm-pack",
        program: "wasm-pack",
        version: "0.15.0",
        purpose: "to run tests in a browser",
        locked: true,
    });
    /// Finds misspelled words.
    pub const TYPOS: Self = Self::Tool(Tool {
        package: "typos-cli",
        program: "typos",
        version: "1.52.0",
        purpose: "to find misspelled words",
        locked: true,
    });
    /// Judges licences and sources of dependencies.
    pub const DENY: Self = Self::Tool(Tool {
        package: "cargo-deny",
        program: "cargo-deny",
        version: "0.20.2",
        purpose: "to judge licences of dependencies",
        locked: true,
    });

    /// Debian packages that provide the piece, when it is missing and comes from the system.
    fn missing_packages(self) -> &'static [&'static str] {
        match self {
            Self::C if shell::find("cc", &[]).is_none() => &["gcc", "g++", "libc6-dev"],
            Self::Node if shell::find("node", &[]).is_none() || shell::find("npm", &[]).is_none() => &["nodejs", "npm"],
            Self::Vulkan if cfg!(target_os = "linux") && vulkan_drivers().is_empty() => {
                &["mesa-vulkan-drivers", "libvulkan1"]
            }
            Self::Browser if browser().is_none() || browser_driver().is_none() => {
                &["chromium", "chromium-driver", "fonts-dejavu-core"]
            }
            _ => &[],
        }
    }

    /// What to say to someone whose system has no apt.
    fn remedy(self) -> &'static str {
        match self {
            Self::C => "a C compiler is missing; install one (for example gcc or clang) and rerun",
            Self::Node => "Node is missing; install Node 20 or newer with npm and rerun",
            Self::Vulkan => "no Vulkan driver was found; install Mesa's software driver (lavapipe) and rerun",
            Self::Browser => {
                "Chromium or ChromeDriver is missing; install both, or name them in ATTNSCOPE_CHROMIUM and \
                 ATTNSCOPE_CHROMEDRIVER, and rerun"
            }
            _ => "a piece is missing; run `cargo task setup`",
        }
    }
}

/// Installs whatever of these pieces is missing.
pub fn ensure(place: &Place, pieces: &[Piece]) -> Result {
    let _lock = place.lock()?;
    ensure_system(place, pieces)?;
    for piece in pieces {
        match piece {
            Piece::Wasm => wasm::ensure(place)?,
            Piece::Tool(tool) => ensure_tool(place, tool)?,
            Piece::WasmOpt => ensure_binaryen(place)?,
            Piece::Playwright => ensure_playwright(place)?,
            Piece::C | Piece::Node | Piece::Vulkan | Piece::Browser => {}
        }
    }
    // Everything these pieces needed is installed, so what was kept for an interrupted build is of no more use.
    remove_folder(&place.cache.join("tools-target"))
}

/// Everything the system's package manager provides, in one go.
fn ensure_system(place: &Place, pieces: &[Piece]) -> Result {
    let missing: Vec<Piece> = pieces.iter().copied().filter(|piece| !piece.missing_packages().is_empty()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let packages: Vec<&str> = missing.iter().flat_map(|piece| piece.missing_packages().iter().copied()).collect();
    if !can_apt() {
        return match shell::find("apt-get", &[]) {
            Some(_) => fail(format!(
                "{} is missing; run `sudo apt-get install -y {}` and rerun",
                packages[0],
                packages.join(" ")
            )),
            None => fail(first.remedy()),
        };
    }
    say(&format!("installing {} with apt, which the build and the tests need", packages.join(", ")));
    apt(place, &packages)?;
    match missing.iter().find(|piece| !piece.missing_packages().is_empty()) {
        // Ubuntu's `chromium` is only a pointer to a snap.
        Some(piece) => fail(piece.remedy()),
        None => Ok(()),
    }
}

/// Whether we may install Debian packages.
pub fn can_apt() -> bool {
    let is_root = shell::first_line(Command::new("id").arg("-u")).as_deref() == Some("0");
    is_root && shell::find("apt-get", &[]).is_some()
}

/// Installs Debian packages; the long output goes to a log file.
pub fn apt(place: &Place, packages: &[&str]) -> Result {
    let path = place.log().join("apt.log");
    let log = doing("write", &path, fs::File::create(&path))?;
    let quiet = |program: &str, arguments: &[&str]| -> Result<bool> {
        let (out, err) = (doing("write", &path, log.try_clone())?, doing("write", &path, log.try_clone())?);
        let mut command = place.command(program);
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        shell::succeeds(command.stdin(Stdio::null()).stdout(out).stderr(err))
    };
    // An earlier interruption may have left packages half configured.
    quiet("dpkg", &["--configure", "-a"])?;
    // A stale list may still do, so its failure shows only if the installation fails as well.
    quiet("apt-get", &["update", "-q"])?;
    let wait = "DPkg::Lock::Timeout=300";
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends", "-o", wait];
    arguments.extend(packages);
    if quiet("apt-get", &arguments)? {
        return Ok(());
    }
    fail(format!("apt could not install {}; {} says why", packages.join(" "), path.display()))
}

fn ensure_tool(place: &Place, tool: &Tool) -> Result {
    let is_right = |line: &str| line.split_whitespace().any(|word| word == tool.version);
    if let Some(program) = shell::find(tool.program, &place.bin())
        && shell::first_line(place.command(&program.to_string_lossy()).arg("--version"))
            .is_some_and(|line| is_right(&line))
    {
        return Ok(());
    }
    say(&format!("building {} {} once, {} (minutes; later runs find it)", tool.package, tool.version, tool.purpose));
    let mut install = place.command("cargo");
    // Outside the checkout, whose settings are meant for our own code.
    install.current_dir(&place.cache).args(["install", "--force", "--root"]).arg(place.tools());
    install.arg(format!("{}@{}", tool.package, tool.version));
    if tool.locked {
        install.arg("--locked");
    }
    // Kept until set-up is complete, so that an interrupted build goes on where it stopped.
    install.env("CARGO_TARGET_DIR", place.cache.join("tools-target"));
    // A tool that runs for seconds need not be optimised for minutes.
    install.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "64").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    let remedy = format!(
        "{} {} could not be built; check the network and rerun, the lines above say more",
        tool.package, tool.version
    );
    shell::run(&mut install, &remedy)
}

fn ensure_binaryen(place: &Place) -> Result {
    if place.binaryen().join("node_modules").join(".bin").join("wasm-opt").exists() {
        return Ok(());
    }
    ensure_system(place, &[Piece::Node])?;
    say(&format!("fetching wasm-opt (binaryen {BINARYEN}) from npm, to make the bundle small"));
    place.make_whole(&place.binaryen(), |folder| {
        let mut install = npm(place, folder);
        install.args(["install", "--no-save"]).arg(format!("binaryen@{BINARYEN}.0.0"));
        shell::run(&mut install, "npm could not fetch binaryen; check the network or npm's registry setting and rerun")
    })
}

/// Installs the packages of `tests/e2e` and links them into the checkout.
fn ensure_playwright(place: &Place) -> Result {
    let source = place.root.join("tests").join("e2e");
    let modules = packages(place, &source, "Playwright", "to test the page in a browser")?.join("node_modules");
    let link = source.join("node_modules");
    if fs::read_link(&link).is_ok_and(|target| target == modules) {
        return Ok(());
    }
    if link.is_dir() && !link.is_symlink() {
        return fail(format!("{} is a folder where a link belongs; remove it and rerun", link.display()));
    }
    if link.is_symlink() {
        doing("remove", &link, fs::remove_file(&link))?;
    }
    doing("link", &link, symlink(&modules, &link))
}

/// The folder in the cache that holds the npm packages of `source`, installed once per lock file.
pub fn packages(place: &Place, source: &Path, name: &str, purpose: &str) -> Result<PathBuf> {
    let lock = doing("read", source, fs::read(source.join("package-lock.json")))?;
    let packages = place.cache.join("node").join(format!("{:016x}", fingerprint(&lock)));
    if !packages.join("node_modules").exists() {
        ensure_system(place, &[Piece::Node])?;
        refuse_old_node(place)?;
        say(&format!("fetching {name} from npm, {purpose}"));
        place.make_whole(&packages, |folder| {
            for name in ["package.json", "package-lock.json"] {
                doing("copy", &source.join(name), fs::copy(source.join(name), folder.join(name)))?;
            }
            let mut install = npm(place, folder);
            let remedy = format!("npm could not fetch {name}; check the network or npm's registry and rerun");
            shell::run(install.arg("ci"), &remedy)
        })?;
    }
    Ok(packages)
}

/// Playwright states the oldest Node it runs on, and fails less clearly than this.
fn refuse_old_node(place: &Place) -> Result {
    let version = shell::first_line(place.command("node").arg("--version")).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major >= OLDEST_NODE {
        return Ok(());
    }
    fail(format!("Node {version} is too old for the browser tests; install Node {OLDEST_NODE} or newer and rerun"))
}

fn npm(place: &Place, folder: &Path) -> Command {
    let mut npm = place.command("npm");
    npm.current_dir(folder).env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    npm.args(["--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline"]);
    npm
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}
#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}
#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _link: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// FNV-1a: names a folder after the file it was made from.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The browser that tests run in.
pub fn browser() -> Option<PathBuf> {
    named("ATTNSCOPE_CHROMIUM").or_else(|| {
        let programs = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];
        let applications = [
            "/Applications/Chromium.app/Contents/MacOS/Chromium",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        ];
        let installed = applications.iter().map(PathBuf::from).find(|path| path.is_file());
        programs.iter().find_map(|program| shell::find(program, &[])).or(installed)
    })
}

/// The program that `wasm-pack` drives the browser with.
pub fn browser_driver() -> Option<PathBuf> {
    named("ATTNSCOPE_CHROMEDRIVER").or_else(|| shell::find("chromedriver", &[PathBuf::from("/usr/lib/chromium")]))
}

/// Both, once [`ensure`] has seen to them.
pub fn browser_pair() -> Result<(PathBuf, PathBuf)> {
    browser().zip(browser_driver()).ok_or_else(|| Failure(Piece::Browser.remedy().to_owned()))
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

/// Descriptions of installed Vulkan drivers, the software one first.
pub fn vulkan_drivers() -> Vec<PathBuf> {
    let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flat_map(|entries| entries.flatten());
    let mut drivers: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    drivers.sort_by_key(|path| (!is_lavapipe(path), path.clone()));
    drivers
}

/// Mesa's software driver: the same numbers on every machine.
pub fn is_lavapipe(driver: &Path) -> bool {
    driver.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"))
}
