/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process that was taken over may write into the channel to another: any
 * datagrams, any octets in them, with descriptors or without. Nothing is read beyond a
 * datagram's end, each message is handed over within its bounds, what was refused or
 * freed is silent from then on, and no descriptor is left behind.
 */
#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "base/msg_queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DATAGRAMS_MAX 128
/* Turns of the loop that the longest input needs: a batch each, and then some. */
#define TURNS_MAX 4096

/*
 * An input: an octet that says at which message the handler frees its channel (1 to
 * 127) or refuses (129 to 255; 0 and 128: never); one that says how long it waits, in
 * ms, before it reads; then datagrams: u16 length, in host order, of which the highest
 * bit says that a descriptor goes with it, and so many octets, or what is left.
 */
struct reader {
	struct msg_channel *channel;
	uint8_t plan;
	unsigned int messages;
	unsigned int fds;
	bool over; /* freed, refused or ended: not a word more */
	bool ended;
};

static void check(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "%s\n", what);
	abort();
}

static int take_message(void *user, uint32_t type, const void *body, size_t length,
			int fd)
{
	struct reader *reader = user;
	const uint8_t *octets = body;
	volatile uint8_t sum = (uint8_t)type;

	check(!reader->over, "a message after the end");
	check(length <= MSG_BODY_MAX, "a message is too long");
	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + octets[i]);
	if (fd >= 0) {
		check(close(fd) == 0, "not a descriptor");
		reader->fds++;
	}
	reader->messages++;
	if ((reader->plan & 0x7f) == 0 || reader->messages != (reader->plan & 0x7f))
		return 0;
	reader->over = true;
	if (reader->plan & 0x80)
		return -1;
	msg_channel_free(reader->channel);
	reader->channel = NULL;
	return 0;
}

static void take_drained(void *user)
{
	const struct reader *reader = user;

	check(reader->channel, "drained after it was freed");
}

static void take_end(void *user, int error)
{
	struct reader *reader = user;

	(void)error;
	check(reader->channel && !reader->ended, "ended twice");
	reader->over = true;
	reader->ended = true;
	if (reader->plan & 1) {
		msg_channel_free(reader->channel);
		reader->channel = NULL;
	}
}

/* Returns whether the socket has taken it. */
static bool write_datagram(int socket, const uint8_t *octets, size_t length, int fd)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)octets, .iov_len = length};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void write_all(int socket, const uint8_t *data, size_t size)
{
	for (int i = 0; i < DATAGRAMS_MAX && size >= sizeof(uint16_t); i++) {
		uint16_t head;
		size_t length;

		memcpy(&head, data, sizeof(head));
		data += sizeof(head);
		size -= sizeof(head);
		length = head & 0x7fff;
		if (length > size)
			length = size;
		if (!write_datagram(socket, data, length, head & 0x8000 ? socket : -1))
			break;
		data += length;
		size -= length;
	}
	(void)shutdown(socket, SHUT_WR);
}

/* The lowest descriptor that is free: the same before and after. */
static int find_free_fd(int any)
{
	int fd = dup(any);

	check(fd >= 0, "no descriptor");
	(void)close(fd);
	return fd;
}

static void run(struct event_base *base, struct reader *reader)
{
	int turns = 0;

	/* (ends by itself when nothing is waited for any more) */
	while (!reader->over && turns++ < TURNS_MAX)
		(void)event_base_loop(base, EVLOOP_ONCE);
	check(reader->over, "it hangs");
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct msg_handler handler = {
		.message = take_message, .drained = take_drained, .ended = take_end};
	static struct event_base *base;
	struct reader reader = {.over = false};
	int pair[2];
	int unused;

	if (size < 2)
		return 0;
	if (!base)
		base = event_base_new();
	check(base && msg_pair(pair) == 0, "no socket pair");
	unused = find_free_fd(pair[0]);
	reader.plan = data[0];
	reader.channel = msg_channel_new(base, pair[1], &handler, &reader);
	check(reader.channel, "no channel");
	msg_channel_set_pause(reader.channel, data[1] % 4);
	write_all(pair[0], data + 2, size - 2);
	run(base, &reader);
	/* a refusal and the end are told, a free is not */
	check(reader.ended || !reader.channel, "nobody was told");
	msg_channel_free(reader.channel);
	check(find_free_fd(pair[0]) == (pair[1] < unused ? pair[1] : unused),
	      "a descriptor is left");
	(void)close(pair[0]);
	return 0;
}
