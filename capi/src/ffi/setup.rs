//! From addresses and descriptors to sockets.

use std::ffi::{c_char, c_int, c_void};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use std::time::{Duration, Instant};

use uwarp::{DdpMode, Error, Incoming, Listener};

use super::{options, post};
use crate::failure::{Failure, Outcome, border, keep_rejection};
use crate::fork::tables;
use crate::raw;
use crate::types::{uwarp_incoming, uwarp_listener, uwarp_options, uwarp_sge, uwarp_socket};

/// How often a waiting thread looks whether its listener has been closed.
const LOOK: Duration = Duration::from_millis(100);

/// A descriptor of the caller's, of which the library uses a copy until it is sure that it wants it.
struct Lent {
    original: c_int,
    /// Its status flags, which the copy shares and the set-up changes.
    flags: c_int,
}

impl Lent {
    /// A copy of the descriptor, closed in programs that are executed.
    ///
    /// # Safety
    /// Nobody closes the descriptor meanwhile.
    unsafe fn copy(original: c_int) -> Outcome<(Self, OwnedFd)> {
        if original < 0 {
            return Err(Failure::new(libc::EBADF, "a negative descriptor"));
        }
        // SAFETY: not negative; whether it is open is found out by copying it, and nobody closes it meanwhile.
        let copy = unsafe { BorrowedFd::borrow_raw(original) }.try_clone_to_owned()?;
        // SAFETY: asks for flags, and touches no memory.
        let flags = unsafe { libc::fcntl(original, libc::F_GETFL) };
        let lent = Self { original, flags };
        Ok((lent, copy))
    }

    /// Closes the caller's descriptor on success, and leaves it as it was otherwise.
    fn settle<T>(self, outcome: Outcome<T>) -> Outcome<T> {
        match outcome {
            Ok(value) => {
                // SAFETY: the contract gives the descriptor to the library when the call succeeds.
                drop(unsafe { OwnedFd::from_raw_fd(self.original) });
                Ok(value)
            }
            Err(failure) => {
                self.restore_flags();
                Err(failure)
            }
        }
    }

    fn restore_flags(&self) {
        if self.flags >= 0 {
            // SAFETY: sets flags, and touches no memory.
            unsafe { libc::fcntl(self.original, libc::F_SETFL, self.flags) };
        }
    }
}

/// Listens on `address`, as "127.0.0.1:7471" or "[::1]:0"; accepted sockets have `options`. With port 0 the system
/// chooses one, which uwarp_listener_address() tells.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_listen(
    address: *const c_char,
    options: uwarp_options,
    listener: *mut uwarp_listener,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a text.
        let address = unsafe { raw::text(address) }?;
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(listener) }?;
        let bound = Listener::bind(address, &options::get(options)?)?;
        place.write(tables().listeners.insert(bound)?);
        Ok(0)
    })
}

/// Listens on a TCP socket of the program's that listens already. On success the descriptor is the library's; on
/// failure it is the program's as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_listen_descriptor(
    descriptor: c_int,
    options: uwarp_options,
    listener: *mut uwarp_listener,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(listener) }?;
        let options = options::get(options)?;
        // SAFETY: the caller lends the descriptor.
        let (lent, copy) = unsafe { Lent::copy(descriptor) }?;
        let made = Listener::from_tcp(TcpListener::from(copy), &options).map_err(Failure::from);
        let handle = lent.settle(made.and_then(|made| tables().listeners.insert(made)))?;
        place.write(handle);
        Ok(0)
    })
}

/// Writes the address that the listener listens on, as a text that ends with a zero and is cut off after `size`
/// octets, and returns its length without the zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_listener_address(
    listener: uwarp_listener,
    address: *mut c_char,
    size: usize,
) -> c_int {
    border(|| {
        let listener = tables().listeners.get(listener)?;
        // SAFETY: the caller lends so many octets.
        let room = unsafe { raw::places(address.cast::<u8>(), size) }?;
        raw::give_text(&listener.local_addr().to_string(), room)
    })
}

