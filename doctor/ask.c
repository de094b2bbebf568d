/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/ask.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/control.h"
#include "base/varlink.h"

/* A daemon that is well answers within milliseconds. */
#define ASK_TIMEOUT_MS 1500

static void copy_text(char *out, size_t size, const char *text)
{
	text_copy_clean(out, size, text, strlen(text));
}

static bool problems_read(struct json_object *array, struct facts_daemon *out)
{
	size_t count = json_object_array_length(array);

	for (size_t i = 0; i < count && i < FACTS_PROBLEMS_MAX; i++) {
		struct varlink_members members =
			varlink_members_init(json_object_array_get_idx(array, i));
		struct facts_problem *problem = &out->problems[i];
		const char *code = varlink_get_string(&members, "code");
		const char *text = varlink_get_string(&members, "text");

		if (members.failed)
			return false;
		copy_text(problem->code, sizeof(problem->code), code);
		copy_text(problem->text, sizeof(problem->text), text);
		out->problem_count = i + 1;
	}
	return true;
}

static uint8_t protocols_read(struct json_object *array)
{
	static const struct {
		const char *name;
		uint8_t bit;
	} rows[] = {{"upnp", CONF_PROTOCOL_UPNP},
		    {"nat-pmp", CONF_PROTOCOL_NATPMP},
		    {"pcp", CONF_PROTOCOL_PCP}};
	uint8_t protocols = 0;

	for (size_t i = 0; i < json_object_array_length(array); i++) {
		const char *name =
			json_object_get_string(json_object_array_get_idx(array, i));

		for (size_t row = 0; name && row < sizeof(rows) / sizeof(rows[0]);
		     row++)
			if (strcmp(rows[row].name, name) == 0)
				protocols |= rows[row].bit;
	}
	return protocols;
}

/* The networks of a LAN that are configured stay, where it is in the file too. */
static bool lans_read(struct json_object *array, struct conf *conf)
{
	size_t count = json_object_array_length(array);

	conf->lan_count = 0;
	for (size_t i = 0; i < count && i < CONF_LANS_MAX; i++) {
		struct varlink_members members =
			varlink_members_init(json_object_array_get_idx(array, i));
		struct conf_lan *lan = &conf->lans[i];
		const char *name = varlink_get_string(&members, "name");
		struct json_object *protocols =
			varlink_get_array(&members, "protocols");

		if (members.failed || name[0] == '\0' ||
		    strlen(name) >= sizeof(lan->name))
			return false;
		if (strcmp(lan->name, name) != 0) {
			memset(lan, 0, sizeof(*lan));
			memcpy(lan->name, name, strlen(name) + 1);
		}
		lan->protocols = protocols_read(protocols);
		conf->lan_count = i + 1;
	}
	return true;
}

static bool wan_read_status(struct json_object *object, struct facts_daemon *out,
			    struct conf *conf)
{
	struct varlink_members members = varlink_members_init(object);
	const char *interface = varlink_get_string(&members, "interface");
	const char *external =
		varlink_get_string_or(&members, "external_address", NULL);

	if (members.failed || strlen(interface) >= sizeof(conf->wan.interface))
		return false;
	if (interface[0] != '\0')
		memcpy(conf->wan.interface, interface, strlen(interface) + 1);
	if (external && !addr_parse(external, &out->external))
		return false;
	return true;
}

/* Older daemons do not tell: then the file has to do. */
static bool settings_read(struct json_object *object, struct conf *conf)
{
	struct varlink_members members = varlink_members_init(object);
	int64_t mark =
		varlink_get_int_or(&members, "mark", 1, UINT32_MAX, conf->backend.mark);
	int64_t port = varlink_get_int_or(&members, "http_port", 0, UINT16_MAX,
					  conf->global.http_port);
	bool nat = varlink_get_bool_or(&members, "nat", conf->wan.nat);
	const char *pinholes = varlink_get_string_or(&members, "pinholes", "");

	if (members.failed)
		return false;
	conf->backend.mark = (uint32_t)mark;
	conf->global.http_port = (uint16_t)port;
	conf->wan.nat = nat;
	if (strcmp(pinholes, "on") == 0)
		conf->wan.pinholes = CONF_PINHOLES_ON;
	else if (strcmp(pinholes, "off") == 0)
		conf->wan.pinholes = CONF_PINHOLES_OFF;
	else if (strcmp(pinholes, "no-firewall") == 0)
		conf->wan.pinholes = CONF_PINHOLES_NO_FIREWALL;
	return true;
}

