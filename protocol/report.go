package protocol

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// Complaint is what a report tells the moderators.
type Complaint struct {
	Reason string `cbor:"1,keyasint,omitempty"`
	Event  []byte `cbor:"3,keyasint"` // the reported event, as it travels; without its body where it is large
}

// Verdict says how a report ended.
type Verdict uint8

// The verdicts.
const (
	Resolved  Verdict = 1
	Dismissed Verdict = 2
)

// Closing is what a report.close tells the moderators.
type Closing struct {
	Note    string  `cbor:"1,keyasint,omitempty"`
	Verdict Verdict `cbor:"3,keyasint"`
}

// Recipient is a device that a report is sealed to, and its hybrid prekey.
type Recipient struct {
	Dev    Key
	Prekey []byte
}

// ReportBox is what a report or its closing carries: text under a key of its own,
// and that key for each recipient.
type ReportBox struct {
	Wraps  []Wrap `cbor:"1,keyasint"` // ascending by device; of the key, not of an epoch
	Commit ID     `cbor:"3,keyasint"` // to the key: all who open the box read the same
	Sealed []byte `cbor:"5,keyasint"`
}

// hybridBox is the length of 32 bytes sealed to a hybrid prekey.
const hybridBox = 1120 + 32 + gcmOverhead

// CheckPrekey says whether something can be sealed to a hybrid prekey: what a device
// publishes need not be one.
func CheckPrekey(public []byte) error {
	if _, err := sealBox(true, public, nil, nil); err != nil {
		return fmt.Errorf("prekey: %w", ErrBadKey)
	}
	return nil
}

func reportInfo(group ID, dev Key, prekey ID, author Key) []byte {
	return slices.Concat([]byte("p2pchat/1 report"), group[:], dev[:], prekey[:], author[:])
}

func commitReport(group ID, author Key, key Secret) ID {
	return hash("p2pchat/1 report key", group[:], author[:], key[:])
}

// CarryEvent returns a message as a report carries it: whole where it fits, else
// without its body. Either way its author's signature holds.
func CarryEvent(v Verified) []byte {
	if len(v.wire) > MaxReportedSize {
		v = v.Erased()
	}
	return v.wire
}

func (c *Complaint) check() error {
	switch {
	case !utf8.ValidString(c.Reason):
		return fmt.Errorf("reason: %w: it is not UTF-8", ErrNotText)
	case len(c.Reason) > MaxReasonSize:
		return fmt.Errorf("reason of %d bytes: %w: at most %d", len(c.Reason), ErrTooLarge, MaxReasonSize)
	case len(c.Event) == 0 || len(c.Event) > MaxReportedSize:
		return fmt.Errorf("reported event of %d bytes: %w: at most %d", len(c.Event), ErrTooLarge, MaxReportedSize)
	}
	return nil
}

func (c *Closing) check() error {
	switch {
	case !utf8.ValidString(c.Note):
		return fmt.Errorf("note: %w: it is not UTF-8", ErrNotText)
	case len(c.Note) > MaxReasonSize:
		return fmt.Errorf("note of %d bytes: %w: at most %d", len(c.Note), ErrTooLarge, MaxReasonSize)
	case c.Verdict != Resolved && c.Verdict != Dismissed:
		return malformed("verdict %d", c.Verdict)
	}
	return nil
}

// Box seals a report by a device for its recipients: at most MaxReportBoxes.
func (c Complaint) Box(group ID, author Key, to []Recipient, random io.Reader) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return boxReport(group, author, to, marshal(c), random)
}

// Box seals the end of a report in the same way.
func (c Closing) Box(group ID, author Key, to []Recipient, random io.Reader) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return boxReport(group, author, to, marshal(c), random)
}

func boxReport(group ID, author Key, to []Recipient, plain []byte, random io.Reader) ([]byte, error) {
	key, err := NewSecret(random)
	if err != nil {
		return nil, err
	}
	b := ReportBox{Commit: commitReport(group, author, key)}
	for _, r := range to {
		id := ID(sha256.Sum256(r.Prekey))
		box, err := sealBox(true, r.Prekey, reportInfo(group, r.Dev, id, author), key[:])
		if err != nil {
			return nil, fmt.Errorf("report to %s: %w", r.Dev.Text(DevicePrefix), err)
		}
		b.Wraps = append(b.Wraps, Wrap{Dev: r.Dev, Prekey: id, Box: box})
	}
	slices.SortFunc(b.Wraps, func(x, y Wrap) int { return x.Dev.Compare(y.Dev) })
	b.Sealed = sealReport(group, author, key, plain)
	return marshal(b), b.check()
}

