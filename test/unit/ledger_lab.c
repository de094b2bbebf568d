/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/ledger_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/memory.h"

struct ip_addr ledger_lab_address(const char *text)
{
	struct ip_addr addr = {{0}};

	assert_true(addr_parse(text, &addr));
	return addr;
}

static void init_conf(struct conf *conf)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	char *dir = conf->global.state_dir;

	conf_init(conf);
	conf->limits.requests_per_second = 0;
	(void)snprintf(dir, sizeof(conf->global.state_dir), "%s/test-ledger-XXXXXX",
		       base);
	assert_non_null(mkdtemp(dir));
}

static void init_network(struct network *network)
{
	network->wan.present = true;
	network->wan.ifindex = 1;
	network->wan.address = ledger_lab_address("203.0.113.1");
	network->wan.external = network->wan.address;
	network->lan_count = 1;
	network->lans[0].ifindex = 2;
	network->lans[0].protocols =
		LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP;
	memcpy(network->lans[0].name, "lan0", 5);
}

void *ledger_lab_new(size_t size)
{
	struct ledger_lab *lab = test_calloc(1, size);

	init_conf(&lab->conf);
	init_network(&lab->network);
	lab->backend = backend_get_memory();
	lab->at = (struct store_time){1000000, 1700000000000};
	return lab;
}

int ledger_lab_teardown(void **state)
{
	struct ledger_lab *lab = *state;
	char command[320];

	ledger_lab_close(lab);
	(void)snprintf(command, sizeof(command), "rm -rf %s",
		       lab->conf.global.state_dir);
	assert_int_equal(system(command), 0);
	test_free(lab);
	return 0;
}

struct ledger_setup ledger_lab_get_setup(const struct ledger_lab *lab,
					 const struct ledger_events *events, void *user)
{
	return (struct ledger_setup){.conf = &lab->conf,
				     .network = &lab->network,
				     .backend = lab->backend,
				     .events = events,
				     .user = user,
				     .at = lab->at};
}

void ledger_lab_open(struct ledger_lab *lab, const struct ledger_events *events,
		     void *user)
{
	const struct ledger_setup setup = ledger_lab_get_setup(lab, events, user);

	ledger_lab_close(lab);
	assert_int_equal(ledger_open(&setup, &lab->ledger), 0);
	assert_int_equal(ledger_set_network(lab->ledger, &lab->network, lab->at.now_ms),
			 0);
}

void ledger_lab_close(struct ledger_lab *lab)
{
	ledger_close(lab->ledger);
	lab->ledger = NULL;
}

void ledger_lab_pass_time(struct ledger_lab *lab, int64_t ms)
{
	lab->at.now_ms += ms;
	lab->at.wall_ms += ms;
}

void ledger_lab_ignore_lease(void *user, enum lease_event event,
			     const struct lease *lease)
{
	(void)user;
	(void)event;
	(void)lease;
}

void ledger_lab_ignore_disturbed(void *user)
{
	(void)user;
}
