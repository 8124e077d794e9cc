package keysim

// Check runs the world of a seed and returns what is wrong about it: nothing, one hopes.
func Check(seed uint64) ([]string, Tally) {
	w := play(seed)
	w.judge()
	w.tally.Devices = len(w.devices)
	return w.wrong, w.tally
}

// play runs a world to its end.
func play(seed uint64) *world {
	w := newWorld(seed)
	w.populate()
	for w.now < w.begun+uint64(w.days)*day {
		w.pass()
	}
	w.heal()
	return w
}

// populate lets the first members in.
func (w *world) populate() {
	first := w.devices[0]
	for range 2 + w.dice.IntN(4) {
		first.admit(w.newPerson(false).devices[0], pick(w, ranks))
	}
	for _, d := range w.devices {
		w.meet(first, d)
		d.refreshPrekey()
	}
	for _, d := range w.devices {
		w.meet(first, d)
	}
}

// pass lets some hours go by.
func (w *world) pass() {
	w.now += hour + uint64(w.dice.IntN(int(20*hour)))
	if w.now >= w.split && w.chance(15) {
		w.part()
	}
	for _, d := range w.devices {
		if d.awake() && w.chance(2) {
			d.asleep = w.now + uint64(w.dice.IntN(sleepMost))*day
		}
	}
	if w.chance(20) {
		w.agree()
	}
	for range 1 + w.dice.IntN(4) {
		d := pick(w, w.devices)
		if d.set == nil || !d.awake() {
			continue
		}
		w.step(d)
	}
}

// step is something that a device does.
func (w *world) step(d *device) {
	d.refreshPrekey()
	w.mingle(d)
	switch x := w.dice.IntN(100); {
	case x < 50:
		d.say(false)
	case x < 70 && d.p.hostile:
		d.harm()
	case x < 90:
		w.act(d)
	default:
		if err := d.turnEpoch(); err != nil && !d.p.hostile {
			w.fail("%s cannot rotate: %v", d.name(), err)
		}
	}
	if w.chance(70) {
		w.mingle(d)
	}
}

// mingle has a device meet some of those it can reach.
func (w *world) mingle(d *device) {
	for range 1 + w.dice.IntN(3) {
		o := pick(w, w.devices)
		if !d.meets(o) || o.set == nil {
			continue
		}
		w.meet(d, o)
		if w.chance(30) {
			w.ask(d, o)
		}
		if w.chance(30) {
			w.ask(o, d)
		}
	}
}

// part splits the group for some days.
func (w *world) part() {
	w.split = w.now + uint64(w.dice.IntN(splitMost))*day + uint64(w.dice.IntN(int(day)))
	for _, d := range w.devices {
		d.side = w.dice.IntN(2 + w.dice.IntN(2))
	}
}

// heal brings everybody together, and lets the graces for leaves pass.
func (w *world) heal() {
	w.now, w.healed = max(w.now, w.split)+4*day, true
	for _, d := range w.devices {
		d.asleep = 0
		d.refreshPrekey()
	}
	w.settle()
	w.agree()
	for _, d := range w.devices {
		if err := d.turnEpoch(); err != nil && !d.p.hostile && d.set != nil {
			w.fail("%s cannot rotate in the end: %v", d.name(), err)
		}
		w.settle()
	}
	for _, d := range w.devices {
		d.say(true)
		w.settle()
	}
}

// settle has everybody tell everybody, and ask, until there is nothing new.
func (w *world) settle() {
	for again := true; again; {
		again = false
		for _, d := range w.devices {
			for _, o := range w.devices {
				if d == o || d.set == nil || o.set == nil {
					continue
				}
				before := d.set.Len() + d.keys.Len() + len(d.heard.lacks(nil))
				w.tell(o, d)
				if !o.p.hostile {
					w.ask(d, o)
				}
				again = again || d.set.Len()+d.keys.Len()+len(d.heard.lacks(nil)) != before
			}
		}
	}
}

// well says whether a device is a current member's who means well.
func (w *world) well(d *device) bool {
	_, ok := d.standing()
	return ok && !d.p.hostile
}
