/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_MSG_QUEUE_H
#define BASE_MSG_QUEUE_H

/* How messages travel, and wait until they can; nobody but base/msg.c includes it. */

#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"

/**
 * What precedes each body. A datagram is one message or more, as many as fit: a
 * datagram costs the kernel as much as a thousand octets in one. Octets at the end of a
 * body that are zero do not travel: most of a request is room for what few ask.
 */
struct msg_frame {
	uint32_t type;
	uint16_t length; /* of the body */
	uint16_t sent;	 /* octets of it that follow; the rest are zero */
};

#define MSG_DATAGRAM_MAX (sizeof(struct msg_frame) + MSG_BODY_MAX)

/** Messages in a row; sent from the head, appended at the tail. All zero: empty. */
struct msg_queue {
	uint8_t *bytes;
	size_t size;
	size_t head;
	size_t tail;
	unsigned int count;
};

/** Owns: takes fd (or -1) when it returns 0. Errors: -ENOMEM, nothing changed. */
int msg_queue_append(struct msg_queue *queue, uint32_t type, const void *body,
		     size_t length, int fd) __attribute__((warn_unused_result));
/** Send until it is empty, by socket. Errors: -errno, the rest is still queued. */
int msg_queue_send(struct msg_queue *queue, int socket)
	__attribute__((warn_unused_result));
/** Forget what waits, and close its descriptors. */
void msg_queue_clear(struct msg_queue *queue);
/** The same, and free its memory. */
void msg_queue_fini(struct msg_queue *queue);

#endif
