//! Sockets: their completions, their terms, their end.

use std::ffi::{c_char, c_int, c_void};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use uwarp::{End, Established, Socket, WaitError};

use super::queue;
use crate::failure::{self, Failure, Outcome, border};
use crate::fork::tables;
use crate::raw;
use crate::types::{
    UWARP_END_ABORTED, UWARP_END_FAULT, UWARP_END_GRACEFUL, UWARP_END_LOST, UWARP_END_NONE,
    UWARP_END_TERMINATED, UWARP_END_TIMEOUT, uwarp_completion, uwarp_info, uwarp_socket,
    uwarp_stats,
};

fn established(socket: &Socket) -> Outcome<Established> {
    socket
        .established()
        .ok_or_else(|| Failure::new(libc::ENOTCONN, "the connection is not set up"))
}

/// Takes up to `count` completions that are there, and returns how many. Never blocks. If the socket shares a queue,
/// they may be another socket's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_poll(
    socket: uwarp_socket,
    completions: *mut uwarp_completion,
    count: usize,
) -> c_int {
    border(|| {
        let socket = tables().sockets.get(socket)?;
        // SAFETY: the caller lends so many places.
        let out = unsafe { raw::places(completions, count) }?;
        queue::take(socket.completion_queue(), out)
    })
}

/// Waits for one completion, at most `timeout_ms` milliseconds, for ever if negative. Returns 1 if there is one, 0 if
/// the time is up. When the connection has ended and every completion has been taken, returns how it ended: -ENOTCONN if
/// in order, else -ECONNRESET, -EREMOTEIO, -EPROTO, -ECONNABORTED or -ETIMEDOUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_wait(
    socket: uwarp_socket,
    completion: *mut uwarp_completion,
    timeout_ms: c_int,
) -> c_int {
    border(|| {
        let socket = tables().sockets.get(socket)?;
        // SAFETY: the caller lends a place for one completion.
        let place = unsafe { raw::place(completion) }?;
        match socket.wait(raw::timeout(timeout_ms)) {
            Ok(completion) => {
                place.write(queue::to_c(completion));
                Ok(1)
            }
            Err(WaitError::TimedOut) => Ok(0),
            Err(error) => Err(error.into()),
        }
    })
}

/// A descriptor that is readable while completions wait, as uwarp_queue_descriptor() tells.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_completion_descriptor(socket: uwarp_socket) -> c_int {
    border(|| {
        let socket = tables().sockets.get(socket)?;
        Ok(socket.completion_descriptor()?.as_raw_fd())
    })
}

/// The socket's name in completions, never used twice in a process; 0 if the handle is none.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_socket_id(socket: uwarp_socket) -> u64 {
    let mut id = 0;
    border(|| {
        id = tables().sockets.get(socket)?.id().0;
        Ok(0)
    });
    id
}

/// What both ends have agreed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_socket_info(socket: uwarp_socket, info: *mut uwarp_info) -> c_int {
    border(|| {
        let socket = tables().sockets.get(socket)?;
        // SAFETY: the caller lends a place for one structure.
        let place = unsafe { raw::place(info) }?;
        let Established {
            agreement,
            private_data,
        } = established(&socket)?;
        place.write(uwarp_info {
            revision: u32::from(agreement.revision),
            crc: u32::from(agreement.crc),
            markers_sent: u32::from(agreement.tx_markers),
            markers_received: u32::from(agreement.rx_markers),
            ird: u32::from(agreement.ird),
            ord: u32::from(agreement.ord),
            peer_to_peer: u32::from(agreement.peer_to_peer),
            private_data_length: private_data.len() as u32,
        });
        Ok(0)
    })
}

/// Copies up to `size` octets of the peer's private data, and returns how many there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_private_data(
    socket: uwarp_socket,
    data: *mut c_void,
    size: usize,
) -> c_int {
    border(|| {
        let socket = tables().sockets.get(socket)?;
        // SAFETY: the caller lends so many octets.
        let room = unsafe { raw::places(data.cast::<u8>(), size) }?;
        raw::give(&established(&socket)?.private_data, room)
    })
}

