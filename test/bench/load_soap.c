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
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "test/bench/load.h"

#define CONNECTIONS_MAX 1024
#define REQUESTS_MAX 10000000
#define EVENTS_MAX 64
#define REQUEST_SIZE 2048
#define ANSWER_SIZE 4096
/* A request that has no answer after this is lost; it is not sent again. */
#define LOST_US 5000000

#define TYPE "urn:schemas-upnp-org:service:WANIPConnection:1"

enum mode { MODE_ADD, MODE_ADDRESS, MODE_DELETE };

static const char *const mode_names[] = {"add", "address", "delete"};
static const char *const mode_actions[] = {"AddPortMapping", "GetExternalIPAddress",
					   "DeletePortMapping"};

struct options {
	struct ip_addr gateway;
	struct ip_addr client;
	uint64_t clients, requests, connections, first_port, lifetime_s, port, seconds;
	enum mode mode;
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
	uint64_t granted, refused, lost;
	struct load_times times;
	int64_t start_us;
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

	switch (options->mode) {
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
	struct ip_addr addr =
		load_get_client(&options->client, (size_t)(number % options->clients));
	struct sockaddr_storage local;
	struct sockaddr_storage peer;
	socklen_t local_size = addr_to_sockaddr(&addr, 0, &local);
	socklen_t peer_size =
		addr_to_sockaddr(&options->gateway, (uint16_t)options->port, &peer);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	/* The port is chosen on connecting: there are more connections than ports. */
	if (fd >= 0 &&
	    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
	    bind(fd, (struct sockaddr *)&local, local_size) == 0 &&
	    (connect(fd, (struct sockaddr *)&peer, peer_size) == 0 ||
	     errno == EINPROGRESS))
		return fd;
	(void)fprintf(stderr, "load_soap: cannot connect: %s\n", strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return -1;
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
		load->lost++;
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
		load->granted++;
	} else if (got == 0 && connection->used > 0) {
		if (load->refused++ == 0)
			(void)fprintf(stderr, "load_soap: first refusal:\n%s\n",
				      connection->answer);
	} else {
		load->lost++;
	}
	if (got >= 0)
		load_times_add(&load->times, connection->began_us);
	end(load, connection);
}

static void end_lost(struct load *load)
{
	int64_t oldest_us = load_now_us() - LOST_US;

	for (size_t i = 0; i < load->options.connections; i++)
		if (load->connections[i].fd >= 0 &&
		    load->connections[i].began_us < oldest_us) {
			load->lost++;
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

	load->start_us = load_now_us();
	end_us = load->start_us + (int64_t)load->options.seconds * 1000000;
	while (load->open > 0 || load->next < load->options.requests) {
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

static void report(struct load *load)
{
	const struct options *options = &load->options;
	double seconds = (double)(load_now_us() - load->start_us) / 1e6;
	const char *format =
		options->json
			? "{\"mode\":\"%s\",\"connections\":%lu,\"requests\":%lu,"
			  "\"seconds\":%.3f,\"per_second\":%.0f,\"p50_us\":%u,"
			  "\"p99_us\":%u,\"max_us\":%u,\"granted\":%lu,"
			  "\"refused\":%lu,\"lost\":%lu}\n"
			: "mode=%s connections=%lu requests=%lu seconds=%.3f "
			  "per_second=%.0f p50_us=%u p99_us=%u max_us=%u granted=%lu "
			  "refused=%lu lost=%lu\n";

	load_times_sort(&load->times);
	(void)printf(format, mode_names[options->mode], options->connections,
		     load->next, seconds, (double)load->granted / seconds,
		     load_times_get_us(&load->times, 50),
		     load_times_get_us(&load->times, 99),
		     load_times_get_us(&load->times, 100), load->granted, load->refused,
		     load->lost);
}

/* ---- options ---- */

static bool parse_mode(const char *text, enum mode *out)
{
	for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++)
		if (strcmp(text, mode_names[i]) == 0) {
			*out = (enum mode)i;
			return true;
		}
	return false;
}

static bool parse_option(int key, const char *text, struct options *out)
{
	switch (key) {
	case 'g':
		return addr_parse(text, &out->gateway) && addr_is_ipv4(&out->gateway);
	case 'c':
		return addr_parse(text, &out->client) && addr_is_ipv4(&out->client);
	case 'n':
		return parse_number(text, LOAD_CLIENTS_MAX, &out->clients);
	case 'r':
		return parse_number(text, REQUESTS_MAX, &out->requests);
	case 'k':
		return parse_number(text, CONNECTIONS_MAX, &out->connections);
	case 'm':
		return parse_mode(text, &out->mode);
	case 'p':
		return parse_number(text, UINT16_MAX, &out->first_port);
	case 'h':
		return parse_number(text, UINT16_MAX, &out->port);
	case 'u':
		out->path = text;
		return true;
	case 'l':
		return parse_number(text, UINT32_MAX, &out->lifetime_s);
	case 's':
		return parse_number(text, 3600, &out->seconds);
	case 't':
		out->protocol = "TCP";
		return true;
	case 'j':
		out->json = true;
		return true;
	default:
		return false;
	}
}

static bool parse_options(int argc, char **argv, struct options *out)
{
	static const struct option rows[] = {
		{"gateway", required_argument, NULL, 'g'},
		{"client", required_argument, NULL, 'c'},
		{"clients", required_argument, NULL, 'n'},
		{"requests", required_argument, NULL, 'r'},
		{"connections", required_argument, NULL, 'k'},
		{"mode", required_argument, NULL, 'm'},
		{"first-port", required_argument, NULL, 'p'},
		{"http-port", required_argument, NULL, 'h'},
		{"path", required_argument, NULL, 'u'},
		{"lifetime", required_argument, NULL, 'l'},
		{"max-seconds", required_argument, NULL, 's'},
		{"tcp", no_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	int key;

	*out = (struct options){
		.clients = 1,
		.requests = 10000,
		.connections = 32,
		.first_port = 10000,
		.port = 49152,
		.lifetime_s = 3600,
		.seconds = 60,
		.protocol = "UDP",
		.path = "/igd1/ctl/WANIPConn1",
	};
	while ((key = getopt_long(argc, argv, "", rows, NULL)) != -1)
		if (!parse_option(key, optarg, out))
			return false;
	return optind == argc && out->clients > 0 && out->requests > 0 &&
	       out->connections > 0 && !addr_is_none(&out->gateway) &&
	       !addr_is_none(&out->client) &&
	       (out->mode == MODE_ADDRESS ||
		out->first_port + out->requests - 1 <= UINT16_MAX);
}

int main(int argc, char **argv)
{
	static struct load load;
	bool in_time;

	if (!parse_options(argc, argv, &load.options)) {
		(void)fprintf(stderr,
			      "usage: load_soap --gateway ADDRESS --client "
			      "FIRST-ADDRESS [--clients N]\n"
			      "  [--connections N] [--requests N] "
			      "[--mode add|address|delete] [--tcp]\n"
			      "  [--first-port N] [--http-port N] [--path PATH] "
			      "[--lifetime S]\n"
			      "  [--max-seconds S] [--json]\n"
			      "Of add and delete, each request has a port of its own, "
			      "from --first-port on.\n");
		return 2;
	}
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (load.epoll < 0 || !load_times_init(&load.times, load.options.requests))
		return 1;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		load.connections[i].fd = -1;
	in_time = run(&load);
	report(&load);
	free(load.times.list_us);
	if (!in_time)
		(void)fprintf(stderr, "load_soap: stopped before its end\n");
	return in_time && load.refused == 0 && load.lost == 0 ? 0 : 1;
}
