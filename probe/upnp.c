/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "probe/attempt.h"
#include "probe/upnp_client.h"
#include "probe/words.h"

#define SSDP_PORT 1900
#define SSDP_GROUP UINT32_C(0xeffffffa) /* 239.255.255.250 */
#define GATEWAY_TYPE_1 "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
#define GATEWAY_TYPE_2 "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
/* After the first answer of the gateway, for others that answer too. */
#define SEARCH_LINGER_MS 300
/* A result above 0: nothing was tried. */
#define NOT_MAPPED 1
#define LOCATION_IPV6 "http://["
#define FAULT_NOT_AUTHORIZED 606
#define FAULT_NO_ENTRY 714
#define FAULT_NO_ENTRY_ARRAY 713
#define FAULT_PERMANENT_ONLY 725
#define DESCRIPTION "portreeve probe"
#define NUMBER_SIZE 12

struct talk {
	const struct run *run;
	struct upnp_client *client;
	struct upnp_found found;
	struct upnp_description service;
	char port[NUMBER_SIZE];
	char own[ADDR_TEXT_SIZE];
	bool subscribed;
};

/* What answered a search, of those that matter. */
struct catches {
	struct upnp_found first;  /* of the gateway, version 1 */
	struct upnp_found second; /* of the gateway, version 2 */
	struct upnp_found other;  /* of somebody else */
};

static void catch_add(struct catches *catch, const struct upnp_found *found,
		      const struct ip_addr *gateway)
{
	struct upnp_found *place = &catch->first;

	/* Over IPv6: most likely of the same device, whose IPv4 is what is probed. */
	if (strncmp(found->location, LOCATION_IPV6, strlen(LOCATION_IPV6)) == 0)
		return;
	if (!addr_equal(&found->host, gateway))
		place = &catch->other;
	else if (strcmp(found->type, GATEWAY_TYPE_2) == 0)
		place = &catch->second;
	if (place->location[0] == '\0')
		*place = *found;
}

/* Gather answers until the deadline, or until shortly after the first good one. */
static int talk_gather(struct talk *talk, struct catches *catch)
{
	int64_t deadline_ms = run_get_deadline(talk->run);
	bool good = false;
	int result = upnp_client_search(talk->client, GATEWAY_TYPE_1);

	if (result == 0)
		result = upnp_client_search(talk->client, GATEWAY_TYPE_2);
	while (result == 0) {
		struct upnp_found found;

		result = upnp_client_listen(talk->client, deadline_ms, &found);
		if (result != 0)
			break;
		catch_add(catch, &found, &talk->run->gateway);
		if (!good && catch->first.location[0] != '\0') {
			good = true;
			deadline_ms = clock_now_ms() + SEARCH_LINGER_MS;
		}
	}
	if (catch->first.location[0] == '\0')
		catch->first = catch->second;
	if (catch->first.location[0] != '\0' && result == UPNP_CLIENT_TIMEOUT)
		result = 0;
	return result;
}

/* One root that answers searches for both versions is one. */
static bool catch_has_both(const struct catches *catch)
{
	return catch->second.location[0] != '\0' &&
	       strcmp(catch->first.location, catch->second.location) != 0;
}

static void talk_tell_other(struct step *step, const struct upnp_found *other)
{
	(void)step_say(step, STEP_WARN,
		       "%s is a gateway too, at least it says so: clients may take it "
		       "for yours",
		       other->location);
}

static void talk_say_untried(struct step *step, const char *why)
{
	step->cause = STEP_CAUSE_HOST;
	(void)step_say(step, STEP_NONE, "could not be tried: %s", why);
}

