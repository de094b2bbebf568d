/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/varlink.h"

#include <errno.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/control.h"

/* ---- framing ---- */

static void expect_next(struct varlink_buffer *buffer, const char *wanted)
{
	const char *text = NULL;
	size_t length = 0;

	assert_int_equal(varlink_buffer_next(buffer, &text, &length), 1);
	assert_int_equal(length, strlen(wanted));
	assert_string_equal(text, wanted);
}

static void expect_none(struct varlink_buffer *buffer)
{
	const char *text;
	size_t length;

	assert_int_equal(varlink_buffer_next(buffer, &text, &length), 0);
}

static void messages_come_out_whole(void **state)
{
	struct varlink_buffer buffer;

	(void)state;
	varlink_buffer_init(&buffer, VARLINK_CALL_MAX);
	expect_none(&buffer);
	assert_int_equal(varlink_buffer_append(&buffer, "{\"a", 3), 0);
	expect_none(&buffer);
	assert_int_equal(varlink_buffer_append(&buffer, "\":1}", 5), 0);
	expect_next(&buffer, "{\"a\":1}");
	expect_none(&buffer);
	assert_int_equal(varlink_buffer_append(&buffer, "one\0two\0\0thr", 12), 0);
	expect_next(&buffer, "one");
	expect_next(&buffer, "two");
	expect_next(&buffer, "");
	expect_none(&buffer);
	assert_int_equal(varlink_buffer_append(&buffer, "ee", 3), 0);
	expect_next(&buffer, "three");
	expect_none(&buffer);
	varlink_buffer_fini(&buffer);
}

static void every_split_gives_the_same_messages(void **state)
{
	static const char stream[] = "{\"method\":\"x\"}\0{}\0{\"more\":true}";

	(void)state;
	for (size_t split = 0; split <= sizeof(stream); split++) {
		struct varlink_buffer buffer;
		const char *text;
		size_t length, octets = 0;

		varlink_buffer_init(&buffer, 64);
		assert_int_equal(varlink_buffer_append(&buffer, stream, split), 0);
		while (varlink_buffer_next(&buffer, &text, &length) == 1)
			octets += length + 1;
		assert_int_equal(varlink_buffer_append(&buffer, stream + split,
						       sizeof(stream) - split),
				 0);
		while (varlink_buffer_next(&buffer, &text, &length) == 1)
			octets += length + 1;
		assert_int_equal(octets, sizeof(stream));
		varlink_buffer_fini(&buffer);
	}
}

static void long_message_is_refused(void **state)
{
	struct varlink_buffer buffer;
	const char *text;
	size_t length;

	(void)state;
	varlink_buffer_init(&buffer, 8);
	assert_int_equal(varlink_buffer_append(&buffer, "12345678", 9), 0);
	expect_next(&buffer, "12345678");
	assert_int_equal(varlink_buffer_append(&buffer, "123456789", 10), 0);
	assert_int_equal(varlink_buffer_next(&buffer, &text, &length), -EMSGSIZE);
	varlink_buffer_fini(&buffer);

	varlink_buffer_init(&buffer, 8); /* and long before its end is seen */
	assert_int_equal(varlink_buffer_append(&buffer, "12345678", 8), 0);
	expect_none(&buffer);
	assert_int_equal(varlink_buffer_append(&buffer, "9", 1), 0);
	assert_int_equal(varlink_buffer_next(&buffer, &text, &length), -EMSGSIZE);
	varlink_buffer_fini(&buffer);
}

static void memory_is_bounded(void **state)
{
	static char chunk[VARLINK_CHUNK_MAX + 1];
	struct varlink_buffer buffer;

	(void)state;
	memset(chunk, 'x', sizeof(chunk));
	varlink_buffer_init(&buffer, 16);
	assert_int_equal(varlink_buffer_append(&buffer, chunk, sizeof(chunk)),
			 -EMSGSIZE);
	assert_int_equal(varlink_buffer_append(&buffer, chunk, VARLINK_CHUNK_MAX), 0);
	assert_int_equal(varlink_buffer_append(&buffer, chunk, 16), 0);
	assert_int_equal(varlink_buffer_append(&buffer, chunk, 1), -EMSGSIZE);
	varlink_buffer_fini(&buffer);
}

/* ---- messages ---- */

static int parse_call(const char *text, struct varlink_call *call)
{
	return varlink_call_parse(text, strlen(text), call);
}

static void calls_are_read(void **state)
{
	struct varlink_call call;

	(void)state;
	assert_int_equal(parse_call("{\"method\":\"org.portreeve.List\","
				    "\"parameters\":{\"id\":3},\"more\":true}",
				    &call),
			 0);
	assert_string_equal(call.method, "org.portreeve.List");
	assert_true(call.more);
	assert_false(call.oneway);
	assert_int_equal(json_object_object_length(call.parameters), 1);
	varlink_call_fini(&call);

	assert_int_equal(parse_call("{\"method\":\"m\",\"parameters\":null,"
				    "\"oneway\":true}",
				    &call),
			 0);
	assert_null(call.parameters);
	assert_true(call.oneway);
	varlink_call_fini(&call);
}

