/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/bench/load.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <time.h>

int64_t load_now_us(void)
{
	struct timespec at = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

struct ip_addr load_get_client(const struct ip_addr *first, size_t number)
{
	struct in_addr base = addr_to_ipv4(first);
	struct in_addr own = {htonl(ntohl(base.s_addr) + (uint32_t)number)};

	return addr_from_ipv4(own);
}

bool load_times_init(struct load_times *times, size_t max)
{
	*times = (struct load_times){.list_us = malloc(max * sizeof(uint32_t))};
	return times->list_us != NULL;
}

void load_times_add(struct load_times *times, int64_t began_us)
{
	times->list_us[times->count++] = (uint32_t)(load_now_us() - began_us);
}

static int compare(const void *a, const void *b)
{
	const uint32_t *left = a;
	const uint32_t *right = b;

	return (*left > *right) - (*left < *right);
}

void load_times_sort(struct load_times *times)
{
	qsort(times->list_us, times->count, sizeof(uint32_t), compare);
}

uint32_t load_times_get_us(const struct load_times *times, unsigned int percent)
{
	if (times->count == 0)
		return 0;
	return times->list_us[(times->count - 1) * percent / 100];
}
