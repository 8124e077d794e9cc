package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/p2pchat/p2pchat/protocol"
)

// keysFormat names the format of keys.json; a change that older programs cannot
// read gets another number.
const keysFormat = "p2pchat-keys/1"

// ErrKeys says that keys.json cannot be used.
var ErrKeys = errors.New("the key file cannot be used")

// Keys are who a person and a device are.
type Keys struct {
	Name    string
	Account protocol.Account
	Peer    crypto.PrivKey // libp2p's; tied to the account only towards members
}

// Protections of the secrets in keys.json. A passphrase is reserved.
const protectionNone = "none"

// keysJSON is keys.json; byte slices are base64 there.
type keysJSON struct {
	Format     string `json:"format"`
	Protection struct {
		Kind string `json:"kind"`
	} `json:"protection"`
	Name   string `json:"name"`
	Seed   []byte `json:"seed"`
	Device []byte `json:"device"`
	Peer   []byte `json:"peer"`
}

// NewKeys draws the keys of a new device. With a seed, they are a new device of
// the account that the seed is of; a zero seed is a new account.
func NewKeys(name string, seed protocol.Secret, random io.Reader) (Keys, error) {
	if err := checkName(name); err != nil {
		return Keys{}, err
	}
	account, err := protocol.NewAccount(random)
	if err != nil {
		return Keys{}, err
	}
	if !seed.IsZero() {
		account.Seed = seed
	}
	peer, _, err := crypto.GenerateEd25519Key(random)
	return Keys{Name: name, Account: account, Peer: peer}, err
}

// ErrName says that a name cannot be used.
var ErrName = errors.New("not a usable name")

func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > protocol.MaxNameSize:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrName, len(name), protocol.MaxNameSize)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }):
		return fmt.Errorf("%w: it has control characters or is not UTF-8", ErrName)
	}
	return nil
}

// Create makes a profile. It never touches one that exists.
func Create(home string, k Keys) error {
	if err := prepare(home); err != nil {
		return err
	}
	lock, err := Acquire(home, "init")
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	if err := prepare(home); err != nil { // somebody was faster
		return err
	}
	data, err := k.encode()
	if err != nil {
		return err
	}
	return writeOnce(filepath.Join(home, keysFile), data)
}

func (k Keys) encode() ([]byte, error) {
	var f keysJSON
	f.Format, f.Protection.Kind, f.Name = keysFormat, protectionNone, k.Name
	f.Seed, f.Device = k.Account.Seed[:], k.Account.Device[:]
	var err error
	if f.Peer, err = crypto.MarshalPrivateKey(k.Peer); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(f, "", "  ")
	return append(data, '\n'), err
}

// Load reads a profile's keys. Keys that others could have read are refused, so
// that their owner learns of it.
func Load(home string) (Keys, error) {
	if err := Check(home); err != nil {
		return Keys{}, err
	}
	path := filepath.Join(home, keysFile)
	err := checkPrivate(path)
	if err == nil {
		err = checkPrivate(home)
	}
	if err != nil {
		return Keys{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Keys{}, err
	}
	k, err := decodeKeys(data)
	if err != nil {
		return Keys{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// decodeKeys reads keys.json. Its errors say what is wrong and never what is in it.
func decodeKeys(data []byte) (Keys, error) {
	var f keysJSON
	if err := json.Unmarshal(data, &f); err != nil {
		return Keys{}, fmt.Errorf("%w: it is cut short or damaged", ErrKeys)
	}
	switch {
	case f.Format != keysFormat:
		return Keys{}, fmt.Errorf("%w: format %q needs another version of p2pchat; this one reads %q", ErrKeys, clip(f.Format), keysFormat)
	case f.Protection.Kind != protectionNone:
		return Keys{}, fmt.Errorf("%w: protection %q needs a later version of p2pchat", ErrKeys, clip(f.Protection.Kind))
	case len(f.Seed) != len(protocol.Secret{}) || len(f.Device) != len(protocol.Secret{}):
		return Keys{}, fmt.Errorf("%w: a secret is missing or cut short", ErrKeys)
	}
	peer, err := crypto.UnmarshalPrivateKey(f.Peer)
	if err != nil || peer.Type() != crypto.Ed25519 {
		return Keys{}, fmt.Errorf("%w: the peer key is missing or damaged", ErrKeys)
	}
	if err := checkName(f.Name); err != nil {
		return Keys{}, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return Keys{
		Name:    f.Name,
		Account: protocol.Account{Seed: protocol.Secret(f.Seed), Device: protocol.Secret(f.Device)},
		Peer:    peer,
	}, nil
}

// clip keeps a damaged file from flooding an error.
func clip(s string) string {
	const most = 32
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
