//! What a program chooses for its sockets.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use uwarp::{Keepalive, Options};

use crate::failure::{Failure, Outcome, border};
use crate::fork::tables;
use crate::raw;
use crate::types::{
    UWARP_OPTION_CLOSE_TIMEOUT, UWARP_OPTION_CRC, UWARP_OPTION_HALF_CLOSE, UWARP_OPTION_IRD,
    UWARP_OPTION_KEEPALIVE, UWARP_OPTION_MARKERS, UWARP_OPTION_ORD, UWARP_OPTION_PEER_TO_PEER,
    UWARP_OPTION_RECEIVE_QUEUE, UWARP_OPTION_REVISION, UWARP_OPTION_SEND_QUEUE,
    UWARP_OPTION_STARTUP_TIMEOUT, uwarp_domain, uwarp_options, uwarp_queue,
};

/// IRD and ORD have 14 bits, of which one pattern means something else.
const DEPTH_MAX: i64 = 16_382;
const QUEUE_MAX: i64 = 65_536;
/// The longest that a Request can have in either revision.
const PRIVATE_DATA_MAX: usize = 512;

/// The options as they are now.
pub(super) fn get(options: uwarp_options) -> Outcome<Options> {
    let options = tables().options.get(options)?;
    let options = options.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(options.clone())
}

fn change(
    options: uwarp_options,
    change: impl FnOnce(Options) -> Outcome<Options>,
) -> Outcome<c_int> {
    let options = tables().options.get(options)?;
    let mut options = options.lock().unwrap_or_else(PoisonError::into_inner);
    *options = change(options.clone())?;
    Ok(0)
}

fn in_range(value: i64, range: std::ops::RangeInclusive<i64>) -> Outcome<i64> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    Err(Failure::invalid(format!(
        "{value}, but {least} to {most} is possible"
    )))
}

fn set(options: Options, option: u32, value: i64) -> Outcome<Options> {
    let switch = || in_range(value, 0..=1).map(|value| value == 1);
    let depth = || in_range(value, 0..=DEPTH_MAX).map(|value| value as u16);
    let queue = || in_range(value, 1..=QUEUE_MAX).map(|value| value as u32);
    let time = || {
        in_range(value, 1..=i64::from(i32::MAX)).map(|value| Duration::from_millis(value as u64))
    };
    Ok(match option {
        UWARP_OPTION_CRC => options.crc(switch()?),
        UWARP_OPTION_MARKERS => options.markers(switch()?),
        UWARP_OPTION_REVISION => match in_range(value, 1..=2)? {
            1 => options.revision_1(),
            _ => options,
        },
        UWARP_OPTION_PEER_TO_PEER => options.peer_to_peer(switch()?),
        UWARP_OPTION_IRD => options.ird(depth()?),
        UWARP_OPTION_ORD => options.ord(depth()?),
        UWARP_OPTION_SEND_QUEUE => options.send_queue(queue()?),
        UWARP_OPTION_RECEIVE_QUEUE => options.receive_queue(queue()?),
        UWARP_OPTION_STARTUP_TIMEOUT => options.startup_timeout(time()?),
        UWARP_OPTION_CLOSE_TIMEOUT => options.close_timeout(time()?),
        UWARP_OPTION_KEEPALIVE => options.keepalive(switch()?.then(Keepalive::default)),
        UWARP_OPTION_HALF_CLOSE => options.half_close(switch()?),
        unknown => return Err(Failure::invalid(format!("{unknown} is no option"))),
    })
}

/// Makes options for sockets of a domain, all at their defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_options_create(
    domain: uwarp_domain,
    options: *mut uwarp_options,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(options) }?;
        let fresh = Options::new(&*tables().domains.get(domain)?);
        place.write(tables().options.insert(Mutex::new(fresh))?);
        Ok(0)
    })
}

/// Gives the handle up. Sockets and listeners made with the options keep them.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_options_destroy(options: uwarp_options) -> c_int {
    border(|| tables().options.remove(options).map(|_| 0))
}

/// Sets one option, UWARP_OPTION_CRC and so on, for what is made with the options from now on. Revision 2 cannot be
/// chosen again after revision 1.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_options_set(options: uwarp_options, option: u32, value: i64) -> c_int {
    border(|| change(options, |options| set(options, option, value)))
}

/// Sets the private data that a connecting socket sends: at most 508 octets, 512 in revision 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_options_set_private_data(
    options: uwarp_options,
    data: *const c_void,
    length: usize,
) -> c_int {
    border(|| {
        if length > PRIVATE_DATA_MAX {
            let text = format!("{length} octets of private data, but at most 512 fit");
            return Err(Failure::new(libc::EMSGSIZE, text));
        }
        // SAFETY: the caller lends so many octets.
        let data = unsafe { raw::elements(data.cast::<u8>(), length) }?;
        change(options, |options| Ok(options.private_data(data)))
    })
}

/// Has sockets complete into a queue that they share, instead of one of their own each.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_options_set_queue(options: uwarp_options, queue: uwarp_queue) -> c_int {
    border(|| {
        let queue = tables().queues.get(queue)?;
        change(options, |options| Ok(options.completion_queue(&queue)))
    })
}
