/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "base/msg_queue.h"

#define WAIT_MAX_S 10

/* What one end of a channel has seen, and how it shall behave. */
struct end {
	struct msg_channel *channel;
	struct event_base *base;
	unsigned int messages;
	unsigned int drained;
	unsigned int messages_at_drain;
	unsigned int ended;
	int error;
	int fd;
	uint32_t last_type;
	size_t last_length;
	uint8_t last_body[MSG_BODY_MAX];
	bool in_order;
	unsigned int stop_after; /* leave the loop after so many messages; 0 = never */
	unsigned int free_at;	 /* free the channel in that message */
	unsigned int refuse_at;	 /* answer an error to that message */
	bool free_when_drained;
};

static int on_message(void *user, uint32_t type, const void *body, size_t length,
		      int fd)
{
	struct end *end = user;

	if (type != end->messages)
		end->in_order = false;
	end->messages++;
	end->last_type = type;
	end->last_length = length;
	memcpy(end->last_body, body, length);
	assert_int_equal((uintptr_t)body % 8, 0);
	if (fd >= 0) {
		if (end->fd >= 0)
			close(end->fd);
		end->fd = fd;
	}
	if (end->messages == end->free_at) {
		msg_channel_free(end->channel);
		end->channel = NULL;
		event_base_loopbreak(end->base);
	}
	if (end->messages == end->refuse_at)
		return -EPROTO;
	if (end->messages == end->stop_after)
		event_base_loopbreak(end->base);
	return 0;
}

static void on_drained(void *user)
{
	struct end *end = user;

	end->drained++;
	end->messages_at_drain = end->messages;
	if (end->free_when_drained) {
		msg_channel_free(end->channel);
		end->channel = NULL;
		event_base_loopbreak(end->base);
	}
}

static void on_ended(void *user, int error)
{
	struct end *end = user;

	end->ended++;
	end->error = error;
	msg_channel_free(end->channel);
	end->channel = NULL;
	event_base_loopbreak(end->base);
}

static const struct msg_handler handler = {on_message, on_drained, on_ended};

struct fixture {
	struct event_base *base;
	struct end a, b;
	int raw; /* the other descriptor, where only one end is a channel */
	unsigned int fds;
};

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void on_deadline(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	(void)user;
	fail_msg("nothing happened for %d s", WAIT_MAX_S);
}

static void run(struct fixture *fixture)
{
	const struct timeval limit = {WAIT_MAX_S, 0};
	struct event *deadline = evtimer_new(fixture->base, on_deadline, NULL);

	evtimer_add(deadline, &limit);
	event_base_dispatch(fixture->base);
	event_free(deadline);
}

static void end_init(struct fixture *fixture, struct end *end, int fd)
{
	*end = (struct end){.base = fixture->base, .fd = -1, .in_order = true};
	if (fd < 0)
		return;
	end->channel = msg_channel_new(fixture->base, fd, &handler, end);
	assert_non_null(end->channel);
}

static int set_up(void **state, bool both)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	int pair[2];

	assert_non_null(fixture);
	fixture->fds = count_fds();
	fixture->base = event_base_new();
	assert_int_equal(msg_pair(pair), 0);
	end_init(fixture, &fixture->a, pair[0]);
	end_init(fixture, &fixture->b, both ? pair[1] : -1);
	fixture->raw = both ? -1 : pair[1];
	*state = fixture;
	return 0;
}

static int set_up_both(void **state)
{
	return set_up(state, true);
}

static int set_up_raw(void **state)
{
	return set_up(state, false);
}

/* Also the proof that no test leaks a descriptor. */
static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	msg_channel_free(fixture->a.channel);
	msg_channel_free(fixture->b.channel);
	if (fixture->raw >= 0)
		close(fixture->raw);
	if (fixture->a.fd >= 0)
		close(fixture->a.fd);
	if (fixture->b.fd >= 0)
		close(fixture->b.fd);
	event_base_free(fixture->base);
	assert_int_equal(count_fds(), fixture->fds);
	free(fixture);
	return 0;
}

static void send_many(struct end *end, unsigned int count)
{
	uint8_t body[400];

	memset(body, 7, sizeof(body));
	for (unsigned int i = 0; i < count; i++)
		assert_int_equal(msg_channel_send(end->channel, i, body, sizeof(body)),
				 0);
}