static bool backend_read(struct json_object *object, struct facts_daemon *out)
{
	struct varlink_members members = varlink_members_init(object);
	const char *name = varlink_get_string(&members, "name");

	if (members.failed)
		return false;
	copy_text(out->backend, sizeof(out->backend), name);
	return true;
}

static bool status_read(struct json_object *parameters, struct facts_daemon *out,
			struct conf *conf)
{
	struct varlink_members whole = varlink_members_init(parameters);
	struct varlink_members members =
		varlink_members_init(varlink_get_object(&whole, "status"));
	struct json_object *problems = varlink_get_array(&members, "problems");
	struct json_object *backend = varlink_get_object(&members, "backend");
	struct json_object *wan = varlink_get_object(&members, "wan");
	struct json_object *lans = varlink_get_array(&members, "lans");
	struct json_object *settings = NULL;

	if (whole.failed || members.failed)
		return false;
	(void)json_object_object_get_ex(members.object, "settings", &settings);
	return problems_read(problems, out) && backend_read(backend, out) &&
	       wan_read_status(wan, out, conf) && lans_read(lans, conf) &&
	       settings_read(settings, conf);
}

bool ask_read_status(const char *text, size_t length, struct facts_daemon *out,
		     struct conf *conf)
{
	struct facts_daemon daemon = *out;
	struct conf changed = *conf;
	struct varlink_reply reply;
	bool good;

	if (varlink_reply_parse(text, length, &reply) != 0)
		return false;
	good = !reply.error && status_read(reply.parameters, &daemon, &changed);
	varlink_reply_fini(&reply);
	if (!good)
		return false;
	daemon.state = FACTS_DAEMON_RUNS;
	*out = daemon;
	*conf = changed;
	return true;
}

static void daemon_fail(struct facts_daemon *out, enum facts_daemon_state state,
			const char *reason)
{
	out->state = state;
	(void)snprintf(out->reason, sizeof(out->reason), "%s", reason);
}

/* Errors: -errno, *out says it. */
static int socket_connect(const char *path, struct facts_daemon *out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		daemon_fail(out, FACTS_DAEMON_ABSENT, "its path is too long");
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 &&
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = errno;
	if (fd >= 0)
		(void)close(fd);
	if (error == EACCES || error == EPERM)
		daemon_fail(out, FACTS_DAEMON_FORBIDDEN, strerror(error));
	else if (error == ENOENT || error == ECONNREFUSED || error == ENOTDIR)
		daemon_fail(out, FACTS_DAEMON_ABSENT,
			    error == ECONNREFUSED ? "nobody listens there"
						  : "there is no such socket");
	else
		daemon_fail(out, FACTS_DAEMON_STRANGE,
			    error == EAGAIN ? "it takes no connection"
					    : strerror(error));
	return -error;
}

/* Small enough for any socket's buffer. */
static bool call_send(int fd)
{
	struct json_object *call = varlink_call_new(CONTROL_STATUS, NULL, false);
	size_t length = 0;
	const char *bytes = varlink_serialize(call, &length);
	bool sent = bytes && send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;

	json_object_put(call);
	return sent;
}

/* What came within the time. Returns false at the end of it or of the connection. */
static bool reply_receive(int fd, struct varlink_buffer *buffer, int64_t deadline_ms)
{
	static char chunk[VARLINK_CHUNK_MAX];
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	int64_t left_ms = deadline_ms - clock_now_ms();
	ssize_t length;

	if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) <= 0)
		return false;
	length = recv(fd, chunk, sizeof(chunk), 0);
	return length > 0 && varlink_buffer_append(buffer, chunk, (size_t)length) == 0;
}

static void daemon_talk(int fd, struct facts_daemon *out, struct conf *conf)
{
	int64_t deadline_ms = clock_now_ms() + ASK_TIMEOUT_MS;
	struct varlink_buffer buffer;
	const char *text;
	size_t length;
	int found = 0;

	daemon_fail(out, FACTS_DAEMON_STRANGE, "it does not answer");
	varlink_buffer_init(&buffer, VARLINK_REPLY_MAX);
	if (call_send(fd)) {
		do
			found = varlink_buffer_next(&buffer, &text, &length);
		while (found == 0 && reply_receive(fd, &buffer, deadline_ms));
	}
	if (found > 0 && !ask_read_status(text, length, out, conf))
		daemon_fail(out, FACTS_DAEMON_STRANGE,
			    "its answer is not understood: it is of another version");
	varlink_buffer_fini(&buffer);
}

void ask_daemon(const char *path, struct facts_daemon *out, struct conf *conf)
{
	int fd;

	memset(out, 0, sizeof(*out));
	fd = socket_connect(path, out);
	if (fd < 0)
		return;
	daemon_talk(fd, out, conf);
	(void)close(fd);
}
