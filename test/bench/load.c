/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

#define OPTIONS_MAX 24

static bool parse_word(const char *text, const struct load_option *option)
{
	for (uint64_t i = 0; i < option->max; i++)
		if (strcmp(text, option->words[i]) == 0) {
			*option->number = i;
			return true;
		}
	return false;
}

static bool parse_option(const char *text, const struct load_option *option)
{
	if (option->addr)
		return addr_parse(text, option->addr);
	if (option->words)
		return parse_word(text, option);
	if (option->number)
		return parse_number(text, option->max, option->number);
	if (option->text)
		*option->text = text;
	else
		*option->flag = true;
	return true;
}

bool load_parse_options(int argc, char **argv, const struct load_option *options)
{
	struct option rows[OPTIONS_MAX + 1] = {{NULL, 0, NULL, 0}};
	int which;

	for (size_t i = 0; i < OPTIONS_MAX && options[i].name; i++)
		rows[i] = (struct option){
			options[i].name,
			options[i].flag ? no_argument : required_argument, NULL, 0};
	for (;;) {
		int key = getopt_long(argc, argv, "", rows, &which);

		if (key == -1)
			return optind == argc;
		if (key != 0 || !parse_option(optarg, &options[which]))
			return false;
	}
}

int load_open(int type, const struct ip_addr *own, const struct ip_addr *peer,
	      uint16_t port)
{
	struct sockaddr_storage local;
	struct sockaddr_storage remote;
	socklen_t local_size = addr_to_sockaddr(own, 0, &local);
	socklen_t remote_size = addr_to_sockaddr(peer, port, &remote);
	int fd = socket(addr_is_ipv4(own) ? AF_INET : AF_INET6, type, 0);
	char text[ADDR_TEXT_SIZE];
	int on = 1;

	/* The port is chosen on connecting: there are more connections than ports. */
	if (fd >= 0 &&
	    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
	    bind(fd, (struct sockaddr *)&local, local_size) == 0 &&
	    (connect(fd, (struct sockaddr *)&remote, remote_size) == 0 ||
	     errno == EINPROGRESS))
		return fd;
	(void)fprintf(stderr, "%s: client %s: %s\n", program_invocation_short_name,
		      addr_format(own, text), strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

int64_t load_now_us(void)
{
	struct timespec at = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

int64_t load_get_cpu_ns(void)
{
	struct timespec at = {0};

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
	return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

struct ip_addr load_get_client(const struct ip_addr *first, size_t number)
{
	struct in_addr base = addr_to_ipv4(first);
	struct in_addr own = {htonl(ntohl(base.s_addr) + (uint32_t)number)};

	return addr_from_ipv4(own);
}

bool load_is_time_over(const struct load_counts *counts, uint64_t seconds)
{
	return seconds > 0 &&
	       load_now_us() - counts->start_us > (int64_t)seconds * 1000000;
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

void load_grant(struct load_counts *counts, int64_t began_us)
{
	counts->granted++;
	load_times_add(&counts->times, began_us);
}

static int compare(const void *a, const void *b)
{
	const uint32_t *left = a;
	const uint32_t *right = b;

	return (*left > *right) - (*left < *right);
}

/* Of times that are sorted; 0 when there are none. */
static uint32_t get_us(const struct load_times *times, unsigned int percent)
{
	if (times->count == 0)
		return 0;
	return times->list_us[(times->count - 1) * percent / 100];
}

static void print_figures(const struct load_figure *figures, bool json)
{
	for (; figures->name; figures++)
		(void)printf(json ? ",\"%s\":%lu" : " %s=%lu", figures->name,
			     figures->value);
}

int load_report(struct load_counts *counts, const char *mode,
		const struct load_figure *figures, bool json)
{
	double seconds = (double)(load_now_us() - counts->start_us) / 1e6;
	struct load_times *times = &counts->times;
	uint64_t own_cpu_ns = (uint64_t)load_get_cpu_ns();

	qsort(times->list_us, times->count, sizeof(uint32_t), compare);
	(void)printf(json ? "{\"mode\":\"%s\"" : "mode=%s", mode);
	print_figures(figures, json);
	(void)printf(json ? ",\"seconds\":%.3f,\"per_second\":%.0f"
			  : " seconds=%.3f per_second=%.0f",
		     seconds, (double)counts->granted / seconds);
	print_figures(
		(const struct load_figure[]){
			{"p50_us", get_us(times, 50)},
			{"p99_us", get_us(times, 99)},
			{"max_us", get_us(times, 100)},
			{"granted", counts->granted},
			{"refused", counts->refused},
			{"lost", counts->lost},
			{"own_cpu_ns", own_cpu_ns},
			{.name = NULL},
		},
		json);
	(void)puts(json ? "}" : "");
	free(times->list_us);
	if (counts->stopped)
		(void)fprintf(stderr, "%s: stopped before its end\n",
			      program_invocation_short_name);
	return counts->stopped || counts->refused > 0 || counts->lost > 0 ? 1 : 0;
}
