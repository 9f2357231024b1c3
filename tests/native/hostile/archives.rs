//! npz archives: headers of arrays that announce more than there is, and archives that are none.

use super::{Case, code};
use attnscope::hook::Array;
use attnscope::npz;
use std::io::Cursor;

/// The two bytes that say how long a header is stand here in a file of one array called `a`.
const NAME: &str = "a";

fn archive(bodies: &[(&str, Vec<u8>)]) -> Vec<u8> {
    // Stored entries need neither a checksum that fits nor a compressor: this writes what it is given.
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, body) in bodies {
        let name = format!("{name}.npy");
        let mut facts = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        facts.extend(checksum(body).to_le_bytes());
        facts.extend([body.len() as u32, body.len() as u32].into_iter().flat_map(u32::to_le_bytes));
        facts.extend([name.len() as u8, 0, 0, 0]);
        let at = (bytes.len() as u32).to_le_bytes();
        bytes.extend([b"PK\x03\x04", facts.as_slice(), name.as_bytes(), body].concat());
        directory.extend([b"PK\x01\x02\x14\0", facts.as_slice(), &[0; 10], &at, name.as_bytes()].concat());
    }
    let (count, length) = ((bodies.len() as u16).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let at = (bytes.len() as u32).to_le_bytes();
    bytes.extend(directory);
    bytes.extend([b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &length, &at, &[0, 0]].concat());
    bytes
}

fn checksum(bytes: &[u8]) -> u32 {
    let bit = |rest: u32, _| if rest & 1 == 1 { rest >> 1 ^ 0xedb8_8320 } else { rest >> 1 };
    !bytes.iter().fold(u32::MAX, |rest, byte| (0..8).fold(rest ^ u32::from(*byte), bit))
}

fn array(header: &str, values: usize) -> Vec<u8> {
    let header = format!("{header}\n");
    [b"\x93NUMPY\x01\0", (header.len() as u16).to_le_bytes().as_slice(), header.as_bytes(), &vec![0; values]].concat()
}

fn header(descr: &str, order: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
}

fn case(name: impl Into<String>, expected: &'static str, bytes: Vec<u8>) -> Case {
    let length = bytes.len();
    let read = Box::new(move || code(npz::read("x.npz", Cursor::new(&bytes))));
    Case { kind: "npz", name: name.into(), code: expected, bytes: length, read }
}

fn one(name: impl Into<String>, code: &'static str, body: Vec<u8>) -> Case {
    case(name, code, archive(&[(NAME, body)]))
}

pub fn good() -> Result<(), String> {
    let good = archive(&[(NAME, array(&header("'>f8'", "True", "(2, 3)"), 48))]);
    let arrays = npz::read("x.npz", Cursor::new(good)).map_err(|error| error.to_string())?;
    assert_eq!(arrays[NAME].shape, [2, 3]);
    let mut bytes = Vec::new();
    let written = Array::new([2, 1, 3], (0..6).map(|n| n as f32).collect()).unwrap();
    npz::write(&mut bytes, [("b".to_string(), &written)]).unwrap();
    let arrays = npz::read("x.npz", Cursor::new(bytes)).map_err(|error| error.to_string())?;
    assert_eq!(arrays["b"], written);
    Ok(())
}

pub fn cases() -> Vec<Case> {
    let plain = |shape: &str| header("'<f4'", "False", shape);
    let whole = archive(&[(NAME, array(&plain("(2, 3)"), 24))]);
    let mut list: Vec<Case> = [0, 4, 30, whole.len() / 2, whole.len() - 1]
        .map(|cut| case(format!("cut after {cut} bytes"), "file", whole[..cut].to_vec()))
        .into();
    list.push(case("no archive", "file", b"hello".repeat(20)));
    for shape in ["(2, 4)", "(7,)", "(1, 2, 3, 2)"] {
        list.push(one(format!("shape {shape} for six values"), "tensor", array(&plain(shape), 24)));
    }
    for shape in ["(5,)", "()", "(0,)"] {
        list.push(one(format!("shape {shape} for six values"), "tensor", array(&plain(shape), 24)));
    }
    for shape in ["(268435457,)", "(1000000000000,)", "(16384, 16384, 2)", "(18446744073709551615,)"] {
        list.push(one(format!("shape {shape}"), "limit", array(&plain(shape), 24)));
    }
    for shape in ["(4294967296, 4294967296)", "(-2, 3)", "(2.5,)", "'six'", "None", "(18446744073709551616,)"] {
        list.push(one(format!("shape {shape}"), "tensor", array(&plain(shape), 24)));
    }
    let axes = "1, ".repeat(40);
    list.push(one("40 axes", "tensor", array(&plain(&format!("({axes})")), 4)));
    for descr in ["'<i4'", "'|O'", "'<f2'", "'<c8'", "'|V24'", "'f4'", "''", "7", "[('a', '<f4')]"] {
        list.push(one(format!("type {descr}"), "tensor", array(&header(descr, "False", "(2, 3)"), 24)));
    }
    for (name, text) in [
        ("nothing", String::new()),
        ("no literal", "descr = f4".into()),
        ("a list", "[1, 2]".into()),
        ("a literal without a shape", "{'descr': '<f4', 'fortran_order': False}".into()),
        ("an order that is none", header("'<f4'", "Perhaps", "(2, 3)")),
        ("a key more", "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1}".into()),
        ("3,000 brackets", "(".repeat(3000)),
        ("code", "__import__('os').system('true')".into()),
    ] {
        list.push(one(format!("header is {name}"), "tensor", array(&text, 24)));
    }
    list.push(one("60,000 brackets", "tensor", array(&"(".repeat(60_000), 24)));
    let mut long = b"\x93NUMPY\x02\0".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    list.push(one("a header of 4 GB", "tensor", long));
    list.push(one("version 9", "tensor", b"\x93NUMPY\x09\0\x01\0{".to_vec()));
    list.push(one("no magic", "tensor", vec![0; 64]));
    list.push(one("an empty entry", "tensor", Vec::new()));
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut body = array(&plain("(1,)"), 0);
        body.extend(value.to_le_bytes());
        list.push(one(format!("{value} among the values"), "tensor", body));
    }
    let mut beyond = array(&header("'<f8'", "False", "(1,)"), 0);
    beyond.extend(1e300f64.to_le_bytes());
    list.push(one("a value beyond f32", "tensor", beyond));
    let names: Vec<String> = (0..5000).map(|index| format!("n{index}")).collect();
    let body = array(&plain("(1,)"), 4);
    let many: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), body.clone())).collect();
    list.push(case("5,000 arrays", "limit", archive(&many)));
    let mut wrong = whole;
    let last = wrong.windows(4).position(|four| four == b"PK\x01\x02").unwrap() - 1;
    wrong[last] ^= 1;
    list.push(case("a checksum that does not fit", "tensor", wrong));
    list
}
