/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A control point of libupnp that listens: event_listener INTERFACE URL
 *
 * It subscribes to that event URL and prints each event as it comes, until SIGTERM;
 * then it ends the subscription and says so. It knows nothing of the daemon.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <upnp/ixml.h>
#include <upnp/upnp.h>
#include <upnp/upnptools.h>

#define TIMEOUT_S 1800

/* Every element of a property set that holds text is a variable. */
static void print_variables(IXML_Node *node)
{
	for (; node; node = ixmlNode_getNextSibling(node)) {
		IXML_Node *child = ixmlNode_getFirstChild(node);
		const char *name = ixmlNode_getNodeName(node);

		if (child && ixmlNode_getNodeType(child) == eELEMENT_NODE)
			print_variables(child);
		else if (ixmlNode_getNodeType(node) == eELEMENT_NODE)
			printf(" %s=%s", name,
			       child ? ixmlNode_getNodeValue(child) : "");
	}
}

static int take_event(Upnp_EventType type, const void *event, void *cookie)
{
	(void)cookie;
	if (type != UPNP_EVENT_RECEIVED)
		return 0;
	printf("event %d", UpnpEvent_get_EventKey(event));
	print_variables(&UpnpEvent_get_ChangedVariables(event)->n);
	printf("\n");
	fflush(stdout);
	return 0;
}

static int listen_to(const char *url)
{
	UpnpClient_Handle client;
	Upnp_SID sid;
	int timeout_s = TIMEOUT_S;
	int error = UpnpRegisterClient(take_event, NULL, &client);
	sigset_t set;
	int signal_number;

	if (error == UPNP_E_SUCCESS)
		error = UpnpSubscribe(client, url, &timeout_s, sid);
	if (error != UPNP_E_SUCCESS)
		return error;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigwait(&set, &signal_number);
	error = UpnpUnSubscribe(client, sid);
	if (error == UPNP_E_SUCCESS)
		printf("unsubscribed\n");
	fflush(stdout);
	return error;
}

int main(int argc, char **argv)
{
	sigset_t set;
	int error;

	if (argc != 3) {
		fprintf(stderr, "usage: %s INTERFACE URL\n", argv[0]);
		return 2;
	}
	/* before libupnp makes its threads, so that none of them gets it */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	error = UpnpInit2(argv[1], 0);
	if (error == UPNP_E_SUCCESS)
		error = listen_to(argv[2]);
	if (error != UPNP_E_SUCCESS)
		fprintf(stderr, "libupnp: %s\n", UpnpGetErrorMessage(error));
	UpnpFinish();
	return error == UPNP_E_SUCCESS ? 0 : 1;
}
