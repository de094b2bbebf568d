/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole of worker upnp behind its HTTP socket: requests as octets, through the
 * door, libmicrohttpd, the checks, SOAP, the actions and eventing, to a core that
 * replies what the input says; and every answer is read as a client reads it. The first
 * four octets say how core behaves (struct manner); the rest are requests, each over a
 * connection of its own, with the octet 0x1e between them. "@SID@" stands for the SID
 * told last. Events to SUBSCRIBER come to the harness, if there is time for them: the
 * first is taken in, another is caused, and held until all is over.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <libxml/parser.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "protocols/http_server.h"
#include "protocols/igd_desc.h"
#include "protocols/upnp_control.h"
#include "protocols/upnp_events.h"
#include "test/fuzz/expect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEPARATOR 0x1e
#define REQUESTS_MAX 8
#define ANSWER_SIZE ((size_t)4 * 1024 * 1024)
/* Turns of the loop in which everything that needs no time has happened. */
#define TURNS_MAX 400
#define ASKED_MAX 16
#define GO_ON "HTTP/1.1 100 Continue\r\n\r\n"
#define PAGES_MAX 3
#define SID_MARK "@SID@"
#define SID_LENGTH 41
#define GATEWAY "192.168.1.1"
#define NETMASK "255.255.255.0"
#define SUBSCRIBER "192.168.1.10"
#define SUBSCRIBER_PORT 5000
/* Units: ms, and more than an event waits for to leave. */
#define EVENT_MS (2 * UPNP_FIRST_EVENT_DELAY_MS)

/* Octet 0 of the input, in bits. */
#define MANNER_IPV6 0x1u   /* clients ask over IPv6 */
#define MANNER_IGD1 0x2u   /* no IGD:2 on this LAN */
#define MANNER_SILENT 0x4u /* core does not reply */
#define MANNER_REFUSE 0x8u /* core takes no requests */
#define MANNER_PIECES 0x10u
#define MANNER_PRIVATE 0x20u /* no address on the WAN */
#define MANNER_EVENTS 0x40u  /* time for them to come */

struct manner {
	uint8_t bits;
	uint8_t result; /* of core's replies, modulo what there is */
	uint8_t seed;	/* of what is in them */
	uint8_t cut;	/* where the first piece of a request ends */
};

static struct {
	/* once for all inputs */
	struct event_base *base;
	struct igd_site *sites[UPNP_SITES_MAX];
	size_t site_count;
	char *answer;
	int listener;
	/* for each input */
	struct lan_info lan;
	struct wan_info wan;
	struct table_info table;
	struct manner manner;
	struct upnp_events *events;
	struct upnp_control *control;
	struct http_server *server;
	struct request asked[ASKED_MAX];
	size_t asked_count;
	unsigned int pages;
	uint32_t random;
	char sid[SID_LENGTH + 1];
	int held; /* connection of an event that is not answered; -1 = none */
} run;

static uint32_t get_random(void)
{
	run.random = run.random * 1664525u + 1013904223u;
	return run.random >> 8;
}

/* ---- core ---- */

static int on_ask(void *user, const struct request *request)
{
	(void)user;
	expect_true(request->op < REQUEST_OP_COUNT && request->origin == ORIGIN_IGD);
	expect_true(request->igd_version == 1 || request->igd_version == 2);
	expect_true(request->ifindex == run.lan.ifindex && request->lan == run.lan.lan);
	expect_true(lan_info_has_host(&run.lan, &request->client));
	expect_true(memchr(request->description, '\0', sizeof(request->description)));
	if ((run.manner.bits & MANNER_REFUSE) || run.asked_count == ASKED_MAX)
		return -1;
	run.asked[run.asked_count++] = *request;
	return 0;
}

