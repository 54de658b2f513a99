//! Registered memory.

use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

use uwarp::{Memory, Region, RegionMemory, Rights, Socket};

use crate::failure::{Failure, Outcome, border};
use crate::fork::tables;
use crate::handle::OwnedRegion;
use crate::raw;
use crate::types::{uwarp_domain, uwarp_region, uwarp_remote, uwarp_socket};

/// How long a deregistration rests between two attempts.
const REST: Duration = Duration::from_millis(1);

fn rights(bits: u32) -> Outcome<Rights> {
    u8::try_from(bits)
        .ok()
        .and_then(Rights::from_bits)
        .ok_or_else(|| Failure::invalid(format!("{bits:#x} has bits that are no right")))
}

fn insert(region: Region, address: usize) -> Outcome<uwarp_region> {
    tables().regions.insert(OwnedRegion { region, address })
}

/// # Safety
/// As [`RegionMemory::from_raw`]: until the region has been deregistered.
unsafe fn register(
    domain: uwarp_domain,
    only: Option<&Socket>,
    address: *mut c_void,
    length: usize,
    bits: u32,
) -> Outcome<uwarp_region> {
    let rights = rights(bits)?;
    let domain = tables().domains.get(domain)?;
    // SAFETY: handed on to the caller.
    let memory = unsafe { RegionMemory::from_raw(address.cast(), length) }?;
    insert(domain.register_raw(memory, rights, only)?, address.addr())
}

fn allocate(
    domain: uwarp_domain,
    only: Option<&Socket>,
    length: usize,
    bits: u32,
) -> Outcome<uwarp_region> {
    let rights = rights(bits)?;
    let domain = tables().domains.get(domain)?;
    let mut memory = Memory::zeroed(length)?;
    let address = memory.as_mut_slice().as_mut_ptr().addr();
    let memory = RegionMemory::new(memory);
    insert(domain.register_raw(memory, rights, only)?, address)
}

/// Registers `length` octets of the program's memory at `address`, so that they can be the source or the sink of
/// operations. `rights` say what peers may do with them: UWARP_REMOTE_READ and so on, or 0 for local use only. The
/// memory has to stay where it is until uwarp_deregister() has returned 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_register(
    domain: uwarp_domain,
    address: *mut c_void,
    length: usize,
    rights: u32,
    region: *mut uwarp_region,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(region) }?;
        // SAFETY: the caller keeps the memory until it has been deregistered.
        place.write(unsafe { register(domain, None, address, length, rights) }?);
        Ok(0)
    })
}

/// As uwarp_register(), but only the peer of `socket` can reach the memory. Only then may the peer invalidate the
/// STag, if `rights` have UWARP_REMOTE_INVALIDATE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_register_for(
    domain: uwarp_domain,
    socket: uwarp_socket,
    address: *mut c_void,
    length: usize,
    rights: u32,
    region: *mut uwarp_region,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(region) }?;
        let socket = tables().sockets.get(socket)?;
        // SAFETY: the caller keeps the memory until it has been deregistered.
        place.write(unsafe { register(domain, Some(&socket), address, length, rights) }?);
        Ok(0)
    })
}

/// Registers `length` octets of memory that the library provides: zero, and on pages of its own. They are freed by
/// uwarp_deregister().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_allocate(
    domain: uwarp_domain,
    length: usize,
    rights: u32,
    region: *mut uwarp_region,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(region) }?;
        place.write(allocate(domain, None, length, rights)?);
        Ok(0)
    })
}

/// As uwarp_allocate(), but only the peer of `socket` can reach the memory, as with uwarp_register_for().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_allocate_for(
    domain: uwarp_domain,
    socket: uwarp_socket,
    length: usize,
    rights: u32,
    region: *mut uwarp_region,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(region) }?;
        let socket = tables().sockets.get(socket)?;
        place.write(allocate(domain, Some(&socket), length, rights)?);
        Ok(0)
    })
}

/// Where the region's memory begins. Peers may read and write it at any time, as their rights say; what a message
/// announces is there when the message's completion has been taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_region_address(
    region: uwarp_region,
    address: *mut *mut c_void,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one pointer.
        let place = unsafe { raw::place(address) }?;
        let region = tables().regions.get(region)?;
        place.write(std::ptr::with_exposed_provenance_mut(region.address));
        Ok(0)
    })
}

