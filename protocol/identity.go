package protocol

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tyler-smith/go-bip39"
)

// ErrBadPhrase says that a recovery phrase is not 24 words with a valid checksum.
var ErrBadPhrase = errors.New("not a valid 24-word phrase")

// ErrBadCert says that a device certificate does not hold.
var ErrBadCert = errors.New("bad device certificate")

// Account is what one person's identities are derived from. The seed is the
// person's, written down as 24 words; Device belongs to one installation and is
// never restored, so that a restored profile is a new device.
type Account struct {
	Seed   Secret
	Device Secret
}

// NewAccount draws an account from random.
func NewAccount(random io.Reader) (Account, error) {
	seed, err := NewSecret(random)
	if err != nil {
		return Account{}, err
	}
	device, err := NewSecret(random)
	return Account{Seed: seed, Device: device}, err
}

// Phrase returns the seed as 24 words (BIP-39, English): 256 bits and a checksum.
func (a Account) Phrase() string { return must(bip39.NewMnemonic(a.Seed[:])) }

// ParsePhrase reads 24 words back into a seed.
func ParsePhrase(words string) (Secret, error) {
	b, err := bip39.EntropyFromMnemonic(strings.Join(strings.Fields(strings.ToLower(words)), " "))
	if err != nil || len(b) != 32 {
		return Secret{}, ErrBadPhrase
	}
	return Secret(b), nil
}

// On returns the account on one installation: Device mixed with a value that belongs to
// it, so that the same account on another one is another device.
func (a Account) On(installation [32]byte) Account {
	a.Device = deriveSecret(a.Device[:], installation[:], "p2pchat/1 installation")
	return a
}

// Identity is who an account is in one group: a root key that certifies devices
// and revokes them, and this device's key. No two groups see the same keys.
type Identity struct {
	root, dev ed25519.PrivateKey
}

// Identity derives the keys for a group. The tag is the group's id, or the
// genesis salt for its founders, who sign before the id exists.
func (a Account) Identity(tag [32]byte) Identity {
	key := func(s Secret, info string) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(derive(s[:], tag[:], ed25519.SeedSize, info))
	}
	return Identity{root: key(a.Seed, "p2pchat/1 identity"), dev: key(a.Device, "p2pchat/1 device")}
}

// Root returns the identity's public key.
func (i Identity) Root() Key { return publicKey(i.root) }

// Dev returns the device's public key.
func (i Identity) Dev() Key { return publicKey(i.dev) }

// Signer returns the device's private key, for the drafts of this identity.
func (i Identity) Signer() ed25519.PrivateKey { return i.dev }

// Format keeps keys out of output.
func (Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// Cert says that a device belongs to an identity. Both sign, so nobody can claim
// another's device.
type Cert struct {
	Root    Key       `cbor:"1,keyasint"`
	Dev     Key       `cbor:"3,keyasint"`
	RootSig Signature `cbor:"5,keyasint"`
	DevSig  Signature `cbor:"7,keyasint"`
}

func certPreimage(domain string, root, dev Key) []byte {
	return append(append([]byte(domain), root[:]...), dev[:]...)
}

const (
	domainCertRoot = "p2pchat/1 cert root"
	domainCertDev  = "p2pchat/1 cert device"
)

// Cert certifies this device.
func (i Identity) Cert() Cert {
	root, dev := i.Root(), i.Dev()
	return Cert{
		Root: root, Dev: dev,
		RootSig: sign(i.root, certPreimage(domainCertRoot, root, dev)),
		DevSig:  sign(i.dev, certPreimage(domainCertDev, root, dev)),
	}
}

// Verify checks both signatures, and that neither key is one of those for which
// more than its holder could sign.
func (c *Cert) Verify() error {
	if checkKey(c.Root) != nil || checkKey(c.Dev) != nil {
		return fmt.Errorf("%w: %w", ErrBadCert, ErrBadKey)
	}
	if !verifySig(c.Root, certPreimage(domainCertRoot, c.Root, c.Dev), c.RootSig) ||
		!verifySig(c.Dev, certPreimage(domainCertDev, c.Root, c.Dev), c.DevSig) {
		return fmt.Errorf("%w: %w", ErrBadCert, ErrBadSignature)
	}
	return nil
}

func (r *DeviceRevoke) preimage() []byte {
	return append(certPreimage("p2pchat/1 revoke", r.Root, r.Dev), marshal(r.Cut)...)
}

// Revoke makes the root's statement that a device is no more, but for the cut.
func (i Identity) Revoke(dev Key, cut Cut) *DeviceRevoke {
	r := &DeviceRevoke{Root: i.Root(), Dev: dev, Cut: cut}
	r.Sig = sign(i.root, r.preimage())
	return r
}

// Verify checks the root's signature.
func (r *DeviceRevoke) Verify() error {
	if !verifySig(r.Root, r.preimage(), r.Sig) {
		return fmt.Errorf("revocation: %w", ErrBadSignature)
	}
	return nil
}
