/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "probe/attempt.h"
#include "probe/words.h"
#include "protocols/pcp.h"

#define PCP_PORT 5351
/* First pause before it is sent again; each is twice the last. RFC 6887 §8.1.1 begins
 * with 3 s, which is as long as a step may take. */
#define RESEND_FIRST_MS 250
/* No such version will be for long (RFC 6887 §9 wants it refused politely). */
#define FUTURE_VERSION 77
#define VERSION_OFFSET 0
#define OPCODE_OFFSET 1
#define CODE_OFFSET 3
#define REPLY_MIN 4

struct talk {
	const struct run *run;
	enum step_protocol protocol;
	int fd;
	uint8_t nonce[NONCE_SIZE];
	uint16_t port; /* ours */
	struct run_epoch epoch;
};

struct answer {
	enum heard heard; /* HEARD_REFUSAL: of the version; octets hold it */
	int error;
	size_t length;
	uint8_t octets[PCP_SIZE_MAX];
	struct pcp_response response;
};

/* What is sent until an answer comes. */
struct question {
	uint8_t octets[PCP_SIZE_MAX];
	size_t length;
	uint8_t opcode;
};

static struct question question_init(const struct talk *talk, uint8_t opcode,
				     uint32_t lifetime_s)
{
	struct pcp_request request = {
		.opcode = opcode, .lifetime_s = lifetime_s, .client = talk->run->own};
	struct question question = {.opcode = opcode};

	if (opcode == PCP_OP_MAP) {
		request.protocol = IPPROTO_UDP;
		request.internal_port = talk->port;
		request.external_port = talk->port;
		/* Any of its family: ::, or ::ffff:0.0.0.0. */
		if (addr_is_ipv4(&talk->run->own))
			request.external = addr_from_ipv4((struct in_addr){0});
		memcpy(request.nonce, talk->nonce, NONCE_SIZE);
	}
	question.length =
		pcp_encode_request(&request, question.octets, sizeof(question.octets));
	return question;
}

/* True where it answers this question, be it wrongly. */
static bool answer_sort(const struct talk *talk, const struct question *question,
			struct answer *answer)
{
	const uint8_t *octets = answer->octets;
	const struct pcp_response *response = &answer->response;

	if (answer->length >= REPLY_MIN &&
	    (octets[OPCODE_OFFSET] & PCP_RESPONSE_BIT) != 0 &&
	    octets[CODE_OFFSET] == PCP_CODE_UNSUPP_VERSION) {
		answer->heard = HEARD_REFUSAL;
		return true;
	}
	answer->heard = HEARD_WRONG;
	if (!pcp_decode_response(octets, answer->length, &answer->response))
		return true;
	/* A late one, or meant for another request of this host. */
	if (response->opcode != question->opcode)
		return false;
	if (response->opcode == PCP_OP_MAP &&
	    (memcmp(response->body.nonce, talk->nonce, NONCE_SIZE) != 0 ||
	     response->body.internal_port != talk->port))
		return false;
	answer->heard = HEARD_ANSWER;
	return true;
}

/* A datagram or an error waits at the socket. True when that was the answer. */
static bool answer_take(const struct talk *talk, const struct question *question,
			struct answer *answer)
{
	ssize_t length = recv(talk->fd, answer->octets, sizeof(answer->octets),
			      MSG_DONTWAIT | MSG_TRUNC);

	if (length < 0) {
		answer->heard = HEARD_NETWORK;
		answer->error = errno;
		run_drain_errors(talk->fd);
		return answer->error != EAGAIN;
	}
	answer->length = (size_t)length;
	if (answer->length > sizeof(answer->octets)) {
		answer->heard = HEARD_WRONG;
		return true;
	}
	return answer_sort(talk, question, answer);
}

static struct answer talk_ask(const struct talk *talk, const struct question *question)
{
	int64_t deadline_ms = run_get_deadline(talk->run), pause_ms = RESEND_FIRST_MS;
	struct answer answer = {.heard = HEARD_NOTHING};

