//! Completions.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use uwarp::{Completion, CompletionQueue, OperationKind, Status};

use crate::failure::{Failure, Outcome, border};
use crate::fork::tables;
use crate::raw;
use crate::types::{
    UWARP_ATOMIC, UWARP_HAS_IMMEDIATE, UWARP_HAS_INVALIDATED, UWARP_HAS_ORIGINAL,
    UWARP_HAS_SOLICITED, UWARP_IMMEDIATE, UWARP_READ, UWARP_RECEIVE, UWARP_SEND, UWARP_WRITE,
    uwarp_completion, uwarp_queue,
};

pub(super) fn to_c(completion: Completion) -> uwarp_completion {
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let (status, terminate) = match completion.status {
        Status::Success => (0, 0),
        Status::Flushed => (-libc::ECANCELED, 0),
        Status::Refused(code) => (
            -libc::EREMOTEIO,
            u32::from(code.layer.bits()) << 16 | u32::from(code.etype) << 8 | u32::from(code.code),
        ),
    };
    uwarp_completion {
        id: completion.id,
        socket_id: completion.socket.0,
        original: completion.original.unwrap_or(0),
        immediate: completion.immediate.unwrap_or_default(),
        kind: match completion.kind {
            OperationKind::Send => UWARP_SEND,
            OperationKind::Write => UWARP_WRITE,
            OperationKind::Read => UWARP_READ,
            OperationKind::Receive => UWARP_RECEIVE,
            OperationKind::Immediate => UWARP_IMMEDIATE,
            OperationKind::Atomic => UWARP_ATOMIC,
        },
        status,
        length: completion.len,
        flags: flag(completion.solicited, UWARP_HAS_SOLICITED)
            | flag(completion.invalidated.is_some(), UWARP_HAS_INVALIDATED)
            | flag(completion.immediate.is_some(), UWARP_HAS_IMMEDIATE)
            | flag(completion.original.is_some(), UWARP_HAS_ORIGINAL),
        invalidated: completion.invalidated.map_or(0, |stag| stag.0),
        terminate,
    }
}

/// Takes what is there, as much as there is room for.
pub(super) fn take(
    queue: &CompletionQueue,
    out: &mut [MaybeUninit<uwarp_completion>],
) -> Outcome<c_int> {
    let mut taken = 0;
    for place in out {
        let Some(completion) = queue.poll_one() else {
            break;
        };
        place.write(to_c(completion));
        taken += 1;
    }
    raw::count(taken)
}

/// Makes a completion queue for sockets to share. Over all of them so many requests may be posted whose completions
/// have not been taken: 1 to 2^20.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_queue_create(capacity: u32, queue: *mut uwarp_queue) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(queue) }?;
        if !(1..=1 << 20).contains(&capacity) {
            let text = format!("a queue for {capacity}, but 1 to 1048576 is possible");
            return Err(Failure::invalid(text));
        }
        place.write(tables().queues.insert(CompletionQueue::new(capacity))?);
        Ok(0)
    })
}

/// Gives the handle up. Sockets that use the queue keep it.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_queue_destroy(queue: uwarp_queue) -> c_int {
    border(|| tables().queues.remove(queue).map(|_| 0))
}

/// Takes up to `count` completions that are there, and returns how many. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_queue_poll(
    queue: uwarp_queue,
    completions: *mut uwarp_completion,
    count: usize,
) -> c_int {
    border(|| {
        let queue = tables().queues.get(queue)?;
        // SAFETY: the caller lends so many places.
        let out = unsafe { raw::places(completions, count) }?;
        take(&queue, out)
    })
}

/// Waits for one completion, at most `timeout_ms` milliseconds, for ever if negative. Returns 1 if there is one; 0 if
/// not, when the time is up or when a socket of the queue has come to its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_queue_wait(
    queue: uwarp_queue,
    completion: *mut uwarp_completion,
    timeout_ms: c_int,
) -> c_int {
    border(|| {
        let queue = tables().queues.get(queue)?;
        // SAFETY: the caller lends a place for one completion.
        let place = unsafe { raw::place(completion) }?;
        Ok(match queue.wait_one(raw::timeout(timeout_ms))? {
            Some(completion) => {
                place.write(to_c(completion));
                1
            }
            None => 0,
        })
    })
}

/// A descriptor that is readable while completions wait, for poll(2), select(2) and epoll(7). It is the library's: do
/// not read from it and do not close it. It may be readable when there is none: poll until there is nothing more, and only
/// then wait for it. It is there as long as the handle.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_queue_descriptor(queue: uwarp_queue) -> c_int {
    border(|| Ok(tables().queues.get(queue)?.descriptor()?.as_raw_fd()))
}
