//! What C's pointers have to be before they are used.
//!
//! Null, a wrong alignment and impossible lengths are found here. That what is behind a pointer is there, is what
//! each function's documentation asks of its caller.

use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::failure::{Failure, Outcome};

fn check<T>(pointer: *const T, count: usize) -> Outcome<()> {
    if pointer.is_null() {
        return Err(Failure::new(libc::EFAULT, "a null pointer"));
    }
    if !pointer.is_aligned() {
        return Err(Failure::invalid("a pointer that is not aligned"));
    }
    let len = count.checked_mul(size_of::<T>());
    if len.is_none_or(|len| len > isize::MAX as usize) {
        return Err(Failure::invalid("more elements than can be in memory"));
    }
    Ok(())
}

/// `count` elements that the caller lends for reading.
///
/// # Safety
/// If the pointer is not null, so many elements are there, and do not change for the length of `'a`.
pub(crate) unsafe fn elements<'a, T>(pointer: *const T, count: usize) -> Outcome<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    check(pointer, count)?;
    // SAFETY: not null, aligned, of a possible length, and the caller vouches for the elements.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// `count` elements that the caller lends for writing.
///
/// # Safety
/// If the pointer is not null, so many elements are there, and nobody else uses them for the length of `'a`.
pub(crate) unsafe fn places<'a, T>(
    pointer: *mut T,
    count: usize,
) -> Outcome<&'a mut [MaybeUninit<T>]> {
    if count == 0 {
        return Ok(&mut []);
    }
    check(pointer, count)?;
    // SAFETY: not null, aligned, of a possible length; the caller vouches for the places, which need not hold
    // anything.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), count) })
}

/// A place for one value.
///
/// # Safety
/// As [`places`].
pub(crate) unsafe fn place<'a, T>(pointer: *mut T) -> Outcome<&'a mut MaybeUninit<T>> {
    check(pointer, 1)?;
    // SAFETY: not null and aligned; the caller vouches for the place.
    Ok(unsafe { &mut *pointer.cast() })
}

/// A value that the caller lends.
///
/// # Safety
/// As [`elements`].
pub(crate) unsafe fn value<'a, T>(pointer: *const T) -> Outcome<&'a T> {
    check(pointer, 1)?;
    // SAFETY: not null and aligned; the caller vouches for the value.
    Ok(unsafe { &*pointer })
}

/// A text that ends with a zero.
///
/// # Safety
/// If the pointer is not null, such a text is there, and does not change for the length of `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char) -> Outcome<&'a str> {
    check(pointer, 1)?;
    // SAFETY: not null, and the caller vouches for the zero.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map_err(|_| Failure::invalid("a text that is not UTF-8"))
}

/// The octets of a place, all zero.
pub(crate) fn zeroed(room: &mut [MaybeUninit<u8>]) -> &mut [u8] {
    room.fill(MaybeUninit::new(0));
    // SAFETY: it is the same slice, of which every octet has just been set.
    unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), room.len()) }
}

/// Copies as many octets as there is room for, and returns how many there are.
pub(crate) fn give(octets: &[u8], room: &mut [MaybeUninit<u8>]) -> Outcome<c_int> {
    for (place, octet) in room.iter_mut().zip(octets) {
        place.write(*octet);
    }
    count(octets.len())
}

/// Copies a text and its zero, cut off if there is no room, and returns how long it is without the zero.
pub(crate) fn give_text(text: &str, room: &mut [MaybeUninit<u8>]) -> Outcome<c_int> {
    if let Some((last, rest)) = room.split_last_mut() {
        let len = text.len().min(rest.len());
        give(&text.as_bytes()[..len], rest)?;
        rest.get_mut(len).unwrap_or(last).write(0);
    }
    count(text.len())
}

/// A number that a function returns.
pub(crate) fn count(count: usize) -> Outcome<c_int> {
    c_int::try_from(count).map_err(|_| Failure::new(libc::EOVERFLOW, "more than an int counts"))
}

/// A time in milliseconds; a negative one is for ever.
pub(crate) fn timeout(milliseconds: c_int) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno<U>(outcome: Outcome<U>) -> i32 {
        outcome.err().map_or(0, |failure| failure.errno)
    }

    #[test]
    fn pointers_are_looked_at_first() {
        let octets = [1u8, 2, 3, 4, 5, 6, 7, 8, 9];
        let word = octets.as_ptr().cast::<u32>();
        let odd = if word.is_aligned() {
            octets[1..].as_ptr().cast::<u32>()
        } else {
            word
        };
        assert_eq!(list::<u8>(std::ptr::null(), 1), libc::EFAULT);
        assert_eq!(list::<u8>(std::ptr::null(), 0), 0);
        assert_eq!(list(odd, 1), libc::EINVAL);
        assert_eq!(list(octets.as_ptr(), usize::MAX), libc::EINVAL);
        assert_eq!(list(octets.as_ptr(), octets.len()), 0);
        assert_eq!(one::<u64>(std::ptr::null()), libc::EFAULT);
        assert_eq!(one(odd), libc::EINVAL);
        assert_eq!(words(std::ptr::null()), Err(libc::EFAULT));
        assert_eq!(words(c"\xff".as_ptr()), Err(libc::EINVAL));
        assert_eq!(words(c"good".as_ptr()), Ok("good".to_owned()));
    }

    fn list<T>(pointer: *const T, count: usize) -> i32 {
        // SAFETY: only pointers that are refused, and one to an array with its length, come here.
        errno(unsafe { elements(pointer, count) })
    }

    fn one<T>(pointer: *const T) -> i32 {
        // SAFETY: only pointers that are refused come here.
        errno(unsafe { value(pointer) })
    }

    fn words(pointer: *const c_char) -> Result<String, i32> {
        // SAFETY: only null and literals of C come here.
        let text = unsafe { text(pointer) };
        text.map(str::to_owned).map_err(|failure| failure.errno)
    }

    fn given(text: &str, size: usize) -> (c_int, Vec<u8>) {
        let mut room = vec![MaybeUninit::new(9u8); size];
        let len = give_text(text, &mut room).expect("it is short");
        // SAFETY: every place was made with a value.
        let room = room
            .iter()
            .map(|octet| unsafe { octet.assume_init() })
            .collect();
        (len, room)
    }

    #[test]
    fn texts_end_with_a_zero_in_any_room() {
        assert_eq!(given("abc", 5), (3, b"abc\0\x09".to_vec()));
        assert_eq!(given("abc", 4), (3, b"abc\0".to_vec()));
        assert_eq!(given("abc", 3), (3, b"ab\0".to_vec()));
        assert_eq!(given("abc", 1), (3, b"\0".to_vec()));
        assert_eq!(given("abc", 0), (3, Vec::new()));
    }

    #[test]
    fn a_negative_time_has_no_end() {
        assert_eq!(timeout(-1), None);
        assert_eq!(timeout(0), Some(Duration::ZERO));
    }
}