static bool talk_search(struct talk *talk)
{
	struct step step = step_init(STEP_UPNP, "search");
	struct catches catch = {.first = {.type = ""}};
	int64_t began_ms = clock_now_ms();
	int result = talk_gather(talk, &catch);

	step.answered = catch.first.location[0] != '\0';
	if (result == UPNP_CLIENT_STOPPED)
		(void)step_say(&step, STEP_NONE, "interrupted");
	else if (step.answered)
		(void)step_say(&step, STEP_OK, "%s%s", catch.first.location,
			       catch_has_both(&catch)
				       ? ", InternetGatewayDevice:2 as well"
				       : "");
	else if (catch.other.location[0] != '\0')
		(void)step_say(
			&step, STEP_NO,
			"the gateway does not answer, but %s does; to probe that "
			"one, use --gateway",
			catch.other.location);
	else if (result == UPNP_CLIENT_TIMEOUT)
		(void)step_say(&step, STEP_NO, "no answer within %" PRId64 " ms",
			       clock_now_ms() - began_ms);
	else
		talk_say_untried(&step, upnp_client_get_words(result));
	run_tell(talk->run, &step, began_ms);
	if (!step.answered || result != 0)
		return false;
	talk->found = catch.first;
	if (catch.other.location[0] != '\0') {
		step = step_init(STEP_UPNP, "others");
		talk_tell_other(&step, &catch.other);
		run_tell(talk->run, &step, clock_now_ms());
	}
	return true;
}

static void talk_say_fault(struct step *step, const char *name, int fault)
{
	bool refused = fault == FAULT_NOT_AUTHORIZED;

	if (refused)
		step->cause = STEP_CAUSE_REFUSED;
	(void)step_say(step, refused ? STEP_NONE : STEP_NO, "%s: error %d, %s", name,
		       fault, words_get_upnp(fault));
}

/* Tell that a step failed. name: what was asked for. */
static void talk_tell_failure(struct step *step, const char *name, int result,
			      int64_t waited_ms)
{
	step->answered = 1;
	if (result == UPNP_CLIENT_STOPPED)
		(void)step_say(step, STEP_NONE, "interrupted");
	else if (result == UPNP_CLIENT_TIMEOUT)
		(void)step_say(step, STEP_NO, "%s: no answer within %" PRId64 " ms",
			       name, waited_ms);
	else if (result > 0)
		talk_say_fault(step, name, result);
	else
		(void)step_say(step, STEP_NO, "%s: %s", name,
			       upnp_client_get_words(result));
}

/* "WANIPConnection:1" of "urn:schemas-upnp-org:service:WANIPConnection:1". */
static const char *type_get_short(const char *type)
{
	const char *at = strstr(type, "device:");

	if (!at)
		at = strstr(type, "service:");
	return at ? strchr(at, ':') + 1 : type;
}

static bool talk_describe(struct talk *talk)
{
	struct step step = step_init(STEP_UPNP, "description");
	int64_t began_ms = clock_now_ms();
	int result = upnp_client_describe(talk->client, &talk->found,
					  run_get_deadline(talk->run), &talk->service);
	const struct upnp_description *service = &talk->service;

	step.answered = 1;
	if (result == 0)
		(void)step_say(&step, STEP_OK, "%s \"%s\" has %s",
			       type_get_short(service->device_type), service->name,
			       type_get_short(service->service_type));
	else
		talk_tell_failure(&step, "description", result,
				  clock_now_ms() - began_ms);
	run_tell(talk->run, &step, began_ms);
	return result == 0;
}

static int talk_call(struct talk *talk, const struct upnp_call *call)
{
	return upnp_client_call(talk->client, &talk->service, call,
				run_get_deadline(talk->run));
}

/*
 * A step that asks for values; judge says what they are worth. Returns false where
 * there is nothing to go on with.
 */
static bool talk_ask(struct talk *talk, const char *name, const struct upnp_call *call,
		     void (*judge)(struct step *step, char (*values)[UPNP_VALUE_SIZE]))
{
	struct step step = step_init(STEP_UPNP, name);
	int64_t began_ms = clock_now_ms();
	int result = talk_call(talk, call);

	step.answered = 1;
	if (result != 0)
		talk_tell_failure(&step, call->action, result,
				  clock_now_ms() - began_ms);
	else
		judge(&step, call->values);
	run_tell(talk->run, &step, began_ms);
	return result != UPNP_CLIENT_TIMEOUT && result != UPNP_CLIENT_STOPPED;
}

