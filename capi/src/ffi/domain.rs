//! Protection domains.

use std::ffi::c_int;

use uwarp::Domain;

use crate::failure::border;
use crate::fork::tables;
use crate::raw;
use crate::types::uwarp_domain;

/// Makes a protection domain: a region registered in it can be reached only over sockets of the same domain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn uwarp_domain_create(domain: *mut uwarp_domain) -> c_int {
    border(|| {
        // SAFETY: the caller lends a place for one handle.
        let place = unsafe { raw::place(domain) }?;
        place.write(tables().domains.insert(Domain::new())?);
        Ok(0)
    })
}

/// Gives the handle up. Regions and sockets of the domain go on as they are.
#[unsafe(no_mangle)]
pub extern "C" fn uwarp_domain_destroy(domain: uwarp_domain) -> c_int {
    border(|| tables().domains.remove(domain).map(|_| 0))
}