static void bad_calls_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"null",
		"3",
		"\"method\"",
		"[]",
		"{}",
		"{",
		"{\"method\":3}",
		"{\"method\":null}",
		"{\"method\":\"m\",\"parameters\":[]}",
		"{\"method\":\"m\",\"more\":1}",
		"{\"method\":\"m\",\"upgrade\":true}",
		"{\"method\":\"m\",\"color\":\"red\"}",
		"{\"method\":\"a\\u0000b\"}",
		"{\"method\":\"m\"} x",
		"{\"method\":\"m\"}{}",
		"{\"method\":\"m\",}",
		"{'method':'m'}",
		"{\"method\":\"\xff\"}",
		"/**/{\"method\":\"m\"}",
	};
	struct varlink_call call;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse_call(bad[i], &call) != -EBADMSG)
			fail_msg("accepted: %s", bad[i]);
	}
	assert_int_equal(varlink_call_parse("{\"method\":\"m\"}\0{}", 17, &call),
			 -EBADMSG);
}

static int parse_nested(int depth)
{
	static const char opening[] = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";
	static const char closing[] = "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]";
	struct varlink_call call;
	char text[512];
	int error;

	assert_in_range(depth, 2, 2 + sizeof(opening) - 1);
	(void)snprintf(text, sizeof(text),
		       "{\"method\":\"m\",\"parameters\":{\"a\":%.*s%.*s}}", depth - 2,
		       opening, depth - 2, closing);
	error = parse_call(text, &call);
	if (error == 0)
		varlink_call_fini(&call);
	return error;
}

static void deep_messages_are_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_nested(VARLINK_DEPTH_MAX / 2), 0);
	assert_int_equal(parse_nested(VARLINK_DEPTH_MAX + 1), -EBADMSG);
	assert_int_equal(parse_nested(30), -EBADMSG);
}

static void replies_are_read(void **state)
{
	static const char text[] =
		"{\"parameters\":{\"a\":1},\"continues\":true,\"new\":1}";
	struct varlink_reply reply;

	(void)state;
	assert_int_equal(varlink_reply_parse(text, strlen(text), &reply), 0);
	assert_null(reply.error);
	assert_true(reply.continues);
	varlink_reply_fini(&reply);
	assert_int_equal(varlink_reply_parse("{\"error\":\"e\"}", 13, &reply), 0);
	assert_string_equal(reply.error, "e");
	assert_false(reply.continues);
	varlink_reply_fini(&reply);
	assert_int_equal(varlink_reply_parse("{\"error\":1}", 11, &reply), -EBADMSG);
	assert_int_equal(varlink_reply_parse("{\"continues\":1}", 15, &reply),
			 -EBADMSG);
}

static void expect_text(struct json_object *message, const char *wanted)
{
	size_t length = 0;
	const char *text = varlink_serialize(message, &length);

	assert_non_null(text);
	assert_string_equal(text, wanted);
	assert_int_equal(length, strlen(wanted) + 1);
	json_object_put(message);
}

static void messages_are_written(void **state)
{
	struct json_object *parameters = json_object_new_object();
	size_t length;

	(void)state;
	assert_true(varlink_add_int(parameters, "id", 7));
	assert_true(varlink_add_string(parameters, "remote", NULL));
	assert_true(varlink_add_string(parameters, "lan", "lan/0\n"));
	assert_true(varlink_add_bool(parameters, "enabled", true));
	expect_text(varlink_call_new("a.B", parameters, true),
		    "{\"method\":\"a.B\",\"parameters\":{\"id\":7,\"remote\":null,"
		    "\"lan\":\"lan/0\\n\",\"enabled\":true},\"more\":true}");
	expect_text(varlink_call_new("a.B", NULL, false),
		    "{\"method\":\"a.B\",\"parameters\":{}}");
	expect_text(varlink_reply_new(NULL, true),
		    "{\"parameters\":{},\"continues\":true}");
	expect_text(varlink_reply_new(NULL, false), "{\"parameters\":{}}");
	expect_text(varlink_error_new_parameter("id"),
		    "{\"error\":\"org.varlink.service.InvalidParameter\","
		    "\"parameters\":{\"parameter\":\"id\"}}");
	assert_null(varlink_serialize(NULL, &length));
}

/* ---- members ---- */

static void members_are_checked(void **state)
{
	struct json_object *object =
		json_tokener_parse("{\"s\":\"text\",\"i\":65535,\"b\":true,\"n\":null,"
				   "\"o\":{},\"a\":[1]}");
	struct varlink_members members = varlink_members_init(object);

	(void)state;
	assert_string_equal(varlink_get_string(&members, "s"), "text");
	assert_int_equal(varlink_get_int(&members, "i", 1, 65535), 65535);
	assert_true(varlink_get_bool(&members, "b"));
	assert_null(varlink_get_string_or(&members, "n", NULL));
	assert_int_equal(varlink_get_int_or(&members, "missing", 0, 9, 5), 5);
	assert_true(varlink_get_bool_or(&members, "absent", true));
	assert_string_equal(varlink_get_string_or(&members, "none", "x"), "x");
	assert_non_null(varlink_get_object(&members, "o"));
	assert_string_equal(varlink_members_finish(&members), "a");
	assert_null(members.failed);
	assert_int_equal(json_object_array_length(varlink_get_array(&members, "a")), 1);
	assert_null(varlink_members_finish(&members));
	json_object_put(object);
}

