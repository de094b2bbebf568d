/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/upnp_client_library.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "probe/upnp_client.h"
#include "probe/words.h"

/* libupnp takes 2 to 80 s. Answers come as soon as they come. */
#define SEARCH_MX_S 2
#define SUBSCRIPTION_S 300
/* Ports for events: libupnp takes none below 49152, its default, which is left out. */
#define PORT_FIRST 49153
#define PORT_COUNT (65536 - PORT_FIRST)
#define PORT_TRIES 16
/* The longest answer to an action that is any of ours. */
#define CONTENT_MAX 65536

enum note_kind {
	NOTE_FOUND, /* an answer to a search */
	NOTE_EVENT,
	NOTE_WORK, /* a piece of work is done */
};

/* What a thread of libupnp, or of a piece of work, has for us: sent by the pipe as a
 * pointer, which moves the note to the reader. */
struct note {
	enum note_kind kind;
	struct upnp_found found;
	char names[UPNP_NAMES_SIZE];
	struct work *work;
};

/* How a note goes through the pipe. */
struct parcel {
	struct note *note;
};

/* A call of libupnp that may block for half a minute, in a thread of its own. */
struct work {
	struct upnp_client *client;
	void (*perform)(struct work *work);
	char url[UPNP_URL_SIZE];
	char type[UPNP_TYPE_SIZE];
	Upnp_SID sid;
	IXML_Document *request;
	int result;
	IXML_Document *response;
};

struct upnp_client {
	const struct run *run;
	UpnpClient_Handle handle;
	int pipe[2];
	Upnp_SID sid;
	bool has_event; /* came before it was waited for */
	char names[UPNP_NAMES_SIZE];
};

const char *upnp_client_get_words(int code)
{
	switch (code) {
	case UPNP_CLIENT_TIMEOUT:
		return "no answer in time";
	case UPNP_CLIENT_STOPPED:
		return "interrupted";
	case UPNP_CLIENT_NO_SERVICE:
		return "it has no WANIPConnection and no WANPPPConnection";
	case UPNP_CLIENT_NO_MEMORY:
	case UPNP_E_OUTOF_MEMORY:
		return "this host has no memory left for it";
	case UPNP_CLIENT_ELSEWHERE:
		return "its URLs lead to another host; not followed";
	case UPNP_E_INVALID_DESC:
		return "what came is not XML";
	case UPNP_E_URL_TOO_BIG:
		return "its URL makes no sense";
	case UPNP_E_INVALID_URL:
		return "an HTTP error, or a URL that makes no sense";
	case UPNP_E_BAD_RESPONSE:
	case UPNP_E_BAD_HTTPMSG:
		return "wrong answer: an HTTP error, or not what UPnP asks for";
	case UPNP_E_SOCKET_CONNECT:
		return "the TCP connection fails: nothing listens there";
	case UPNP_E_SOCKET_READ:
	case UPNP_E_SOCKET_WRITE:
	case UPNP_E_SOCKET_ERROR:
	case UPNP_E_NETWORK_ERROR:
		return "the connection breaks off";
	case UPNP_E_SOCKET_BIND:
		return "UDP port 1900 of this host is taken by another program";
	case UPNP_E_TIMEDOUT:
		return "the connection is there, the answer is not";
	case UPNP_E_SUBSCRIBE_UNACCEPTED:
		return "the subscription is refused";
	case UPNP_E_UNSUBSCRIBE_UNACCEPTED:
		return "the end of the subscription is refused";
	case UPNP_E_INVALID_INTERFACE:
		return "libupnp cannot use this interface";
	default:
		return UpnpGetErrorMessage(code);
	}
}

/* Move a note to the main thread; where it does not read any more, drop it. */
static void note_send(struct upnp_client *client, struct note *note)
{
	const struct parcel parcel = {note};

	if (write(client->pipe[1], &parcel, sizeof(parcel)) != sizeof(parcel))
		free(note);
}

