//! Requests that come slowly, in part, or not at all.

use std::time::Duration;

use uwarp_mpa::FrameKind;

use super::request::hear_startup;
use crate::bench::{Bench, Dial};
use crate::case::{Case, Need};
use crate::conn::Conn;
use crate::seen::{Due, Seen};

/// Waits for the end of the target's patience, and then for its answer.
fn outlast(bench: &Bench, mut conn: Conn) -> Seen {
    let limit = bench.profile.startup_timeout_ms.unwrap_or(0);
    conn.patience.answer += Duration::from_millis(limit.into());
    hear_startup(conn)
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "request/cut-by-fin",
            &["U12", "U21"],
            "half a Request and a FIN",
            &[Due::Close],
            |bench| {
                let mut conn = bench.open()?;
                conn.raw(&Dial::default().request(None)[..11]);
                conn.half_close();
                Ok(hear_startup(conn))
            },
        ),
        Case::new(
            "request/octet-by-octet",
            &["U21", "F30"],
            "a Request in segments of one octet",
            &[Due::Works],
            |bench| {
                let mut conn = bench.open()?;
                let dial = Dial::default();
                conn.trickle(&dial.request(None), Duration::from_micros(200));
                let reply = conn.frame(FrameKind::Reply);
                let Ok(reply) = reply else {
                    return Ok(conn.listen());
                };
                conn.operate(reply.markers, false, true);
                conn.hello();
                Ok(bench.prove(conn))
            },
        ),
        Case::new(
            "request/silence",
            &["U20", "U22"],
            "nothing at all",
            &[Due::Close],
            |bench| Ok(outlast(bench, bench.open()?)),
        )
        .needs([Need::StartupTimeout]),
        Case::new(
            "request/pd-length-too-long",
            &["U10", "U21", "U22"],
            "fewer octets than PD_Length says, then nothing",
            &[Due::Close],
            |bench| {
                let mut conn = bench.open()?;
                conn.raw(&Dial::default().request(Some(100)));
                Ok(outlast(bench, conn))
            },
        )
        .needs([Need::StartupTimeout]),
        Case::new(
            "request/trickle",
            &["U22"],
            "an octet now and then, so slowly that the Request does not end in time",
            &[Due::Close],
            |bench| {
                let limit = bench.profile.startup_timeout_ms.unwrap_or(0);
                let mut conn = bench.open()?;
                let octets = Dial::default().request(None);
                let pause = Duration::from_millis(limit.into()) / 10;
                conn.trickle(&octets[..15], pause);
                Ok(outlast(bench, conn))
            },
        )
        .needs([Need::StartupTimeout]),
    ]
}
