//! The invariants of the architecture (`src/lib.rs`), checked on the text of the repository.
//!
//! Every complaint names the file, the rule and the remedy. Standard library only: this layer must be able to judge a
//! tree that does not compile against anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod text;

use text::{
    crate_paths, lines_with_word, starts_a_word, uses_crate, without_comments, without_comments_and_strings,
    without_tests,
};

/// What a visitor sees first; anything else belongs in one of these folders or in a dotfile.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "Trunk.toml",
    "shaders",
    "src",
    "tests",
    "www",
];

/// Files longer than the rule allows: path, limit instead, reason.
const LONG_FILES: &[(&str, usize, &str)] = &[];

/// Files of `src/mechanism` that are not a mechanism, and what they are.
const MECHANISM_MACHINERY: &[(&str, &str)] = &[
    ("alike", "how alike patterns of layers are"),
    ("eigen", "eigenvectors of symmetric matrices"),
    ("gray", "order of hash codes"),
    ("grid", "where a mechanism is asked, and what it remembers"),
    ("hyper_attention_blocks", "sorted blocks and samples of HyperAttention"),
    ("laws", "whether a mechanism keeps its laws"),
    ("minference_shapes", "the sparse shapes of MInference, and the search among them"),
    ("mod", "the contract and the registry"),
    ("probed", "what an input that is measured on a model may look at"),
    ("role", "traits of the roles, and the plug"),
    ("routing_attention_clusters", "centroids that follow the keys of a head"),
    ("stack", "mechanisms of one pane, in order"),
    ("stage", "kernels that a mechanism runs, as data"),
    ("trans_mla_maps", "the maps of a compressed TransMLA layer"),
    ("trans_mla_values", "the orthogonal factors of an exact one"),
];

/// Headings of a mechanism's page, in order, after the title.
const HEADINGS: &[&str] = &["Definition", "Shapes", "Neutral setting", "Errors", "Numerics", "Source"];

/// A name, the folders or files (without extension) of `src` that may use it, and why the others may not.
const BORDERS: &[(&str, &[&str], &str)] = &[
    ("leptos", &["ui", "main"], "only the page draws; move the code to src/ui"),
    ("wgpu", &["gpu"], "only src/gpu talks to the device; add a method there"),
    ("naga", &["gpu"], "only src/gpu reads shaders; add a method there"),
    (
        "burn",
        &["model", "mechanism", "train", "lens", "engine"],
        "tensors stop at the engine; pass plain arrays (`hook::Array`) instead",
    ),
    ("JsValue", &["api", "ui", "bin", "main"], "JavaScript values stop at the surface; pass plain data instead"),
    ("js_sys", &["api", "ui", "bin", "main"], "JavaScript stops at the surface; pass plain data instead"),
];

/// What a mechanism may use of this crate.
const MECHANISM_MAY_USE: &[&str] =
    &["mechanism", "spec", "shape", "hook", "catalogue", "error", "Error", "Result", "params"];