static void test_message_arrives_whole(void **state)
{
	struct fixture *fixture = *state;
	uint8_t body[MSG_BODY_MAX];

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7);
	assert_int_equal(msg_channel_send(fixture->a.channel, 0, body, sizeof(body)),
			 0);
	assert_int_equal(msg_channel_send(fixture->a.channel, 1, NULL, 0), 0);
	assert_int_equal(msg_channel_send(fixture->a.channel, 2, body, sizeof(body)),
			 0);
	fixture->b.stop_after = 3;
	run(fixture);
	assert_int_equal(fixture->b.messages, 3);
	assert_true(fixture->b.in_order);
	assert_int_equal(fixture->b.last_length, sizeof(body));
	assert_memory_equal(fixture->b.last_body, body, sizeof(body));
}

static void test_body_too_long_is_refused(void **state)
{
	struct fixture *fixture = *state;
	static const uint8_t body[MSG_BODY_MAX + 1];

	assert_int_equal(msg_channel_send(fixture->a.channel, 0, body, sizeof(body)),
			 -EMSGSIZE);
}

static void test_messages_come_in_batches(void **state)
{
	struct fixture *fixture = *state;

	send_many(&fixture->a, 3 * MSG_BATCH_MAX);
	fixture->b.stop_after = 3 * MSG_BATCH_MAX;
	run(fixture);
	assert_int_equal(fixture->b.messages, 3 * MSG_BATCH_MAX);
	assert_true(fixture->b.in_order);
	assert_int_equal(fixture->b.drained, 3);
	assert_int_equal(fixture->b.messages_at_drain, 3 * MSG_BATCH_MAX);
}

static void send_later(evutil_socket_t fd, short what, void *user)
{
	struct end *end = user;

	(void)fd;
	(void)what;
	assert_int_equal(msg_channel_send(end->channel, 1, NULL, 0), 0);
}

/* What comes a little later than the first message is read with it. */
static void test_reader_that_pauses(void **state)
{
	const struct timeval later = {.tv_usec = 5000};
	struct fixture *fixture = *state;
	struct event *timer = event_new(fixture->base, -1, 0, send_later, &fixture->a);

	for (unsigned int pause_ms = 0; pause_ms <= 90; pause_ms += 90) {
		msg_channel_set_pause(fixture->b.channel, pause_ms);
		fixture->b.messages = 0;
		fixture->b.drained = 0;
		fixture->b.stop_after = 2;
		send_many(&fixture->a, 1);
		event_add(timer, &later);
		run(fixture);
		/* the loop ends inside the last batch, or after it */
		event_base_loop(fixture->base, EVLOOP_NONBLOCK);
		assert_int_equal(fixture->b.messages, 2);
		assert_true(fixture->b.in_order);
		assert_int_equal(fixture->b.drained, pause_ms > 0 ? 1 : 2);
	}
	/* and it may go while it does */
	send_many(&fixture->a, 1);
	event_base_loop(fixture->base, EVLOOP_ONCE);
	event_base_loop(fixture->base, EVLOOP_ONCE);
	event_free(timer);
	msg_channel_set_pause(NULL, 1);
}

/* More than the socket holds: the rest waits, then all of it arrives in order. */
static void test_queue_is_bounded_and_keeps_order(void **state)
{
	struct fixture *fixture = *state;

	for (int round = 0; round < 2; round++) {
		send_many(&fixture->a, MSG_QUEUE_MAX);
		assert_int_equal(msg_channel_send(fixture->a.channel, 0, NULL, 0),
				 -ENOBUFS);
		fixture->b.messages = 0;
		fixture->b.stop_after = MSG_QUEUE_MAX;
		run(fixture);
		assert_int_equal(fixture->b.messages, MSG_QUEUE_MAX);
		assert_true(fixture->b.in_order);
	}
}