// sealReport encrypts under a key that is used for nothing else.
func sealReport(group ID, author Key, key Secret, plain []byte) []byte {
	return gcm(key[:]).Seal(nil, make([]byte, 12), pad(plain), slices.Concat(group[:], author[:]))
}

func (b *ReportBox) check() error {
	switch {
	case len(b.Wraps) == 0 || len(b.Wraps) > MaxReportBoxes:
		return malformed("report for %d devices: from 1 to %d", len(b.Wraps), MaxReportBoxes)
	case !strictlyAscending(b.Wraps, func(x, y Wrap) int { return x.Dev.Compare(y.Dev) }):
		return malformed("report: devices are not in ascending order")
	case slices.ContainsFunc(b.Wraps, func(w Wrap) bool { return len(w.Box) != hybridBox }):
		return malformed("report: a box that is not of %d bytes", hybridBox)
	case len(b.Sealed) <= gcmOverhead:
		return malformed("report: %d sealed bytes", len(b.Sealed))
	}
	return nil
}

// ParseReportBox reads the box of a report or of its closing.
func ParseReportBox(data []byte) (ReportBox, error) {
	var b ReportBox
	if len(data) > MaxTextSize {
		return b, fmt.Errorf("report of %d bytes: %w", len(data), ErrTooLarge)
	}
	if err := unmarshal(data, &b); err != nil {
		return b, fmt.Errorf("report: %w", err)
	}
	return b, b.check()
}

// Prekey returns the prekey that a device opens the box with.
func (b *ReportBox) Prekey(dev Key) (ID, bool) {
	i := slices.IndexFunc(b.Wraps, func(w Wrap) bool { return w.Dev == dev })
	if i < 0 {
		return ID{}, false
	}
	return b.Wraps[i].Prekey, true
}

// Unlock opens the box's key for a device. The author is the device that signed the
// event around the box.
func (b *ReportBox) Unlock(group ID, author, dev Key, p Prekey) (Secret, error) {
	hybrid, _ := p.IDs()
	for _, w := range b.Wraps {
		if w.Dev != dev || w.Prekey != hybrid {
			continue
		}
		plain, err := openBox(p.hybrid, reportInfo(group, dev, w.Prekey, author), w.Box)
		if err != nil {
			return Secret{}, fmt.Errorf("report: %w", err)
		}
		if len(plain) != 32 || commitReport(group, author, Secret(plain)) != b.Commit {
			return Secret{}, fmt.Errorf("report: another key than the one it commits to: %w", ErrSealBroken)
		}
		return Secret(plain), nil
	}
	return Secret{}, fmt.Errorf("report: not for this device: %w", ErrNoKey)
}

// errWrongKey says that a key is not the box's.
var errWrongKey = errors.New("the key is of another report")

func (b *ReportBox) open(group ID, author Key, key Secret, into any) error {
	if commitReport(group, author, key) != b.Commit {
		return fmt.Errorf("report: %w: %w", errWrongKey, ErrSealBroken)
	}
	plain, err := gcm(key[:]).Open(nil, make([]byte, 12), b.Sealed, slices.Concat(group[:], author[:]))
	if err != nil {
		return fmt.Errorf("report: %w", ErrSealBroken)
	}
	if plain, err = unpad(plain); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := unmarshal(plain, into); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Complaint opens a report. What event it carries is a claim until [Verify] has
// checked it for the group.
func (b *ReportBox) Complaint(group ID, author Key, key Secret) (Complaint, error) {
	var c Complaint
	if err := b.open(group, author, key, &c); err != nil {
		return c, err
	}
	return c, c.check()
}

// Closing opens the end of a report.
func (b *ReportBox) Closing(group ID, author Key, key Secret) (Closing, error) {
	var c Closing
	if err := b.open(group, author, key, &c); err != nil {
		return c, err
	}
	return c, c.check()
}
