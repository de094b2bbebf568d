/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_VARLINK_H
#define BASE_VARLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/*
 * The messages of the control socket: JSON objects, each followed by a NUL, as varlink
 * frames them. Both ends use this file; neither trusts the other. Nothing here reads a
 * descriptor or a clock.
 *
 * The daemon:                             The admin tool:
 *   varlink_buffer_append(bytes read)       varlink_call_new(method, parameters, more)
 *   while (varlink_buffer_next() > 0)       varlink_serialize(), write
 *     varlink_call_parse()                  varlink_buffer_append(),
 * varlink_buffer_next() varlink_members_init(parameters)      varlink_reply_parse()
 *     varlink_get_...()                     varlink_members_init(parameters)
 *     varlink_members_finish()              varlink_get_...(), look at .failed
 *     varlink_reply_new(), varlink_serialize(), write
 */

/** Longest call that the daemon reads, octets without the NUL. */
#define VARLINK_CALL_MAX ((size_t)16 * 1024)
/** Longest reply that the admin tool reads: List sends many replies, each below this.
 */
#define VARLINK_REPLY_MAX ((size_t)1024 * 1024)
/** Most bytes given to one varlink_buffer_append(). */
#define VARLINK_CHUNK_MAX ((size_t)64 * 1024)
/** Objects and arrays inside each other; ours need five. */
#define VARLINK_DEPTH_MAX 16
/** Members that one object may be asked for. */
#define VARLINK_MEMBERS_MAX 32

/* Errors that every varlink service knows. */
#define VARLINK_ERROR_INVALID_PARAMETER "org.varlink.service.InvalidParameter"
#define VARLINK_ERROR_METHOD_NOT_FOUND "org.varlink.service.MethodNotFound"
#define VARLINK_ERROR_INTERFACE_NOT_FOUND "org.varlink.service.InterfaceNotFound"
#define VARLINK_ERROR_EXPECTED_MORE "org.varlink.service.ExpectedMore"

/** Bytes of a stream on their way to become messages. */
struct varlink_buffer {
	char *bytes;
	size_t start;	/* of the first message not handed out */
	size_t scanned; /* no NUL between start and here */
	size_t used;
	size_t size;
	size_t limit;
};

/** limit: the longest message, VARLINK_CALL_MAX or VARLINK_REPLY_MAX. Allocates
 * nothing. */
void varlink_buffer_init(struct varlink_buffer *buffer, size_t limit);
void varlink_buffer_fini(struct varlink_buffer *buffer);
/**
 * Add what was read. Take every message out with varlink_buffer_next() before the next
 * append, so that memory stays below limit + VARLINK_CHUNK_MAX.
 * Errors: -EMSGSIZE when more than that would wait; -ENOMEM. The buffer is unchanged.
 */
int varlink_buffer_append(struct varlink_buffer *buffer, const void *bytes,
			  size_t length) __attribute__((warn_unused_result));
/**
 * The next complete message, without its NUL: 1 and *text, *length; 0 when there is
 * none yet. Owns: *text is borrowed until the next append; it ends in a NUL. Errors:
 * -EMSGSIZE when the message is longer than the limit: end the connection.
 */
int varlink_buffer_next(struct varlink_buffer *buffer, const char **text,
			size_t *length) __attribute__((warn_unused_result));

/** A call, read. Strings and objects are borrowed from `object`. */
struct varlink_call {
	struct json_object *object;
	const char *method;		/* "org.portreeve.List" */
	struct json_object *parameters; /* NULL = none: an empty object */
	bool more;			/* the caller takes several replies */
	bool oneway;			/* the caller takes no reply at all */
};

/**
 * Read a call. Owns: *out holds the message; varlink_call_fini() frees it.
 * Errors: -EBADMSG when it is no JSON object, not UTF-8, too deep, or no call (`method`
 * missing, a member of wrong type, an unknown member, "upgrade"): end the connection.
 */
int varlink_call_parse(const char *text, size_t length, struct varlink_call *out)
	__attribute__((warn_unused_result));
void varlink_call_fini(struct varlink_call *call);

