package node

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/p2pchat/p2pchat/protocol"
	"github.com/p2pchat/p2pchat/protocol/reconcile"
)

// A bundle is what a sync would send to somebody who holds nothing, in a file: control
// events, records, and as many messages as there is room for, the newest first.

// parcel is where frames go that become a file.
type parcel struct{ out []byte }

// send implements frames.
func (p *parcel) send(kind protocol.FrameKind, payload any) error {
	out := protocol.AppendFrame(p.out, kind, payload)
	if len(out) > bundleMost {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, bundleMost)
	}
	p.out = out
	return nil
}

// bundle packs what the group has. All control events have to fit; messages that do not
// are left to a sync.
func (r *room) bundle(ctx context.Context) ([]byte, error) {
	p := new(parcel)
	out := &sender{wire: p, kind: protocol.FrameEvents}
	upTo := r.log.Cursor()
	if err := r.packControl(out); err != nil {
		return nil, err
	}
	if _, err := r.packMessages(ctx, &giver{out: out, upTo: upTo}, 0); err != nil && !errors.Is(err, ErrTooLarge) {
		return nil, err
	}
	return protocol.AppendFrame(p.out, protocol.FrameDone, struct{}{}), nil
}

// packControl packs all control events, and the records of members.
func (r *room) packControl(out *sender) error {
	nothing := new(holding)
	if err := r.serveControl(out, nothing, nil); err != nil {
		return err
	}
	return r.serveRecords(out, nothing)
}

// packMessages packs the messages that others are told of from a time on and up to a
// cursor, from before the control events were packed. It says how many there were.
func (r *room) packMessages(ctx context.Context, g *giver, since uint64) (count int, err error) {
	g.r, g.ctx = r, ctx
	err = g.give(reconcile.Difference{From: reconcile.Item{Time: since}, To: reconcile.Infinity()})
	return g.given, err
}

// bundle is what was packed, verified.
type bundle struct {
	group    protocol.ID
	control  []protocol.Verified
	messages []protocol.Verified
	records  []protocol.VerifiedRecord
}

// readBundle reads frames until their end, and verifies what is in them.
func readBundle(group protocol.ID, data []byte) (*bundle, error) {
	b, in := &bundle{group: group}, bufio.NewReader(bytes.NewReader(data))
	for {
		f, err := protocol.ReadFrame(in)
		if err != nil {
			return nil, err
		}
		switch f.Kind {
		case protocol.FrameDone:
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
				return nil, errors.New("there is more behind its end")
			}
			return b, f.Decode(protocol.FrameDone, new(struct{}))
		case protocol.FrameRecords:
			err = b.takeRecords(f)
		default:
			err = b.takeEvents(f)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (b *bundle) takeRecords(f protocol.Frame) error {
	records, refused, err := openRecords(b.group, f)
	b.records = append(b.records, records...)
	return errors.Join(err, refused)
}

func (b *bundle) takeEvents(f protocol.Frame) error {
	in := batch{frames: []protocol.Frame{f}}
	if in.verify(b.group); in.err != nil {
		return in.err
	}
	for _, v := range in.events {
		if v.Header().Chain == protocol.Control {
			b.control = append(b.control, v)
		} else {
			b.messages = append(b.messages, v)
		}
	}
	return nil
}

// openRecords verifies a frame of records. refused is about those that do not verify.
func openRecords(group protocol.ID, f protocol.Frame) (records []protocol.VerifiedRecord, refused, err error) {
	var list protocol.Events
	if err := f.Decode(protocol.FrameRecords, &list); err != nil {
		return nil, nil, err
	}
	for _, wire := range list.List {
		rec, err := protocol.VerifyRecord(group, wire)
		if err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		records = append(records, rec)
	}
	return records, refused, nil
}

// check says whether the control events confirm the welcome they came with: that its
// author may admit, that this device is in, and that a secret is an epoch's.
func (b *bundle) check(me protocol.Identity, admitter protocol.Key, w protocol.Welcome) error {
	set := protocol.NewSet(b.group)
	for _, v := range b.control {
		if err := set.Add(v); err != nil {
			return fmt.Errorf("event %s: %w", v.ID(), err)
		}
	}
	roster := protocol.Eval(set)
	if by, ok := roster.Owner(admitter); !ok || by.Rank > protocol.Greeter {
		return errors.New("who wrote it may not admit to the group")
	}
	if _, ok := roster.Owner(me.Dev()); !ok {
		return errors.New("it does not let this device in")
	}
	keys := protocol.NewKeyring(b.group, me.Root())
	for _, e := range w.Epochs {
		keys.Add(e)
	}
	if len(keys.Open(set)) > 0 {
		return nil
	}
	return errors.New("none of its keys is the group's")
}

// unpack takes a bundle in by the door that everything comes in by, some events at a
// time, as a sync would.
func (r *room) unpack(ctx context.Context, b *bundle) error {
	for _, list := range [][]protocol.Verified{b.control, b.messages} {
		for events := range slices.Chunk(list, frameEvents) {
			in := r.ingest("", events)
			r.settle(in)
			if in.commit == nil {
				continue
			}
			if err := in.commit.Wait(ctx); err != nil {
				return err
			}
		}
	}
	if commit := r.ingestRecords(b.records); commit != nil {
		return commit.Wait(ctx)
	}
	return nil
}