/// # Safety
/// As [`raw::places`].
unsafe fn give_address(
    address: Option<SocketAddr>,
    out: *mut c_char,
    size: usize,
) -> Outcome<c_int> {
    // SAFETY: handed on to the caller.
    let room = unsafe { raw::places(out.cast::<u8>(), size) }?;
    let address = address.ok_or_else(|| Failure::new(libc::ENODATA, "the address is not known"))?;
    raw::give_text(&address.to_string(), room)
}

/// Writes our TCP address, as uwarp_listener_address() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_local_address(
    socket: uwarp_socket,
    address: *mut c_char,
    size: usize,
) -> c_int {
    border(|| {
        let socket = tables().sockets.get(socket)?;
        // SAFETY: the caller lends so many octets.
        unsafe { give_address(socket.local_addr(), address, size) }
    })
}

/// Writes the peer's TCP address, as uwarp_listener_address() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_peer_address(
    socket: uwarp_socket,
    address: *mut c_char,
    size: usize,
) -> c_int {
    border(|| {
        let socket = tables().sockets.get(socket)?;
        // SAFETY: the caller lends so many octets.
        unsafe { give_address(socket.peer_addr(), address, size) }
    })
}

/// What the connection has done so far.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_socket_stats(
    socket: uwarp_socket,
    stats: *mut uwarp_stats,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one structure.
        let place = unsafe { raw::place(stats) }?;
        let stats = tables().sockets.get(socket)?.stats();
        place.write(uwarp_stats {
            fpdus_sent: stats.fpdus_sent,
            fpdus_received: stats.fpdus_received,
            payload_sent: stats.payload_sent,
            payload_copied: stats.payload_copied,
            payload_direct: stats.payload_direct,
        });
        Ok(0)
    })
}

/// Whether the peer has sent its last octet: 1 or 0.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_peer_closed(socket: uwarp_socket) -> c_int {
    border(|| Ok(c_int::from(tables().sockets.get(socket)?.peer_closed())))
}

const fn end_number(end: Option<&End>) -> c_int {
    match end {
        None => UWARP_END_NONE,
        Some(End::Graceful) => UWARP_END_GRACEFUL,
        Some(End::Aborted) => UWARP_END_ABORTED,
        Some(End::Fault(_)) => UWARP_END_FAULT,
        Some(End::Terminated(_)) => UWARP_END_TERMINATED,
        Some(End::Lost) => UWARP_END_LOST,
        Some(End::StartupTimeout | End::CloseTimeout) => UWARP_END_TIMEOUT,
    }
}

/// How the connection ended: UWARP_END_NONE while it lives, UWARP_END_GRACEFUL and so on afterwards. A text about it
/// goes to `text`, as uwarp_listener_address() writes its own; `text` may be null if `size` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_end(socket: uwarp_socket, text: *mut c_char, size: usize) -> c_int {
    border(|| {
        let end = tables().sockets.get(socket)?.end();
        // SAFETY: the caller lends so many octets.
        let room = unsafe { raw::places(text.cast::<u8>(), size) }?;
        raw::give_text(&failure::end_text(end.as_ref()), room)?;
        Ok(end_number(end.as_ref()))
    })
}

/// Begins to close in order and does not wait: posted work is finished, nothing more can be posted. The handle stays,
/// for the completions.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_shutdown(socket: uwarp_socket) -> c_int {
    border(|| {
        tables().sockets.get(socket)?.shutdown()?;
        Ok(0)
    })
}

/// Ends the connection at once with a TCP reset; what is posted completes with -ECANCELED. The handle stays, for the
/// completions.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_abort(socket: uwarp_socket) -> c_int {
    border(|| {
        tables().sockets.get(socket)?.abort();
        Ok(0)
    })
}

/// Closes in order, waits for the end of the connection, no longer than the close timeout, and gives the handle up in any
/// case. Returns 0, or how the connection ended if not in order, as uwarp_wait(). Completions that were not taken are
/// gone with the socket, unless it shares a queue.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_close(socket: uwarp_socket) -> c_int {
    border(|| {
        tables().sockets.remove(socket)?.close()?;
        Ok(0)
    })
}
