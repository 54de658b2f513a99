//! Descriptions of regions, as programs exchange them.

use std::ffi::c_int;

use uwarp::{RemoteRegion, Stag};

use crate::failure::{Failure, border};
use crate::raw;
use crate::types::{UWARP_REMOTE_LEN, uwarp_remote};

pub(super) fn from_c(remote: &uwarp_remote) -> RemoteRegion {
    RemoteRegion {
        stag: Stag(remote.stag),
        to: remote.to,
        len: remote.length,
    }
}

fn to_c(remote: RemoteRegion) -> uwarp_remote {
    uwarp_remote {
        to: remote.to,
        stag: remote.stag.0,
        length: remote.len,
    }
}

/// Writes a description in its fixed form of UWARP_REMOTE_LEN octets, all numbers big-endian: the STag in 4, the length
/// in 4, the tagged offset in 8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_remote_pack(remote: *const uwarp_remote, out: *mut u8) -> c_int {
    border(|| {
        // SAFETY: the caller lends a description.
        let remote = unsafe { raw::value(remote) }?;
        // SAFETY: the caller lends a place for so many octets.
        let out = unsafe { raw::places(out, UWARP_REMOTE_LEN) }?;
        raw::give(&from_c(remote).to_bytes(), out)?;
        Ok(0)
    })
}

/// Reads a description from its fixed form. Nothing in it is trusted: the peer that it names checks every access.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_remote_unpack(
    octets: *const u8,
    remote: *mut uwarp_remote,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends so many octets.
        let octets = unsafe { raw::elements(octets, UWARP_REMOTE_LEN) }?;
        // SAFETY: the caller lends a place for a description.
        let place = unsafe { raw::place(remote) }?;
        let octets = octets
            .try_into()
            .map_err(|_| Failure::invalid("a description has 16 octets"))?;
        place.write(to_c(RemoteRegion::from_bytes(octets)));
        Ok(0)
    })
}

/// Describes `length` octets of `remote`, from `offset` on; -ERANGE when they leave it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_remote_slice(
    remote: *const uwarp_remote,
    offset: u32,
    length: u32,
    out: *mut uwarp_remote,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a description; it is copied, since `out` may be the same one.
        let remote = *unsafe { raw::value(remote) }?;
        // SAFETY: the caller lends a place for a description.
        let place = unsafe { raw::place(out) }?;
        let slice = from_c(&remote).slice(offset, length).ok_or_else(|| {
            Failure::new(
                libc::ERANGE,
                format!(
                    "{length} octets at {offset} leave a region of {}",
                    remote.length
                ),
            )
        })?;
        place.write(to_c(slice));
        Ok(0)
    })
}
