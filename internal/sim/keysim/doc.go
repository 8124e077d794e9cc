// Package keysim runs the keys of a group through random worlds: a few people and
// their devices, each with a control set, a roster and a keyring of its own, over some
// weeks in which the group is split for up to 40 days, clocks differ by up to a day, and
// one member in five means harm. [Runner.Check] says what went wrong in the world of a
// seed: somebody who is entitled cannot read, or somebody who is not can.
//
// It is a simulation of the pure core: package protocol decides, and what node does
// around it (policy.go) is told again without locks, disk and network. There is no clock
// and no goroutine; what a seed comes to depends on the seed and the code alone.
//
// HPKE draws randomness of its own, and ids would follow it. So a box is some bytes and
// a note of what is sealed in it to whom (boxes.go); in one world of eight every box is
// sealed by HPKE as well, and has to open for the same devices.
//
// It is not part of package sim because that is built anew for every mutant of the
// authority rule, and this would bring the whole of package protocol along.
package keysim
