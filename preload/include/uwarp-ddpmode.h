/* DDPMODE: a socket option of TCP sockets, in programs that are linked with libuwarp_preload or run under it.
 *
 *     int mode = DDPMODE_STREAM;
 *     setsockopt(fd, SOL_DDP, DDPMODE, &mode, sizeof mode);
 *
 * Before connect: the connection carries DDP from its first octet on. On a listening socket: connections that begin
 * with an MPA Request do, others stay plain TCP. On a connected socket that has carried nothing yet: from now on; the
 * end that connected begins, unless the mode says otherwise. Both ends have to do it.
 *
 * DDPMODE_MESSAGE says that messages will be posted and completed, which read and write cannot say: the calls of uwarp.h
 * do. The socket, and what a listening one accepts, is no stream then, whatever UWARP_DDP and UWARP_LISTEN say. It is
 * connected and accepted as plain TCP, on which the ends may agree on what they are about to do, until one end calls
 * uwarp_initiate(fd, ...) and the other uwarp_respond(fd, ...): they make the MPA start-up, and the descriptor is the
 * library's.
 *
 * getsockopt tells the mode: DDPMODE_OFF for a plain TCP socket.
 *
 * Errors: EINVAL for a mode that is none, or a mode of another size than int; EOPNOTSUPP for sockets that are not TCP;
 * EBUSY if the mode cannot be changed any more. */
#ifndef UWARP_DDPMODE_H
#define UWARP_DDPMODE_H

/* The level. No protocol number of the kernel's reaches so far. */
#define SOL_DDP 0x44445031

/* The option; its value is an int. */
#define DDPMODE 1

/* Plain TCP. */
#define DDPMODE_OFF 0
/* A stream of octets for read, write and the like. */
#define DDPMODE_STREAM 1
/* Messages, by the calls of uwarp.h; plain TCP until then. Stands alone: those calls say which end begins. */
#define DDPMODE_MESSAGE 2

/* Added to a mode that is set on a connected socket: this end sends the MPA Request, whoever connected. */
#define DDPMODE_INITIATOR 0x100
/* This end waits for the MPA Request. */
#define DDPMODE_RESPONDER 0x200

#endif
