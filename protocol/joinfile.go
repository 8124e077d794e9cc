package protocol

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Two people without a network join by two files: the newcomer's request, and the
// answer to it, a welcome with what the group has said so far. Each begins with a line
// that says what it is.

// ErrBadFile says that a file is damaged, or not the one that belongs here.
var ErrBadFile = errors.New("not the file that belongs here")

const (
	requestHead = "p2pchat/1 request\n"
	welcomeHead = "p2pchat/1 welcome\n"
)

// requestFile and welcomeFile are what follows the first line.
type requestFile struct {
	Group   ID     `cbor:"1,keyasint"`
	Request []byte `cbor:"3,keyasint"`
}

type welcomeFile struct {
	Group   ID     `cbor:"1,keyasint"`
	Request ID     `cbor:"3,keyasint"` // SHA-256 of the request that it answers
	Welcome []byte `cbor:"5,keyasint"`
	Bundle  []byte `cbor:"7,keyasint"` // frames of events and records, under the key in the welcome
}

// ID is what a welcome in a file names the request by that it answers.
func (r JoinRequest) ID() ID { return sha256.Sum256(r.Encode()) }

// File returns the request as a file.
func (r JoinRequest) File(group ID) []byte {
	return append([]byte(requestHead), marshal(requestFile{group, r.Encode()})...)
}

// ParseRequestFile reads a request from a file, and checks it as [ParseJoinRequest] does.
func ParseRequestFile(data []byte) (group ID, r JoinRequest, err error) {
	var f requestFile
	if err := parseFile(data, requestHead, MaxRequestFile, &f); err != nil {
		return group, r, err
	}
	if r, err = ParseJoinRequest(f.Group, f.Request); err != nil {
		return group, r, fmt.Errorf("%w: %w", ErrBadFile, err)
	}
	return f.Group, r, nil
}

func parseFile(data []byte, head string, most int, to any) error {
	body, ok := bytes.CutPrefix(data, []byte(head))
	switch {
	case len(data) > most:
		return fmt.Errorf("%w: %d bytes: %w: at most %d", ErrBadFile, len(data), ErrTooLarge, most)
	case bytes.HasPrefix(data, []byte(requestHead)) && !ok:
		return fmt.Errorf("%w: this is a request to join; the answer to it is asked for", ErrBadFile)
	case bytes.HasPrefix(data, []byte(welcomeHead)) && !ok:
		return fmt.Errorf("%w: this is the answer to a request to join; the request is asked for", ErrBadFile)
	case bytes.HasPrefix(data, []byte(bundleLine)):
		return fmt.Errorf("%w: this is a bundle, which members import", ErrBadFile)
	case !ok:
		return fmt.Errorf("%w: it does not begin with %q", ErrBadFile, head[:len(head)-1])
	}
	if err := unmarshal(body, to); err != nil {
		return fmt.Errorf("%w: it is cut short or damaged: %w", ErrBadFile, err)
	}
	return nil
}

// WelcomeFile is the answer to a request as a file, before it is opened.
type WelcomeFile struct {
	Group   ID
	Request ID // see [JoinRequest.ID]
	sealed  []byte
	bundle  []byte
}

func bundleInfo(group, request ID) []byte {
	return slices.Concat([]byte("p2pchat/1 bundle"), group[:], request[:])
}

// SealFile seals a welcome as [Welcome.Seal] does, and frames of events and records with
// it, as a file. The key that seals the frames is drawn for this file and is in the
// welcome, which the admitter signs.
func (w Welcome) SealFile(group ID, r JoinRequest, admitter ed25519.PrivateKey, frames []byte, random io.Reader) ([]byte, error) {
	key, err := NewSecret(random)
	if err != nil {
		return nil, err
	}
	f := welcomeFile{Group: group, Request: r.ID()}
	w.Bundle = key
	if f.Welcome, err = w.Seal(group, r, admitter); err != nil {
		return nil, err
	}
	f.Bundle = gcm(key[:]).Seal(nil, make([]byte, 12), frames, bundleInfo(group, f.Request))
	out := append([]byte(welcomeHead), marshal(f)...)
	if len(out) > MaxWelcomeFile {
		return nil, fmt.Errorf("welcome of %d bytes: %w: at most %d", len(out), ErrTooLarge, MaxWelcomeFile)
	}
	return out, nil
}

// ParseWelcomeFile reads a welcome from a file. Nothing in it is believed before it is
// opened.
func ParseWelcomeFile(data []byte) (WelcomeFile, error) {
	var f welcomeFile
	if err := parseFile(data, welcomeHead, MaxWelcomeFile, &f); err != nil {
		return WelcomeFile{}, err
	}
	return WelcomeFile{f.Group, f.Request, f.Welcome, f.Bundle}, nil
}

// Open opens a welcome for the device whose request it answers. What [OpenWelcome] says
// of the admitter holds for the frames as well.
func (f WelcomeFile) Open(joiner Key, key BoxKey) (w Welcome, admitter Key, frames []byte, err error) {
	w, admitter, err = OpenWelcome(f.Group, joiner, key, f.sealed)
	if err != nil {
		return w, admitter, nil, fmt.Errorf("%w: %w", ErrBadFile, err)
	}
	if len(f.bundle) < gcmOverhead || w.Bundle.IsZero() {
		return w, admitter, nil, fmt.Errorf("%w: welcome without a bundle", ErrBadFile)
	}
	frames, err = gcm(w.Bundle[:]).Open(nil, make([]byte, 12), f.bundle, bundleInfo(f.Group, f.Request))
	if err != nil {
		return w, admitter, nil, fmt.Errorf("%w: bundle: %w", ErrBadFile, ErrSealBroken)
	}
	return w, admitter, frames, nil
}
