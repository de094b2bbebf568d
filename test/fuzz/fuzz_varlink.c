/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/varlink.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** What a method does with its parameters; names as in Add and in a lease. */
static void read_members(struct json_object *parameters)
{
	struct varlink_members members = varlink_members_init(parameters);
	struct json_object *leases;
	int64_t port;

	(void)varlink_get_string(&members, "protocol");
	(void)varlink_get_string_or(&members, "remote", NULL);
	port = varlink_get_int(&members, "external_port", 1, 65535);
	if (port < 0 || port > 65535)
		abort();
	(void)varlink_get_int_or(&members, "id", 0, INT64_MAX, 0);
	(void)varlink_get_bool(&members, "enabled");
	(void)varlink_get_object(&members, "lease");
	leases = varlink_get_array(&members, "leases");
	if (leases != NULL)
		(void)json_object_array_length(leases);
	(void)varlink_members_finish(&members);
}

/** What was read can be written, and read again. */
static void write_again(struct varlink_call *call)
{
	struct varlink_call again;
	struct json_object *message = varlink_call_new(
		call->method, json_object_get(call->parameters), call->more);
	size_t length = 0;
	const char *text = varlink_serialize(message, &length);

	if (text == NULL || varlink_call_parse(text, length - 1, &again) != 0)
		abort();
	if (strcmp(again.method, call->method) != 0 || again.more != call->more)
		abort();
	varlink_call_fini(&again);
	json_object_put(message);
}

static void read_message(const char *text, size_t length)
{
	struct varlink_call call;
	struct varlink_reply reply;

	if (varlink_call_parse(text, length, &call) == 0) {
		read_members(call.parameters);
		write_again(&call);
		varlink_call_fini(&call);
	}
	if (varlink_reply_parse(text, length, &reply) == 0) {
		read_members(reply.parameters);
		varlink_reply_fini(&reply);
	}
}

/* The first octet says in what pieces the rest arrives. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct varlink_buffer buffer;
	const char *text;
	size_t piece, length, left;

	if (size < 1)
		return 0;
	piece = (size_t)data[0] * 4 + 1;
	varlink_buffer_init(&buffer, 1024);
	for (data++, left = size - 1; left > 0; data += length, left -= length) {
		int found;

		length = left < piece ? left : piece;
		if (varlink_buffer_append(&buffer, data, length) != 0)
			break;
		for (;;) {
			size_t message_length = 0;

			found = varlink_buffer_next(&buffer, &text, &message_length);
			if (found <= 0)
				break;
			read_message(text, message_length);
		}
		if (found < 0)
			break;
	}
	varlink_buffer_fini(&buffer);
	return 0;
}