/// Closes the listener. Connections that wait to be taken are closed, and a thread that waits in uwarp_accept()
/// returns with -EBADF.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_listener_close(listener: uwarp_listener) -> c_int {
    border(|| tables().listeners.remove(listener).map(|_| 0))
}

/// Waits for a connection whose MPA Request has come, at most `timeout_ms` milliseconds, for ever if negative;
/// -EAGAIN when nobody came.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_accept(
    listener: uwarp_listener,
    timeout_ms: c_int,
    incoming: *mut uwarp_incoming,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(incoming) }?;
        let deadline = raw::timeout(timeout_ms).map(|time| Instant::now() + time);
        let accepted = loop {
            // Looked up each time, so that it is not kept alive when another thread closes it.
            let listener = tables().listeners.get(listener)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match listener.accept_timeout(left.map_or(LOOK, |left| left.min(LOOK))) {
                Ok(accepted) => break accepted,
                Err(Error::AcceptTimeout(_)) if left.is_none_or(|left| left > LOOK) => (),
                Err(error) => return Err(error.into()),
            }
        };
        place.write(tables().incoming.insert(accepted)?);
        Ok(0)
    })
}

/// Copies up to `size` octets of the peer's private data, and returns how many there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_incoming_private_data(
    incoming: uwarp_incoming,
    data: *mut c_void,
    size: usize,
) -> c_int {
    border(|| {
        let incoming = tables().incoming.get(incoming)?;
        // SAFETY: the caller lends so many octets.
        let room = unsafe { raw::places(data.cast::<u8>(), size) }?;
        raw::give(incoming.private_data(), room)
    })
}

/// Writes the peer's TCP address, as uwarp_listener_address() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_incoming_address(
    incoming: uwarp_incoming,
    address: *mut c_char,
    size: usize,
) -> c_int {
    border(|| {
        let incoming = tables().incoming.get(incoming)?;
        // SAFETY: the caller lends so many octets.
        let room = unsafe { raw::places(address.cast::<u8>(), size) }?;
        let address = incoming
            .peer_addr()
            .ok_or_else(|| Failure::new(libc::ENODATA, "the address is not known"))?;
        raw::give_text(&address.to_string(), room)
    })
}

/// Posts a receive before the peer is told that it may send. Its completion comes at the socket that
/// uwarp_incoming_accept() gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_incoming_post_receive(
    incoming: uwarp_incoming,
    id: u64,
    list: *const uwarp_sge,
    count: usize,
) -> c_int {
    border(|| {
        let incoming = tables().incoming.get(incoming)?;
        // SAFETY: the caller lends so many elements.
        let list = unsafe { post::list(list, count) }?;
        incoming.post_recv(id, &list)?;
        Ok(0)
    })
}

/// The connection, out of its handle, if no other thread is using it.
fn take_incoming(incoming: uwarp_incoming) -> Outcome<Incoming> {
    let mut taken = None;
    tables().incoming.try_remove(incoming, |incoming| {
        taken = Some(incoming);
        Ok(())
    })?;
    taken.ok_or_else(|| {
        Failure::new(
            libc::EBUSY,
            "another thread is in a call with this incoming connection",
        )
    })
}

fn check_private_data(incoming: uwarp_incoming, length: usize) -> Outcome<()> {
    let enhanced = tables().incoming.get(incoming)?.request().enhanced;
    let limit = if enhanced { 508 } else { 512 };
    if length > limit {
        let text = format!("{length} octets of private data, but at most {limit} fit");
        return Err(Failure::new(libc::EMSGSIZE, text));
    }
    Ok(())
}

