package reconcile

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// message puts a message together from parts: numbers are varints.
func message(parts ...any) []byte {
	out := []byte{version}
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			out = appendVarint(out, uint64(p))
		case uint64:
			out = appendVarint(out, p)
		case []byte:
			out = append(out, p...)
		}
	}
	return out
}

func TestBadMessages(t *testing.T) {
	id, fp := make([]byte, 32), make([]byte, 16)
	for name, c := range map[string]struct {
		msg  []byte
		says string
	}{
		"nothing":                {nil, "version"},
		"no Negentropy":          {[]byte{0x51}, "version"},
		"a varint cut":           {message([]byte{0x81}), "ends early"},
		"a varint too long":      {message([]byte{0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}), "too large"},
		"a varint that goes on":  {message([]byte(strings.Repeat("\xff", 1000))), "too large"},
		"leading zeros":          {message([]byte{0x80, 0x01, 0, 0}), "leading zeros"},
		"a bound without id":     {message(5), "ends early"},
		"a bound cut":            {message(5, 4, id[:3]), "ends early"},
		"an id too long":         {message(5, 33, id, []byte{0}, modeSkip), "33 bytes of an id"},
		"a huge id":              {message(5, uint64(math.MaxUint64), id), "ends early"},
		"infinity with an id":    {message(0, 1, []byte{1}, modeSkip), "bytes of an id"},
		"time too large":         {message(uint64(math.MaxUint64), 0, modeSkip, uint64(math.MaxUint64), 0, modeSkip), "time"},
		"no mode":                {message(0, 0), "ends early"},
		"mode 3":                 {message(0, 0, 3), "mode 3"},
		"mode 258":               {message(0, 0, 258), "mode 258"},
		"a fingerprint cut":      {message(0, 0, modeFingerprint, fp[:15]), "ends early"},
		"a list cut":             {message(0, 0, modeList, 2, id), "list of 2 ids"},
		"a huge list":            {message(0, 0, modeList, uint64(math.MaxUint64), id), "list of"},
		"the same bound twice":   {message(9, 0, modeFingerprint, fp, 1, 0, modeFingerprint, fp), "ends where it begins"},
		"an empty first range":   {message(1, 0, modeSkip), "ends where it begins"},
		"a smaller id":           {message(9, 1, []byte{7}, modeSkip, 1, 1, []byte{6}, modeSkip), "ends where it begins"},
		"more after the end":     {message(0, 0, modeSkip, 0, 0, modeSkip), "ends where it begins"},
		"a range after infinity": {message(0, 0, modeSkip, 1, 0, modeSkip), "time"},
		"bytes after the end":    {message(0, 0, modeSkip, []byte{0}), "ends early"},
	} {
		set := NewVector(randomItems(rand.New(rand.NewPCG(3, 3)), 100, 100))
		if _, err := Respond(set, c.msg, 64<<10); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Respond: %v", name, err)
		}
		i, _, err := Give(set, Item{}, Infinity(), 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := i.Next(set, c.msg); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Next: %v", name, err)
		}
	}
}

