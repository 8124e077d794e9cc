package node

import (
	"time"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// What a peer can make this node hold or do is capped here, with the reason.
const (
	// branchesTold bounds the branches of one chain of messages that others are told of
	// and that a cut spares: the longest of those that count.
	branchesTold = 8
	// surplusIDs bounds the control events that are remembered as refused because enough
	// of their kind is here. One that is forgotten is asked for once more.
	surplusIDs = 8192
	// parkedPerPeer bounds the events of one peer that wait for what they refer to.
	parkedPerPeer = 256
	// parkedBytesPerPeer bounds them in bytes: 256 ordinary messages, four of the largest.
	parkedBytesPerPeer = 256 << 10
	// parkedEvents and parkedBytes bound a group's waiting events whoever sent them:
	// peer ids cost nothing.
	parkedEvents = 8192
	parkedBytes  = 8 << 20
	// eraseAfter is how long what does not count is kept, hidden: time for seniors to
	// come back and undo a wrong removal.
	eraseAfter = 30 * 24 * time.Hour
	// sweepFirst and sweepEvery are when a room looks for what is to be erased, and
	// erasePage how many messages it looks at at a time.
	sweepFirst = 10 * time.Minute
	sweepEvery = 6 * time.Hour
	erasePage  = 64
	// bodiesEvery is how often a room looks for bodies whose time is over. It reads
	// nothing where there are none.
	bodiesEvery = 30 * time.Second
	// shelfSize is how many cursors share a shelf: reading one takes some 20 ms, and a
	// million messages have a thousand of them.
	shelfSize = 1024
	// retentionGrace is how long a group's retention hides before it erases: time for
	// seniors to undo one that was set by mistake.
	retentionGrace = 7 * 24 * time.Hour
	// leapMost is how far a clock may leap and be believed at once: who was on holiday
	// is not asked. leapWait is how long it has to stand there otherwise.
	leapMost = 30 * 24 * time.Hour
	leapWait = 24 * time.Hour
	// steadyEvery is how often the time that is believed is written down.
	steadyEvery = time.Hour
	// keepLeast is the lowest limit of what is kept of a group, in bytes; the twentieth
	// part of a limit is freed beyond it, so that it is not done for each message.
	keepLeast = 1 << 20
	keepSlack = 20
	// measureMost bounds the bodies that are compared at a time to find the oldest.
	measureMost = 1 << 16

	// linkEvents and linkBytes bound a group's messages that do not count and that
	// may turn out to lead to one that does. Honest programs write none knowingly:
	// these are from before they heard of it.
	linkEvents = 32768
	linkBytes  = 8 << 20
	// linkShare is the part of them that one device may have: who was removed and
	// goes on writing must not keep out what others' chains go on through.
	linkShare = 8
	// sparedPairs bounds what is remembered of which message is before which: walking
	// a chain that forks often takes long.
	sparedPairs = 16384
	// untoldRest is how many times longer than it took to find out what of a chain others
	// are not told of, that is not done again: a tenth of a core at most.
	untoldRest = 10
	// parkedFor is how long an event waits for what it refers to: a member who has
	// it is met within a day, or sync brings both later.
	parkedFor = 24 * time.Hour

	// helloTimeout bounds a hello, and joinTimeout a join without its waiting: some
	// round trips on a bad link.
	helloTimeout = 20 * time.Second
	joinTimeout  = 30 * time.Second
	// syncIdle is how long a sync stream may stand still before it is given up.
	syncIdle = 20 * time.Second
	// syncMost bounds one sync as a whole; the next one goes on where it ended.
	syncMost = 10 * time.Minute

	// syncTalk bounds what comes before the messages of a sync as a whole, so that nobody
	// drips digests and tips for ever.
	syncTalk = time.Minute
	// compareRounds bounds the rounds of comparing of one sync: two comparisons. Sets that
	// differ in a thousand places of a million take some ten.
	compareRounds = 2 * reconcile.MaxRounds
	// compareFrame bounds the message of one round in bytes.
	compareFrame = 60 << 10
	// newestPage is how many messages somebody who lacks more is sent first: what fits
	// some screens.
	newestPage = 4096
	// givenPage is how many messages are sent in ascending order at a stretch: each leaves
	// one hole in each chain until the next one comes. The first is firstPage, and each is twice
	// as long as the one before: on a slow link a screen comes in a second or two.
	givenPage = 1024
	firstPage = 128
	// inflowBytes is how much is verified together, some 600 packed messages: in batches
	// the check of a signature costs a fourth.
	inflowBytes = 256 << 10
	// inflowBatches bounds the batches that are read ahead, and those on their way to the
	// disk: some MiB.
	inflowBatches = 8
	// repeatsMost is how many events in a row may be no news before a transfer is given up:
	// several members may send the same at a time, and nobody the same for ever.
	repeatsMost = 1 << 14
	// unrulyFirst and unrulyMost are how long a peer is left alone who did not keep to the
	// protocol, at first and in the end.
	unrulyFirst = time.Second
	unrulyMost  = 10 * time.Minute
	// vainMost is how often in a row a peer may break off with little sent that says it holds
	// more: a bad link does, and so does who wants to keep others from being complete.
	vainMost = 3
	// shareAbove is how many messages a room lacks before several members are asked for
	// parts of them, and syncSources how many.
	shareAbove  = 20_000
	syncSources = 3

	// fetchTurn is how long a transfer waits for the one that runs. Most are done by then.
	// Of one that is not, and has brought fetchLeast events meanwhile, the others wait for
	// the end, as each of them would bring the same; else they begin beside it.
	fetchTurn  = 5 * time.Second
	fetchLeast = 256

	// syncServed bounds the syncs served to one peer at a time.
	syncServed = 3
	// joinsPerPeer bounds the join streams of one peer, link or not.
	joinsPerPeer = 2
	// grantsPerSecond and grantsBurst bound how fast a node admits to a group: each
	// admission stays in everybody's control log for good.
	grantsPerSecond = 2
	grantsBurst     = 100
	// askFormer is how often somebody who is out is asked for control events.
	askFormer = 10 * time.Minute
	// stillInMost is how long joining a group that one is in waits to hear otherwise.
	stillInMost = 3 * time.Second
	// settleMost is how long a newcomer waits for the history of who admitted it
	// before it asks others as well: a welcome may be invented.
	settleMost = 15 * time.Second
	// joinsServed bounds the joins served at a time: each costs several signature checks.
	joinsServed = 8

	// syncTick is how often a node with news checks that its neighbours have them,
	// and syncQuiet how often one without.
	syncTick  = 500 * time.Millisecond
	syncQuiet = 30 * time.Second
	// syncFanout is how many neighbours are checked a tick.
	syncFanout = 3
	// addrsEvery is how often this machine's addresses are looked at, for mDNS.
	addrsEvery = 3 * time.Second
	// answerTimeout is how long a connection may take to answer once its peer has another.
	answerTimeout = 3 * time.Second
	// syncDebounce lets events that follow each other arrive before a gap among
	// them starts a sync.
	syncDebounce = 150 * time.Millisecond
	// lacksMost bounds what is remembered of a peer to be lacking for that long: one
	// comparison serves it all.
	lacksMost = 64

	// syncCalm is how long gossip has to be quiet before what it brought is compared,
	// and syncBusy how often that is done all the same while people talk: what is
	// under way would look like a difference. What is known to be missing is asked for
	// after syncDebounce.
	syncCalm = time.Second
	syncBusy = 5 * time.Second

	// frameEvents bounds the events of one frame: a batch for the signature check.
	frameEvents = 512
	// haveFrames bounds the frames of tips one sync reads: 200,000 chains.
	haveFrames = 256

	// sayMost bounds the messages that are made in one go, while the room waits: some
	// 3 ms, and no more than the store writes at once.
	sayMost = 128
	// busyWait is how long a sender waits for a disk that is far behind.
	busyWait = 5 * time.Millisecond

	// gossipQueue is the length of pubsub's queues in messages: at 64 KiB at most
	// each, and typically 600 bytes.
	gossipQueue = 1024

	// gossipFrame bounds a gossip message of several events in bytes, so that pubsub,
	// whose limit is that of one event, takes it.
	gossipFrame = 32 << 10

	// lanPeers bounds the peers that mDNS named and that are tried again.
	lanPeers = 256

	// rememberedPeers bounds the address book.
	rememberedPeers = 256
	// addrsPerPeer bounds the addresses kept of one peer.
	addrsPerPeer = 8
	// contactsMost bounds the devices of a group of which is remembered when they were
	// here and what they have, and spansMost the spans of time of each: some 500 bytes.
	contactsMost = 16384
	spansMost    = 16
	// contactsEvery is how often that is stored: what a crash takes is learnt again.
	contactsEvery = time.Minute
	// frontierQuiet is how long a device waits before it says what it has stored, and
	// frontierRest and frontierShare how long it then does not: a group of 1,000 hears a
	// frontier every three seconds at most, however much is written.
	frontierQuiet = 10 * time.Second
	frontierRest  = 2 * time.Minute
	frontierShare = 3 * time.Second
	// sharedPeers bounds the members whose addresses one sync hands on.
	sharedPeers = 16
	// dialEvery is how often remembered peers are tried while they are away.
	dialEvery = 10 * time.Second
	// dialAfresh is how many times that is to when earlier failures are forgotten: who
	// waits for a network to come back waits a minute at most, and who is gone for good
	// is not dialled every time.
	dialAfresh = 6
	// dialMost is how many are tried at a time.
	dialMost = 16

	// reasonMost bounds the reason of an act in bytes: everybody keeps it for good.
	reasonMost = 1 << 10
	// topicMost and rulesMost bound a group's topic and rules in bytes: a line or two
	// above the chat, and some pages.
	topicMost = 1 << 10
	rulesMost = 16 << 10
	// slowMost bounds slow mode: more than a day a message is announcement mode.
	slowMost = 24 * time.Hour
	// muteMost bounds how long a mute may be set to last.
	muteMost = 10 * 365 * 24 * time.Hour
	// mutesTimed bounds the mutes a node ends by itself, a group.
	mutesTimed = 1024

	// requestsMost bounds the requests to join that wait in a group: whoever holds a
	// link can make as many identities as they like, and a person reads the list.
	requestsMost = 256
	// requestFor is how long a request waits: as long as an invite lasts by default.
	requestFor = 7 * 24 * time.Hour
	// requestFresh is how long what is stored of a request stands for those that follow
	// it, so that who asks again and again costs no write each time.
	requestFresh = time.Minute
	// deniedFor is how long a person's no stands for who asks again by the same
	// invite: long enough that nobody is nagged, short enough for a mistake.
	deniedFor = 10 * time.Minute

	// sealWait and sealJitter are how long a node waits before it seals a leave: it
	// lets the leaver's last events arrive, and one of many seniors come first.
	sealWait   = time.Second
	sealJitter = 3 * time.Second
	// errandRetry is how long an errand that failed is left alone.
	errandRetry = time.Minute

	// lateBy and lateAfter are when a line counts as late: it claims to be ten minutes
	// older than one that was here five minutes before it. Clocks differ by less, and
	// what is still on its way is caught up with sooner.
	lateBy    = 10 * time.Minute
	lateAfter = 5 * time.Minute

	// recentIDs is how many message ids a room remembers, to know a duplicate
	// without asking the disk.
	recentIDs = 8192
	// followPage is how many entries a follower reads at a time.
	followPage = 256
	// gossipBurst is how many seconds of the gossip rate may pass at once.
	gossipBurst = 4
	// bucketsMost bounds the token buckets a room keeps; a member has one a device.
	bucketsMost = 16384

	// guestsMost bounds the devices of a room that only a hello's certificate speaks for:
	// more than are restored between two meetings. Who is forgotten says hello again.
	guestsMost = 256

	// secretsKept bounds the rendezvous secrets of a group by which this node is met:
	// as many as a hello has tags, which it shares with other groups. Who missed more
	// changes than this comes back by an invite.
	secretsKept = protocol.MaxHelloTags
	// secretsHeard is on how many of them it listens: others may be some rekeys behind.
	secretsHeard = protocol.MaxWelcomeSecrets

	// announcedFor is how long the DHT key of a secret that was replaced is announced: for
	// members who were away for a month.
	announcedFor = 30 * 24 * time.Hour

	// seniorTurn and memberTurn are the longest a node waits before it rotates for
	// no message of its own: so one does it and not all.
	seniorTurn = 500 * time.Millisecond
	memberTurn = 2 * time.Second
	// dueTurn is the longest a member waits where nothing was lost but time.
	dueTurn = time.Minute
	// foreignTurn is how long it waits where somebody else's epoch is there and its
	// secret is not: asking for that is cheaper. Not longer: the epoch may be invented.
	foreignTurn = 10 * time.Second
	// turnFailed is how long it leaves a rotation alone that did not work.
	turnFailed = time.Minute
	// rotateMost bounds the rekeys in a row by which one send merges heads: more than
	// a rekey can cite, of which each takes 16.
	rotateMost = 4

	// chunkBytes bounds the wrap chunks kept of a group. Without its chunk a device
	// asks for the secret.
	chunkBytes = 16 << 20
	// chunkRekeys is how many of the newest rekeys a pushed chunk may be of.
	chunkRekeys = 64

	// earlyChunks bounds the chunks that wait for their rekey: pubsub swaps what
	// comes at once, and no more.
	earlyChunks = 4

	// keyTimeout bounds a key stream: some round trips on a bad link.
	keyTimeout = 20 * time.Second
	// wantsServed bounds the requests of one key stream: a bisection of MaxChunks,
	// some times over.
	wantsServed = 32
	// keysServed bounds the key streams of one peer at a time.
	keysServed = 2
	// keysPerSecond and keysBurst bound how often one peer is answered: an answer is
	// an encapsulation and up to 3 MiB.
	keysPerSecond = 0.5
	keysBurst     = 5
	// textsPause is how far streams are apart that ask for bodies: a peer serves one in two
	// seconds. textsAgain is how soon a peer is asked again for what it did not have.
	textsPause = 4 * time.Second
	textsAgain = 10 * time.Minute
	// textsRest is how many times longer than a search took the next waits, up to textsRestMost:
	// a peer may be slow on purpose. textsKnown is how many messages without text are remembered,
	// 32 bytes each.
	textsRest     = 10
	textsRestMost = 2 * time.Minute
	textsKnown    = 4096
	// askFirst and askMost are how soon an epoch is asked for again, at first and in
	// the end. Who connects is asked at once.
	askFirst = time.Second
	askMost  = 10 * time.Minute
	// askedEnough is how often an epoch that does not open is asked for before the
	// prekeys are given up that a wrap might be for: its author may never have made one.
	askedEnough = 3
	// syncSoon is how recently a device agreed with a member that it has everything.
	syncSoon = 5 * time.Minute
	// askedMost bounds the epochs whose last asking is remembered. A member has 64
	// rekeys a device.
	askedMost = 4096
	// filesAsked bounds the requests to join by file whose keys are kept for the answer.
	filesAsked = 16
	// progressEvery is how often who watches long work is told how far it is: as often as
	// a line on a screen is worth drawing. progressEnded bounds the ends that wait for a
	// watcher who does not look.
	progressEvery = 250 * time.Millisecond
	// progressSpan is what its rate is taken over: events come a thousand at a time, and
	// an estimate that jumps says nothing.
	progressSpan  = 5 * time.Second
	progressEnded = 64
	// bundleMost bounds the events that go with a welcome in a file, in bytes.
	bundleMost = protocol.MaxWelcomeFile - protocol.MaxFrameSize
	// importBatch and importBytes are how many events of a bundle are verified and stored
	// in one go.
	importBatch = 512
	importBytes = 4 << 20
	// importLate bounds the events of a bundle that wait and that are remembered, to say
	// at its end which still do: some 10 MiB.
	importLate = 65536
	// reportsMost bounds the reports a group keeps a list of: more than moderators
	// look through.
	reportsMost = 1000
	// docketEvery is how many cursors the docket may read on before it is stored:
	// reading those again at a start takes a moment.
	docketEvery = 4096
	// talliesKept bounds the epochs whose messages are counted: those sent under last.
	talliesKept = 16
	// docketRest is how long the docket lets more come before it reads: what it does is
	// for nobody who waits.
	docketRest = 250 * time.Millisecond
	// docketRetry is how long the docket waits after an error of the disk.
	docketRetry = 5 * time.Second
	// eraseEvery is how often what moderators took back is looked through for what has
	// been hidden for eraseAfter.
	eraseEvery = time.Hour

	// plansMost bounds the plans to found a group that wait: each is compared with
	// every group that is joined.
	plansMost = 64

	// nearbyMost is how long a node looks for people in the same room: a few minutes in
	// which who is on the LAN sees that it does. nearbyCompare is how long one
	// comparison may take, and nearbyJoin the join after it.
	nearbyMost    = 5 * time.Minute
	nearbyCompare = 2 * time.Minute
	nearbyJoin    = time.Minute
	// nearbyTries bounds the comparisons of one look: each is one chance in 10⁹ for who
	// sits between.
	nearbyTries = 3
	// nearbyExpiry is how long the link that was handed over is good.
	nearbyExpiry = 10 * time.Minute
	// nearbyPeople bounds the people who are shown: a person reads the list.
	nearbyPeople = 16
	// nearbyStreams and nearbyPerPeer bound the streams of who asks: one that waits and
	// one that asks for a name.
	nearbyStreams = 32
	nearbyPerPeer = 2
	// nearbyFrames is how many frames either side sends once keys are shown.
	nearbyFrames = 2
	// nearbyLook is how often who invites is looked for among the peers.
	nearbyLook = 500 * time.Millisecond
)
