/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Load of SOAP requests from many hosts against one gateway, each over a connection of
 * its own (no keep-alive), and how fast it answers: from the first SYN until the whole
 * answer is here. Runs in the namespace of LAN hosts that own the addresses of
 * --client,
 * --client + 1, ... The rate limit of the gateway ([limits] requests-per-second) must
 * be off. Bounded in requests and in time. Exits 0 when every answer was the right one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/bench/load.h"

#define CONNECTIONS_MAX 1024
#define REQUESTS_MAX 10000000
#define EVENTS_MAX 64
#define REQUEST_SIZE 2048
#define ANSWER_SIZE 4096
/* A request that has no answer after this is lost; it is not sent again. */
#define LOST_US 5000000

#define TYPE "urn:schemas-upnp-org:service:WANIPConnection:1"

enum mode { MODE_ADD, MODE_ADDRESS, MODE_DELETE, MODE_ENTRY };
#define MODES (MODE_ENTRY + 1)

static const char *const mode_names[] = {"add", "address", "delete", "entry"};
static const char *const mode_actions[] = {"AddPortMapping", "GetExternalIPAddress",
					   "DeletePortMapping",
					   "GetGenericPortMappingEntry"};

struct options {
	struct ip_addr gateway;
	struct ip_addr client;
	uint64_t clients, requests, connections, first_port, lifetime_s, port;
	uint64_t seconds; /* no request is sent after them; 0 = the last one counts */
	uint64_t max_seconds; /* it stops then, whatever is open */
	uint64_t mode;	      /* enum mode */
	bool tcp;
	const char *protocol; /* "UDP" or "TCP" */
	const char *path;
	bool json;
};

struct connection {
	int fd; /* -1 = free */
	int64_t began_us;
	size_t used;
	char answer[ANSWER_SIZE + 1];
};

struct load {
	struct options options;
	int epoll;
	size_t open;
	uint64_t next; /* number of the next request */
	struct load_counts counts;
	struct connection connections[CONNECTIONS_MAX];
};

/* ---- requests and answers ---- */

static int write_arguments(const struct options *options, uint64_t number, char *out,
			   size_t size)
{
	struct ip_addr client =
		load_get_client(&options->client, (size_t)(number % options->clients));
	unsigned int port = (unsigned int)(options->first_port + number);
	char text[ADDR_TEXT_SIZE];

	switch ((enum mode)options->mode) {
	case MODE_ADD:
		return snprintf(out, size,
				"<NewRemoteHost></NewRemoteHost>"
				"<NewExternalPort>%u</NewExternalPort>"
				"<NewProtocol>%s</NewProtocol>"
				"<NewInternalPort>%u</NewInternalPort>"
				"<NewInternalClient>%s</NewInternalClient>"
				"<NewEnabled>1</NewEnabled>"
				"<NewPortMappingDescription>load"
				"</NewPortMappingDescription>"
				"<NewLeaseDuration>%lu</NewLeaseDuration>",
				port, options->protocol, port,
				addr_format(&client, text), options->lifetime_s);
	case MODE_DELETE:
		return snprintf(out, size,
				"<NewRemoteHost></NewRemoteHost>"
				"<NewExternalPort>%u</NewExternalPort>"
				"<NewProtocol>%s</NewProtocol>",
				port, options->protocol);
	case MODE_ENTRY:
		return snprintf(out, size,
				"<NewPortMappingIndex>%lu</NewPortMappingIndex>",
				number);
	case MODE_ADDRESS:
		break;
	}
	out[0] = '\0';
	return 0;
}

