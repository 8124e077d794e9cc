// Package node runs p2pchat: it joins a libp2p host, gossip, sync and discovery to
// the pure core in package protocol and the history in package storage.
//
// A [Node] belongs to one person and is in any number of groups. Every message
// takes one way, whoever wrote it: protocol says that it is verified, the room's
// ingest says that its author may speak, the store keeps it, and followers are
// woken. Send, gossip and sync all go through that one door, so there is one place
// where something is admitted and one order in which it is stored.
//
// Gossip is a hint and sync is the truth. A message is stored before it is
// published; who misses the gossip gets it from any member who has it, because
// connected members compare what they hold whenever something changed.
//
// The API takes group ids and is safe for concurrent use. The library prints
// nothing, has no globals and handles no signals. New starts everything and Close
// ends it.
package node
