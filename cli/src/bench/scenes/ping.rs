//! One connection that is used while many are open.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use uwarp::{Domain, Listener, Options, Rights, SendFlags, Sge, Socket, connect};

use super::super::rdma::Outcome;
use super::super::results::Spread;
use super::{Open, crowd};

/// There and back in a round, and the rounds.
const COUNT: u32 = 3_000;
const ROUNDS: usize = 5;
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Descriptors that are not connections'.
const OTHER_DESCRIPTORS: usize = 64;

/// Measures with each of these numbers of connections open, or with as many as this process has descriptors for: both
/// ends are its own.
pub(super) fn among(counts: &[usize], seen: &mut Vec<Open>) -> Outcome<()> {
    let most = crowd::raise_limit().saturating_sub(OTHER_DESCRIPTORS) / 2;
    let (near, far) = (Domain::new(), Domain::new());
    let few = |domain| Options::new(domain).send_queue(8).receive_queue(8);
    let listener = Listener::bind("127.0.0.1:0", &few(&far))?;
    let address = listener.local_addr();
    let mut open = Vec::new();
    for &count in counts {
        let count = count.min(most);
        while open.len() < count {
            open.push(pair(&listener, || connect(address, &few(&near)))?);
        }
        let Some((here, there)) = open.first() else {
            continue;
        };
        let (mut times, mut cpus) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (begun, before) = (Instant::now(), cpu());
            ping_pong((&near, here), (&far, there))?;
            // The first one is for getting warm.
            if round > 0 {
                times.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(2 * COUNT));
                cpus.push((cpu() - before) * 1e6 / f64::from(COUNT));
            }
        }
        seen.push(Open {
            connections: count,
            us: Spread::of(&times).ok_or("no rounds")?,
            cpu_us: Spread::of(&cpus).ok_or("no rounds")?,
        });
    }
    Ok(())
}

/// A connection between two threads of this process.
fn pair(
    listener: &Listener,
    connect: impl FnOnce() -> Result<Socket, uwarp::Error> + Send,
) -> Outcome<(Socket, Socket)> {
    thread::scope(|scope| {
        let near = scope.spawn(connect);
        let far = listener.accept()?.accept(b"")?;
        let near = near.join().map_err(|_| "connecting panicked")??;
        Ok((near, far))
    })
}

/// Processor seconds of this process.
fn cpu() -> f64 {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}

/// Sends there and back.
fn ping_pong(near: (&Domain, &Socket), far: (&Domain, &Socket)) -> Outcome<()> {
    let memory = |domain: &Domain| -> Outcome<[[Sge; 1]; 2]> {
        let region = domain.register(vec![0; 128], Rights::empty())?;
        Ok([[region.slice(..64)?], [region.slice(64..)?]])
    };
    let receive = |socket: &Socket| -> Outcome<()> {
        // The completion of the Send before may come first.
        while socket.wait(Some(PATIENCE))?.kind != uwarp::OperationKind::Receive {}
        Ok(())
    };
    let ([near_out, near_in], [far_out, far_in]) = (memory(near.0)?, memory(far.0)?);
    let (near, far) = (near.1, far.1);
    far.post_recv(0, &far_in)?;
    thread::scope(|scope| {
        let answers = scope.spawn(move || -> Outcome<()> {
            for turn in 0..COUNT {
                receive(far)?;
                if turn + 1 < COUNT {
                    far.post_recv(0, &far_in)?;
                }
                far.post_send(0, &far_out, SendFlags::default())?;
            }
            Ok(())
        });
        for _ in 0..COUNT {
            near.post_recv(0, &near_in)?;
            near.post_send(0, &near_out, SendFlags::default())?;
            receive(near)?;
        }
        answers.join().map_err(|_| "the other end panicked")?
    })?;
    // What is left are completions of Sends.
    for socket in [near, far] {
        while socket.wait(Some(Duration::from_millis(20))).is_ok() {}
    }
    Ok(())
}
