//! Vectorscan, or Hyperscan whose interface it has: loaded at run time, so that no build needs it.
//! `apt-get install libhyperscan5` or `libvectorscan5`.
#![expect(unsafe_code, reason = "calls of a C library, in a bench alone")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::ptr;

use libloading::{Library, Symbol};

/// A number of 13–19 digits with single separators.
const CARD: &CStr = c"[0-9](?:[ -]?[0-9]){12,18}";
/// `HS_MODE_BLOCK`
const BLOCK: c_uint = 1;

type Compile = unsafe extern "C" fn(
    *const c_char,
    c_uint,
    c_uint,
    *const c_void,
    *mut *mut c_void,
    *mut *mut c_void,
) -> c_int;
type AllocScratch = unsafe extern "C" fn(*const c_void, *mut *mut c_void) -> c_int;
type OnMatch =
    extern "C" fn(c_uint, c_ulonglong, c_ulonglong, c_uint, context: *mut c_void) -> c_int;
type Scan = unsafe extern "C" fn(
    *const c_void,
    *const c_char,
    c_uint,
    c_uint,
    *mut c_void,
    OnMatch,
    *mut c_void,
) -> c_int;

/// The library with the pattern compiled; both live as long as the bench.
pub(crate) struct Vectorscan {
    library: Library,
    database: *mut c_void,
    scratch: *mut c_void,
}

impl Vectorscan {
    /// `None` where the library is not there.
    pub(crate) fn load() -> Option<Self> {
        let (mut database, mut scratch, mut error) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: the library is the distribution's; the signatures are those of hs_compile.h and
        // hs_runtime.h, and what they write to lives until they return.
        unsafe {
            let library = Library::new("libhs.so.5").ok()?;
            let compile: Symbol<'_, Compile> = library.get(b"hs_compile\0").ok()?;
            let alloc: Symbol<'_, AllocScratch> = library.get(b"hs_alloc_scratch\0").ok()?;
            let compiled =
                compile(CARD.as_ptr(), 0, BLOCK, ptr::null(), &raw mut database, &raw mut error);
            let ready = compiled == 0 && alloc(database, &raw mut scratch) == 0;
            ready.then_some(Self { library, database, scratch })
        }
    }

    /// How many matches end in the text.
    pub(crate) fn count(&self, text: &[u8]) -> u64 {
        extern "C" fn add(
            _: c_uint,
            _: c_ulonglong,
            _: c_ulonglong,
            _: c_uint,
            count: *mut c_void,
        ) -> c_int {
            // SAFETY: `count` is the number below, which nothing else uses while it is scanned.
            unsafe { *count.cast::<u64>() += 1 };
            0
        }
        let mut count = 0_u64;
        let length = c_uint::try_from(text.len()).expect("a text of less than 4 GiB");
        // SAFETY: as above; the text is as long as is said.
        let status = unsafe {
            let scan: Symbol<'_, Scan> = self.library.get(b"hs_scan\0").expect("its main function");
            let context = (&raw mut count).cast();
            scan(self.database, text.as_ptr().cast(), length, 0, self.scratch, add, context)
        };
        assert_eq!(status, 0, "hs_scan failed");
        count
    }
}