/* Nobody reads: the loop must rest until the socket can be written, not spin. */
static void test_slow_reader_is_waited_for(void **state)
{
	struct fixture *fixture = *state;
	unsigned int turns = 0;
	uint8_t datagram[MSG_DATAGRAM_MAX];
	uint32_t expected = 0;

	send_many(&fixture->a, MSG_QUEUE_MAX);
	while (event_base_loop(fixture->base, EVLOOP_NONBLOCK) == 0 && ++turns < 50)
		continue;
	assert_int_equal(msg_channel_send(fixture->a.channel, MSG_QUEUE_MAX, NULL, 0),
			 0);
	while (expected <= MSG_QUEUE_MAX) {
		ssize_t length = recv(fixture->raw, datagram, sizeof(datagram), 0);
		struct msg_frame frame;

		if (length < 0) {
			assert_int_equal(errno, EAGAIN);
			event_base_loop(fixture->base, EVLOOP_ONCE);
			continue;
		}
		for (ssize_t at = 0; at < length; expected++) {
			memcpy(&frame, datagram + at, sizeof(frame));
			assert_int_equal(frame.type, expected);
			at += (ssize_t)(sizeof(frame) + frame.sent);
			assert_true(at <= length);
		}
	}
}

static void test_descriptor_travels(void **state)
{
	struct fixture *fixture = *state;
	int ends[2];
	char byte = 0;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(msg_channel_send(fixture->a.channel, 0, NULL, 0), 0);
	assert_int_equal(msg_channel_send_fd(fixture->a.channel, 1, "x", 1, ends[1]),
			 0);
	assert_int_equal(msg_channel_send(fixture->a.channel, 2, NULL, 0), 0);
	fixture->b.stop_after = 3;
	run(fixture);
	assert_true(fixture->b.fd >= 0);
	assert_int_equal(fcntl(fixture->b.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fixture->b.fd, "y", 1), 1);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	close(ends[0]);
}

