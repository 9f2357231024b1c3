//! `attnscope mechanisms`: the registry.

use super::print;
use attnscope::Result;
use attnscope::mechanism::ALL;

/// Prints every mechanism.
pub fn command(json: bool) -> Result<()> {
    let entries: Vec<_> = ALL.iter().map(|mechanism| mechanism.entry()).collect();
    if json {
        return print::json(&entries);
    }
    let mut rows = vec![["id", "paper", "role", "what it does"].map(String::from).to_vec()];
    rows.extend(entries.into_iter().map(|entry| {
        let number = entry.number.map_or("–".into(), |number| number.to_string());
        vec![entry.id, number, entry.role.title().into(), entry.summary]
    }));
    print::table(&rows)
}