static void judge_address(struct step *step, char (*values)[UPNP_VALUE_SIZE])
{
	if (!addr_parse(values[0], &step->external))
		(void)step_say(step, values[0][0] == '\0' ? STEP_WARN : STEP_NO,
			       "external address '%s', which is none%s", values[0],
			       values[0][0] == '\0' ? ": the gateway is not connected"
						    : "");
	else
		(void)step_say(step, STEP_OK, "external address %s", values[0]);
}

static bool talk_ask_address(struct talk *talk)
{
	static const char *const names[] = {"NewExternalIPAddress", NULL};
	char values[1][UPNP_VALUE_SIZE];
	const struct upnp_call call = {
		.action = "GetExternalIPAddress", .out = names, .values = values};

	return talk_ask(talk, "address", &call, judge_address);
}

static void judge_status(struct step *step, char (*values)[UPNP_VALUE_SIZE])
{
	if (strcmp(values[0], "Connected") == 0)
		(void)step_say(step, STEP_OK, "Connected for %s s", values[2]);
	else
		(void)step_say(step, STEP_WARN,
			       "the gateway says '%s', last error '%s': many clients "
			       "will not use it",
			       values[0], values[1]);
}

static bool talk_ask_status(struct talk *talk)
{
	static const char *const names[] = {
		"NewConnectionStatus", "NewLastConnectionError", "NewUptime", NULL};
	char values[3][UPNP_VALUE_SIZE];
	const struct upnp_call call = {
		.action = "GetStatusInfo", .out = names, .values = values};

	return talk_ask(talk, "status", &call, judge_status);
}

static bool talk_subscribe(struct talk *talk)
{
	struct step step = step_init(STEP_UPNP, "event");
	char names[UPNP_NAMES_SIZE];
	int64_t began_ms = clock_now_ms();
	int64_t deadline_ms = run_get_deadline(talk->run);
	int result;

	step.answered = 1;
	if (talk->service.event_url[0] == '\0') {
		(void)step_say(&step, STEP_WARN,
			       "not offered: its description has no URL for events");
		run_tell(talk->run, &step, began_ms);
		return true;
	}
	result = upnp_client_subscribe(talk->client, talk->service.event_url,
				       deadline_ms);
	talk->subscribed = result == 0;
	if (result == 0)
		result = upnp_client_await_event(talk->client, deadline_ms, names);
	if (result == 0)
		(void)step_say(&step, STEP_OK, "subscribed, it tells %s", names);
	else if (talk->subscribed && result == UPNP_CLIENT_TIMEOUT)
		(void)step_say(&step, STEP_NO,
			       "subscribed, but no event within %" PRId64
			       " ms; does a firewall of this host keep it out?",
			       clock_now_ms() - began_ms);
	else
		talk_tell_failure(&step, "SUBSCRIBE", result,
				  clock_now_ms() - began_ms);
	run_tell(talk->run, &step, began_ms);
	return result != UPNP_CLIENT_STOPPED;
}

static int talk_add(struct talk *talk, const char *lease)
{
	const struct upnp_pair in[] = {{"NewRemoteHost", ""},
				       {"NewExternalPort", talk->port},
				       {"NewProtocol", "UDP"},
				       {"NewInternalPort", talk->port},
				       {"NewInternalClient", talk->own},
				       {"NewEnabled", "1"},
				       {"NewPortMappingDescription", DESCRIPTION},
				       {"NewLeaseDuration", lease},
				       {NULL, NULL}};
	const struct upnp_call call = {.action = "AddPortMapping", .in = in};

	return talk_call(talk, &call);
}

