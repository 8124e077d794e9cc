package profile

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/p2pchat/p2pchat/protocol"
)

// keysFormat names the format of keys.json; a change that older programs cannot
// read gets another number.
const keysFormat = "p2pchat-keys/2"

// ErrKeys says that keys.json cannot be used.
var ErrKeys = errors.New("the key file cannot be used")

// Keys are who a person and a device are.
type Keys struct {
	Name    string
	Account protocol.Account
	Peer    crypto.PrivKey // libp2p's; tied to the account only towards members
}

// keysJSON is keys.json; byte slices are base64 there. Where it is sealed, all but
// format and protection is in Sealed, and the rest is absent.
type keysJSON struct {
	Version    string     `json:"format"`
	Protection protection `json:"protection"`
	secretJSON
	Sealed []byte `json:"sealed,omitempty"`
}

// secretJSON is what a key file must not show.
type secretJSON struct {
	Name   string `json:"name,omitempty"`
	Seed   []byte `json:"seed,omitempty"`
	Device []byte `json:"device,omitempty"`
	Peer   []byte `json:"peer,omitempty"`
}

// Format keeps keys out of output.
func (secretJSON) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// Format keeps keys out of output.
func (keysJSON) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// Format keeps keys out of output: libp2p's key would print its bytes.
func (Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// LogValue keeps keys out of logs.
func (Keys) LogValue() slog.Value { return slog.StringValue("redacted") }

// StoreKey is what seals the profile's store. It is the device's: a restored profile
// has another, and its own store.
func (k Keys) StoreKey() (protocol.Secret, error) {
	b, err := hkdf.Key(sha256.New, k.Account.Device[:], nil, "p2pchat profile store", len(protocol.Secret{}))
	if err != nil {
		return protocol.Secret{}, err
	}
	defer clear(b)
	return protocol.Secret(b), nil
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

// Create makes a profile with its keys under a seal. It never touches one that exists.
func Create(home string, k Keys, by Seal) error {
	if err := prepare(home); err != nil {
		return err
	}
	held, err := Acquire(home, "init")
	if err != nil {
		return err
	}
	defer func() { _ = held.Release() }()
	if err := prepare(home); err != nil { // somebody was faster
		return err
	}
	data, err := k.encode(by)
	if err != nil {
		return err
	}
	defer clear(data)
	return writeOnce(filepath.Join(home, keysFile), data)
}

func (k Keys) encode(by Seal) ([]byte, error) {
	peer, err := crypto.MarshalPrivateKey(k.Peer)
	if err != nil {
		return nil, err
	}
	secret := secretJSON{Name: k.Name, Seed: k.Account.Seed[:], Device: k.Account.Device[:], Peer: peer}
	f := keysJSON{Version: keysFormat}
	if by.Kind == SealNone {
		f.Protection.Kind, f.secretJSON = SealNone, secret
	} else if err := f.seal(secret, by); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(f, "", "  ")
	return append(data, '\n'), err
}

// maxKeyFile bounds a key file in bytes: a few hundred, however it is sealed.
const maxKeyFile = 64 << 10

// read reads a profile's key file. Keys that others could have read are refused, so
// that their owner learns of it.
func read(home string) (f keysJSON, path string, err error) {
	if err := Check(home); err != nil {
		return f, "", err
	}
	path = filepath.Join(home, keysFile)
	if err := errors.Join(checkPrivate(path), checkPrivate(home)); err != nil {
		return f, path, err
	}
	file, err := os.Open(path)
	if err != nil {
		return f, path, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return f, path, err
	}
	defer clear(data)
	if f, err = decodeFile(data); err != nil {
		return f, path, fmt.Errorf("%s: %w", path, err)
	}
	return f, path, nil
}

// Load reads a profile's keys. ask is called for the passphrase where they are under
// one.
func Load(home string, ask Ask) (Keys, error) {
	f, path, err := read(home)
	if err != nil {
		return Keys{}, err
	}
	k, err := f.open(ask)
	if err != nil {
		return Keys{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// SealOf says what a profile's keys are under, without opening it.
func SealOf(home string) (kind string, err error) {
	f, _, err := read(home)
	return f.Protection.Kind, err
}

// decodeFile reads keys.json as far as that takes no key. Its errors say what is wrong
// and never what is in it.
func decodeFile(data []byte) (f keysJSON, err error) {
	switch err := json.Unmarshal(data, &f); {
	case len(data) > maxKeyFile, err != nil:
		return f, fmt.Errorf("%w: it is cut short or damaged", ErrKeys)
	case f.Version != keysFormat:
		return f, fmt.Errorf("%w: format %q needs another version of p2pchat; this one reads %q", ErrKeys, clip(f.Version), keysFormat)
	}
	open := f.Protection.Kind == SealNone
	switch f.Protection.Kind {
	case SealNone, SealPassphrase, SealKeyring:
		if open != (len(f.Sealed) == 0) || !open && len(f.Seed)+len(f.Device)+len(f.Peer) > 0 {
			return f, fmt.Errorf("%w: it says %q about itself, and is not", ErrKeys, f.Protection.Kind)
		}
		return f, nil
	}
	return f, fmt.Errorf("%w: protection %q needs a later version of p2pchat", ErrKeys, clip(f.Protection.Kind))
}

// open opens a key file and reads the keys.
func (f *keysJSON) open(ask Ask) (Keys, error) {
	secret := f.secretJSON
	if f.Protection.Kind != SealNone {
		var err error
		if secret, err = f.unseal(ask); err != nil {
			return Keys{}, err
		}
	}
	defer func() { clear(secret.Seed); clear(secret.Device); clear(secret.Peer) }()
	return secret.keys()
}

func (f secretJSON) keys() (Keys, error) {
	if len(f.Seed) != len(protocol.Secret{}) || len(f.Device) != len(protocol.Secret{}) {
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