/** A reply, read. Strings and objects are borrowed from `object`. */
struct varlink_reply {
	struct json_object *object;
	const char *error;		/* NULL = success */
	struct json_object *parameters; /* NULL = none: an empty object */
	bool continues;			/* more replies to the same call follow */
};

/** Read a reply; unknown members are passed over. Owns, Errors: as
 * varlink_call_parse(). */
int varlink_reply_parse(const char *text, size_t length, struct varlink_reply *out)
	__attribute__((warn_unused_result));
void varlink_reply_fini(struct varlink_reply *reply);

/*
 * Messages to send. Owns: they take `parameters` (may be NULL), even when they fail;
 * the caller frees the answer with json_object_put(). Errors: NULL = out of memory.
 */
struct json_object *varlink_call_new(const char *method, struct json_object *parameters,
				     bool more);
struct json_object *varlink_reply_new(struct json_object *parameters, bool continues);
struct json_object *varlink_error_new(const char *name, struct json_object *parameters);
/** org.varlink.service.InvalidParameter (parameter: name). */
struct json_object *varlink_error_new_parameter(const char *name);

/**
 * A message as bytes to write. Units: *length counts the NUL, which is part of the
 * framing. Owns: borrowed from message. Errors: NULL = out of memory, or message is
 * NULL.
 */
const char *varlink_serialize(struct json_object *message, size_t *length);

/*
 * Put one member into an object. text NULL becomes null. Owns: varlink_add() takes
 * value, even when it fails. Errors: false = out of memory; chain them with &&. Text
 * must be UTF-8 (text_copy_clean()).
 */
bool varlink_add(struct json_object *object, const char *name,
		 struct json_object *value) __attribute__((warn_unused_result));
bool varlink_add_string(struct json_object *object, const char *name, const char *text)
	__attribute__((warn_unused_result));
bool varlink_add_int(struct json_object *object, const char *name, int64_t value)
	__attribute__((warn_unused_result));
bool varlink_add_bool(struct json_object *object, const char *name, bool value)
	__attribute__((warn_unused_result));
bool varlink_add_null(struct json_object *object, const char *name)
	__attribute__((warn_unused_result));

/**
 * Cursor over the members of an object that came from outside, in the manner of struct
 * reader: a member that is missing, or has the wrong type or range, yields its fallback
 * or an empty value and sets `failed` to its name (the first one stays). So a method
 * reads all its parameters first and asks once. Ask for each name once; names are
 * literals.
 */
struct varlink_members {
	struct json_object *object; /* borrowed; NULL is an empty object */
	const char *failed;
	size_t asked_count;
	const char *asked[VARLINK_MEMBERS_MAX];
};

/** NULL, or anything that is no object, is an empty object. */
struct varlink_members varlink_members_init(struct json_object *object);
/**
 * The strict end, for the daemon: the name of the first bad member, or of one that
 * nobody asked for; NULL when all is well. Answer varlink_error_new_parameter() with
 * it. Owns: borrowed from the object.
 */
const char *varlink_members_finish(const struct varlink_members *members);

/*
 * One member. Text with a NUL inside is an error. The `_or` forms take a missing member
 * or null for `fallback`; a wrong type is an error all the same. Owns: strings, objects
 * and arrays are borrowed from the object.
 */
const char *varlink_get_string(struct varlink_members *members, const char *name);
const char *varlink_get_string_or(struct varlink_members *members, const char *name,
				  const char *fallback);
int64_t varlink_get_int(struct varlink_members *members, const char *name, int64_t min,
			int64_t max);
int64_t varlink_get_int_or(struct varlink_members *members, const char *name,
			   int64_t min, int64_t max, int64_t fallback);
bool varlink_get_bool(struct varlink_members *members, const char *name);
bool varlink_get_bool_or(struct varlink_members *members, const char *name,
			 bool fallback);
/* NULL on error: look at `failed` first, json-c's array functions abort on NULL. */
struct json_object *varlink_get_object(struct varlink_members *members,
				       const char *name);
struct json_object *varlink_get_array(struct varlink_members *members,
				      const char *name);

#endif