static void test_queued_descriptor_is_closed_with_the_channel(void **state)
{
	struct fixture *fixture = *state;
	int ends[2];
	char byte = 0;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(msg_channel_send_fd(fixture->a.channel, 0, NULL, 0, ends[1]),
			 0);
	msg_channel_free(fixture->a.channel);
	fixture->a.channel = NULL;
	msg_channel_free(fixture->b.channel);
	fixture->b.channel = NULL;
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

/* A datagram that begins with this frame; what follows is zero. */
static void send_raw(const struct fixture *fixture, struct msg_frame frame,
		     size_t length)
{
	uint8_t bytes[MSG_DATAGRAM_MAX + 1] = {0};

	memcpy(bytes, &frame, sizeof(frame));
	assert_int_equal(send(fixture->raw, bytes, length, 0), length);
}

static void test_bad_datagram_ends(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		struct msg_frame frame;
		size_t length;
		unsigned int messages;
		int error;
	} rows[] = {
		{{0, 0, 0}, sizeof(struct msg_frame) - 1, 0, -EBADMSG},
		{{0, 8, 8}, sizeof(struct msg_frame) + 7, 0, -EBADMSG},
		{{0, 7, 8}, sizeof(struct msg_frame) + 8, 0, -EBADMSG},
		{{0, MSG_BODY_MAX + 1, 0}, sizeof(struct msg_frame), 0, -EBADMSG},
		{{0, UINT16_MAX, 8}, sizeof(struct msg_frame) + 8, 0, -EBADMSG},
		/* a whole message, and the beginning of another */
		{{0, 8, 8}, 2 * sizeof(struct msg_frame) + 7, 1, -EBADMSG},
		{{0, MSG_BODY_MAX, MSG_BODY_MAX}, MSG_DATAGRAM_MAX + 1, 0, -EMSGSIZE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int pair[2];

		assert_int_equal(msg_pair(pair), 0);
		close(fixture->raw);
		msg_channel_free(fixture->a.channel);
		end_init(fixture, &fixture->a, pair[0]);
		fixture->raw = pair[1];
		send_raw(fixture, rows[i].frame, rows[i].length);
		run(fixture);
		assert_int_equal(fixture->a.ended, 1);
		assert_int_equal(fixture->a.error, rows[i].error);
		assert_int_equal(fixture->a.messages, rows[i].messages);
	}
}

/* A body whose end does not travel is whole when it is handed over. */
static void test_longest_datagram_is_read(void **state)
{
	struct fixture *fixture = *state;
	static const uint8_t zeros[MSG_BODY_MAX];

	send_raw(fixture,
		 (struct msg_frame){.length = MSG_BODY_MAX, .sent = MSG_BODY_MAX},
		 MSG_DATAGRAM_MAX);
	send_raw(fixture, (struct msg_frame){.type = 1, .length = MSG_BODY_MAX},
		 sizeof(struct msg_frame));
	memset(fixture->a.last_body, 1, sizeof(fixture->a.last_body));
	fixture->a.stop_after = 2;
	run(fixture);
	assert_int_equal(fixture->a.messages, 2);
	assert_true(fixture->a.in_order);
	assert_int_equal(fixture->a.last_length, MSG_BODY_MAX);
	assert_memory_equal(fixture->a.last_body, zeros, sizeof(zeros));
}

/* Zeros at the end of a body do not travel, wherever they begin. */
static void test_zeros_do_not_travel(void **state)
{
	struct fixture *fixture = *state;
	uint8_t body[40];

	for (size_t used = 0; used <= sizeof(body); used++) {
		struct msg_frame frame;
		uint8_t bytes[MSG_DATAGRAM_MAX];

		memset(body, 0, sizeof(body));
		memset(body, 7, used);
		/* one that is zero among those that are not */
		if (used > 1)
			body[used / 2 - 1] = 0;
		assert_int_equal(
			msg_channel_send(fixture->a.channel, 0, body, sizeof(body)), 0);
		event_base_loop(fixture->base, EVLOOP_NONBLOCK);
		assert_int_equal(recv(fixture->raw, bytes, sizeof(bytes), 0),
				 sizeof(frame) + used);
		memcpy(&frame, bytes, sizeof(frame));
		assert_int_equal(frame.length, sizeof(body));
		assert_int_equal(frame.sent, used);
		assert_memory_equal(bytes + sizeof(frame), body, used);
	}
}

/* Of a datagram with more messages than a batch the rest waits for the next turn. */
static void test_rest_of_a_datagram_waits(void **state)
{
	struct fixture *fixture = *state;
	uint8_t bytes[MSG_DATAGRAM_MAX];
	const unsigned int count = sizeof(bytes) / sizeof(struct msg_frame);

	for (unsigned int i = 0; i < count; i++) {
		const struct msg_frame frame = {.type = i};

		memcpy(bytes + i * sizeof(frame), &frame, sizeof(frame));
	}
	assert_int_equal(send(fixture->raw, bytes, count * sizeof(struct msg_frame), 0),
			 count * sizeof(struct msg_frame));
	event_base_loop(fixture->base, EVLOOP_ONCE);
	assert_int_equal(fixture->a.messages, MSG_BATCH_MAX);
	assert_int_equal(fixture->a.drained, 1);
	fixture->a.stop_after = count;
	run(fixture);
	assert_int_equal(fixture->a.messages, count);
	assert_true(fixture->a.in_order);
	assert_int_equal(fixture->a.drained,
			 (count + MSG_BATCH_MAX - 1) / MSG_BATCH_MAX);
}

/* What waits behind it is never handed over, and its descriptors are closed. */
static void test_free_with_a_rest(void **state)
{
	struct fixture *fixture = *state;
	int spare = dup(STDERR_FILENO);

	for (unsigned int i = 0; i < MSG_BATCH_MAX + 1; i++)
		assert_int_equal(msg_channel_send(fixture->a.channel, i, NULL, 0), 0);
	assert_int_equal(msg_channel_send_fd(fixture->a.channel, 0, NULL, 0, spare), 0);
	event_base_loop(fixture->base, EVLOOP_ONCE);
	while (fixture->b.messages < MSG_BATCH_MAX)
		event_base_loop(fixture->base, EVLOOP_ONCE);
	assert_int_equal(fixture->b.messages, MSG_BATCH_MAX);
	msg_channel_free(fixture->b.channel);
	fixture->b.channel = NULL;
}

/* Two descriptors beside one message: the second is never installed here. */
static void test_second_descriptor_ends(void **state)
{
	struct fixture *fixture = *state;
	const int fds[2] = {STDERR_FILENO, STDERR_FILENO};
	struct msg_frame frame = {0};
	struct iovec iovec = {&frame, sizeof(frame)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(sizeof(fds))}};
	struct msghdr header = {.msg_iov = &iovec,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
	assert_int_equal(sendmsg(fixture->raw, &header, 0), sizeof(frame));
	run(fixture);
	assert_int_equal(fixture->a.ended, 1);
	assert_int_equal(fixture->a.error, -EMSGSIZE);
}

static void test_peer_gone_after_its_last_message(void **state)
{
	struct fixture *fixture = *state;

	/* Unread data on the other side makes the kernel say ECONNRESET first. */
	assert_int_equal(msg_channel_send(fixture->a.channel, 9, NULL, 0), 0);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	send_raw(fixture, (struct msg_frame){0}, sizeof(struct msg_frame));
	close(fixture->raw);
	fixture->raw = -1;
	assert_int_equal(msg_channel_send(fixture->a.channel, 9, NULL, 0), 0);
	run(fixture);
	assert_int_equal(fixture->a.messages, 1);
	assert_int_equal(fixture->a.ended, 1);
	assert_int_equal(fixture->a.error, 0);
}

static void test_last_word_is_sent_on_free(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(msg_channel_send(fixture->b.channel, 0, "bye", 3), 0);
	msg_channel_free(fixture->b.channel);
	fixture->b.channel = NULL;
	run(fixture);
	assert_int_equal(fixture->a.messages, 1);
	assert_memory_equal(fixture->a.last_body, "bye", 3);
	assert_int_equal(fixture->a.ended, 1);
}

static void test_handler_error_ends(void **state)
{
	struct fixture *fixture = *state;

	send_many(&fixture->a, 5);
	fixture->b.refuse_at = 2;
	run(fixture);
	assert_int_equal(fixture->b.messages, 2);
	/* What came before the lie is still worked on. */
	assert_int_equal(fixture->b.drained, 1);
	assert_int_equal(fixture->b.ended, 1);
	assert_int_equal(fixture->b.error, -EPROTO);
}

static void test_free_inside_message(void **state)
{
	struct fixture *fixture = *state;
	int spare = dup(STDERR_FILENO);

	send_many(&fixture->a, 5);
	assert_int_equal(msg_channel_send_fd(fixture->a.channel, 5, NULL, 0, spare), 0);
	fixture->b.free_at = 2;
	run(fixture);
	assert_int_equal(fixture->b.messages, 2);
	assert_int_equal(fixture->b.drained, 0);
	assert_int_equal(fixture->b.ended, 0);
}

static void test_free_inside_drained(void **state)
{
	struct fixture *fixture = *state;

	send_many(&fixture->a, 5);
	fixture->b.free_when_drained = true;
	run(fixture);
	assert_int_equal(fixture->b.messages, 5);
	assert_int_equal(fixture->b.drained, 1);
	assert_int_equal(fixture->b.ended, 0);
}

static void test_free_null(void **state)
{
	(void)state;
	msg_channel_free(NULL);
}

#define WITH_BOTH(f) cmocka_unit_test_setup_teardown(f, set_up_both, tear_down)
#define WITH_RAW(f) cmocka_unit_test_setup_teardown(f, set_up_raw, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOTH(test_message_arrives_whole),
		WITH_BOTH(test_body_too_long_is_refused),
		WITH_BOTH(test_messages_come_in_batches),
		WITH_BOTH(test_reader_that_pauses),
		WITH_BOTH(test_queue_is_bounded_and_keeps_order),
		WITH_RAW(test_slow_reader_is_waited_for),
		WITH_BOTH(test_descriptor_travels),
		WITH_BOTH(test_queued_descriptor_is_closed_with_the_channel),
		WITH_RAW(test_bad_datagram_ends),
		WITH_RAW(test_longest_datagram_is_read),
		WITH_RAW(test_zeros_do_not_travel),
		WITH_RAW(test_rest_of_a_datagram_waits),
		WITH_BOTH(test_free_with_a_rest),
		WITH_RAW(test_second_descriptor_ends),
		WITH_RAW(test_peer_gone_after_its_last_message),
		WITH_BOTH(test_last_word_is_sent_on_free),
		WITH_BOTH(test_handler_error_ends),
		WITH_BOTH(test_free_inside_message),
		WITH_BOTH(test_free_inside_drained),
		cmocka_unit_test(test_free_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
