//! What the library exports is what the list says, and nothing else.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

macro_rules! interpose {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty => $ours:path;)*) => {
        const LISTED: &[&str] = &[$(stringify!($name)),*];
    };
}

include!("../src/list.rs");

#[test]
fn the_library_exports_what_the_list_says() {
    let said = common::run(
        Command::new("nm")
            .args(["--dynamic", "--defined-only", "--format=posix"])
            .arg(common::library()),
    );
    let exported: BTreeSet<_> = said
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    let listed: BTreeSet<_> = LISTED.iter().copied().collect();
    assert_eq!(
        listed.len(),
        LISTED.len(),
        "a function is in the list twice"
    );
    assert_eq!(exported, listed);
}

#[test]
fn no_call_for_sockets_is_missing_in_the_list() {
    let wanted = "connect accept accept4 setsockopt getsockopt getpeername getsockname read write readv writev send \
        recv sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg sendfile sendfile64 splice shutdown close close_range \
        closefrom dup dup2 dup3 fcntl fcntl64 ioctl poll ppoll select pselect epoll_ctl __read_chk __recv_chk \
        __recvfrom_chk __poll_chk __ppoll_chk";
    for name in wanted.split_whitespace() {
        assert!(LISTED.contains(&name), "{name}");
    }
}