	for (;;) {
		int64_t resend_ms = clock_now_ms() + pause_ms;
		enum run_wait wait;

		if (send(talk->fd, question->octets, question->length, 0) < 0) {
			answer.heard = HEARD_NETWORK;
			answer.error = errno;
			return answer;
		}
		if (resend_ms > deadline_ms)
			resend_ms = deadline_ms;
		while ((wait = run_wait_fd(talk->run, talk->fd, resend_ms)) ==
		       RUN_READY) {
			if (answer_take(talk, question, &answer))
				return answer;
		}
		if (wait == RUN_STOPPED || clock_now_ms() >= deadline_ms)
			break;
		pause_ms *= 2;
	}
	answer.heard = run_is_stopped(talk->run) ? HEARD_STOPPED : HEARD_NOTHING;
	return answer;
}

/* Tell of anything but an answer. */
static void talk_tell_failure(struct step *step, const struct answer *answer,
			      int64_t waited_ms)
{
	const uint8_t *octets = answer->octets;

	step->answered = answer->heard == HEARD_REFUSAL || answer->heard == HEARD_WRONG;
	if (answer->heard == HEARD_REFUSAL)
		(void)step_say(step, STEP_NONE,
			       "not offered: the gateway does not speak version 2%s",
			       octets[VERSION_OFFSET] == 0
				       ? ", which is PCP, but version 0, NAT-PMP"
				       : ", which is PCP");
	else if (answer->heard == HEARD_WRONG)
		(void)step_say(step, STEP_NO,
			       "wrong answer: %zu octets, beginning with %02x %02x "
			       "%02x %02x, are no PCP",
			       answer->length, octets[0], octets[1], octets[2],
			       octets[3]);
	else
		run_say_unheard(step, answer->heard, answer->error, waited_ms);
}

/* True for a success; all else is told into step. */
static bool talk_is_success(struct step *step, const struct answer *answer,
			    int64_t began_ms)
{
	if (answer->heard != HEARD_ANSWER) {
		talk_tell_failure(step, answer, clock_now_ms() - began_ms);
		return false;
	}
	step->answered = 1;
	if (answer->response.code == PCP_CODE_SUCCESS)
		return true;
	if (answer->response.code == PCP_CODE_NOT_AUTHORIZED)
		step->cause = STEP_CAUSE_REFUSED;
	(void)step_say(step, step->cause == STEP_CAUSE_REFUSED ? STEP_NONE : STEP_NO,
		       "code %u, %s", answer->response.code,
		       words_get_pcp(answer->response.code));
	return false;
}

/* Returns false where there is nothing to go on with. */
static bool talk_announce(struct talk *talk)
{
	struct question question = question_init(talk, PCP_OP_ANNOUNCE, 0);
	struct step step = step_init(talk->protocol, "announce");
	int64_t began_ms = clock_now_ms();
	struct answer answer = talk_ask(talk, &question);
	bool good = talk_is_success(&step, &answer, began_ms);

	if (good) {
		talk->epoch = run_get_epoch(answer.response.epoch_s);
		(void)step_say(&step, STEP_OK,
			       "version 2 is spoken, epoch %" PRIu32 " s",
			       talk->epoch.epoch_s);
	}
	run_tell(talk->run, &step, began_ms);
	return good;
}

static void talk_negotiate(struct talk *talk)
{
	struct question question = question_init(talk, PCP_OP_ANNOUNCE, 0);
	struct step step = step_init(talk->protocol, "version");
	int64_t began_ms = clock_now_ms();
	struct answer answer;

	question.octets[VERSION_OFFSET] = FUTURE_VERSION;
	answer = talk_ask(talk, &question);
	if (answer.heard == HEARD_REFUSAL &&
	    answer.octets[VERSION_OFFSET] <= PCP_VERSION) {
		step.answered = 1;
		(void)step_say(&step, STEP_OK, "version %d is refused with version %u",
			       FUTURE_VERSION, answer.octets[VERSION_OFFSET]);
	} else if (answer.heard == HEARD_NOTHING) {
		(void)step_say(&step, STEP_WARN,
			       "a request of version %d gets no answer: newer clients "
			       "will not find out what is spoken",
			       FUTURE_VERSION);
	} else if (answer.heard == HEARD_ANSWER || answer.heard == HEARD_REFUSAL) {
		step.answered = 1;
		(void)step_say(&step, STEP_WARN,
			       "a request of version %d is not refused as such",
			       FUTURE_VERSION);
	} else {
		talk_tell_failure(&step, &answer, clock_now_ms() - began_ms);
	}
	run_tell(talk->run, &step, began_ms);
}

