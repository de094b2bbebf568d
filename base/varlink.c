/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/varlink.h"

#include <assert.h>
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

void varlink_buffer_init(struct varlink_buffer *buffer, size_t limit)
{
	*buffer = (struct varlink_buffer){.limit = limit};
}

void varlink_buffer_fini(struct varlink_buffer *buffer)
{
	free(buffer->bytes);
	varlink_buffer_init(buffer, buffer->limit);
}

/** Room for `needed` octets in all; doubling, so that a long message costs no more. */
static int buffer_grow(struct varlink_buffer *buffer, size_t needed)
{
	size_t size = buffer->size == 0 ? 1024 : buffer->size;
	char *bytes;

	if (needed <= buffer->size)
		return 0;
	while (size < needed)
		size *= 2;
	bytes = realloc(buffer->bytes, size);
	if (bytes == NULL)
		return -ENOMEM;
	buffer->bytes = bytes;
	buffer->size = size;
	return 0;
}

int varlink_buffer_append(struct varlink_buffer *buffer, const void *bytes,
			  size_t length)
{
	size_t waiting = buffer->used - buffer->start;
	int error;

	if (length == 0)
		return 0;
	if (length > VARLINK_CHUNK_MAX ||
	    waiting > buffer->limit + VARLINK_CHUNK_MAX - length)
		return -EMSGSIZE;
	error = buffer_grow(buffer, waiting + length);
	if (error != 0)
		return error;
	if (buffer->start > 0) {
		memmove(buffer->bytes, buffer->bytes + buffer->start, waiting);
		buffer->scanned -= buffer->start;
		buffer->used = waiting;
		buffer->start = 0;
	}
	memcpy(buffer->bytes + buffer->used, bytes, length);
	buffer->used += length;
	return 0;
}

int varlink_buffer_next(struct varlink_buffer *buffer, const char **text,
			size_t *length)
{
	const char *end = NULL;
	size_t found;

	if (buffer->scanned < buffer->used)
		end = memchr(buffer->bytes + buffer->scanned, '\0',
			     buffer->used - buffer->scanned);
	found = end == NULL ? buffer->used : (size_t)(end - buffer->bytes);
	buffer->scanned = found;
	if (found - buffer->start > buffer->limit)
		return -EMSGSIZE;
	if (end == NULL)
		return 0;
	*text = buffer->bytes + buffer->start;
	*length = found - buffer->start;
	buffer->start = found + 1;
	buffer->scanned = buffer->start;
	return 1;
}

