package profile

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"github.com/zalando/go-keyring"
)

// What a profile's keys are under.
const (
	SealNone       = "none"       // nothing but the file's mode
	SealPassphrase = "passphrase" // age with scrypt
	SealKeyring    = "keyring"    // AES-256-GCM, its key with the system
)

var (
	// ErrNeedPassphrase says that keys are under a passphrase and nobody gave it.
	ErrNeedPassphrase = errors.New("the profile is sealed with a passphrase: type it at a terminal, or give it by --passphrase-fd N")
	// ErrPassphrase says that a passphrase is not the one.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrWeak says that a passphrase cannot be used as one.
	ErrWeak = errors.New("not a usable passphrase")
	// ErrKeyring says that the system's keyring does not answer, or not with the key.
	ErrKeyring = errors.New("no key in the system's keyring")
)

// workFactor is scrypt's log2(N) at r=8: 128 MiB and half a second for each guess.
// A file that asks for more than maxWork, 256 MiB, is refused before it gets it.
const (
	workFactor = 17
	maxWork    = 18
)

// MaxPassphrase bounds a passphrase in bytes: more than anybody types.
const MaxPassphrase = 1024

// Passphrase prints as "redacted".
type Passphrase []byte

// Format keeps a passphrase out of output.
func (Passphrase) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// Check says whether it can be used for a new seal.
func (p Passphrase) Check() error {
	switch {
	case len(bytes.TrimSpace(p)) == 0:
		return fmt.Errorf("%w: it is empty", ErrWeak)
	case len(p) > MaxPassphrase || !utf8.Valid(p):
		return fmt.Errorf("%w: over %d bytes, or not UTF-8", ErrWeak, MaxPassphrase)
	}
	return nil
}

// Ask returns the passphrase of a profile. It is called only where one is needed.
type Ask func() (Passphrase, error)

// Seal says what keys are to be put under.
type Seal struct {
	Kind       string
	Passphrase Passphrase // where Kind is SealPassphrase

	work int // a test's work factor; 0 is workFactor
}

// protection is how a key file says what opens it.
type protection struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"` // the key's name in the keyring
}

func (f *keysJSON) seal(secret secretJSON, by Seal) error {
	plain, err := json.Marshal(secret)
	if err != nil {
		return err
	}
	defer clear(plain)
	f.Protection.Kind = by.Kind
	switch by.Kind {
	case SealPassphrase:
		f.Sealed, err = sealAge(plain, by)
	case SealKeyring:
		f.Protection.ID = rand.Text()
		f.Sealed, err = sealKeyring(plain, f.Protection.ID)
	default:
		err = fmt.Errorf("no way to seal keys is called %q", by.Kind)
	}
	return err
}

func (f *keysJSON) unseal(ask Ask) (secret secretJSON, err error) {
	var plain []byte
	switch f.Protection.Kind {
	case SealPassphrase:
		if ask == nil {
			return secret, ErrNeedPassphrase
		}
		passphrase, err := ask()
		if err != nil {
			return secret, err
		}
		plain, err = openAge(f.Sealed, passphrase)
		clear(passphrase)
		if err != nil {
			return secret, err
		}
	case SealKeyring:
		if plain, err = openKeyring(f.Sealed, f.Protection.ID); err != nil {
			return secret, err
		}
	}
	defer clear(plain)
	if json.Unmarshal(plain, &secret) != nil {
		return secret, fmt.Errorf("%w: what is sealed in it is damaged", ErrKeys)
	}
	return secret, nil
}

// Encrypt writes a stream that only the passphrase opens, in the age format. It is
// whole once the writer is closed.
func Encrypt(w io.Writer, p Passphrase) (io.WriteCloser, error) { return encrypt(w, p, workFactor) }

func encrypt(w io.Writer, p Passphrase, work int) (io.WriteCloser, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	r, err := age.NewScryptRecipient(string(p))
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(work)
	return age.Encrypt(w, r)
}

// Decrypt reads what Encrypt wrote. A stream that was cut short or changed fails as it
// is read, at the latest at its end.
func Decrypt(r io.Reader, p Passphrase) (io.Reader, error) {
	if len(p) == 0 {
		return nil, ErrPassphrase
	}
	id, err := age.NewScryptIdentity(string(p))
	if err != nil {
		return nil, err
	}
	id.SetMaxWorkFactor(maxWork)
	out, err := age.Decrypt(r, id)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, age.ErrIncorrectIdentity) && strings.Contains(err.Error(), "incorrect passphrase"):
		return nil, ErrPassphrase
	}
	return nil, fmt.Errorf("not a file sealed with a passphrase, or damaged: %w", err)
}

func sealAge(plain []byte, by Seal) ([]byte, error) {
	var b bytes.Buffer
	w, err := encrypt(&b, by.Passphrase, cmp.Or(by.work, workFactor))
	if err != nil {
		return nil, err
	}
	_, err = w.Write(plain)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

func openAge(sealed []byte, p Passphrase) ([]byte, error) {
	r, err := Decrypt(bytes.NewReader(sealed), p)
	if err != nil {
		if errors.Is(err, ErrPassphrase) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%w: what is sealed in it is damaged", ErrKeys)
	}
	return plain, nil
}

// keyringService is what p2pchat's keys are filed under in the system's keyring.
const keyringService = "p2pchat"

// keyringAEAD makes the cipher of a key in the keyring.
func keyringAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealKeyring draws a key, hands it to the system, and takes it back to see that it is
// kept.
func sealKeyring(plain []byte, id string) ([]byte, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	defer clear(key)
	if err := keyring.Set(keyringService, id, base64.StdEncoding.EncodeToString(key)); err != nil {
		return nil, noKeyring(err)
	}
	aead, err := keyringAEAD(key)
	if err != nil {
		return nil, err
	}
	sealed := aead.Seal(nil, nil, plain, []byte(keysFormat+id))
	_, err = openKeyring(sealed, id)
	return sealed, err
}

func openKeyring(sealed []byte, id string) ([]byte, error) {
	text, err := keyring.Get(keyringService, id)
	if err != nil {
		return nil, noKeyring(err)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	defer clear(key)
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%w: what is there under %q is not one", ErrKeyring, clip(id))
	}
	aead, err := keyringAEAD(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed, []byte(keysFormat+id))
	if err != nil {
		return nil, fmt.Errorf("%w: the one under %q does not open the keys", ErrKeyring, clip(id))
	}
	return plain, nil
}

// noKeyring says why the system's keyring is of no use. On a machine without a desktop
// there is usually none.
func noKeyring(err error) error {
	if errors.Is(err, keyring.ErrNotFound) {
		return fmt.Errorf("%w: it was deleted, or this is another user or machine", ErrKeyring)
	}
	return fmt.Errorf("%w: it does not answer: %w", ErrKeyring, err)
}
