package storage

import "time"

// Every list, queue and length has a cap here, with its reason.
const (
	// maxBatchItems bounds the requests one fsync is shared by: far more than
	// writers wait at once, few enough that none of them waits long.
	maxBatchItems = 1024
	// maxBatchBytes bounds one batch, so that a driver never builds one that does
	// not fit its memtable.
	maxBatchBytes = 8 << 20
	// syncLate is how long what others made may wait for an fsync that it shares: what a
	// power cut takes then is fetched again.
	syncLate = 500 * time.Millisecond
	// maxQueueBytes bounds what waits for the disk. Beyond it Append says ErrBusy.
	maxQueueBytes = 64 << 20
	// maxItemEvents bounds the events of one request; Append splits longer lists,
	// so that one long list does not make a batch without end.
	maxItemEvents = 256

	// reserveCursors is how many cursors are reserved at a time. A crash leaves as many
	// empty at most, which a reader goes over in 16 steps.
	reserveCursors = 1024
	// checkpointEvents is how many events may be written after a checkpoint before
	// the next one: what opening after a crash has to look through, about 10 µs each.
	checkpointEvents = 1024
	// checkpointBytes bounds the same in bytes, for events of 64 KiB.
	checkpointBytes = 8 << 20

	// MaxTips bounds the branches of one chain that [Room.Tips] names, as many as one
	// place may have. Two show that a device was copied; more is somebody playing, and
	// whoever asks picks those that count.
	MaxTips = 64
	// maxPlace bounds the different messages kept at one place of a chain, for what
	// is rewritten when one more arrives. Which control events are kept is decided by
	// who appends: others may cite any of them.
	maxPlace = 64
	// maxBehind is how many other entries it takes at most to read one of the log, and how
	// many are damaged with it. Three of four messages of a run are kept without their link.
	maxBehind = 3
	// placesShared is how many places of a chain share a value of the index: what is
	// written again where one event comes alone, and keys for long runs.
	placesShared = 16
	// maxWants bounds the missing messages of one chain that stored ones link to. In
	// sync there is one for each part of a chain that a frame brings; more is a device
	// that leaves events out on purpose.
	maxWants = 1024
	// maxAllWants bounds the same of all chains, for memory and checkpoints: one for
	// each device that wrote among the newest messages.
	maxAllWants = 16_384
	// leastWants is how many any chain may have even then: a page that comes before an
	// older one has two for a moment.
	leastWants = 4
	// maxForksChain bounds the fork proofs kept of one chain: one is enough.
	maxForksChain = 8
	// MaxForks bounds what [Room.Forks] returns.
	MaxForks = 1024

	// maxDamaged bounds the damaged values of a room that are remembered, some 150 bytes
	// each and some microseconds for each comparison. More is a disk to be replaced.
	maxDamaged = 1024

	// maxAbout bounds the events of one device that [Room.About] returns for one
	// message. One is enough; more is somebody who hides others' among theirs.
	maxAbout = 64

	// maxMove is how far back along its chain an event that carries a lower time
	// moves those before it in the display. It is more than anybody writes before
	// noticing that the clock is wrong, and bounds what a device that counts
	// backwards can make everybody else read and keep in memory.
	maxMove = 256
	// maxFalls bounds the places of one chain around which events move, the newest: at
	// 512 reads each. More is a device that counts backwards.
	maxFalls = 32

	// maxLeaf bounds the messages in a leaf of the tree: some 9 kB on disk.
	maxLeaf = 256
	// maxParts bounds the parts of an inner node.
	maxParts = 96
	// maxDirty bounds the nodes of a tree that are not on disk, some 12 kB each; it is
	// reached where old messages come scattered over a long history.
	maxDirty = 256
	// maxPages bounds the nodes that a store keeps of what is on disk: the newest
	// messages of several groups, or the one that is being compared.
	maxPages = 192
	// maxGrown is how many messages are put into the tree at once when it is made from
	// the log.
	maxGrown = 4096

	// maxRecent bounds the newest entries that a store keeps in memory, some 1.2 kB each:
	// by how far a follower stays behind while others' history comes in.
	maxRecent = 8192
	// maxRecentSize bounds the bytes of each: most messages are shorter.
	maxRecentSize = 2 << 10
	// recentSpell is half as long as an entry is kept there at most: a follower that needs
	// longer reads the disk.
	recentSpell = 10 * time.Second

	// markEvery is how far apart marks of arrival are: near enough for "an hour ago",
	// and 288 of them a day at most.
	markEvery = 5 * time.Minute
	// maxMarks bounds the marks of a room in memory and on disk: five weeks without
	// a pause, years of a quiet group.
	maxMarks = 10_000

	// MaxPage bounds what one call of a paging read returns.
	MaxPage = 10_000
	// maxGets is the page size up to which entries are fetched one by one: below
	// it, gets are cheaper than an iterator.
	maxGets = 16

	// MaxName bounds the bytes of a space's or value's name.
	MaxName = 128
	// MaxValue bounds the bytes of a value: secrets, settings, an address book entry.
	MaxValue = 1 << 20
	// MaxValues bounds the values [Store.List] returns of one space.
	MaxValues = 65_536
	// MaxRecords bounds the records [Room.Records] returns: some types for each of
	// several thousand devices.
	MaxRecords = 65_536
)
