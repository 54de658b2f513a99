//! Posting work. None of these functions waits for the network, and each request that was taken ends in exactly one
//! completion.

use std::ffi::c_int;

use uwarp::{AtomicOperation, PostError, SendFlags, Sge, Socket, Stag};

use super::remote;
use crate::failure::{Failure, Outcome, border};
use crate::fork::tables;
use crate::raw;
use crate::types::{
    UWARP_IMMEDIATE_LEN, UWARP_INVALIDATE, UWARP_MAX_SGE, UWARP_SOLICITED, uwarp_remote, uwarp_sge,
    uwarp_socket,
};

/// The parts of regions that a list names.
///
/// # Safety
/// As [`raw::elements`].
pub(super) unsafe fn list(list: *const uwarp_sge, count: usize) -> Outcome<Vec<Sge>> {
    if count > UWARP_MAX_SGE {
        return Err(PostError::TooManyElements.into());
    }
    // SAFETY: handed on to the caller.
    let list = unsafe { raw::elements(list, count) }?;
    list.iter().map(element).collect()
}

fn element(element: &uwarp_sge) -> Outcome<Sge> {
    if element.reserved != 0 {
        return Err(Failure::invalid(
            "the reserved field of an element is not 0",
        ));
    }
    let owned = tables().regions.get(element.region)?;
    let outside = || {
        let (offset, length, size) = (element.offset, element.length, owned.region.len());
        Failure::new(
            libc::ERANGE,
            format!("{length} octets at {offset} are not inside a region of {size}"),
        )
    };
    let start = usize::try_from(element.offset).map_err(|_| outside())?;
    let end = start
        .checked_add(element.length as usize)
        .ok_or_else(outside)?;
    Ok(owned.region.slice(start..end)?)
}

fn post(
    socket: uwarp_socket,
    post: impl FnOnce(&Socket) -> Result<(), PostError>,
) -> Outcome<c_int> {
    post(&*tables().sockets.get(socket)?)?;
    Ok(0)
}

/// Posts a Send of the octets of a gather list, for which the peer must have posted a receive. `flags` are
/// UWARP_SOLICITED and UWARP_INVALIDATE, or 0; `invalidate` is the peer's STag that is to be invalidated with the latter.
/// `id` comes back in the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_post_send(
    socket: uwarp_socket,
    id: u64,
    list: *const uwarp_sge,
    count: usize,
    flags: u32,
    invalidate: u32,
) -> c_int {
    border(|| {
        if flags & !(UWARP_SOLICITED | UWARP_INVALIDATE) != 0 {
            return Err(Failure::invalid(format!(
                "{flags:#x} has bits that are no flag"
            )));
        }
        let flags = SendFlags {
            solicited: flags & UWARP_SOLICITED != 0,
            invalidate: (flags & UWARP_INVALIDATE != 0).then_some(Stag(invalidate)),
        };
        // SAFETY: the caller lends so many elements.
        let list = unsafe { self::list(list, count) }?;
        post(socket, |socket| socket.post_send(id, &list, flags))
    })
}

/// Posts buffers for one incoming Send. Receives are used in the order of posting.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_post_receive(
    socket: uwarp_socket,
    id: u64,
    list: *const uwarp_sge,
    count: usize,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends so many elements.
        let list = unsafe { self::list(list, count) }?;
        post(socket, |socket| socket.post_recv(id, &list))
    })
}

/// Posts an RDMA Write of the octets of a gather list to the beginning of `remote`. The peer is not told; a Send that
/// is posted afterwards tells it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_post_write(
    socket: uwarp_socket,
    id: u64,
    list: *const uwarp_sge,
    count: usize,
    remote: *const uwarp_remote,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends so many elements.
        let list = unsafe { self::list(list, count) }?;
        // SAFETY: the caller lends a description.
        let remote = remote::from_c(unsafe { raw::value(remote) }?);
        post(socket, |socket| socket.post_write(id, &list, remote))
    })
}

/// Posts an RDMA Read from the beginning of `remote` into the buffers of a scatter list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_post_read(
    socket: uwarp_socket,
    id: u64,
    list: *const uwarp_sge,
    count: usize,
    remote: *const uwarp_remote,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends so many elements.
        let list = unsafe { self::list(list, count) }?;
        // SAFETY: the caller lends a description.
        let remote = remote::from_c(unsafe { raw::value(remote) }?);
        post(socket, |socket| socket.post_read(id, &list, remote))
    })
}

/// Posts UWARP_IMMEDIATE_LEN octets that arrive in the completion of a receive of the peer's, whose buffers are not
/// touched. `flags` is UWARP_SOLICITED or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_post_immediate(
    socket: uwarp_socket,
    id: u64,
    data: *const u8,
    flags: u32,
) -> c_int {
    border(|| {
        if flags & !UWARP_SOLICITED != 0 {
            return Err(Failure::invalid(format!(
                "{flags:#x} has bits that are no flag"
            )));
        }
        // SAFETY: the caller lends so many octets.
        let data = unsafe { raw::elements(data, UWARP_IMMEDIATE_LEN) }?;
        let data = data
            .try_into()
            .map_err(|_| Failure::invalid("Immediate Data has 8 octets"))?;
        post(socket, |socket| {
            socket.post_immediate(id, data, flags & UWARP_SOLICITED != 0)
        })
    })
}

/// Posts a fetch-and-add on the 64-bit word at the beginning of `remote`, in the peer's byte order. `mask` has a 1 at the
/// most significant bit of each field of the word, whose carry is dropped; 0 makes the word one field. The completion
/// has the word as it was before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_post_fetch_add(
    socket: uwarp_socket,
    id: u64,
    remote: *const uwarp_remote,
    add: u64,
    mask: u64,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a description.
        let remote = remote::from_c(unsafe { raw::value(remote) }?);
        let operation = AtomicOperation::FetchAdd { add, mask };
        post(socket, |socket| socket.post_atomic(id, operation, remote))
    })
}

/// Posts a compare-and-swap on the 64-bit word at the beginning of `remote`, in the peer's byte order: if the bits of
/// `compare_mask` are as in `compare`, those of `swap_mask` become as in `swap`. The completion has the word as it was
/// before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_post_compare_swap(
    socket: uwarp_socket,
    id: u64,
    remote: *const uwarp_remote,
    compare: u64,
    compare_mask: u64,
    swap: u64,
    swap_mask: u64,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a description.
        let remote = remote::from_c(unsafe { raw::value(remote) }?);
        let operation = AtomicOperation::CompareSwap {
            compare,
            compare_mask,
            swap,
            swap_mask,
        };
        post(socket, |socket| socket.post_atomic(id, operation, remote))
    })
}
