// Package storage keeps what a node knows: each group's history in a [Room], and
// small values such as secrets and settings beside them. It rests on a
// go-datastore and on nothing about the driver but its interface.
//
// # Durability
//
// One committer writes for the whole store. While it syncs a batch, requests queue;
// they share the next one, so that 64 writers cost one fsync and not 64. A commit is
// done when its batch is written and Sync has returned. What others made is shown to
// readers between the two ([Room.Receive]). What a power cut takes back then was shown
// under cursors that were reserved before, and that nothing else is given after it.
//
// With go-ds-pebble leave the write options alone: its batches are not synced by
// themselves, and Sync is the one fsync a batch costs. With
// WithPebbleWriteOptions(pebble.Sync) there are two, and an eighth fewer appends a
// second at 64 writers. Blocks of 32 KiB under zstd (pebble.Options.Levels) take a
// fifth less disk than its defaults: neighbours in the log repeat most of each other's
// headers.
//
// A room whose batch failed forgets what is not on disk, fails what was queued
// behind it, and looks at the disk again when it is next used.
//
// # Truth and hints
//
// An entry of the log is an event as its author signed it, under a cursor that
// counts arrivals. Where the message before it on its chain lies near, an entry leaves out
// its link, which that one's bytes say: three of four messages of a run, a sixteenth of
// the disk. Its body may be erased: the one value is written again in place,
// and as it is one value, a crash leaves either copy and never half of one. All else
// in a room is an index: a hint, checked against the entry when it is read, and made
// again from the log after a crash. A datastore may keep any part of a batch that was
// being written. A checkpoint says up to which cursor log and indexes are durable; it
// is one value and speaks of earlier batches only. Opening goes through the log behind
// it: events whose predecessors are there are kept and indexed, and messages that were
// stored before theirs, which a key of their own says; others are deleted. Nobody was
// told that those are stored.
//
// # Holes
//
// Who joins reads the newest page first: a message may be stored before the one it
// links to. Of each chain the room knows the places where nothing is, and the ids that
// stored messages link to ([Room.Gaps], [Room.Wanted]). Control chains have no holes.
//
// # The set
//
// All messages by (time, id) are the set that members compare ([Room.Messages]): a
// B+ tree whose nodes hold counts and sums of ids. Its pages get fresh keys. They are
// written a batch before the checkpoint that names the root, and deleted a batch after
// the one that does not need them; so a checkpoint never refers to a page that is not
// there. The parent holds each page's checksum. A page that is damaged all the same
// costs an error, and the tree is made again from the log. Opening reads the root.
//
// # Order
//
// The display order is that of the set, (time, id), with the control events among the
// messages; but where the time of a chain does not rise, what is lower takes along what is
// before it: so the order is causal along a chain, even after a clock stood in 2040. It is a
// function of what is stored and counts ([Room.SetAside]), whatever came first. Those few
// that stand elsewhere are found when the order is read.
//
// # Keys
//
// G is 12 bytes of the group's id; text is base64 in ASCII order; numbers are
// written with their length first, so that they sort. A datastore cannot be asked
// to begin in the middle, only for a prefix: so the log comes in buckets of 64
// cursors.
//
//	/p2pchat                        "p2pchat storage 3", with WithKey " sealed " and a proof of the key
//	/g/G                            checkpoint: the group, a cursor, the count, chains, the root (CBOR)
//	/r/G                            the cursor up to which none is given out after a crash
//	/e/G/<cursor/64>/<cursor%64>    an event's wire bytes, some without their link: the log
//	/k/G/<cursor>                   empty: this entry is a control event
//	/i/G/<9 bytes of id>            the event's cursor
//	/c/G/<device><chain><seq/16>    the cursors at each of 16 places: several where a chain forked
//	/o/G/<number>                   a page of the tree
//	/w/G/<cursor>                   empty: this entry came before what it links to (until a checkpoint)
//	/a/G/<9 bytes of id>/<cursor>   empty: this entry's header names that event
//	/f/G/<device><chain>            pairs of cursors: proofs that the chain forked
//	/t/G/<cursor>                   Unix seconds: this entry came then (sparse)
//	/n/G/<device>/<type>            the newest record
//	/s/<space>/<name>               a small value, sealed with WithKey
//
// Lookup by id compares 9 bytes before it reads: who grinds 2³⁶ hashes can hide one
// of their own two events from [Room.Get] and [Room.Erase], and from nothing else.
package storage