static size_t write_request(const struct options *options, uint64_t number, char *out,
			    size_t size)
{
	const char *action = mode_actions[options->mode];
	char arguments[REQUEST_SIZE / 2];
	char body[REQUEST_SIZE - 512];
	char gateway[ADDR_TEXT_SIZE];

	(void)write_arguments(options, number, arguments, sizeof(arguments));
	(void)snprintf(body, sizeof(body),
		       "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s="
		       "\"http://schemas.xmlsoap.org/soap/envelope/\" s:encodingStyle="
		       "\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>"
		       "<u:%s xmlns:u=\"" TYPE "\">%s</u:%s></s:Body></s:Envelope>",
		       action, arguments, action);
	return (size_t)snprintf(
		out, size,
		"POST %s HTTP/1.1\r\nHost: %s:%lu\r\n"
		"User-Agent: load_soap UPnP/1.1\r\nContent-Length: %zu\r\n"
		"Content-Type: text/xml\r\nSOAPAction: \"" TYPE "#%s\"\r\n"
		"Connection: Close\r\n\r\n%s",
		options->path, addr_format(&options->gateway, gateway), options->port,
		strlen(body), action, body);
}

/* All of it is here, and the answer to what was asked. */
static bool is_granted(const struct options *options, const char *answer)
{
	static const char length[] = "\r\nContent-Length: ";
	const char *body = strstr(answer, "\r\n\r\n");
	const char *field = strstr(answer, length);
	char element[64];

	(void)snprintf(element, sizeof(element), "<u:%sResponse",
		       mode_actions[options->mode]);
	return strncmp(answer, "HTTP/1.1 200 ", 13) == 0 && body && field &&
	       field < body &&
	       strtoul(field + strlen(length), NULL, 10) == strlen(body + 4) &&
	       strstr(body, element);
}

/* ---- connections ---- */

static void end(struct load *load, struct connection *connection)
{
	(void)close(connection->fd);
	connection->fd = -1;
	load->open--;
}

static int dial(const struct options *options, uint64_t number)
{
	struct ip_addr client =
		load_get_client(&options->client, (size_t)(number % options->clients));

	return load_open(SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, &client,
			 &options->gateway, (uint16_t)options->port);
}

static struct connection *find_free(struct load *load)
{
	for (size_t i = 0; i < load->options.connections; i++)
		if (load->connections[i].fd < 0)
			return &load->connections[i];
	return NULL;
}

/* Errors: false, and the run is over. */
static bool start_next(struct load *load)
{
	struct connection *connection = find_free(load);
	struct epoll_event event = {.events = EPOLLOUT, .data.ptr = connection};

	connection->began_us = load_now_us();
	connection->used = 0;
	connection->fd = dial(&load->options, load->next);
	if (connection->fd < 0)
		return false;
	load->open++;
	/* Which request it is stands in the answer buffer until it is sent. */
	connection->used =
		write_request(&load->options, load->next++, connection->answer,
			      sizeof(connection->answer));
	return epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event) == 0;
}

static void on_connected(struct load *load, struct connection *connection)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
	ssize_t sent = send(connection->fd, connection->answer, connection->used,
			    MSG_NOSIGNAL);

	if (sent != (ssize_t)connection->used ||
	    epoll_ctl(load->epoll, EPOLL_CTL_MOD, connection->fd, &event) < 0) {
		load->counts.lost++;
		end(load, connection);
	}
	connection->used = 0;
}

static void on_answer(struct load *load, struct connection *connection)
{
	ssize_t got = recv(connection->fd, connection->answer + connection->used,
			   ANSWER_SIZE - connection->used, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got > 0) {
		connection->used += (size_t)got;
		connection->answer[connection->used] = '\0';
		if (!is_granted(&load->options, connection->answer))
			return; /* more comes, or the end */
		load_grant(&load->counts, connection->began_us);
	} else if (got == 0 && connection->used > 0) {
		if (load->counts.refused++ == 0)
			(void)fprintf(stderr, "load_soap: first refusal:\n%s\n",
				      connection->answer);
	} else {
		load->counts.lost++;
	}
	end(load, connection);
}

static void end_lost(struct load *load)
{
	int64_t oldest_us = load_now_us() - LOST_US;

	for (size_t i = 0; i < load->options.connections; i++)
		if (load->connections[i].fd >= 0 &&
		    load->connections[i].began_us < oldest_us) {
			load->counts.lost++;
			end(load, &load->connections[i]);
		}
}