/* Returns how it went: not above 0 where a mapping is there, or may be. */
static int talk_map(struct talk *talk)
{
	struct step step = step_init(STEP_UPNP, "map");
	char lease[NUMBER_SIZE];
	int64_t began_ms = clock_now_ms();
	bool permanent = false;
	int result;

	(void)snprintf(lease, sizeof(lease), "%d", RUN_LIFETIME_S);
	step.answered = 1;
	result = talk_add(talk, lease);
	if (result == FAULT_PERMANENT_ONLY) {
		permanent = true;
		result = talk_add(talk, "0");
	}
	if (result != 0)
		talk_tell_failure(&step, "AddPortMapping", result,
				  clock_now_ms() - began_ms);
	else if (permanent)
		(void)step_say(&step, STEP_WARN,
			       "granted: UDP port %s for ever: it knows no "
			       "lease time, what clients forget stays open",
			       talk->port);
	else
		(void)step_say(&step, STEP_OK, "granted: UDP port %s for %s s",
			       talk->port, lease);
	run_tell(talk->run, &step, began_ms);
	return result;
}

/* The mapping as GetSpecificPortMappingEntry tells it. */
enum entry {
	ENTRY_CLIENT,
	ENTRY_PORT,
	ENTRY_ENABLED,
	ENTRY_LEASE,
	ENTRY_COUNT,
};

static int talk_look_up(struct talk *talk, char values[ENTRY_COUNT][UPNP_VALUE_SIZE])
{
	static const char *const names[] = {
		[ENTRY_CLIENT] = "NewInternalClient",
		[ENTRY_PORT] = "NewInternalPort",
		[ENTRY_ENABLED] = "NewEnabled",
		[ENTRY_LEASE] = "NewLeaseDuration",
		[ENTRY_COUNT] = NULL,
	};
	const struct upnp_pair in[] = {{"NewRemoteHost", ""},
				       {"NewExternalPort", talk->port},
				       {"NewProtocol", "UDP"},
				       {NULL, NULL}};
	const struct upnp_call call = {.action = "GetSpecificPortMappingEntry",
				       .in = in,
				       .out = names,
				       .values = values};

	return talk_call(talk, &call);
}

static void talk_check_there(struct talk *talk)
{
	struct step step = step_init(STEP_UPNP, "entry");
	char values[ENTRY_COUNT][UPNP_VALUE_SIZE];
	int64_t began_ms = clock_now_ms();
	int result = talk_look_up(talk, values);

	step.answered = 1;
	if (result != 0)
		talk_tell_failure(&step, "GetSpecificPortMappingEntry", result,
				  clock_now_ms() - began_ms);
	else if (strcmp(values[ENTRY_CLIENT], talk->own) != 0 ||
		 strcmp(values[ENTRY_PORT], talk->port) != 0 ||
		 strcmp(values[ENTRY_ENABLED], "1") != 0)
		(void)step_say(&step, STEP_NO,
			       "the entry is wrong: it leads to %s port %s, enabled %s",
			       values[ENTRY_CLIENT], values[ENTRY_PORT],
			       values[ENTRY_ENABLED]);
	else
		(void)step_say(&step, STEP_OK, "the entry says the same, %s s left",
			       values[ENTRY_LEASE]);
	run_tell(talk->run, &step, began_ms);
}

/* sure: it had been mapped. Returns false where it is of no use to look whether it is
 * gone. */
static bool talk_unmap(struct talk *talk, bool sure)
{
	const struct upnp_pair in[] = {{"NewRemoteHost", ""},
				       {"NewExternalPort", talk->port},
				       {"NewProtocol", "UDP"},
				       {NULL, NULL}};
	const struct upnp_call call = {.action = "DeletePortMapping", .in = in};
	struct step step = step_init(STEP_UPNP, "delete");
	int64_t began_ms = clock_now_ms();
	int result = talk_call(talk, &call);

	step.answered = 1;
	if (result == FAULT_NO_ENTRY && !sure)
		(void)step_say(&step, STEP_NONE, "there is nothing to delete");
	else if (result != 0)
		talk_tell_failure(&step, call.action, result,
				  clock_now_ms() - began_ms);
	else
		(void)step_say(&step, STEP_OK, "the port is given back");
	run_tell(talk->run, &step, began_ms);
	return result == 0;
}

