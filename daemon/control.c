/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "base/control.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/varlink.h"
#include "daemon/control_methods.h"
#include "daemon/moment.h"

#define CONTROL_BACKLOG 8
/* Bytes read at a time. */
#define CONTROL_READ_MAX ((size_t)16 * 1024)

struct control {
	struct event_base *base;
	const struct control_source *source;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd;
	struct event *accept_event;
	struct control_client *clients;
	size_t client_count;
};

static void client_free(struct control_client *client)
{
	struct control *control = client->control;

	DL_DELETE(control->clients, client);
	control->client_count--;
	varlink_buffer_fini(&client->input);
	bufferevent_free(client->stream);
	/* A long list left a heap full of holes. */
	if (client->list_count > CONTROL_LEASES_PER_REPLY)
		memory_release();
	free(client->list_ids);
	free(client);
}

static void client_go_on(struct control_client *client)
{
	bufferevent_trigger(client->stream, EV_READ,
			    BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

/* Later: this may be inside a call of that very client. */
static void client_break(struct control_client *client)
{
	bufferevent_trigger_event(client->stream, BEV_EVENT_ERROR,
				  BEV_TRIG_DEFER_CALLBACKS);
}

/*
 * Do the next call that has come whole, one a turn of the loop, so that many at once
 * keep nobody else waiting. False when the connection shall end.
 */
static bool client_do_next(struct control_client *client)
{
	struct varlink_call call;
	const char *text;
	size_t length;
	int got;

	/* one List at a time: its next part is made when this one has been read */
	if (client->list_ids || client->reload != 0)
		return true;
	got = varlink_buffer_next(&client->input, &text, &length);
	if (got < 0)
		return false;
	if (got == 0) {
		/* there may be more of it that was not taken yet */
		if (evbuffer_get_length(bufferevent_get_input(client->stream)) > 0)
			client_go_on(client);
		return true;
	}
	if (varlink_call_parse(text, length, &call) != 0)
		return false;
	control_method_call(client->control->source, client, &call);
	varlink_call_fini(&call);
	if (client->broken)
		return false;
	client_go_on(client);
	return true;
}

static void client_read(struct bufferevent *stream, void *user)
{
	struct control_client *client = user;
	char bytes[CONTROL_READ_MAX];
	size_t length = bufferevent_read(stream, bytes, sizeof(bytes));

	if ((length > 0 && varlink_buffer_append(&client->input, bytes, length) != 0) ||
	    !client_do_next(client))
		client_free(client);
}

/* Everything queued has been written: make the next part of a long answer. */
static void client_written(struct bufferevent *stream, void *user)
{
	struct control_client *client = user;

	(void)stream;
	if (!client->list_ids)
		return;
	control_method_list_more(client->control->source, client);
	if (client->broken || !client_do_next(client))
		client_free(client);
}

static void client_event(struct bufferevent *stream, short what, void *user)
{
	(void)stream;
	(void)what;
	client_free(user);
}

static uid_t peer_get_uid(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return (uid_t)-1;
	return peer.uid;
}

/* Root may always call; nobody else may keep everybody else out. */
static bool control_has_room(const struct control *control, uid_t uid)
{
	const struct control_client *client;
	size_t same = 0;

	DL_FOREACH (control->clients, client)
		same += client->uid == uid ? 1 : 0;
	if (uid == 0)
		return same < CONTROL_CLIENTS_MAX;
	return same < CONTROL_CLIENTS_PER_USER &&
	       control->client_count < CONTROL_CLIENTS_MAX;
}

static struct control_client *client_new(struct control *control, int fd, uid_t uid)
{
	struct control_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->control = control;
	/* root may change things, everyone may look */
	client->uid = uid;
	client->admin = uid == 0;
	varlink_buffer_init(&client->input, VARLINK_CALL_MAX);
	client->stream =
		bufferevent_socket_new(control->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!client->stream) {
		free(client);
		return NULL;
	}
	bufferevent_setcb(client->stream, client_read, client_written, client_event,
			  client);
	if (bufferevent_enable(client->stream, EV_READ | EV_WRITE) != 0) {
		bufferevent_free(client->stream);
		free(client);
		return NULL;
	}
	return client;
}

static void control_accept(evutil_socket_t fd, short what, void *user)
{
	struct control *control = user;
	struct control_client *client;
	uid_t uid;
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (peer < 0)
		return;
	uid = peer_get_uid(peer);
	client = control_has_room(control, uid) ? client_new(control, peer, uid) : NULL;
	if (!client) {
		(void)close(peer);
		return;
	}
	DL_APPEND(control->clients, client);
	control->client_count++;
}

static void control_fill_address(const char *path, struct sockaddr_un *address)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	(void)snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
}

/* True when the name is in use, be it by one whom we may not even call. */
static bool control_is_answered(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;

	if (fd < 0)
		return false;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
		error = errno;
	(void)close(fd);
	return error != ECONNREFUSED && error != ENOENT;
}

static int control_bind(struct control *control)
{
	struct sockaddr_un address;

	control_fill_address(control->path, &address);
	if (control_is_answered(&address)) {
		log_error("another portreeved answers at %s; stop it first, or set "
			  "[global] control-socket to another path",
			  control->path);
		return -EADDRINUSE;
	}
	(void)unlink(control->path);
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0 ||
	    bind(control->fd, (const struct sockaddr *)&address, sizeof(address)) !=
		    0 ||
	    chmod(control->path, 0666) != 0 ||
	    listen(control->fd, CONTROL_BACKLOG) != 0) {
		int error = errno;

		log_error("cannot open the control socket %s: %s", control->path,
			  strerror(error));
		return -error;
	}
	return 0;
}