static void take_events(struct load *load)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(load->epoll, events, EVENTS_MAX, 100);

	for (int i = 0; i < count; i++) {
		struct connection *connection = events[i].data.ptr;

		if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
			on_answer(load, connection);
		else
			on_connected(load, connection);
	}
	if (count == 0)
		end_lost(load);
}

/* Errors: false, the time is over or a connection could not be made. */
static bool run(struct load *load)
{
	int64_t end_us;

	load->counts.start_us = load_now_us();
	end_us = load->counts.start_us + (int64_t)load->options.max_seconds * 1000000;
	while (load->open > 0 || load->next < load->options.requests) {
		if (load_is_time_over(&load->counts, load->options.seconds))
			load->options.requests = load->next;
		while (load->open < load->options.connections &&
		       load->next < load->options.requests)
			if (!start_next(load))
				return false;
		take_events(load);
		if (load_now_us() > end_us)
			return false;
	}
	return true;
}

static int report(struct load *load)
{
	const struct load_figure figures[] = {
		{"connections", load->options.connections},
		{"requests", load->next},
		{.name = NULL},
	};

	return load_report(&load->counts, mode_names[load->options.mode], figures,
			   load->options.json);
}

static bool parse_options(int argc, char **argv, struct options *out)
{
	const struct load_option rows[] = {
		{"gateway", .addr = &out->gateway},
		{"client", .addr = &out->client},
		{"clients", .number = &out->clients, .max = LOAD_CLIENTS_MAX},
		{"requests", .number = &out->requests, .max = REQUESTS_MAX},
		{"connections", .number = &out->connections, .max = CONNECTIONS_MAX},
		{"mode", .number = &out->mode, .max = MODES, .words = mode_names},
		{"first-port", .number = &out->first_port, .max = UINT16_MAX},
		{"http-port", .number = &out->port, .max = UINT16_MAX},
		{"path", .text = &out->path},
		{"lifetime", .number = &out->lifetime_s, .max = UINT32_MAX},
		{"seconds", .number = &out->seconds, .max = LOAD_SECONDS_MAX},
		{"max-seconds", .number = &out->max_seconds, .max = LOAD_SECONDS_MAX},
		{"tcp", .flag = &out->tcp},
		{"json", .flag = &out->json},
		{.name = NULL},
	};

	*out = (struct options){
		.clients = 1,
		.requests = 10000,
		.connections = 32,
		.first_port = 10000,
		.port = 49152,
		.lifetime_s = 3600,
		.max_seconds = 60,
		.path = "/igd1/ctl/WANIPConn1",
	};
	if (!load_parse_options(argc, argv, rows))
		return false;
	out->protocol = out->tcp ? "TCP" : "UDP";
	return out->clients > 0 && out->requests > 0 && out->connections > 0 &&
	       addr_is_ipv4(&out->gateway) && addr_is_ipv4(&out->client) &&
	       !addr_is_none(&out->gateway) && !addr_is_none(&out->client) &&
	       (out->mode == MODE_ADDRESS || out->mode == MODE_ENTRY ||
		out->first_port + out->requests - 1 <= UINT16_MAX);
}

int main(int argc, char **argv)
{
	static struct load load;

	if (!parse_options(argc, argv, &load.options)) {
		(void)fprintf(stderr,
			      "usage: load_soap --gateway ADDRESS --client "
			      "FIRST-ADDRESS [--clients N]\n"
			      "  [--connections N] [--requests N] "
			      "[--mode add|address|delete|entry] [--tcp]\n"
			      "  [--first-port N] [--http-port N] [--path PATH] "
			      "[--lifetime S]\n"
			      "  [--seconds S] [--max-seconds S] [--json]\n"
			      "Of add and delete, each request has a port of its own, "
			      "from --first-port on;\n"
			      "of entry, its index.\n");
		return 2;
	}
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (load.epoll < 0 ||
	    !load_times_init(&load.counts.times, load.options.requests))
		return 1;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		load.connections[i].fd = -1;
	load.counts.stopped = !run(&load);
	return report(&load);
}
