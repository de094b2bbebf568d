/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/msg.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the kernel may hold for a reader that is busy with a transaction; a bound, not
 * an allocation. */
#define MSG_SOCKET_BUFFER (1024 * 1024)
/* First size of the queue, and what is kept of it when it has run empty, octets. */
#define MSG_QUEUE_OCTETS_MIN 8192
#define MSG_QUEUE_OCTETS_KEEP 65536
/* Longest pause of a reader. */
#define MSG_PAUSE_MAX_MS 100
/* What msg_deliver() answers when the peer has closed its end. */
#define MSG_PEER_GONE 1

/* One received datagram. The padding puts the body on an 8-octet boundary. */
struct msg_slot {
	uint32_t padding;
	uint32_t type;
	uint8_t body[MSG_BODY_MAX];
};

#define MSG_DATAGRAM_MAX (sizeof(uint32_t) + MSG_BODY_MAX)

/* Room for one descriptor; a second one makes the kernel set MSG_CTRUNC. */
union msg_control {
	struct cmsghdr header;
	char bytes[CMSG_LEN(sizeof(int))];
};

/* One queued datagram: type and body follow each other as they travel. */
struct msg_record {
	uint32_t stride; /* from this record to the next */
	uint32_t length; /* of the datagram */
	int fd;
	uint32_t type;
	uint8_t body[];
};

/* Records in a row; sent from the head, appended at the tail. */
struct msg_queue {
	uint8_t *bytes;
	size_t size;
	size_t head;
	size_t tail;
	unsigned int count;
};

struct msg_channel {
	int fd;
	bool busy;    /* inside a handler's callback: free later */
	bool freed;   /* by its owner, while busy */
	bool ended;   /* nothing comes or goes any more */
	bool blocked; /* the peer reads slowly: wait until the socket is writable */
	unsigned int pause_ms;
	struct event *readable;
	struct event *writable;
	struct event *paused; /* reads in the place of `readable`, later */
	struct msg_handler handler;
	void *user;
	struct msg_queue queue;
	struct msg_slot *slots; /* not touched, so not resident, before a burst comes */
	struct mmsghdr headers[MSG_BATCH_MAX];
	struct iovec iovecs[MSG_BATCH_MAX];
	union msg_control controls[MSG_BATCH_MAX];
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

static void msg_queue_clear(struct msg_queue *queue)
{
	while (queue->count > 0)
		msg_queue_pop(queue);
}

static void msg_attach_fd(struct msghdr *header, union msg_control *control, int fd)
{
	control->header.cmsg_level = SOL_SOCKET;
	control->header.cmsg_type = SCM_RIGHTS;
	control->header.cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(&control->header), &fd, sizeof(fd));
	header->msg_control = control;
	header->msg_controllen = CMSG_LEN(sizeof(fd));
}