static void talk_check_gone(struct talk *talk)
{
	struct step step = step_init(STEP_UPNP, "gone");
	char values[ENTRY_COUNT][UPNP_VALUE_SIZE];
	int64_t began_ms = clock_now_ms();
	int result = talk_look_up(talk, values);

	step.answered = 1;
	if (result == FAULT_NO_ENTRY || result == FAULT_NO_ENTRY_ARRAY)
		(void)step_say(&step, STEP_OK, "the entry is gone");
	else if (result == 0)
		(void)step_say(&step, STEP_NO,
			       "the entry is still there after it was deleted");
	else
		talk_tell_failure(&step, "GetSpecificPortMappingEntry", result,
				  clock_now_ms() - began_ms);
	run_tell(talk->run, &step, began_ms);
}

/* What was made is taken back, whatever happened. mapped: what talk_map() returned. */
static void talk_clean_up(struct talk *talk, int mapped)
{
	struct run cleanup = run_get_cleanup(talk->run);
	struct talk last = *talk;

	last.run = &cleanup;
	upnp_client_set_run(talk->client, &cleanup);
	if (mapped <= 0 && talk_unmap(&last, mapped == 0))
		talk_check_gone(&last);
	/* Nobody is told: it ends by itself. */
	if (talk->subscribed)
		upnp_client_unsubscribe(talk->client, run_get_deadline(&cleanup));
	upnp_client_set_run(talk->client, talk->run);
}

static void talk_run(struct talk *talk)
{
	int mapped = NOT_MAPPED;

	if (!talk_search(talk) || !talk_describe(talk))
		return;
	if (talk_ask_address(talk) && talk_ask_status(talk) && talk_subscribe(talk) &&
	    !run_is_stopped(talk->run)) {
		mapped = talk_map(talk);
		if (mapped == 0 && !run_is_stopped(talk->run))
			talk_check_there(talk);
	}
	talk_clean_up(talk, mapped);
}

/*
 * libupnp does not tell that nothing of its search has left this host: see whether an
 * empty datagram to the same place does. Errors: an errno.
 */
static int search_try_sending(const struct run *run, int target)
{
	const struct in_addr own = addr_to_ipv4(&run->own);
	const struct sockaddr_in group = {.sin_family = AF_INET,
					  .sin_port = htons(SSDP_PORT),
					  .sin_addr.s_addr = htonl(SSDP_GROUP)};

	if (setsockopt(target, IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof(own)) < 0 ||
	    sendto(target, "", 0, 0, (const struct sockaddr *)&group, sizeof(group)) <
		    0)
		return errno;
	return 0;
}

void attempt_run_upnp(const struct run *run)
{
	struct talk talk = {.run = run};
	uint16_t port = 0;
	int64_t began_ms = clock_now_ms();
	int target = run_open_target(run, &port);
	int error = target < 0 ? -target : search_try_sending(run, target);
	int result = error == 0 ? upnp_client_open(run, &talk.client) : 0;

	(void)snprintf(talk.port, sizeof(talk.port), "%u", port);
	(void)addr_format(&run->own, talk.own);
	if (result != 0 || error != 0) {
		struct step step = step_init(STEP_UPNP, "search");

		talk_say_untried(&step, result != 0 ? upnp_client_get_words(result)
						    : words_get_network(error));
		run_tell(run, &step, began_ms);
	} else {
		talk_run(&talk);
	}
	if (target >= 0)
		close(target);
}
