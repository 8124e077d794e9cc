package profile

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/zalando/go-keyring"

	"github.com/p2pchat/p2pchat/protocol"
)

func say(words string) Ask { return func() (Passphrase, error) { return Passphrase(words), nil } }

func words(s string) Seal { return Seal{Kind: SealPassphrase, Passphrase: Passphrase(s), work: 8} }

// sealed makes a profile whose keys are under a seal.
func sealed(t *testing.T, by Seal) (home string, k Keys) {
	t.Helper()
	k, err := NewKeys("Ana", protocol.Secret{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	home = newHome(t)
	if err := Create(home, k, by); err != nil {
		t.Fatal(err)
	}
	return home, k
}

// shows says whether a file has some of the keys as they are.
func shows(t *testing.T, home string, k Keys) bool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(home, keysFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []protocol.Secret{k.Account.Seed, k.Account.Device} {
		if bytes.Contains(data, []byte(base64.StdEncoding.EncodeToString(s[:]))) {
			return true
		}
	}
	return false
}

func TestKeysUnderAPassphrase(t *testing.T) {
	home, k := sealed(t, words("correct horse"))
	if shows(t, home, k) {
		t.Error("the file shows the keys")
	}
	if got, err := Load(home, say("correct horse")); err != nil || got.Account != k.Account || got.Name != "Ana" {
		t.Errorf("with the passphrase: %v", err)
	}
	for name, ask := range map[string]Ask{"another": say("wrong horse"), "none": say("")} {
		if _, err := Load(home, ask); !errors.Is(err, ErrPassphrase) {
			t.Errorf("with %s passphrase: %v", name, err)
		}
	}
	if _, err := Load(home, nil); !errors.Is(err, ErrNeedPassphrase) {
		t.Errorf("without asking: %v", err)
	}
}

// Each way to another seal keeps the keys, and what was before opens nothing.
func TestReseal(t *testing.T) {
	keyring.MockInit()
	home, k := sealed(t, Seal{Kind: SealNone})
	if !shows(t, home, k) {
		t.Fatal("the test does not see keys in the open")
	}
	ask := Ask(nil)
	for _, by := range []Seal{words("one"), words("two"), {Kind: SealKeyring}, words("three"), {Kind: SealNone}} {
		next := ask
		if by.Kind == SealPassphrase {
			next = say(string(by.Passphrase))
		}
		if err := Reseal(home, ask, by); err != nil {
			t.Fatalf("to %s: %v", by.Kind, err)
		}
		got, err := Load(home, next)
		if err != nil || got.Account != k.Account || !got.Peer.Equals(k.Peer) {
			t.Fatalf("under %s: %v", by.Kind, err)
		}
		if kind, err := SealOf(home); kind != by.Kind || err != nil {
			t.Errorf("it says it is under %s, %v", kind, err)
		}
		if shows(t, home, k) != (by.Kind == SealNone) {
			t.Errorf("under %s the file shows the keys, or not", by.Kind)
		}
		ask = next
	}
	if left, _ := filepath.Glob(filepath.Join(home, tempPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Whatever goes wrong, the keys stay as they were.
func TestResealThatFailsLosesNothing(t *testing.T) {
	home, k := sealed(t, words("one"))
	path := filepath.Join(home, keysFile)
	before, _ := os.ReadFile(path)
	keyring.MockInitWithError(errors.New("no bus"))
	for name, c := range map[string]struct {
		ask  Ask
		by   Seal
		want error
	}{
		"wrong passphrase": {say("two"), words("three"), ErrPassphrase},
		"nobody to ask":    {nil, words("three"), ErrNeedPassphrase},
		"empty":            {say("one"), words(" "), ErrWeak},
		"no keyring":       {say("one"), Seal{Kind: SealKeyring}, ErrKeyring},
	} {
		if err := Reseal(home, c.ask, c.by); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := replace(path, []byte("half"), func([]byte) error { return errors.New("not what was written") }); err == nil {
		t.Error("a file that does not pass its check took the old one's place")
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the key file changed")
	}
	if got, err := Load(home, say("one")); err != nil || got.Account != k.Account {
		t.Error(err)
	}
	held, err := Acquire(home, "daemon")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Release() }()
	if err := Reseal(home, say("one"), words("two")); !errors.Is(err, ErrHeld) {
		t.Errorf("while it is held: %v", err)
	}
}

func TestKeysUnderTheKeyring(t *testing.T) {
	keyring.MockInit()
	home, k := sealed(t, Seal{Kind: SealKeyring})
	if shows(t, home, k) {
		t.Error("the file shows the keys")
	}
	if got, err := Load(home, nil); err != nil || got.Account != k.Account {
		t.Errorf("with the keyring: %v", err)
	}
	keyring.MockInit() // another user's
	if _, err := Load(home, nil); !errors.Is(err, ErrKeyring) || !strings.Contains(err.Error(), "deleted") {
		t.Errorf("without the key: %v", err)
	}
	keyring.MockInitWithError(errors.New("no bus"))
	if _, err := Load(home, nil); !errors.Is(err, ErrKeyring) || !strings.Contains(err.Error(), "no bus") {
		t.Errorf("without a keyring: %v", err)
	}
}

// A stranger's file cannot have this machine work or remember without bound.
func TestDecryptIsBounded(t *testing.T) {
	r, err := age.NewScryptRecipient("x")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(8)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	greedy := bytes.Replace(b.Bytes(), []byte(" 8\n"), []byte(" 30\n"), 1)
	if bytes.Equal(greedy, b.Bytes()) {
		t.Fatal("the test found no work factor to raise")
	}
	if _, err := Decrypt(bytes.NewReader(greedy), Passphrase("x")); err == nil || !strings.Contains(err.Error(), "work factor too large") {
		t.Errorf("a file that asks for 1 TiB: %v", err)
	}
	if _, err := Decrypt(bytes.NewReader(b.Bytes()), Passphrase("x")); err != nil {
		t.Errorf("one that asks for little: %v", err)
	}
	home, _ := sealed(t, Seal{Kind: SealNone})
	path := filepath.Join(home, keysFile)
	if err := os.WriteFile(path, bytes.Repeat([]byte(" "), maxKeyFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(home, nil); !errors.Is(err, ErrKeys) {
		t.Errorf("a key file without end: %v", err)
	}
}

func TestSecretsPrintRedacted(t *testing.T) {
	k, err := NewKeys("Ana", protocol.Secret{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{k, &k, Passphrase("horse"), words("horse"), secretJSON{Seed: []byte("horse")}, keysJSON{Sealed: []byte("horse")}, []any{k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if s := fmt.Sprintf(verb, v); !strings.Contains(s, "redacted") || strings.Contains(s, "horse") || strings.Contains(s, "686f727365") {
				t.Errorf("%T prints %s with %s", v, s, verb)
			}
		}
	}
}
