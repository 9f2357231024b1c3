//! The list of files that the service worker keeps, with a hash of each.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use crate::shell::{Result, doing, fail};

/// The line of `www/sw.js` that the list replaces.
const EMPTY: &str = "const FILES = [];";

/// Writes the list of `files`, all of them below `dist`, into the service worker there.
pub fn write(dist: &Path, files: &[std::path::PathBuf]) -> Result {
    let worker = dist.join("sw.js");
    let text = doing("read", &worker, fs::read_to_string(&worker))?;
    if !text.contains(EMPTY) {
        return fail(format!("www/sw.js lacks the line `{EMPTY}`, in whose place the list of files goes"));
    }
    let mut entries = Vec::new();
    for file in files.iter().filter(|file| **file != worker) {
        let bytes = doing("read", file, fs::read(file))?;
        let name = file.strip_prefix(dist).unwrap_or(file).to_string_lossy().replace('\\', "/");
        entries.push(format!("  [\"{name}\", \"{}\"]", hash(&bytes)));
    }
    entries.sort();
    let list = format!("const FILES = [\n{},\n];", entries.join(",\n"));
    doing("write", &worker, fs::write(&worker, text.replace(EMPTY, &list)))
}

/// Tells versions of a file apart; it protects from nothing else.
fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_changes_with_a_file_and_leaves_the_worker_itself_out() {
        let dist = std::env::temp_dir().join(format!("attnscope-offline-{}", std::process::id()));
        fs::create_dir_all(dist.join("models")).unwrap();
        let list = |content: &str| {
            fs::write(dist.join("sw.js"), format!("// a worker\n{EMPTY}\n")).unwrap();
            fs::write(dist.join("models/a.json"), content).unwrap();
            write(&dist, &[dist.join("sw.js"), dist.join("models/a.json")]).unwrap();
            fs::read_to_string(dist.join("sw.js")).unwrap()
        };
        let (one, same, other) = (list("1"), list("1"), list("2"));
        assert!(one.contains("[\"models/a.json\", \"") && !one.contains("\"sw.js\""), "{one}");
        assert!(one == same && one != other);
        assert!(write(&dist, &[]).is_err(), "a worker without the line is refused");
        fs::remove_dir_all(&dist).unwrap();
    }
}