#[test]
fn the_top_level_is_fixed() {
    let found: BTreeSet<String> = files()
        .iter()
        .filter_map(|path| path.components().next())
        .map(|first| first.as_os_str().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let strange = found.iter().filter(|name| !TOP_LEVEL.contains(&name.as_str()));
    complain(strange.map(|name| {
        format!(
            "{name}: the visible top level is fixed; move it below src, tests, www or shaders, or make it a dotfile"
        )
    }));
}

#[test]
fn each_crate_stays_behind_its_border() {
    let mut complaints = Vec::new();
    for path in rust_files("src") {
        let code = without_comments_and_strings(&read(&path));
        let owner = owner_of(&path);
        for (name, allowed, remedy) in BORDERS {
            if allowed.contains(&owner.as_str()) {
                continue;
            }
            for line in lines_with_word(&code, name).filter(|(_, line)| uses_crate(line, name)) {
                complaints.push(format!(
                    "{}:{}: `{name}` belongs to {}; {remedy}",
                    path.display(),
                    line.0,
                    allowed.join(", ")
                ));
            }
        }
    }
    complain(complaints);
}

#[test]
fn a_mechanism_uses_the_contract_and_nothing_else() {
    let mut complaints = Vec::new();
    for path in mechanisms() {
        let code = without_comments_and_strings(&without_tests(&read(&path)));
        for module in crate_paths(&code).into_iter().filter(|module| !MECHANISM_MAY_USE.contains(&module.as_str())) {
            complaints.push(format!(
                "{}: `crate::{module}` is out of reach; a mechanism uses spec, shape, hook, burn and the contract, so move what it needs there",
                path.display()
            ));
        }
    }
    complain(complaints);
}

#[test]
fn every_mechanism_is_registered_under_its_stem() {
    let registry = without_comments(&read(Path::new("src/mechanism/mod.rs")));
    let mut complaints = Vec::new();
    for path in mechanisms() {
        let (stem, text) = (stem(&path), read(&path));
        let code = without_comments(&text);
        if !code.contains("const MECHANISM: Mechanism") {
            complaints.push(format!(
                "{}: declares no `pub const MECHANISM: Mechanism`; add it, or list the file in MECHANISM_MACHINERY",
                path.display()
            ));
            continue;
        }
        if !code.contains(&format!("id: \"{stem}\"")) {
            complaints.push(format!("{}: the id must equal the file's stem; write `id: \"{stem}\"`", path.display()));
        }
        if !registry.contains(&format!("&{stem}::MECHANISM")) {
            complaints.push(format!(
                "{}: is not registered; add `&{stem}::MECHANISM` to ALL in src/mechanism/mod.rs",
                path.display()
            ));
        }
    }
    complain(complaints);
}

#[test]
fn every_twin_has_its_twin() {
    let mut complaints = Vec::new();
    let shader_of = |stem: &str| format!("shaders/mechanism/{stem}.wgsl");
    for path in mechanisms() {
        let stem = stem(&path);
        let included = without_comments(&read(&path)).contains(&format!("../../{}", shader_of(&stem)));
        let exists = Path::new(ROOT).join(shader_of(&stem)).is_file();
        if included != exists {
            let remedy = if exists { "include_str! it as its `wgsl`" } else { "write it or set `wgsl: None`" };
            complaints.push(format!(
                "{}: {} exists: {exists}, is included: {included}; {remedy}",
                path.display(),
                shader_of(&stem)
            ));
        }
    }
    let stems: BTreeSet<String> = mechanisms().iter().map(|path| self::stem(path)).collect();
    for path in shaders("mechanism").into_iter().filter(|path| !stems.contains(&stem(path))) {
        let stem = stem(&path);
        complaints.push(format!(
            "{}: has no twin; write src/mechanism/{stem}.rs or move it to shaders/shared",
            path.display()
        ));
    }
    complain(complaints);
}

#[test]
fn every_mechanism_has_a_page_with_the_fixed_headings() {
    let mut complaints = Vec::new();
    for path in mechanisms() {
        let text = read(&path);
        let page: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        let title = page.first().copied().unwrap_or_default();
        if !title.strip_prefix("# ").is_some_and(|title| title.contains(": ")) {
            complaints.push(format!(
                "{}: the page starts with `# Name: what it changes`, not with `{title}`",
                path.display()
            ));
        }
        let found: Vec<&str> = page.iter().filter_map(|line| line.strip_prefix("## ")).collect();
        if found != HEADINGS {
            complaints.push(format!(
                "{}: the page has the headings [{}]; it needs [{}], in this order",
                path.display(),
                found.join(", "),
                HEADINGS.join(", ")
            ));
        }
    }
    complain(complaints);
}

#[test]
fn files_stay_small() {
    let limit_of = |path: &Path| {
        let text = path.to_string_lossy();
        // Both twins of a mechanism may be as long as each other.
        if text.starts_with("shaders/mechanism/") || text.starts_with("src/mechanism/") && !is_machinery(path) {
            250
        } else if text.ends_with(".rs") {
            500
        } else if text.starts_with("shaders/shared/") {
            60
        } else {
            150
        }
    };
    let sources = files().into_iter().filter(|path| has_extension(path, "rs") || has_extension(path, "wgsl"));
    let mut complaints: Vec<String> = Vec::new();
    for path in sources {
        let listed = LONG_FILES.iter().find(|(long, ..)| Path::new(long) == path);
        let limit = listed.map_or_else(|| limit_of(&path), |(_, limit, _)| *limit);
        let lines = read(&path).lines().count();
        if lines > limit {
            complaints.push(format!(
                "{}: {lines} lines where {limit} are allowed; split it by idea, or add it to LONG_FILES with a reason",
                path.display()
            ));
        }
    }
    for (path, _, reason) in LONG_FILES {
        if !Path::new(ROOT).join(path).is_file() || reason.is_empty() {
            complaints.push(format!("{path}: is listed in LONG_FILES without a file or a reason; remove the entry"));
        }
    }
    complain(complaints);
}

#[test]
fn nothing_panics_or_prints_outside_tests() {
    const PANICS: &[&str] = &[".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "dbg!("];
    const PRINTS: &[&str] = &["println!(", "print!(", "eprintln!(", "eprint!("];
    let mut complaints = Vec::new();
    for path in rust_files("src") {
        let may_print = owner_of(&path) == "bin";
        let code = without_comments_and_strings(&without_tests(&read(&path)));
        for (number, line) in (1..).zip(code.lines()) {
            let used = |name: &&&str| starts_a_word(line, name);
            if let Some(name) = PANICS.iter().find(used) {
                complaints.push(format!(
                    "{}:{number}: `{name}` can stop the page; return an `Error` that names the cause",
                    path.display()
                ));
            }
            if let Some(name) = PRINTS.iter().filter(|_| !may_print).find(used) {
                complaints.push(format!(
                    "{}:{number}: `{name}` prints from the library; return data, a `Notice` or an `Error`",
                    path.display()
                ));
            }
        }
    }
    complain(complaints);
}

#[test]
fn every_native_test_module_is_a_layer() {
    let layers = read(Path::new("src/bin/task/layers.rs"));
    let main = without_comments(&read(Path::new("tests/native/main.rs")));
    let modules = main.lines().filter_map(|line| line.trim().strip_prefix("mod ")?.strip_suffix(';'));
    let tested = modules.filter(|name| {
        let folder = Path::new("tests/native").join(name);
        let holds_tests = |path: &PathBuf| path.with_extension("") == folder || path.starts_with(&folder);
        rust_files("tests/native").iter().filter(|path| holds_tests(path)).any(|path| read(path).contains("#[test]"))
    });
    let forgotten = tested.filter(|name| !layers.contains(&format!("(\"{name}\", Kind::Native)")));
    complain(forgotten.map(|name| {
        format!("tests/native/main.rs: module {name} would never run; add it to LAYERS in src/bin/task/layers.rs")
    }));
}

#[test]
fn every_shader_opens_with_the_fixed_header() {
    let mut complaints = Vec::new();
    for folder in ["shared", "skeleton", "model", "mechanism"] {
        for path in shaders(folder) {
            let text = read(&path);
            complaints.extend(
                header_faults(folder, &stem(&path), &text)
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", path.display())),
            );
        }
    }
    complain(complaints);
}

#[test]
fn no_file_names_a_place_on_someones_machine() {
    // Split, so that this file passes its own test.
    let places = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    let mut complaints = Vec::new();
    for path in files() {
        // Whatever is not UTF-8 is not text.
        let Ok(text) = fs::read_to_string(Path::new(ROOT).join(&path)) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            // A place starts a word: `example.org/wo…/` is an address, not a folder of this machine.
            let is_place = |place: &&&str| {
                line.match_indices(**place).any(|(at, _)| {
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || "./_-~".contains(before))
                })
            };
            if let Some(place) = places.iter().find(is_place) {
                complaints.push(format!(
                    "{}:{number}: `{place}` exists on one machine only; use a relative path",
                    path.display()
                ));
            }
        }
    }
    complain(complaints);
}

/// What is wrong with a shader's head; see the conventions for WGSL in the architecture document.
fn header_faults(folder: &str, stem: &str, text: &str) -> Vec<String> {
    const LABELS: &[&str] = &["Computes", "Reads", "Writes", "Grid", "Twin"];
    let mut faults = Vec::new();
    let header: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//")).collect();
    let first = header.first().copied().unwrap_or_default();
    if !first.starts_with(&format!(" {stem}: ")) || !first.ends_with('.') {
        faults.push(format!("the first line reads `// {stem}: what it is for.`, one sentence"));
    }
    let found: Vec<&str> = header
        .iter()
        .filter_map(|line| line.strip_prefix(' ')?.split_whitespace().next())
        .filter(|word| LABELS.contains(word))
        .collect();
    let is_kernel = text.contains("@compute");
    let needed: &[&str] = match folder {
        "shared" => &[],
        _ if is_kernel => LABELS,
        _ => &["Computes", "Twin"],
    };
    if let Some(missing) = needed.iter().find(|label| !found.contains(label)) {
        faults.push(format!("the header has no line `// {missing} …`; add it"));
    }
    let places: Vec<_> = found.iter().map(|label| LABELS.iter().position(|known| known == label)).collect();
    if !places.is_sorted() {
        faults.push(format!("the header's lines stand as {}; their order is {}", found.join(", "), LABELS.join(", ")));
    }
    for twin in header.iter().filter_map(|line| line.trim().strip_prefix("Twin ")).flat_map(str::split_whitespace) {
        let twin = twin.trim_end_matches([',', '.']);
        if twin.contains('/') && !Path::new(ROOT).join(twin).exists() {
            faults.push(format!("its twin {twin} does not exist; name the file that computes the same"));
        }
    }
    match folder {
        "shared" if is_kernel => faults.push("a shared piece has no entry point; make it a skeleton".to_owned()),
        "mechanism" if !is_kernel && !functions(text).any(|name| name.starts_with(stem)) => {
            faults.push(format!("it defines no function named after it; call it `{stem}_…`"));
        }
        _ => {}
    }
    if text.lines().any(|line| line.trim_start().starts_with("#if")) {
        faults.push("it has a conditional; use `override`, a slot or two files".to_owned());
    }
    if text.matches("var<storage").count() > 8 {
        faults.push("it binds more than 8 storage buffers, the portable limit; pack or split them".to_owned());
    }
    faults
}

fn functions(wgsl: &str) -> impl Iterator<Item = &str> {
    wgsl.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")?.split('(').next())
}

// The tree.

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every file git tracks or would track, relative to the root.
fn files() -> Vec<PathBuf> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(ROOT)
        .output()
        .expect("git lists the files of the checkout; install git");
    assert!(listing.status.success(), "git cannot list the files of {ROOT}; run the tests in a clone");
    let names = String::from_utf8_lossy(&listing.stdout).into_owned();
    let paths = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // A tracked file may have been deleted and not committed yet.
    let found: Vec<PathBuf> = paths.filter(|path| Path::new(ROOT).join(path).is_file()).collect();
    assert!(found.len() > 20, "only {} files found; the tidy layer would judge nothing", found.len());
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_files(below: &str) -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.starts_with(below) && has_extension(path, "rs")).collect()
}

