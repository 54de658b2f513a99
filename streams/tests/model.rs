//! Whatever two programs do to the two ends, in whatever sizes: each reads what the other wrote, in order, to the end.

mod common;

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::sync::Arc;

use common::{PATIENCE, pair, read_to_end};
use proptest::prelude::*;
use uwarp_streams::{StreamOptions, StreamSocket, Wants};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Two pieces at once.
    Write(usize, usize),
    Read(usize, usize),
    Peek(usize),
    WaitReadable,
    WaitWritable,
    ShutWrite,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        8 => (0..9000usize, 0..100usize).prop_map(|(one, two)| Step::Write(one, two)),
        4 => (0..30usize, 0..3usize).prop_map(|(one, two)| Step::Write(one, two)),
        8 => (0..9000usize, 0..100usize).prop_map(|(one, two)| Step::Read(one, two)),
        2 => (1..5000usize).prop_map(Step::Peek),
        4 => Just(Step::WaitReadable),
        4 => Just(Step::WaitWritable),
        1 => Just(Step::ShutWrite),
    ];
    prop::collection::vec((0..2usize, step), 0..150)
}

fn options() -> impl Strategy<Value = StreamOptions> {
    (1..4000u32, 1..9000u32, 16..40u16, 8..30u32, any::<bool>()).prop_map(
        |(half, send_buffer, credits, send_queue, crc)| StreamOptions {
            recv_buffer: 2 * half,
            send_buffer,
            credits,
            send_queue,
            crc,
            ..StreamOptions::default()
        },
    )
}

/// One direction, as a pipe would have it.
#[derive(Default)]
struct Pipe {
    written: u64,
    under_way: VecDeque<u8>,
    shut: bool,
}

impl Pipe {
    fn next(&self, len: usize) -> Vec<u8> {
        (self.written..self.written + len as u64)
            .map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8)
            .collect()
    }
}

struct Scene {
    ends: [Arc<StreamSocket>; 2],
    /// Each with what this end has written.
    pipes: [Pipe; 2],
}

impl Scene {
    fn take(&mut self, end: usize, step: Step) {
        match step {
            Step::Write(one, two) => self.write(end, one, two),
            Step::Read(one, two) => self.read(end, one, two, false),
            Step::Peek(len) => self.read(end, len, 0, true),
            Step::WaitReadable => {
                let other = &self.pipes[1 - end];
                if !other.under_way.is_empty() || other.shut {
                    assert!(
                        self.ends[end]
                            .wait(Wants::READABLE, Some(PATIENCE))
                            .unwrap()
                    );
                }
            }
            Step::WaitWritable => {
                // What nobody reads does not become writable.
                if self.pipes[end].under_way.is_empty() {
                    assert!(
                        self.ends[end]
                            .wait(Wants::WRITABLE, Some(PATIENCE))
                            .unwrap()
                    );
                }
            }
            Step::ShutWrite => {
                self.ends[end].shutdown(Shutdown::Write).unwrap();
                self.pipes[end].shut = true;
            }
        }
    }

    fn write(&mut self, end: usize, one: usize, two: usize) {
        let pipe = &mut self.pipes[end];
        let octets = pipe.next(one + two);
        let (first, second) = octets.split_at(one);
        match self.ends[end].try_write(&[IoSlice::new(first), IoSlice::new(second)]) {
            Ok(count) => {
                assert!(!pipe.shut || count == 0 && octets.is_empty());
                pipe.written += count as u64;
                pipe.under_way.extend(&octets[..count]);
            }
            Err(error) if pipe.shut => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    fn read(&mut self, end: usize, one: usize, two: usize, peek: bool) {
        let pipe = &mut self.pipes[1 - end];
        let mut octets = vec![0; one + two];
        let (first, second) = octets.split_at_mut(one);
        let mut bufs = [IoSliceMut::new(first), IoSliceMut::new(second)];
        match self.ends[end].try_read(&mut bufs, peek) {
            Ok(0) if one + two > 0 => assert!(pipe.shut && pipe.under_way.is_empty()),
            Ok(count) => {
                assert!(pipe.under_way.iter().take(count).eq(&octets[..count]));
                assert!(count <= pipe.under_way.len());
                if !peek {
                    pipe.under_way.drain(..count);
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn two_streams_are_two_pipes(options in options(), steps in steps()) {
        let (client, server) = pair(&options);
        let mut scene = Scene { ends: [client, server], pipes: Default::default() };
        for (end, step) in steps {
            scene.take(end, step);
        }
        for end in &scene.ends {
            end.shutdown(Shutdown::Write).unwrap();
        }
        for (end, pipe) in scene.ends.iter().zip(scene.pipes.iter().rev()) {
            prop_assert!(pipe.under_way.iter().eq(&read_to_end(end).unwrap()));
        }
        for end in &scene.ends {
            prop_assert!(end.wait(Wants::CLOSED, Some(PATIENCE)).unwrap());
            prop_assert_eq!(end.take_error(), None);
        }
    }
}
