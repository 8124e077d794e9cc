// Package protocol is the pure core of p2pchat: what the bytes are and what
// they mean.
//
// A group is a set of signed events, the same set for every member, and
// nothing else. This package encodes events ([Event]), checks them ([Verify]),
// collects the control events of a group ([Set]), derives who belongs from
// them ([Eval]), and seals and opens what members say ([Epoch]). It knows no
// clock, network, disk, goroutine or logger: values in, values out. Where time
// or randomness is needed, the caller brings it.
//
// The chain of trust is a chain of types. Bytes from a stranger become an
// [Event] by [Decode], which only says that they are well formed. An Event
// becomes a [Verified] by [Verify] or [VerifyBatch], which say that its device
// signed it for this group. A Verified enters a [Set], or is admitted against
// one, which says that its author may do what it does. Storage, the node and
// the screens above take Verified only.
//
// Formats are specified in docs/spec/p2pchat-1.md; testdata/vectors holds a
// case for each of them.
package protocol
