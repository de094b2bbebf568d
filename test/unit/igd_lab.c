/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/igd_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct igd_lab lab;

struct igd_lab *igd_lab_get(void)
{
	return &lab;
}

struct ip_addr igd_lab_addr(const char *text)
{
	struct ip_addr out;

	assert_true(addr_parse(text, &out));
	return out;
}

int igd_lab_setup(void **state)
{
	(void)state;
	lab = (struct igd_lab){
		.wan = {.up_since_ms = 1000,
			.nat = 1,
			.carrier = 1,
			.bit_rate_down = 5,
			.flow_timeout_tcp_s = 432000,
			.flow_timeout_udp_s = 120},
		.lan = {.lan = 2, .ifindex = 7, .igd = 3},
	};
	lab.wan.external = igd_lab_addr("203.0.113.9");
	lab.client = igd_lab_addr(LAB_CLIENT);
	return 0;
}

const char *igd_lab_args(const struct igd_lab_arg *rows,
			 const struct igd_lab_arg *instead)
{
	static char text[8192];
	size_t used = 0;

	text[0] = '\0';
	for (; rows->name; rows++) {
		bool mine = instead && strcmp(rows->name, instead->name) == 0;
		const char *value = mine ? instead->value : rows->value;

		if (!value)
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "<%s>%s</%s>", rows->name, value, rows->name);
		assert_true(used < sizeof(text));
	}
	return text;
}

static struct igd_context make_context(const struct igd_service *service)
{
	return (struct igd_context){
		.wan = &lab.wan,
		.lan = &lab.lan,
		.table = &lab.table,
		.version = lab.version ? lab.version : service->version,
		.default_connection = LAB_DEFAULT_CONNECTION,
		.client = lab.client,
		.now_ms = 11500,
	};
}

void igd_lab_run(const struct igd_service *service, const char *name, const char *args,
		 struct igd_answer *answer)
{
	const struct igd_context context = make_context(service);
	const struct igd_action *action = igd_service_find_action(service, name);
	const struct soap_filter filter = igd_service_get_filter(service);
	static char body[16384];
	static struct soap_call call;

	assert_non_null(action);
	(void)snprintf(
		body, sizeof(body),
		"<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">"
		"<s:Body><u:%s xmlns:u=\"urn:x\">%s</u:%s></s:Body></s:Envelope>",
		name, args, name);
	assert_true(soap_parse_call_for(body, strlen(body), &filter, &call));
	igd_action_start(&context, service, action, &call, answer);
}

uint16_t igd_lab_error(const struct igd_service *service, const char *name,
		       const char *args)
{
	static struct igd_answer answer;

	igd_lab_run(service, name, args, &answer);
	return answer.state == IGD_FAULT ? answer.error : 0;
}

struct request igd_lab_request(const struct igd_service *service, const char *name,
			       const char *args)
{
	static struct igd_answer answer;

	igd_lab_run(service, name, args, &answer);
	assert_int_equal(answer.state, IGD_ASK);
	return answer.request;
}

void igd_lab_assert_rows(const struct igd_service *service, const char *name,
			 const struct igd_lab_arg *args, const struct igd_lab_row *rows,
			 size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct igd_lab_arg *arg = &rows[i].arg;
		uint16_t error = igd_lab_error(service, name, igd_lab_args(args, arg));

		if (error != rows[i].error)
			print_error("%s: %s = %s\n", name, arg->name,
				    arg->value ? arg->value : "(missing)");
		assert_int_equal(error, rows[i].error);
	}
}

void igd_lab_assert_leases(const struct igd_service *service, const char *name,
			   const struct igd_lab_arg *args)
{
	static const struct {
		const char *text;
		uint32_t lifetime_s;
	} rows[] = {
		{"0", 604800},		{"1", 1},
		{"604800", 604800},	{"604801", 604800},
		{"4294967295", 604800}, {" 7200\r\n", 7200},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct igd_lab_arg lease = {"NewLeaseDuration", rows[i].text};
		struct request request =
			igd_lab_request(service, name, igd_lab_args(args, &lease));

		assert_int_equal(request.lifetime_s, rows[i].lifetime_s);
	}
}

void igd_lab_query(const struct igd_service *service, const char *name,
		   const struct igd_action **action, struct igd_answer *answer)
{
	const struct igd_context context = make_context(service);

	igd_service_query(&context, service, name, action, answer);
}

uint16_t igd_lab_finish(const struct igd_service *service, const char *name,
			const struct reply *reply, struct igd_answer *answer)
{
	const struct igd_call call = {
		.service = service,
		.action = igd_service_find_action(service, name),
		.version = lab.version ? lab.version : service->version,
	};

	assert_non_null(call.action);
	igd_action_finish(&call, reply, answer);
	return answer->state == IGD_FAULT ? answer->error : 0;
}
