/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/client.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/format.h"
#include "base/clock.h"
#include "base/control.h"

struct client {
	int fd;
	int output_fd; /* whose reader must be there while we wait; -1 = no matter */
	bool unread;
	const char *path;
	int64_t timeout_ms; /* for one reply; -1 = for ever */
	struct varlink_buffer buffer;
};

/** Say why nobody can be reached there, and what to do. */
static enum exit_code report_connect(const struct options *options, int error)
{
	const char *path = options->socket;

	switch (error) {
	case ENOENT:
		admin_report(
			"cannot reach portreeved at %s: no such file; is it running?",
			path);
		break;
	case ECONNREFUSED:
		admin_report("cannot reach portreeved at %s: nobody listens there; "
			     "is it running?",
			     path);
		break;
	case EACCES:
	case EPERM:
		admin_report("cannot reach portreeved at %s: permission denied; "
			     "try as root",
			     path);
		return EXIT_CODE_PERMISSION;
	case EAGAIN:
		admin_report("cannot reach portreeved at %s: it takes no connection "
			     "within %" PRId64 " s",
			     path, options->timeout_ms / 1000);
		break;
	default: /* any other errno */
		admin_report("cannot reach portreeved at %s: %s", path,
			     strerror(error));
		break;
	}
	return EXIT_CODE_UNREACHABLE;
}

/** Connected socket; the send time-out bounds connect() where the backlog is full. */
static int socket_connect(const struct sockaddr_un *address, int64_t timeout_ms)
{
	struct timeval timeout = {.tv_sec = timeout_ms / 1000};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) == 0 &&
	    connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return fd;
	error = -errno;
	(void)close(fd);
	return error;
}

enum exit_code client_open(const struct options *options, struct client **out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct client *client;
	size_t length = strlen(options->socket);
	int fd;

	if (length == 0 || length >= sizeof(address.sun_path)) {
		admin_report("no path of a socket: '%s'", options->socket);
		return EXIT_CODE_USAGE;
	}
	memcpy(address.sun_path, options->socket, length);
	fd = socket_connect(&address, options->timeout_ms);
	if (fd < 0)
		return report_connect(options, -fd);
	client = calloc(1, sizeof(*client));
	if (client == NULL) {
		(void)close(fd);
		admin_report("out of memory");
		return EXIT_CODE_ERROR;
	}
	client->fd = fd;
	client->output_fd = -1;
	client->path = options->socket;
	client->timeout_ms = options->timeout_ms;
	varlink_buffer_init(&client->buffer, VARLINK_REPLY_MAX);
	*out = client;
	return EXIT_CODE_OK;
}

void client_free(struct client *client)
{
	if (client == NULL)
		return;
	varlink_buffer_fini(&client->buffer);
	(void)close(client->fd);
	free(client);
}

void client_wait_for_ever(struct client *client)
{
	client->timeout_ms = -1;
	client->output_fd = STDOUT_FILENO;
}

bool client_is_unread(const struct client *client)
{
	return client->unread;
}

static enum exit_code report_broken(const struct client *client, int error)
{
	if (error == 0)
		admin_report("portreeved at %s closed the connection", client->path);
	else
		admin_report("connection to portreeved at %s broke: %s", client->path,
			     strerror(error));
	return EXIT_CODE_UNREACHABLE;
}

static int64_t deadline_get_ms(const struct client *client)
{
	return client->timeout_ms < 0 ? TIME_NEVER
				      : clock_now_ms() + client->timeout_ms;
}

