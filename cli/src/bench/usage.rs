//! What a process has used: processor time, context switches, allocations, system calls.

use std::alloc::System;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The system's allocator, which counts what is asked of it.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a process has used since it began, or in the time of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Usage {
    /// Seconds of all processors, in the program and in the kernel.
    pub(super) cpu: f64,
    pub(super) switches: i64,
    pub(super) allocations: u64,
    /// Known only of tasks of which they are counted.
    pub(super) calls: Option<u64>,
}

impl Usage {
    /// What was used since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            switches: self.switches - before.switches,
            allocations: self.allocations - before.allocations,
            calls: (self.calls.zip(before.calls)).map(|(now, then)| now - then),
        }
    }

    /// What two processes have used together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            switches: self.switches + other.switches,
            allocations: self.allocations + other.allocations,
            calls: (self.calls.zip(other.calls)).map(|(ours, theirs)| ours + theirs),
        }
    }
}

/// Looks at what this process uses.
#[derive(Debug)]
pub(super) struct Meter {
    /// `None` where the kernel does not let us count.
    calls: Option<Counter>,
}

impl Meter {
    /// To be made before other threads are, which it would not see.
    pub(super) fn new() -> Self {
        Self {
            calls: count_calls(),
        }
    }

    /// Counts system calls from now on, or does not.
    pub(super) fn count(&mut self, on: bool) {
        if let Some(calls) = &mut self.calls {
            let set = if on { calls.enable() } else { calls.disable() };
            if set.is_err() {
                self.calls = None;
            }
        }
    }

    pub(super) fn read(&mut self) -> Usage {
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let calls = self.calls.as_mut().and_then(|calls| calls.read().ok());
        let allocations = ALLOCATOR.stats().allocations as u64;
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
            return Usage::default();
        };
        Usage {
            cpu: seconds(usage.user_time()) + seconds(usage.system_time()),
            switches: usage.voluntary_context_switches() + usage.involuntary_context_switches(),
            allocations,
            calls,
        }
    }
}

/// A counter of the system calls of this process, which is off. It takes a kernel that shows its tracepoints, and
/// usually root.
fn count_calls() -> Option<Counter> {
    let number = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .find_map(|at| {
            std::fs::read_to_string(format!("{at}/events/raw_syscalls/sys_enter/id")).ok()
        })?;
    Builder::new(Tracepoint::with_id(number.trim().parse().ok()?))
        .inherit(true)
        // Not of the second process, which counts its own.
        .inherit_thread(true)
        .include_kernel()
        .any_cpu()
        .observe_self()
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_adds_up() {
        let mut meter = Meter::new();
        meter.count(true);
        let before = meter.read();
        let kept: Vec<Vec<u8>> = (0..100).map(|len| Vec::with_capacity(len + 1)).collect();
        for _ in 0..50 {
            nix::unistd::getppid();
        }
        let used = meter.read().since(before);
        assert!(used.allocations >= 100 && kept.len() == 100, "{used:?}");
        assert!(used.calls.is_none_or(|calls| calls >= 50), "{used:?}");
        let twice = used.plus(used);
        assert_eq!(twice.allocations, 2 * used.allocations);
        assert_eq!(twice.calls, used.calls.map(|calls| 2 * calls));
    }
}