static void note_send_found(struct upnp_client *client, const UpnpDiscovery *discovery)
{
	struct note *note = calloc(1, sizeof(*note));
	const char *location = UpnpDiscovery_get_Location_cstr(discovery);

	if (!note)
		return;
	note->kind = NOTE_FOUND;
	(void)snprintf(note->found.type, sizeof(note->found.type), "%s",
		       UpnpDiscovery_get_DeviceType_cstr(discovery));
	(void)snprintf(note->found.location, sizeof(note->found.location), "%s",
		       location);
	if (!words_parse_host(location, &note->found.host))
		note->found.host = (struct ip_addr){0};
	note_send(client, note);
}

/* Names of the variables of an event: elements below the properties. */
static void event_read_names(IXML_Document *document, char names[UPNP_NAMES_SIZE])
{
	IXML_NodeList *list = ixmlDocument_getElementsByTagName(document, "e:property");
	size_t used = 0;

	for (unsigned long i = 0; i < ixmlNodeList_length(list); i++) {
		IXML_Node *node = ixmlNode_getFirstChild(ixmlNodeList_item(list, i));
		const char *name = node ? ixmlNode_getNodeName(node) : NULL;
		int length;

		if (!name)
			continue;
		length = snprintf(names + used, UPNP_NAMES_SIZE - used, "%s%s",
				  used > 0 ? " " : "", name);
		if (length < 0 || (size_t)length >= UPNP_NAMES_SIZE - used)
			break;
		used += (size_t)length;
	}
	ixmlNodeList_free(list);
}

static void note_send_event(struct upnp_client *client, const UpnpEvent *event)
{
	struct note *note = calloc(1, sizeof(*note));

	if (!note)
		return;
	note->kind = NOTE_EVENT;
	event_read_names(UpnpEvent_get_ChangedVariables(event), note->names);
	note_send(client, note);
}

/* Called by threads of libupnp. */
static int client_call_back(Upnp_EventType type, const void *event, void *cookie)
{
	struct upnp_client *client = cookie;

	if (type == UPNP_DISCOVERY_SEARCH_RESULT)
		note_send_found(client, event);
	else if (type == UPNP_EVENT_RECEIVED)
		note_send_event(client, event);
	return 0;
}

/*
 * Events come in at a TCP port of our own. The default of libupnp is every program's
 * that uses it, and portreeved's: one of the others, until one is free. Errors: a code.
 */
static int client_init(const char *interface)
{
	int result = UPNP_E_SOCKET_BIND;

	for (int i = 0; i < PORT_TRIES && result == UPNP_E_SOCKET_BIND; i++) {
		uint16_t random = 0;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return UPNP_E_INTERNAL_ERROR;
		result = UpnpInit2(interface,
				   (unsigned short)(PORT_FIRST + random % PORT_COUNT));
	}
	return result;
}