static void fill_lease(struct reply *reply)
{
	static const char *const texts[] = {
		"",
		"Xbox",
		"a & b <c> \"d\" 'e' ]]>",
		"\xe2\x98\xba\xc3\xa9",
		"Teredo 10.0.0.39:3074->3074 UDP",
	};
	static const char *const hosts[] = {"192.168.1.10", "fd00::10", "203.0.113.7"};
	static const char *const remotes[] = {"::", "198.51.100.1", "2001:db8::1"};

	reply->protocol = get_random() % 2 ? IPPROTO_TCP : IPPROTO_UDP;
	reply->enabled = get_random() % 2;
	reply->origin = (uint8_t)(get_random() % ORIGIN_COUNT);
	reply->pinhole = (uint16_t)get_random();
	reply->internal_port = (uint16_t)get_random();
	reply->external_port = (uint16_t)get_random();
	reply->lifetime_s = get_random();
	reply->external = expect_addr("203.0.113.1");
	reply->internal = expect_addr(hosts[get_random() % 3]);
	reply->remote = expect_addr(remotes[get_random() % 3]);
	reply->octets_in = (uint64_t)get_random() << 20;
	reply->octets_out = get_random();
	reply->packets_in = UINT64_MAX - get_random();
	reply->packets_out = get_random();
	(void)snprintf(reply->description, sizeof(reply->description), "%s",
		       texts[get_random() % (sizeof(texts) / sizeof(texts[0]))]);
}

/* The leases of a page, then its end. */
static void reply_page(struct reply *reply)
{
	unsigned int count = get_random() % (REQUEST_LIST_MAX + 1);

	for (unsigned int i = 0; i < count; i++) {
		fill_lease(reply);
		reply->more = 1;
		upnp_control_take_reply(run.control, reply);
	}
	reply->more = 0;
	reply->next = ++run.pages < PAGES_MAX ? run.pages : 0;
	upnp_control_take_reply(run.control, reply);
}

static void reply_all(void)
{
	while (run.asked_count > 0 && !(run.manner.bits & MANNER_SILENT)) {
		const struct request *request = &run.asked[--run.asked_count];
		struct reply reply = {
			.cookie = request->cookie,
			.op = request->op,
			.result = run.manner.result % RESULT_COUNT,
		};

		if (request->op == REQUEST_LIST && reply.result == RESULT_OK) {
			reply_page(&reply);
			continue;
		}
		if (reply.result == RESULT_OK)
			fill_lease(&reply);
		upnp_control_take_reply(run.control, &reply);
		/* a second one is for nobody */
		upnp_control_take_reply(run.control, &reply);
	}
}

/* ---- what a client reads ---- */

static xmlDocPtr read_document(const char *text, size_t length)
{
	const int quiet = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING;
	xmlDocPtr doc = xmlReadMemory(text, (int)length, "answer", "UTF-8", quiet);

	if (!doc || !xmlDocGetRootElement(doc))
		abort();
	return doc;
}

/* PortListing is a document in a text. */
static void check_nodes(xmlNodePtr node)
{
	for (; node; node = node->next) {
		xmlChar *text;

		check_nodes(node->children);
		if (node->type != XML_ELEMENT_NODE ||
		    !xmlStrEqual(node->name, BAD_CAST "NewPortListing"))
			continue;
		text = xmlNodeGetContent(node);
		if (!text)
			abort();
		xmlFreeDoc(read_document((const char *)text, strlen((char *)text)));
		xmlFree(text);
	}
}

static void check_document(const char *text, size_t length)
{
	xmlDocPtr doc = read_document(text, length);

	check_nodes(xmlDocGetRootElement(doc));
	xmlFreeDoc(doc);
}

static const char *find_field(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);

	return at ? at + strlen(name) : NULL;
}

/* The value of a header of the request, where it names one so; it may be long. */
static const char *find_header(const char *text, size_t length, const char *name,
			       size_t *value_length)
{
	const char *end = text + length;
	const char *line = text;
	bool begun = false;
	const char *next;

	while ((next = memchr(line, '\n', (size_t)(end - line)))) {
		size_t size = (size_t)(next - line);

		if (size > 0 && line[size - 1] == '\r')
			size--;
		if (size == 0 && begun)
			return NULL;
		begun |= size > 0;
		if (size > strlen(name) && line[strlen(name)] == ':' &&
		    strncasecmp(line, name, strlen(name)) == 0) {
			*value_length = size - strlen(name) - 1;
			return line + strlen(name) + 1;
		}
		line = next + 1;
	}
	return NULL;
}