/** One reader call on one member that must fail. */
static void expect_failed(const char *text, void (*read)(struct varlink_members *))
{
	struct json_object *object = json_tokener_parse(text);
	struct varlink_members members = varlink_members_init(object);

	read(&members);
	if (members.failed == NULL || strcmp(members.failed, "m") != 0)
		fail_msg("accepted: %s", text);
	assert_string_equal(varlink_members_finish(&members), "m");
	json_object_put(object);
}

static void read_string(struct varlink_members *members)
{
	assert_string_equal(varlink_get_string(members, "m"), "");
}

static void read_string_or(struct varlink_members *members)
{
	assert_string_equal(varlink_get_string_or(members, "m", "f"), "f");
}

static void read_port(struct varlink_members *members)
{
	assert_int_equal(varlink_get_int(members, "m", 1, 65535), 0);
}

static void read_port_or(struct varlink_members *members)
{
	assert_int_equal(varlink_get_int_or(members, "m", 1, 65535, 7), 7);
}

static void read_bool(struct varlink_members *members)
{
	assert_false(varlink_get_bool(members, "m"));
}

static void read_bool_or(struct varlink_members *members)
{
	assert_true(varlink_get_bool_or(members, "m", true));
}

static void read_array(struct varlink_members *members)
{
	assert_null(varlink_get_array(members, "m"));
}

static void wrong_members_are_named(void **state)
{
	(void)state;
	expect_failed("{}", read_string);
	expect_failed("{\"m\":null}", read_string);
	expect_failed("{\"m\":3}", read_string);
	expect_failed("{\"m\":\"a\\u0000b\"}", read_string);
	expect_failed("{\"m\":[]}", read_string_or);
	expect_failed("{}", read_port);
	expect_failed("{\"m\":\"80\"}", read_port);
	expect_failed("{\"m\":0}", read_port);
	expect_failed("{\"m\":65536}", read_port);
	expect_failed("{\"m\":-1}", read_port);
	expect_failed("{\"m\":80.0}", read_port);
	expect_failed("{\"m\":18446744073709551615}", read_port);
	expect_failed("{\"m\":true}", read_port_or);
	expect_failed("{\"m\":65616}", read_port_or);
	expect_failed("{}", read_bool);
	expect_failed("{\"m\":1}", read_bool);
	expect_failed("{\"m\":\"false\"}", read_bool_or);
	expect_failed("{\"m\":{}}", read_array);
}

static void first_wrong_member_stays(void **state)
{
	struct json_object *object = json_tokener_parse("{\"a\":1,\"m\":2}");
	struct varlink_members members = varlink_members_init(object);

	(void)state;
	(void)varlink_get_string(&members, "a");
	(void)varlink_get_string(&members, "m");
	assert_string_equal(members.failed, "a");
	json_object_put(object);
}

static void no_object_is_an_empty_one(void **state)
{
	struct varlink_members members = varlink_members_init(NULL);
	struct json_object *array = json_tokener_parse("[1]");

	(void)state;
	assert_int_equal(varlink_get_int_or(&members, "i", 0, 9, 4), 4);
	assert_null(varlink_members_finish(&members));
	assert_string_equal(varlink_get_string(&members, "s"), "");
	assert_string_equal(varlink_members_finish(&members), "s");
	members = varlink_members_init(array);
	assert_null(varlink_members_finish(&members));
	json_object_put(array);
}

/** The definition that clients get declares what the code names. */
static void definition_has_every_name(void **state)
{
	static const char *const names[] = {
		"interface org.portreeve\n",
		"method Status(",
		"method List(",
		"method Show(",
		"method Watch(",
		"method Add(",
		"method Delete(",
		"error NotFound ",
		"error PermissionDenied ",
		"error Refused ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_non_null(strstr(control_get_description(), names[i]));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_come_out_whole),
		cmocka_unit_test(every_split_gives_the_same_messages),
		cmocka_unit_test(long_message_is_refused),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(calls_are_read),
		cmocka_unit_test(bad_calls_are_refused),
		cmocka_unit_test(deep_messages_are_refused),
		cmocka_unit_test(replies_are_read),
		cmocka_unit_test(messages_are_written),
		cmocka_unit_test(members_are_checked),
		cmocka_unit_test(wrong_members_are_named),
		cmocka_unit_test(first_wrong_member_stays),
		cmocka_unit_test(no_object_is_an_empty_one),
		cmocka_unit_test(definition_has_every_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