/// How many octets the region has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_region_length(region: uwarp_region, length: *mut usize) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one number.
        let place = unsafe { raw::place(length) }?;
        place.write(tables().regions.get(region)?.region.len());
        Ok(0)
    })
}

/// What a peer needs to know to reach the region: at most its first 2^32 - 1 octets. -ENODATA when its STag has been
/// revoked or invalidated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_region_remote(
    region: uwarp_region,
    remote: *mut uwarp_remote,
) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one description.
        let place = unsafe { raw::place(remote) }?;
        let region = tables().regions.get(region)?;
        let remote = region
            .region
            .remote()
            .ok_or_else(|| Failure::new(libc::ENODATA, "the region's STag is not in force"))?;
        place.write(uwarp_remote {
            to: remote.to,
            stag: remote.stag.0,
            length: remote.len,
        });
        Ok(0)
    })
}

/// Copies `length` octets of the region, from `offset` on, to `out`. Unlike an access through the address, it is
/// well defined while a peer writes: it gives some old and some new octets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_region_read(
    region: uwarp_region,
    offset: u64,
    out: *mut c_void,
    length: usize,
) -> c_int {
    border(|| {
        let region = tables().regions.get(region)?;
        // SAFETY: the caller lends so many octets.
        let out = unsafe { raw::places(out.cast::<u8>(), length) }?;
        // Nothing is changed unless all can be read.
        let fits = offset
            .checked_add(length as u64)
            .is_some_and(|end| end <= region.region.len() as u64);
        if !fits {
            let size = region.region.len();
            let text = format!("{length} octets at {offset} are not inside a region of {size}");
            return Err(Failure::new(libc::ERANGE, text));
        }
        let out = raw::zeroed(out);
        region.region.read_at(offset, out)?;
        Ok(0)
    })
}

/// Copies `length` octets from `from` into the region, at `offset` and on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_region_write(
    region: uwarp_region,
    offset: u64,
    from: *const c_void,
    length: usize,
) -> c_int {
    border(|| {
        let region = tables().regions.get(region)?;
        // SAFETY: the caller lends so many octets.
        let from = unsafe { raw::elements(from.cast::<u8>(), length) }?;
        region.region.write_at(offset, from)?;
        Ok(0)
    })
}

/// Revokes the region's STag: when this has returned, nothing that a peer sends changes the memory any more. Local
/// operations go on. Answers to Reads that were framed before may still leave.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_revoke(region: uwarp_region) -> c_int {
    border(|| {
        tables().regions.get(region)?.region.revoke();
        Ok(0)
    })
}

/// Revokes the region's STag and gives it a new one with the same rights: for a region that a peer has invalidated,
/// or as a precaution. uwarp_region_remote() tells the new one.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_renew(region: uwarp_region) -> c_int {
    border(|| {
        tables().regions.get(region)?.region.renew()?;
        Ok(0)
    })
}

/// Revokes the region's STag, and gives the handle up when nothing refers to the memory any more: no posted request,
/// no answer under way, no other thread in a call with this handle. It waits for that at most `timeout_ms`
/// milliseconds, for ever if negative. When it has returned 0, memory of the program's is the program's alone, and
/// memory of the library's is freed. -EBUSY leaves the handle as it is, for another attempt.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_deregister(region: uwarp_region, timeout_ms: c_int) -> c_int {
    border(|| {
        tables().regions.get(region)?.region.revoke();
        let deadline = raw::timeout(timeout_ms).map(|time| Instant::now() + time);
        loop {
            let gone = tables().regions.try_remove(region, |owned| {
                let address = owned.address;
                owned
                    .region
                    .deregister()
                    .map(drop)
                    .map_err(|still| OwnedRegion {
                        region: still.region,
                        address,
                    })
            })?;
            if gone {
                return Ok(0);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Failure::new(
                    libc::EBUSY,
                    "posted operations still refer to the region: wait for their completions and try again",
                ));
            }
            std::thread::sleep(REST);
        }
    })
}