/* An address of ours stands in it, or something that may be IPv6. */
static bool may_be_ours(const char *host, size_t length)
{
	return memmem(host, length, GATEWAY, strlen(GATEWAY)) ||
	       memchr(host, '[', length);
}

/* HTTP-2, HTTP-4: what no request may be served with */
static void check_request(const char *text, size_t length, unsigned long status)
{
	size_t size;
	const char *host = find_header(text, length, "Host", &size);

	if (host && !may_be_ours(host, size))
		expect_true(status >= 400);
	if (find_header(text, length, "Content-Length", &size) &&
	    find_header(text, length, "Transfer-Encoding", &size))
		expect_true(status >= 400);
}

/* Status line, one length, which is the body's; XML where it says so. */
static void check_answer(char *answer, size_t length, bool may_be_head)
{
	char *body = strstr(answer, "\r\n\r\n");
	const char *field;
	size_t body_length;

	if (!body || strncmp(answer, "HTTP/1.1 ", 9) != 0)
		abort();
	*body = '\0';
	body += 4;
	body_length = length - (size_t)(body - answer);
	field = find_field(answer, "\r\nContent-Length: ");
	if (!field || find_field(field, "\r\nContent-Length: "))
		abort();
	expect_true(find_field(answer, "\r\nConnection: close") != NULL);
	expect_true(!find_field(answer, "\r\nTransfer-Encoding"));
	expect_true(strtoul(field, NULL, 10) == body_length ||
		    (may_be_head && body_length == 0));
	field = find_field(answer, "\r\nSID: ");
	if (field)
		(void)snprintf(run.sid, sizeof(run.sid), "%s", field);
	if (body_length > 0 && find_field(answer, "\r\nContent-Type: text/xml"))
		check_document(body, body_length);
}

static void check_answers(char *answer, size_t length, bool may_be_head)
{
	if (strncmp(answer, GO_ON, strlen(GO_ON)) == 0) {
		answer += strlen(GO_ON);
		length -= strlen(GO_ON);
	}
	if (length > 0)
		check_answer(answer, length, may_be_head);
}

/* ---- a request ---- */

/* Returns false at the end of the connection. */
static bool receive(int fd, size_t *used)
{
	ssize_t got = 1;

	while (got > 0 && *used < ANSWER_SIZE) {
		got = recv(fd, run.answer + *used, ANSWER_SIZE - *used, MSG_DONTWAIT);
		*used += got > 0 ? (size_t)got : 0;
	}
	return got < 0;
}

static void turn(void)
{
	event_base_loop(run.base, EVLOOP_NONBLOCK);
	reply_all();
}

