package protocol

import "slices"

// packs are events as sync packs them: the group, the events, and the pack.
func (m *vectorMaker) packs() {
	w := m.w
	pack := func(name, about string, events ...Verified) []byte {
		v := m.add("pack-"+name, "pack", about).set("group", w.group)
		for _, e := range events {
			v.set("wire", e.Wire())
		}
		data := Pack(events)
		v.set("pack", data).expect(nil)
		return data
	}
	bad := func(name, about string, data []byte) {
		m.add("pack-bad-"+name, "pack", about).set("group", w.group).set("pack", data).expect(unpackAll(w.group, data))
	}
	carl, dora := w.join("carl", Member), w.join("dora", Member)
	a, b, c := w.text(carl, "one"), w.text(dora, "two"), w.text(carl, "three")
	d := w.sayTo(carl, KindRetract, a.ID(), Content{})
	w.start(w.ana, "of packs", w.epoch)
	e := w.text(carl, "under another epoch")
	pack("nothing", "No events.")
	pack("run", "Three messages of two devices: the third follows the first.", a, b, c)
	pack("mixed", "Another kind, about another message; another epoch and other refs; an erased copy; a control event as it is; a message that skips one.",
		a, d, e, b.Erased(), w.genesis, c)
	pack("extended", "A message with a field that this version does not know is packed as it is.", w.extended(dora))

	run := Pack([]Verified{a, b, c})
	bad("cut", "It ends early.", run[:len(run)-1])
	bad("device", "A device that the pack does not have.", append(slices.Clone(Pack([]Verified{a})), packDevice+1))
	bad("device-again", "A device told twice.", slices.Concat(Pack([]Verified{a}), Pack([]Verified{c})))
	whole := slices.Clone(a.Wire())
	bad("whole", "A message as it is, though it can be packed.", slices.Concat([]byte{packWhole, byte(len(whole)) | 0x80, byte(len(whole) >> 7)}, whole))
	long := slices.Concat([]byte{packWhole, byte(len(w.genesis.Wire())) | 0x80, byte(len(w.genesis.Wire())>>7) | 0x80, 0}, w.genesis.Wire())
	bad("length", "A length in more bytes than it needs.", long)
	again := slices.Concat(run[:1+32], []byte{run[1+32] &^ packFollows, 1}, run[1+32+1:])
	bad("repeats", "The first message has its seq written out, though it is the first of its chain.", again)
	flipped := slices.Clone(run)
	flipped[len(flipped)-1] ^= 1
	bad("signature", "A bit of the last body is flipped.", flipped)
}

// unpackAll returns the first reason why a pack is not good.
func unpackAll(group ID, data []byte) error {
	got, err := Unpack(group, data)
	if err != nil {
		return err
	}
	_, errs := VerifyUnpacked(got, fixed("batch"))
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkPackVector(v *vector) error {
	group := ID(v.b32("group"))
	data := v.bytes("pack")
	if err := unpackAll(group, data); err != nil {
		return err
	}
	var events []Verified
	for _, wire := range v.list("wire") {
		e, err := Verify(group, v.unhex(wire))
		if err != nil {
			return err
		}
		events = append(events, e)
	}
	v.want("pack", Pack(events))
	got, _ := Unpack(group, data)
	for i, e := range events {
		if i >= len(got) || got[i].ID() != e.ID() {
			v.t.Errorf("%s: event %d is another", v.name, i)
		}
	}
	return nil
}