/// Accepts the connection, with private data of at most 508 octets (512 for a peer of revision 1), and gives the
/// handle `incoming` up, unless the arguments are at fault or another thread uses it (-EBUSY). What is posted is sent
/// when the peer has sent its first octets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_incoming_accept(
    incoming: uwarp_incoming,
    data: *const c_void,
    length: usize,
    socket: *mut uwarp_socket,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(socket) }?;
        check_private_data(incoming, length)?;
        // SAFETY: the caller lends so many octets.
        let data = unsafe { raw::elements(data.cast::<u8>(), length) }?;
        let accepted = take_incoming(incoming)?.accept(data)?;
        place.write(tables().sockets.insert(accepted)?);
        Ok(0)
    })
}

/// Rejects the connection, with private data as for uwarp_incoming_accept(), and gives the handle up, with the same
/// exceptions. `required_ord` tells the peer which ORD is needed, unless it is negative. The TCP connection stays
/// open: its descriptor goes to `descriptor`, or is closed if that is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_incoming_reject(
    incoming: uwarp_incoming,
    data: *const c_void,
    length: usize,
    required_ord: c_int,
    descriptor: *mut c_int,
) -> c_int {
    border(|| {
        let required_ord = if required_ord < 0 {
            None
        } else {
            let ord = u16::try_from(required_ord)
                .map_err(|_| Failure::invalid(format!("{required_ord} is no ORD")))?;
            Some(ord)
        };
        check_private_data(incoming, length)?;
        // SAFETY: the caller lends so many octets.
        let data = unsafe { raw::elements(data.cast::<u8>(), length) }?;
        let place = if descriptor.is_null() {
            None
        } else {
            // SAFETY: the caller lends a place for one descriptor.
            Some(unsafe { raw::place(descriptor) }?)
        };
        let stream = take_incoming(incoming)?.reject(data, required_ord)?;
        if let Some(place) = place {
            place.write(stream.into_raw_fd());
        }
        Ok(0)
    })
}

/// Closes the connection without an answer.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_incoming_close(incoming: uwarp_incoming) -> c_int {
    border(|| tables().incoming.remove(incoming).map(|_| 0))
}

/// Connects to `address`, as "192.0.2.1:7471" or with a name, and sets the connection to DDPMODE. -ECONNREFUSED also
/// when the peer rejects it, and then uwarp_last_rejection() tells more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_connect(
    address: *const c_char,
    options: uwarp_options,
    socket: *mut uwarp_socket,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a text.
        let address = unsafe { raw::text(address) }?;
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(socket) }?;
        let connected = uwarp::connect(address, &options::get(options)?).map_err(keep_rejection)?;
        place.write(tables().sockets.insert(connected)?);
        Ok(0)
    })
}

/// Sets DDPMODE on a TCP connection of the program's, as initiator; one end has to be initiator, the other responder,
/// whoever has connected. On success the descriptor is the library's. On failure it is the program's as before; if the
/// peer has rejected (-ECONNREFUSED) it is an ordinary TCP connection again, otherwise it is of no use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_initiate(
    descriptor: c_int,
    options: uwarp_options,
    socket: *mut uwarp_socket,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(socket) }?;
        let options = options::get(options)?;
        // SAFETY: the caller lends the descriptor.
        let (lent, copy) = unsafe { Lent::copy(descriptor) }?;
        let made = TcpStream::from(copy)
            .set_ddp_mode(&options)
            .map_err(|error| Failure::from(keep_rejection(error)));
        place.write(lent.settle(made.and_then(|made| tables().sockets.insert(made)))?);
        Ok(0)
    })
}

/// Sets DDPMODE on a TCP connection of the program's, as responder: waits for the peer's Request, which is then to be
/// accepted or rejected. The descriptor goes the way that uwarp_initiate() says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_respond(
    descriptor: c_int,
    options: uwarp_options,
    incoming: *mut uwarp_incoming,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(incoming) }?;
        let options = options::get(options)?;
        // SAFETY: the caller lends the descriptor.
        let (lent, copy) = unsafe { Lent::copy(descriptor) }?;
        let made = TcpStream::from(copy)
            .await_ddp_mode(&options)
            .map_err(Failure::from);
        place.write(lent.settle(made.and_then(|made| tables().incoming.insert(made)))?);
        Ok(0)
    })
}
