//! Connections that answer: every Send comes back, and every Write that a Send tells of is answered by one.
//!
//! The client may have `depth` messages under way. The server has twice as many receives posted, since a
//! buffer whose contents are on their way back cannot receive: the first `depth` buffers may all be in that
//! state when the client, which has seen the echoes, sends again. By the time the server has answered those,
//! it has posted the first ones anew.

mod client;
mod server;

pub(crate) use client::Echo;
pub(crate) use server::serve;

use uwarp::{Domain, Memory, Region, Rights};

use crate::session::SessionError;
use crate::wire::ECHO_DEPTH_MAX;

/// Completions with this number need no buffer to be looked after.
const NO_BUFFER: u64 = u64::MAX;

/// Octets of buffers that a connection gets, more or less.
const BUFFERS_LEN: u32 = 4 << 20;

/// Messages that may be under way when each has `size` octets.
const fn depth(size: u32) -> u32 {
    match BUFFERS_LEN / size {
        ..2 => 2,
        depth if depth > ECHO_DEPTH_MAX => ECHO_DEPTH_MAX,
        depth => depth,
    }
}

fn register(domain: &Domain, len: usize, rights: Rights) -> Result<Region, SessionError> {
    let memory = Memory::zeroed(len).map_err(|error| SessionError::Memory(error.to_string()))?;
    Ok(domain.register(memory, rights)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ECHO_SIZE_MAX;

    #[test]
    fn the_buffers_of_a_connection_stay_bounded() {
        assert_eq!(depth(1), 64);
        assert_eq!(depth(64), 64);
        assert_eq!(depth(ECHO_SIZE_MAX), 4);
        for size in [1, 64, 4096, ECHO_SIZE_MAX] {
            assert!(depth(size) * size <= BUFFERS_LEN);
        }
    }
}
