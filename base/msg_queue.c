/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/msg_queue.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* First size of the queue, and what is kept of it when it has run empty, octets. */
#define MSG_QUEUE_OCTETS_MIN 8192
#define MSG_QUEUE_OCTETS_KEEP 65536

/* One message that waits: its frame and body follow each other as they travel. */
struct msg_record {
	uint32_t stride; /* from this record to the next */
	int fd;
	struct msg_frame frame;
	uint8_t body[];
};

/* Room for one descriptor. */
union msg_control {
	struct cmsghdr header;
	char bytes[CMSG_LEN(sizeof(int))];
};

/* Everything that one sendmmsg() points to. */
struct msg_burst {
	struct mmsghdr headers[MSG_BATCH_MAX];
	struct iovec iovecs[MSG_BATCH_MAX]; /* one for each message */
	unsigned int datagrams;
	unsigned int messages;
	union msg_control control; /* of the one that has a descriptor */
};

static struct msg_record *msg_queue_at(const struct msg_queue *queue, size_t offset)
{
	return (struct msg_record *)(void *)(queue->bytes + offset);
}

/* Room for `need` octets at the tail. Errors: -ENOMEM, nothing changed. */
static int msg_queue_reserve(struct msg_queue *queue, size_t need)
{
	size_t size = queue->size ? queue->size : MSG_QUEUE_OCTETS_MIN;
	uint8_t *bytes;

	if (queue->tail + need <= queue->size)
		return 0;
	/* Moving less than was sent since the last move keeps the cost per message
	 * flat. */
	if (queue->head > queue->size / 2) {
		memmove(queue->bytes, queue->bytes + queue->head,
			queue->tail - queue->head);
		queue->tail -= queue->head;
		queue->head = 0;
	}
	while (queue->tail + need > size)
		size *= 2;
	if (size == queue->size)
		return 0;
	bytes = realloc(queue->bytes, size);
	if (!bytes)
		return -ENOMEM;
	queue->bytes = bytes;
	queue->size = size;
	return 0;
}

static size_t body_get_sent(const uint8_t *body, size_t length)
{
	while (length > 0 && body[length - 1] == 0) {
		uint64_t word;

		if (length < sizeof(word)) {
			length--;
			continue;
		}
		memcpy(&word, body + length - sizeof(word), sizeof(word));
		length -= word == 0 ? sizeof(word) : 1;
	}
	return length;
}

int msg_queue_append(struct msg_queue *queue, uint32_t type, const void *body,
		     size_t length, int fd)
{
	size_t sent = length > 0 ? body_get_sent(body, length) : 0;
	size_t stride = (sizeof(struct msg_record) + sent + 7) & ~(size_t)7;
	int error = msg_queue_reserve(queue, stride);
	struct msg_record *record;

	if (error < 0)
		return error;
	record = msg_queue_at(queue, queue->tail);
	*record = (struct msg_record){
		.stride = (uint32_t)stride,
		.fd = fd,
		.frame = {.type = type,
			  .length = (uint16_t)length,
			  .sent = (uint16_t)sent},
	};
	if (sent > 0)
		memcpy(record->body, body, sent);
	queue->tail += stride;
	queue->count++;
	return 0;
}

static void msg_queue_pop(struct msg_queue *queue)
{
	const struct msg_record *record = msg_queue_at(queue, queue->head);

	if (record->fd >= 0)
		close(record->fd);
	queue->head += record->stride;
	queue->count--;
	if (queue->count > 0)
		return;
	queue->head = 0;
	queue->tail = 0;
	if (queue->size > MSG_QUEUE_OCTETS_KEEP) {
		free(queue->bytes);
		queue->bytes = NULL;
		queue->size = 0;
	}
}

static void burst_attach_fd(struct msg_burst *burst, struct msghdr *header, int fd)
{
	union msg_control *control = &burst->control;

	control->header.cmsg_level = SOL_SOCKET;
	control->header.cmsg_type = SCM_RIGHTS;
	control->header.cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(&control->header), &fd, sizeof(fd));
	header->msg_control = control;
	header->msg_controllen = CMSG_LEN(sizeof(fd));
}

/* One more message into the datagram; msg_len counts its octets meanwhile. */
static void burst_add(struct msg_burst *burst, struct mmsghdr *datagram,
		      struct msg_record *record)
{
	struct iovec *iovec = &burst->iovecs[burst->messages++];

	iovec->iov_base = &record->frame;
	iovec->iov_len = sizeof(record->frame) + record->frame.sent;
	if (datagram->msg_hdr.msg_iovlen++ == 0)
		datagram->msg_hdr.msg_iov = iovec;
	datagram->msg_len += (unsigned int)iovec->iov_len;
}

static bool datagram_has_room(const struct mmsghdr *datagram,
			      const struct msg_record *record)
{
	return record->fd < 0 &&
	       datagram->msg_len + sizeof(record->frame) + record->frame.sent <=
		       MSG_DATAGRAM_MAX;
}

/* From the head on; what has a descriptor travels alone, and is the last of a burst. */
static void burst_fill(struct msg_burst *burst, const struct msg_queue *queue)
{
	size_t offset = queue->head;
	int fd = -1;

	while (burst->messages < MSG_BATCH_MAX && burst->messages < queue->count &&
	       fd < 0) {
		struct msg_record *record = msg_queue_at(queue, offset);
		struct mmsghdr *datagram = &burst->headers[burst->datagrams];

		if (burst->messages == 0 || !datagram_has_room(datagram - 1, record)) {
			*datagram = (struct mmsghdr){.msg_len = 0};
			burst->datagrams++;
		} else {
			datagram--;
		}
		fd = record->fd;
		if (fd >= 0)
			burst_attach_fd(burst, &datagram->msg_hdr, fd);
		burst_add(burst, datagram, record);
		offset += record->stride;
	}
}

/* One system call for up to a batch of messages. Errors: -errno. */
static int msg_queue_send_burst(struct msg_queue *queue, int socket)
{
	struct msg_burst burst;
	int sent;

	burst.datagrams = 0;
	burst.messages = 0;
	burst_fill(&burst, queue);
	sent = sendmmsg(socket, burst.headers, burst.datagrams,
			MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	for (int i = 0; i < sent; i++)
		for (size_t k = burst.headers[i].msg_hdr.msg_iovlen; k > 0; k--)
			msg_queue_pop(queue);
	return 0;
}

int msg_queue_send(struct msg_queue *queue, int socket)
{
	int error = 0;

	while (queue->count > 0 && (error == 0 || error == -EINTR))
		error = msg_queue_send_burst(queue, socket);
	return error == -EINTR ? 0 : error;
}

void msg_queue_clear(struct msg_queue *queue)
{
	while (queue->count > 0)
		msg_queue_pop(queue);
}

void msg_queue_fini(struct msg_queue *queue)
{
	msg_queue_clear(queue);
	free(queue->bytes);
	*queue = (struct msg_queue){0};
}
