use super::*;
use proptest::prelude::*;

fn queue_with(buffers: &[u32]) -> UntaggedQueue {
    queue_at(1, buffers)
}

/// A queue whose next message is `msn`, with buffers of these lengths; tokens are 100, 101, ...
fn queue_at(msn: u32, buffers: &[u32]) -> UntaggedQueue {
    let mut queue = UntaggedQueue::new(64);
    queue.next = SerialMsn::new(msn);
    for (token, len) in (100..).zip(buffers) {
        queue.post(token, *len).unwrap();
    }
    queue
}

#[test]
fn a_message_without_octets_takes_a_buffer() {
    let mut queue = queue_with(&[10, 10]);
    assert_eq!(
        queue.place(1, 0, 0),
        Ok(UntaggedPlacement {
            token: 100,
            offset: 0
        })
    );
    assert_eq!(
        queue.deliver(1, 0, 0, true),
        Ok(Some(Delivered { token: 100, len: 0 }))
    );
    assert_eq!((queue.next_msn(), queue.posted()), (2, 1));

    // A buffer without octets will do, no buffer will not.
    let mut queue = queue_with(&[0]);
    assert_eq!(
        queue.deliver(1, 0, 0, true),
        Ok(Some(Delivered { token: 100, len: 0 }))
    );
    assert_eq!(queue.place(2, 0, 0), Err(QueueError::NoBuffer));
    assert_eq!(queue.deliver(2, 0, 0, true), Err(QueueError::NoBuffer));
}

#[test]
fn segments_without_octets_may_be_anywhere_in_a_message() {
    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 0, 0, false), Ok(None));
    assert_eq!(queue.deliver(1, 0, 6, false), Ok(None));
    // Its offset is not checked.
    assert_eq!(
        queue.place(1, 99, 0),
        Ok(UntaggedPlacement {
            token: 100,
            offset: 0
        })
    );
    assert_eq!(queue.deliver(1, 99, 0, false), Ok(None));
    // The tail of the message is empty.
    assert_eq!(
        queue.deliver(1, 6, 0, true),
        Ok(Some(Delivered { token: 100, len: 6 }))
    );
}

#[test]
fn an_empty_last_segment_does_not_make_octets_up() {
    for mo in [1, 10, 11, u32::MAX] {
        let mut queue = queue_with(&[10]);
        assert_eq!(queue.deliver(1, mo, 0, true), Err(QueueError::Mo), "{mo}");
    }
    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 0, 6, false), Ok(None));
    assert_eq!(queue.deliver(1, 7, 0, true), Err(QueueError::Mo));
}

#[test]
fn octets_must_be_in_the_buffer() {
    use QueueError::{Mo, TooLong};
    let table = [
        (0, 10, Ok(0)),
        (9, 1, Ok(9)),
        (0, 11, Err(TooLong)),
        (9, 2, Err(TooLong)),
        (10, 1, Err(TooLong)),
        (11, 1, Err(Mo)),
        (5, u32::MAX, Err(TooLong)),
        (10, u32::MAX, Err(TooLong)),
        (u32::MAX, u32::MAX, Err(Mo)),
        (u32::MAX, 1, Err(Mo)),
    ];
    for (mo, len, expected) in table {
        let mut queue = queue_with(&[10]);
        let placed = queue.place(1, mo, len).map(|placement| placement.offset);
        assert_eq!(placed, expected, "{len} at {mo}");
        assert_eq!(
            queue.deliver(1, mo, len, false).err(),
            expected.err(),
            "{len} at {mo}"
        );
    }
    let mut queue = queue_with(&[u32::MAX]);
    assert_eq!(queue.place(1, u32::MAX - 1, 2), Err(TooLong));
    assert_eq!(
        queue.deliver(1, 0, u32::MAX, true).unwrap().unwrap().len,
        u32::MAX
    );
    assert_eq!(queue_with(&[0]).place(1, 0, 1), Err(TooLong));
}

