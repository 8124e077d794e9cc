package node_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/p2pchat/p2pchat/internal/fixture/child"
	"github.com/p2pchat/p2pchat/internal/fixture/netns"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Nearby joins nearby: it chooses who is called Text, and returns the digits to compare.
func (p *Person) Nearby(q Ask, digits *string) (err error) {
	if p.near, err = p.n.JoinNearby(context.Background()); err != nil {
		return err
	}
	return p.compare(q, digits)
}

// NearbyInvite is Nearby for who invites.
func (p *Person) NearbyInvite(q Ask, digits *string) (err error) {
	if p.near, err = p.n.InviteNearby(context.Background(), q.Group); err != nil {
		return err
	}
	return p.compare(q, digits)
}

func (p *Person) compare(q Ask, digits *string) error {
	for state, err := range p.near.States() {
		i := slices.IndexFunc(state.People, func(n node.NearbyPerson) bool { return n.Name == q.Text })
		switch {
		case err != nil:
			return err
		case state.Phase == node.NearbyLooking && i >= 0:
			if err := p.near.Choose(state.People[i].ID); err != nil {
				return err
			}
		case state.Phase == node.NearbyComparing && state.Digits != "":
			*digits = state.Digits
			return nil
		}
	}
	return node.ErrNearbyOver
}

// NearbyMatch says that the other screen shows Text, and waits for the end.
func (p *Person) NearbyMatch(q Ask, group *protocol.ID) error {
	if err := p.near.Match(q.Text, true); err != nil {
		return err
	}
	for state, err := range p.near.States() {
		if err != nil {
			return err
		}
		*group = state.Group
	}
	return nil
}

// mdnsEar prints every packet of multicast DNS, in hex.
func mdnsEar([]string) error {
	ifi, err := net.InterfaceByName(netns.Interface)
	if err != nil {
		return err
	}
	c, err := net.ListenMulticastUDP("udp4", ifi, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for b := make([]byte, 1<<16); ; {
		n, err := c.Read(b)
		if err != nil {
			return err
		}
		fmt.Println(hex.EncodeToString(b[:n]))
	}
}

// Two people in one room who know no address and no link. Somebody listens to all of
// the LAN's multicast, before, during and after a restart, and learns that they are there.
func TestNetnsNearby(t *testing.T) {
	at := hosts(netns.New(t), "ana", "bo", "ear")
	ear := child.StartAt(t, at[2], "mdns ear")
	ear.Line(patience)
	ana, bo := startAt(t, at[0], byMDNS), startAt(t, at[1], byMDNS)
	club := ana.create("Bergfreunde Uster")
	digits := make(chan string, 1)
	go func() {
		got, err := call[string](ana, "NearbyInvite", Ask{Group: club, Text: "bo"})
		if err != nil {
			t.Error(err)
		}
		digits <- got
	}()
	mine := must[string](bo, "Nearby", Ask{Text: "ana"})
	theirs := <-digits
	if mine != theirs || mine == "" {
		t.Fatalf("Bo sees %q and Ana %q", mine, theirs)
	}
	go func() {
		_, err := call[protocol.ID](ana, "NearbyMatch", Ask{Text: mine}) // what Bo reads to her
		if err != nil {
			t.Error(err)
		}
		digits <- ""
	}()
	if got := must[protocol.ID](bo, "NearbyMatch", Ask{Text: theirs}); got != club {
		t.Errorf("Bo is in %s", got)
	}
	<-digits
	bo.send(club, "Treffpunkt Kiosk")
	allRead(t, club, 1, ana, bo)

	first := instances(t, ear, ana)
	ana.node.Kill9()
	again := startAt(t, at[0], byMDNS) // somebody else, by the same cable
	for name := range instances(t, ear, again) {
		if first[name] {
			t.Errorf("the instance name %s is used again after a restart", name)
		}
	}
}

// instances listens until a node has been announced, and returns the random names that
// instances had. Nothing of a group may be in any packet.
func instances(t *testing.T, ear *child.Child, r *remote) map[string]bool {
	t.Helper()
	id := r.see(protocol.ID{}).Status.PeerID
	random, out := regexp.MustCompile(`^[a-z0-9]+$`), make(map[string]bool)
	for end := time.Now().Add(patience); ; {
		packet, err := hex.DecodeString(ear.Line(time.Until(end)))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"Bergfreunde", "Kiosk", "grp_", "nearby"} {
			if bytes.Contains(packet, []byte(secret)) {
				t.Errorf("a packet has %q: %q", secret, packet)
			}
		}
		if !bytes.Contains(packet, []byte(id)) {
			continue // another node's, or a question
		}
		for i, size := range packet { // a label, before the service's or a pointer to it
			end := i + 1 + int(size)
			if size >= 32 && size < 64 && end < len(packet) && (packet[end] == 8 || packet[end] >= 0xc0) && random.Match(packet[i+1:end]) {
				out[string(packet[i+1:end])] = true
			}
		}
		if len(out) > 0 {
			return out
		}
	}
}
