//! From a batch to octets, as a vectored write does it.

use uwarp_stream::{Batch, Piece};

use crate::memory::Ram;

/// The first `most` octets that wait in `batch`, or all if there are fewer.
pub(crate) fn gather(batch: &Batch<usize>, ram: &Ram, most: usize) -> Vec<u8> {
    let mut octets = Vec::with_capacity(batch.len().min(most));
    for piece in batch.pieces() {
        if octets.len() >= most {
            break;
        }
        octets.extend_from_slice(match piece {
            Piece::Octets(range) => batch.octets(range.clone()),
            Piece::Work { slot, range } => ram.outgoing(*slot, range.clone()),
            Piece::Region { handle, range } => ram.leaving(*handle, range.clone()),
        });
    }
    octets.truncate(most);
    octets
}
