//! Four numbers that are worked on together.
//!
//! In the browser they are one register by name, since whether a compiler finds that out for plain loops was seen to change
//! from one build to the next, and products then take five times as long. Elsewhere plain arrays do.

/// Four numbers.
#[derive(Clone, Copy)]
pub(crate) struct Lanes(Four);

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use std::arch::wasm32::{f32x4_add, f32x4_mul, f32x4_splat, v128 as Four, v128_load, v128_store};
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
type Four = [f32; 4];

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[expect(unsafe_code, reason = "loads and stores of registers take pointers; these come from arrays of their size")]
impl Lanes {
    #[inline(always)]
    pub fn splat(x: f32) -> Self {
        Self(f32x4_splat(x))
    }

    #[inline(always)]
    pub fn load(x: &[f32; 4]) -> Self {
        // SAFETY: the array has the register's size, and loads need no alignment.
        Self(unsafe { v128_load(x.as_ptr().cast()) })
    }

    #[inline(always)]
    pub fn store(self, to: &mut [f32; 4]) {
        // SAFETY: as in `load`.
        unsafe { v128_store(to.as_mut_ptr().cast(), self.0) }
    }

    /// self + a·b
    #[inline(always)]
    pub fn add_product(self, a: Self, b: Self) -> Self {
        Self(f32x4_add(self.0, f32x4_mul(a.0, b.0)))
    }

    #[inline(always)]
    pub fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
impl Lanes {
    #[inline(always)]
    pub fn splat(x: f32) -> Self {
        Self([x; 4])
    }

    #[inline(always)]
    pub fn load(x: &[f32; 4]) -> Self {
        Self(*x)
    }

    #[inline(always)]
    pub fn store(self, to: &mut [f32; 4]) {
        *to = self.0;
    }

    /// self + a·b
    #[inline(always)]
    pub fn add_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + a.0[lane] * b.0[lane]))
    }

    #[inline(always)]
    pub fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }
}

impl Lanes {
    /// The sum of the four.
    #[inline(always)]
    pub fn sum(self) -> f32 {
        let mut four = [0.0; 4];
        self.store(&mut four);
        four[0] + four[1] + (four[2] + four[3])
    }
}
