//! The owned buffer that goes into registration and comes back.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

/// Why memory could not be had, or not be taken for registration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The length is more than any one object may have (`isize::MAX`), or runs past the end of the address space.
    #[error("a buffer of {len} octets cannot be addressed")]
    TooLong {
        /// Octets asked for.
        len: usize,
    },
    /// The address is null, but the length is not zero.
    #[error("null is not the address of {len} octets")]
    Null {
        /// Octets asked for.
        len: usize,
    },
    /// The system has no room for it.
    #[error("no room for a buffer of {len} octets")]
    NoRoom {
        /// Octets asked for.
        len: usize,
        /// What the system said.
        source: io::Error,
    },
}

/// Where the octets came from, and so how they are given back.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// A `Vec<u8>` of this capacity.
    Heap { capacity: usize },
    /// Anonymous pages of exactly the memory's length, never zero.
    Pages,
}

/// An owned buffer for registration: made from a `Vec<u8>`, a boxed slice or fresh zero pages, and an ordinary
/// `[u8]` as long as it is not registered.
///
/// It keeps the parts of the allocation rather than a `Vec`, because moving a `Vec` asserts that nobody else reaches
/// its octets, which is not so once they are registered.
///
/// ```
/// use uwarp::memory::{Memory, RegionMemory};
///
/// let mut memory = Memory::from(b"over there".to_vec());
/// memory[..4].copy_from_slice(b"down");
/// let region = RegionMemory::new(memory);
/// region.write_at(5, b"below")?;
///
/// // Deregistered: it is ours alone again, and the vector was never copied.
/// let memory = region.into_memory().expect("owned from the start");
/// assert_eq!(memory.into_vec(), b"down below");
/// # Ok::<(), uwarp::memory::SpanError>(())
/// ```
#[derive(Debug)]
pub struct Memory {
    ptr: NonNull<u8>,
    len: usize,
    origin: Origin,
}

// SAFETY: a Memory owns its octets as a Vec does, and has no other state.
unsafe impl Send for Memory {}
// SAFETY: through `&Memory` they can only be read, as through `&Vec<u8>`.
unsafe impl Sync for Memory {}

impl Memory {
    /// `len` octets of zero in pages of their own. The pages cost nothing until they are touched.
    ///
    /// # Errors
    ///
    /// [`MemoryError::TooLong`] over `isize::MAX` octets, [`MemoryError::NoRoom`] if the system refuses.
    pub fn zeroed(len: usize) -> Result<Self, MemoryError> {
        if len == 0 {
            return Ok(Self::from(Vec::new()));
        }
        if isize::try_from(len).is_err() {
            return Err(MemoryError::TooLong { len });
        }
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice disturbs nothing.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        match NonNull::new(at.cast()) {
            Some(ptr) if at != libc::MAP_FAILED => Ok(Self {
                ptr,
                len,
                origin: Origin::Pages,
            }),
            _ => Err(MemoryError::NoRoom {
                len,
                source: io::Error::last_os_error(),
            }),
        }
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `ptr` and `len` are an initialised allocation that this value owns; it is not registered, or it
        // would be inside a RegionMemory, which lends it to nobody.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The octets, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as for `as_slice`, and `&mut self` makes the access exclusive.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// The octets as a vector: the very one this was made from, or a copy if it was made by [`Memory::zeroed`].
    pub fn into_vec(self) -> Vec<u8> {
        match self.origin {
            Origin::Pages => self.as_slice().to_vec(),
            Origin::Heap { capacity } => {
                let parts = ManuallyDrop::new(self);
                // SAFETY: these are the parts `From<Vec<u8>>` took, and nothing drops them a second time.
                unsafe { Vec::from_raw_parts(parts.ptr.as_ptr(), parts.len, capacity) }
            }
        }
    }

    /// The address of the first octet, for the room next door.
    pub(super) fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.origin {
            Origin::Heap { capacity } => {
                // SAFETY: these are the parts `From<Vec<u8>>` took, given back once.
                drop(unsafe { Vec::from_raw_parts(self.ptr.as_ptr(), self.len, capacity) });
            }
            Origin::Pages => {
                // SAFETY: the mapping was made by `zeroed` with this length and nothing refers to it any more. Its
                // failure would leave it mapped, which harms nobody.
                let _ = unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
            }
        }
    }
}

impl From<Vec<u8>> for Memory {
    fn from(octets: Vec<u8>) -> Self {
        let mut octets = ManuallyDrop::new(octets);
        let (len, capacity) = (octets.len(), octets.capacity());
        // SAFETY: a vector's pointer is never null.
        let ptr = unsafe { NonNull::new_unchecked(octets.as_mut_ptr()) };
        Self {
            ptr,
            len,
            origin: Origin::Heap { capacity },
        }
    }
}

impl From<Box<[u8]>> for Memory {
    fn from(octets: Box<[u8]>) -> Self {
        Self::from(octets.into_vec())
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_vector_comes_back_without_a_copy() {
        let mut vector = Vec::with_capacity(64);
        vector.extend_from_slice(b"the very same");
        let (at, capacity) = (vector.as_ptr(), vector.capacity());
        let mut memory = Memory::from(vector);
        memory.as_mut_slice()[0] = b'T';
        let vector = memory.into_vec();
        assert_eq!(vector, b"The very same");
        assert_eq!((vector.as_ptr(), vector.capacity()), (at, capacity));
    }

    #[test]
    fn a_boxed_slice_goes_in_and_is_freed() {
        let memory = Memory::from(vec![3; 10].into_boxed_slice());
        assert_eq!(*memory, [3; 10]);
    }

    #[test]
    fn pages_are_zero_and_begin_on_a_page() {
        let len = 3 * 4096 + 5;
        let mut memory = Memory::zeroed(len).expect("three pages and a bit");
        assert_eq!(memory.len(), len);
        assert_eq!(memory.ptr().addr().get() % 4096, 0);
        assert!(memory.iter().all(|octet| *octet == 0));
        memory[len - 1] = 9;
        let copy = memory.into_vec();
        assert_eq!((copy.len(), copy[len - 1]), (len, 9));
    }

    #[test]
    fn nothing_at_all_is_a_buffer_too() {
        assert!(Memory::zeroed(0).expect("no octets").is_empty());
        assert!(Memory::from(Vec::new()).into_vec().is_empty());
    }

    #[test]
    fn lengths_nobody_has_room_for_are_errors() {
        assert!(matches!(
            Memory::zeroed(usize::MAX),
            Err(MemoryError::TooLong { .. })
        ));
        // Miri gives up, rather than refuse, when its host has no such room.
        if !cfg!(miri) {
            let most = isize::MAX as usize;
            assert!(
                matches!(Memory::zeroed(most), Err(MemoryError::NoRoom { len, .. }) if len == most)
            );
        }
    }
}
