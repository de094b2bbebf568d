/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/plan_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

struct ip_addr lab_address(const char *text)
{
	struct ip_addr addr = {{0}};

	assert_true(addr_parse(text, &addr));
	return addr;
}

static bool is_used(void *user, uint8_t protocol, uint16_t port)
{
	struct plan_lab *lab = user;

	(void)protocol;
	lab->looks++;
	return port == lab->used_port ||
	       (port >= lab->used.first && port <= lab->used.last);
}

int plan_lab_setup(void **state)
{
	struct plan_lab *lab = test_calloc(1, sizeof(*lab));

	lab->table = table_new();
	conf_init(&lab->conf);
	lab->server = lab_address("192.168.77.1");
	lab->context = (struct plan_context){
		.request = &lab->request,
		.verdict = &lab->verdict,
		.external = lab_address(WAN),
		.leases_per_client = 100,
		.leases_total = 1000,
		.lifetime_max_s = 86400,
		.lifetime_min_s = 120,
		.filters_max = 4,
		.ports_max = 16,
		.next_id = 1,
		.now_ms = 1000000,
		.is_port_used = is_used,
		.user = lab,
	};
	*state = lab;
	return lab->table ? 0 : -1;
}

int plan_lab_teardown(void **state)
{
	struct plan_lab *lab = *state;

	plan_fini(&lab->plan);
	table_free(lab->table);
	test_free(lab);
	return 0;
}

struct request *lab_ask(struct plan_lab *lab, enum request_op op, const char *host,
			uint16_t internal_port, uint16_t external_port)
{
	struct request *request = &lab->request;

	memset(request, 0, sizeof(*request));
	request->op = (uint8_t)op;
	request->origin = ORIGIN_PCP;
	request->protocol = IPPROTO_TCP;
	request->enabled = 1;
	request->client = lab_address(host);
	request->client_port = 40000;
	request->server = lab->server;
	request->internal = request->client;
	request->internal_port = internal_port;
	request->external_port = external_port;
	request->lifetime_s = LIFETIME_S;
	memset(request->nonce, 'n', sizeof(request->nonce));
	return request;
}

void lab_filter(struct plan_lab *lab, const char *prefix, uint16_t port)
{
	struct remote_filter *filter =
		&lab->request.filters[lab->request.filter_count++];

	assert_true(prefix_parse(prefix, &filter->prefix));
	filter->port = port;
}

/* A plan must be possible as it stands, whatever it is. */
enum result lab_decide(struct plan_lab *lab)
{
	struct plan *plan = &lab->plan;

	policy_decide(&lab->conf, &lab->request, "lan0", &lab->verdict);
	lab->context.verdict =
		lab->request.origin == ORIGIN_STATIC ? NULL : &lab->verdict;
	lab->looks = 0;
	lease_plan(lab->table, &lab->context, plan);
	lab->changes_last = (unsigned int)plan->count;
	if (plan->result != RESULT_OK && lab->request.origin == ORIGIN_PCP)
		assert_int_equal(plan->count, 0); /* PCP-16 */
	assert_int_equal(lease_commit(lab->table, plan->changes, plan->count,
				      lab->context.now_ms),
			 0);
	for (size_t i = 0; i < plan->count; i++)
		if (plan->changes[i].kind == LEASE_ADD &&
		    plan->changes[i].after.id == lab->context.next_id)
			lab->context.next_id++;
	return plan->result;
}

enum result lab_map(struct plan_lab *lab, const char *host, uint16_t internal_port,
		    uint16_t external_port)
{
	lab_ask(lab, REQUEST_MAP, host, internal_port, external_port);
	return lab_decide(lab);
}

const struct lease *lab_make(struct plan_lab *lab, enum origin origin, const char *host,
			     uint16_t internal_port, uint16_t external_port)
{
	enum request_op op = origin == ORIGIN_NATPMP ? REQUEST_MAP : REQUEST_ADD;

	lab_ask(lab, op, host, internal_port, external_port)->origin = (uint8_t)origin;
	if (origin == ORIGIN_STATIC)
		lab->request.lifetime_s = 0;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	return table_get_by_id(lab->table, lab->plan.lease.id);
}

uint16_t lab_get_port(const struct plan_lab *lab)
{
	assert_true(lab->plan.has_lease);
	return lab->plan.lease.external_port;
}

uint32_t lab_get_lifetime_s(const struct plan_lab *lab)
{
	assert_true(lab->plan.has_lease);
	return (uint32_t)((lab->plan.lease.expires_ms - lab->context.now_ms) / 1000);
}

const struct lease *lab_find(const struct plan_lab *lab, const char *host,
			     uint16_t internal_port)
{
	struct ip_addr internal = lab_address(host);

	return table_get_by_internal(lab->table, &internal, IPPROTO_TCP, internal_port);
}
