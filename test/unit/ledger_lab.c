/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/ledger_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct ip_addr ledger_lab_address(const char *text)
{
	struct ip_addr addr = {{0}};

	assert_true(addr_parse(text, &addr));
	return addr;
}

void ledger_lab_init_conf(struct conf *conf)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	char *dir = conf->global.state_dir;

	conf_init(conf);
	conf->limits.requests_per_second = 0;
	(void)snprintf(dir, sizeof(conf->global.state_dir), "%s/test-ledger-XXXXXX",
		       base);
	assert_non_null(mkdtemp(dir));
}

void ledger_lab_fini_conf(const struct conf *conf)
{
	char command[320];

	(void)snprintf(command, sizeof(command), "rm -rf %s", conf->global.state_dir);
	assert_int_equal(system(command), 0);
}

void ledger_lab_init_network(struct network *network)
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

void ledger_lab_open(const struct ledger_setup *setup, struct ledger **ledger)
{
	ledger_close(*ledger);
	*ledger = NULL;
	assert_int_equal(ledger_open(setup, ledger), 0);
	assert_int_equal(ledger_set_network(*ledger, setup->network, setup->at.now_ms),
			 0);
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
