/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/outlet.h"

#include <unistd.h>

#define SECOND_MS 1000

int outlet_open(struct outlet *outlet, int first)
{
	int error = 0;

	for (int use = 0; use < DATAGRAM_USES; use++)
		outlet->ways[use] = (struct outlet_way){.fd = -1};
	outlet->ways[DATAGRAM_MULTICAST].fd = first;
	for (int use = 0; error == 0 && use < DATAGRAM_USES; use++)
		if (use != DATAGRAM_MULTICAST)
			error = datagram_open_sender(&outlet->port,
						     &outlet->ways[use].fd);
	if (error != 0)
		outlet_close(outlet);
	return error;
}

void outlet_close(struct outlet *outlet)
{
	for (int use = 0; use < DATAGRAM_USES; use++) {
		if (use != DATAGRAM_MULTICAST && outlet->ways[use].fd >= 0)
			close(outlet->ways[use].fd);
		outlet->ways[use].fd = -1;
	}
}

static bool may_renew(struct outlet_way *way, int64_t now_ms)
{
	if (now_ms - way->window_start_ms >= SECOND_MS) {
		way->window_start_ms = now_ms;
		way->renewals = 0;
	}
	return way->renewals++ < OUTLET_RENEWALS_PER_SECOND;
}

/* False: the full one stays. */
static bool renew(struct outlet *outlet, struct outlet_way *way, int64_t now_ms)
{
	int fd;

	if (!may_renew(way, now_ms) || datagram_open_sender(&outlet->port, &fd) != 0)
		return false;
	close(way->fd);
	way->fd = fd;
	return true;
}

unsigned int outlet_send(struct outlet *outlet, struct datagram_batch *batch,
			 int64_t now_ms)
{
	unsigned int lost = 0;

	for (int use = 0; use < DATAGRAM_USES; use++) {
		const struct datagram_route route = {
			.family = outlet->port.family,
			.ifindex = outlet->port.ifindex,
			.use = (enum datagram_use)use,
		};
		struct outlet_way *way = &outlet->ways[use];
		struct datagram_outcome outcome;

		if (way->fd < 0)
			continue;
		outcome = datagram_send(way->fd, &route, batch);
		lost += outcome.failed;
		if (outcome.stuck > 0 && use != DATAGRAM_MULTICAST &&
		    renew(outlet, way, now_ms)) {
			outcome = datagram_send(way->fd, &route, batch);
			lost += outcome.failed;
		}
		lost += outcome.stuck;
	}
	return lost;
}
