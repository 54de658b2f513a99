/* DDPMODE: a socket option of TCP sockets, in programs that are linked with libuwarp_preload or run under it.
 *
 *     int mode = DDPMODE_STREAM;
 *     setsockopt(fd, SOL_DDP, DDPMODE, &mode, sizeof mode);
 *
 * Before connect: the connection carries DDP from its first octet on. On a listening socket: connections that begin
 * with an MPA Request do, others stay plain TCP. On a connected socket that has carried nothing yet: from now on; the
 * end that connected begins, unless the mode says otherwise. Both ends have to do it.
 *
 * getsockopt tells the mode: DDPMODE_OFF for a plain TCP socket.
 *
 * Errors: EINVAL for a mode that is none, or a mode of another size than int; EOPNOTSUPP for DDPMODE_MESSAGE (posted
 * Sends and Receives are those of uwarp.h) and for sockets that are not TCP; EBUSY if the mode cannot be changed any
 * more. */
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
/* Messages; refused here. */
#define DDPMODE_MESSAGE 2

/* Added to a mode that is set on a connected socket: this end sends the MPA Request, whoever connected. */
#define DDPMODE_INITIATOR 0x100
/* This end waits for the MPA Request. */
#define DDPMODE_RESPONDER 0x200

#endif
