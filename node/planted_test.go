package node_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"github.com/p2pchat/p2pchat/internal/fixture/planted"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// page is what was logged, from several goroutines.
type page struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *page) text() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.b.Bytes())
}

// Two people work with secrets that can be recognised, through all that makes, stores
// and hands on keys, and through what fails. None of them is in a log at its most
// talkative, in an error, in what a value prints, or in the datastore.
func TestSecretsAreNowhere(t *testing.T) {
	logged := new(page)
	loud := func(cfg *node.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", cfg.Name)
		cfg.StoreKey = protocol.Secret{5, 4, 3, 2, 1, cfg.Account.Seed[0]}
	}
	ana, bo := start(t, "Ana the planted", loud), start(t, "Bo the planted", loud)
	club := ana.create("a planted group name")
	link := ana.invite(club, node.InviteOptions{})
	bo.join(link)
	text := "planted words that only members may read"
	ana.send(club, text)
	bo.await(club, 1)
	ana.rotate(club, true, nil)
	bo.opens(club, 2)
	bo.send(club, text)
	ana.await(club, 2)

	secrets := planted.Secrets{}
	parsed, err := protocol.ParseLink(link)
	if err != nil {
		t.Fatal(err)
	}
	lobby := parsed.Lobby()
	secrets.Add("invite seed", parsed.Seed[:])
	secrets.Add("lobby", lobby[:])
	for _, p := range []*person{ana, bo} {
		for name, s := range p.SecretsOf(club) {
			secrets.Add(p.cfg.Name+": "+name, s)
		}
	}
	for name, s := range map[string]string{"text": text, "group name": "a planted group name", "Ana's name": "Ana the planted", "phrase": ana.cfg.Account.Phrase()} {
		secrets.Add(name, []byte(s))
	}
	if len(secrets) < 20 {
		t.Fatalf("the test planted only %d secrets", len(secrets))
	}

	var failures []error
	for _, bad := range []string{link[:len(link)/2], link[:len(link)-1] + "!", link + link} {
		failures = append(failures, errOf(bo.Join(ctx(t), bad)))
	}
	failures = append(failures, errOf(protocol.ParsePhrase(ana.cfg.Account.Phrase()+" planted")))
	failures = append(failures, errOf(ana.Send(ctx(t), club, text+string(bytes.Repeat([]byte("x"), protocol.MaxTextSize)))))
	failures = append(failures, errOf(ana.Send(ctx(t), club, text+"\xff")))
	ana.sleep()
	other := ana.cfg
	other.StoreKey = protocol.Secret{9}
	failures = append(failures, errOf(node.New(ctx(t), other)))
	for i, err := range failures {
		if err == nil {
			t.Errorf("failure %d did not fail", i)
		} else if found := secrets.In([]byte(err.Error())); len(found) > 0 {
			t.Errorf("an error tells %q: %v", found, err)
		}
	}
	ana.wake()
	// Names are not secret to whoever prints a Config; on the disk they are.
	names := planted.Secrets{}
	for _, name := range []string{"Ana's name", "group name"} {
		names[name] = secrets[name]
		delete(secrets, name)
	}
	values := append(append(ana.SecretBearers(club), bo.SecretBearers(club)...), parsed, &parsed, lobby, protocol.Aside{Lobby: lobby})
	ana.sleep() // what is printed follows pointers
	bo.sleep()
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if found := secrets.In([]byte(fmt.Sprintf(verb, v))); len(found) > 0 {
				t.Errorf("%T prints %q with %s", v, found, verb)
			}
		}
		slog.New(slog.NewJSONHandler(logged, nil)).Info("a value", "v", v)
	}
	if found := secrets.In(logged.text()); len(found) > 0 {
		t.Errorf("the log has %q", found)
	}
	if len(logged.text()) < 1000 {
		t.Errorf("the log has only %d bytes", len(logged.text()))
	}
	maps.Copy(secrets, names)
	for _, p := range []*person{ana, bo} {
		for key, value := range dump(t, p.cfg.Datastore) {
			if found := secrets.In(append([]byte(key+" "), value...)); len(found) > 0 {
				t.Errorf("%s's store has %q under %s", p.cfg.Name, found, key)
			}
		}
	}
}