/* One system call for up to a batch of records. Errors: -errno. */
static int msg_send_batch(struct msg_channel *channel)
{
	struct mmsghdr headers[MSG_BATCH_MAX];
	struct iovec iovecs[MSG_BATCH_MAX];
	union msg_control controls[MSG_BATCH_MAX];
	size_t offset = channel->queue.head;
	unsigned int count = 0;
	int sent;

	while (count < MSG_BATCH_MAX && count < channel->queue.count) {
		struct msg_record *record = msg_queue_at(&channel->queue, offset);
		struct msghdr *header = &headers[count].msg_hdr;

		*header = (struct msghdr){.msg_iov = &iovecs[count], .msg_iovlen = 1};
		iovecs[count].iov_base = &record->type;
		iovecs[count].iov_len = record->length;
		if (record->fd >= 0)
			msg_attach_fd(header, &controls[count], record->fd);
		offset += record->stride;
		count++;
	}
	sent = sendmmsg(channel->fd, headers, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	for (int i = 0; i < sent; i++)
		msg_queue_pop(&channel->queue);
	return 0;
}

/* Send until the queue is empty. Errors: -errno, the rest is still queued. */
static int msg_flush(struct msg_channel *channel)
{
	int error = 0;

	while (channel->queue.count > 0 && (error == 0 || error == -EINTR))
		error = msg_send_batch(channel);
	return error == -EINTR ? 0 : error;
}

static void msg_destroy(struct msg_channel *channel)
{
	if (channel->readable)
		event_free(channel->readable);
	if (channel->writable)
		event_free(channel->writable);
	if (channel->paused)
		event_free(channel->paused);
	free(channel->queue.bytes);
	free(channel->slots);
	free(channel);
}

static void msg_enter(struct msg_channel *channel)
{
	channel->busy = true;
}

static void msg_leave(struct msg_channel *channel)
{
	channel->busy = false;
	if (channel->freed)
		msg_destroy(channel);
}

/* Nothing more in either direction. Call between msg_enter() and msg_leave(). */
static void msg_end(struct msg_channel *channel, int error)
{
	channel->ended = true;
	event_del(channel->readable);
	event_del(channel->paused);
	event_del(channel->writable);
	msg_queue_clear(&channel->queue);
	if (channel->handler.ended)
		channel->handler.ended(channel->user, error);
}

static void msg_on_writable(evutil_socket_t fd, short what, void *user)
{
	struct msg_channel *channel = user;
	int error;

	(void)fd;
	(void)what;
	channel->blocked = false;
	error = msg_flush(channel);
	if (error == 0)
		return;
	if (error == -EAGAIN) {
		channel->blocked = true;
		event_add(channel->writable, NULL);
		return;
	}
	/* Of a peer that is gone the reading side learns, after its last messages. */
	if (error == -EPIPE || error == -ECONNRESET) {
		msg_queue_clear(&channel->queue);
		return;
	}
	msg_enter(channel);
	msg_end(channel, error);
	msg_leave(channel);
}

/* The descriptor that came with a message, or -1. */
static int msg_steal_fd(struct msghdr *header)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(header);
	int fd = -1;

	if (control && control->cmsg_level == SOL_SOCKET &&
	    control->cmsg_type == SCM_RIGHTS &&
	    control->cmsg_len >= CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(control), sizeof(fd));
	return fd;
}

static void msg_reset_header(struct msg_channel *channel, int i)
{
	struct msghdr *header = &channel->headers[i].msg_hdr;

	header->msg_control = &channel->controls[i];
	header->msg_controllen = CMSG_LEN(sizeof(int));
	header->msg_flags = 0;
}

/* Hand over one datagram. Owns: takes fd. Errors: MSG_PEER_GONE, -errno. */
static int msg_deliver(struct msg_channel *channel, int i, int fd)
{
	const struct mmsghdr *header = &channel->headers[i];
	const struct msg_slot *slot = &channel->slots[i];
	int error = 0;

	if (channel->freed)
		error = -ECANCELED;
	else if (header->msg_len == 0)
		error = MSG_PEER_GONE;
	else if (header->msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		error = -EMSGSIZE;
	else if (header->msg_len < sizeof(slot->type))
		error = -EBADMSG;
	if (error != 0) {
		if (fd >= 0)
			close(fd);
		return error;
	}
	return channel->handler.message(channel->user, slot->type, slot->body,
					header->msg_len - sizeof(slot->type), fd);
}

/* All datagrams of one wake-up; after the first error only their descriptors matter. */
static int msg_deliver_batch(struct msg_channel *channel, int count)
{
	int error = 0;

	for (int i = 0; i < count; i++) {
		int fd = msg_steal_fd(&channel->headers[i].msg_hdr);

		if (error == 0)
			error = msg_deliver(channel, i, fd);
		else if (fd >= 0)
			close(fd);
		msg_reset_header(channel, i);
	}
	return error;
}

static void msg_read(struct msg_channel *channel)
{
	int error;
	int count = recvmmsg(channel->fd, channel->headers, MSG_BATCH_MAX,
			     MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);

	/* ECONNRESET is said once, when the peer left something unread; its own last
	 * messages and the end of the stream follow. */
	if (count < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNRESET))
		return;
	msg_enter(channel);
	error = count < 0 ? -errno : msg_deliver_batch(channel, count);
	if (!channel->freed && channel->handler.drained)
		channel->handler.drained(channel->user);
	if (!channel->freed && error != 0)
		msg_end(channel, error == MSG_PEER_GONE ? 0 : error);
	msg_leave(channel);
}

static void msg_on_readable(evutil_socket_t fd, short what, void *user)
{
	struct msg_channel *channel = user;
	const struct timeval pause = {.tv_usec = channel->pause_ms * 1000L};

	(void)fd;
	(void)what;
	if (channel->pause_ms > 0 && event_add(channel->paused, &pause) == 0)
		event_del(channel->readable);
	else
		msg_read(channel);
}

