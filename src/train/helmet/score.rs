//! How an answer is judged, in plain text; the reference's rules.

use super::Gold;

/// Lower case, without articles, punctuation and more than one space.
///
/// ```
/// use attnscope::train::helmet::score::normal;
/// assert_eq!(normal(" The Value is  17, 23."), "value is 17 23");
/// ```
pub fn normal(text: &str) -> String {
    let plain: String = text.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    plain.split_whitespace().filter(|word| !["a", "an", "the"].contains(word)).collect::<Vec<_>>().join(" ")
}

/// Whether the words of `gold` stand together in `text`, both normalised.
///
/// ```
/// use attnscope::train::helmet::score::contains;
/// assert!(contains("the value is 17 23", "17 23"));
/// assert!(!contains("the value is 17 24", "17 23") && !contains("the value is 117 23", "17 23"));
/// ```
pub fn contains(text: &str, gold: &str) -> bool {
    let gold = normal(gold);
    !gold.is_empty() && format!(" {} ", normal(text)).contains(&format!(" {gold} "))
}

/// Numbers in order, each once.
fn numbers(text: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for number in normal(text).split(' ').filter_map(|word| word.parse().ok()) {
        if !found.contains(&number) {
            found.push(number);
        }
    }
    found
}

/// NDCG@10 of a ranking, Σ (2^rel − 1)/log2(rank + 1) over its ideal; a document that is named again counts once.
///
/// ```
/// use attnscope::train::helmet::score::ndcg;
/// let grades = [(1, 0), (2, 3), (3, 1)];
/// assert_eq!(ndcg("2 > 3 > 1", &grades), 1.0);
/// assert_eq!(ndcg("2 > 2 > 3", &grades), 1.0);
/// assert!(ndcg("1 > 3 > 2", &grades) < 0.6);
/// ```
pub fn ndcg(text: &str, grades: &[(u32, u32)]) -> f64 {
    let gain = |(rank, grade): (usize, u32)| (f64::from(1 << grade) - 1.0) / (rank as f64 + 2.0).log2();
    let grade = |number: u32| grades.iter().find(|(id, _)| *id == number).map_or(0, |(_, grade)| *grade);
    let came: f64 = numbers(text).into_iter().map(grade).take(10).enumerate().map(gain).sum();
    let mut best: Vec<u32> = grades.iter().map(|(_, grade)| *grade).collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    let ideal: f64 = best.into_iter().take(10).enumerate().map(gain).sum();
    if ideal > 0.0 { came / ideal } else { 0.0 }
}

/// How right an answer is, 0 to 1.
pub fn score(gold: &Gold, output: &str) -> f64 {
    let share = |hits: usize, of: usize| if of == 0 { 0.0 } else { hits as f64 / of as f64 };
    match gold {
        Gold::Inside(text) => f64::from(u8::from(contains(output, text))),
        Gold::First(text) => {
            let (came, gold) = (normal(output), normal(text));
            f64::from(u8::from(came == gold || came.starts_with(&format!("{gold} "))))
        }
        Gold::Values(values) => share(values.iter().filter(|value| contains(output, value)).count(), values.len()),
        Gold::Cited { answer, documents } => {
            let cited = numbers(output);
            let hits = cited.iter().filter(|number| documents.contains(number)).count();
            let right = f64::from(u8::from(contains(output, answer)));
            (right + share(hits, documents.len()) + share(hits, cited.len())) / 3.0
        }
        Gold::Ranked(grades) => ndcg(output, grades),
        Gold::Lines { lines, form } => {
            // What the limit cut off is no line.
            let whole = output.rsplit_once('.').map_or("", |(whole, _)| whole);
            let said: Vec<String> = whole.split('.').map(normal).filter(|line| !line.is_empty()).collect();
            let parses = |line: &String| line.split(' ').nth(1) == Some(form.as_str()) && line.split(' ').count() == 3;
            if said.is_empty() || !said.iter().all(parses) {
                return 0.0;
            }
            let gold: Vec<String> = lines.iter().map(|line| normal(line)).collect();
            let recall = share(gold.iter().filter(|line| said.contains(line)).count(), gold.len());
            let precision = share(said.iter().filter(|line| gold.contains(line)).count(), said.len());
            if recall + precision > 0.0 { 2.0 * recall * precision / (recall + precision) } else { 0.0 }
        }
    }
}
