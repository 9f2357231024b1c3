//! Links: broken escapes, numbers that are none, packed parts that are damaged or unpack without end.

use super::{Case, code};
use attnscope::experiment::{Experiment, link};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::deflate::compress_to_vec_zlib;

fn case(name: impl Into<String>, expected: &'static str, hash: String) -> Case {
    let bytes = hash.len();
    Case { kind: "link", name: name.into(), code: expected, bytes, read: Box::new(move || code(link::read(&hash))) }
}

pub fn good() -> Result<(), String> {
    code(link::read(&link::write(&Experiment::default())))?;
    code(link::read(&packed("m=stories-3m&p=x")))
}

fn packed(text: &str) -> String {
    packed_bytes(text.as_bytes())
}

fn packed_bytes(bytes: &[u8]) -> String {
    format!("v=2&z={}", URL_SAFE_NO_PAD.encode(compress_to_vec_zlib(bytes, 9)))
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for version in ["0", "3", "-1", "1.0", "NaN", "%00"] {
        list.push(case(format!("version {version}"), "parse", format!("v={version}&p=x")));
    }
    for part in ["seed=-1", "seed=1.5", "seed=18446744073709551616", "n=many", "topk=-3", "q=x", "k=1e3", "wall="] {
        list.push(case(format!("the part {part}"), "parse", format!("v=1&{part}")));
    }
    for part in ["t=NaN", "t=inf", "topp=-inf", "eps=NaN", "eps=1e39"] {
        list.push(case(format!("the part {part}"), "param", format!("v=1&{part}")));
    }
    for part in ["q=18446744073709551615", "k=99999999999", "n=4294967296", "pos=20000000", "wall=99999999"] {
        list.push(case(format!("the part {part}"), "param", format!("v=1&{part}")));
    }
    for part in ["pin=L1", "pin=LH", "pin=L-1H0", "show=nothing", "scale=log", "tab=none", "metric=x", "order=up"] {
        list.push(case(format!("the part {part}"), "parse", format!("v=1&{part}")));
    }
    for text in ["%ff", "%c3%28", "%ed%a0%80", "%f8%88%80%80%80"] {
        list.push(case(format!("a prompt of {text}"), "parse", format!("v=1&p={text}")));
    }
    for stack in ["alibi(", "alibi(slope_range:4", "alibi(slope_range)", "alibi((((((", "a(b:c"] {
        list.push(case(format!("the pane {stack}"), "parse", format!("v=1&a={stack}")));
    }
    list.push(case("1,000 mechanisms", "limit", format!("v=1&a={}", "alibi,".repeat(1000))));
    let values: String = (0..500).map(|index| format!("k{index}:1,")).collect();
    list.push(case("500 values", "limit", format!("v=1&a=alibi({values})")));
    list.push(case("a name of 10,000 bytes", "limit", format!("v=1&a={}", "x".repeat(10_000))));
    list.push(case("a model of 10,000 bytes", "limit", format!("v=1&m={}", "x".repeat(10_000))));
    list.push(case("a key of 10,000 bytes", "limit", format!("v=1&a=alibi({}:1)", "x".repeat(10_000))));
    list.push(case("a word of 10,000 bytes", "limit", format!("v=1&a=alibi(x:{})", "y".repeat(10_000))));
    list.push(case("a prompt of 2 MB", "limit", format!("v=1&p={}", "x".repeat(2 << 20))));
    list.push(case("5 MB", "limit", "x".repeat(5 << 20)));
    let good = packed("m=stories-3m&p=Once upon a time");
    list.push(case("no packed part", "parse", "v=2".into()));
    list.push(case("an empty packed part", "parse", "v=2&z=".into()));
    list.push(case("a packed part that is no base64", "parse", "v=2&z=%%%".into()));
    list.push(case("a packed part that is no deflate", "parse", "v=2&z=AAAAAAAAAAAA".into()));
    for cut in [1, 2, 5, 20] {
        list.push(case(format!("a packed part without its last {cut}"), "parse", good[..good.len() - cut].into()));
    }
    let mut swapped = good.clone().into_bytes();
    swapped[20] ^= 1;
    list.push(case("a packed part with one bit changed", "parse", String::from_utf8(swapped).unwrap()));
    list.push(case("a packed part that is not UTF-8", "parse", packed_bytes(&[0xFF; 64])));
    list.push(case("a packed version", "parse", packed("v=9&p=x")));
    // A thousandth of what it unpacks to; the memory is that of the limit, which its length is counted as.
    let bomb = packed(&"x".repeat(64 << 20));
    let bytes = 4 << 20;
    list.push(Case { bytes, ..case("64 MB packed", "parse", bomb) });
    let text = packed(&format!("p={}", "y".repeat(3 << 20)));
    list.push(Case { bytes, ..case("a prompt of 3 MB packed", "limit", text) });
    list
}