#[test]
fn messages_are_in_range_as_far_as_buffers_are_posted() {
    let mut queue = queue_at(0xffff_fffe, &[10, 20, 30]);
    let token =
        |queue: &UntaggedQueue, msn| queue.place(msn, 0, 1).map(|placement| placement.token);
    assert_eq!(token(&queue, 0xffff_fffe), Ok(100));
    assert_eq!(token(&queue, 0xffff_ffff), Ok(101));
    assert_eq!(token(&queue, 0), Ok(102));
    assert_eq!(token(&queue, 1), Err(QueueError::NoBuffer));
    assert_eq!(token(&queue, 0xffff_fffd), Err(QueueError::MsnRange));
    for (msn, token) in [(0xffff_fffe, 100), (0xffff_ffff, 101), (0, 102)] {
        assert_eq!(
            queue.deliver(msn, 0, 1, true),
            Ok(Some(Delivered { token, len: 1 }))
        );
    }
    assert_eq!(queue.next_msn(), 1);
    assert_eq!(token(&queue, 0), Err(QueueError::MsnRange));
}

#[test]
fn a_message_is_delivered_in_its_turn_and_once() {
    let mut queue = queue_with(&[10, 10]);
    assert_eq!(queue.deliver(1, 0, 5, false), Ok(None));
    assert_eq!(queue.deliver(2, 0, 5, true), Err(QueueError::MsnRange));
    assert_eq!(queue.deliver(3, 0, 5, true), Err(QueueError::NoBuffer));
    assert!(queue.deliver(1, 5, 5, true).unwrap().is_some());
    assert_eq!(queue.deliver(1, 5, 5, true), Err(QueueError::MsnRange));
}

#[test]
fn a_message_may_arrive_back_to_front_but_for_its_last_segment() {
    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 4, 4, false), Ok(None));
    assert_eq!(queue.deliver(1, 0, 4, false), Ok(None));
    assert_eq!(
        queue.deliver(1, 8, 2, true),
        Ok(Some(Delivered {
            token: 100,
            len: 10
        }))
    );
}

#[test]
fn the_last_segment_has_the_highest_offset() {
    // something is behind it
    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 4, 4, false), Ok(None));
    assert_eq!(queue.deliver(1, 0, 4, true), Err(QueueError::Mo));
    // nothing is behind it, but something begins later
    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 4, 1, false), Ok(None));
    assert_eq!(queue.deliver(1, 0, 10, true), Err(QueueError::Mo));
    // something begins earlier but ends later
    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 0, 10, false), Ok(None));
    assert_eq!(queue.deliver(1, 4, 1, true), Err(QueueError::Mo));
}

#[test]
fn a_gap_is_never_delivered() {
    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 0, 4, false), Ok(None));
    assert_eq!(queue.deliver(1, 5, 5, true), Err(QueueError::Mo));
    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 1, 9, true), Err(QueueError::Mo));
}

#[test]
fn octets_of_one_message_do_not_count_for_the_next() {
    let mut queue = queue_with(&[10, 10]);
    assert!(queue.deliver(1, 0, 10, true).unwrap().is_some());
    assert_eq!(queue.deliver(2, 5, 5, true), Err(QueueError::Mo));

    let mut queue = queue_with(&[10]);
    assert_eq!(queue.deliver(1, 5, 5, false), Ok(None));
    assert_eq!(queue.flush().count(), 1);
    queue.post(7, 10).unwrap();
    assert_eq!(
        queue.deliver(1, 0, 3, true),
        Ok(Some(Delivered { token: 7, len: 3 }))
    );
}

#[test]
fn fragments_without_end_are_refused() {
    let mut queue = queue_with(&[1000]);
    let results: Vec<_> = (0..20)
        .map(|n| queue.deliver(1, n * 2 + 1, 1, false))
        .collect();
    assert!(
        results[..Coverage::SPANS_MAX]
            .iter()
            .all(|result| *result == Ok(None))
    );
    assert_eq!(results[Coverage::SPANS_MAX], Err(QueueError::Mo));
}

#[test]
fn a_full_queue_takes_no_more() {
    let mut queue = UntaggedQueue::new(2);
    assert_eq!(queue.post(1, 10), Ok(()));
    assert_eq!(queue.post(2, 10), Ok(()));
    assert_eq!(queue.post(3, 10), Err(Full));
    assert_eq!(queue.posted(), 2);
    assert!(queue.deliver(1, 0, 1, true).unwrap().is_some());
    assert_eq!(queue.post(3, 10), Ok(()));
    assert_eq!(UntaggedQueue::new(0).post(1, 1), Err(Full));
    assert_eq!(UntaggedQueue::new(usize::MAX).capacity, 0x7fff_ffff);
}

