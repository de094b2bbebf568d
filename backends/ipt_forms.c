/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <errno.h>
#include <libiptc/libip6tc.h>
#include <libiptc/libiptc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

struct form {
	const char *name;
	uint8_t revision;
	bool target;
	bool ipv4_only;
	const char *module;
};

static const struct form needed[] = {
	{"tcp", 0, false, false, "xt_tcpudp"},
	{"udp", 0, false, false, "xt_tcpudp"},
	{"connmark", 1, false, false, "xt_connmark"},
	{"conntrack", 3, false, false, "xt_conntrack"},
	{"multiport", 1, false, true, "xt_multiport"},
	{"CONNMARK", 1, true, false, "xt_connmark"},
	{"DNAT", 0, true, true, "xt_nat"},
	{"SNAT", 0, true, true, "xt_nat"},
	{"MASQUERADE", 0, true, true, "xt_MASQUERADE"},
};

/* The kernel loads a module for the question, where it may. */
static bool has_form(int fd, bool ipv6, const struct form *form)
{
	struct xt_get_revision question = {.revision = form->revision};
	socklen_t length = sizeof(question);
	int option =
		form->target ? IPT_SO_GET_REVISION_TARGET : IPT_SO_GET_REVISION_MATCH;

	if (ipv6)
		option = form->target ? IP6T_SO_GET_REVISION_TARGET
				      : IP6T_SO_GET_REVISION_MATCH;
	(void)snprintf(question.name, sizeof(question.name), "%s", form->name);
	return getsockopt(fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, option, &question,
			  &length) == 0;
}

static bool has_all(int fd, bool ipv6)
{
	bool all = true;

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if ((ipv6 && needed[i].ipv4_only) || has_form(fd, ipv6, &needed[i]))
			continue;
		log_error(
			"%s of this kernel has no %s %s, revision %u: load the module "
			"%s, or set [backend] type = nftables",
			ipt_family_get(ipv6)->what,
			needed[i].target ? "target" : "match", needed[i].name,
			needed[i].revision, needed[i].module);
		all = false;
	}
	return all;
}

int ipt_forms_probe(bool ipv6, struct ipt_forms *out)
{
	const struct form set_mark = {
		.name = "CONNMARK", .revision = 2, .target = true};
	const struct form dnat = {.name = "DNAT", .revision = 2, .target = true};
	int fd =
		socket(ipv6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (has_all(fd, ipv6))
		*out = (struct ipt_forms){
			.set_mark = has_form(fd, ipv6, &set_mark) ? 2 : 1,
			.dnat = has_form(fd, ipv6, &dnat) ? 2 : 0,
		};
	else
		error = -EPROTONOSUPPORT;
	(void)close(fd);
	return error;
}
