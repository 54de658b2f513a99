//! The data of a ping.

/// The characters that the data runs through: from 'A' to 'z'.
const FIRST: u8 = b'A';
const LAST: u8 = b'z';

/// The data of the ping with the number `ping`, counted from 0: a heading, characters in turn that begin with another
/// one in each ping, and a 0. `size` is more than the heading has.
pub(super) fn data(ping: u32, size: u32) -> Vec<u8> {
    let mut data = format!("rdma-ping-{ping}: ").into_bytes();
    let span = u32::from(LAST - FIRST) + 1;
    let turns = (ping % span..).map(|turn| FIRST + (turn % span) as u8);
    data.extend(turns.take((size as usize).saturating_sub(data.len() + 1)));
    data.push(0);
    data
}

/// Where what arrived differs from the data first, in words; `None` if it does not.
pub(super) fn difference(ping: u32, arrived: &[u8]) -> Option<String> {
    let sent = data(ping, arrived.len() as u32);
    let at = sent
        .iter()
        .zip(arrived)
        .position(|(sent, arrived)| sent != arrived)?;
    Some(format!(
        "the data of ping {ping} differs at octet {at} of {}: 0x{:02x} instead of 0x{:02x}",
        arrived.len(),
        arrived[at],
        sent[at]
    ))
}

/// The data as text, without the 0.
pub(super) fn text(data: &[u8]) -> String {
    let len = data
        .iter()
        .position(|&octet| octet == 0)
        .unwrap_or(data.len());
    String::from_utf8_lossy(&data[..len]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_what_the_original_sends() {
        assert_eq!(data(0, 24), b"rdma-ping-0: ABCDEFGHIJ\0");
        assert_eq!(data(1, 24), b"rdma-ping-1: BCDEFGHIJK\0");
        assert_eq!(data(58, 24), b"rdma-ping-58: ABCDEFGHI\0");
        let long = data(57, 200);
        assert_eq!(long.len(), 200);
        assert_eq!(&long[..18], b"rdma-ping-57: zABC");
        assert_eq!(data(u32::MAX, super::super::SIZE_MIN).len(), 24);
    }

    #[test]
    fn a_difference_is_named() {
        let mut arrived = data(3, 100);
        assert_eq!(difference(3, &arrived), None);
        arrived[70] = b'!';
        assert!(
            difference(3, &arrived)
                .unwrap()
                .contains("octet 70 of 100: 0x21")
        );
        assert_eq!(text(&data(0, 24)), "rdma-ping-0: ABCDEFGHIJ");
    }
}