#[test]
fn flushing_returns_all_buffers_in_order() {
    let mut queue = queue_with(&[10, 10, 10]);
    assert!(queue.deliver(1, 0, 1, true).unwrap().is_some());
    assert_eq!(queue.flush().collect::<Vec<_>>(), [101, 102]);
    assert_eq!((queue.posted(), queue.next_msn()), (0, 2));
    assert_eq!(queue.place(2, 0, 1), Err(QueueError::NoBuffer));
}

#[test]
fn a_skipped_message_takes_no_buffer() {
    let mut queue = queue_with(&[10]);
    queue.skip();
    assert_eq!((queue.next_msn(), queue.posted()), (2, 1));
    assert_eq!(queue.place(1, 0, 1), Err(QueueError::MsnRange));
    assert_eq!(
        queue.deliver(2, 0, 4, true),
        Ok(Some(Delivered { token: 100, len: 4 }))
    );
}

/// One segment of the traffic below.
#[derive(Clone, Debug)]
struct Piece {
    msn: u32,
    mo: u32,
    len: u32,
    last: bool,
}

/// Messages in pieces: for each message, where it is cut, and in which order its pieces but the last
/// are sent.
fn traffic() -> impl Strategy<Value = (u32, Vec<u32>, Vec<Piece>)> {
    let message = (
        0u32..200,
        proptest::collection::vec(0u32..200, 0..12),
        any::<u64>(),
    );
    let first = prop_oneof![Just(1u32), Just(u32::MAX - 2), any::<u32>()];
    (first, proptest::collection::vec(message, 1..6)).prop_map(|(first, messages)| {
        let lens: Vec<u32> = messages.iter().map(|(len, ..)| *len).collect();
        let mut pieces = Vec::new();
        for (index, (len, mut cuts, seed)) in messages.into_iter().enumerate() {
            let msn = first.wrapping_add(index as u32);
            cuts.retain(|cut| *cut < len);
            cuts.extend([0, len]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut own: Vec<Piece> = cuts
                .windows(2)
                .map(|cut| Piece {
                    msn,
                    mo: cut[0],
                    len: cut[1] - cut[0],
                    last: cut[1] == len,
                })
                .collect();
            if own.is_empty() {
                own.push(Piece {
                    msn,
                    mo: 0,
                    len: 0,
                    last: true,
                });
            }
            let before_last = own.len() - 1;
            own[..before_last]
                .sort_by_key(|piece| (u64::from(piece.mo) + 1).wrapping_mul(seed | 1));
            pieces.extend(own);
        }
        (first, lens, pieces)
    })
}

/// The octet at `at` of message `msn`.
fn octet(msn: u32, at: u32) -> u8 {
    (msn.wrapping_mul(31).wrapping_add(at.wrapping_mul(7)) % 251) as u8 + 1
}

proptest! {
    /// However often and in whichever order segments are placed, each message is delivered once, in
    /// order, with its length, and its octets are in its buffer.
    #[test]
    fn placing_in_any_order_delivers_the_same(
        ((first, lens, pieces), placed) in traffic().prop_flat_map(|traffic| {
            let count = traffic.2.len();
            let order: Vec<usize> = (0..count).collect();
            let repeats = proptest::collection::vec(0..count, 0..20);
            let placed = (Just(order).prop_shuffle(), repeats, any::<bool>()).prop_map(
                |(order, repeats, repeats_first)| {
                    if repeats_first { [repeats, order].concat() } else { [order, repeats].concat() }
                },
            );
            (Just(traffic), placed)
        }),
    ) {
        let buffers: Vec<u32> = lens.iter().map(|len| len + 3).collect();
        let mut queue = queue_at(first, &buffers);
        let mut memory: Vec<Vec<u8>> = buffers.iter().map(|len| vec![0; *len as usize]).collect();
        for index in placed {
            let Piece { msn, mo, len, .. } = pieces[index];
            let place = queue.place(msn, mo, len).unwrap();
            for at in 0..len {
                memory[place.token as usize - 100][(place.offset + at) as usize] = octet(msn, mo + at);
            }
        }
        let mut delivered = Vec::new();
        for piece in &pieces {
            let message = queue.deliver(piece.msn, piece.mo, piece.len, piece.last).unwrap();
            prop_assert_eq!(message.is_some(), piece.last);
            delivered.extend(message);
        }
        let expected: Vec<Delivered> =
            (100..).zip(&lens).map(|(token, len)| Delivered { token, len: *len }).collect();
        prop_assert_eq!(delivered, expected);
        prop_assert_eq!(queue.posted(), 0);
        for (index, len) in lens.iter().enumerate() {
            let msn = first.wrapping_add(index as u32);
            let (message, rest) = memory[index].split_at(*len as usize);
            let octets: Vec<u8> = (0..*len).map(|at| octet(msn, at)).collect();
            prop_assert_eq!(message, octets);
            prop_assert!(rest.iter().all(|octet| *octet == 0), "placed behind the message");
        }
    }

    /// Whatever a peer sends, the answers are those of a model with one flag per octet.
    #[test]
    fn hostile_segments_are_judged_as_by_a_simple_model(
        first in prop_oneof![Just(1u32), Just(u32::MAX)],
        buffers in proptest::collection::vec(0u32..80, 0..5),
        segments in proptest::collection::vec(
            (
                prop_oneof![10 => Just(0u32), 1 => Just(u32::MAX), 1 => 1u32..7],
                prop_oneof![4 => 0u32..60, 1 => Just(u32::MAX)],
                prop_oneof![4 => 0u32..6, 2 => 0u32..60, 1 => Just(u32::MAX)],
                prop_oneof![4 => Just(false), 1 => Just(true)],
                any::<bool>(),
            ),
            1..120,
        ),
    ) {
        let mut queue = queue_at(first, &buffers);
        let mut model = Model { tokens: (100..).zip(buffers).collect(), ..Model::default() };
        let mut msn = first;
        for (ahead, mo, len, last, gapless) in segments {
            // Some segments go on where the message has got to, or nothing would ever be complete.
            let mo = if gapless { model.prefix() } else { mo };
            let expected = model.deliver(ahead, mo, len, last);
            let placed = queue.place(msn.wrapping_add(ahead), mo, len);
            if expected.is_ok() {
                let offset = if len == 0 { 0 } else { mo };
                prop_assert_eq!(placed.map(|place| place.offset), Ok(offset));
            }
            prop_assert_eq!(queue.deliver(msn.wrapping_add(ahead), mo, len, last), expected);
            if let Ok(Some(_)) = expected {
                msn = msn.wrapping_add(1);
            }
            prop_assert_eq!((queue.next_msn(), queue.posted()), (msn, model.tokens.len()));
        }
    }
}

/// The rules of delivery, written down without a thought of speed.
#[derive(Default)]
struct Model {
    tokens: VecDeque<(u32, u32)>,
    octets: Vec<bool>,
    offsets: Vec<u32>,
}

impl Model {
    /// Octets that are there from the beginning on.
    fn prefix(&self) -> u32 {
        self.octets.iter().take_while(|here| **here).count() as u32
    }

    fn deliver(
        &mut self,
        ahead: u32,
        mo: u32,
        len: u32,
        last: bool,
    ) -> Result<Option<Delivered>, QueueError> {
        if ahead == u32::MAX {
            return Err(QueueError::MsnRange);
        }
        if ahead as usize >= self.tokens.len() {
            return Err(QueueError::NoBuffer);
        }
        if ahead > 0 {
            return Err(QueueError::MsnRange);
        }
        let (token, room) = self.tokens[0];
        let end = u64::from(mo) + u64::from(len);
        if len > 0 {
            if mo > room {
                return Err(QueueError::Mo);
            }
            if end > u64::from(room) {
                return Err(QueueError::TooLong);
            }
            let mut octets = self.octets.clone();
            octets.resize(room as usize, false);
            octets[mo as usize..end as usize].fill(true);
            let starts =
                (0..octets.len()).filter(|at| octets[*at] && (*at == 0 || !octets[at - 1]));
            if starts.count() > Coverage::SPANS_MAX {
                return Err(QueueError::Mo);
            }
            self.octets = octets;
            self.offsets.push(mo);
        }
        if !last {
            return Ok(None);
        }
        let octets_here = self.octets.iter().filter(|here| **here).count() as u64;
        let is_whole = u64::from(self.prefix()) == end && octets_here == end;
        if !is_whole || self.offsets.iter().any(|other| *other > mo) {
            return Err(QueueError::Mo);
        }
        self.tokens.pop_front();
        self.octets.clear();
        self.offsets.clear();
        Ok(Some(Delivered {
            token,
            len: end as u32,
        }))
    }
}