static void send_request(int fd, const char *text, size_t length)
{
	size_t first = length;

	if ((run.manner.bits & MANNER_PIECES) && run.manner.cut < length)
		first = run.manner.cut;
	(void)send(fd, text, first, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (first < length) {
		turn();
		(void)send(fd, text + first, length - first,
			   MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	(void)shutdown(fd, SHUT_WR);
}

static void make_request(const char *text, size_t length)
{
	bool ipv6 = run.manner.bits & MANNER_IPV6;
	struct ip_addr client = expect_addr(ipv6 ? "fd00::10" : SUBSCRIBER);
	struct ip_addr local = expect_addr(ipv6 ? "fd00::1" : GATEWAY);
	bool is_open = true;
	size_t used = 0;
	int pair[2];

	expect_true(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
			       pair) == 0);
	http_server_take(run.server, pair[1], &client, &local);
	send_request(pair[0], text, length);
	for (int i = 0; i < TURNS_MAX && is_open; i++) {
		turn();
		is_open = receive(pair[0], &used);
	}
	(void)close(pair[0]);
	run.answer[used] = '\0';
	/* A part of a request may be waited for; a part of an answer may not. */
	expect_true(!is_open || used == 0 || strcmp(run.answer, GO_ON) == 0);
	if (is_open)
		return;
	check_answers(run.answer, used, length > 5 && memmem(text, length, "HEAD ", 5));
	if (used > 12 && strncmp(run.answer, GO_ON, strlen(GO_ON)) != 0)
		check_request(text, length, strtoul(run.answer + 9, NULL, 10));
}

/* The text with what is meant in the place of a mark, to be freed. */
static char *replace(char *text, size_t *length, const char *mark, const char *meant)
{
	char *at = memmem(text, *length, mark, strlen(mark));
	const size_t before = at ? (size_t)(at - text) : *length;
	const size_t after = at ? *length - before - strlen(mark) : 0;
	char *copy = malloc(*length + strlen(meant) + 1);

	if (!copy)
		abort();
	memcpy(copy, text, before);
	if (at) {
		memcpy(copy + before, meant, strlen(meant));
		memcpy(copy + before + strlen(meant), at + strlen(mark), after);
		*length = before + strlen(meant) + after;
	}
	return copy;
}

static void make_marked_request(char *text, size_t length)
{
	char *with_sid = replace(text, &length, SID_MARK, run.sid[0] ? run.sid : "-");

	make_request(with_sid, length);
	free(with_sid);
}

/* ---- a subscriber ---- */

static void on_wait(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	*(bool *)user = true;
}

/* The connection of the next event; -1 = none comes. */
static int accept_event(void)
{
	const struct timeval patience = {.tv_usec = EVENT_MS * 1000};
	bool over = false;
	struct event *timer = evtimer_new(run.base, on_wait, &over);
	int fd = -1;

	expect_true(timer && event_add(timer, &patience) == 0);
	while (!over && fd < 0) {
		event_base_loop(run.base, EVLOOP_ONCE);
		fd = accept4(run.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	event_free(timer);
	turn(); /* the event is sent */
	turn();
	return fd;
}

/* The first event is taken in; then something changes, and the next one is held. */
static void take_events(void)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\n\r\n";
	char bytes[4096];
	int fd;

	if (run.listener < 0 || run.held >= 0 || run.sid[0] == '\0')
		return;
	fd = accept_event();
	if (fd < 0)
		return;
	expect_true(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
	expect_true(strncmp(bytes, "NOTIFY /", 8) == 0);
	(void)send(fd, ok, strlen(ok), MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)close(fd);
	turn();
	run.wan.external.bytes[15]++;
	run.wan.carrier = !run.wan.carrier;
	upnp_events_take_wan(run.events);
	run.held = accept_event();
}

/* The event that is held fails, whatever has become of its subscription. */
static void end_events(void)
{
	if (run.held < 0)
		return;
	(void)close(run.held);
	run.held = -1;
	for (int i = 0; i < 4; i++)
		turn();
}

static struct sockaddr_in make_address(const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	expect_true(inet_pton(AF_INET, text, &in.sin_addr) == 1);
	return in;
}

/* A network of our own, where the gateway's addresses are, and its hosts'. Errors:
 * false: who is not root has none, and no events. */
static bool make_network(void)
{
	const struct sockaddr_in address = make_address(GATEWAY);
	const struct sockaddr_in mask = make_address(NETMASK);
	struct ifreq request = {.ifr_name = "lo"};
	int fd;
	bool made;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(&request.ifr_addr, &address, sizeof(address));
	made = ioctl(fd, SIOCSIFADDR, &request) == 0;
	memcpy(&request.ifr_netmask, &mask, sizeof(mask));
	made = made && ioctl(fd, SIOCSIFNETMASK, &request) == 0;
	request.ifr_flags = IFF_UP;
	made = made && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
	(void)close(fd);
	return made;
}

static void open_listener(void)
{
	struct sockaddr_in in = make_address(SUBSCRIBER);
	socklen_t length = sizeof(in);

	run.held = -1;
	run.listener = -1;
	if (!make_network())
		return;
	in.sin_port = htons(SUBSCRIBER_PORT);
	run.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	expect_true(run.listener >= 0 &&
		    bind(run.listener, (struct sockaddr *)&in, length) == 0 &&
		    listen(run.listener, 64) == 0);
}

/* ---- the worker ---- */

static void begin_all(void)
{
	const struct worker_setup setup = {.uuid = {1}, .friendly_name = "a & b"};
	const struct igd_face *face;

	log_init("fuzz", LOG_LEVEL_ERROR);
	xmlInitParser();
	run.base = event_base_new();
	run.answer = malloc(ANSWER_SIZE + 1);
	expect_true(run.base && run.answer);
	open_listener();
	while (run.site_count < UPNP_SITES_MAX && (face = igd_face_get(run.site_count)))
		run.sites[run.site_count++] = igd_site_new(face, &setup);
}

static void begin_lan(void)
{
	run.lan = (struct lan_info){
		.lan = 2,
		.protocols = LAN_PROTOCOL_UPNP,
		.igd = run.manner.bits & MANNER_IGD1 ? 1 : 3,
		.ifindex = 1,
		.address_count = 2,
		.network_count = 2,
		.name = "lo",
	};
	run.lan.addresses[0] = (struct prefix){expect_addr("192.168.1.1"), 120};
	run.lan.addresses[1] = (struct prefix){expect_addr("fd00::1"), 64};
	run.lan.networks[0] = (struct prefix){expect_addr("192.168.1.0"), 120};
	run.lan.networks[1] = (struct prefix){expect_addr("fd00::"), 64};
	run.wan = (struct wan_info){.nat = 1, .carrier = 1, .up_since_ms = 1};
	if (!(run.manner.bits & MANNER_PRIVATE))
		run.wan.external = expect_addr("203.0.113.1");
	run.wan.pinholes = run.manner.seed % WAN_PINHOLES_COUNT;
}

static void begin(void)
{
	struct upnp_events_config events = {
		.base = run.base,
		.wan = &run.wan,
		.table = &run.table,
		.delivery_timeout_ms = 1000,
	};
	struct upnp_control_config control = {
		.base = run.base,
		.wan = &run.wan,
		.table = &run.table,
		.reply_timeout_ms = UPNP_REPLY_TIMEOUT_MS,
		.site_count = run.site_count,
		.ask = on_ask,
	};
	struct http_config http = {
		.base = run.base,
		.lan = &run.lan,
		.family = AF_INET,
		.request_timeout_ms = HTTP_REQUEST_TIMEOUT_MS,
		.handler = upnp_control_get_handler(),
	};

	begin_lan();
	run.random = run.manner.seed;
	run.asked_count = 0;
	run.pages = 0;
	run.sid[0] = '\0';
	run.events = upnp_events_new(&events);
	for (size_t i = 0; i < run.site_count; i++)
		control.sites[i] = run.sites[i];
	control.events = run.events;
	run.control = upnp_control_new(&control);
	http.user = run.control;
	expect_true(run.events && run.control &&
		    http_server_open(&http, &run.server) == 0);
}

static void end(void)
{
	http_server_close(run.server);
	upnp_control_free(run.control);
	upnp_events_free(run.events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;
	char *from;
	size_t left;

	if (!run.base)
		begin_all();
	if (size < sizeof(run.manner))
		return 0;
	memcpy(&run.manner, data, sizeof(run.manner));
	left = size - sizeof(run.manner);
	text = malloc(left + 1);
	expect_true(text != NULL);
	memcpy(text, data + sizeof(run.manner), left);
	begin();
	from = text;
	for (int i = 0; i < REQUESTS_MAX && left > 0; i++) {
		char *to = memchr(from, SEPARATOR, left);
		size_t length = to ? (size_t)(to - from) : left;

		make_marked_request(from, length);
		if (run.manner.bits & MANNER_EVENTS)
			take_events();
		from += to ? length + 1 : length;
		left -= to ? length + 1 : length;
	}
	end_events();
	end();
	free(text);
	return 0;
}
