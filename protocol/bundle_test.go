package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

// bundleFor makes a bundle's head for some readers.
func bundleFor(t *testing.T, to BundleReaders) (BundleHead, BundleKey, []byte) {
	t.Helper()
	data, key, err := SealBundle(ID{1}, to, fixed("bundle"))
	if err != nil {
		t.Fatal(err)
	}
	in := bytes.NewReader(data)
	h, err := ReadBundleHead(in)
	if err != nil || h.Damaged || in.Len() > 0 {
		t.Fatalf("the head reads as %v, %d bytes left, %v", h.Damaged, in.Len(), err)
	}
	return h, key, data
}

func prekeyOf(t *testing.T, name string) Prekey {
	t.Helper()
	p, err := DerivePrekey(secretOf(name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every reader opens a bundle, nobody else does, and its size does not tell how many
// there are.
func TestBundleReaders(t *testing.T) {
	mine, n := prekeyOf(t, "mine"), secretOf("N")
	var sizes []int
	for _, count := range []int{0, 1, bundleBoxes} {
		var to BundleReaders
		for i := range count {
			to.Prekeys = append(to.Prekeys, prekeyOf(t, fmt.Sprint(i)).Public())
		}
		if count > 0 {
			to.Prekeys[count-1] = mine.Public()
			to.Points = append(slices.Repeat([]Secret{secretOf("older")}, count%MaxBundlePoints), n)
		}
		h, key, data := bundleFor(t, to)
		sizes = append(sizes, len(data))
		chunk := key.SealChunk(0, true, []byte("frames"))
		secrets := key.SealSecrets(3, []EpochSecret{{Epoch: ID{7}, E: secretOf("E")}})
		byBox, ok := h.OpenBox(ID{1}, mine)
		byPoint, known := h.OpenPoint(ID{1}, n)
		if ok != (count > 0) || known != (count > 0) {
			t.Fatalf("of %d readers: opened by a prekey %v, by N %v", count, ok, known)
		}
		if _, ok := h.OpenBox(ID{2}, mine); ok {
			t.Error("it opens for another group")
		}
		if _, ok := h.OpenPoint(ID{1}, secretOf("another")); ok {
			t.Error("it opens by another N")
		}
		if count == 0 {
			continue
		}
		for _, k := range []BundleKey{byBox, byPoint} {
			if _, last, frames, err := k.OpenChunk(0, chunk); err != nil || !last || !bytes.HasPrefix(frames, []byte("frames\x00")) {
				t.Errorf("the chunk opens as %.10q, %v", frames, err)
			}
		}
		if list, err := byBox.OpenSecrets(secrets); err != nil || len(list) != 1 || list[0].E != secretOf("E") {
			t.Errorf("a device gets %d secrets, %v", len(list), err)
		}
		if list, err := byPoint.OpenSecrets(secrets); err != nil || len(list) != 0 {
			t.Errorf("who knows N gets %d secrets, %v", len(list), err)
		}
	}
	if sizes[0] != sizes[1] || sizes[1] != sizes[2] {
		t.Errorf("heads of %d bytes", sizes)
	}
}

// Where there are more devices than hybrid boxes are made for, or some whose prekey is
// none, the others open it.
func TestBundleForACrowd(t *testing.T) {
	mine := prekeyOf(t, "mine")
	to := BundleReaders{Prekeys: [][]byte{[]byte("no key"), make([]byte, hybridPQ+32)}}
	for len(to.Prekeys) <= HybridMost {
		to.Prekeys = append(to.Prekeys, mine.Public())
	}
	h, _, data := bundleFor(t, to)
	if _, ok := h.OpenBox(ID{1}, mine); !ok || h.hybrid || len(data) > 64<<10 {
		t.Errorf("%d bytes, hybrid %v, opened %v", len(data), h.hybrid, ok)
	}
}

// A changed head says so and opens by what was not changed; one that is cut short, or
// claims more than there may be, is refused.
func TestDamagedBundleHeads(t *testing.T) {
	mine := prekeyOf(t, "mine")
	_, _, data := bundleFor(t, BundleReaders{Points: []Secret{secretOf("N")}, Prekeys: [][]byte{mine.Public()}})
	points := len(bundleLine) + 32 + 1
	for at, opens := range map[int][2]bool{
		len(bundleLine): {false, false}, points: {false, true}, points + pointLock: {true, true}, len(data) - 1: {true, true},
	} {
		bad := slices.Clone(data)
		bad[at] ^= 1
		h, err := ReadBundleHead(bytes.NewReader(bad))
		if err != nil || !h.Damaged {
			t.Fatalf("changed at %d it reads as %v, %v", at, h.Damaged, err)
		}
		_, point := h.OpenPoint(ID{1}, secretOf("N"))
		_, box := h.OpenBox(ID{1}, mine)
		if opens != [2]bool{point, box} {
			t.Errorf("changed at %d it opens by N %v and by a prekey %v", at, point, box)
		}
	}
	for shape := range 256 {
		bad := slices.Clone(data)
		bad[points-1] = byte(shape)
		h, err := ReadBundleHead(bytes.NewReader(bad))
		if err == nil && !h.Damaged && shape != 4 {
			t.Errorf("shape %d reads", shape)
		}
	}
	for _, at := range []int{0, 5, len(bundleLine), points, len(data) - 1} {
		if _, err := ReadBundleHead(bytes.NewReader(data[:at])); !errors.Is(err, ErrBadFile) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	if _, err := ReadBundleHead(io.MultiReader(bytes.NewReader(data[:40]), errReader{})); !errors.Is(err, errRead) {
		t.Errorf("a disk that fails answers %v", err)
	}
}

var errRead = errors.New("the stick is out")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errRead }

// A chunk opens wherever it stands, also if what was changed says which it is, and no
// changed one does.
func TestBundleChunks(t *testing.T) {
	_, key, _ := bundleFor(t, BundleReaders{})
	frame := AppendFrame(nil, FrameEvents, Events{List: [][]byte{bytes.Repeat([]byte{1}, 60<<10)}})
	chunk := key.SealChunk(3, false, frame)
	if len(chunk) != BundleChunk {
		t.Fatalf("%d bytes", len(chunk))
	}
	if at, last, plain, err := key.OpenChunk(9, chunk); at != 3 || last || err != nil {
		t.Errorf("elsewhere it is chunk %d, the last %v: %v", at, last, err)
	} else if list, err := ChunkFrames(plain); err != nil || len(list) != 1 {
		t.Errorf("it has %d frames, %v", len(list), err)
	}
	for i := range bundlePlace {
		bad := slices.Clone(chunk)
		bad[i] ^= 0x10
		if at, _, _, err := key.OpenChunk(3, bad); err != nil || at != 3 {
			t.Errorf("with a changed place it is chunk %d, %v", at, err)
		}
	}
	for _, at := range []int{bundlePlace, BundleChunk / 2, BundleChunk - 1} {
		bad := slices.Clone(chunk)
		bad[at] ^= 1
		if _, _, _, err := key.OpenChunk(3, bad); err == nil {
			t.Errorf("changed at %d it opens", at)
		}
	}
	if _, _, _, err := key.OpenChunk(0, key.SealChunk(MaxBundleChunks, true, nil)); err == nil {
		t.Error("a number beyond the last is believed")
	}
}

// What does not fit is an error, and what is before it is read.
func TestChunkFrames(t *testing.T) {
	good := AppendFrame(nil, FrameEvents, Events{})
	even := AppendFrame(nil, FrameKind(90), struct{}{})
	for name, c := range map[string]struct {
		data   []byte
		frames int
		whole  bool
	}{
		"nothing":        {nil, 0, true},
		"zeros":          {make([]byte, 9), 0, true},
		"two":            {slices.Concat(good, good, []byte{0}), 2, true},
		"one of later":   {slices.Concat(even, good), 1, true},
		"a frame cut":    {slices.Concat(good, good[:len(good)-1]), 1, false},
		"a huge claim":   {slices.Concat(good, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}), 1, false},
		"no length":      {slices.Concat(good, bytes.Repeat([]byte{0x80}, 11)), 1, false},
		"no frame":       {slices.Concat(good, []byte{1, 0xff}), 1, false},
		"behind a zero":  {slices.Concat(good, []byte{0, 1}), 1, false},
		"only a garbage": {[]byte{5}, 0, false},
	} {
		list, err := ChunkFrames(c.data)
		if len(list) != c.frames || (err == nil) != c.whole {
			t.Errorf("%s: %d frames, %v", name, len(list), err)
		}
	}
}
