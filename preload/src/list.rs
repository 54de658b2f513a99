// The one list of what is interposed. `real.rs` makes the exported functions and the ways to the C library's own of
// it; `tests/exports.rs` compares it with what the library exports.
//
// fcntl and ioctl are variadic in C. Their third argument comes in a register like any other on the machines that
// the library is made for.
interpose! {
    // Setting up.
    connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int => setup::connect;
    __connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int => setup::connect;
    bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int => setup::bind;
    listen(fd: c_int, backlog: c_int) -> c_int => setup::listen;
    accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int => setup::accept;
    accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int => setup::accept4;

    // Options and names.
    setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int => options::setsockopt;
    getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int => options::getsockopt;
    getsockname(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int => options::getsockname;
    getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int => options::getpeername;
    ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int => options::ioctl;

    sockatmark(fd: c_int) -> c_int => options::sockatmark;

    // Octets in.
    read(fd: c_int, at: *mut c_void, len: usize) -> isize => receive::read;
    __read(fd: c_int, at: *mut c_void, len: usize) -> isize => receive::read;
    __read_chk(fd: c_int, at: *mut c_void, len: usize, room: usize) -> isize => receive::read_chk;
    readv(fd: c_int, parts: *const iovec, count: c_int) -> isize => receive::readv;
    recv(fd: c_int, at: *mut c_void, len: usize, flags: c_int) -> isize => receive::recv;
    __recv_chk(fd: c_int, at: *mut c_void, len: usize, room: usize, flags: c_int) -> isize => receive::recv_chk;
    recvfrom(fd: c_int, at: *mut c_void, len: usize, flags: c_int, address: *mut sockaddr, address_len: *mut socklen_t) -> isize => receive::recvfrom;
    __recvfrom_chk(fd: c_int, at: *mut c_void, len: usize, room: usize, flags: c_int, address: *mut sockaddr, address_len: *mut socklen_t) -> isize => receive::recvfrom_chk;
    recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize => receive::recvmsg;
    recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec) -> c_int => receive::recvmmsg;

    // Octets out.
    write(fd: c_int, from: *const c_void, len: usize) -> isize => send::write;
    __write(fd: c_int, from: *const c_void, len: usize) -> isize => send::write;
    writev(fd: c_int, parts: *const iovec, count: c_int) -> isize => send::writev;
    send(fd: c_int, from: *const c_void, len: usize, flags: c_int) -> isize => send::send;
    __send(fd: c_int, from: *const c_void, len: usize, flags: c_int) -> isize => send::send;
    sendto(fd: c_int, from: *const c_void, len: usize, flags: c_int, address: *const sockaddr, address_len: socklen_t) -> isize => send::sendto;
    sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize => send::sendmsg;
    sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int => send::sendmmsg;
    sendfile(to: c_int, from: c_int, offset: *mut off64_t, len: usize) -> isize => send::sendfile;
    sendfile64(to: c_int, from: c_int, offset: *mut off64_t, len: usize) -> isize => send::sendfile;
    splice(from: c_int, from_offset: *mut off64_t, to: c_int, to_offset: *mut off64_t, len: usize, flags: c_uint) -> isize => send::splice;
    shutdown(fd: c_int, how: c_int) -> c_int => send::shutdown;

    // Numbers.
    close(fd: c_int) -> c_int => numbers::close;
    __close(fd: c_int) -> c_int => numbers::close;
    close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int => numbers::close_range;
    closefrom(first: c_int) -> () => numbers::closefrom;
    fclose(file: *mut FILE) -> c_int => numbers::fclose;
    fdopen(fd: c_int, mode: *const c_char) -> *mut FILE => stdio::fdopen;
    fileno(file: *mut FILE) -> c_int => stdio::fileno;
    fileno_unlocked(file: *mut FILE) -> c_int => stdio::fileno;
    dup(fd: c_int) -> c_int => numbers::dup;
    dup2(fd: c_int, new: c_int) -> c_int => numbers::dup2;
    __dup2(fd: c_int, new: c_int) -> c_int => numbers::dup2;
    dup3(fd: c_int, new: c_int, flags: c_int) -> c_int => numbers::dup3;
    fcntl(fd: c_int, command: c_int, argument: usize) -> c_int => numbers::fcntl;
    fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int => numbers::fcntl;
    __fcntl(fd: c_int, command: c_int, argument: usize) -> c_int => numbers::fcntl;

    // Waiting. epoll_wait and its kin are the kernel's.
    poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int => waiting::poll;
    __poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int => waiting::poll;
    __poll_chk(list: *mut pollfd, count: nfds_t, timeout: c_int, room: usize) -> c_int => waiting::poll_chk;
    ppoll(list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int => waiting::ppoll;
    __ppoll_chk(list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: usize) -> c_int => waiting::ppoll_chk;
    select(count: c_int, reads: *mut fd_set, writes: *mut fd_set, excepts: *mut fd_set, timeout: *mut timeval) -> c_int => waiting::select;
    __select(count: c_int, reads: *mut fd_set, writes: *mut fd_set, excepts: *mut fd_set, timeout: *mut timeval) -> c_int => waiting::select;
    pselect(count: c_int, reads: *mut fd_set, writes: *mut fd_set, excepts: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int => waiting::pselect;
    epoll_ctl(set: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int => waiting::epoll_ctl;

    // This library's own descriptors, which are kept out of the program's way.
    epoll_create1(flags: c_int) -> c_int => own::epoll_create1;
    eventfd(count: c_uint, flags: c_int) -> c_int => own::eventfd;
    timerfd_create(clock: c_int, flags: c_int) -> c_int => own::timerfd_create;
    socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int => own::socketpair;

    // The end.
    _exit(status: c_int) -> () => process::exit_now;
    _Exit(status: c_int) -> () => process::exit_now;
}
