/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a run with this backend left behind, for one that has another backend. */
#include "backends/nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "base/log.h"

static int ignore_answer(const struct nlmsghdr *answer, void *user)
{
	(void)answer;
	(void)user;
	return 0;
}

/* Errors: -ENOENT and others: there is none, or nothing of the kind. */
static int find_table(struct nft_socket *nft)
{
	struct nlmsghdr *request = nft_socket_start(nft, NFT_MSG_GETTABLE, 0);

	mnl_attr_put_strz(request, NFTA_TABLE_NAME, NFT_TABLE);
	return nft_socket_ask(nft, request, ignore_answer, NULL);
}

void nft_leftovers_remove(uint32_t mark)
{
	struct nft_batch batch = {0};
	struct nft_socket nft;
	int error;

	(void)mark;
	if (nft_socket_open(&nft) < 0)
		return;
	if (find_table(&nft) == 0) {
		nft_batch_begin(&batch, &nft);
		nft_batch_drop_table(&batch);
		error = nft_batch_send(&batch, &nft);
		if (error < 0)
			log_warning("cannot remove table inet %s, which a run with "
				    "[backend] type = nftables left (%s); ports that "
				    "it opened stay so until you do: nft delete table "
				    "inet %s",
				    NFT_TABLE, strerror(-error), NFT_TABLE);
		else
			log_notice("table inet %s, which a run with [backend] type = "
				   "nftables left, is removed",
				   NFT_TABLE);
		nft_batch_fini(&batch);
	}
	nft_socket_close(&nft);
}