int upnp_client_open(const struct run *run, struct upnp_client **out)
{
	/* Threads of libupnp keep it: it is never freed. */
	struct upnp_client *client = calloc(1, sizeof(*client));
	int result;

	if (!client)
		return UPNP_CLIENT_NO_MEMORY;
	client->run = run;
	if (pipe2(client->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(client);
		return UPNP_E_OUTOF_SOCKET;
	}
	result = client_init(run->interface);
	if (result == UPNP_E_SUCCESS)
		result = UpnpSetMaxContentLength(CONTENT_MAX);
	if (result == UPNP_E_SUCCESS)
		result = UpnpRegisterClient(client_call_back, client, &client->handle);
	if (result == UPNP_E_SUCCESS)
		*out = client;
	return result;
}

void upnp_client_set_run(struct upnp_client *client, const struct run *run)
{
	client->run = run;
}

/* The next note, to be freed. Errors: UPNP_CLIENT_TIMEOUT, UPNP_CLIENT_STOPPED. */
static int client_read_note(struct upnp_client *client, int64_t deadline_ms,
			    struct note **out)
{
	struct parcel parcel;

	switch (run_wait_fd(client->run, client->pipe[0], deadline_ms)) {
	case RUN_STOPPED:
		return UPNP_CLIENT_STOPPED;
	case RUN_TIMEOUT:
		return UPNP_CLIENT_TIMEOUT;
	case RUN_READY:
		break;
	}
	if (read(client->pipe[0], &parcel, sizeof(parcel)) != sizeof(parcel))
		return UPNP_E_INTERNAL_ERROR;
	*out = parcel.note;
	if ((*out)->kind == NOTE_EVENT && !client->has_event) {
		client->has_event = true;
		memcpy(client->names, (*out)->names, sizeof(client->names));
	}
	return 0;
}

static void work_free(struct work *work)
{
	if (work->request)
		ixmlDocument_free(work->request);
	if (work->response)
		ixmlDocument_free(work->response);
	free(work);
}

static void *work_run(void *argument)
{
	struct work *work = argument;
	struct note *note = calloc(1, sizeof(*note));

	work->perform(work);
	if (note) {
		note->kind = NOTE_WORK;
		note->work = work;
		note_send(work->client, note);
	}
	return NULL;
}

static struct work *work_new(struct upnp_client *client, const char *url,
			     void (*perform)(struct work *work))
{
	struct work *work = calloc(1, sizeof(*work));

	if (!work)
		return NULL;
	work->client = client;
	work->perform = perform;
	(void)snprintf(work->url, sizeof(work->url), "%s", url);
	return work;
}

/*
 * Wait for a piece of work, or for the deadline: then its thread keeps it.
 * Errors: a code; the work is the caller's where *done is true.
 */
static int client_await_work(struct upnp_client *client, struct work *work,
			     int64_t deadline_ms, bool *done)
{
	*done = false;
	while (!*done) {
		struct note *note = NULL;
		int result = client_read_note(client, deadline_ms, &note);

		if (result != 0)
			return result;
		*done = note->kind == NOTE_WORK && note->work == work;
		/* The end of work that was given up. */
		if (note->kind == NOTE_WORK && !*done)
			work_free(note->work);
		free(note);
	}
	return work->result;
}

/* Have a thread do it, which sends a note at its end. Takes work, and NULL for no
 * memory. */
static int work_begin(struct work *work)
{
	pthread_t thread;

	if (!work)
		return UPNP_CLIENT_NO_MEMORY;
	if (pthread_create(&thread, NULL, work_run, work) != 0) {
		work_free(work);
		return UPNP_CLIENT_NO_MEMORY;
	}
	(void)pthread_detach(thread);
	return 0;
}

/* Begin it and wait. Takes work as work_begin() does; the response moves out. */
static int client_do(struct upnp_client *client, struct work *work, int64_t deadline_ms,
		     struct work *out)
{
	bool done = false;
	int result = work_begin(work);

	if (result != 0)
		return result;
	result = client_await_work(client, work, deadline_ms, &done);
	if (!done)
		return result;
	if (out) {
		*out = *work;
		work->response = NULL;
	}
	work_free(work);
	return result;
}

static void work_search(struct work *work)
{
	work->result = UpnpSearchAsync(work->client->handle, SEARCH_MX_S, work->url,
				       work->client);
}

int upnp_client_search(struct upnp_client *client, const char *target)
{
	/* libupnp pauses after each datagram that it sends. */
	return work_begin(work_new(client, target, work_search));
}

int upnp_client_listen(struct upnp_client *client, int64_t deadline_ms,
		       struct upnp_found *out)
{
	for (;;) {
		struct note *note = NULL;
		int result = client_read_note(client, deadline_ms, &note);
		bool found;

		if (result != 0)
			return result;
		found = note->kind == NOTE_FOUND;
		if (found)
			*out = note->found;
		/* A search has been sent, or could not be. */
		if (note->kind == NOTE_WORK) {
			result = note->work->result;
			work_free(note->work);
		}
		free(note);
		if (found || result != 0)
			return result;
	}
}

/* The text of the first child of that name; empty where there is none. */
static void node_read_child(IXML_Node *node, const char *name, char *out, size_t size)
{
	out[0] = '\0';
	for (IXML_Node *child = ixmlNode_getFirstChild(node); child;
	     child = ixmlNode_getNextSibling(child)) {
		IXML_Node *text = ixmlNode_getFirstChild(child);
		const char *found = ixmlNode_getNodeName(child);
		const char *value = text ? ixmlNode_getNodeValue(text) : NULL;

		if (!found || strcmp(found, name) != 0)
			continue;
		if (value)
			(void)snprintf(out, size, "%s", value);
		return;
	}
}

/* The text of the first element of that name, wherever it is. */
static void document_read_first(IXML_Document *document, const char *name, char *out,
				size_t size)
{
	IXML_NodeList *list = ixmlDocument_getElementsByTagName(document, name);
	IXML_Node *node = ixmlNodeList_item(list, 0);
	IXML_Node *text = node ? ixmlNode_getFirstChild(node) : NULL;
	const char *value = text ? ixmlNode_getNodeValue(text) : NULL;

	(void)snprintf(out, size, "%s", value ? value : "");
	ixmlNodeList_free(list);
}

/* Make a URL absolute. Errors: a code: it leads to another host. */
static int url_resolve(const char *base, const char *relative,
		       const struct ip_addr *host, char out[UPNP_URL_SIZE])
{
	char *absolute = NULL;
	struct ip_addr found;
	int result;

	if (relative[0] == '\0')
		return UPNP_E_INVALID_URL;
	result = UpnpResolveURL2(base, relative, &absolute);
	if (result != UPNP_E_SUCCESS)
		return result;
	if (strlen(absolute) >= UPNP_URL_SIZE)
		result = UPNP_E_URL_TOO_BIG;
	else if (!words_parse_host(absolute, &found) || !addr_equal(&found, host))
		result = UPNP_CLIENT_ELSEWHERE;
	else
		(void)snprintf(out, UPNP_URL_SIZE, "%s", absolute);
	free(absolute);
	return result;
}

static bool type_is_connection(const char *type)
{
	static const char ip[] = "urn:schemas-upnp-org:service:WANIPConnection:";
	static const char ppp[] = "urn:schemas-upnp-org:service:WANPPPConnection:";

	return strncmp(type, ip, strlen(ip)) == 0 ||
	       strncmp(type, ppp, strlen(ppp)) == 0;
}

static int description_read_service(IXML_Node *service, const char *base,
				    const struct ip_addr *host,
				    struct upnp_description *out)
{
	char url[UPNP_URL_SIZE];
	int result;

	node_read_child(service, "controlURL", url, sizeof(url));
	result = url_resolve(base, url, host, out->control_url);
	if (result != 0)
		return result;
	node_read_child(service, "eventSubURL", url, sizeof(url));
	if (url[0] == '\0')
		return 0;
	return url_resolve(base, url, host, out->event_url);
}

static int description_read(IXML_Document *document, const struct upnp_found *found,
			    struct upnp_description *out)
{
	IXML_NodeList *services =
		ixmlDocument_getElementsByTagName(document, "service");
	char base[UPNP_URL_SIZE];
	int result = UPNP_CLIENT_NO_SERVICE;

	document_read_first(document, "deviceType", out->device_type,
			    sizeof(out->device_type));
	document_read_first(document, "friendlyName", out->name, sizeof(out->name));
	document_read_first(document, "URLBase", base, sizeof(base));
	for (unsigned long i = 0; i < ixmlNodeList_length(services); i++) {
		IXML_Node *service = ixmlNodeList_item(services, i);

		node_read_child(service, "serviceType", out->service_type,
				sizeof(out->service_type));
		if (!type_is_connection(out->service_type))
			continue;
		result = description_read_service(
			service, base[0] != '\0' ? base : found->location, &found->host,
			out);
		break;
	}
	if (result == UPNP_CLIENT_NO_SERVICE)
		out->service_type[0] = '\0';
	ixmlNodeList_free(services);
	return result;
}

static void work_fetch(struct work *work)
{
	work->result = UpnpDownloadXmlDoc(work->url, &work->response);
}

int upnp_client_describe(struct upnp_client *client, const struct upnp_found *found,
			 int64_t deadline_ms, struct upnp_description *out)
{
	struct work done = {.response = NULL};
	int result = client_do(client, work_new(client, found->location, work_fetch),
			       deadline_ms, &done);

	*out = (struct upnp_description){.device_type = ""};
	if (result == 0 && !done.response)
		result = UPNP_E_INVALID_DESC;
	if (result == 0)
		result = description_read(done.response, found, out);
	if (done.response)
		ixmlDocument_free(done.response);
	return result;
}

static void work_act(struct work *work)
{
	work->result = UpnpSendAction(work->client->handle, work->url, work->type, NULL,
				      work->request, &work->response);
}

/* The document of a call; NULL for no memory. */
static IXML_Document *call_make(const struct upnp_call *call, const char *type)
{
	IXML_Document *document = NULL;

	if (!call->in)
		return UpnpMakeAction(call->action, type, 0, NULL, NULL);
	for (const struct upnp_pair *pair = call->in; pair->name; pair++) {
		if (UpnpAddToAction(&document, call->action, type, pair->name,
				    pair->value) != UPNP_E_SUCCESS)
			break;
	}
	return document;
}

int upnp_client_call(struct upnp_client *client, const struct upnp_description *service,
		     const struct upnp_call *call, int64_t deadline_ms)
{
	struct work *work = work_new(client, service->control_url, work_act);
	struct work done = {.response = NULL};
	int result;

	if (!work)
		return UPNP_CLIENT_NO_MEMORY;
	(void)snprintf(work->type, sizeof(work->type), "%s", service->service_type);
	work->request = call_make(call, work->type);
	if (!work->request) {
		work_free(work);
		return UPNP_CLIENT_NO_MEMORY;
	}
	result = client_do(client, work, deadline_ms, &done);
	for (size_t i = 0; result == 0 && call->out && call->out[i]; i++)
		document_read_first(done.response, call->out[i], call->values[i],
				    UPNP_VALUE_SIZE);
	if (done.response)
		ixmlDocument_free(done.response);
	return result;
}

static void work_subscribe(struct work *work)
{
	int timeout_s = SUBSCRIPTION_S;

	work->result =
		UpnpSubscribe(work->client->handle, work->url, &timeout_s, work->sid);
}

int upnp_client_subscribe(struct upnp_client *client, const char *url,
			  int64_t deadline_ms)
{
	struct work done = {.response = NULL};
	int result = client_do(client, work_new(client, url, work_subscribe),
			       deadline_ms, &done);

	if (result == 0)
		memcpy(client->sid, done.sid, sizeof(client->sid));
	return result;
}

int upnp_client_await_event(struct upnp_client *client, int64_t deadline_ms,
			    char names[UPNP_NAMES_SIZE])
{
	while (!client->has_event) {
		struct note *note = NULL;
		int result = client_read_note(client, deadline_ms, &note);

		if (result != 0)
			return result;
		if (note->kind == NOTE_WORK)
			work_free(note->work);
		free(note);
	}
	memcpy(names, client->names, UPNP_NAMES_SIZE);
	return 0;
}

static void work_unsubscribe(struct work *work)
{
	work->result = UpnpUnSubscribe(work->client->handle, work->sid);
}

void upnp_client_unsubscribe(struct upnp_client *client, int64_t deadline_ms)
{
	struct work *work = work_new(client, "", work_unsubscribe);

	if (work)
		memcpy(work->sid, client->sid, sizeof(work->sid));
	(void)client_do(client, work, deadline_ms, NULL);
}
