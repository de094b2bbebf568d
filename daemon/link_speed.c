/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/link_speed.h"

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <stdalign.h>

#include "base/netlink.h"

#define MESSAGE_SIZE 8192
/* The kernel counts megabits, a signed number of them. */
#define BITS_PER_UNIT 1000000u
#define UNITS_MAX INT32_MAX

/* A question to one family of generic netlink, and its answer in the same place. */
struct question {
	struct mnl_socket *netlink;
	uint32_t sequence;
	alignas(struct nlmsghdr) char message[MESSAGE_SIZE];
};

static struct nlmsghdr *question_begin(struct question *question, uint16_t family,
				       uint8_t command, uint8_t version)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(question->message);
	struct genlmsghdr *header =
		mnl_nlmsg_put_extra_header(message, sizeof(*header));

	message->nlmsg_type = family;
	message->nlmsg_flags = NLM_F_REQUEST;
	message->nlmsg_seq = ++question->sequence;
	header->cmd = command;
	header->version = version;
	return message;
}

/* The answer is there when sending returns. NULL: an error, or none. */
static const struct nlmsghdr *question_ask(struct question *question)
{
	struct nlmsghdr *message = (void *)question->message;
	uint16_t family = message->nlmsg_type;
	ssize_t got;

	if (mnl_socket_sendto(question->netlink, message, message->nlmsg_len) < 0)
		return NULL;
	got = mnl_socket_recvfrom(question->netlink, question->message,
				  sizeof(question->message));
	if (got < 0 || !mnl_nlmsg_ok(message, (int)got) ||
	    message->nlmsg_seq != question->sequence || message->nlmsg_type != family)
		return NULL;
	return message;
}

static const struct nlattr *answer_find(const struct nlmsghdr *message, uint16_t type,
					enum mnl_attr_data_type data)
{
	struct netlink_attrs attrs;

	if (!message || mnl_nlmsg_get_payload_len(message) < sizeof(struct genlmsghdr))
		return NULL;
	netlink_attrs_read(&attrs, message, sizeof(struct genlmsghdr));
	return attrs.at[type] && mnl_attr_validate(attrs.at[type], data) >= 0
		       ? attrs.at[type]
		       : NULL;
}

/* Families get their numbers as they are loaded. 0 = there is none. */
static uint16_t question_find_family(struct question *question)
{
	struct nlmsghdr *message =
		question_begin(question, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	const struct nlattr *id;

	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, ETHTOOL_GENL_NAME);
	id = answer_find(question_ask(question), CTRL_ATTR_FAMILY_ID, MNL_TYPE_U16);
	return id ? mnl_attr_get_u16(id) : 0;
}

static uint64_t question_read_speed(struct question *question, uint16_t family,
				    uint32_t ifindex)
{
	struct nlmsghdr *message = question_begin(
		question, family, ETHTOOL_MSG_LINKMODES_GET, ETHTOOL_GENL_VERSION);
	struct nlattr *link = mnl_attr_nest_start(message, ETHTOOL_A_LINKMODES_HEADER);
	const struct nlattr *speed;
	uint32_t units = 0;

	mnl_attr_put_u32(message, ETHTOOL_A_HEADER_DEV_INDEX, ifindex);
	mnl_attr_put_u32(message, ETHTOOL_A_HEADER_FLAGS, ETHTOOL_FLAG_COMPACT_BITSETS);
	mnl_attr_nest_end(message, link);
	speed = answer_find(question_ask(question), ETHTOOL_A_LINKMODES_SPEED,
			    MNL_TYPE_U32);
	if (speed)
		units = mnl_attr_get_u32(speed);
	return units <= UNITS_MAX ? (uint64_t)units * BITS_PER_UNIT : 0;
}

uint64_t link_speed_read(uint32_t ifindex)
{
	struct question question = {
		.netlink = netlink_open(NETLINK_GENERIC, SOCK_NONBLOCK)};
	uint64_t speed = 0;
	uint16_t family;

	if (!question.netlink)
		return 0;
	if (ifindex != 0) {
		family = question_find_family(&question);
		if (family != 0)
			speed = question_read_speed(&question, family, ifindex);
	}
	netlink_close(question.netlink);
	return speed;
}
