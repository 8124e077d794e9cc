package protocol

import "time"

// Every length that a stranger can choose has a cap here, with its reason.
const (
	// MaxEventSize bounds one event on the wire. It is the pubsub message limit,
	// small enough that a full queue of them fits in memory.
	MaxEventSize = 64 << 10
	// MaxTextSize bounds the text of one message in bytes. Padmé padding adds at
	// most 12 %, so text, padding and header stay below MaxEventSize.
	MaxTextSize = 48 << 10
	// MaxNameSize bounds names of people and groups in bytes: a line on a screen.
	MaxNameSize = 128
	// MaxControlRefs bounds the heads a control event may cite. More concurrent
	// heads than this are merged by the next events.
	MaxControlRefs = 16
	// MaxMessageRefs bounds the control heads a message may cite.
	MaxMessageRefs = 8
	// MaxFounders bounds the founders of a group: each can never be removed.
	MaxFounders = 7
	// MaxDevices bounds the devices of one identity: each brings two chains, and
	// control events of its own.
	MaxDevices = 8
	// MaxSeated bounds the devices of one identity that a roster counts. Of devices which
	// bring themselves none need have seen the others, so that MaxDevices does not bound
	// them together; twice as many leaves room for some that were restored apart.
	MaxSeated = 16
	// MaxCut bounds the entries of a cut: two chains and some fork tips a device.
	MaxCut = 64
	// MaxMemberControl bounds the control chain of a device of rank member, so
	// that somebody who was removed cannot grow the log for ever. Beyond it there are
	// rekeys only, and no more than people who come and go.
	MaxMemberControl = 64
	// MaxCrowd is how many branches of one fork of a control chain all hold alike though
	// nobody cites them. Two show that a device was copied; more is somebody playing.
	MaxCrowd = 8
	// KeepCrowd is how many uncited branches of one fork a node holds: more than
	// MaxCrowd, so that all nodes come to see the crowd.
	KeepCrowd = 16
	// MaxIdle is how many uncited events without effect of one identity all hold alike:
	// what somebody did before they heard of their removal.
	MaxIdle = 64
	// KeepIdle is how many of those a node holds: what who was removed can still make
	// everybody store.
	KeepIdle = 256
	// MaxRevokes bounds the revocations in one past by an identity of its own devices,
	// which count even after its removal.
	MaxRevokes = 64
	// MaxParents bounds the epochs one rekey merges.
	MaxParents = 16
	// MaxChunks bounds the wrap chunks of one rekey: 128 chunks of 48 KiB wrap
	// 5,000 hybrid keys.
	MaxChunks = 128
	// MaxChunkSize bounds one wrap chunk in bytes, so that it fits a sync frame.
	MaxChunkSize = 48 << 10
	// MaxWantChunks bounds the wrap chunks one request asks for: 3 MiB of answers.
	MaxWantChunks = 64
	// MaxWantEpochs bounds the epochs one request asks for: an answer is one frame,
	// and who lacks more asks again.
	MaxWantEpochs = 16
	// PrekeyWeeks is for how many weeks after its own a prekey is wrapped to. Who
	// was away for longer asks for the secret, and the old key can be given up.
	PrekeyWeeks = 2
	// MaxRecordSize bounds the value of a record in bytes: a hybrid prekey is
	// 1,216 bytes, a sealed profile less.
	MaxRecordSize = 2 << 10
	// MaxRecordType bounds the types of records, so that one device cannot fill
	// everybody's memory with types that nobody knows.
	MaxRecordType = 32
	// MaxFrontierSpans bounds the spans of a frontier: the last hour, day, week and what
	// was before take four, and each costs everybody who compares a look at their tree.
	MaxFrontierSpans = 8
	// MaxReportBoxes bounds the devices a report is sealed to: 1,168 bytes and names
	// for each, some 30 KiB.
	MaxReportBoxes = 24
	// MaxReportedSize bounds the event a report carries, in bytes, so that the report
	// itself fits a message. A larger one goes without its body, which others have.
	MaxReportedSize = 15 << 10
	// MaxReasonSize bounds the text of a report and of its end, in bytes: some
	// paragraphs.
	MaxReasonSize = 2 << 10
	// MaxLinkAddrs bounds the addresses in an invite link, to keep it scannable.
	MaxLinkAddrs = 4
	// MaxLinkSize bounds the text of a link in characters.
	MaxLinkSize = 2 << 10
	// MaxQuestionSize bounds an invite's question in bytes: a line, and it is in the
	// link, which stays scannable.
	MaxQuestionSize = 200
	// MaxAnswerSize bounds the answer in bytes: some lines. Strangers write it.
	MaxAnswerSize = 500
	// MaxWelcomeEpochs bounds the epochs a welcome hands over: the live heads.
	MaxWelcomeEpochs = 16
	// MaxWelcomeSecrets bounds the rendezvous secrets a welcome hands over.
	MaxWelcomeSecrets = 4
	// MaxWelcomeAddrs bounds the member addresses in a welcome.
	MaxWelcomeAddrs = 16
	// MaxRequestFile bounds a request to join as a file, in bytes: a hybrid key, an
	// answer and a name with their signatures are 2,600.
	MaxRequestFile = 4 << 10
	// MaxWelcomeFile bounds the answer as a file, in bytes: it is read into memory as a
	// whole. 10,000 control events are some 5 MiB.
	MaxWelcomeFile = 8 << 20
	// MaxBundlePoints bounds the rendezvous secrets by which a bundle opens: who missed
	// more changes opens it by their prekey.
	MaxBundlePoints = 8
	// MaxBundleBoxes bounds the devices that a bundle is sealed to: a head of 1.4 MiB.
	MaxBundleBoxes = 1 << 14
	// MaxBundleChunks bounds the chunks of a bundle: a terabyte, and 2 MiB to remember
	// which of them were read.
	MaxBundleChunks = 1 << 24
	// MaxFrameSize bounds one frame of any p2pchat stream.
	MaxFrameSize = 64<<10 + 512
	// MaxPackSize bounds one pack of events in bytes: it fits a frame.
	MaxPackSize = MaxFrameSize - 32
	// MaxPacked bounds the events of one pack. An erased copy of a message is at least 116
	// bytes and takes some 2 KiB of memory once it is unpacked.
	MaxPacked = 1 << 10
	// MaxGossip bounds the events, records or chunks of one gossip frame.
	MaxGossip = 64
	// MaxTold bounds the peers that a gossip frame names as told: in a larger group
	// they would be half of a short message, and are seldom all of it.
	MaxTold = 64
	// MaxFrontier bounds the tips one sync frame lists, to fit MaxFrameSize.
	MaxFrontier = 780
	// MaxParts bounds the members that a sync is shared by: more do not make it faster.
	MaxParts = 8
	// PartSpan is what one of them sends at a stretch: long, so that chains have few
	// holes on the way.
	PartSpan = 24 * time.Hour
	// MaxHelloTags is the fixed count hello tags are padded to: how many groups
	// one device can be in at once before the hello says less than it could.
	MaxHelloTags = 64
	// MaxExtensions bounds the unknown header fields that are kept.
	MaxExtensions = 8
	// MaxHLC is the first hybrid logical time that is refused: 2^48 ms, the year 10889.
	MaxHLC = 1 << 48
	// EpochAge is how long an epoch is sent under before members start another.
	EpochAge = 7 * 24 * time.Hour
	// AgedGrace is how long a member who started an epoch starts no other because the one
	// in use is old: where clocks are days apart it may look so at once.
	AgedGrace = 24 * time.Hour
	// EpochMessages is how many messages are sent under an epoch before members start
	// another.
	EpochMessages = 20_000
	// LeaveGrace is how long an epoch stays fit after somebody left or revoked a
	// device: seniors rotate long before, so that a group does not rekey in everybody's
	// name at once.
	LeaveGrace = time.Hour
	// RepeatGrace is the same for a leave or revocation less than that after another
	// of the same identity: who comes and goes makes the group rotate once a day.
	RepeatGrace = 24 * time.Hour
	// MaxSeq bounds sequence numbers, so that sums of them never overflow.
	MaxSeq = 1 << 48
	// MaxClockSkew is how far ahead of the local clock a time may be and still
	// move the hybrid clock: beyond it, one broken clock would drag everybody's.
	MaxClockSkew = 10 * time.Minute
)