int control_open(struct event_base *base, const char *path,
		 const struct control_source *source, struct control **out)
{
	struct control *control = calloc(1, sizeof(*control));
	int error;

	if (!control)
		return -ENOMEM;
	control->base = base;
	control->source = source;
	control->fd = -1;
	(void)snprintf(control->path, sizeof(control->path), "%s", path);
	error = control_bind(control);
	if (error == 0) {
		control->accept_event =
			event_new(base, control->fd, EV_READ | EV_PERSIST,
				  control_accept, control);
		if (!control->accept_event ||
		    event_add(control->accept_event, NULL) != 0)
			error = -ENOMEM;
	}
	if (error == -EADDRINUSE)
		control->path[0] = '\0'; /* it is the other daemon's */
	if (error != 0) {
		control_close(control);
		return error;
	}
	*out = control;
	return 0;
}

void control_close(struct control *control)
{
	struct control_client *client, *next;

	if (!control)
		return;
	DL_FOREACH_SAFE (control->clients, client, next)
		client_free(client);
	if (control->accept_event)
		event_free(control->accept_event);
	if (control->fd >= 0)
		(void)close(control->fd);
	if (control->path[0] != '\0')
		(void)unlink(control->path);
	free(control);
}

/* What a call ends is in its answer. */
static void client_gather(struct control_client *client, const struct lease *lease)
{
	struct store_time at = moment_now();

	if (!control_add_lease(client->control->source, client->ended, lease, &at))
		client->broken = true;
}

void control_publish(struct control *control, enum lease_event event,
		     const struct lease *lease)
{
	struct json_object *message = NULL;
	struct control_client *client;

	DL_FOREACH (control->clients, client) {
		if (client->ended && event == LEASE_EVENT_DELETED)
			client_gather(client, lease);
		if (!client->watching)
			continue;
		/* made once, for all who watch */
		if (!message)
			message =
				control_method_event_new(control->source, event, lease);
		control_method_send(client, json_object_get(message));
		if (client->broken)
			client_break(client);
	}
	json_object_put(message);
}

void control_finish_reload(struct control *control, const struct control_reload *reload)
{
	struct control_client *client;

	DL_FOREACH (control->clients, client) {
		if (client->reload <= reload->after || client->reload > reload->serial)
			continue;
		client->reload = 0;
		control_method_reloaded(client, reload);
		if (client->broken)
			client_break(client);
		else
			client_go_on(client);
	}
}
