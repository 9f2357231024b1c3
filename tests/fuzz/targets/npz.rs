//! An npz archive.
#![no_main]

use attnscope::npz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for array in npz::read("x.npz", std::io::Cursor::new(bytes)).into_iter().flatten().map(|(_, array)| array) {
        assert_eq!(array.shape.iter().product::<usize>(), array.data.len());
    }
});
