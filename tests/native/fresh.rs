//! Layer `fresh`: generated files equal what the registry says. `ATTNSCOPE_BLESS=1` rewrites them.

mod link;
mod models;
mod papers;
mod protocol;
mod reliability;

use attnscope::catalogue::{self, Entry};
use attnscope::mechanism::ALL;
use std::path::Path;

fn entries() -> Vec<Entry> {
    ALL.iter().map(|mechanism| mechanism.entry()).collect()
}

/// Compares a file of the repository with `fresh`, or writes it when blessed.
pub fn keep_fresh(path: &str, fresh: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    if stored != fresh && std::env::var_os("ATTNSCOPE_BLESS").is_some() {
        std::fs::write(&file, fresh).unwrap();
        return;
    }
    assert!(stored == fresh, "{path} is stale; ATTNSCOPE_BLESS=1 cargo task test --only fresh writes it anew");
}

#[test]
fn the_catalogue_of_the_page_is_the_registry() {
    let fresh = serde_json::to_string_pretty(&entries()).unwrap() + "\n";
    keep_fresh("www/mechanisms.json", &fresh);
    let read: Vec<Entry> = serde_json::from_str(&fresh).unwrap();
    assert_eq!(read, entries(), "the catalogue does not survive JSON");
}

#[test]
fn the_catalogue_compiled_into_the_page_is_the_registry() {
    // Blessing writes the file after it was compiled in, so this holds from the next build on.
    if std::env::var_os("ATTNSCOPE_BLESS").is_none() {
        assert_eq!(catalogue::shipped().unwrap(), entries());
    }
}

const BEGIN: &str = "<!-- mechanisms: generated from the registry -->\n";
const END: &str = "<!-- end of mechanisms -->\n";

#[test]
fn the_table_of_the_readme_is_the_registry() {
    let row = |entry: &Entry| {
        let number = entry.number.map_or("–".into(), |number| number.to_string());
        let keys: Vec<_> = entry.params.iter().map(|control| format!("`{}`", control.key)).collect();
        let Entry { id, name, summary, title, year, url, .. } = entry;
        format!(
            "| `{id}` | {name} | {} | {summary} | {} | {number} | [{title}]({url}), {year} |\n",
            entry.role.title(),
            keys.join(" ")
        )
    };
    let head = "| Id | Name | Role | What it does | Controls | No. | Source |\n|---|---|---|---|---|---|---|\n";
    let table: String = [head.to_string()].into_iter().chain(entries().iter().map(row)).collect();
    let stored = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (before, rest) = stored.split_once(BEGIN).expect("README.md marks where the table of mechanisms begins");
    let (_, after) = rest.split_once(END).expect("README.md marks where the table of mechanisms ends");
    keep_fresh("README.md", &format!("{before}{BEGIN}{table}{END}{after}"));
}
