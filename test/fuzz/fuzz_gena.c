/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SUBSCRIBE and UNSUBSCRIBE as hosts send them: requests one after another, of headers
 * one a line, an empty line after each. What is accepted is subscribed, told, renewed
 * and given up; nothing in it may reach the head of a NOTIFY but a path (GENA-11).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/gena.h"
#include "protocols/gena_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

/* GENA-11: as many URLs of the header name the client as were accepted, or more. */
static void check_hosts(const char *header, const struct ip_addr *client, size_t urls)
{
	size_t found = 0;

	check(strlen(header) <= GENA_CALLBACK_MAX);
	for (const char *at = header; (at = strstr(at, "//")); at += 2) {
		char text[ADDR_TEXT_SIZE];
		const char *host = at + 2 + (at[2] == '[');
		size_t length = strcspn(host, at[2] == '[' ? "]" : ":/>");
		struct ip_addr addr;

		if (length >= sizeof(text))
			continue;
		memcpy(text, host, length);
		text[length] = '\0';
		found += addr_parse(text, &addr) && addr_equal(&addr, client);
	}
	check(found >= urls);
}

/* Nine lines and the empty one, whatever was subscribed. */
static void check_head(const struct gena_subscription *sub, size_t url)
{
	char bytes[GENA_HEAD_SIZE];
	struct writer writer = writer_init(bytes, sizeof(bytes));
	const struct gena_head head = {
		.host = sub->subscriber.host,
		.port = sub->callback.urls[url].port,
		.path = gena_callback_get_path(&sub->callback, url),
		.sid = sub->sid,
	};
	size_t lines = 0;

	gena_write_head(&writer, &head);
	check(!writer.failed);
	for (size_t i = 0; i < writer.used; i++) {
		check(bytes[i] != '\0');
		lines += bytes[i] == '\n';
	}
	check(lines == 10);
	check(head.port >= GENA_PORT_MIN && head.path[0] == '/');
	check(strlen(head.path) <= GENA_PATH_MAX && !strpbrk(head.path, " \r\n<>"));
}

static void tell(struct gena_table *table, struct gena_subscription *sub)
{
	uint32_t seq;

	for (size_t i = 0; i < sub->callback.count; i++)
		check_head(sub, i);
	sub->answered = true;
	if (!gena_subscription_is_due(sub, 0))
		return;
	(void)gena_subscription_begin(sub, &seq);
	if (gena_subscription_end(sub, seq % 2 ? GENA_FAILED : GENA_DELIVERED))
		gena_table_remove(table, sub);
}

static void act(struct gena_table *table, const struct gena_call *call,
		const struct ip_addr *client)
{
	static uint8_t random[16];
	const struct gena_subscriber subscriber = {.host = *client};
	struct gena_subscription *sub;

	if (call->kind == GENA_SUBSCRIBE) {
		check(call->callback.count > 0 &&
		      call->callback.count <= GENA_URLS_MAX);
		sub = gena_table_add(table, call, &subscriber, random, 0);
		if (sub)
			tell(table, sub);
		return;
	}
	sub = gena_table_find(table, call->sid, &subscriber, 0);
	if (!sub)
		return;
	check(addr_equal(&sub->subscriber.host, client)); /* GENA-3 */
	if (call->kind == GENA_RENEW)
		gena_subscription_renew(sub, call->timeout_s, 0);
	else if (gena_subscription_leave(sub))
		gena_table_remove(table, sub);
}

/* Take the next line out of the text; NULL at its end. */
static char *next_line(char **text)
{
	char *line = strsep(text, "\n");

	if (line)
		line[strcspn(line, "\r")] = '\0';
	return line;
}

static void run_request(struct gena_table *table, char **text)
{
	static const char *const clients[] = {"192.168.1.20", "fe80::7"};
	struct http_headers headers = {.octets = 0};
	char *line = next_line(text);
	enum http_method method = http_parse_method(line);
	struct gena_call call;
	struct ip_addr client;

	check(addr_parse(clients[line[0] == 'S' && strchr(line, '6')], &client));
	if (line[0] == 'S')
		method = HTTP_SUBSCRIBE;
	while ((line = next_line(text)) && *line != '\0') {
		char *value = strchr(line, ':');

		if (!value)
			continue;
		*value++ = '\0';
		http_headers_add(&headers, line, value + strspn(value, " \t"));
	}
	if (gena_parse_call(method, &headers, &client, &call) != 0)
		return;
	check(call.timeout_s >= GENA_TIMEOUT_MIN_S &&
	      call.timeout_s <= GENA_TIMEOUT_MAX_S);
	if (call.kind == GENA_SUBSCRIBE)
		check_hosts(headers.callback, &client, call.callback.count);
	act(table, &call, &client);
	check(table->count <= 2 * GENA_SUBSCRIPTIONS_PER_HOST_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gena_table table;
	char *text = malloc(size + 1);
	char *rest = text;

	check(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	gena_table_init(&table);
	while (rest)
		run_request(&table, &rest);
	(void)gena_parse_status(text);
	gena_table_fini(&table);
	free(text);
	return 0;
}