/** The whole text is one JSON object, or an error; json-c's lenient forms are off. */
static int message_parse(const char *text, size_t length, struct json_object **out)
{
	struct json_tokener *tokener;
	struct json_object *object;
	bool whole;

	if (length == 0 || length > INT_MAX)
		return -EBADMSG;
	tokener = json_tokener_new_ex(VARLINK_DEPTH_MAX);
	if (tokener == NULL)
		return -ENOMEM;
	json_tokener_set_flags(tokener,
			       JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	object = json_tokener_parse_ex(tokener, text, (int)length);
	whole = json_tokener_get_error(tokener) == json_tokener_success &&
		json_tokener_get_parse_end(tokener) == length;
	json_tokener_free(tokener);
	if (!whole || !json_object_is_type(object, json_type_object)) {
		json_object_put(object);
		return -EBADMSG;
	}
	*out = object;
	return 0;
}

/** Value of that type, or NULL: without blame where null or nothing is allowed. */
static struct json_object *members_take(struct varlink_members *members,
					const char *name, enum json_type type,
					bool optional)
{
	struct json_object *value = NULL;

	assert(members->asked_count < VARLINK_MEMBERS_MAX);
	members->asked[members->asked_count++] = name;
	if (json_object_object_get_ex(members->object, name, &value) && value != NULL) {
		if (json_object_is_type(value, type))
			return value;
	} else if (optional) {
		return NULL;
	}
	if (members->failed == NULL)
		members->failed = name;
	return NULL;
}

int varlink_call_parse(const char *text, size_t length, struct varlink_call *out)
{
	struct varlink_call call = {0};
	struct varlink_members members;
	int error = message_parse(text, length, &call.object);

	if (error != 0)
		return error;
	members = varlink_members_init(call.object);
	call.method = varlink_get_string(&members, "method");
	call.parameters = members_take(&members, "parameters", json_type_object, true);
	call.more = varlink_get_bool_or(&members, "more", false);
	call.oneway = varlink_get_bool_or(&members, "oneway", false);
	if (varlink_members_finish(&members) != NULL) {
		json_object_put(call.object);
		return -EBADMSG;
	}
	*out = call;
	return 0;
}

void varlink_call_fini(struct varlink_call *call)
{
	json_object_put(call->object);
	*call = (struct varlink_call){0};
}

int varlink_reply_parse(const char *text, size_t length, struct varlink_reply *out)
{
	struct varlink_reply reply = {0};
	struct varlink_members members;
	int error = message_parse(text, length, &reply.object);

	if (error != 0)
		return error;
	members = varlink_members_init(reply.object);
	reply.error = varlink_get_string_or(&members, "error", NULL);
	reply.parameters = members_take(&members, "parameters", json_type_object, true);
	reply.continues = varlink_get_bool_or(&members, "continues", false);
	if (members.failed != NULL) {
		json_object_put(reply.object);
		return -EBADMSG;
	}
	*out = reply;
	return 0;
}

void varlink_reply_fini(struct varlink_reply *reply)
{
	json_object_put(reply->object);
	*reply = (struct varlink_reply){0};
}

/** A message of one named string, its parameters, and a flag that is left out when
 * false. */
static struct json_object *message_new(const char *key, const char *value,
				       struct json_object *parameters, const char *flag)
{
	struct json_object *message = json_object_new_object();

	if (parameters == NULL)
		parameters = json_object_new_object();
	if (message == NULL || parameters == NULL) {
		json_object_put(parameters);
		goto fail;
	}
	if (key != NULL && !varlink_add_string(message, key, value)) {
		json_object_put(parameters);
		goto fail;
	}
	if (!varlink_add(message, "parameters", parameters) ||
	    (flag != NULL && !varlink_add_bool(message, flag, true)))
		goto fail;
	return message;
fail:
	json_object_put(message);
	return NULL;
}

struct json_object *varlink_call_new(const char *method, struct json_object *parameters,
				     bool more)
{
	return message_new("method", method, parameters, more ? "more" : NULL);
}

struct json_object *varlink_reply_new(struct json_object *parameters, bool continues)
{
	return message_new(NULL, NULL, parameters, continues ? "continues" : NULL);
}

struct json_object *varlink_error_new(const char *name, struct json_object *parameters)
{
	return message_new("error", name, parameters, NULL);
}

struct json_object *varlink_error_new_parameter(const char *name)
{
	struct json_object *parameters = json_object_new_object();

	if (parameters == NULL || !varlink_add_string(parameters, "parameter", name)) {
		json_object_put(parameters);
		return NULL;
	}
	return varlink_error_new(VARLINK_ERROR_INVALID_PARAMETER, parameters);
}

const char *varlink_serialize(struct json_object *message, size_t *length)
{
	const char *text;
	size_t text_length = 0;

	if (message == NULL)
		return NULL;
	text = json_object_to_json_string_length(
		message, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
		&text_length);
	if (text != NULL)
		*length = text_length + 1;
	return text;
}

bool varlink_add(struct json_object *object, const char *name,
		 struct json_object *value)
{
	if (json_object_object_add(object, name, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

/** The same for a value just made, for which NULL means out of memory and not null. */
static bool add_new(struct json_object *object, const char *name,
		    struct json_object *value)
{
	return value != NULL && varlink_add(object, name, value);
}

bool varlink_add_string(struct json_object *object, const char *name, const char *text)
{
	if (text == NULL)
		return varlink_add_null(object, name);
	return add_new(object, name, json_object_new_string(text));
}

bool varlink_add_int(struct json_object *object, const char *name, int64_t value)
{
	return add_new(object, name, json_object_new_int64(value));
}

bool varlink_add_bool(struct json_object *object, const char *name, bool value)
{
	return add_new(object, name, json_object_new_boolean(value));
}

bool varlink_add_null(struct json_object *object, const char *name)
{
	return json_object_object_add(object, name, NULL) == 0;
}

struct varlink_members varlink_members_init(struct json_object *object)
{
	/* An element of an array may be anything. */
	if (!json_object_is_type(object, json_type_object))
		object = NULL;
	return (struct varlink_members){.object = object};
}

static bool members_is_asked(const struct varlink_members *members, const char *name)
{
	for (size_t i = 0; i < members->asked_count; i++) {
		if (strcmp(members->asked[i], name) == 0)
			return true;
	}
	return false;
}

const char *varlink_members_finish(const struct varlink_members *members)
{
	struct json_object_iterator at, end;

	if (members->failed != NULL || members->object == NULL)
		return members->failed;
	at = json_object_iter_begin(members->object);
	end = json_object_iter_end(members->object);
	for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
		const char *name = json_object_iter_peek_name(&at);

		if (!members_is_asked(members, name))
			return name;
	}
	return NULL;
}

/** Text of a JSON string; a NUL inside would hide what follows it. */
static const char *string_get(struct varlink_members *members, const char *name,
			      struct json_object *value, const char *fallback)
{
	const char *text;

	if (value == NULL)
		return fallback;
	text = json_object_get_string(value);
	if (text != NULL && strlen(text) == (size_t)json_object_get_string_len(value))
		return text;
	if (members->failed == NULL)
		members->failed = name;
	return fallback;
}

const char *varlink_get_string(struct varlink_members *members, const char *name)
{
	return string_get(members, name,
			  members_take(members, name, json_type_string, false), "");
}

const char *varlink_get_string_or(struct varlink_members *members, const char *name,
				  const char *fallback)
{
	return string_get(members, name,
			  members_take(members, name, json_type_string, true),
			  fallback);
}

/** Number in its range; json-c pins what does not fit int64_t to the ends of it. */
static bool int_check(struct varlink_members *members, const char *name, int64_t value,
		      const int64_t range[2])
{
	if (value >= range[0] && value <= range[1])
		return true;
	if (members->failed == NULL)
		members->failed = name;
	return false;
}

int64_t varlink_get_int(struct varlink_members *members, const char *name, int64_t min,
			int64_t max)
{
	struct json_object *value = members_take(members, name, json_type_int, false);
	int64_t number = json_object_get_int64(value);

	if (value == NULL || !int_check(members, name, number, (int64_t[]){min, max}))
		return 0;
	return number;
}

int64_t varlink_get_int_or(struct varlink_members *members, const char *name,
			   int64_t min, int64_t max, int64_t fallback)
{
	struct json_object *value = members_take(members, name, json_type_int, true);
	int64_t number = json_object_get_int64(value);

	if (value == NULL || !int_check(members, name, number, (int64_t[]){min, max}))
		return fallback;
	return number;
}

bool varlink_get_bool(struct varlink_members *members, const char *name)
{
	return json_object_get_boolean(
		members_take(members, name, json_type_boolean, false));
}

bool varlink_get_bool_or(struct varlink_members *members, const char *name,
			 bool fallback)
{
	struct json_object *value =
		members_take(members, name, json_type_boolean, true);

	return value == NULL ? fallback : json_object_get_boolean(value);
}

struct json_object *varlink_get_object(struct varlink_members *members,
				       const char *name)
{
	return members_take(members, name, json_type_object, false);
}

struct json_object *varlink_get_array(struct varlink_members *members, const char *name)
{
	return members_take(members, name, json_type_array, false);
}