static void msg_on_paused(evutil_socket_t fd, short what, void *user)
{
	struct msg_channel *channel = user;

	(void)fd;
	(void)what;
	/* first: what is read may free the channel */
	event_add(channel->readable, NULL);
	msg_read(channel);
}

static int msg_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static void msg_init_headers(struct msg_channel *channel)
{
	for (int i = 0; i < MSG_BATCH_MAX; i++) {
		channel->iovecs[i].iov_base = &channel->slots[i].type;
		channel->iovecs[i].iov_len = MSG_DATAGRAM_MAX;
		channel->headers[i].msg_hdr.msg_iov = &channel->iovecs[i];
		channel->headers[i].msg_hdr.msg_iovlen = 1;
		msg_reset_header(channel, i);
	}
}

struct msg_channel *msg_channel_new(struct event_base *base, int fd,
				    const struct msg_handler *handler, void *user)
{
	struct msg_channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->fd = fd;
	channel->handler = *handler;
	channel->user = user;
	channel->slots = malloc(MSG_BATCH_MAX * sizeof(*channel->slots));
	channel->readable =
		event_new(base, fd, EV_READ | EV_PERSIST, msg_on_readable, channel);
	channel->writable = event_new(base, fd, EV_WRITE, msg_on_writable, channel);
	channel->paused = event_new(base, -1, 0, msg_on_paused, channel);
	if (!channel->slots || !channel->readable || !channel->writable ||
	    !channel->paused || msg_set_nonblocking(fd) < 0) {
		msg_destroy(channel);
		return NULL;
	}
	msg_init_headers(channel);
	if (event_add(channel->readable, NULL) < 0) {
		msg_destroy(channel);
		return NULL;
	}
	return channel;
}

void msg_channel_free(struct msg_channel *channel)
{
	if (!channel || channel->freed)
		return;
	/* A last word that fits into the socket still goes out; nobody waits for it. */
	if (!channel->ended)
		(void)msg_flush(channel);
	msg_queue_clear(&channel->queue);
	event_del(channel->readable);
	event_del(channel->paused);
	event_del(channel->writable);
	close(channel->fd);
	channel->freed = true;
	channel->ended = true;
	if (!channel->busy)
		msg_destroy(channel);
}

void msg_channel_set_pause(struct msg_channel *channel, unsigned int pause_ms)
{
	if (channel)
		channel->pause_ms =
			pause_ms < MSG_PAUSE_MAX_MS ? pause_ms : MSG_PAUSE_MAX_MS;
}

void msg_channel_flush(struct msg_channel *channel)
{
	/* What does not leave, and why, is seen when the turn ends. */
	if (channel && !channel->ended && !channel->blocked)
		(void)msg_flush(channel);
}

int msg_channel_send_fd(struct msg_channel *channel, uint32_t type, const void *body,
			size_t length, int fd)
{
	struct msg_queue *queue = &channel->queue;
	size_t stride = (sizeof(struct msg_record) + length + 7) & ~(size_t)7;
	struct msg_record *record;
	int error;

	if (channel->ended)
		return -EPIPE;
	if (length > MSG_BODY_MAX)
		return -EMSGSIZE;
	if (queue->count >= MSG_QUEUE_MAX)
		return -ENOBUFS;
	error = msg_queue_reserve(queue, stride);
	if (error < 0)
		return error;
	record = msg_queue_at(queue, queue->tail);
	record->stride = (uint32_t)stride;
	record->length = (uint32_t)(sizeof(record->type) + length);
	record->fd = fd;
	record->type = type;
	if (length > 0)
		memcpy(record->body, body, length);
	queue->tail += stride;
	queue->count++;
	/* Runs after everything else that is ready in this turn of the loop. */
	if (!channel->blocked && queue->count == 1)
		event_active(channel->writable, EV_WRITE, 0);
	return 0;
}

int msg_channel_send(struct msg_channel *channel, uint32_t type, const void *body,
		     size_t length)
{
	return msg_channel_send_fd(channel, type, body, length, -1);
}

/* Beyond net.core.[rw]mem_max where we may, up to it where not: slower, not wrong. */
static void msg_set_buffers(int fd)
{
	const int size = MSG_SOCKET_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

size_t msg_channel_get_queued(const struct msg_channel *channel)
{
	return channel->queue.count;
}

int msg_pair(int pair[2])
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       ends) < 0)
		return -errno;
	msg_set_buffers(ends[0]);
	msg_set_buffers(ends[1]);
	pair[0] = ends[0];
	pair[1] = ends[1];
	return 0;
}