fn shaders(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("shaders").join(folder);
    files().into_iter().filter(|path| path.starts_with(&folder) && has_extension(path, "wgsl")).collect()
}

fn mechanisms() -> Vec<PathBuf> {
    let found: Vec<PathBuf> = rust_files("src/mechanism").into_iter().filter(|path| !is_machinery(path)).collect();
    assert!(!found.is_empty(), "no mechanism found in src/mechanism");
    found
}

fn is_machinery(path: &Path) -> bool {
    // What mechanisms draw looks at passes, models and gates.
    path.starts_with("src/mechanism/exhibits") || MECHANISM_MACHINERY.iter().any(|(name, _)| stem(path) == *name)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The module of `src` a file belongs to: `src/gpu/link.rs` and `src/gpu.rs` belong to `gpu`.
fn owner_of(path: &Path) -> String {
    path.components().nth(1).map(|part| stem(Path::new(part.as_os_str()))).unwrap_or_default()
}

fn complain(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_shader_header_is_judged() {
    let good = "// alibi: a penalty.\n//\n// Computes  s - d\n// Twin      src/lib.rs\nfn alibi_score() {}\n";
    assert_eq!(header_faults("mechanism", "alibi", good), Vec::<String>::new());
    for (bad, word) in [
        (good.replace("alibi:", "alibis:"), "first line"),
        (good.replace("Computes", "Returns"), "Computes"),
        (good.replace("src/lib.rs", "src/gone.rs"), "twin"),
        (good.replace("fn alibi", "fn bias"), "named after"),
        (good.replace("// Computes  s - d\n", "").replace("lib.rs\n", "lib.rs\n// Computes  s - d\n"), "order"),
        (format!("{good}#ifdef X\n"), "conditional"),
        (good.replace("fn alibi_score() {}", "@compute fn main() {}"), "Reads"),
    ] {
        let faults = header_faults("mechanism", "alibi", &bad).join("; ");
        assert!(faults.contains(word), "{word}: {faults}");
    }
}
