// Package syncsim runs groups through random schedules and checks that sync makes them
// one again. Replicas of the pure core, each a Set, a Roster and the messages that it
// holds, are split and healed, lose what gossip brings, are killed with the last of what
// they received not yet on disk, and have clocks a day off. They tell each other what
// they lack as node does: control events first and whole, then messages, found by
// reconciliation in frames of a limited size, over connections that break at any frame.
// In the end all who belong hold the same control events, roster and messages.
//
// What a seed comes to depends on the seed and the code alone.
package syncsim