/** Wait until the socket can be read or written, the deadline, or the end of stdout. */
static enum exit_code client_poll(struct client *client, short events,
				  int64_t deadline_ms)
{
	struct pollfd fds[] = {
		{.fd = client->fd, .events = events},
		{.fd = client->output_fd}, /* POLLERR: the pipe has no reader */
	};
	int64_t left_ms = -1;
	int ready;

	do {
		if (deadline_ms != TIME_NEVER) {
			left_ms = deadline_ms - clock_now_ms();
			if (left_ms < 0)
				left_ms = 0;
		}
		ready = poll(fds, 2, (int)left_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return report_broken(client, errno);
	if (ready == 0) {
		admin_report("portreeved at %s did not answer within %" PRId64 " s",
			     client->path, client->timeout_ms / 1000);
		return EXIT_CODE_UNREACHABLE;
	}
	if (fds[0].revents == 0) {
		client->unread = true;
		return EXIT_CODE_ERROR;
	}
	return EXIT_CODE_OK;
}

static enum exit_code client_send(struct client *client, const char *bytes,
				  size_t length)
{
	int64_t deadline_ms = deadline_get_ms(client);

	while (length > 0) {
		ssize_t sent =
			send(client->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0) {
			bytes += sent;
			length -= (size_t)sent;
		} else if (errno == EAGAIN) {
			enum exit_code code = client_poll(client, POLLOUT, deadline_ms);

			if (code != EXIT_CODE_OK)
				return code;
		} else if (errno != EINTR) {
			return report_broken(client, errno);
		}
	}
	return EXIT_CODE_OK;
}

enum exit_code client_call(struct client *client, const char *method,
			   struct json_object *parameters, bool more)
{
	struct json_object *call = varlink_call_new(method, parameters, more);
	size_t length = 0;
	const char *bytes = varlink_serialize(call, &length);
	enum exit_code code = EXIT_CODE_ERROR;

	if (bytes == NULL)
		admin_report("out of memory");
	else
		code = client_send(client, bytes, length);
	json_object_put(call);
	return code;
}

/** Read what is there. Errors: reported. */
static enum exit_code client_receive(struct client *client, int64_t deadline_ms)
{
	static char chunk[VARLINK_CHUNK_MAX];
	enum exit_code code = client_poll(client, POLLIN, deadline_ms);
	ssize_t length;
	int error;

	if (code != EXIT_CODE_OK)
		return code;
	length = recv(client->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return EXIT_CODE_OK;
	if (length <= 0)
		return report_broken(client, length < 0 ? errno : 0);
	error = varlink_buffer_append(&client->buffer, chunk, (size_t)length);
	if (error == 0)
		return EXIT_CODE_OK;
	admin_report("cannot keep the answer of portreeved: %s", strerror(-error));
	return EXIT_CODE_ERROR;
}

static enum exit_code report_not_found(struct json_object *parameters)
{
	struct varlink_members members = varlink_members_init(parameters);
	int64_t id = varlink_get_int_or(&members, "id", 0, INT64_MAX, -1);
	const char *host = varlink_get_string_or(&members, "client", NULL);
	char text[FORMAT_TEXT_SIZE];

	if (members.failed == NULL && host != NULL)
		admin_report("no lease of host %s",
			     format_escape(text, sizeof(text), host));
	else if (members.failed != NULL || id < 0)
		admin_report("no such lease");
	else
		admin_report("no lease with id %" PRId64, id);
	return EXIT_CODE_NOT_FOUND;
}

static enum exit_code report_permission(struct json_object *parameters)
{
	(void)parameters;
	admin_report("permission denied: portreeved lets only administrators do that; "
		     "try as root");
	return EXIT_CODE_PERMISSION;
}

/* A member of an error, fit to be printed. */
static const char *escape_member(struct json_object *parameters, const char *name,
				 const char *otherwise, char text[FORMAT_TEXT_SIZE])
{
	struct varlink_members members = varlink_members_init(parameters);

	return format_escape(text, FORMAT_TEXT_SIZE,
			     varlink_get_string_or(&members, name, otherwise));
}

static enum exit_code report_configuration(struct json_object *parameters)
{
	char text[FORMAT_TEXT_SIZE];

	admin_report("%s; nothing has changed",
		     escape_member(parameters, "text", "no reason given", text));
	return EXIT_CODE_ERROR;
}

static enum exit_code report_refused(struct json_object *parameters)
{
	char result[FORMAT_TEXT_SIZE], text[FORMAT_TEXT_SIZE];

	admin_report("refused: %s (%s)",
		     escape_member(parameters, "text", "no reason given", text),
		     escape_member(parameters, "result", "unknown", result));
	return EXIT_CODE_REFUSED;
}

static enum exit_code report_parameter(struct json_object *parameters)
{
	char name[FORMAT_TEXT_SIZE];

	admin_report("portreeved does not accept this %s",
		     escape_member(parameters, "parameter", "parameter", name));
	return EXIT_CODE_ERROR;
}

static enum exit_code report_method(struct json_object *parameters)
{
	char name[FORMAT_TEXT_SIZE];

	admin_report("portreeved does not know %s; it is of another version",
		     escape_member(parameters, "method", "this command", name));
	return EXIT_CODE_ERROR;
}

/** Tell the user what the daemon's error means. */
static enum exit_code report_error(const struct varlink_reply *reply)
{
	static const struct {
		const char *name;
		enum exit_code (*report)(struct json_object *parameters);
	} errors[] = {
		{CONTROL_ERROR_NOT_FOUND, report_not_found},
		{CONTROL_ERROR_PERMISSION, report_permission},
		{CONTROL_ERROR_REFUSED, report_refused},
		{CONTROL_ERROR_CONFIGURATION, report_configuration},
		{VARLINK_ERROR_INVALID_PARAMETER, report_parameter},
		{VARLINK_ERROR_METHOD_NOT_FOUND, report_method},
	};
	char name[FORMAT_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (strcmp(reply->error, errors[i].name) == 0)
			return errors[i].report(reply->parameters);
	}
	admin_report("portreeved answered %s",
		     format_escape(name, sizeof(name), reply->error));
	return EXIT_CODE_ERROR;
}

/** One message to a reply, or to the end. */
static enum exit_code client_read(const char *text, size_t length,
				  struct varlink_reply *out)
{
	struct varlink_reply reply;
	enum exit_code code;

	if (varlink_reply_parse(text, length, &reply) != 0) {
		admin_report("portreeved sent something that is no reply");
		return EXIT_CODE_ERROR;
	}
	if (reply.error == NULL) {
		*out = reply;
		return EXIT_CODE_OK;
	}
	code = report_error(&reply);
	varlink_reply_fini(&reply);
	return code;
}

enum exit_code client_next(struct client *client, struct varlink_reply *out)
{
	int64_t deadline_ms = deadline_get_ms(client);
	const char *text;
	size_t length;

	for (;;) {
		int found = varlink_buffer_next(&client->buffer, &text, &length);
		enum exit_code code;

		if (found > 0)
			return client_read(text, length, out);
		if (found < 0) {
			admin_report("portreeved sent a reply of more than %zu octets",
				     VARLINK_REPLY_MAX);
			return EXIT_CODE_ERROR;
		}
		code = client_receive(client, deadline_ms);
		if (code != EXIT_CODE_OK)
			return code;
	}
}

enum exit_code client_ask(struct client *client, const char *method,
			  struct json_object *parameters, struct varlink_reply *out)
{
	enum exit_code code = client_call(client, method, parameters, false);

	return code == EXIT_CODE_OK ? client_next(client, out) : code;
}

enum exit_code client_show(const struct options *options, const char *method,
			   enum exit_code (*show)(const struct options *options,
						  struct json_object *parameters))
{
	struct varlink_reply reply;
	struct client *client = NULL;
	enum exit_code code = client_open(options, &client);

	if (code == EXIT_CODE_OK)
		code = client_ask(client, method, NULL, &reply);
	if (code == EXIT_CODE_OK) {
		code = show(options, reply.parameters);
		varlink_reply_fini(&reply);
	}
	client_free(client);
	return code;
}
