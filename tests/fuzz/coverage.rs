//! The code that inputs have reached, for the driver: it goes on from those that reached more. Known only
//! in a build with counters (`counted`); in any other no input has reached anything.

/// How often each counter of the program has been passed, in powers of two, since it began.
#[derive(Default)]
pub struct Coverage {
    /// A bit for each power of two.
    seen: Vec<u8>,
}

impl Coverage {
    /// Returns `true` if there is anything to know.
    pub const fn is_known() -> bool {
        cfg!(fuzz_coverage)
    }

    /// Forgets what has run since the last look.
    pub fn begin() {
        counters::take(|_, _| {});
    }

    /// Returns how many counters were passed for the first time since [`Coverage::begin`], or more
    /// often than ever.
    pub fn news(&mut self) -> usize {
        self.look(|count| 1 << count.ilog2().min(7))
    }

    /// As [`Coverage::news`], but how often does not matter.
    pub fn places(&mut self) -> usize {
        self.look(|_| 1)
    }

    fn look(&mut self, bit: impl Fn(u64) -> u8) -> usize {
        let (seen, mut news) = (&mut self.seen, 0);
        counters::take(|place, count| {
            if seen.len() <= place {
                seen.resize(place + 1, 0);
            }
            let bit = bit(count);
            news += usize::from(seen[place] & bit == 0);
            seen[place] |= bit;
        });
        news
    }
}

#[cfg(fuzz_coverage)]
#[allow(unsafe_code, reason = "the counters are LLVM's")]
mod counters {
    unsafe extern "C" {
        safe fn __llvm_profile_begin_counters() -> *mut u64;
        safe fn __llvm_profile_end_counters() -> *mut u64;
    }

    /// Shows each counter that is not zero with its place, and sets it to zero.
    pub fn take(mut show: impl FnMut(usize, u64)) {
        let (begin, end) = (
            __llvm_profile_begin_counters(),
            __llvm_profile_end_counters(),
        );
        // SAFETY: the two are the ends of one section of the program, which consists of counters. Other
        // threads of the program may count meanwhile; what they count may be lost.
        let counters = unsafe {
            let length = usize::try_from(end.offset_from(begin)).unwrap();
            std::slice::from_raw_parts_mut(begin, length)
        };
        for (place, counter) in counters.iter_mut().enumerate() {
            if *counter != 0 {
                show(place, std::mem::take(counter));
            }
        }
    }
}

#[cfg(not(fuzz_coverage))]
mod counters {
    pub fn take(_: impl FnMut(usize, u64)) {}
}