/* Returns true where a mapping is there, or may be. */
static bool talk_map(struct talk *talk)
{
	struct question question = question_init(talk, PCP_OP_MAP, RUN_LIFETIME_S);
	struct step step = step_init(talk->protocol, "map");
	int64_t began_ms = clock_now_ms();
	struct answer answer = talk_ask(talk, &question);
	const struct pcp_request *body = &answer.response.body;
	bool ipv4 = addr_is_ipv4(&body->external);
	char text[ADDR_TEXT_SIZE];

	if (talk_is_success(&step, &answer, began_ms)) {
		step.external = body->external;
		if (body->external_port == 0 || answer.response.lifetime_s == 0)
			(void)step_say(&step, STEP_NO,
				       "wrong answer: success, but external port %u "
				       "for %" PRIu32 " s",
				       body->external_port, answer.response.lifetime_s);
		else
			(void)step_say(&step, STEP_OK,
				       "granted: UDP %s%s%s:%u for %" PRIu32 " s%s",
				       ipv4 ? "" : "[",
				       addr_format(&body->external, text),
				       ipv4 ? "" : "]", body->external_port,
				       answer.response.lifetime_s,
				       body->external_port == talk->port
					       ? ""
					       : "; another port was asked for, as it "
						 "may be");
	}
	run_tell(talk->run, &step, began_ms);
	return answer.heard == HEARD_ANSWER ? answer.response.code == PCP_CODE_SUCCESS
					    : answer.heard != HEARD_NETWORK;
}

static void talk_unmap(struct talk *talk)
{
	struct question question = question_init(talk, PCP_OP_MAP, 0);
	struct step step = step_init(talk->protocol, "delete");
	int64_t began_ms = clock_now_ms();
	struct answer answer = talk_ask(talk, &question);

	if (talk_is_success(&step, &answer, began_ms)) {
		if (answer.response.lifetime_s != 0)
			(void)step_say(&step, STEP_NO,
				       "it says that the mapping lives for %" PRIu32
				       " s more",
				       answer.response.lifetime_s);
		else
			(void)step_say(&step, STEP_OK, "the port is given back");
	}
	run_tell(talk->run, &step, began_ms);
	if (answer.heard == HEARD_ANSWER)
		run_tell_epoch(talk->run, talk->protocol, &talk->epoch,
			       answer.response.epoch_s);
}

/* A socket that hears the gateway alone. Errors: -errno. */
static int talk_open(const struct run *run)
{
	struct sockaddr_storage own, gateway;
	socklen_t length = addr_to_sockaddr(&run->own, 0, &own);
	int fd = socket(own.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)addr_to_sockaddr(&run->gateway, PCP_PORT, &gateway);
	if (gateway.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&gateway)->sin6_scope_id = run->scope;
	/* The mapping is for the address that asks. */
	if (bind(fd, (struct sockaddr *)&own, length) < 0 ||
	    connect(fd, (struct sockaddr *)&gateway, length) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	run_want_errors(fd);
	return fd;
}

static void talk_run(struct talk *talk)
{
	if (!talk_announce(talk))
		return;
	talk_negotiate(talk);
	if (!run_is_stopped(talk->run) && talk_map(talk)) {
		struct run cleanup = run_get_cleanup(talk->run);
		struct talk last = *talk;

		last.run = &cleanup;
		talk_unmap(&last);
	}
}

static void talk_try(struct talk *talk)
{
	int target = run_open_target(talk->run, &talk->port);

	talk->fd = talk_open(talk->run);
	if (talk->fd < 0 || target < 0 ||
	    getrandom(talk->nonce, sizeof(talk->nonce), 0) != sizeof(talk->nonce)) {
		struct step step = step_init(talk->protocol, "announce");

		run_say_untried(&step, talk->fd < 0 ? -talk->fd : -target);
		run_tell(talk->run, &step, clock_now_ms());
	} else {
		talk_run(talk);
	}
	if (talk->fd >= 0)
		close(talk->fd);
	if (target >= 0)
		close(target);
}

void attempt_run_pcp(const struct run *run)
{
	struct talk talk = {.run = run, .protocol = STEP_PCP};

	talk_try(&talk);
}

void attempt_run_pcp6(const struct run *run)
{
	struct talk talk = {.run = run, .protocol = STEP_PCP6};

	talk_try(&talk);
}
