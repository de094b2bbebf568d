/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <natpmp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "probe/attempt.h"
#include "probe/words.h"

/* Octets of the answers (RFC 6886 §3.2, §3.3); a refusal may be shorter. */
#define ADDRESS_SIZE 12
#define MAP_SIZE 16
#define REFUSAL_SIZE 8
/* Opcode octets of responses. */
#define ADDRESS_RESPONSE 0x80
#define RESPONSE_BIT 0x80
/* What a server of PCP alone answers: its version, and UNSUPP_VERSION (RFC 6887 §9). */
#define PCP_VERSION_OCTET 2
#define UNSUPPORTED_VERSION 1
/* No timeval of libnatpmp is longer. */
#define RESEND_MAX_MS 64000

struct talk {
	const struct run *run;
	natpmp_t natpmp;
	struct ip_addr external;
	uint16_t port; /* ours */
	uint16_t granted;
	struct run_epoch epoch;
};

struct answer {
	enum heard heard;
	int code; /* NATPMP_ERR_... or errno, or the octets of a short one */
	natpmpresp_t response;
	uint8_t octets[MAP_SIZE]; /* how it begins */
};

/*
 * libnatpmp reads short answers as if they were whole: look first. True when it may
 * read this one.
 */
static bool answer_look(int fd, struct answer *out)
{
	ssize_t length = recv(fd, out->octets, sizeof(out->octets),
			      MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	bool refusal;

	if (length < 0) {
		out->heard = HEARD_NETWORK;
		out->code = errno;
		run_drain_errors(fd);
		return false;
	}
	/* One of another version, or that refuses, has a length of its own. */
	refusal = length >= REFUSAL_SIZE &&
		  (out->octets[0] != 0 || out->octets[2] != 0 || out->octets[3] != 0);
	if (refusal || length >= MAP_SIZE ||
	    (length >= ADDRESS_SIZE && out->octets[1] == ADDRESS_RESPONSE))
		return true;
	out->heard = HEARD_WRONG;
	out->code = (int)length;
	return false;
}

/* A datagram or an error waits at the socket. True when that was the answer. */
static bool answer_take(struct talk *talk, uint16_t type, struct answer *out)
{
	int result;

	if (!answer_look(talk->natpmp.s, out))
		return out->heard != HEARD_NETWORK || out->code != EAGAIN;
	result = readnatpmpresponseorretry(&talk->natpmp, &out->response);
	if (result == NATPMP_TRYAGAIN)
		return false;
	/* Not to this request: a late one. */
	if (result == 0 && out->response.type != type)
		return false;
	out->heard = result == 0 ? HEARD_ANSWER : HEARD_REFUSAL;
	out->code = result;
	return true;
}

/* When libnatpmp wants to send again. */
static int64_t talk_get_resend(natpmp_t *natpmp, int64_t deadline_ms)
{
	struct timeval wait = {0};
	int64_t at_ms = clock_now_ms();

	if (getnatpmprequesttimeout(natpmp, &wait) != 0)
		return deadline_ms;
	if (wait.tv_sec < 0 || wait.tv_sec > RESEND_MAX_MS / 1000)
		return deadline_ms;
	at_ms += (int64_t)wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1;
	return at_ms < deadline_ms ? at_ms : deadline_ms;
}

/* Wait until it is to be sent again. True when *out is the outcome. */
static bool talk_wait(struct talk *talk, uint16_t type, int64_t deadline_ms,
		      struct answer *out)
{
	int64_t resend_ms = talk_get_resend(&talk->natpmp, deadline_ms);

	switch (run_wait_fd(talk->run, talk->natpmp.s, resend_ms)) {
	case RUN_STOPPED:
		out->heard = HEARD_STOPPED;
		return true;
	case RUN_READY:
		return answer_take(talk, type, out);
	case RUN_TIMEOUT:
		break;
	}
	out->heard = HEARD_NOTHING;
	if (clock_now_ms() >= deadline_ms)
		return true;
	/* Nothing is there to read: it sends again. */
	(void)readnatpmpresponseorretry(&talk->natpmp, &out->response);
	return false;
}

/* The answer to a request that was sent. sent: what libnatpmp said of it. */
static struct answer talk_listen(struct talk *talk, int sent, uint16_t type)
{
	int64_t deadline_ms = run_get_deadline(talk->run);
	struct answer answer = {.heard = HEARD_NETWORK, .code = errno};

	if (sent < 0)
		return answer;
	while (!talk_wait(talk, type, deadline_ms, &answer))
		;
	return answer;
}

static const char *refusal_get_words(int code)
{
	switch (code) {
	case NATPMP_ERR_UNSUPPORTEDOPCODE:
		return "an answer to something else, or UNSUPPORTED_OPCODE";
	case NATPMP_ERR_NOTAUTHORIZED:
		return "NOT_AUTHORIZED: it refuses: switched off, or not for this host";
	case NATPMP_ERR_NETWORKFAILURE:
		return "NETWORK_FAILURE: it has no external address";
	case NATPMP_ERR_OUTOFRESOURCES:
		return "OUT_OF_RESOURCES: its table is full, or no port is left";
	case NATPMP_ERR_NOGATEWAYSUPPORT:
		return "it has stopped to answer";
	default:
		return "an answer that is none of NAT-PMP";
	}
}

static void talk_tell_refusal(struct step *step, const struct answer *answer)
{
	const uint8_t *octets = answer->octets;

	if (answer->code == NATPMP_ERR_NOTAUTHORIZED) {
		step->cause = STEP_CAUSE_REFUSED;
		(void)step_say(step, STEP_NONE, "%s", refusal_get_words(answer->code));
		return;
	}
	if (answer->code != NATPMP_ERR_UNSUPPORTEDVERSION)
		(void)step_say(step, STEP_NO, "%s", refusal_get_words(answer->code));
	else if ((octets[0] == 0 || octets[0] == PCP_VERSION_OCTET) &&
		 (octets[1] & RESPONSE_BIT) != 0 && octets[3] == UNSUPPORTED_VERSION)
		(void)step_say(step, STEP_NONE,
			       "not offered: the gateway says that it does not speak "
			       "version 0, which is NAT-PMP");
	else
		(void)step_say(step, STEP_NO,
			       "wrong answer: it begins with the octets %02x %02x %02x "
			       "%02x, which is not NAT-PMP",
			       octets[0], octets[1], octets[2], octets[3]);
}

/* Tell of anything but an answer; answered counts as soon as anything came. */
static void talk_tell_failure(struct step *step, const struct answer *answer,
			      int64_t waited_ms)
{
	step->answered = answer->heard == HEARD_REFUSAL || answer->heard == HEARD_WRONG;
	if (answer->heard == HEARD_REFUSAL)
		talk_tell_refusal(step, answer);
	else if (answer->heard == HEARD_WRONG)
		(void)step_say(step, STEP_NO,
			       "wrong answer: %d octets, too short for NAT-PMP",
			       answer->code);
	else
		run_say_unheard(step, answer->heard, answer->code, waited_ms);
}

/* Returns false where there is nothing to go on with. */
static bool talk_ask_address(struct talk *talk)
{
	struct step step = step_init(STEP_NATPMP, "address");
	int64_t began_ms = clock_now_ms();
	struct answer answer =
		talk_listen(talk, sendpublicaddressrequest(&talk->natpmp),
			    NATPMP_RESPTYPE_PUBLICADDRESS);
	char text[ADDR_TEXT_SIZE];

	if (answer.heard == HEARD_ANSWER) {
		talk->epoch = run_get_epoch(answer.response.epoch);
		talk->external = addr_from_ipv4(answer.response.pnu.publicaddress.addr);
		step.answered = 1;
		step.external = talk->external;
		(void)step_say(&step, STEP_OK,
			       "external address %s, epoch %" PRIu32 " s",
			       addr_format(&talk->external, text), talk->epoch.epoch_s);
	} else {
		talk_tell_failure(&step, &answer, clock_now_ms() - began_ms);
	}
	run_tell(talk->run, &step, began_ms);
	return answer.heard == HEARD_ANSWER;
}

static struct answer talk_ask_port(struct talk *talk, uint16_t port,
				   uint32_t lifetime_s)
{
	int sent = sendnewportmappingrequest(&talk->natpmp, NATPMP_PROTOCOL_UDP,
					     talk->port, port, lifetime_s);

	return talk_listen(talk, sent, NATPMP_RESPTYPE_UDPPORTMAPPING);
}

/* Returns true where a mapping is there, or may be. */
static bool talk_map(struct talk *talk)
{
	struct step step = step_init(STEP_NATPMP, "map");
	int64_t began_ms = clock_now_ms();
	struct answer answer = talk_ask_port(talk, talk->port, RUN_LIFETIME_S);
	uint16_t port = answer.response.pnu.newportmapping.mappedpublicport;
	uint32_t lifetime_s = answer.response.pnu.newportmapping.lifetime;

	if (answer.heard != HEARD_ANSWER) {
		talk_tell_failure(&step, &answer, clock_now_ms() - began_ms);
	} else if (answer.response.pnu.newportmapping.privateport != talk->port ||
		   port == 0 || lifetime_s == 0) {
		(void)step_say(&step, STEP_NO,
			       "wrong answer: external port %u for internal port %u, "
			       "%" PRIu32 " s; internal port %u was asked for",
			       port, answer.response.pnu.newportmapping.privateport,
			       lifetime_s, talk->port);
	} else {
		(void)step_say(&step, STEP_OK,
			       "granted: UDP port %u for %" PRIu32 " s%s", port,
			       lifetime_s,
			       port == talk->port ? ""
						  : "; another one was asked for, as "
						    "it may be");
	}
	step.answered |= answer.heard == HEARD_ANSWER;
	run_tell(talk->run, &step, began_ms);
	return answer.heard != HEARD_REFUSAL && answer.heard != HEARD_NETWORK;
}

static void talk_unmap(struct talk *talk)
{
	struct step step = step_init(STEP_NATPMP, "delete");
	int64_t began_ms = clock_now_ms();
	struct answer answer = talk_ask_port(talk, 0, 0);
	uint32_t lifetime_s = answer.response.pnu.newportmapping.lifetime;

	if (answer.heard != HEARD_ANSWER)
		talk_tell_failure(&step, &answer, clock_now_ms() - began_ms);
	else if (lifetime_s != 0)
		(void)step_say(&step, STEP_NO,
			       "it says that the mapping lives for %" PRIu32 " s more",
			       lifetime_s);
	else
		(void)step_say(&step, STEP_OK, "the port is given back");
	step.answered |= answer.heard == HEARD_ANSWER;
	run_tell(talk->run, &step, began_ms);
	if (answer.heard == HEARD_ANSWER)
		run_tell_epoch(talk->run, STEP_NATPMP, &talk->epoch,
			       answer.response.epoch);
}

void attempt_run_natpmp(const struct run *run)
{
	struct talk talk = {.run = run};
	int target = run_open_target(run, &talk.port);

	if (target < 0 ||
	    initnatpmp(&talk.natpmp, 1, addr_to_ipv4(&run->gateway).s_addr) != 0) {
		struct step step = step_init(STEP_NATPMP, "address");

		run_say_untried(&step, target < 0 ? -target : errno);
		run_tell(run, &step, clock_now_ms());
	} else {
		run_want_errors(talk.natpmp.s);
		if (talk_ask_address(&talk) && talk_map(&talk)) {
			struct run cleanup = run_get_cleanup(run);

			talk.run = &cleanup;
			talk_unmap(&talk);
		}
		(void)closenatpmp(&talk.natpmp);
	}
	if (target >= 0)
		close(target);
}