// The specification: whoever is asked in another version says which one they speak, and
// whoever asked then gives up.
func TestAnotherVersion(t *testing.T) {
	answer, err := Respond(NewVector(nil), []byte{0x62, 1, 2, 3}, 64<<10)
	if err != nil || string(answer) != "\x61" {
		t.Errorf("%x: %v", answer, err)
	}
	set := NewVector(randomItems(rand.New(rand.NewPCG(4, 4)), 100, 100))
	i, _, err := Give(set, Item{}, Infinity(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.Next(set, []byte{0x60}); !errors.Is(err, ErrMalformed) {
		t.Errorf("an answer in version 0: %v", err)
	}
}

func TestAnswersThatBelongToNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	set := NewVector(randomItems(r, 1000, 1<<30))
	id := make([]byte, 32)
	window, to := set.items[100], set.items[900]
	for name, answer := range map[string][]byte{
		"a list of everything":    message(0, 0, modeList, 0),
		"a list before":           message(9, 0, modeList, 0),
		"a list that begins low":  message(to.Time, 0, modeList, 0),
		"a list behind":           message(to.Time+10, 0, modeSkip, 0, 0, modeList, 0),
		"an id twice in one list": message(window.Time+1, 32, window.ID[:], modeSkip, 2, 0, modeList, 2, id, id),
	} {
		i, _, err := Give(set, window, to, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := i.Next(set, answer); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever answers that something differs, whatever is asked, is heard so often and not
// longer; what was found until then is told.
func TestRangesThatNeverShrink(t *testing.T) {
	set := NewVector(randomItems(rand.New(rand.NewPCG(6, 6)), 10_000, 1<<30))
	liars := map[string]func(n int, i *Initiator) []byte{
		"all of it, again": func(int, *Initiator) []byte { return message(0, 0, modeFingerprint, make([]byte, 16)) },
		"each range that was asked about": func(_ int, i *Initiator) []byte {
			w := newWriter()
			for _, a := range i.asked {
				w.skip(a.from)
				w.fingerprint(a.to, Fingerprint{})
			}
			return w.out
		},
		"as many ranges as there is room for": func(n int, i *Initiator) []byte {
			w := newWriter()
			for at := i.asked[0].from.Item; len(w.out) < 64<<10; at.Time += 1 << 10 {
				if to := (bound{Item: at}); w.upto.before(to) {
					w.fingerprint(to, Fingerprint{byte(n)})
				}
			}
			return w.out
		},
	}
	for name, lie := range liars {
		i, msg, err := Give(set, Item{}, Infinity(), 64<<10)
		for n := 0; err == nil && msg != nil; n++ {
			if n > MaxRounds {
				t.Fatalf("%s: %d rounds", name, n)
			}
			if len(msg) > 64<<10 {
				t.Fatalf("%s: a message of %d bytes", name, len(msg))
			}
			msg, _, err = i.Next(set, lie(n, i))
		}
		if err != nil && !errors.Is(err, ErrRounds) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Sets with nothing in common are the worst there is: more than a comparison may take.
// What it finds is right nevertheless.
func TestTooManyRounds(t *testing.T) {
	p := pairOf(rand.New(rand.NewPCG(7, 7)), 0, 9_000, 9_000, false)
	i, msg, err := Give(p.a, Item{}, Infinity(), MinMessage)
	count := 0
	for err == nil && msg != nil {
		var answer []byte
		if answer, err = Respond(p.b, msg, MinMessage); err != nil {
			t.Fatal(err)
		}
		var f Found
		msg, f, err = i.Next(p.a, answer)
		for _, d := range f.Have {
			count += d.Count
			if len(d.Except) > 0 {
				t.Fatal("the other side is said to hold what it does not")
			}
		}
	}
	if !errors.Is(err, ErrRounds) || count < 1000 || count >= len(p.onlyA) {
		t.Errorf("%d of %d found: %v", count, len(p.onlyA), err)
	}
}

var errDisk = errors.New("the disk is gone")

// broken is a set that fails after so many questions.
type broken struct {
	*Vector
	left *int
}

func (b broken) fail() error {
	if *b.left--; *b.left < 0 {
		return errDisk
	}
	return nil
}

func (b broken) Find(i Item) (int, error) { n, _ := b.Vector.Find(i); return n, b.fail() }

func (b broken) Sum(lo, hi int) (Sum, error) { s, _ := b.Vector.Sum(lo, hi); return s, b.fail() }

func (b broken) Items(lo, hi int, visit func(Item) error) error {
	if err := b.fail(); err != nil {
		return err
	}
	return b.Vector.Items(lo, hi, visit)
}

// A set that cannot be read is an error, whenever that shows, never a difference.
func TestSetsThatFail(t *testing.T) {
	p := pairOf(rand.New(rand.NewPCG(8, 8)), 300, 20, 20, false)
	done := false
	for n := 0; !done; n++ {
		left := n
		a, b := broken{p.a, &left}, broken{p.b, &left}
		i, first, err := Compare(a, Item{}, Infinity(), MinMessage)
		if err == nil {
			_, err = run(i, first, a, func(msg []byte) ([]byte, error) { return Respond(b, msg, MinMessage) })
		}
		done = left >= 0
		if errors.Is(err, errDisk) == done {
			t.Fatalf("after %d questions: %v", n, err)
		}
	}
}

func FuzzRespond(f *testing.F) {
	p := pairOf(rand.New(rand.NewPCG(9, 9)), 200, 50, 50, false)
	seedMessages(f, p, func(_ int, msg, _ []byte) { f.Add(msg) })
	f.Fuzz(func(t *testing.T, msg []byte) {
		answer, err := Respond(p.b, msg, MinMessage)
		if err != nil {
			return
		}
		if len(answer) > MinMessage {
			t.Fatalf("an answer of %d bytes", len(answer))
		}
		for r := (reader{in: answer[1:]}); len(r.in) > 0; {
			if _, err := r.next(); err != nil {
				t.Fatalf("our answer %x: %v", answer, err)
			}
		}
	})
}

func FuzzNext(f *testing.F) {
	p := pairOf(rand.New(rand.NewPCG(9, 9)), 200, 50, 50, false)
	answers := make(map[int][]byte)
	seedMessages(f, p, func(n int, _, answer []byte) {
		answers[n] = answer
		f.Add(n, answer)
	})
	f.Fuzz(func(t *testing.T, after int, answer []byte) {
		i, msg, err := Compare(p.a, Item{}, Infinity(), MinMessage)
		for n := 0; n < after%len(answers) && msg != nil && err == nil; n++ {
			msg, _, err = i.Next(p.a, answers[n])
		}
		if msg == nil || err != nil {
			t.Skip()
		}
		msg, found, err := i.Next(p.a, answer)
		if err != nil {
			return
		}
		if len(msg) > MinMessage || len(i.open)+len(i.asked) > 8*MinMessage {
			t.Fatalf("%d bytes, %d ranges", len(msg), len(i.open))
		}
		for _, d := range found.Have {
			if have, err := d.ids(p.a); err != nil || len(have) != d.Count {
				t.Fatalf("%d items, and it says %d: %v", len(have), d.Count, err)
			}
		}
	})
}

// seedMessages lets a pair compare itself and tells what is said.
func seedMessages(f *testing.F, p pair, tell func(n int, msg, answer []byte)) {
	i, first, err := Compare(p.a, Item{}, Infinity(), MinMessage)
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	if _, err := run(i, first, p.a, func(msg []byte) ([]byte, error) {
		answer, err := Respond(p.b, msg, MinMessage)
		tell(n, msg, answer)
		n++
		return answer, err
	}); err != nil {
		f.Fatal(err)
	}
}
