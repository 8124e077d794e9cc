package local

import (
	"context"
	"errors"
	"net/http"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/storage/disk"
)

var (
	// ErrClosing says that the holder is going away; the next one will answer.
	ErrClosing = errors.New("the process that holds the profile is closing")
	// ErrInterrupted says that the holder ended in the middle of a request that
	// changes something: whether it did is not known.
	ErrInterrupted = errors.New("the process that held the profile ended before it answered, and may or may not have done it")
	// ErrBadRequest says that the two sides do not understand each other.
	ErrBadRequest = errors.New("bad request")
)

// codes are the sentinels that keep their identity across the socket, so that
// errors.Is works on either side. The first that fits is taken.
func codes() []codeOf {
	return []codeOf{
		{"closing", ErrClosing},
		{"bad-request", ErrBadRequest},
		{"disk-full", disk.ErrFull},
		{"bad-store", disk.ErrDamaged},
		{"unknown-group", node.ErrUnknownGroup},
		{"unknown-name", node.ErrUnknownName},
		{"unknown-device", node.ErrUnknownDevice},
		{"unknown-invite", node.ErrUnknownInvite},
		{"unknown-message", node.ErrUnknownMessage},
		{"ambiguous", node.ErrAmbiguous},
		{"nothing", node.ErrNothing},
		{"approval", node.ErrApproval},
		{"mismatch", node.ErrMismatch},
		{"bad-safety", protocol.ErrBadSafety},
		{"question", node.ErrQuestion},
		{"no-question", node.ErrNoQuestion},
		{"elsewhere", node.ErrElsewhere},
		{"not-allowed", node.ErrNotAllowed},
		{"unsettled", node.ErrUnsettled},
		{"no-admitter", node.ErrNoAdmitter},
		{"banned", node.ErrBanned}, // before what it is a case of
		{"refused", node.ErrRefused},
		{"closed", node.ErrClosed},
		{"bad-plan", node.ErrBadPlan},
		{"nearby-tries", node.ErrNearbyTries},
		{"nearby-over", node.ErrNearbyOver},
		{"nearby-busy", node.ErrNearbyBusy},
		{"nearby-now", node.ErrNearbyNow},
		{"bad-file", node.ErrBadFile},
		{"not-for-you", node.ErrNotForYou},
		{"no-key", node.ErrNoKey},
		{"bad-link", protocol.ErrBadLink},
		{"bad-id", protocol.ErrBadID},
		{"too-large", protocol.ErrTooLarge},
		{"not-text", protocol.ErrNotText},
		{"deadline", context.DeadlineExceeded},
		{"canceled", context.Canceled},
	}
}

type codeOf struct {
	code string
	err  error
}

// apiError is an error on the socket.
type apiError struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
}

func toAPI(err error) *apiError {
	if err == nil {
		return nil
	}
	for _, c := range codes() {
		if errors.Is(err, c.err) {
			return &apiError{Code: c.code, Message: err.Error()}
		}
	}
	return &apiError{Message: err.Error()}
}

// Error implements error.
func (e *apiError) Error() string { return e.Message }

// Is implements errors.Is for the sentinel behind the code.
func (e *apiError) Is(target error) bool {
	for _, c := range codes() {
		if c.code == e.Code {
			return target == c.err
		}
	}
	return false
}

func (e *apiError) status() int {
	switch e.Code {
	case "closing":
		return http.StatusServiceUnavailable
	case "bad-request":
		return http.StatusBadRequest
	}
	return http.StatusUnprocessableEntity
}
