/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_MSG_H
#define BASE_MSG_H

#include <stddef.h>
#include <stdint.h>

struct event_base;

/** Longest body of a message, octets. A longer datagram ends the channel. */
#define MSG_BODY_MAX 2048
/** Messages read at one wake-up: the size of a group commit. */
#define MSG_BATCH_MAX 64
/** Messages that may wait for a slow reader before the channel is ended. */
#define MSG_QUEUE_MAX 8192

/**
 * One end of a SOCK_SEQPACKET pair between two of our processes. A message is a u32
 * type in host order, then a body; the channel checks framing only, its user checks
 * type, exact length and every field.
 */
struct msg_channel;

struct msg_handler {
	/**
	 * One message. fd is a descriptor that came with it, or -1; the handler owns
	 * it. Errors: -errno with a reason logged by the handler ends the channel:
	 * `ended` is called next.
	 */
	int (*message)(void *user, uint32_t type, const void *body, size_t length,
		       int fd);
	/** After the messages of one wake-up, at most MSG_BATCH_MAX; may be NULL. */
	void (*drained)(void *user);
	/** The peer is gone (error 0), or the channel broke (-errno). May free it. */
	void (*ended)(void *user, int error);
};

/** Owns: takes fd, makes it non-blocking. Errors: NULL, fd still the caller's. */
struct msg_channel *msg_channel_new(struct event_base *base, int fd,
				    const struct msg_handler *handler, void *user);
/** Safe on NULL and inside a handler's callbacks. Closes the descriptor. */
void msg_channel_free(struct msg_channel *channel);

/**
 * Queue a message; everything queued in one turn of the event loop leaves in one burst.
 * Errors: -EMSGSIZE; -ENOBUFS when the peer reads too slowly; -ENOMEM; -EPIPE after the
 * channel has ended.
 */
int msg_channel_send(struct msg_channel *channel, uint32_t type, const void *body,
		     size_t length) __attribute__((warn_unused_result));
/** The same with a descriptor beside it. Owns: takes fd when it returns 0. */
int msg_channel_send_fd(struct msg_channel *channel, uint32_t type, const void *body,
			size_t length, int fd) __attribute__((warn_unused_result));

/** Messages that wait until the peer reads: who may hold back looks here. */
size_t msg_channel_get_queued(const struct msg_channel *channel);

/**
 * From now on let messages wait so long after the first one of them, and read them as
 * one batch then: for a reader whom many at once cost hardly more than one. 0 = read
 * what is there when it comes. Safe on NULL.
 */
void msg_channel_set_pause(struct msg_channel *channel, unsigned int pause_ms);

/**
 * Let what is queued leave now, before the caller does something that takes long. Safe
 * on NULL.
 */
void msg_channel_flush(struct msg_channel *channel);

/** A connected pair, close-on-exec, non-blocking. Errors: -errno. */
int msg_pair(int pair[2]) __attribute__((warn_unused_result));

#endif
