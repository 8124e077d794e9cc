package node

import (
	"errors"
	"fmt"

	"github.com/p2pchat/p2pchat/protocol"
)

// Errors that callers tell apart with errors.Is. What the node returns wraps them
// and names the thing.
var (
	ErrClosed         = errors.New("the node is closed")
	ErrConfig         = errors.New("bad configuration")
	ErrUnknownGroup   = errors.New("no such group")
	ErrUnknownName    = errors.New("nobody of that name")
	ErrUnknownMessage = errors.New("no such message here")
	ErrUnknownDevice  = errors.New("no such device")
	ErrUnknownInvite  = errors.New("no such invite")
	ErrAmbiguous      = errors.New("more than one fits")
	ErrNotAllowed     = errors.New("not allowed")
	ErrNoKey          = protocol.ErrNoKey
	ErrTooLarge       = protocol.ErrTooLarge
	ErrNotText        = protocol.ErrNotText
	ErrBadPlan        = protocol.ErrBadPlan
	ErrBadLink        = protocol.ErrBadLink
	ErrBadFile        = protocol.ErrBadFile
	// ErrNotForYou says that nothing in this profile opens a bundle: which of its cases it
	// is, the file does not show.
	ErrNotForYou = errors.New("it is of a group that you are not in, for somebody else, from after you were out, or by who has had no file of yours yet; nothing here opens it")
	// ErrUnsettled says that somebody has let this node in, and what makes it a member has
	// not come yet, or could not be stored. It comes when a member is met.
	ErrUnsettled = errors.New("let in, and what the group has said is not here yet")
	// ErrNoAdmitter says that nobody who may admit was reached in time.
	ErrNoAdmitter = errors.New("nobody who may admit was reachable")
	// ErrRefused says that somebody who may admit said no.
	ErrRefused = errors.New("admission refused")
	// ErrBanned is the ErrRefused that only an unban ends.
	ErrBanned = fmt.Errorf("%w", ErrRefused)
	// ErrApproval says that a person has to approve a request to join, and has not yet.
	ErrApproval = errors.New("a person has to approve first")
	// ErrElsewhere says that who was reached may not admit by an invitation: only who
	// made it, or somebody more senior.
	ErrElsewhere = errors.New("who was reached may not admit by this invitation")
	// ErrQuestion says that an invitation asks a question, and that there is no answer.
	ErrQuestion = errors.New("the invitation asks a question")
	// ErrNoQuestion says that there is an answer, and that the invitation asks nothing.
	ErrNoQuestion = errors.New("the invitation asks no question")
	// ErrMismatch says that a safety number is another: somebody has another key.
	ErrMismatch = errors.New("the safety numbers differ")
	// ErrNothing says that an act would change nothing.
	ErrNothing = errors.New("nothing to do")
	// ErrNoPeer says that nobody of the group is connected.
	ErrNoPeer = errors.New("nobody to ask")
	// ErrListen says that an address cannot be listened on.
	ErrListen = errors.New("cannot listen")
)
